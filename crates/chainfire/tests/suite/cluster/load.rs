//! The load every scenario runs under, and the judgement at its end.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use etcd_client::{Client, Compare, CompareOp, EventType, GetOptions, Txn, TxnOp, WatchOptions};
use photon_testkit::{
    Seed,
    history::Recorder,
    poll::eventually,
    register::{Input, Keyed, Output, check_map},
};
use rand::Rng;
use tokio::{sync::Mutex, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::harness::{Cluster, PATIENCE};

const CLIENTS: usize = 8;
const KEYS: usize = 12;
/// A pause between a client's operations, so that the history stays small enough to judge.
const PAUSE: Duration = Duration::from_millis(8);
const PREFIX: &str = "register/";

type History = Recorder<Keyed<String, String>, Output<String>>;

/// One change as a watcher saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    revision: i64,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// What one watcher saw, so far.
type Sightings = Arc<Mutex<Vec<Seen>>>;

/// Clients and watchers at work.
pub(super) struct Load {
    history: History,
    stop: CancellationToken,
    clients: Vec<JoinHandle<anyhow::Result<()>>>,
    watchers: Vec<(usize, Sightings, JoinHandle<()>)>,
}

impl Load {
    /// Starts clients that work through these nodes in turn, and a watcher on each.
    pub(super) async fn start(
        cluster: &Arc<Mutex<Cluster>>,
        nodes: &[usize],
        test: &str,
    ) -> anyhow::Result<Self> {
        let seed = Seed::for_test(test);
        let history = History::default();
        let stop = CancellationToken::new();
        let mut clients = Vec::new();
        for client in 0..CLIENTS {
            let node = nodes[client % nodes.len()];
            let worker = Worker {
                client,
                node,
                cluster: cluster.clone(),
                history: history.clone(),
                rng: seed.rng(client as u64),
                written: 0,
            };
            let stop = stop.clone();
            clients.push(tokio::spawn(worker.run(stop)));
        }
        let mut watchers = Vec::new();
        for &node in nodes {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let task = tokio::spawn(watch(cluster.clone(), node, seen.clone(), stop.clone()));
            watchers.push((node, seen, task));
        }
        Ok(Self {
            history,
            stop,
            clients,
            watchers,
        })
    }

    /// Waits until this many operations were done since now.
    pub(super) async fn progress(&self, operations: usize) -> anyhow::Result<()> {
        let target = self.history.len() + operations;
        eventually(
            &format!("{operations} more operations"),
            PATIENCE,
            || async { (self.history.len() >= target).then_some(()) },
        )
        .await
    }

    /// Ends the load and judges it. `nodes` are the members that must agree.
    pub(super) async fn judge(
        self,
        cluster: &Arc<Mutex<Cluster>>,
        nodes: &[usize],
    ) -> anyhow::Result<()> {
        self.stop.cancel();
        for client in self.clients {
            client.await??;
        }
        let operations = self.history.operations();
        ensure!(
            operations.len() > 100,
            "hardly any load: {}",
            operations.len()
        );
        check_map(&operations, Duration::from_secs(120)).assert();
        let cluster = cluster.lock().await;
        cluster.hashes_agree(nodes).await?;
        let truth = everything(&cluster, nodes[0]).await?;
        for (node, seen, task) in self.watchers {
            let complete = eventually(
                &format!("the watcher of node {node} has seen it all"),
                PATIENCE,
                || async { (seen.lock().await.len() >= truth.len()).then_some(()) },
            )
            .await;
            task.abort();
            let seen = seen.lock().await;
            if let Some(at) = (0..truth.len().min(seen.len())).find(|&at| seen[at] != truth[at]) {
                anyhow::bail!(
                    "the watcher of node {node} differs at event {at}: saw {:?}, the store has {:?}",
                    seen[at],
                    truth[at]
                );
            }
            complete.with_context(|| format!("saw {} of {}", seen.len(), truth.len()))?;
            ensure!(
                seen.len() == truth.len(),
                "the watcher of node {node} saw {} events, the store has {}",
                seen.len(),
                truth.len()
            );
        }
        Ok(())
    }
}

struct Worker {
    client: usize,
    node: usize,
    cluster: Arc<Mutex<Cluster>>,
    history: History,
    rng: rand::rngs::StdRng,
    written: usize,
}

impl Worker {
    async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut connection = None;
        while !stop.is_cancelled() {
            tokio::time::sleep(PAUSE).await;
            let client = match connection.as_mut() {
                Some(client) => client,
                None => {
                    let fresh = self.cluster.lock().await.client(self.node).await;
                    match fresh {
                        Ok(client) => connection.insert(client),
                        Err(_) => continue,
                    }
                }
            };
            if !operate(
                client,
                &self.history,
                self.client,
                &mut self.rng,
                &mut self.written,
            )
            .await?
            {
                // The channel may be stuck on a dead connection for as long as the kernel waits: start afresh.
                connection = None;
            }
        }
        Ok(())
    }
}

