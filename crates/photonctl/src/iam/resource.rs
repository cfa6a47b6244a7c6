//! What every kind of resource can do: create, get, list, update, delete. Kinds differ by tables.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    cli::{If, Page},
    client::{Call, Iam},
    session::Session,
};
use crate::{
    failure::Failure,
    output::{self, Format},
};

/// Rows of a page when everything is asked for.
const PAGE: u32 = 1000;

/// One kind of resource.
pub(crate) struct Kind {
    /// Its word in paths: `/api/v1/<path>`.
    pub(crate) path: &'static str,
    /// The field of a list's answer that holds the rows.
    pub(crate) plural: &'static str,
    /// The columns of its table.
    pub(crate) columns: &'static [&'static str],
}

/// The fields of a body: those that are there.
#[derive(Default)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn maybe(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// Lists that are empty are left out.
    pub(crate) fn list(self, name: &str, values: Vec<String>) -> Self {
        if values.is_empty() {
            return self;
        }
        self.set(name, values)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Body> for Value {
    fn from(body: Body) -> Self {
        Self::Object(body.0)
    }
}

/// A kind on one IAM, printed in one format.
pub(crate) struct On<'a> {
    session: &'a Session,
    format: Format,
    kind: &'a Kind,
}

impl<'a> On<'a> {
    pub(crate) fn new(session: &'a Session, format: Format, kind: &'a Kind) -> Self {
        Self {
            session,
            format,
            kind,
        }
    }

    pub(crate) async fn create(&self, body: Body) -> Result<(), Failure> {
        let path = ["api", "v1", self.kind.path];
        self.show(Call::post(&path, body.into())).await
    }

    pub(crate) async fn get(&self, id: &str) -> Result<(), Failure> {
        self.show(Call::get(&["api", "v1", self.kind.path, id]))
            .await
    }

    pub(crate) async fn update(&self, id: &str, body: Body, only: &If) -> Result<(), Failure> {
        if body.is_empty() {
            return Err(Failure::usage("nothing is to be changed"));
        }
        let path = ["api", "v1", self.kind.path, id];
        let call = Call::new(Method::PATCH, &path)
            .body(body.into())
            .if_revision(only.if_revision);
        self.show(call).await
    }

    pub(crate) async fn delete(&self, id: &str, only: &If) -> Result<(), Failure> {
        let path = ["api", "v1", self.kind.path, id];
        let call = Call::new(Method::DELETE, &path).if_revision(only.if_revision);
        let answer = self.session.iam()?.call(call).await?;
        match self.format {
            Format::Human => output::line(&format!("{id} deleted")),
            Format::Data(notation) => output::data(notation, &answer),
        }
    }

    /// Does a call and prints the record that it answers with.
    pub(crate) async fn show(&self, call: Call<'_>) -> Result<(), Failure> {
        let answer = self.session.iam()?.call(call).await?;
        match self.format {
            Format::Human => output::fields(&answer),
            Format::Data(notation) => output::data(notation, &answer),
        }
    }

    /// One page if a limit is given, else everything.
    pub(crate) async fn list(
        &self,
        filters: &[(&'static str, Option<String>)],
        page: Page,
    ) -> Result<(), Failure> {
        let (rows, token) = rows(&self.session.iam()?, self.kind, filters, page).await?;
        match self.format {
            Format::Human => {
                output::records(self.kind.columns, &rows)?;
                if let Some(token) = token {
                    eprintln!("more: --page-token {token}");
                }
                Ok(())
            }
            Format::Data(notation) => output::data(
                notation,
                &json!({ self.kind.plural: rows, "next_page_token": token }),
            ),
        }
    }
}

/// Every row of a kind.
pub(crate) async fn all(iam: &Iam, kind: &Kind) -> Result<Vec<Value>, Failure> {
    let (rows, _) = rows(iam, kind, &[], Page::default()).await?;
    Ok(rows)
}

/// One page, and the token of the next one, if a limit is given; else everything.
async fn rows(
    iam: &Iam,
    kind: &Kind,
    filters: &[(&'static str, Option<String>)],
    page: Page,
) -> Result<(Vec<Value>, Option<String>), Failure> {
    let (limit, whole) = (page.limit.unwrap_or(PAGE), page.limit.is_none());
    let mut token = page.page_token;
    let mut rows = Vec::new();
    loop {
        let path = ["api", "v1", kind.path];
        let mut call = Call::get(&path)
            .query("limit", Some(limit.to_string()))
            .query("page_token", token);
        for (name, value) in filters {
            call = call.query(name, value.clone());
        }
        let mut answer = iam.call(call).await?;
        match answer[kind.plural].take() {
            Value::Array(items) => rows.extend(items),
            _ => {
                let missing = format!("IAM's answer has no {}", kind.plural);
                return Err(Failure::other(anyhow::anyhow!(missing)));
            }
        }
        // What cannot be read is not silently left out.
        for unreadable in answer["unreadable"].as_array().into_iter().flatten() {
            let said = |name: &str| unreadable[name].as_str().unwrap_or_default().to_owned();
            eprintln!("{} cannot be read: {}", said("key"), said("reason"));
        }
        token = answer["next_page_token"].as_str().map(str::to_owned);
        if !whole || token.is_none() {
            return Ok((rows, token));
        }
    }
}
