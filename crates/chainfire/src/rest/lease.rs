//! Leases: grant, look, keep alive, revoke, list.

use std::sync::Arc;

use axum::extract::State;
use photon_core::Error;
use photon_proto::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest};
use photon_server::rest::{Created, Data, Json, Path, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    asking::Asking,
    encoding::KeyText,
    error::from_etcd,
    openapi::{Envelope, Failure},
};
use crate::app::App;

/// A lease to grant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantBody {
    /// Seconds it lives without being kept alive; raised to one and a half election timeouts.
    #[schema(minimum = 1)]
    ttl_seconds: i64,
    /// The id it is to have; without it the store picks one.
    #[serde(default)]
    id: i64,
}

/// A lease and its time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Lease {
    id: i64,
    /// Seconds it lives from now on without being kept alive.
    ttl_seconds: i64,
}

/// A lease with what hangs on it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LeaseDetails {
    id: i64,
    /// Seconds it was granted for.
    granted_ttl_seconds: i64,
    /// Seconds that are left.
    ttl_seconds: i64,
    /// The keys that end with it.
    keys: Vec<KeyText>,
}

/// The leases there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Leases {
    items: Vec<LeaseId>,
}

/// A lease, by its id.
#[derive(Debug, Serialize, ToSchema)]
struct LeaseId {
    id: i64,
}

/// A lease that is gone now, with its keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Revoked {
    id: i64,
    /// The store's revision after it.
    revision: i64,
}

/// Grants a lease.
#[utoipa::path(
    post, path = "/api/v1/leases", tag = "leases", operation_id = "grant_lease",
    request_body = GrantBody,
    responses((status = 201, body = Envelope<Lease>), Failure)
)]
pub(super) async fn grant(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    Json(body): Json<GrantBody>,
) -> Result<Created<Lease>, RestError> {
    if body.ttl_seconds < 1 {
        return Err(
            Error::validation("ttl_seconds", "minimum", "ttl_seconds is at least 1").into(),
        );
    }
    if body.id < 0 {
        return Err(Error::validation("id", "minimum", "id is at least 0").into());
    }
    let request = LeaseGrantRequest {
        ttl: body.ttl_seconds,
        id: body.id,
    };
    let answer = app.lease_grant(&caller, request).await.map_err(from_etcd)?;
    Ok(Created(Lease {
        id: answer.id,
        ttl_seconds: answer.ttl,
    }))
}

/// Lists the leases.
#[utoipa::path(
    get, path = "/api/v1/leases", tag = "leases", operation_id = "list_leases",
    responses((status = 200, body = Envelope<Leases>), Failure)
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
) -> RestResult<Leases> {
    let answer = app.lease_list(&caller).await.map_err(from_etcd)?;
    Ok(Data(Leases {
        items: answer
            .leases
            .into_iter()
            .map(|lease| LeaseId { id: lease.id })
            .collect(),
    }))
}

/// What is left of a lease, and its keys.
#[utoipa::path(
    get, path = "/api/v1/leases/{id}", tag = "leases", operation_id = "get_lease",
    params(("id" = i64, Path)),
    responses((status = 200, body = Envelope<LeaseDetails>), Failure)
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    Path(id): Path<i64>,
) -> RestResult<LeaseDetails> {
    let request = LeaseTimeToLiveRequest { id, keys: true };
    let answer = app
        .lease_time_to_live(&caller, request)
        .await
        .map_err(from_etcd)?;
    if answer.ttl < 0 {
        return Err(gone(id).into());
    }
    Ok(Data(LeaseDetails {
        id,
        granted_ttl_seconds: answer.granted_ttl,
        ttl_seconds: answer.ttl,
        keys: answer.keys.iter().map(KeyText::from).collect(),
    }))
}

/// Starts a lease's time anew.
#[utoipa::path(
    post, path = "/api/v1/leases/{id}/keepalive", tag = "leases", operation_id = "keep_lease_alive",
    params(("id" = i64, Path)),
    responses((status = 200, body = Envelope<Lease>), Failure)
)]
pub(super) async fn keep_alive(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    Path(id): Path<i64>,
) -> RestResult<Lease> {
    let answer = app.lease_keep_alive(&caller, id).await.map_err(from_etcd)?;
    if answer.ttl <= 0 {
        return Err(gone(id).into());
    }
    Ok(Data(Lease {
        id,
        ttl_seconds: answer.ttl,
    }))
}

/// Ends a lease now and deletes its keys.
#[utoipa::path(
    delete, path = "/api/v1/leases/{id}", tag = "leases", operation_id = "revoke_lease",
    params(("id" = i64, Path)),
    responses((status = 200, body = Envelope<Revoked>), Failure)
)]
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    Path(id): Path<i64>,
) -> RestResult<Revoked> {
    let answer = app
        .lease_revoke(&caller, LeaseRevokeRequest { id })
        .await
        .map_err(from_etcd)?;
    Ok(Data(Revoked {
        id,
        revision: answer.header.map_or(0, |header| header.revision),
    }))
}

fn gone(id: i64) -> Error {
    Error::not_found(format!("lease {id}"))
}
