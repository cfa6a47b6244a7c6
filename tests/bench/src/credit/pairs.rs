//! What one client does over and over: a reservation, then its commit, then the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rand::Rng;

use super::doors::{Grpc, Rest};
use super::rows::{Functions, Statements};
use crate::load::Worker;

/// What is in a wallet at first: enough for every run.
pub(crate) const INITIAL: i64 = 1 << 50;
/// What a reservation holds.
pub(crate) const HELD: i64 = 20;
/// What a commit takes of it.
pub(crate) const PRICE: i64 = 18;
/// For how long: longer than the bench runs, so that no timer decides what is left.
pub(crate) const TTL_SECONDS: i64 = 86_400;

/// What was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    reserved: AtomicI64,
    committed: AtomicI64,
}

/// How wallets differ from how they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// By how much the balances changed.
    pub(crate) moved: i64,
    /// What is held now.
    pub(crate) reserved: i64,
}

impl Tally {
    /// How wallets must stand after what was acknowledged, no request being under way.
    pub(crate) fn standing(&self) -> Standing {
        let reserved = self.reserved.load(Ordering::Relaxed);
        let committed = self.committed.load(Ordering::Relaxed);
        Standing {
            moved: -PRICE * committed,
            reserved: HELD * (reserved - committed),
        }
    }
}

/// A way to a ledger, and what it calls a reservation.
pub(crate) enum Ledger {
    Statements(Box<Statements>),
    Functions(Functions),
    Rest(Rest),
    Grpc(Box<Grpc>),
}

enum Held {
    Number(i64),
    Text(String),
}

/// A client. A step is one request: half a pair.
pub(crate) struct Pairs {
    pub(crate) ledger: Ledger,
    pub(crate) projects: Arc<[String]>,
    pub(crate) tally: Arc<Tally>,
    held: Option<Held>,
}

impl Pairs {
    /// A client that holds nothing yet.
    pub(crate) fn new(ledger: Ledger, projects: Arc<[String]>, tally: Arc<Tally>) -> Self {
        Self {
            ledger,
            projects,
            tally,
            held: None,
        }
    }

    async fn reserve(&mut self) -> anyhow::Result<Held> {
        let index = rand::rng().random_range(0..self.projects.len());
        let project = &self.projects[index];
        Ok(match &mut self.ledger {
            Ledger::Statements(rows) => Held::Number(rows.reserve(project).await?),
            Ledger::Functions(rows) => Held::Number(rows.reserve(project).await?),
            Ledger::Rest(door) => Held::Text(door.reserve(project).await?),
            Ledger::Grpc(door) => Held::Text(door.reserve(project).await?),
        })
    }

    async fn commit(&mut self, held: &Held) -> anyhow::Result<()> {
        match (&mut self.ledger, held) {
            (Ledger::Statements(rows), Held::Number(id)) => rows.commit(*id).await,
            (Ledger::Functions(rows), Held::Number(id)) => rows.commit(*id).await,
            (Ledger::Rest(door), Held::Text(id)) => door.commit(id).await,
            (Ledger::Grpc(door), Held::Text(id)) => door.commit(id).await,
            _ => anyhow::bail!("a reservation of another ledger"),
        }
    }
}

impl Worker for Pairs {
    async fn step(&mut self) -> anyhow::Result<()> {
        match self.held.take() {
            None => {
                self.held = Some(self.reserve().await?);
                self.tally.reserved.fetch_add(1, Ordering::Relaxed);
            }
            Some(held) => {
                self.commit(&held).await?;
                self.tally.committed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
