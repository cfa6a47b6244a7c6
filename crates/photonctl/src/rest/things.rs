//! The things of a service that are known by their ids, and by their names where only one has it: made, looked at, changed,
//! deleted. Kinds differ by tables.

use reqwest::Method;
use serde_json::Value;

use super::{
    Body, Session,
    cli::{If, Named, Once, Page, Whose},
    client::{Call, Service},
    kind::Kind,
    list, project,
};
use crate::{
    failure::Failure,
    output::{self, Format},
};

/// How many of those that a name could mean are told.
const TOLD: usize = 5;

/// A service with things, and how its answers are printed.
pub(crate) struct Things<'a> {
    session: &'a Session,
    pub(crate) service: Service,
    pub(crate) format: Format,
    /// A thing with what is nested in it as people write it.
    for_people: fn(Value) -> Value,
}

impl<'a> Things<'a> {
    pub(crate) fn new(
        session: &'a Session,
        service: Service,
        format: Format,
        for_people: fn(Value) -> Value,
    ) -> Self {
        Self {
            session,
            service,
            format,
            for_people,
        }
    }

    /// Adds the org and the project in which something is to be made: those that are given, or the login's.
    pub(crate) async fn at_home(&self, body: Body, whose: Whose) -> Result<Body, Failure> {
        let project = match (whose.project, self.session.scope()?) {
            (Some(project), _) => project,
            (None, Some(scope)) => scope.to_owned(),
            (None, None) => {
                return Err(Failure::usage(
                    "in which project? give --project, or log in with --scope PROJECT",
                ));
            }
        };
        let org = match whose.org {
            Some(org) => org,
            None => project::org_of(&self.session.iam()?, &project).await?,
        };
        Ok(body.set("org_id", org).set("project_id", project))
    }

    /// Makes something, once: also when it has to be asked for again.
    pub(crate) async fn make(&self, kind: &Kind, body: Body, once: Once) -> Result<Value, Failure> {
        let path = ["api", "v1", kind.path];
        let call = Call::post(&path, body.into()).once(once.key());
        self.service.call(call).await
    }

    /// [`Things::make`], and prints it.
    pub(crate) async fn create(&self, kind: &Kind, body: Body, once: Once) -> Result<(), Failure> {
        self.print(self.make(kind, body, once).await?)
    }

    pub(crate) async fn get(&self, kind: &Kind, named: Named<'_>) -> Result<(), Failure> {
        let id = self.id_of(kind, &named).await?;
        let path = ["api", "v1", kind.path, &id];
        self.show(of(kind, named.whose, Call::get(&path))).await
    }

    pub(crate) async fn update(
        &self,
        kind: &Kind,
        named: Named<'_>,
        body: Body,
        only: &If,
    ) -> Result<(), Failure> {
        if body.is_empty() {
            return Err(Failure::usage("nothing is to be changed"));
        }
        let id = self.id_of(kind, &named).await?;
        let path = ["api", "v1", kind.path, &id];
        let call = Call::new(Method::PATCH, &path)
            .body(body.into())
            .if_revision(only.if_revision)
            // With a revision the second time would be refused because of the first.
            .repeatable(only.if_revision.is_none());
        self.show(call).await
    }

    pub(crate) async fn delete(
        &self,
        kind: &Kind,
        named: Named<'_>,
        only: &If,
    ) -> Result<(), Failure> {
        let id = self.id_of(kind, &named).await?;
        let path = ["api", "v1", kind.path, &id];
        let call = Call::new(Method::DELETE, &path).if_revision(only.if_revision);
        self.deleted(&id, of(kind, named.whose, call)).await
    }

    /// Does a call and says that something is gone.
    pub(crate) async fn deleted(&self, id: &str, call: Call<'_>) -> Result<(), Failure> {
        let answer = self.service.call(call).await?;
        match self.format {
            Format::Human => output::line(&format!("{id} deleted")),
            Format::Data(notation) => output::data(notation, &answer),
        }
    }

