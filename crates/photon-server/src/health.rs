//! Whether the process is fit to serve.
//!
//! ```text
//! Starting ──> Ready <──> NotReady(reason) ──> Draining
//! ```
//! `/health` and `/readyz` follow this state; `/livez` only says that the process answers at all.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, response::Response, routing::get};
use futures::future::BoxFuture;
use http::StatusCode;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::rest::{Data, data_with_status};

/// Whether a service can do its work now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It can, and something waits for an operator: one short phrase.
    ReadyBut(String),
    /// It cannot, and why: one short phrase for an operator.
    NotReady(String),
}

/// Asks a service. Called about once a second; an answer that takes longer than two counts as not ready.
pub type ReadinessCheck = Arc<dyn Fn() -> BoxFuture<'static, Readiness> + Send + Sync>;

const CHECK_EVERY: Duration = Duration::from_secs(1);
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The state of the whole process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    /// With what an operator should know.
    Ready(Option<String>),
    NotReady(String),
    Draining,
}

/// Where the state is kept; clones share it.
#[derive(Clone)]
pub(crate) struct Health {
    service: &'static str,
    version: &'static str,
    state: Arc<watch::Sender<Phase>>,
    check: Option<ReadinessCheck>,
}

#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Health {
    pub(crate) fn new(
        service: &'static str,
        version: &'static str,
        check: Option<ReadinessCheck>,
    ) -> Self {
        Self {
            service,
            version,
            state: Arc::new(watch::Sender::new(Phase::Starting)),
            check,
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Phase> {
        self.state.subscribe()
    }

    pub(crate) fn drain(&self) {
        self.state.send_replace(Phase::Draining);
    }

    /// Asks the service now. A drain is final.
    pub(crate) async fn refresh(&self) {
        let found = match &self.check {
            None => Readiness::Ready,
            Some(check) => match tokio::time::timeout(CHECK_TIMEOUT, check()).await {
                Ok(readiness) => readiness,
                Err(_) => Readiness::NotReady("the readiness check does not answer".to_owned()),
            },
        };
        let next = match found {
            Readiness::Ready => Phase::Ready(None),
            Readiness::ReadyBut(reason) => Phase::Ready(Some(reason)),
            Readiness::NotReady(reason) => Phase::NotReady(reason),
        };
        self.state.send_if_modified(|state| {
            if *state == Phase::Draining || *state == next {
                return false;
            }
            tracing::info!(from = ?state, to = ?next, "readiness changed");
            *state = next;
            true
        });
    }

    /// Keeps asking until the token is cancelled.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let work = async {
            loop {
                self.refresh().await;
                tokio::time::sleep(CHECK_EVERY).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// The three routes.
    pub(crate) fn routes(&self) -> Router {
        Router::new()
            .route("/health", get(health))
            .route("/readyz", get(health))
            .route("/livez", get(live))
            .with_state(self.clone())
    }
}

async fn health(State(health): State<Health>) -> Response {
    // What was found up to a second ago may be stale just when it matters.
    health.refresh().await;
    let state = health.state.borrow().clone();
    let (code, status, reason) = match &state {
        Phase::Ready(reason) => (StatusCode::OK, "healthy", reason.as_deref()),
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting", None),
        Phase::NotReady(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "unhealthy",
            Some(reason.as_str()),
        ),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining", None),
    };
    let body = Body {
        status,
        service: health.service,
        version: health.version,
        reason,
    };
    data_with_status(code, &body)
}

#[derive(Serialize)]
struct Alive {
    status: &'static str,
}

async fn live() -> Data<Alive> {
    Data(Alive { status: "alive" })
}
