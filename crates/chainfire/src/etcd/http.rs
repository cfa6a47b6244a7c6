//! etcd's plain HTTP paths on the client port.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use chainfire_engine::EtcdError;
use serde_json::json;

use crate::app::{App, ETCD_VERSION};

pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/version", get(version))
        .route("/health", get(health))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(app)
}

async fn version() -> Json<serde_json::Value> {
    Json(json!({"etcdserver": ETCD_VERSION, "etcdcluster": "3.6.0"}))
}

/// etcd's own form: no alarm, a leader, and a read that works. `?serializable=true` asks this member alone;
/// `?exclude=NOSPACE` overlooks an alarm.
async fn health(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let asked = |parameter: &str| query.split('&').any(|given| given == parameter);
    let reason = match reason(&app, asked("exclude=NOSPACE"), asked("serializable=true")).await {
        Ok(()) => return Json(json!({"health": "true", "reason": ""})).into_response(),
        Err(reason) => reason,
    };
    let body = Json(json!({"health": "false", "reason": reason}));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

async fn reason(app: &App, without_space: bool, serializable: bool) -> Result<(), String> {
    if app.out_of_space() && !without_space {
        return Err("ALARM NOSPACE".to_owned());
    }
    if serializable {
        return Ok(());
    }
    if !app.has_leader() {
        return Err("RAFT NO LEADER".to_owned());
    }
    app.ready()
        .await
        .map_err(|error: EtcdError| format!("RANGE ERROR:{error}"))
}

/// This process runs.
async fn live() -> &'static str {
    "ok\n"
}

/// This member can serve linearizable reads.
async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.ready().await {
        Ok(()) => "ok\n".into_response(),
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("[-] read_index failed: {error}\n"),
        )
            .into_response(),
    }
}
