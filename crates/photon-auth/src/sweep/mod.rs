//! Tries every route and method of a service with credentials that must not open it (feature `sweep`; for tests).
//!
//! ```ignore
//! let tokens = Tokens::from_stranger(&stranger)?.signed_by(|header, claims| sign(&key, header, claims));
//! let report = Sweep::new(tokens)
//!     .rest(&base_url, sweep::declared(&declared))
//!     .grpc(&endpoint, sweep::methods(guard.declared()))
//!     .everybody("GET /api/v1/whoami")
//!     .run()
//!     .await?;
//! report.assert_closed();
//! ```
//!
//! The service must be in enforce mode: in dev mode a request without a credential is the operator's.
//!
//! | credential | a guarded route must answer |
//! |---|---|
//! | none, forged, expired, signed by others, … | 401, `UNAUTHENTICATED` |
//! | a good token of a principal without any binding | 403 or 404, `PERMISSION_DENIED` or `NOT_FOUND`; a list may be empty |
//!
//! An open route must only not fail.

mod grpc;
mod openapi;
mod rest;
mod tokens;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use http::Method;
use serde_json::Value;

use crate::{grpc::Needs, rest::Declared};

pub use openapi::from_openapi;
pub use tokens::{Credential, Tokens, sign};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What stands for a path parameter without a value.
const ANY_ID: &str = "sweep-0";

/// A route or method to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `GET /api/v1/vms/{id}`, or `photon.iam.v1.Orgs/GetOrg`.
    pub name: String,
    /// Whether everybody may call it.
    pub open: bool,
}

/// The targets of declared REST routes.
pub fn declared<'a>(routes: impl IntoIterator<Item = &'a Declared>) -> Vec<Target> {
    routes
        .into_iter()
        .map(|route| Target {
            name: format!("{} {}", route.method, route.path),
            open: route.permission.is_none(),
        })
        .collect()
}

/// The targets of a gRPC table.
#[must_use]
pub fn methods(table: &BTreeMap<String, Needs>) -> Vec<Target> {
    table
        .iter()
        .map(|(method, needs)| Target {
            name: method.clone(),
            open: *needs == Needs::Open,
        })
        .collect()
}

/// What is tried, and with what.
#[derive(Debug)]
pub struct Sweep {
    credentials: Vec<Credential>,
    client: reqwest::Client,
    rest: Vec<(String, Vec<Target>)>,
    grpc: Vec<(String, Vec<Target>)>,
    everybody: BTreeSet<String>,
    path_values: BTreeMap<String, String>,
    bodies: BTreeMap<String, Value>,
    messages: BTreeMap<String, Vec<u8>>,
}

impl Sweep {
    /// A sweep with these credentials, and nothing to try yet.
    #[must_use]
    pub fn new(tokens: Tokens) -> Self {
        Self {
            credentials: tokens.into_credentials(),
            client: reqwest::Client::new(),
            rest: Vec::new(),
            grpc: Vec::new(),
            everybody: BTreeSet::new(),
            path_values: BTreeMap::new(),
            bodies: BTreeMap::new(),
            messages: BTreeMap::new(),
        }
    }

    /// Asks REST with another client, for services with TLS.
    #[must_use]
    pub fn client(mut self, client: reqwest::Client) -> Self {
        self.client = client;
        self
    }

    /// Routes below a base URL.
    #[must_use]
    pub fn rest(mut self, base: &str, routes: Vec<Target>) -> Self {
        self.rest
            .push((base.trim_end_matches('/').to_owned(), routes));
        self
    }

    /// Methods at an endpoint, `http://host:port`.
    #[must_use]
    pub fn grpc(mut self, endpoint: &str, methods: Vec<Target>) -> Self {
        self.grpc.push((endpoint.to_owned(), methods));
        self
    }

    /// A target that answers every principal, strangers included, as one that tells callers who they are.
    #[must_use]
    pub fn everybody(mut self, target: &str) -> Self {
        self.everybody.insert(target.to_owned());
        self
    }

    /// What to put for a path parameter.
    #[must_use]
    pub fn path_value(mut self, parameter: &str, value: &str) -> Self {
        self.path_values
            .insert(parameter.to_owned(), value.to_owned());
        self
    }

    /// The body for a route (`POST /api/v1/vms`); `{}` otherwise. With one that is not valid the route may refuse a
    /// stranger for that, and nothing is learned.
    #[must_use]
    pub fn body(mut self, target: &str, body: Value) -> Self {
        self.bodies.insert(target.to_owned(), body);
        self
    }

