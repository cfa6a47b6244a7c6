//! Native gRPC: `photon.chainfire.v1`, the doors behind `chainfire-client`.
//!
//! Thin: each rpc becomes etcd's message, goes through [`App`], and comes back as text. Lists, watches and
//! errors are those of REST (`crate::rest`).

mod convert;
mod status;

use std::{pin::Pin, sync::Arc};

use futures::{Stream, stream};
use photon_core::Error;
use photon_proto::{
    etcdserverpb::{
        CompactionRequest, LeaseGrantRequest as EtcdGrant, LeaseRevokeRequest as EtcdRevoke,
        LeaseTimeToLiveRequest, ResponseHeader,
    },
    photon::chainfire::v1::{
        CompactRequest, CompactResponse, DeleteRequest, DeleteResponse, GetRequest, GetResponse,
        GetWithRequest, LeaseGetRequest, LeaseGetResponse, LeaseGrantRequest, LeaseGrantResponse,
        LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseListRequest, LeaseListResponse,
        LeaseRevokeRequest, LeaseRevokeResponse, MemberAddRequest, MemberAddResponse,
        MemberListRequest, MemberListResponse, MemberPromoteRequest, MemberPromoteResponse,
        MemberRemoveRequest, MemberRemoveResponse, PutRequest, PutResponse, ScanRequest,
        ScanResponse, StatusRequest, StatusResponse, TransferLeadershipRequest,
        TransferLeadershipResponse, TxnRequest, TxnResponse, WatchRequest, WatchResponse,
        chain_fire_server::{ChainFire, ChainFireServer},
    },
};
use photon_server::{Peer, grpc::GoWords};
use tonic::{Request, Response, Status, metadata::AsciiMetadataValue};

use self::{
    convert::{changed, item, member, text_key},
    status::{answer, status},
};
use crate::{
    app::{Address, App, Caller, NewMember},
    etcd::Gate,
    rest::{
        asking,
        changes::{Changes, Follow, Update},
        cluster::{Role, check_address, check_node_id, cluster_id, transfer_leadership},
        error::from_etcd,
        scan::{self, Span},
    },
};

/// The native service on one node.
#[derive(Clone, Debug)]
pub struct Native {
    app: Arc<App>,
}

/// The service, for the client port.
pub fn service(app: Arc<App>) -> Gate<GoWords<ChainFireServer<Native>>> {
    let limit = app.config().limits.request_bytes + FRAMING_BYTES;
    let native = Native {
        app: Arc::clone(&app),
    };
    let server = ChainFireServer::new(native).max_decoding_message_size(limit);
    Gate::before(GoWords(server), &app, |error| status(&from_etcd(error)))
}

/// What a request may be larger than the store takes, so that the store refuses it in its own words.
const FRAMING_BYTES: usize = 512 << 10;

impl Native {
    /// Who asks: the holder of the token in the metadata `token` or `authorization`, or whom the connection's
    /// certificate names.
    async fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Error> {
        let metadata = request.metadata();
        let token = metadata
            .get("token")
            .or_else(|| metadata.get("authorization"))
            .map(AsciiMetadataValue::as_bytes);
        asking::caller(&self.app, token, request.extensions().get::<Peer>()).await
    }

    async fn read(&self, caller: &Caller, request: GetWithRequest) -> Result<GetResponse, Error> {
        let key = request.key.clone();
        let found = self
            .app
            .range(caller, convert::read(request)?)
            .await
            .map_err(from_etcd)?;
        let revision = revision(found.header.as_ref());
        let kv = found
            .kvs
            .into_iter()
            .next()
            .ok_or_else(|| Error::not_found(format!("key {key}")))?;
        Ok(item(kv, revision))
    }

    async fn scan(&self, caller: &Caller, request: ScanRequest) -> Result<ScanResponse, Error> {
        let given = |text: String| (!text.is_empty()).then_some(text);
        let (prefix, start, end) = (
            given(request.prefix),
            given(request.start),
            given(request.end),
        );
        let limit = match request.limit {
            0 => None,
            limit => Some(usize::try_from(limit).map_err(|error| {
                Error::validation("limit", "minimum", "limit is at least 0").with_source(error)
            })?),
        };
        let query = scan::Query {
            span: Span::parse(prefix.as_deref(), start.as_deref(), end.as_deref())?,
            limit,
            page_token: given(request.page_token),
            revision: request.revision,
            keys_only: request.keys_only,
            stale: request.stale,
        };
        let page = scan::scan(&self.app, caller, query).await?;
        Ok(ScanResponse {
            items: page
                .items
                .into_iter()
                .map(|kv| item(kv, page.revision))
                .collect(),
            count: page.count,
            next_page_token: page.next_page_token.unwrap_or_default(),
            revision: page.revision,
        })
    }

