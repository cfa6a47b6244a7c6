//! What one client does in one step of the closed loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use etcd_client::{Compare, CompareOp, GetOptions, KvClient, Txn, TxnOp, TxnOpResponse};
use rand::Rng;

use crate::data::{KeySpace, Values};
use crate::load::{Worker, connect_kv, finish};

/// Puts a value under any key.
pub(crate) struct Put {
    pub(crate) client: KvClient,
    pub(crate) keys: KeySpace,
    pub(crate) values: Values,
}

impl Worker for Put {
    async fn step(&mut self) -> anyhow::Result<()> {
        self.client
            .put(self.keys.any(), self.values.any(), None)
            .await?;
        Ok(())
    }
}

/// Gets any key.
pub(crate) struct Get {
    pub(crate) client: KvClient,
    pub(crate) keys: KeySpace,
    /// Answer from local state without asking for a read index.
    pub(crate) consistency: Consistency,
}

/// How fresh a read has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Consistency {
    /// Sees every write acknowledged before.
    Linearizable,
    /// The member's own state.
    Serializable,
}

impl Worker for Get {
    async fn step(&mut self) -> anyhow::Result<()> {
        let options = match self.consistency {
            Consistency::Linearizable => None,
            Consistency::Serializable => Some(GetOptions::new().with_serializable()),
        };
        self.client.get(self.keys.any(), options).await?;
        Ok(())
    }
}

/// Compares a key's revision and puts it: what every controller does. On a lost race it learns the revision.
pub(crate) struct CompareAndPut {
    pub(crate) client: KvClient,
    pub(crate) keys: KeySpace,
    pub(crate) values: Values,
    /// This client's share of the keys, so that nearly all transactions succeed.
    pub(crate) share: std::ops::Range<u64>,
    /// The revision last seen of each key of the share.
    pub(crate) revisions: Vec<i64>,
}

impl CompareAndPut {
    /// Client number `index` of `clients`.
    pub(crate) fn new(
        client: KvClient,
        keys: KeySpace,
        values: Values,
        index: u64,
        clients: u64,
    ) -> Self {
        let share = keys.count * index / clients..keys.count * (index + 1) / clients;
        let revisions = vec![0; usize::try_from(share.end - share.start).unwrap_or(0)];
        Self {
            client,
            keys,
            values,
            share,
            revisions,
        }
    }
}

impl Worker for CompareAndPut {
    async fn step(&mut self) -> anyhow::Result<()> {
        let slot = rand::rng().random_range(0..self.revisions.len());
        let key = self.keys.key(self.share.start + slot as u64);
        let txn = Txn::new()
            .when([Compare::mod_revision(
                key.clone(),
                CompareOp::Equal,
                self.revisions[slot],
            )])
            .and_then([TxnOp::put(key.clone(), self.values.any(), None)])
            .or_else([TxnOp::get(key, None)]);
        let answer = self.client.txn(txn).await?;
        self.revisions[slot] = if answer.succeeded() {
            answer.header().context("answer without header")?.revision()
        } else {
            match answer.op_responses().first() {
                Some(TxnOpResponse::Get(found)) => {
                    found.kvs().first().map_or(0, |kv| kv.mod_revision())
                }
                other => anyhow::bail!("unexpected answer to a failed compare: {other:?}"),
            }
        };
        Ok(())
    }
}

/// Reads the whole key space in one range.
pub(crate) struct Range {
    pub(crate) client: KvClient,
    pub(crate) keys: KeySpace,
}

impl Worker for Range {
    async fn step(&mut self) -> anyhow::Result<()> {
        let options = GetOptions::new().with_prefix();
        let answer = self.client.get(self.keys.prefix, Some(options)).await?;
        ensure!(
            answer.kvs().len() as u64 == self.keys.count,
            "a range over {} keys returned {}",
            self.keys.count,
            answer.kvs().len()
        );
        Ok(())
    }
}

/// Pages through the key space, from the beginning again at its end; every page asks for the count of what is left,
/// as kube-apiserver's lists do.
pub(crate) struct Page {
    pub(crate) client: KvClient,
    pub(crate) keys: KeySpace,
    pub(crate) page: u64,
    /// Index of the next page's first key.
    pub(crate) next: u64,
}

impl Worker for Page {
    async fn step(&mut self) -> anyhow::Result<()> {
        let options = GetOptions::new()
            .with_range(self.keys.end())
            .with_limit(i64::try_from(self.page)?);
        let answer = self
            .client
            .get(self.keys.key(self.next), Some(options))
            .await?;
        let left = self.keys.count - self.next;
        ensure!(
            answer.kvs().len() as u64 == self.page.min(left) && answer.count() as u64 == left,
            "a page at {} returned {} keys and count {}",
            self.next,
            answer.kvs().len(),
            answer.count()
        );
        self.next += self.page;
        if self.next >= self.keys.count {
            self.next = 0;
        }
        Ok(())
    }
}

/// Puts every key of the space once, through `clients` connections.
///
/// # Errors
/// A failed put or the deadline.
pub(crate) async fn fill(
    endpoint: &str,
    keys: KeySpace,
    values: &Values,
    clients: usize,
    deadline: Duration,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let mut client = connect_kv(endpoint).await?;
        let (next, values) = (next.clone(), values.clone());
        tasks.push(move || async move {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= keys.count {
                    return Ok(());
                }
                client.put(keys.key(index), values.any(), None).await?;
            }
        });
    }
    finish(tasks, deadline).await
}