    /// The encoded message for a gRPC method; an empty one otherwise.
    #[must_use]
    pub fn message(mut self, target: &str, message: Vec<u8>) -> Self {
        self.messages.insert(target.to_owned(), message);
        self
    }

    /// Tries everything, one request at a time.
    ///
    /// # Errors
    /// When the service cannot be asked.
    pub async fn run(&self) -> Result<Report, SweepError> {
        let mut report = Report::default();
        for (base, targets) in &self.rest {
            for target in targets {
                for credential in &self.credentials {
                    let answer = self.ask_rest(base, target, credential).await?;
                    self.judge(&mut report, target, credential, answer);
                }
            }
        }
        for (endpoint, targets) in &self.grpc {
            let channel = grpc::connect(endpoint).await?;
            for target in targets {
                for credential in &self.credentials {
                    let message = self.messages.get(&target.name).cloned();
                    let asking = grpc::ask(channel.clone(), target, credential, message);
                    let answer = asking.await?;
                    self.judge(&mut report, target, credential, answer);
                }
            }
        }
        Ok(report)
    }

    async fn ask_rest(
        &self,
        base: &str,
        target: &Target,
        credential: &Credential,
    ) -> Result<Answer, SweepError> {
        let (method, path) = target.name.split_once(' ').unwrap_or(("GET", &target.name));
        let method: Method = method
            .parse()
            .map_err(|_| SweepError::of("method", method))?;
        let url = format!("{base}{}", rest::fill(path, &self.path_values));
        let takes_body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
        let body = self.bodies.get(&target.name).cloned();
        let body =
            takes_body.then(|| body.unwrap_or_else(|| Value::Object(serde_json::Map::new())));
        rest::ask(&self.client, method, &url, body, credential).await
    }

    fn judge(&self, report: &mut Report, target: &Target, with: &Credential, answer: Answer) {
        report.tried += 1;
        let finding = Finding {
            target: target.name.clone(),
            with: with.name.clone(),
            answer: answer.text,
        };
        match (answer.kind, target.open, with.stranger) {
            (Kind::Broken, ..) => report.broken.push(finding),
            (_, true, _) | (Kind::Unauthenticated, false, false) => {}
            // The one good token is not taken: nothing was learned about strangers.
            (Kind::Unauthenticated, false, true) => report.broken.push(finding),
            (Kind::Refused | Kind::Nothing, false, true) => {}
            (Kind::Something, false, true) if self.everybody.contains(&target.name) => {}
            (Kind::Other, false, true) => report.unclear.push(finding),
            (_, false, _) => report.let_in.push(finding),
        }
    }
}

/// What a service made of a request.
struct Answer {
    kind: Kind,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unauthenticated,
    /// Forbidden, or hidden.
    Refused,
    /// Success that shows nothing.
    Nothing,
    Something,
    /// The request is not valid, or the like.
    Other,
    /// A defect.
    Broken,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The route or method.
    pub target: String,
    /// The name of the credential.
    pub with: String,
    /// What it answered.
    pub answer: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}: {}", self.target, self.with, self.answer)
    }
}

/// What a sweep found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests made.
    pub tried: usize,
    /// Credentials that were let in and must not be.
    pub let_in: Vec<Finding>,
    /// Answers that are defects: 5xx, and a good token that is not taken.
    pub broken: Vec<Finding>,
    /// Strangers refused for something else than who they are: give the route a better body or path value.
    pub unclear: Vec<Finding>,
}

impl Report {
    /// Panics with everything found unless all of it was refused as it should.
    ///
    /// # Panics
    /// See above; also when nothing was tried.
    pub fn assert_closed(&self) {
        assert!(self.tried > 0, "the sweep tried nothing");
        assert!(
            self.let_in.is_empty() && self.broken.is_empty() && self.unclear.is_empty(),
            "{self}"
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} requests", self.tried)?;
        for (title, findings) in [
            ("let in", &self.let_in),
            ("broken", &self.broken),
            ("unclear", &self.unclear),
        ] {
            for finding in findings {
                writeln!(f, "{title}: {finding}")?;
            }
        }
        Ok(())
    }
}

/// Why a sweep could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SweepError {
    what: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SweepError {
    fn of(what: &str, value: impl fmt::Display) -> Self {
        Self {
            what: format!("{what}: {value}"),
            source: None,
        }
    }

    fn because(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            what: what.into(),
            source: Some(source.into()),
        }
    }
}
