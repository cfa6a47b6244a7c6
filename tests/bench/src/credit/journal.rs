//! A ledger's history by the million: the entries come from the ledger itself, and are written as the service writes
//! them (docs/credit.md, "Keys"): blocks chained by their hashes, heads, pages, public records. That the service
//! reads all of it, checks the chain and the sums, and answers with the right figures shows that it is right.
//!
//! Each wallet gets ten entries over the last thirty days: it is made with credit, and three times credit is reserved,
//! committed and topped up. The last reservation of every tenth wallet stays open, and a second top-up stands in for
//! its commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use creditservice_ledger::{
    Actor, Amount, Answer, Charge, Command, Commit, CreateWallet, Currency, Entry, Hold, Payer,
    Request, ReservationId, Reserve, Resource, Settings, Shard, State, Time, TopUp, Ttl, Units,
};
use etcd_client::{KvClient, Txn, TxnOp};
use photon_core::Name;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::load::{connect_kv, finish};

/// Where the service keeps everything.
pub(crate) const ROOT: &str = "/photon/creditservice";
/// Entries of each wallet.
pub(crate) const ENTRIES: u64 = 10;
/// What is in a wallet at first.
pub(crate) const INITIAL: i64 = 1_000;
const ROUNDS: i64 = 3;
const TOPPED_UP: i64 = 7;
const HELD: i64 = 10;
const TAKEN: i64 = 7;
const SPAN_SECONDS: i64 = 30 * 86_400;
/// Entries of a block, as of a group of the service that is full.
const BLOCK_ENTRIES: usize = 1_000;
/// Pages and public records of one transaction: the store takes 128 operations and 1.5 MiB.
const BATCH: usize = 100;
/// Shards that are filled at once.
const WRITERS: usize = 4;
const FILLING: Duration = Duration::from_secs(2 * 3600);

/// What is to be written.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many.
    pub(crate) wallets: u64,
    /// Into how many shards the service spreads projects.
    pub(crate) shards: u16,
    /// The public record of a wallet, as the service wrote it of one like these.
    pub(crate) published: Vec<u8>,
    /// The time of the last entry, in seconds since 1970.
    pub(crate) until: i64,
}

/// The project of wallet number `index`.
pub(crate) fn project(index: u64) -> String {
    format!("shop-{index:07}")
}

/// What must be in wallet number `index`: its balance and what is held.
pub(crate) fn figures(index: u64) -> (i64, i64) {
    let moved = ROUNDS * (TOPPED_UP - TAKEN);
    if stays_open(index) {
        (INITIAL + moved + TAKEN + TOPPED_UP, HELD)
    } else {
        (INITIAL + moved, 0)
    }
}

fn stays_open(index: u64) -> bool {
    index.is_multiple_of(10)
}

/// The shard of a project.
pub(crate) fn shard_of(project: &str, shards: u16) -> u16 {
    let digest = Sha256::digest(project);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    // Below `shards`.
    u16::try_from(u64::from_be_bytes(first) % u64::from(shards)).unwrap_or(0)
}

/// Writes all of it, and returns how many bytes of blocks and pages there are.
///
/// # Errors
/// What the ledger or the store refuse; the time is up.
pub(crate) async fn fill(endpoint: &str, plan: &Plan) -> anyhow::Result<u64> {
    let mut by_shard = vec![Vec::new(); usize::from(plan.shards)];
    for index in 0..plan.wallets {
        by_shard[usize::from(shard_of(&project(index), plan.shards))].push(index);
    }
    let by_shard: Arc<[Vec<u64>]> = by_shard.into();
    let next = Arc::new(AtomicUsize::new(0));
    let bytes = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let kv = connect_kv(endpoint).await?;
        let (by_shard, next, plan) = (Arc::clone(&by_shard), Arc::clone(&next), plan.clone());
        let bytes = Arc::clone(&bytes);
        writers.push(move || async move {
            let mut kv = kv;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(wallets) = by_shard.get(number) else {
                    return Ok(());
                };
                let shard = Shard::new(u16::try_from(number)?)?;
                let mut journal = Journal::new(shard, kv);
                journal.write(wallets, &plan).await?;
                bytes.fetch_add(journal.bytes, Ordering::Relaxed);
                kv = journal.kv;
            }
        });
    }
    finish(writers, FILLING).await?;
    Ok(bytes.load(Ordering::Relaxed))
}

