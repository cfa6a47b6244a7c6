//! One sequence on one server: wipe, operate, drain the watchers.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use photon_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RequestOp,
    TxnRequest, compare::TargetUnion, request_op::Request,
};
use tonic::{Response, Status};

use super::generate::KEYS;
use super::normal::Normal;
use super::op::{Op, from_server, to_server};
use super::server::Server;
use super::watching::Watching;

const DEADLINE: Duration = Duration::from_secs(20);

/// What a client saw, in text: the whole normalised answer, or the error's code and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answer(String),
    Error { code: i32, message: String },
}

impl Outcome {
    fn from_status(status: &Status) -> Self {
        Self::Error {
            code: status.code() as i32,
            message: status.message().to_owned(),
        }
    }

    /// An answer that carries revisions in the usual places.
    fn normal<T: Normal + Debug>(result: Result<Response<T>, Status>, base: i64) -> Self {
        Self::of(result, |answer| answer.normalise(base))
    }

    fn of<T: Debug>(result: Result<Response<T>, Status>, normalise: impl FnOnce(&mut T)) -> Self {
        match result {
            Ok(response) => {
                let mut answer = response.into_inner();
                normalise(&mut answer);
                Self::Answer(format!("{answer:?}"))
            }
            Err(status) => Self::from_status(&status),
        }
    }
}

/// What a sequence gave on one server.
#[derive(Debug)]
pub(crate) struct Transcript {
    /// One for each operation.
    pub(crate) outcomes: Vec<Outcome>,
    /// What each watcher saw, by watch id.
    pub(crate) watchers: Vec<super::watching::Seen>,
}

/// Runs a sequence from an empty, compacted store.
///
/// # Errors
/// When the server cannot be wiped, or its watch stream breaks; answers with errors are outcomes.
pub(crate) async fn run(server: &Server, ops: &[Op]) -> anyhow::Result<Transcript> {
    let base = tokio::time::timeout(DEADLINE, wipe(server))
        .await
        .context("wiping takes too long")?
        .context("wiping")?;
    let mut session = Session {
        server,
        base,
        compacted: base - 1,
        watching: Watching::new(server, base),
    };
    let mut outcomes = Vec::with_capacity(ops.len());
    for op in ops {
        let outcome = tokio::time::timeout(DEADLINE, session.step(op))
            .await
            .with_context(|| format!("{}: no answer to {op:?}", server.name))??;
        outcomes.push(outcome);
    }
    session.settle().await?;
    Ok(Transcript {
        outcomes,
        watchers: session.watching.seen(),
    })
}

/// Empties the store and forgets its history; returns the revision at which a sequence begins.
async fn wipe(server: &Server) -> anyhow::Result<i64> {
    let (mut kv, mut lease) = (server.kv(), server.lease());
    let leases = lease
        .lease_leases(LeaseLeasesRequest {})
        .await?
        .into_inner();
    for held in leases.leases {
        lease
            .lease_revoke(LeaseRevokeRequest { id: held.id })
            .await?;
    }
    let all = DeleteRangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        prev_kv: false,
    };
    kv.delete_range(all.clone()).await?;
    // The compacted revision must be no deletion: versions of etcd differ in whether they keep that.
    let put = kv.put(PutRequest {
        key: Bytes::from_static(b"wiped"),
        ..PutRequest::default()
    });
    let written = put.await?.into_inner();
    kv.compact(CompactionRequest {
        revision: written.header.context("header")?.revision,
        physical: true,
    })
    .await?;
    let emptied = kv.delete_range(all).await?.into_inner();
    let revision = emptied.header.context("header")?.revision;
    Ok(revision)
}

struct Session<'a> {
    server: &'a Server,
    base: i64,
    /// The latest compaction, as the server counts.
    compacted: i64,
    watching: Watching,
}

