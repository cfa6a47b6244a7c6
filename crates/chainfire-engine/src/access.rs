//! What a request has to be allowed to do, in terms of ranges to read and to write.
//!
//! Source of the rules: etcd 3.6, `server/etcdserver/apply/apply_auth.go`; nested transactions are looked into.

use photon_proto::{
    etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op,
    },
    photon::chainfire::command::v1::Caller,
};

use crate::{
    auth::{Access, AuthStore},
    error::EtcdError,
    lease::Leases,
};

/// Something somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// Read a range.
    Range(&'a RangeRequest),
    /// Write a key.
    Put(&'a PutRequest),
    /// Delete a range.
    Delete(&'a DeleteRangeRequest),
    /// A transaction: everything in it, whichever branch would run.
    Txn(&'a TxnRequest),
    /// End a lease, and with it its keys.
    LeaseRevoke(i64),
    /// See which keys hang on a lease.
    LeaseKeys(i64),
    /// Watch a range, given as in a range request.
    Watch {
        /// First key.
        key: &'a [u8],
        /// End in etcd's convention.
        range_end: &'a [u8],
    },
    /// What only root may do.
    Root,
}

type Allowed = Result<(), EtcdError>;

/// A caller before the store's rights.
pub(crate) struct Rights<'a> {
    pub(crate) auth: &'a AuthStore,
    pub(crate) leases: &'a Leases,
    pub(crate) caller: Option<&'a Caller>,
}

impl Rights<'_> {
    pub(crate) fn check(&self, request: Request<'_>) -> Allowed {
        // ChainFire's own commands, and everybody's while authentication is off.
        if self.caller.is_none() {
            return Ok(());
        }
        match request {
            Request::Range(range) => self.read(&range.key, &range.range_end),
            Request::Watch { key, range_end } => self.read(key, range_end),
            Request::Put(put) => self.put(put),
            Request::Delete(delete) => self.delete(delete),
            Request::Txn(txn) => self.txn(txn),
            Request::LeaseRevoke(id) => self.write_attached(id),
            Request::LeaseKeys(id) => self.each_attached(id, |key| self.read(key, b"")),
            Request::Root => self.auth.check_root(self.caller),
        }
    }

    fn read(&self, key: &[u8], range_end: &[u8]) -> Allowed {
        self.auth
            .check(self.caller, Access::Read { key, range_end })
    }

    fn write(&self, key: &[u8], range_end: &[u8]) -> Allowed {
        self.auth
            .check(self.caller, Access::Write { key, range_end })
    }

    fn put(&self, put: &PutRequest) -> Allowed {
        self.write(&put.key, b"")?;
        // Who may not write a lease's keys could not revoke it, and may not tie another key to it either.
        self.write_attached(put.lease)?;
        if put.prev_kv {
            self.read(&put.key, b"")?;
        }
        Ok(())
    }

    fn delete(&self, delete: &DeleteRangeRequest) -> Allowed {
        self.write(&delete.key, &delete.range_end)?;
        if delete.prev_kv {
            self.read(&delete.key, &delete.range_end)?;
        }
        Ok(())
    }

    fn txn(&self, txn: &TxnRequest) -> Allowed {
        for compare in &txn.compare {
            self.read(&compare.key, &compare.range_end)?;
        }
        let mut ops = txn.success.iter().chain(&txn.failure);
        ops.try_for_each(|op| self.operation(op))
    }

    fn operation(&self, op: &RequestOp) -> Allowed {
        match &op.request {
            Some(request_op::Request::RequestRange(range)) => {
                self.read(&range.key, &range.range_end)
            }
            Some(request_op::Request::RequestPut(put)) => self.put(put),
            Some(request_op::Request::RequestDeleteRange(delete)) => self.delete(delete),
            Some(request_op::Request::RequestTxn(nested)) => self.txn(nested),
            None => Ok(()),
        }
    }

    fn write_attached(&self, lease: i64) -> Allowed {
        self.each_attached(lease, |key| self.write(key, b""))
    }

    fn each_attached(&self, lease: i64, check: impl Fn(&[u8]) -> Allowed) -> Allowed {
        if lease == 0 {
            return Ok(());
        }
        let keys = self.leases.keys(lease).unwrap_or_default();
        keys.iter().try_for_each(|key| check(key))
    }
}
