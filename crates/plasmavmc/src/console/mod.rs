//! Serial consoles of VMs: what guests have written, and sessions in which somebody looks and types.
//!
//! ```text
//!   websocket, gRPC stream ──> Session ──door──> plasmavmc-agent of the VM's host ──> the guest
//! ```
//!
//! Several may look at one console, and all of them may type. A session ends with whoever opened it; when nothing was typed or written
//! for half an hour; after twelve hours; when the token is no longer good, or the permission, or the VM, is gone; and with this process.

pub(crate) mod grpc;
pub(crate) mod rest;
mod session;

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use http::HeaderMap;
use photon_auth::{Context, bearer};
use photon_core::{Code, Error, Name};
use photon_service::scope::Owner;
use plasmavmc_door::consoles::{Keyboard, Part};
use plasmavmc_model::VmId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub(crate) use self::session::{End, Screen};
use crate::{app::App, vm::service};

/// The most sessions of a process at once.
const MOST: usize = 512;
/// The most bytes of a log that are read at once.
pub(crate) const MOST_BYTES: u64 = 512 << 10;

/// All sessions of this process.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Sessions {
    /// None yet; all end with `stop`.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self {
            room: Arc::new(Semaphore::new(MOST)),
            stop,
        }
    }

    /// Ends all of them.
    pub(crate) fn end(&self) {
        self.stop.cancel();
    }
}

/// Somebody who looks at a console and types.
pub(crate) struct Session {
    app: Arc<App>,
    ctx: Context,
    /// The token that it was opened with, if it was one.
    token: Option<String>,
    vm: VmId,
    owner: Owner,
    host: Name,
    keyboard: Keyboard,
    output: Output,
    _room: OwnedSemaphorePermit,
}

type Output = BoxStream<'static, Result<(u64, Bytes), Error>>;
/// To type, and what comes.
type Line = (Keyboard, Output);

async fn line(app: &App, host: &Name, vm: VmId, offset: Option<u64>) -> Result<Line, Error> {
    let at = app.doors.at(host)?;
    let opened = app.doors.doors.console(&at, vm, offset).await;
    opened.map_err(|error| match error.code() {
        Code::NOT_FOUND => not_yet(vm),
        _ => error,
    })
}

fn not_yet(vm: VmId) -> Error {
    Error::failed_precondition(format!("vm {vm} is not on its host yet"))
}

/// A part of what a VM's guest has written: from that offset on, or the end of it.
pub(crate) async fn log(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
    offset: Option<u64>,
    limit: u32,
) -> Result<Part, Error> {
    let vm = service::get(app, ctx, id, owner).await?.value;
    match &vm.host {
        Some(host) => {
            let at = app.doors.at(host)?;
            match app.doors.doors.console_log(&at, id, offset, limit).await {
                // Its host has not begun with it.
                Err(error) if error.code() == Code::NOT_FOUND => Ok(Part::default()),
                part => Ok(behind_the_end(part?, offset)),
            }
        }
        // Nothing has run that could have written anything.
        None => Ok(Part::default()),
    }
}

/// Beyond the end there is nothing. (For a console that is attached to, a host begins anew there: it is another log than one thought.)
fn behind_the_end(part: Part, asked: Option<u64>) -> Part {
    if asked.is_none_or(|offset| offset <= part.end) {
        return part;
    }
    Part {
        offset: part.end,
        data: Bytes::new(),
        ..part
    }
}

/// The token by which a caller is known; none of one that is known otherwise.
fn token(ctx: &Context, headers: &HeaderMap) -> Result<Option<String>, Error> {
    let token = bearer(headers)?.filter(|_| ctx.caller.token_id.is_some());
    Ok(token.map(str::to_owned))
}

/// Begins a session, which ends with the token.
pub(crate) async fn open(
    app: &Arc<App>,
    ctx: &Context,
    token: Option<String>,
    id: VmId,
    owner: Owner,
    offset: Option<u64>,
) -> Result<Session, Error> {
    let vm = service::get(app, ctx, id, &owner).await?.value;
    let host = vm.host.ok_or_else(|| not_yet(id))?;
    let room = Arc::clone(&app.consoles.room).try_acquire_owned();
    let room =
        room.map_err(|_| Error::new(Code::RATE_LIMITED, "too many look at consoles already"))?;
    let (keyboard, output) = line(app, &host, id, offset).await?;
    tracing::info!(vm = %id, by = %ctx.caller.who, "a console is opened");
    Ok(Session {
        app: Arc::clone(app),
        ctx: ctx.clone(),
        token,
        vm: id,
        owner,
        host,
        keyboard,
        output,
        _room: room,
    })
}
