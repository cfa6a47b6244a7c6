//! Copying content that VMs of this host need from hosts that hold it.
//!
//! ```text
//!   desired/blob/<sha256> ──> one task each ──read──> another host's door
//!                                  └──> an upload of our own ([`crate::blobs`]) ──> a blob, if its SHA-256 is right
//! ```
//!
//! A copy that broke off goes on where it was, with the next holder; a holder that gives something else is not asked first the next time.
//! What is not wanted any more is given up, and nothing of it stays.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use parking_lot::Mutex;
use photon_core::{Code, Error, Name};
use plasmavmc_door::{At, Doors};
use plasmavmc_model::{DesiredBlob, Digest, Holder};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::blobs::{Blobs, COPY};

/// Copies at one time.
const AT_ONCE: usize = 2;
/// After so many failures in a row it is told.
const PATIENCE: usize = 3;
/// How long a holder may take for the next piece.
const PIECE_WITHIN: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How a copy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is under way, or waits for its turn.
    UnderWay,
    /// It failed, and is tried again after a pause.
    Failed(String),
}

/// The copies. Clones are one.
#[derive(Clone, Debug)]
pub struct Copies(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: Name,
    blobs: Arc<Blobs>,
    doors: Doors,
    copies: Mutex<BTreeMap<Digest, Copy>>,
    turns: Semaphore,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Copy {
    wanted: DesiredBlob,
    state: State,
    /// That other holders were told of.
    told: Arc<Notify>,
    stop: CancellationToken,
}

impl Copies {
    /// None yet.
    #[must_use]
    pub fn new(host: Name, blobs: Arc<Blobs>, doors: Doors, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            host,
            blobs,
            doors,
            copies: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
            stop,
        }))
    }

    /// How the copy of that content is; `None` if none is wanted.
    #[must_use]
    pub fn state(&self, digest: Digest) -> Option<State> {
        let copies = self.0.copies.lock();
        copies.get(&digest).map(|copy| copy.state.clone())
    }

    /// What is wanted now. Begins what is new, and gives up what is not wanted any more.
    pub fn update(&self, wanted: &BTreeMap<Digest, DesiredBlob>) {
        let mut copies = self.0.copies.lock();
        copies.retain(|digest, copy| {
            let is_wanted = wanted.contains_key(digest);
            if !is_wanted {
                copy.stop.cancel();
            }
            is_wanted
        });
        for (digest, blob) in wanted {
            if let Some(copy) = copies.get_mut(digest) {
                if copy.wanted != *blob {
                    copy.wanted = blob.clone();
                    copy.told.notify_one();
                }
                continue;
            }
            if self.0.blobs.holds(*digest) {
                continue;
            }
            let copy = Copy {
                wanted: blob.clone(),
                state: State::UnderWay,
                told: Arc::new(Notify::new()),
                stop: self.0.stop.child_token(),
            };
            let (told, stop) = (Arc::clone(&copy.told), copy.stop.clone());
            copies.insert(*digest, copy);
            let (inner, digest) = (Arc::clone(&self.0), *digest);
            tokio::spawn(async move { inner.work(digest, &told, &stop).await });
        }
    }
}

impl Inner {
    async fn work(&self, digest: Digest, told: &Notify, stop: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 0;
        loop {
            let wanted = self
                .copies
                .lock()
                .get(&digest)
                .map(|copy| copy.wanted.clone());
            let Some(wanted) = wanted else { break };
            let copied = stop.run_until_cancelled(self.copy(&wanted, attempt)).await;
            match copied {
                None => break,
                Some(Ok(())) => {
                    tracing::info!(%digest, bytes = wanted.bytes, "content is copied");
                    self.copies.lock().remove(&digest);
                    self.blobs.changed.notify_one();
                    return;
                }
                Some(Err(error)) => {
                    let why = match error.causes() {
                        Some(causes) => format!("{error}: {causes}"),
                        None => error.to_string(),
                    };
                    tracing::warn!(%digest, error = why, "content is not copied; trying again");
                    // A holder may be away for a moment; a disk is not full for one.
                    if attempt + 1 >= PATIENCE || error.code() == Code::NO_CAPACITY {
                        self.set(digest, State::Failed(why));
                    }
                }
            }
            attempt += 1;
            tokio::select! {
                () = stop.cancelled() => break,
                () = told.notified() => {}
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
        // The agent that stops goes on with it when it is back; what nobody wants, nobody goes on with.
        if !self.stop.is_cancelled()
            && let Err(error) = self.blobs.abandon(&upload(digest)).await
        {
            tracing::warn!(%digest, %error, "what was copied so far stays for a day");
        }
    }

    fn set(&self, digest: Digest, state: State) {
        if let Some(copy) = self.copies.lock().get_mut(&digest) {
            copy.state = state;
        }
        self.blobs.changed.notify_one();
    }

    /// One attempt, with every holder.
    async fn copy(&self, wanted: &DesiredBlob, attempt: usize) -> Result<(), Error> {
        let _turn = self.turns.acquire().await.map_err(Error::internal)?;
        let (digest, upload) = (wanted.digest, upload(wanted.digest));
        let mut there = self.blobs.begin(&upload, wanted.bytes).await?;
        let mut last = Error::unavailable("no host that is there holds it");
        let holders = wanted.from.iter().filter(|holder| holder.host != self.host);
        let holders = Vec::from_iter(holders);
        for number in 0..holders.len() {
            if there == wanted.bytes {
                break;
            }
            let holder = holders[(number + attempt) % holders.len()];
            match self.append(&upload, digest, there, holder).await {
                (Ok(now), error) => {
                    there = now;
                    last = error.unwrap_or(last);
                }
                (Err(error), _) => return Err(error),
            }
        }
        if there < wanted.bytes {
            return Err(last);
        }
        let finished = self.blobs.finish(&upload, Some(digest), None, 0).await;
        finished.map(drop)?;
        // It is a blob now; that it was an upload is of no interest.
        self.blobs.abandon(&upload).await
    }

    /// From one holder: how much is there then, and why it gave no more.
    async fn append(
        &self,
        upload: &Name,
        digest: Digest,
        offset: u64,
        holder: &Holder,
    ) -> (Result<u64, Error>, Option<Error>) {
        let at = At {
            host: holder.host.clone(),
            url: holder.door.clone(),
        };
        let pieces = match self.doors.read(&at, digest, offset).await {
            Ok(pieces) => pieces,
            Err(error) => return (Ok(offset), Some(error)),
        };
        let broke = Mutex::new(None);
        let pieces = in_time(pieces.boxed()).map(|piece| {
            piece.inspect_err(|error| *broke.lock() = Some(Error::unavailable(error.to_string())))
        });
        let written = self.blobs.write(upload, offset, Box::pin(pieces)).await;
        (written.map(|(there, _)| there), broke.into_inner())
    }
}

/// Each piece within its time, or the end.
fn in_time(
    pieces: impl Stream<Item = Result<Bytes, Error>> + Unpin,
) -> impl Stream<Item = Result<Bytes, Error>> {
    futures::stream::unfold(pieces, async |mut pieces| {
        match tokio::time::timeout(PIECE_WITHIN, pieces.next()).await {
            Ok(piece) => Some((piece?, pieces)),
            Err(_) => Some((Err(Error::unavailable("the holder is silent")), pieces)),
        }
    })
}

/// What a copy is called as long as it is not whole.
#[expect(
    clippy::expect_used,
    reason = "hexadecimal digits, few enough, make a name"
)]
fn upload(digest: Digest) -> Name {
    let digits = digest.to_string();
    Name::new(format!("{COPY}{}", &digits[..56])).expect("a name")
}
