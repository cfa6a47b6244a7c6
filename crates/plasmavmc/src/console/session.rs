//! A session, from its first byte to its end.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use photon_auth::Context;
use photon_core::{Code, Error, Name};
use plasmavmc_door::consoles::LONGEST;
use plasmavmc_model::VmId;
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep, timeout},
};

use super::{Line, Session};
use crate::{app::App, vm::service};

/// How long nothing may be typed or written.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// How often it is looked whether somebody may still.
const CHECK: Duration = Duration::from_secs(30);
/// How often whoever looks is asked whether they are there.
const PING: Duration = Duration::from_secs(30);
/// How long a host that went away may take to be back, as an agent that is restarted, and how often it is asked.
const AWAY: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(500);
/// How long they may take to take something.
pub(super) const TAKE: Duration = Duration::from_secs(30);

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Whoever looked has left.
    Left,
    /// Nothing was typed or written.
    Idle,
    /// It took too long.
    Long,
    /// This process stops.
    Stopping,
    /// The token, the permission or the VM is gone; or its host.
    Refused(Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("left"),
            Self::Idle => f.write_str("nothing was typed or written for half an hour"),
            Self::Long => f.write_str("a session ends after twelve hours"),
            Self::Stopping => f.write_str("the service stops; connect again"),
            Self::Refused(error) => f.write_str(error.message()),
        }
    }
}

impl From<End> for Error {
    fn from(end: End) -> Self {
        match end {
            End::Refused(error) => error,
            end => Self::new(Code::UNAVAILABLE, end.to_string()),
        }
    }
}

/// The line to a host that went away, from where it broke.
async fn found_again(
    app: &App,
    host: &Name,
    vm: VmId,
    offset: Option<u64>,
    mut why: Error,
) -> Result<Line, Error> {
    let end = Instant::now() + AWAY;
    while why.code() == Code::UNAVAILABLE && Instant::now() < end {
        sleep(AGAIN).await;
        match super::line(app, host, vm, offset).await {
            Ok(line) => return Ok(line),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// Whether what a session was opened with is good still: a token expires, and may be revoked.
fn still_good(ctx: &Context, token: Option<&str>) -> Result<(), Error> {
    match token {
        Some(token) => ctx.auth().verify(token).map(drop),
        None => Ok(()),
    }
}

/// Whether somebody may not look any more.
pub(super) fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::FORBIDDEN | Code::NOT_FOUND | Code::UNAUTHENTICATED
    )
}

/// Where a session shows what comes.
pub(crate) trait Screen: Send {
    /// Shows something. `false`: whoever looked has left.
    fn show(&mut self, offset: u64, data: Bytes) -> impl Future<Output = bool> + Send;

    /// Asks whether somebody is there.
    fn ping(&mut self) -> impl Future<Output = bool> + Send;
}

impl Session {
    /// Runs to its end. `typed` ends when whoever looks leaves.
    pub(crate) async fn run(
        self,
        typed: impl Stream<Item = Bytes> + Send,
        screen: &mut impl Screen,
    ) -> End {
        let Self {
            app,
            ctx,
            token,
            vm,
            owner,
            host,
            keyboard,
            mut output,
            _room,
        } = self;
        let keyboard = watch::Sender::new(keyboard);
        let began = Instant::now();
        // Milliseconds from the beginning to when something last happened.
        let last = AtomicU64::new(0);
        let happened = || {
            let since = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            last.store(since, Ordering::Relaxed);
        };
        let typing = async {
            let mut typed = std::pin::pin!(typed);
            while let Some(data) = typed.next().await {
                happened();
                // What its host does not hear is lost, until it is found again.
                let keyboard = keyboard.borrow().clone();
                keyboard.type_in(data).await;
            }
            End::Left
        };
        let showing = async {
            let mut ping = interval(PING);
            let mut next = None;
            loop {
                let is_there = tokio::select! {
                    piece = output.next() => match piece {
                        Some(Ok((offset, data))) => {
                            happened();
                            next = Some(offset + data.len() as u64);
                            timeout(TAKE, screen.show(offset, data)).await
                        }
                        ended => {
                            let why = ended.and_then(Result::err);
                            let why = why.unwrap_or_else(|| Error::unavailable("the host has ended it"));
                            match found_again(&app, &host, vm, next, why).await {
                                Ok((found, shown)) => {
                                    keyboard.send_replace(found);
                                    output = shown;
                                }
                                Err(why) => return End::Refused(why),
                            }
                            continue;
                        }
                    },
                    _ = ping.tick() => timeout(TAKE, screen.ping()).await,
                };
                if is_there != Ok(true) {
                    return End::Left;
                }
            }
        };
        let checking = async {
            loop {
                sleep(CHECK).await;
                let idle = began
                    .elapsed()
                    .saturating_sub(Duration::from_millis(last.load(Ordering::Relaxed)));
                if idle >= IDLE {
                    return End::Idle;
                }
                let still = match still_good(&ctx, token.as_deref()) {
                    Ok(()) => service::get(&app, &ctx, vm, &owner).await.map(drop),
                    refused => refused,
                };
                match still {
                    Err(error) if is_final(error.code()) => return End::Refused(error),
                    // What cannot be looked at now is looked at again.
                    _ => {}
                }
            }
        };
        let end = tokio::select! {
            end = typing => end,
            end = showing => end,
            end = checking => end,
            () = sleep(LONGEST) => End::Long,
            () = app.consoles.stop.cancelled() => End::Stopping,
        };
        tracing::info!(%vm, %end, seconds = began.elapsed().as_secs(), "a console is closed");
        end
    }
}
