//! `v3electionpb.Election`: the leader is the first in a line; the value of its key is what it proclaims.

use std::sync::Arc;

use bytes::Bytes;
use chainfire_engine::{
    EtcdError,
    watch::{WatchItem, WatchSpec},
};
use photon_proto::{
    etcdserverpb::{PutRequest, RangeRequest, ResponseHeader, TxnRequest},
    mvccpb::KeyValue,
    v3electionpb::{
        CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse,
        ProclaimRequest, ProclaimResponse, ResignRequest, ResignResponse,
        election_server::Election,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::{
    enter::wants_leader,
    line::{
        Asker, created_at, is_delete, one, op_delete, op_put, op_range, prefix, range_end, refuse,
        rest,
    },
};
use crate::app::App;

const NOT_LEADER: EtcdError = EtcdError::new(Code::Unknown as i32, "election: not leader");
const NO_LEADER: EtcdError = EtcdError::new(Code::Unknown as i32, "election: no leader");
const MISSING_LEADER_KEY: EtcdError =
    EtcdError::new(Code::Unknown as i32, "\"leader\" field must be provided");

/// Proclamations that wait for the connection to take them.
const WAITING: usize = 8;

pub(super) struct ElectionDoor(pub(super) Arc<App>);

#[tonic::async_trait]
impl Election for ElectionDoor {
    type ObserveStream = ReceiverStream<Result<LeaderResponse, Status>>;

    /// Waits for as long as the caller does.
    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let (asker, request) = Asker::admit(&self.0, request).await?;
        let CampaignRequest { name, lease, value } = request;
        let value = Bytes::from(value);
        let place = asker
            .clone()
            .take_turn(prefix(&name), lease, value.clone(), NOT_LEADER)
            .await?;
        let leader = LeaderKey {
            name,
            key: place.key.to_vec(),
            rev: place.revision,
            lease: place.lease,
        };
        // A key of an earlier campaign may have another value.
        let header = match asker.repeat(&leader, value).await {
            Ok(None) => place.header,
            Ok(Some(header)) => header,
            Err(error) => {
                asker.leave(&place).await;
                return Err(refuse(error));
            }
        };
        Ok(Response::new(CampaignResponse {
            header: Some(header),
            leader: Some(leader),
        }))
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let (asker, request) = Asker::admit(&self.0, request).await?;
        let leader = given(request.leader)?;
        let header = asker
            .proclaim(&leader, request.value.into())
            .await
            .map_err(refuse)?;
        Ok(Response::new(ProclaimResponse {
            header: Some(header),
        }))
    }

    async fn leader(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<LeaderResponse>, Status> {
        let (asker, LeaderRequest { name }) = Asker::admit(&self.0, request).await?;
        let (header, leader) = asker.first(&prefix(&name)).await.map_err(refuse)?;
        let kv = leader.ok_or_else(|| refuse(NO_LEADER))?;
        Ok(Response::new(LeaderResponse {
            header: Some(header),
            kv: Some(kv),
        }))
    }

    /// Everything that leaders proclaim, in order, from the present leader's latest on.
    async fn observe(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let requires_leader = wants_leader(request.metadata());
        let (asker, LeaderRequest { name }) = Asker::admit(&self.0, request).await?;
        let (responses, stream) = mpsc::channel(WAITING);
        let observer = Observer {
            asker,
            line: prefix(&name),
            responses,
            told: None,
        };
        self.0.spawn(observer.observe(requires_leader));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    /// Does nothing when the caller leads no more, as in etcd.
    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        let (asker, request) = Asker::admit(&self.0, request).await?;
        let leader = given(request.leader)?;
        let key = Bytes::from(leader.key);
        let resign = TxnRequest {
            compare: vec![created_at(&key, leader.rev)],
            success: vec![op_delete(key)],
            failure: Vec::new(),
        };
        let response = asker.txn(resign).await.map_err(refuse)?;
        Ok(Response::new(ResignResponse {
            header: response.header,
        }))
    }
}

fn given(leader: Option<LeaderKey>) -> Result<LeaderKey, Status> {
    leader.ok_or_else(|| refuse(MISSING_LEADER_KEY))
}

impl Asker {
    /// Sets the leader's value, if the caller still leads.
    async fn proclaim(
        &self,
        leader: &LeaderKey,
        value: Bytes,
    ) -> Result<ResponseHeader, EtcdError> {
        let key = Bytes::copy_from_slice(&leader.key);
        let put = PutRequest {
            key: key.clone(),
            value,
            lease: leader.lease,
            ..Default::default()
        };
        let response = self
            .txn(TxnRequest {
                compare: vec![created_at(&key, leader.rev)],
                success: vec![op_put(put)],
                failure: Vec::new(),
            })
            .await?;
        if !response.succeeded {
            return Err(NOT_LEADER);
        }
        Ok(response.header.unwrap_or_default())
    }

    /// Proclaims the value unless it is the leader's already.
    async fn repeat(
        &self,
        leader: &LeaderKey,
        value: Bytes,
    ) -> Result<Option<ResponseHeader>, EtcdError> {
        let mine = RangeRequest {
            key: Bytes::copy_from_slice(&leader.key),
            ..Default::default()
        };
        let response = self
            .txn(TxnRequest {
                success: vec![op_range(mine)],
                ..Default::default()
            })
            .await?;
        match one(&response.responses, 0) {
            Some(kv) if kv.value == value => Ok(None),
            _ => self.proclaim(leader, value).await.map(Some),
        }
    }
}

/// One stream of proclamations.
struct Observer {
    asker: Asker,
    line: Bytes,
    responses: mpsc::Sender<Result<LeaderResponse, Status>>,
    /// Key and revision of the newest proclamation sent. Revisions of different keys say nothing about the
    /// order of their turns: a key is made long before its turn comes.
    told: Option<(Bytes, i64)>,
}

/// Why an observation ends.
enum End {
    /// The client has gone away.
    Gone,
    /// With this status.
    Refused(EtcdError),
}

impl From<EtcdError> for End {
    fn from(error: EtcdError) -> Self {
        Self::Refused(error)
    }
}

impl Observer {
    async fn observe(mut self, requires_leader: bool) {
        let (app, responses) = (Arc::clone(&self.asker.app), self.responses.clone());
        let lost = async {
            if requires_leader {
                app.leader_lost().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        let end = tokio::select! {
            () = app.stopping().cancelled() => End::Refused(EtcdError::STOPPED),
            () = responses.closed() => End::Gone,
            () = lost => End::Refused(EtcdError::NO_LEADER),
            end = self.follow() => end,
        };
        if let End::Refused(error) = end {
            let patience = app.config().leaderless_limit();
            let send = responses.send(Err(refuse(error)));
            // Sent or not, the stream ends now.
            let _sent = tokio::time::timeout(patience, send).await;
        }
    }

    async fn follow(&mut self) -> End {
        loop {
            if let Err(end) = self.follow_one_leader().await {
                return end;
            }
        }
    }

    /// Tells what one leader proclaims until it leads no more.
    async fn follow_one_leader(&mut self) -> Result<(), End> {
        let (mut header, leader) = self.asker.first(&self.line).await?;
        let kv = match leader {
            Some(kv) => kv,
            None => match self.await_a_leader(header.revision + 1).await? {
                Some(kv) => {
                    header = self.asker.app.header_at(kv.mod_revision);
                    kv
                }
                None => return Ok(()),
            },
        };
        let key = kv.key.clone();
        self.tell(header, kv).await?;
        let watched = WatchSpec {
            key,
            start_revision: header.revision + 1,
            ..Default::default()
        };
        let (_session, mut updates) = self.asker.watch([watched])?;
        loop {
            match updates.recv().await {
                Some(WatchItem::Created { .. } | WatchItem::Progress { .. }) => {}
                Some(WatchItem::Events { events, .. }) => {
                    for event in events {
                        if is_delete(&event) {
                            return Ok(());
                        }
                        if let Some(kv) = event.kv {
                            let header = self.asker.app.header_at(kv.mod_revision);
                            self.tell(header, kv).await?;
                        }
                    }
                }
                Some(_) | None => {
                    rest().await;
                    return Ok(());
                }
            }
        }
    }

    /// The first key that appears in an empty line; `None` when it has to be looked at again.
    async fn await_a_leader(&self, from: i64) -> Result<Option<KeyValue>, End> {
        let watched = WatchSpec {
            key: self.line.clone(),
            range_end: range_end(&self.line),
            start_revision: from,
            no_delete: true,
            ..Default::default()
        };
        let (_session, mut updates) = self.asker.watch([watched])?;
        loop {
            match updates.recv().await {
                Some(WatchItem::Created { .. } | WatchItem::Progress { .. }) => {}
                Some(WatchItem::Events { events, .. }) => {
                    return Ok(events.into_iter().next().and_then(|event| event.kv));
                }
                Some(_) | None => {
                    rest().await;
                    return Ok(None);
                }
            }
        }
    }

    async fn tell(&mut self, header: ResponseHeader, kv: KeyValue) -> Result<(), End> {
        // After an interrupted watch the same leader is found again.
        let known = self.told.as_ref();
        if known.is_some_and(|(key, revision)| *key == kv.key && kv.mod_revision <= *revision) {
            return Ok(());
        }
        self.told = Some((kv.key.clone(), kv.mod_revision));
        let response = LeaderResponse {
            header: Some(header),
            kv: Some(kv),
        };
        let sent = self.responses.send(Ok(response)).await;
        sent.map_err(|_| End::Gone)
    }
}
