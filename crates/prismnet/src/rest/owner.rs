//! Whose thing a path must mean.

use photon_core::Name;
use serde::Deserialize;
use utoipa::IntoParams;

use super::schema::IdText;
use crate::scope::Owner;

/// `?org_id=…&project_id=…` beside an id: another one's is not found.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnerQuery {
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