/// A shard that is being written.
struct Journal {
    kv: KvClient,
    shard: Shard,
    state: State,
    block: u64,
    /// The hash of the last block.
    hash: String,
    /// Entries of the next block, as JSON.
    pending: Vec<Vec<u8>>,
    bytes: u64,
}

/// A project's entries so far: the number of the first, and all of them as JSON.
#[derive(Default)]
struct History {
    first: u64,
    entries: Vec<Vec<u8>>,
}

impl Journal {
    fn new(shard: Shard, kv: KvClient) -> Self {
        Self {
            kv,
            shard,
            state: State::new(shard),
            block: 0,
            hash: String::new(),
            pending: Vec::new(),
            bytes: 0,
        }
    }

    async fn write(&mut self, wallets: &[u64], plan: &Plan) -> anyhow::Result<()> {
        let steps = i64::try_from(wallets.len())? * (ROUNDS + 1);
        let begin = Time::from_seconds(plan.until - SPAN_SECONDS).micros();
        let at = |step: i64| {
            let passed =
                i128::from(SPAN_SECONDS) * 1_000_000 * i128::from(step) / i128::from(steps);
            anyhow::Ok(Time::from_micros(begin + i64::try_from(passed)?))
        };
        let mut histories = Vec::new();
        let mut step = 0;
        for &index in wallets {
            let mut history = History::default();
            self.apply(create(index)?, at(step)?, &mut history).await?;
            histories.push(history);
            step += 1;
        }
        for round in 1..=ROUNDS {
            for (&index, history) in wallets.iter().zip(&mut histories) {
                let now = at(step)?;
                let last = round == ROUNDS;
                let answer = self.apply(reserve(index)?, now, history).await?;
                let Answer::Reservation(made) = answer else {
                    bail!("a reservation was answered with {answer:?}");
                };
                let second = if last && stays_open(index) {
                    top_up(index)?
                } else {
                    commit(made.id)?
                };
                self.apply(second, now, history).await?;
                self.apply(top_up(index)?, now, history).await?;
                step += 1;
            }
        }
        self.end_block().await?;
        self.write_head().await?;
        self.write_pages(wallets, histories, &plan.published).await
    }

    async fn apply(
        &mut self,
        command: Command,
        now: Time,
        history: &mut History,
    ) -> anyhow::Result<Answer> {
        let request = Request {
            command,
            key: None,
            by: Some(Actor::new("service:plasmavmc")?),
        };
        let applied = self.state.apply(&request, now)?;
        for entry in &applied.entries {
            self.add(entry, history)?;
        }
        if self.pending.len() >= BLOCK_ENTRIES {
            self.end_block().await?;
        }
        Ok(applied.answer)
    }

    fn add(&mut self, entry: &Entry, history: &mut History) -> anyhow::Result<()> {
        let json = serde_json::to_vec(entry)?;
        if history.entries.is_empty() {
            history.first = entry.seq;
        }
        history.entries.push(json.clone());
        self.pending.push(json);
        Ok(())
    }