    /// Does a call and prints the thing that it answers with.
    pub(crate) async fn show(&self, call: Call<'_>) -> Result<(), Failure> {
        self.print(self.service.call(call).await?)
    }

    /// Prints a thing.
    pub(crate) fn print(&self, thing: Value) -> Result<(), Failure> {
        match self.format {
            Format::Human => output::fields(&(self.for_people)(thing)),
            Format::Data(notation) => output::data(notation, &thing),
        }
    }

    /// One page if a limit is given, else everything.
    pub(crate) async fn list(
        &self,
        kind: &Kind,
        filters: &[(&'static str, Option<String>)],
        page: Page,
    ) -> Result<(), Failure> {
        let path = ["api", "v1", kind.path];
        self.rows(&path, kind.plural, kind.columns, filters, page)
            .await
    }

    /// [`Things::list`] of something that is no kind of its own.
    pub(crate) async fn rows(
        &self,
        path: &[&str],
        field: &str,
        columns: &[&str],
        filters: &[(&'static str, Option<String>)],
        page: Page,
    ) -> Result<(), Failure> {
        let found = list::rows(&self.service, path, field, filters, page).await?;
        if let Some(found) = list::for_people(self.format, field, found)? {
            let rows: Vec<Value> = found.rows.into_iter().map(self.for_people).collect();
            output::records(columns, &rows)?;
            list::tell_of_more(found.next.as_deref());
        }
        Ok(())
    }

    /// The id of a thing that may be given, or named.
    pub(crate) async fn maybe_id(
        &self,
        kind: &Kind,
        text: Option<&str>,
        whose: &Whose,
    ) -> Result<Option<String>, Failure> {
        match text {
            Some(text) => Ok(Some(self.id_of(kind, &Named { text, whose }).await?)),
            None => Ok(None),
        }
    }

    /// The ids of things that are named.
    pub(crate) async fn ids(
        &self,
        kind: &Kind,
        texts: &[String],
        whose: &Whose,
    ) -> Result<Vec<String>, Failure> {
        let mut ids = Vec::with_capacity(texts.len());
        for text in texts {
            ids.push(self.id_of(kind, &Named { text, whose }).await?);
        }
        Ok(ids)
    }

    /// The id of what is meant: itself, or the only thing that has this name.
    pub(crate) async fn id_of(&self, kind: &Kind, named: &Named<'_>) -> Result<String, Failure> {
        let Named { text, whose } = *named;
        if kind.is_id(text) {
            return Ok(text.to_owned());
        }
        let mut filters = Vec::new();
        if kind.is_owned {
            filters.extend(whose.filters());
        }
        if kind.is_asked_for {
            filters.push((kind.known_by, Some(text.to_owned())));
        }
        let path = ["api", "v1", kind.path];
        let all = Page::default();
        let found = list::rows(&self.service, &path, kind.plural, &filters, all).await?;
        let same = found.rows.iter().filter(|row| row[kind.known_by] == text);
        let ids: Vec<&str> = same.filter_map(|row| row["id"].as_str()).collect();
        match ids[..] {
            [id] => Ok(id.to_owned()),
            [] => Err(Failure::not_found(format!(
                "there is no {} {text}",
                kind.what
            ))),
            _ => {
                let more = if ids.len() > TOLD { ", …" } else { "" };
                let some: Vec<&str> = ids.iter().take(TOLD).copied().collect();
                Err(Failure::usage(format!(
                    "{} things are the {} {text}: {}{more}; give the id",
                    ids.len(),
                    kind.what,
                    some.join(", ")
                )))
            }
        }
    }
}

/// A call about a thing of a kind, which must be of these.
pub(crate) fn of<'a>(kind: &Kind, whose: &Whose, call: Call<'a>) -> Call<'a> {
    if !kind.is_owned {
        return call;
    }
    let [org, project] = whose.filters();
    call.query(org.0, org.1).query(project.0, project.1)
}
