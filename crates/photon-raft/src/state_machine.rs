//! What a group replicates to: the two traits its user implements.

use std::{io, path::Path};

use bytes::Bytes;
use futures::future::BoxFuture;

/// A deterministic, durable state machine.
///
/// Its *mark* is an opaque value of this crate (last log id and membership), stored in the same
/// atomic batch as the data it belongs to: after a crash, data and mark agree, and what follows the
/// mark is applied again from the log.
///
/// An error from `apply`, `flush`, `checkpoint` or `install` stops the group on this node.
pub trait StateMachine: Send + Sync + 'static {
    /// What a command answers.
    type Reply: Send + 'static;

    /// Encodes a reply for the member that forwarded the command.
    fn encode_reply(&self, reply: &Self::Reply) -> Bytes;

    /// The inverse of [`StateMachine::encode_reply`].
    fn decode_reply(&self, bytes: Bytes) -> io::Result<Self::Reply>;

    /// The mark of the last batch applied, which need not be flushed yet; `None` in a new one.
    fn mark(&self) -> io::Result<Option<Bytes>>;

    /// Applies `commands` in order and sets the mark, in one atomic batch; one reply per command.
    ///
    /// Blocking; called in log order, never twice at a time. `commands` may be empty: then only the mark
    /// moves.
    fn apply(&self, commands: &[Bytes], mark: Bytes) -> io::Result<Vec<Self::Reply>>;

    /// Whether applying these few commands now is a matter of tens of microseconds and waits for nothing: then it may
    /// be done on a thread that serves requests. Asked before each small range.
    fn is_quick(&self, commands: &[Bytes]) -> bool {
        let _ = commands;
        false
    }

    /// Makes everything applied so far durable before it returns. Blocking; may run beside `apply`.
    fn flush(&self) -> io::Result<()>;

    /// Writes a consistent, complete copy into `dir`, which does not exist yet, and returns the
    /// mark inside it. Blocking; may run beside `apply`.
    fn checkpoint(&self, dir: &Path) -> io::Result<Bytes>;

    /// Replaces the whole state, mark included, by the copy in `dir`; over a crash it is either the
    /// old or the new one. Durable when it returns. `dir` is consumed or may be deleted after.
    /// Blocking; never runs beside `apply`.
    fn install(&self, dir: &Path) -> io::Result<()>;
}

/// Answers [`crate::Group::call_leader`] on the leader.
pub trait LeaderService: Send + Sync + 'static {
    /// Handles one request; the caller's deadline cancels it by dropping.
    fn handle(&self, request: Bytes) -> BoxFuture<'_, io::Result<Bytes>>;
}

/// A [`LeaderService`] for groups that need none: refuses every request.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoService;

impl LeaderService for NoService {
    fn handle(&self, _request: Bytes) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(async {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "no leader service",
            ))
        })
    }
}
