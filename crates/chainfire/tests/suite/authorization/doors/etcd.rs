//! etcd's gRPC.

use photon_proto::etcdserverpb::{
    WatchRequest, auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient,
    lease_client::LeaseClient, maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use tonic::{Code, Request, transport::Channel};

use super::{Ask, Verdict};
use crate::authorization::ask::Message;

pub(super) struct Etcd {
    channel: Channel,
    token: Option<String>,
}

impl Etcd {
    pub(super) fn new(channel: Channel, token: Option<&str>) -> Self {
        Self {
            channel,
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

    pub(super) async fn ask(&self, ask: Ask) -> Verdict {
        let channel = || self.channel.clone();
        let mut kv = KvClient::new(channel());
        let mut lease = LeaseClient::new(channel());
        let mut cluster = ClusterClient::new(channel());
        let mut maintenance = MaintenanceClient::new(channel());
        match ask.message() {
            Message::Range(m) => Verdict::of_status(kv.range(self.request(m)).await),
            Message::Put(m) => Verdict::of_status(kv.put(self.request(m)).await),
            Message::Delete(m) => Verdict::of_status(kv.delete_range(self.request(m)).await),
            Message::Txn(m) => Verdict::of_status(kv.txn(self.request(m)).await),
            Message::Compact(m) => Verdict::of_status(kv.compact(self.request(m)).await),
            Message::Watch(m) => self.watch(m).await,
            Message::Revoke(m) => Verdict::of_status(lease.lease_revoke(self.request(m)).await),
            Message::TimeToLive(m) => {
                Verdict::of_status(lease.lease_time_to_live(self.request(m)).await)
            }
            Message::Leases(m) => Verdict::of_status(lease.lease_leases(self.request(m)).await),
            Message::Snapshot(m) => {
                let blobs = match maintenance.snapshot(self.request(m)).await {
                    Ok(blobs) => blobs,
                    Err(status) => return Verdict::of_etcd(status.code(), status.message()),
                };
                Verdict::of_status(blobs.into_inner().message().await)
            }
            Message::HashKv(m) => Verdict::of_status(maintenance.hash_kv(self.request(m)).await),
            Message::MoveLeader(m) => {
                Verdict::of_status(maintenance.move_leader(self.request(m)).await)
            }
            Message::MemberAdd(m) => Verdict::of_status(cluster.member_add(self.request(m)).await),
            Message::MemberList(m) => {
                Verdict::of_status(cluster.member_list(self.request(m)).await)
            }
            Message::UserList(m) => {
                let mut auth = AuthClient::new(channel());
                Verdict::of_status(auth.user_list(self.request(m)).await)
            }
        }
    }

    async fn watch(&self, create: WatchRequest) -> Verdict {
        let mut watch = WatchClient::new(self.channel.clone());
        let request = self.request(futures::stream::iter([create]));
        let mut answers = match watch.watch(request).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Verdict::of_etcd(status.code(), status.message()),
        };
        match answers.message().await {
            Ok(Some(answer)) if answer.created => canceled(answer.canceled, &answer.cancel_reason),
            other => Verdict::Failed(format!("{other:?}")),
        }
    }
}

/// What the answer to a watch's creation says.
pub(super) fn canceled(canceled: bool, reason: &str) -> Verdict {
    const DENIED: &str = "rpc error: code = PermissionDenied desc = ";
    const NOBODY: &str = "rpc error: code = InvalidArgument desc = ";
    const NO_TOKEN: &str = "rpc error: code = Unauthenticated desc = ";
    if !canceled {
        Verdict::Allowed
    } else if let Some(text) = reason.strip_prefix(DENIED) {
        Verdict::of_etcd(Code::PermissionDenied, text)
    } else if let Some(text) = reason.strip_prefix(NOBODY) {
        Verdict::of_etcd(Code::InvalidArgument, text)
    } else if let Some(text) = reason.strip_prefix(NO_TOKEN) {
        Verdict::of_etcd(Code::Unauthenticated, text)
    } else {
        Verdict::Failed(reason.to_owned())
    }
}