    async fn end_block(&mut self) -> anyhow::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.block += 1;
        let mut bytes = format!(
            r#"{{"v":1,"shard":{},"block":{},"epoch":1,"at":{},"prev":"{}","entries":["#,
            self.shard.number(),
            self.block,
            self.state.at().micros(),
            self.hash
        )
        .into_bytes();
        bytes.extend_from_slice(&self.pending.join(&b","[..]));
        bytes.extend_from_slice(b"]}");
        self.pending.clear();
        self.hash = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.bytes += bytes.len() as u64;
        let key = format!("{ROOT}/journal/{}/{:016x}", self.shard.number(), self.block);
        self.kv.put(key, bytes, None).await?;
        Ok(())
    }

    async fn write_head(&mut self) -> anyhow::Result<()> {
        let (shard, seq) = (self.shard.number(), self.state.seq());
        let head = json!({
            "v": 1, "block": self.block, "seq": seq, "at": self.state.at().micros(), "hash": self.hash, "epoch": 1,
        });
        let paged = json!({"v": 1, "seq": seq});
        let puts = [
            TxnOp::put(format!("{ROOT}/shard/{shard}/head"), head.to_string(), None),
            TxnOp::put(
                format!("{ROOT}/shard/{shard}/paged"),
                paged.to_string(),
                None,
            ),
        ];
        self.kv.txn(Txn::new().and_then(puts)).await?;
        Ok(())
    }

    async fn write_pages(
        &mut self,
        wallets: &[u64],
        histories: Vec<History>,
        published: &[u8],
    ) -> anyhow::Result<()> {
        let mut puts = Vec::new();
        for (&index, history) in wallets.iter().zip(histories) {
            let project = project(index);
            let mut page =
                format!(r#"{{"v":1,"shard":{},"entries":["#, self.shard.number()).into_bytes();
            page.extend_from_slice(&history.entries.join(&b","[..]));
            page.extend_from_slice(b"]}");
            self.bytes += page.len() as u64;
            let first = history.first;
            puts.push(TxnOp::put(
                format!("{ROOT}/history/{project}/{first:016x}"),
                page,
                None,
            ));
            let public = format!("{ROOT}/public/wallets/{project}");
            puts.push(TxnOp::put(public, published, None));
            if puts.len() >= BATCH {
                let full = std::mem::take(&mut puts);
                self.kv.txn(Txn::new().and_then(full)).await?;
            }
        }
        if !puts.is_empty() {
            self.kv.txn(Txn::new().and_then(puts)).await?;
        }
        Ok(())
    }
}

fn name(index: u64) -> anyhow::Result<Name> {
    Name::new(project(index)).context("a name")
}

fn create(index: u64) -> anyhow::Result<Command> {
    Ok(Command::CreateWallet(CreateWallet {
        project: name(index)?,
        org: Name::new("bench")?,
        currency: Currency::Jpy,
        initial_balance: Charge::new(INITIAL)?,
        settings: Settings::default(),
    }))
}

fn top_up(index: u64) -> anyhow::Result<Command> {
    Ok(Command::TopUp(TopUp {
        project: name(index)?,
        amount: Amount::new(TOPPED_UP)?,
        source: Name::new("bank")?,
        description: None,
    }))
}

fn reserve(index: u64) -> anyhow::Result<Command> {
    Ok(Command::Reserve(Reserve {
        project: name(index)?,
        hold: Some(Hold::Amount(Amount::new(HELD)?)),
        units: Units::default(),
        // Those that stay open must be open still.
        ttl: Ttl::new(Ttl::MAX_SECONDS)?,
        payer: Payer::Caller,
        resource: Resource::default(),
        description: None,
    }))
}

fn commit(reservation: ReservationId) -> anyhow::Result<Command> {
    Ok(Command::Commit(Commit {
        reservation,
        caller: None,
        actual: Some(Charge::new(TAKEN)?),
        units: None,
        resource_id: None,
        description: None,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn wallets_end_with_the_figures_that_are_expected() {
        for index in [7, 10] {
            let mut state = State::new(Shard::new(0).unwrap());
            let mut entries = 0;
            let mut apply = |command: Command| {
                let now = Time::from_seconds(1_800_000_000);
                let applied = state.apply(&command.into(), now).unwrap();
                entries += applied.entries.len() as u64;
                applied.answer
            };
            apply(create(index).unwrap());
            for round in 1..=ROUNDS {
                let Answer::Reservation(made) = apply(reserve(index).unwrap()) else {
                    panic!("no reservation");
                };
                if round == ROUNDS && stays_open(index) {
                    apply(top_up(index).unwrap());
                } else {
                    apply(commit(made.id).unwrap());
                }
                apply(top_up(index).unwrap());
            }
            let wallet = state.wallet(&name(index).unwrap()).unwrap();
            let found = (wallet.figures.balance, wallet.figures.reserved);
            assert_eq!((found, entries), (figures(index), ENTRIES));
        }
    }

    #[test]
    fn projects_are_spread_by_the_first_bytes_of_their_hash() {
        // printf shop | sha256sum | cut -c1-16
        let first = u64::from_be_bytes(Sha256::digest("shop")[..8].try_into().unwrap());
        assert_eq!(u64::from(shard_of("shop", 64)), first % 64);
        let all: std::collections::BTreeSet<u16> = (0..1_000)
            .map(|index| shard_of(&project(index), 64))
            .collect();
        assert_eq!(all.len(), 64);
    }
}
