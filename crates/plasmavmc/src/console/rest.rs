//! `/api/v1/vms/{id}/console` and its websocket.

use std::sync::Arc;

use axum::{
    extract::{
        FromRequestParts as _, Request, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    response::Response,
};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, stream::SplitSink};
use http::{HeaderMap, header};
use photon_auth::{Context, bearer, rest::Routes};
use photon_core::{Error, Name};
use photon_server::rest::{Data, Envelope, Path, Query, RestError, RestResult};
use photon_service::{openapi::Failure, rest::IdText, scope::Owner};
use plasmavmc_model::VmId;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::{
    End, MOST_BYTES, Screen, Session, log, open,
    session::{TAKE, is_final},
    token,
};
use crate::{app::App, refusal, rest::schema::VmText};

/// The subprotocol: binary messages, what is typed one way and what is written the other.
const PROTOCOL: &str = "photon.console.v1";
/// The most bytes of a message.
const LARGEST: usize = 64 << 10;
/// Bytes of a log, if nobody says how many.
const LIMIT: u64 = 64 << 10;
/// The longest reason that a closing message has room for.
const REASON: usize = 123;

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .get("/api/v1/vms/{id}/console", "plasmavmc.vms.console", get)
        .get(
            "/api/v1/vms/{id}/console/ws",
            "plasmavmc.vms.console",
            attach,
        )
}

/// Which part.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogQuery {
    /// The owner that is meant: another's is 404.
    #[param(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// The project that is meant.
    #[param(value_type = Option<IdText>)]
    project_id: Option<Name>,
    /// From which byte on, counted over everything that was ever written: `next_offset` of the part before. Behind the end
    /// there is nothing; without it, the end.
    offset: Option<u64>,
    /// Bytes, at most.
    #[param(minimum = 1, maximum = 524288)]
    limit: Option<u64>,
}

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttachQuery {
    /// The owner that is meant: another's is 404.
    #[param(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// The project that is meant.
    #[param(value_type = Option<IdText>)]
    project_id: Option<Name>,
    /// From which byte of what was written on. Without it, the last 32 KiB come first.
    offset: Option<u64>,
}

/// A part of what a guest has written to its serial console, over all its boots.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsoleLog)]
pub(crate) struct LogAnswer {
    /// The text; what is no UTF-8 is replaced.
    data: String,
    /// Where it begins; behind what was asked for, if that is no longer kept.
    offset: u64,
    /// Where the next part begins.
    next_offset: u64,
    /// So many bytes from the beginning are no longer kept.
    first_offset: u64,
    /// So many were ever written.
    end_offset: u64,
}

/// The largest offset: no file is larger.
const LARGEST_OFFSET: u64 = i64::MAX.unsigned_abs();

/// An offset that a file can have.
fn possible(offset: Option<u64>) -> Result<Option<u64>, Error> {
    match offset {
        Some(offset) if offset > LARGEST_OFFSET => Err(refusal::range("offset", 0, LARGEST_OFFSET)),
        offset => Ok(offset),
    }
}

