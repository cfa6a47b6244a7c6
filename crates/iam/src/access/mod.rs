//! Decisions for whoever cannot make them alone: may this principal do that there?
//!
//! Services of the suite decide by themselves, from what is published; this is for others. It answers what policy says,
//! in dev mode too, where policy does not bind.

pub(crate) mod authzen;
pub mod service;
mod whoami;

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use photon_auth::rest::Routes;
use photon_authz::{Permission, PrincipalRef, Scope};

use crate::app::App;

/// A question.
#[derive(Clone, Debug)]
pub struct Check {
    /// Who; without it the caller.
    pub principal: Option<PrincipalRef>,
    /// What.
    pub permission: Permission,
    /// Where.
    pub scope: Scope,
    /// From which address, for conditions; without it conditions on networks do not hold.
    pub source: Option<IpAddr>,
    /// When, for conditions; without it now.
    pub time: Option<Timestamp>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it may.
    pub allowed: bool,
    /// Why not.
    pub reason: Option<String>,
    /// By which binding.
    pub granted_by: Option<String>,
    /// The store's revision that it was answered from.
    pub revision: i64,
}

/// How many of several questions are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Semantic {
    /// All.
    #[default]
    All,
    /// Until the first that is refused.
    UntilDeny,
    /// Until the first that is allowed.
    UntilPermit,
}

/// The routes of decisions, and of who one is.
#[must_use]
pub fn routes(routes: Routes<Arc<App>>) -> Routes<Arc<App>> {
    routes
        .post(authzen::EVALUATION, "iam.access.check", authzen::evaluation)
        .post(
            authzen::EVALUATIONS,
            "iam.access.check",
            authzen::evaluations,
        )
        .get("/api/v1/whoami", "iam.access.check", whoami::whoami)
}

/// These routes, for the document of all.
#[derive(utoipa::OpenApi)]
#[openapi(paths(authzen::evaluation, authzen::evaluations, whoami::whoami))]
pub(crate) struct RestDoc;
