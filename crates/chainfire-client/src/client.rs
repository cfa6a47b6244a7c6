//! The client: one method per rpc of `photon.chainfire.v1`.

use std::sync::Arc;

use photon_proto::photon::chainfire::v1::{
    CompactRequest, CompactResponse, DeleteRequest, DeleteResponse, GetRequest, GetResponse,
    GetWithRequest, LeaseGetRequest, LeaseGetResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseListRequest, LeaseListResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, MemberAddRequest, MemberAddResponse,
    MemberListRequest, MemberListResponse, MemberPromoteRequest, MemberPromoteResponse,
    MemberRemoveRequest, MemberRemoveResponse, PutRequest, PutResponse, ScanRequest, ScanResponse,
    StatusRequest, StatusResponse, TransferLeadershipRequest, TransferLeadershipResponse,
    TxnRequest, TxnResponse, WatchRequest, txn_op::Op,
};
use tonic::{Code, IntoRequest, Request, Response, Status};

use crate::{
    ConnectError, LeaseKeeper, Options, Watch,
    call::{Kind, call, names_leader, with_causes},
    endpoints::Endpoints,
};

/// A client of a ChainFire cluster. Clones share connections.
///
/// Every method takes a message or a [`tonic::Request`]; the latter can carry metadata and a timeout, which
/// bounds the whole call. Without one, [`Options::deadline`] does.
#[derive(Clone)]
pub struct ChainFireClient {
    endpoints: Arc<Endpoints>,
}