/// What a VM's guest has written to its serial console. The last MiB at least is kept, also while the VM does not run.
#[utoipa::path(
    get, path = "/api/v1/vms/{id}/console", tag = "vms", operation_id = "get_vm_console",
    params(("id" = VmText, Path), LogQuery),
    responses((status = 200, body = Envelope<LogAnswer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(query): Query<LogQuery>,
) -> RestResult<LogAnswer> {
    let limit = query.limit.unwrap_or(LIMIT);
    let limit = u32::try_from(limit)
        .ok()
        .filter(|limit| (1..=MOST_BYTES).contains(&u64::from(*limit)));
    let limit = limit.ok_or_else(|| refusal::range("limit", 1, MOST_BYTES))?;
    let owner = Owner {
        org: query.org_id,
        project: query.project_id,
    };
    let offset = possible(query.offset)?;
    let part = log(&app, &ctx, id, &owner, offset, limit).await?;
    Ok(Data(LogAnswer {
        data: String::from_utf8_lossy(&part.data).into_owned(),
        offset: part.offset,
        next_offset: part.offset + part.data.len() as u64,
        first_offset: part.first,
        end_offset: part.end,
    }))
}

/// The serial console of a VM, as a WebSocket (RFC 6455) of binary messages, subprotocol `photon.console.v1`: first what was written, then
/// what comes; what is sent is typed. It goes on over the guest's boots. Pages, which cannot send `Authorization`, offer the token as a
/// second subprotocol, `photon.bearer.<token>`. Several may look at one console, and all of them may type.
#[utoipa::path(
    get, path = "/api/v1/vms/{id}/console/ws", tag = "vms", operation_id = "attach_vm_console",
    params(("id" = VmText, Path), AttachQuery),
    responses((status = 101, description = "It is a WebSocket from here on"), Failure)
)]
pub(crate) async fn attach(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(query): Query<AttachQuery>,
    request: Request,
) -> Result<Response, RestError> {
    let (mut parts, _) = request.into_parts();
    let owner = Owner {
        org: query.org_id,
        project: query.project_id,
    };
    // Who may not look is told so, however it was asked.
    crate::vm::service::get(&app, &ctx, id, &owner).await?;
    refuse_other_pages(&parts.headers)?;
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let upgrade = upgrade.map_err(|refused| {
        let problem = format!("this is a WebSocket: {}", refused.body_text());
        Error::validation("upgrade", "websocket", problem)
    })?;
    let token = token(&ctx, &parts.headers)?;
    let offset = possible(query.offset)?;
    let session = open(&app, &ctx, token, id, owner, offset).await?;
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .max_message_size(LARGEST)
        .max_frame_size(LARGEST)
        .write_buffer_size(0);
    Ok(upgrade.on_upgrade(move |socket| serve(socket, session)))
}

/// A page of another site may open a WebSocket with whatever certificate the browser has: then only a token proves that it is meant.
fn refuse_other_pages(headers: &HeaderMap) -> Result<(), Error> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let origin = origin.to_str().unwrap_or_default();
    let site = origin.split_once("://").map(|(_, site)| site);
    if site.is_some() && site == host || bearer(headers)?.is_some() {
        return Ok(());
    }
    Err(Error::forbidden(
        "pages of other sites may open a console with a token only",
    ))
}

async fn serve(socket: WebSocket, session: Session) {
    let (sink, source) = socket.split();
    let typed = source
        .take_while(|message| {
            let goes_on = matches!(message, Ok(message) if !matches!(message, Message::Close(_)));
            std::future::ready(goes_on)
        })
        .filter_map(|message| {
            std::future::ready(match message {
                Ok(Message::Binary(data)) => Some(data),
                Ok(Message::Text(text)) => Some(Bytes::copy_from_slice(text.as_bytes())),
                _ => None,
            })
        });
    let mut screen = Browser(sink);
    let end = session.run(typed, &mut screen).await;
    let code = match &end {
        End::Left | End::Idle | End::Long => close_code::NORMAL,
        End::Stopping => close_code::RESTART,
        End::Refused(error) if is_final(error.code()) => close_code::POLICY,
        End::Refused(_) => close_code::AGAIN,
    };
    let mut reason = end.to_string();
    while reason.len() > REASON {
        reason.pop();
    }
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    // Who has left hears it no more, and who takes nothing holds nothing up.
    let _ = timeout(TAKE, screen.0.send(Message::Close(Some(frame)))).await;
}

struct Browser(SplitSink<WebSocket, Message>);

impl Screen for Browser {
    async fn show(&mut self, _offset: u64, data: Bytes) -> bool {
        self.0.send(Message::Binary(data)).await.is_ok()
    }

    async fn ping(&mut self) -> bool {
        self.0.send(Message::Ping(Bytes::new())).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn other_sites_pages_need_a_token() {
        let may = |all: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in all {
                headers.insert(*name, value.parse().unwrap());
            }
            refuse_other_pages(&headers).is_ok()
        };
        let (host, upgrade) = (("host", "vms.example:8084"), ("upgrade", "websocket"));
        let other = ("origin", "https://evil.example");
        assert!(may(&[host]));
        assert!(may(&[host, ("origin", "https://vms.example:8084")]));
        assert!(!may(&[host, other]));
        assert!(!may(&[host, ("origin", "null")]));
        assert!(!may(&[("origin", "null")]));
        let token = ("sec-websocket-protocol", "photon.bearer.a.b.c");
        assert!(may(&[host, other, upgrade, token]));
        assert!(may(&[host, other, ("authorization", "Bearer a.b.c")]));
    }
}
