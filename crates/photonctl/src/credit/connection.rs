//! CreditService, as its commands use it.

use reqwest::Method;
use serde_json::Value;

use super::Once;
use crate::{
    failure::Failure,
    output::Format,
    rest::{
        Body, Session,
        cli::Page,
        client::{Call, Service},
        list::{self, Rows},
    },
};

/// CreditService, and how its answers are printed.
pub(crate) struct Credit<'a> {
    session: &'a Session,
    pub(crate) service: Service,
    pub(crate) format: Format,
}

impl<'a> Credit<'a> {
    pub(crate) fn open(session: &'a Session, format: Format) -> Result<Self, Failure> {
        Ok(Self {
            session,
            service: session.credit()?,
            format,
        })
    }

    /// IAM, which knows what projects are called.
    pub(crate) fn iam(&self) -> Result<Service, Failure> {
        self.session.iam()
    }

    pub(crate) async fn get(&self, path: &[&str]) -> Result<Value, Failure> {
        self.service.call(Call::get(path)).await
    }

    /// Makes a change, once: also when it has to be asked for again.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Body>,
        once: Once,
    ) -> Result<Value, Failure> {
        let mut call = Call::new(method, path).once(once.key());
        if let Some(body) = body {
            call = call.body(body.into());
        }
        self.service.call(call).await
    }

    pub(crate) async fn post(
        &self,
        path: &[&str],
        body: Body,
        once: Once,
    ) -> Result<Value, Failure> {
        self.change(Method::POST, path, Some(body), once).await
    }

    /// The rows of a list; for programs they are printed at once, and nothing is left to show.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        field: &str,
        filters: &[(&'static str, Option<String>)],
        page: Page,
    ) -> Result<Option<Rows>, Failure> {
        let found = list::rows(&self.service, path, field, filters, page).await?;
        list::for_people(self.format, field, found)
    }

    /// The currency of a project's wallet, for people; nothing if there is none, or we may not see it.
    pub(crate) async fn currency(&self, project: &str) -> Option<String> {
        let wallet = self.get(&["api", "v1", "wallets", project]).await.ok()?;
        wallet["currency"].as_str().map(str::to_owned)
    }
}