/// Does one random operation; whether it was answered.
async fn operate(
    client: &mut Client,
    history: &History,
    number: usize,
    rng: &mut rand::rngs::StdRng,
    written: &mut usize,
) -> anyhow::Result<bool> {
    let key = format!("{PREFIX}{}", rng.random_range(0..KEYS));
    let call = |input| {
        history.call(
            number,
            Keyed {
                key: key.clone(),
                input,
            },
        )
    };
    *written += 1;
    let value = format!("{number}-{written}");
    let kind = rng.random_range(0..100);
    if kind < 45 {
        let pending = call(Input::Get);
        match client.get(key.clone(), None).await {
            Ok(answer) => {
                let found = answer
                    .kvs()
                    .first()
                    .map(|kv| String::from_utf8_lossy(kv.value()).into_owned());
                pending.returned(Output::Value(found));
            }
            Err(error) => {
                // A read that failed says nothing and changed nothing.
                pending.refused();
                return outcome_unknown(error).map(|()| false);
            }
        }
    } else if kind < 75 {
        let pending = call(Input::Put(value.clone()));
        match client.put(key.clone(), value, None).await {
            Ok(_) => pending.returned(Output::Done),
            Err(error) => {
                pending.unknown();
                return outcome_unknown(error).map(|()| false);
            }
        }
    } else if kind < 92 {
        let Ok(read) = client.get(key.clone(), None).await else {
            return Ok(false);
        };
        let old = read.kvs().first();
        let expected = old.map(|kv| String::from_utf8_lossy(kv.value()).into_owned());
        let compare = match &expected {
            Some(expected) => Compare::value(key.clone(), CompareOp::Equal, expected.clone()),
            None => Compare::create_revision(key.clone(), CompareOp::Equal, 0),
        };
        let pending = call(Input::Cas {
            expected,
            new: value.clone(),
        });
        let txn = Txn::new()
            .when([compare])
            .and_then([TxnOp::put(key.clone(), value, None)]);
        match client.txn(txn).await {
            Ok(answer) => pending.returned(Output::Swapped(answer.succeeded())),
            Err(error) => {
                pending.unknown();
                return outcome_unknown(error).map(|()| false);
            }
        }
    } else {
        let pending = call(Input::Delete);
        match client.delete(key.clone(), None).await {
            Ok(answer) => pending.returned(Output::Deleted(answer.deleted() > 0)),
            Err(error) => {
                pending.unknown();
                return outcome_unknown(error).map(|()| false);
            }
        }
    }
    Ok(true)
}

/// Faults may make an operation's outcome unknown; any other refusal is a finding.
fn outcome_unknown(error: etcd_client::Error) -> anyhow::Result<()> {
    use tonic::Code;
    match &error {
        etcd_client::Error::GRpcStatus(status)
            if !matches!(
                status.code(),
                Code::Unavailable
                    | Code::DeadlineExceeded
                    | Code::Cancelled
                    | Code::Unknown
                    | Code::ResourceExhausted
                    | Code::FailedPrecondition
            ) =>
        {
            Err(error).context("refused")
        }
        _ => Ok(()),
    }
}

/// Follows the prefix from the beginning on one node, resuming after every failure where it had got to.
async fn watch(
    cluster: Arc<Mutex<Cluster>>,
    node: usize,
    seen: Sightings,
    stop: CancellationToken,
) {
    let mut next = 1;
    // After the load ends the watcher goes on until it has everything; the judge aborts it.
    let _ = stop;
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let client = cluster.lock().await.stream_client(node).await;
        let Ok(mut client) = client else { continue };
        let options = WatchOptions::new().with_prefix().with_start_revision(next);
        let started =
            tokio::time::timeout(Duration::from_secs(3), client.watch(PREFIX, Some(options)));
        let Ok(Ok(mut stream)) = started.await else {
            continue;
        };
        while let Ok(Some(message)) = stream.message().await {
            if message.canceled() {
                break;
            }
            let mut seen = seen.lock().await;
            for event in message.events() {
                let Some(kv) = event.kv() else { continue };
                seen.push(Seen {
                    revision: kv.mod_revision(),
                    key: kv.key().to_vec(),
                    value: (event.event_type() == EventType::Put).then(|| kv.value().to_vec()),
                });
                next = kv.mod_revision() + 1;
            }
        }
    }
}

/// Every change under the prefix, as the store tells it afterwards in one piece.
async fn everything(cluster: &Cluster, node: usize) -> anyhow::Result<Vec<Seen>> {
    let mut client = cluster.client(node).await?;
    let last = client
        .get(PREFIX, Some(GetOptions::new().with_prefix()))
        .await?
        .header()
        .context("a header")?
        .revision();
    // A change of our own marks the end.
    let end = format!("{PREFIX}~end");
    client.put(end.clone(), "end", None).await?;
    let mut stream = cluster
        .stream_client(node)
        .await?
        .watch(
            PREFIX,
            Some(WatchOptions::new().with_prefix().with_start_revision(1)),
        )
        .await?;
    let mut all = Vec::new();
    let give_up = Instant::now() + PATIENCE;
    loop {
        let message = tokio::time::timeout_at(give_up, stream.message())
            .await??
            .context("the stream ended")?;
        ensure!(!message.canceled(), "canceled: {}", message.cancel_reason());
        for event in message.events() {
            let kv = event.kv().context("an event without a key")?;
            all.push(Seen {
                revision: kv.mod_revision(),
                key: kv.key().to_vec(),
                value: (event.event_type() == EventType::Put).then(|| kv.value().to_vec()),
            });
            if kv.key() == end.as_bytes() && kv.mod_revision() > last {
                return Ok(all);
            }
        }
    }
}
