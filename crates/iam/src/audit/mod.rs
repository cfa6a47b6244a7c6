//! What was changed, by whom: one record per change, written in the change's own transaction.
//!
//! ```text
//!   use case ── Transaction + Act ──> App::publish/commit ──> Audit::commit ── photon_store::audit ──> the store
//!                                      Act::within(ctx)                              │
//!   GET /api/v1/audit, /audit/verify <── service <── trails, one per scope <─────────┘
//!                                                       │ after the retention
//!                                                       v
//!                                         <export_dir>/<trail>/<month>.jsonl
//! ```
//!
//! A trail is named by its scope: `system`, `org-acme`, `project-shop`. It outlives the scope, and goes on when somebody
//! makes one of the same id. How records are chained: [`photon_store::audit`]; what they say: `docs/audit.md`.

mod act;
mod changed;
pub mod command;
mod config;
pub mod export;
mod rest;
mod service;

use photon_authz::Scope;
use photon_store::{Committed, Store, Transaction, audit::Trails};

pub use act::{Act, Actor, Entry};
pub use config::AuditConfig;
pub(crate) use rest::{RestDoc, routes};

/// The service's name in keys.
const SERVICE: &str = "iam";

/// Where this service records what it changes.
#[derive(Clone, Debug)]
pub struct Audit {
    trails: Trails,
}

impl Audit {
    /// Over a store. One for the whole process: its writers queue here.
    #[must_use]
    pub fn open(store: Store) -> Self {
        Self {
            trails: Trails::new(store, SERVICE),
        }
    }

    /// Does a transaction and records it.
    ///
    /// # Errors
    /// Those of [`Transaction::commit`]. If nothing was written nothing is recorded.
    pub async fn commit(
        &self,
        transaction: &Transaction,
        entry: &Entry,
    ) -> photon_store::Result<Committed> {
        let trail = trail_of(entry.scope());
        self.trails
            .commit(transaction, &trail, entry.fields())
            .await
    }

    /// Forgets where trails end, when the store has become another one.
    pub(crate) async fn forget(&self) {
        self.trails.forget().await;
    }

    /// The trails themselves, to read.
    #[must_use]
    pub fn trails(&self) -> &Trails {
        &self.trails
    }
}

/// The name of a scope's trail. The kind comes first, so no two scopes share one.
#[must_use]
pub fn trail_of(scope: &Scope) -> String {
    scope.to_string().replacen(':', "-", 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn trails_are_told_apart() {
        let trail = |scope: &str| trail_of(&scope.parse().unwrap());
        assert_eq!(trail("system"), "system");
        assert_eq!(trail("org:acme"), "org-acme");
        assert_eq!(trail("project:org-acme"), "project-org-acme");
    }
}
