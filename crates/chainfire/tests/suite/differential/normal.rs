//! Answers without what must differ between two servers.
//!
//! Revisions become relative to the beginning of the sequence, cluster ids, member ids and terms disappear, what is
//! left of a lease's time becomes a yes or no, lists without a promised order are sorted.

use photon_proto::etcdserverpb::{
    DeleteRangeResponse, LeaseTimeToLiveResponse, PutResponse, RangeResponse, ResponseHeader,
    TxnResponse, response_op::Response,
};
use photon_proto::mvccpb::{Event, KeyValue};

use super::op::from_server;

/// Something that has revisions in it.
pub(crate) trait Normal {
    /// Rewrites it for a sequence that began at revision `base`.
    fn normalise(&mut self, base: i64);
}

impl Normal for Option<ResponseHeader> {
    fn normalise(&mut self, base: i64) {
        if let Some(header) = self {
            header.cluster_id = 0;
            header.member_id = 0;
            header.raft_term = 0;
            header.revision = from_server(header.revision, base);
        }
    }
}

impl Normal for KeyValue {
    fn normalise(&mut self, base: i64) {
        self.create_revision = from_server(self.create_revision, base);
        self.mod_revision = from_server(self.mod_revision, base);
    }
}

impl<T: Normal> Normal for Vec<T> {
    fn normalise(&mut self, base: i64) {
        self.iter_mut().for_each(|item| item.normalise(base));
    }
}

impl Normal for RangeResponse {
    fn normalise(&mut self, base: i64) {
        self.header.normalise(base);
        self.kvs.normalise(base);
    }
}

impl Normal for PutResponse {
    fn normalise(&mut self, base: i64) {
        self.header.normalise(base);
        if let Some(previous) = &mut self.prev_kv {
            previous.normalise(base);
        }
    }
}

impl Normal for DeleteRangeResponse {
    fn normalise(&mut self, base: i64) {
        self.header.normalise(base);
        self.prev_kvs.normalise(base);
    }
}

impl Normal for TxnResponse {
    fn normalise(&mut self, base: i64) {
        self.header.normalise(base);
        for response in &mut self.responses {
            match &mut response.response {
                Some(Response::ResponseRange(inner)) => inner.normalise(base),
                Some(Response::ResponsePut(inner)) => inner.normalise(base),
                Some(Response::ResponseDeleteRange(inner)) => inner.normalise(base),
                Some(Response::ResponseTxn(inner)) => inner.normalise(base),
                None => {}
            }
        }
    }
}

impl Normal for LeaseTimeToLiveResponse {
    fn normalise(&mut self, base: i64) {
        self.header.normalise(base);
        // A test may stall for minutes; nobody's clock is off by more than that.
        let just_granted = self.granted_ttl - 600..=self.granted_ttl;
        if self.ttl >= 0 && just_granted.contains(&self.ttl) {
            self.ttl = self.granted_ttl;
        }
        self.keys.sort();
    }
}

impl Normal for Event {
    fn normalise(&mut self, base: i64) {
        for kv in [&mut self.kv, &mut self.prev_kv].into_iter().flatten() {
            kv.normalise(base);
        }
    }
}