impl Session<'_> {
    async fn step(&mut self, op: &Op) -> anyhow::Result<Outcome> {
        let base = self.base;
        let (mut kv, mut lease) = (self.server.kv(), self.server.lease());
        Ok(match op.clone() {
            Op::Range(mut request) => {
                request.to_server(base);
                Outcome::normal(kv.range(request).await, base)
            }
            Op::Put(request) => Outcome::normal(kv.put(request).await, base),
            Op::Delete(request) => Outcome::normal(kv.delete_range(request).await, base),
            Op::Txn(mut request) => {
                request.to_server(base);
                Outcome::normal(kv.txn(request).await, base)
            }
            Op::Compact(mut request) => {
                // A watcher that has not caught up may or may not be told; only one that has is comparable.
                self.settle().await?;
                request.revision = to_server(request.revision, base);
                let answer = kv.compact(request).await;
                if answer.is_ok() {
                    self.compacted = request.revision;
                }
                Outcome::of(answer, |answer| answer.header.normalise(base))
            }
            Op::Grant { id, ttl } => {
                let answer = lease.lease_grant(LeaseGrantRequest { ttl, id }).await;
                Outcome::of(answer, |answer| answer.header.normalise(base))
            }
            Op::GrantAny { ttl } => match lease.lease_grant(LeaseGrantRequest { ttl, id: 0 }).await
            {
                Ok(granted) => {
                    let granted = granted.into_inner();
                    let revoked = lease
                        .lease_revoke(LeaseRevokeRequest { id: granted.id })
                        .await;
                    Outcome::Answer(format!(
                        "ttl {} id {} revoked {}",
                        granted.ttl,
                        granted.id > 0,
                        revoked.is_ok()
                    ))
                }
                Err(status) => Outcome::from_status(&status),
            },
            Op::Revoke { id } => {
                let answer = lease.lease_revoke(LeaseRevokeRequest { id }).await;
                Outcome::of(answer, |answer| answer.header.normalise(base))
            }
            Op::KeepAlive { id } => self.keep_alive(id).await?,
            Op::TimeToLive { id, keys } => {
                let answer = lease
                    .lease_time_to_live(LeaseTimeToLiveRequest { id, keys })
                    .await;
                Outcome::normal(answer, base)
            }
            Op::Leases => {
                let answer = lease.lease_leases(LeaseLeasesRequest {}).await;
                Outcome::of(answer, |answer| {
                    answer.header.normalise(base);
                    answer.leases.sort_by_key(|lease| lease.id);
                })
            }
            Op::Watch(mut request) => {
                request.start_revision = to_server(request.start_revision, base);
                Outcome::Answer(self.watching.create(request, self.compacted).await?)
            }
            Op::Cancel { watch_id } => {
                self.settle().await?;
                Outcome::Answer(self.watching.cancel(watch_id).await?)
            }
        })
    }

    async fn keep_alive(&self, id: i64) -> anyhow::Result<Outcome> {
        // The stream stays open until the answer is there.
        let (send, receive) = tokio::sync::mpsc::channel(1);
        send.send(LeaseKeepAliveRequest { id }).await?;
        let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
        let answer = async {
            let mut answers = self
                .server
                .lease()
                .lease_keep_alive(requests)
                .await?
                .into_inner();
            answers
                .message()
                .await?
                .ok_or_else(|| Status::aborted("the stream ended"))
                .map(Response::new)
        };
        let outcome = Outcome::of(answer.await, |answer| answer.header.normalise(self.base));
        drop(send);
        Ok(outcome)
    }

    /// Writes and deletes every key, so that each watcher has one last event to wait for, and waits until all have
    /// seen theirs. Without watchers it changes nothing.
    async fn settle(&mut self) -> anyhow::Result<()> {
        if !self.watching.any_alive() {
            return Ok(());
        }
        let puts = KEYS.iter().map(|key| {
            Request::RequestPut(PutRequest {
                key: Bytes::from_static(key),
                value: Bytes::from_static(b"settled"),
                ..PutRequest::default()
            })
        });
        let put = self.all(puts).await?;
        let deletes = KEYS.iter().map(|key| {
            Request::RequestDeleteRange(DeleteRangeRequest {
                key: Bytes::from_static(key),
                ..DeleteRangeRequest::default()
            })
        });
        let deleted = self.all(deletes).await?;
        self.watching
            .caught_up(put, deleted, DEADLINE)
            .await
            .with_context(|| self.server.name.clone())
    }

    async fn all(&self, requests: impl Iterator<Item = Request>) -> anyhow::Result<i64> {
        let txn = TxnRequest {
            success: requests
                .map(|request| RequestOp {
                    request: Some(request),
                })
                .collect(),
            ..TxnRequest::default()
        };
        let answer = self.server.kv().txn(txn).await?.into_inner();
        Ok(answer.header.context("header")?.revision)
    }
}

/// Requests with revisions in them.
trait ToServer {
    /// Rewrites relative revisions for a sequence that began at `base`.
    fn to_server(&mut self, base: i64);
}

impl ToServer for photon_proto::etcdserverpb::RangeRequest {
    fn to_server(&mut self, base: i64) {
        for revision in [
            &mut self.revision,
            &mut self.min_mod_revision,
            &mut self.max_mod_revision,
            &mut self.min_create_revision,
            &mut self.max_create_revision,
        ] {
            *revision = to_server(*revision, base);
        }
    }
}

impl ToServer for TxnRequest {
    fn to_server(&mut self, base: i64) {
        for compare in &mut self.compare {
            if let Some(
                TargetUnion::CreateRevision(revision) | TargetUnion::ModRevision(revision),
            ) = &mut compare.target_union
            {
                *revision = to_server(*revision, base);
            }
        }
        for op in self.success.iter_mut().chain(&mut self.failure) {
            match &mut op.request {
                Some(Request::RequestRange(range)) => range.to_server(base),
                Some(Request::RequestTxn(txn)) => txn.to_server(base),
                _ => {}
            }
        }
    }
}

/// For messages of watchers.
pub(crate) fn written(revision: i64, base: i64) -> i64 {
    from_server(revision, base)
}
