//! Whose thing a path must mean.

use photon_core::Name;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::scope::Owner;

/// An id that the caller may choose.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9._-]{0,62}$", example = "proj-456")]
#[expect(dead_code, reason = "only described, never built")]
pub struct IdText(String);

/// `?org_id=…&project_id=…` beside an id: another one's is not found.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OwnerQuery {
    /// This org's; another's is not found.
    #[param(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// This project's; another's is not found.
    #[param(value_type = Option<IdText>)]
    project_id: Option<Name>,
}

impl From<OwnerQuery> for Owner {
    fn from(query: OwnerQuery) -> Self {
        Self {
            org: query.org_id,
            project: query.project_id,
        }
    }
}
