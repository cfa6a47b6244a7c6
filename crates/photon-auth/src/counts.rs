//! What operators can see of it.

use photon_authz::Permission;
use photon_server::Metrics;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::token::Refused;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPermission {
    permission: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

/// Counters; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    would_refuse: Family<ByPermission, Counter>,
    forbidden: Family<ByPermission, Counter>,
    tokens_refused: Family<ByReason, Counter>,
    unreadable: Gauge,
}

impl Counts {
    pub(crate) fn register(&self, metrics: &Metrics) {
        metrics.register(|registry| {
            registry.register(
                "would_refuse",
                "Requests allowed in dev mode that enforce mode would refuse, by permission",
                self.would_refuse.clone(),
            );
            registry.register(
                "forbidden",
                "Decisions that refused, by permission",
                self.forbidden.clone(),
            );
            registry.register(
                "tokens_refused",
                "Tokens and certificates not accepted, by reason",
                self.tokens_refused.clone(),
            );
            registry.register(
                "auth_unreadable_records",
                "Records published by IAM that this process cannot read",
                self.unreadable.clone(),
            );
        });
    }

    pub(crate) fn would_refuse(&self, permission: &Permission) {
        self.would_refuse.get_or_create(&by(permission)).inc();
    }

    pub(crate) fn forbidden(&self, permission: &Permission) {
        self.forbidden.get_or_create(&by(permission)).inc();
    }

    pub(crate) fn token_refused(&self, refused: Refused) {
        let reason = refused.label();
        self.tokens_refused
            .get_or_create(&ByReason { reason })
            .inc();
    }

    pub(crate) fn unreadable(&self, records: usize) {
        self.unreadable
            .set(i64::try_from(records).unwrap_or(i64::MAX));
    }
}

fn by(permission: &Permission) -> ByPermission {
    ByPermission {
        permission: permission.as_str().to_owned(),
    }
}
