//! The use cases of transactions: reading a project's history.

use std::ops::ControlFlow;

use creditservice_ledger::{
    Account, Amount, ChargeRef, Entry, EntryId, Place, Posting, ResourceId, Shard, Time,
};
use photon_auth::Context;
use photon_core::{Error, Name};

use super::{Transaction, TransactionType};
use crate::{
    app::{App, odd},
    history::page,
    listing::{Ask as Rows, Page},
    scope,
    shard::ask::{Ask, Reply},
    wallet,
};

/// Pages read at once.
const PAGES: u32 = 4;

/// Which transactions, and how.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) newest_first: bool,
    pub(crate) types: Vec<TransactionType>,
    pub(crate) resource_id: Option<ResourceId>,
    /// From this moment on.
    pub(crate) from: Option<Time>,
    /// Before this moment.
    pub(crate) to: Option<Time>,
}

impl Filter {
    fn wants(&self, transaction: &Transaction) -> bool {
        self.types.contains(&transaction.kind)
            && (self.resource_id.is_none() || self.resource_id == transaction.resource_id)
    }

    /// Whether nothing behind this moment, in the order asked for, can be wanted.
    fn is_past(&self, at: Time) -> bool {
        if self.newest_first {
            self.from.is_some_and(|from| at < from)
        } else {
            self.to.is_some_and(|to| at >= to)
        }
    }

    fn is_within(&self, at: Time) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }
}

/// Lists a project's transactions. A position is the number of the entry.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    project: &Name,
    filter: &Filter,
    rows: &Rows<u64>,
) -> Result<Page<Transaction>, Error> {
    scope::allow_in_project(ctx, project)?;
    // Says whether there is a wallet.
    wallet::service::read(app, ctx, project).await?;
    let history = History::of(app, ctx, project);
    let mut found = Vec::new();
    let mut look = |entry: &Entry| {
        if filter.is_past(entry.at) {
            return ControlFlow::Break(());
        }
        if filter.is_within(entry.at)
            && let Some(transaction) = Transaction::of(entry, history.shard)
            && filter.wants(&transaction)
        {
            found.push(transaction);
        }
        if found.len() >= rows.rows() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    if filter.newest_first {
        history.newest_first(rows.after, &mut look).await?;
    } else {
        history.oldest_first(rows.after, &mut look).await?;
    }
    rows.page(found, |transaction| transaction.seq)
}

/// What a charge took, for whoever gives it back.
///
/// # Errors
/// 400 naming the field when there is no such charge of the project, or it was for more than one thing.
pub(crate) async fn charge_of(
    app: &App,
    ctx: &Context,
    project: &Name,
    id: EntryId,
) -> Result<ChargeRef, Error> {
    let none = || {
        let message = "transaction_id is no charge of this project";
        Error::validation("transaction_id", "exists", message)
    };
    let history = History::of(app, ctx, project);
    let shard = history.shard;
    let place = Place::of(id).filter(|place| place.shard == shard);
    let seq = place.ok_or_else(none)?.seq;
    let mut found = None;
    let mut look = |entry: &Entry| {
        found = (entry.id(shard) == id).then(|| entry.clone());
        ControlFlow::Break(())
    };
    let behind = Some(seq.saturating_add(1));
    history.newest_first(behind, &mut look).await?;
    let entry = found.ok_or_else(none)?;
    let mut earned = entry.postings.iter().filter_map(|posting| match posting {
        Posting(Account::Revenue(sku), amount) if *amount > 0 => Some((sku.clone(), *amount)),
        _ => None,
    });
    match (earned.next(), earned.next()) {
        (Some((sku, charged)), None) => Ok(ChargeRef {
            entry: id,
            charged: Amount::new(charged).map_err(Error::internal)?,
            sku,
        }),
        (Some(_), Some(_)) => {
            let message =
                "transaction_id is a charge for several things; correct it by an adjustment";
            Err(Error::validation("transaction_id", "single", message))
        }
        (None, _) => Err(none()),
    }
}

/// The entries of a project, in its pages and in its owner's memory.
pub(crate) struct History<'a> {
    app: &'a App,
    ctx: &'a Context,
    project: &'a Name,
    pub(crate) shard: Shard,
}

impl<'a> History<'a> {
    pub(crate) fn of(app: &'a App, ctx: &'a Context, project: &'a Name) -> Self {
        Self {
            app,
            ctx,
            project,
            shard: app.shards.of_project(project),
        }
    }

    /// Shows the entries before one, the newest first, until it is enough.
    pub(crate) async fn newest_first(
        &self,
        before: Option<u64>,
        look: &mut impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut before = before.unwrap_or(u64::MAX);
        // What is paged after this is read there, and left out here by its number.
        for entry in self.unpaged().await?.iter().rev() {
            if entry.seq < before {
                before = entry.seq;
                if look(entry).is_break() {
                    return Ok(());
                }
            }
        }
        loop {
            let store = self.app.shards.store();
            let pages = page::before(store, self.project, Some(before), PAGES).await?;
            let started_at = before;
            for entry in pages.iter().flat_map(|page| page.entries.iter().rev()) {
                if entry.seq < before {
                    before = entry.seq;
                    if look(entry).is_break() {
                        return Ok(());
                    }
                }
            }
            if before == started_at {
                return Ok(());
            }
        }
    }

    /// Shows the entries behind one, the oldest first, until it is enough.
    pub(crate) async fn oldest_first(
        &self,
        after: Option<u64>,
        look: &mut impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        // Read first: what is paged meanwhile is in the pages then.
        let newest = self.unpaged().await?;
        let store = self.app.shards.store();
        let mut after = after.unwrap_or(0);
        loop {
            let started_at = after;
            let pages = page::behind(store, self.project, after, PAGES).await?;
            for entry in pages.iter().flat_map(|page| &page.entries) {
                if entry.seq > after {
                    after = entry.seq;
                    if look(entry).is_break() {
                        return Ok(());
                    }
                }
            }
            if after == started_at {
                break;
            }
        }
        for entry in newest.iter().filter(|entry| entry.seq > after) {
            if look(entry).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn unpaged(&self) -> Result<Vec<Entry>, Error> {
        let ask = Ask::Unpaged {
            project: self.project.clone(),
        };
        let deadline = self.ctx.deadline;
        match self.app.shards.ask(self.shard, ask, deadline).await? {
            Reply::Unpaged { entries } => Ok(entries),
            other => Err(odd(&other)),
        }
    }
}