    async fn run_txn(&self, caller: &Caller, request: TxnRequest) -> Result<TxnResponse, Error> {
        let done = self
            .app
            .txn(caller, convert::txn(request)?)
            .await
            .map_err(from_etcd)?;
        let revision = revision(done.header.as_ref());
        Ok(TxnResponse {
            succeeded: done.succeeded,
            results: done
                .responses
                .into_iter()
                .map(|op| convert::op_result(op, revision))
                .collect::<Result<_, _>>()?,
            revision,
        })
    }

    async fn lease(&self, caller: &Caller, id: i64) -> Result<LeaseGetResponse, Error> {
        let request = LeaseTimeToLiveRequest { id, keys: true };
        let lease = self
            .app
            .lease_time_to_live(caller, request)
            .await
            .map_err(from_etcd)?;
        if lease.ttl < 0 {
            return Err(Error::not_found(format!("lease {id}")));
        }
        Ok(LeaseGetResponse {
            id,
            granted_ttl_seconds: lease.granted_ttl,
            ttl_seconds: lease.ttl,
            keys: lease.keys.iter().map(text_key).collect(),
        })
    }

    async fn add(
        &self,
        caller: &Caller,
        request: MemberAddRequest,
    ) -> Result<MemberAddResponse, Error> {
        check_address(&request.address)?;
        if request.node_id != 0 {
            check_node_id(request.node_id)?;
        }
        let new = NewMember {
            address: Address::Client(request.address),
            node_id: (request.node_id != 0).then_some(request.node_id),
            stays_learner: false,
        };
        let added = self.app.member_add(caller, new).await.map_err(from_etcd)?;
        Ok(MemberAddResponse {
            member: Some(member(added, self.app.raft_status().leader)),
        })
    }

    fn members(&self) -> Vec<photon_proto::photon::chainfire::v1::Member> {
        let leader = self.app.raft_status().leader;
        self.app
            .members()
            .into_iter()
            .map(|known| member(known, leader))
            .collect()
    }

    async fn follow(&self, caller: Caller, request: WatchRequest) -> Result<Changes, Error> {
        let span = match (request.prefix.as_str(), request.key.as_str()) {
            (prefix, "") => Span::prefix(prefix),
            ("", key) => Span::single(key),
            _ => {
                return Err(Error::validation(
                    "key",
                    "exclusive",
                    "key does not go with prefix",
                ));
            }
        };
        let follow = Follow {
            span,
            from_revision: request.from_revision,
            with_previous: request.with_previous,
        };
        Changes::open(&self.app, caller, follow).await
    }

    fn seen(&self) -> StatusResponse {
        let seen = self.app.status();
        let config = self.app.config();
        let addresses = self.app.addresses();
        StatusResponse {
            node_id: seen.raft.node_id,
            cluster_id: cluster_id(seen.cluster_id),
            role: Role::from(seen.raft.role).as_str().to_owned(),
            term: seen.raft.term,
            leader_id: seen.raft.leader.unwrap_or_default(),
            name: config.display_name(),
            peer_address: config.advertised_peer(addresses.peer),
            client_address: config.advertised_grpc(addresses.grpc),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: seen.revision,
            joined: seen.raft.joined,
        }
    }
}

fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

/// Runs a use case for the caller of `request` and sends what comes of it.
macro_rules! serve {
    ($self:ident, $request:ident, |$caller:ident, $message:ident| $work:expr) => {{
        let outcome = async {
            let $caller = $self.caller(&$request).await?;
            let $message = $request.into_inner();
            $work
        };
        let outcome: Result<_, Error> = outcome.await;
        answer(&$self.app, outcome)
    }};
}