/// Defines the methods that differ only in rpc, messages and whether they may be asked twice.
macro_rules! methods {
    ($($(#[$doc:meta])* $kind:ident $name:ident($request:ty) -> $response:ty;)*) => {$(
        $(#[$doc])*
        pub async fn $name(
            &mut self,
            request: impl IntoRequest<$request>,
        ) -> Result<Response<$response>, Status> {
            call(&self.endpoints, Kind::$kind, request.into_request(), |mut stub, request| async move {
                stub.$name(request).await
            })
            .await
        }
    )*};
}

impl ChainFireClient {
    /// Connects to one member, such as `http://localhost:50051`, with the default [`Options`].
    ///
    /// # Errors
    /// When the endpoint is none, or nobody answers there.
    pub async fn connect(endpoint: impl Into<String>) -> Result<Self, ConnectError> {
        Self::connect_with([endpoint.into()], Options::default()).await
    }

    /// Connects to the first of several members that answers. The others take over when it does not.
    ///
    /// # Errors
    /// When an endpoint is none, the TLS options cannot be used, or nobody answers.
    pub async fn connect_with(
        endpoints: impl IntoIterator<Item = impl Into<String>>,
        options: Options,
    ) -> Result<Self, ConnectError> {
        let addresses: Vec<String> = endpoints.into_iter().map(Into::into).collect();
        let endpoints = Arc::new(Endpoints::new(&addresses, options)?);
        let wait = endpoints.options().connect_timeout;
        let mut failures = Vec::new();
        for slot in endpoints.in_order() {
            match tokio::time::timeout(wait, slot.channel()).await {
                Ok(Ok(_)) => {
                    endpoints.worked(&slot);
                    return Ok(Self { endpoints });
                }
                Ok(Err(error)) => {
                    failures.push(format!("{}: {}", slot.address(), with_causes(&error)))
                }
                Err(_) => failures.push(format!("{}: no answer in {wait:?}", slot.address())),
            }
        }
        Err(ConnectError::Unreachable(failures.join("; ")))
    }

    methods! {
        /// Reads one key, linearizably. `NotFound` when it does not exist.
        Read get(GetRequest) -> GetResponse;
        /// Reads one key at an older revision, or what a member has without asking a quorum.
        Read get_with(GetWithRequest) -> GetResponse;
        /// Writes one key.
        Write put(PutRequest) -> PutResponse;
        /// Deletes one key or a range; deleting nothing is no error.
        Write delete(DeleteRequest) -> DeleteResponse;
        /// Lists the keys of a prefix or a range, a page at a time; see [`Self::scan_all`].
        Read scan(ScanRequest) -> ScanResponse;
        /// Forgets the history before a revision.
        Write compact(CompactRequest) -> CompactResponse;
        /// Grants a lease. To have it renewed, see [`Self::keep_lease`].
        Write lease_grant(LeaseGrantRequest) -> LeaseGrantResponse;
        /// Renews a lease once; `ttl_seconds` 0 says that it is gone. Renewing twice does no harm.
        Read lease_keep_alive(LeaseKeepAliveRequest) -> LeaseKeepAliveResponse;
        /// Ends a lease and deletes its keys.
        Write lease_revoke(LeaseRevokeRequest) -> LeaseRevokeResponse;
        /// What is left of a lease, and its keys.
        Read lease_get(LeaseGetRequest) -> LeaseGetResponse;
        /// The leases there are.
        Read lease_list(LeaseListRequest) -> LeaseListResponse;
        /// The cluster's members.
        Read member_list(MemberListRequest) -> MemberListResponse;
        /// Takes a node in as a learner.
        Write member_add(MemberAddRequest) -> MemberAddResponse;
        /// Gives a learner a vote.
        Write member_promote(MemberPromoteRequest) -> MemberPromoteResponse;
        /// Takes a member out.
        Write member_remove(MemberRemoveRequest) -> MemberRemoveResponse;
        /// Who the member is that answers, and what it sees of its cluster.
        Read status(StatusRequest) -> StatusResponse;
    }

    /// Runs `success` if every compare holds, else `failure`, at one revision. A transaction that only reads
    /// is asked again like any read; another is sent once.
    pub async fn txn(
        &mut self,
        request: impl IntoRequest<TxnRequest>,
    ) -> Result<Response<TxnResponse>, Status> {
        let request = request.into_request();
        let kind = if only_reads(request.get_ref()) {
            Kind::Read
        } else {
            Kind::Write
        };
        call(
            &self.endpoints,
            kind,
            request,
            |mut stub, request| async move { stub.txn(request).await },
        )
        .await
    }

    /// Hands leadership to a member. Only the leader can: a member that says where it is has done nothing, so the
    /// leader is asked next.
    pub async fn transfer_leadership(
        &mut self,
        request: impl IntoRequest<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        let request = request.into_request();
        let again = bare(request.get_ref());
        match self.transfer_once(request).await {
            Err(status) if status.code() == Code::FailedPrecondition && names_leader(&status) => {
                self.transfer_once(again).await
            }
            outcome => outcome,
        }
    }

    async fn transfer_once(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        call(
            &self.endpoints,
            Kind::Write,
            request,
            |mut stub, request| async move { stub.transfer_leadership(request).await },
        )
        .await
    }

    /// Lists every key of a prefix or a range at one revision, page by page.
    pub async fn scan_all(&mut self, request: ScanRequest) -> Result<Vec<GetResponse>, Status> {
        const PAGE: i64 = 1000;
        let mut request = request;
        if request.limit == 0 {
            request.limit = PAGE;
        }
        let mut items = Vec::new();
        loop {
            let page = self.scan(request.clone()).await?.into_inner();
            items.extend(page.items);
            if page.next_page_token.is_empty() {
                return Ok(items);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Follows the changes of a key or a prefix; see [`Watch`].
    ///
    /// # Errors
    /// When no member takes the watch within the deadline, or the request is refused.
    pub async fn watch(&mut self, request: WatchRequest) -> Result<Watch, Status> {
        Watch::open(self.endpoints.clone(), request).await
    }

    /// Renews a lease in the background until the keeper is dropped; see [`LeaseKeeper`].
    ///
    /// # Errors
    /// When the lease does not exist or cannot be renewed now.
    pub async fn keep_lease(&mut self, id: i64) -> Result<LeaseKeeper, Status> {
        LeaseKeeper::start(self.clone(), id).await
    }

    pub(crate) fn options(&self) -> &Options {
        self.endpoints.options()
    }
}

/// Names no member, only how many there are.
impl std::fmt::Debug for ChainFireClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainFireClient")
            .field("members", &self.endpoints.in_order().len())
            .finish()
    }
}

fn only_reads(txn: &TxnRequest) -> bool {
    txn.success
        .iter()
        .chain(&txn.failure)
        .all(|op| matches!(op.op, Some(Op::Get(_))))
}

/// The message of a request without its metadata, for calls that are made more than once over their life.
pub(crate) fn bare<M: Clone>(message: &M) -> Request<M> {
    Request::new(message.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use photon_proto::photon::chainfire::v1::TxnOp;

    use super::*;

    #[test]
    fn a_transaction_is_a_read_only_if_no_branch_writes() {
        let get = TxnOp {
            op: Some(Op::Get(GetWithRequest::default())),
        };
        let put = TxnOp {
            op: Some(Op::Put(PutRequest::default())),
        };
        let txn = |success: &[&TxnOp], failure: &[&TxnOp]| TxnRequest {
            compare: vec![],
            success: success.iter().map(|&op| op.clone()).collect(),
            failure: failure.iter().map(|&op| op.clone()).collect(),
        };
        assert!(only_reads(&txn(&[&get], &[&get])));
        assert!(!only_reads(&txn(&[&get], &[&put])));
        assert!(!only_reads(&txn(&[&TxnOp { op: None }], &[])));
    }

    #[tokio::test]
    async fn connecting_to_nobody_says_whom_and_why() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = ChainFireClient::connect(format!("http://{address}"))
            .await
            .unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
