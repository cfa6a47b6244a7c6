//! The JSON gateway: the same messages as etcd's gRPC, written by their descriptors.

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;
use tonic::Code;

use super::{Ask, Verdict, etcd::canceled};
use crate::authorization::{ask::Message, guarded::Guarded};

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(photon_proto::FILE_DESCRIPTOR_SET).unwrap());

pub(in crate::authorization) struct Gateway {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Gateway {
    pub(in crate::authorization) fn new(
        node: &Guarded,
        http: reqwest::Client,
        token: Option<&str>,
    ) -> Self {
        Self {
            http,
            base: node.client_url(),
            token: token.map(str::to_owned),
        }
    }

    pub(super) async fn ask(&self, ask: Ask) -> Verdict {
        let (path, name, bytes) = match ask.message() {
            Message::Range(m) => ("kv/range", "RangeRequest", m.encode_to_vec()),
            Message::Put(m) => ("kv/put", "PutRequest", m.encode_to_vec()),
            Message::Delete(m) => ("kv/deleterange", "DeleteRangeRequest", m.encode_to_vec()),
            Message::Txn(m) => ("kv/txn", "TxnRequest", m.encode_to_vec()),
            Message::Compact(m) => ("kv/compaction", "CompactionRequest", m.encode_to_vec()),
            Message::Watch(m) => ("watch", "WatchRequest", m.encode_to_vec()),
            Message::Revoke(m) => ("lease/revoke", "LeaseRevokeRequest", m.encode_to_vec()),
            Message::TimeToLive(m) => (
                "lease/timetolive",
                "LeaseTimeToLiveRequest",
                m.encode_to_vec(),
            ),
            Message::Leases(m) => ("lease/leases", "LeaseLeasesRequest", m.encode_to_vec()),
            Message::Snapshot(m) => ("maintenance/snapshot", "SnapshotRequest", m.encode_to_vec()),
            Message::HashKv(m) => ("maintenance/hashkv", "HashKVRequest", m.encode_to_vec()),
            Message::MoveLeader(m) => (
                "maintenance/transfer-leadership",
                "MoveLeaderRequest",
                m.encode_to_vec(),
            ),
            Message::MemberAdd(m) => ("cluster/member/add", "MemberAddRequest", m.encode_to_vec()),
            Message::MemberList(m) => (
                "cluster/member/list",
                "MemberListRequest",
                m.encode_to_vec(),
            ),
            Message::UserList(m) => ("auth/user/list", "AuthUserListRequest", m.encode_to_vec()),
        };
        let streams = matches!(ask, Ask::Watch(_) | Ask::Snapshot);
        self.post(path, json(name, &bytes), streams).await
    }

    async fn post(&self, path: &str, body: Value, streams: bool) -> Verdict {
        let mut request = self
            .http
            .post(format!("{}/v3/{path}", self.base))
            .json(&body);
        if let Some(token) = &self.token {
            request = request.header("Authorization", token);
        }
        let mut answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let answer: Value = if streams && status == 200 {
            first_line(&mut answer).await
        } else {
            answer.json().await.unwrap()
        };
        // Streams wrap their failure, and always say 200.
        let error = answer.get("error").filter(|error| error.is_object());
        let (result, error) = (&answer["result"], error.unwrap_or(&answer));
        if error["code"].is_i64() {
            let code = error["code"].as_i64().unwrap();
            let http = error["http_code"].as_u64().unwrap_or(status.into());
            let code = Code::from_i32(i32::try_from(code).unwrap());
            let verdict = Verdict::of_etcd(code, error["message"].as_str().unwrap());
            let expected = match verdict {
                Verdict::Denied => 403,
                Verdict::Nobody if code == Code::Unauthenticated => 401,
                Verdict::Nobody => 400,
                _ => http,
            };
            assert_eq!(http, expected, "{answer}");
            return verdict;
        }
        assert_eq!(status, 200, "{answer}");
        let reason = result["cancel_reason"].as_str().unwrap_or_default();
        canceled(result["canceled"] == true, reason)
    }
}

async fn first_line(answer: &mut reqwest::Response) -> Value {
    let mut text = Vec::new();
    while !text.contains(&b'\n') {
        match answer.chunk().await.unwrap() {
            Some(chunk) => text.extend_from_slice(&chunk),
            None => break,
        }
    }
    let line = text.split(|byte| *byte == b'\n').next().unwrap();
    serde_json::from_slice(line).unwrap()
}

fn json(name: &str, bytes: &[u8]) -> Value {
    let kind = POOL
        .get_message_by_name(&format!("etcdserverpb.{name}"))
        .unwrap();
    let message = DynamicMessage::decode(kind, bytes).unwrap();
    let options = SerializeOptions::new().use_proto_field_name(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .unwrap()
}
