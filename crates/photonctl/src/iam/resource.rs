//! What every kind of resource can do: create, get, list, update, delete. Kinds differ by tables.

use reqwest::Method;
use serde_json::Value;

use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{
        Body,
        cli::{If, Page},
        client::{Call, Service},
        list::{self, Rows},
        session::Session,
    },
};

/// One kind of resource.
pub(crate) struct Kind {
    /// Its word in paths: `/api/v1/<path>`.
    pub(crate) path: &'static str,
    /// The field of a list's answer that holds the rows.
    pub(crate) plural: &'static str,
    /// The columns of its table.
    pub(crate) columns: &'static [&'static str],
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
        let found = self.kind.rows(&self.session.iam()?, filters, page).await?;
        if let Some(Rows { rows, next }) = list::for_people(self.format, self.kind.plural, found)? {
            output::records(self.kind.columns, &rows)?;
            list::tell_of_more(next.as_deref());
        }
        Ok(())
    }
}

impl Kind {
    /// One page, and the token of the next one, if a limit is given; else everything.
    async fn rows(
        &self,
        iam: &Service,
        filters: &[(&'static str, Option<String>)],
        page: Page,
    ) -> Result<Rows, Failure> {
        let path = ["api", "v1", self.path];
        list::rows(iam, &path, self.plural, filters, page).await
    }
}

/// Every row of a kind.
pub(crate) async fn all(iam: &Service, kind: &Kind) -> Result<Vec<Value>, Failure> {
    Ok(kind.rows(iam, &[], Page::default()).await?.rows)
}
