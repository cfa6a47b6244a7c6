//! A watch that outlives the connection and the member it runs on.
//!
//! Every message carries a revision up to which everything has been sent. When the stream breaks, the watch
//! asks another member for what comes after that revision, so nothing is lost; what a member sends from before
//! it is left out, so nothing comes twice.

use std::{sync::Arc, time::Duration};

use futures::Stream;
use photon_proto::photon::chainfire::v1::{WatchRequest, WatchResponse};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Request, Status, Streaming};

use crate::{
    call::{Pause, follow, stub},
    endpoints::Endpoints,
};

/// How long one member may take to take on a watch.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// A running watch. [`Self::next`] is cancel safe.
///
/// It ends with `OutOfRange` (code `COMPACTED`) when the history it needs is gone: read the keys again and watch
/// from the revision of that read. Dropping it ends it at the member.
pub struct Watch {
    endpoints: Arc<Endpoints>,
    request: WatchRequest,
    stream: Option<Streaming<WatchResponse>>,
    /// Everything up to here has been handed out. `None` until the first message of a watch from "now".
    seen: Option<i64>,
}

impl Watch {
    pub(crate) async fn open(
        endpoints: Arc<Endpoints>,
        request: WatchRequest,
    ) -> Result<Self, Status> {
        let seen = (request.from_revision > 0).then(|| request.from_revision - 1);
        let mut watch = Self {
            endpoints,
            request,
            stream: None,
            seen,
        };
        let deadline = Instant::now() + watch.endpoints.options().deadline;
        let first = watch.resume(deadline).await?;
        // A watch from "now" begins where the first member that took it says; from then on it is fixed, however
        // often the connection breaks.
        watch.seen = watch.seen.max(Some(first));
        Ok(watch)
    }

    /// Everything up to this revision has been handed out.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.seen.unwrap_or_default()
    }

    /// The next changes: all of one revision together. A message without events says that everything up to its
    /// revision has been seen.
    ///
    /// # Errors
    /// `OutOfRange` when history is gone, `PermissionDenied` and the like as the member says, and the last failure when
    /// no member could be reached for [`Options::resume_timeout`](crate::Options::resume_timeout); after that one, calling
    /// again goes on trying.
    pub async fn next(&mut self) -> Result<WatchResponse, Status> {
        loop {
            if self.stream.is_none() {
                let deadline = Instant::now() + self.endpoints.options().resume_timeout;
                self.resume(deadline).await?;
            }
            let Some(stream) = &mut self.stream else {
                continue;
            };
            match stream.message().await {
                Ok(Some(message)) => {
                    if let Some(news) = self.unseen(message) {
                        return Ok(news);
                    }
                }
                Ok(None) => self.stream = None,
                Err(status) if passes(&status) => {
                    tracing::debug!(%status, "watch broke, resuming");
                    self.stream = None;
                }
                Err(status) => {
                    self.stream = None;
                    return Err(status);
                }
            }
        }
    }

    /// The same as a stream, which ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<WatchResponse, Status>> + Send {
        futures::stream::unfold(Some(self), |watch| async {
            let mut watch = watch?;
            match watch.next().await {
                Ok(message) => Some((Ok(message), Some(watch))),
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    /// What of `message` has not been handed out yet.
    fn unseen(&mut self, mut message: WatchResponse) -> Option<WatchResponse> {
        let seen = self.seen.unwrap_or_default();
        message.events.retain(|event| {
            event
                .item
                .as_ref()
                .is_none_or(|item| item.mod_revision > seen)
        });
        if message.revision <= seen && message.events.is_empty() {
            return None;
        }
        self.seen = Some(message.revision.max(seen));
        Some(message)
    }

    /// Opens the stream on some member, and returns the revision it stands at.
    async fn resume(&mut self, deadline: Instant) -> Result<i64, Status> {
        let mut request = self.request.clone();
        if let Some(seen) = self.seen {
            request.from_revision = seen + 1;
        }
        let mut pause = Pause::new();
        loop {
            let mut last = Status::unavailable("no member is known");
            for slot in self.endpoints.in_order() {
                match timeout(OPEN_TIMEOUT, slot.channel()).await {
                    Ok(Ok(channel)) => match open(stub(channel), request.clone()).await {
                        Ok((stream, revision)) => {
                            self.endpoints.worked(&slot);
                            self.stream = Some(stream);
                            return Ok(revision);
                        }
                        Err(status) if passes(&status) => {
                            follow(&self.endpoints, status.metadata());
                            last = status;
                        }
                        Err(status) => return Err(status),
                    },
                    Ok(Err(error)) => {
                        last = Status::unavailable(format!(
                            "{} cannot be reached: {error}",
                            slot.address()
                        ))
                    }
                    Err(_) => {
                        last = Status::unavailable(format!("{} does not answer", slot.address()))
                    }
                }
                self.endpoints.failed(&slot).await;
                if Instant::now() >= deadline {
                    return Err(last);
                }
            }
            pause.wait(deadline).await;
            if Instant::now() >= deadline {
                return Err(last);
            }
        }
    }
}

type Stub = photon_proto::photon::chainfire::v1::chain_fire_client::ChainFireClient<
    tonic::transport::Channel,
>;

/// Starts the watch and reads its first message, which says that it stands.
async fn open(
    mut stub: Stub,
    request: WatchRequest,
) -> Result<(Streaming<WatchResponse>, i64), Status> {
    let deadline = Instant::now() + OPEN_TIMEOUT;
    let late = |_| Status::unavailable("the member did not take the watch in time");
    let mut stream = timeout_at(deadline, stub.watch(Request::new(request)))
        .await
        .map_err(late)??
        .into_inner();
    match timeout_at(deadline, stream.message())
        .await
        .map_err(late)??
    {
        Some(first) => Ok((stream, first.revision)),
        None => Err(Status::unavailable("the member ended the watch")),
    }
}

/// True for failures of a member or a connection, which another member may not have.
fn passes(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
    )
}