#[tonic::async_trait]
impl ChainFire for Native {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        serve!(self, request, |caller, message| {
            let request = GetWithRequest {
                key: message.key,
                ..GetWithRequest::default()
            };
            self.read(&caller, request).await
        })
    }

    async fn get_with(
        &self,
        request: Request<GetWithRequest>,
    ) -> Result<Response<GetResponse>, Status> {
        serve!(self, request, |caller, message| self
            .read(&caller, message)
            .await)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        serve!(self, request, |caller, message| {
            let done = self
                .app
                .put(&caller, convert::put(message)?)
                .await
                .map_err(from_etcd)?;
            Ok(PutResponse {
                revision: revision(done.header.as_ref()),
            })
        })
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        serve!(self, request, |caller, message| {
            let done = self
                .app
                .delete_range(&caller, convert::delete(message))
                .await
                .map_err(from_etcd)?;
            Ok(DeleteResponse {
                deleted: done.deleted,
                revision: revision(done.header.as_ref()),
            })
        })
    }

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<ScanResponse>, Status> {
        serve!(self, request, |caller, message| Native::scan(
            self, &caller, message
        )
        .await)
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        serve!(self, request, |caller, message| self
            .run_txn(&caller, message)
            .await)
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        serve!(self, request, |caller, message| {
            let changes = self.follow(caller, message).await?;
            Ok(Box::pin(responses(changes)) as Self::WatchStream)
        })
    }

    async fn compact(
        &self,
        request: Request<CompactRequest>,
    ) -> Result<Response<CompactResponse>, Status> {
        serve!(self, request, |caller, message| {
            let CompactRequest {
                revision: up_to,
                physical,
            } = message;
            if up_to < 1 {
                return Err(Error::validation(
                    "revision",
                    "minimum",
                    "revision is at least 1",
                ));
            }
            let request = CompactionRequest {
                revision: up_to,
                physical,
            };
            let done = self
                .app
                .compact(&caller, request)
                .await
                .map_err(from_etcd)?;
            Ok(CompactResponse {
                revision: revision(done.header.as_ref()),
            })
        })
    }

    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        serve!(self, request, |caller, message| {
            if message.ttl_seconds < 1 {
                return Err(Error::validation(
                    "ttl_seconds",
                    "minimum",
                    "ttl_seconds is at least 1",
                ));
            }
            let request = EtcdGrant {
                ttl: message.ttl_seconds,
                id: message.id,
            };
            let lease = self
                .app
                .lease_grant(&caller, request)
                .await
                .map_err(from_etcd)?;
            Ok(LeaseGrantResponse {
                id: lease.id,
                ttl_seconds: lease.ttl,
            })
        })
    }

    async fn lease_keep_alive(
        &self,
        request: Request<LeaseKeepAliveRequest>,
    ) -> Result<Response<LeaseKeepAliveResponse>, Status> {
        serve!(self, request, |caller, message| {
            let lease = self
                .app
                .lease_keep_alive(&caller, message.id)
                .await
                .map_err(from_etcd)?;
            Ok(LeaseKeepAliveResponse {
                id: message.id,
                ttl_seconds: lease.ttl,
            })
        })
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        serve!(self, request, |caller, message| {
            let done = self
                .app
                .lease_revoke(&caller, EtcdRevoke { id: message.id })
                .await
                .map_err(from_etcd)?;
            Ok(LeaseRevokeResponse {
                revision: revision(done.header.as_ref()),
            })
        })
    }

    async fn lease_get(
        &self,
        request: Request<LeaseGetRequest>,
    ) -> Result<Response<LeaseGetResponse>, Status> {
        serve!(self, request, |caller, message| self
            .lease(&caller, message.id)
            .await)
    }

    async fn lease_list(
        &self,
        request: Request<LeaseListRequest>,
    ) -> Result<Response<LeaseListResponse>, Status> {
        serve!(self, request, |caller, _message| {
            let list = self.app.lease_list(&caller).await.map_err(from_etcd)?;
            Ok(LeaseListResponse {
                ids: list.leases.into_iter().map(|lease| lease.id).collect(),
            })
        })
    }

    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        serve!(self, request, |caller, _message| {
            self.app.roster(&caller).await.map_err(from_etcd)?;
            Ok(MemberListResponse {
                members: self.members(),
            })
        })
    }

    async fn member_add(
        &self,
        request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        serve!(self, request, |caller, message| self
            .add(&caller, message)
            .await)
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        serve!(self, request, |caller, message| {
            self.app
                .member_promote(&caller, message.node_id)
                .await
                .map_err(from_etcd)?;
            Ok(MemberPromoteResponse {
                members: self.members(),
            })
        })
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        serve!(self, request, |caller, message| {
            self.app
                .member_remove(&caller, message.node_id)
                .await
                .map_err(from_etcd)?;
            Ok(MemberRemoveResponse {
                members: self.members(),
            })
        })
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        serve!(self, request, |caller, message| {
            transfer_leadership(&self.app, &caller, message.node_id).await?;
            Ok(TransferLeadershipResponse {
                leader_id: message.node_id,
            })
        })
    }

    /// Needs no right, and in dev mode no credential: whoever adds a node asks it before there is a user.
    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        answer(&self.app, Ok(self.seen()))
    }
}

/// The updates of a watch as messages; an error is the last.
fn responses(changes: Changes) -> impl Stream<Item = Result<WatchResponse, Status>> + Send {
    stream::unfold(changes, |mut changes| async {
        let message = match changes.next().await? {
            Ok(Update::Ready { revision } | Update::Progress { revision }) => Ok(WatchResponse {
                revision,
                events: Vec::new(),
            }),
            Ok(Update::Change { revision, events }) => {
                let events = events
                    .into_iter()
                    .map(|event| changed(event, revision))
                    .collect();
                Ok(WatchResponse { revision, events })
            }
            Err(error) => Err(status(&error)),
        };
        Some((message, changes))
    })
}
