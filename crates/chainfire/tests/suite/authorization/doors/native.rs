//! Native gRPC.

use photon_proto::photon::chainfire::v1::{
    CompactRequest, Compare, DeleteRequest, GetRequest, GetWithRequest, LeaseGetRequest,
    LeaseListRequest, LeaseRevokeRequest, MemberAddRequest, MemberListRequest, PutRequest,
    ScanRequest, TransferLeadershipRequest, TxnOp, TxnRequest, WatchRequest,
    chain_fire_client::ChainFireClient,
    compare::{Operator, Target},
    txn_op::Op,
};
use tonic::{Code, Request, Status, transport::Channel};

use super::{Ask, Verdict};
use crate::authorization::ask::NOBODY_THERE;

pub(super) struct Native {
    client: ChainFireClient<Channel>,
    token: Option<String>,
}

impl Native {
    pub(super) fn new(channel: Channel, token: Option<&str>) -> Self {
        Self {
            client: ChainFireClient::new(channel),
            token: token.map(str::to_owned),
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("token", token.parse().unwrap());
        }
        request
    }

    pub(super) async fn ask(&self, ask: Ask) -> Option<Verdict> {
        let mut client = self.client.clone();
        let key = str::to_owned;
        Some(match ask {
            Ask::Get(k) => verdict(client.get(self.request(GetRequest { key: key(k) })).await),
            Ask::Put(k) => verdict(client.put(self.request(put(k, 0))).await),
            Ask::PutUnder(k, lease) => verdict(client.put(self.request(put(k, lease))).await),
            Ask::Delete(k) => {
                let delete = DeleteRequest {
                    key: key(k),
                    ..DeleteRequest::default()
                };
                verdict(client.delete(self.request(delete)).await)
            }
            Ask::Scan(prefix) => {
                let scan = ScanRequest {
                    prefix: key(prefix),
                    ..ScanRequest::default()
                };
                verdict(client.scan(self.request(scan)).await)
            }
            Ask::TxnCompare(compare, k) => {
                let txn = TxnRequest {
                    compare: vec![Compare {
                        key: key(compare),
                        target: Target::Version.into(),
                        operator: Operator::Greater.into(),
                        ..Compare::default()
                    }],
                    success: vec![op(Op::Put(put(k, 0)))],
                    failure: Vec::new(),
                };
                verdict(client.txn(self.request(txn)).await)
            }
            Ask::TxnElse(k, read) => {
                let get = GetWithRequest {
                    key: key(read),
                    ..GetWithRequest::default()
                };
                let txn = TxnRequest {
                    compare: Vec::new(),
                    success: vec![op(Op::Put(put(k, 0)))],
                    failure: vec![op(Op::Get(get))],
                };
                verdict(client.txn(self.request(txn)).await)
            }
            Ask::Watch(prefix) => {
                let watch = WatchRequest {
                    prefix: key(prefix),
                    ..WatchRequest::default()
                };
                match client.watch(self.request(watch)).await {
                    Ok(answers) => verdict(answers.into_inner().message().await),
                    Err(status) => verdict::<()>(Err(status)),
                }
            }
            Ask::Revoke(id) => verdict(
                client
                    .lease_revoke(self.request(LeaseRevokeRequest { id }))
                    .await,
            ),
            Ask::LeaseKeys(id) => {
                verdict(client.lease_get(self.request(LeaseGetRequest { id })).await)
            }
            Ask::Leases => verdict(client.lease_list(self.request(LeaseListRequest {})).await),
            Ask::Compact(revision) => {
                let compact = CompactRequest {
                    revision,
                    ..CompactRequest::default()
                };
                verdict(client.compact(self.request(compact)).await)
            }
            Ask::MemberAdd => {
                let add = MemberAddRequest {
                    node_id: 9,
                    address: NOBODY_THERE.to_owned(),
                };
                verdict(client.member_add(self.request(add)).await)
            }
            Ask::MemberList => {
                verdict(client.member_list(self.request(MemberListRequest {})).await)
            }
            Ask::Transfer => {
                let to = TransferLeadershipRequest { node_id: 7 };
                verdict(client.transfer_leadership(self.request(to)).await)
            }
            Ask::PutPrevious(_)
            | Ask::DeletePrevious(_)
            | Ask::TxnNested(..)
            | Ask::TxnNestedCompare(_)
            | Ask::TxnPrevious(_)
            | Ask::Snapshot
            | Ask::Users
            | Ask::Hash => return None,
        })
    }
}

fn put(key: &str, lease: i64) -> PutRequest {
    PutRequest {
        key: key.to_owned(),
        value: "x".to_owned(),
        lease,
        ..PutRequest::default()
    }
}

fn op(op: Op) -> TxnOp {
    TxnOp { op: Some(op) }
}

fn verdict<T>(outcome: Result<T, Status>) -> Verdict {
    let Err(status) = outcome else {
        return Verdict::Allowed;
    };
    let code = status.metadata().get("photon-error-code");
    let code = code.map(|code| code.to_str().unwrap().to_owned());
    match (status.code(), code.as_deref()) {
        (Code::PermissionDenied, Some("FORBIDDEN")) => Verdict::Denied,
        (Code::Unauthenticated, Some("UNAUTHENTICATED")) => Verdict::Nobody,
        _ => Verdict::Failed(format!("{status:?}")),
    }
}
