//! Holds what is in the store after a run against what clients were told.

use std::collections::{BTreeMap, HashMap};

use creditservice_ledger::{Entry, Figures, ReservationId, State, What, snapshot};
use photon_core::Name;
use photon_store::Scan;

use super::{
    client::{Diary, Intent, KIND, Reading, Seen, Told, Verdict, projects, seq_of},
    reference::Reference,
    wire::Wire,
    world::{SHARD, World},
};
use crate::{
    history::page,
    shard::{block::Link, layout, load::load},
};

/// What is wrong.
type Wrong = String;

/// The journal as it is, from its first block on.
struct Journal {
    entries: Vec<Entry>,
    state: State,
    /// Of each project, its figures from an entry on.
    figures: BTreeMap<Name, Vec<(u64, Figures)>>,
}

/// Everything that must hold after a run, when nothing happens any more.
pub(super) async fn all(world: &World, wire: &Wire, diaries: &[Diary]) -> Result<(), Wrong> {
    let journal = read(world)?;
    let told: Vec<&Told> = diaries.iter().flat_map(|diary| &diary.told).collect();
    from_the_snapshot(wire, &journal).await?;
    let done = once(&journal, &told, world)?;
    figures(&journal, &done)?;
    pages(wire, &journal).await?;
    snapshots(world)?;
    if !world.weather.leases_end_early {
        for reading in diaries.iter().flat_map(|diary| &diary.readings) {
            is_of_its_time(&journal, reading)?;
        }
    }
    Ok(())
}

/// Nobody asked for long: whatever was held is not any more.
pub(super) async fn quiet(wire: &Wire) -> Result<(), Wrong> {
    let loaded = load(wire, SHARD).await.map_err(|error| error.to_string())?;
    match loaded.state.next_expiry() {
        Some(at) => Err(format!("a hold that was over at {at:?} is still there")),
        None => Ok(()),
    }
}

/// The blocks are a chain to the head, and their entries follow from each other.
fn read(world: &World) -> Result<Journal, Wrong> {
    let blocks = world
        .disk
        .lock()
        .range(&Scan::below(layout::journal(SHARD), u32::MAX))
        .entries;
    let mut journal = Journal {
        entries: Vec::new(),
        state: State::new(SHARD),
        figures: BTreeMap::new(),
    };
    let mut link = Link::start();
    for block in blocks {
        let read = link
            .follow(SHARD, &block.key, &block.value)
            .map_err(|error| error.to_string())?;
        for entry in read.entries {
            let before = journal.entries.last();
            if before.is_some_and(|before| before.at > entry.at) {
                return Err(format!("time goes back at entry {}", entry.seq));
            }
            let state = &mut journal.state;
            let wrong = |error: &dyn std::fmt::Display| format!("entry {}: {error}", entry.seq);
            state.replay(&entry).map_err(|error| wrong(&error))?;
            if let Some(project) = &entry.project
                && let Some(wallet) = state.wallet(project)
            {
                let figures = journal.figures.entry(project.clone()).or_default();
                figures.push((entry.seq, wallet.figures));
            }
            journal.entries.push(entry);
        }
    }
    let head = world.disk.lock().read(&layout::head(SHARD));
    let head = head.ok_or("there is no head")?;
    let head = crate::shard::stored::read(&head).map_err(|error| error.to_string())?;
    if link != Link::of(&head) {
        return Err(format!("the journal ends with {link:?}, not with {head:?}"));
    }
    journal.state.check().map_err(|broken| broken.to_string())?;
    Ok(journal)
}

/// From the newest snapshot on it comes to the same state, to the bit.
async fn from_the_snapshot(wire: &Wire, journal: &Journal) -> Result<(), Wrong> {
    let loaded = load(wire, SHARD).await.map_err(|error| error.to_string())?;
    if loaded.replayed >= loaded.state.seq() {
        return Err("there is no snapshot that can be read".to_owned());
    }
    let bytes = |state: &State| {
        snapshot::encode(state, 1 << 20)
            .collect::<Vec<_>>()
            .concat()
    };
    if bytes(&loaded.state) != bytes(&journal.state) {
        return Err("the snapshot leads to another state than the journal".to_owned());
    }
    Ok(())
}

/// What was acknowledged is there once, what was not done is not, and of what is unknown nothing is there twice. The commands
/// that were done, by their entries.
fn once<'a>(
    journal: &Journal,
    told: &[&'a Told],
    world: &World,
) -> Result<HashMap<u64, &'a Told>, Wrong> {
    let mut entries: HashMap<&str, Vec<&Entry>> = HashMap::new();
    for entry in &journal.entries {
        match (&entry.what, &entry.by) {
            (What::Expired { .. } | What::LimitRegistered { .. }, _) => {}
            (_, Some(by)) => entries.entry(by.as_str()).or_default().push(entry),
            (_, None) => return Err(format!("nobody made {entry:?}")),
        }
    }
    let mut done = HashMap::new();
    for one in told {
        let found = entries.remove(one.marker.as_str()).unwrap_or_default();
        let right = match &one.verdict {
            // A hold that lasts longer than that anyhow is left as it is.
            Verdict::Done(_) if matches!(one.intent, Intent::Extend(..)) => found.len() <= 1,
            Verdict::Done(_) => found.len() == 1,
            Verdict::NotDone => found.is_empty(),
            // Whoever is refused by an old owner may have asked a new one before.
            Verdict::Refused(_) => found.is_empty() || world.weather.leases_end_early,
            Verdict::Unknown => found.len() <= 1,
        };
        if !right {
            return Err(format!("{one:?} has {} entries", found.len()));
        }
        let Some(entry) = found.first() else { continue };
        let named = match &one.verdict {
            Verdict::Done(answer) => entry_of(answer, &one.intent),
            _ => None,
        };
        if named.is_some_and(|seq| seq != entry.seq) {
            return Err(format!("{one:?} is entry {}", entry.seq));
        }
        done.insert(entry.seq, *one);
    }
    match entries.keys().next() {
        Some(stranger) => Err(format!("nobody asked for {stranger}")),
        None => Ok(done),
    }
}

/// The entry that an answer names.
fn entry_of(answer: &creditservice_ledger::Answer, intent: &Intent) -> Option<u64> {
    use creditservice_ledger::{Answer, Place};
    match (answer, intent) {
        (Answer::Transaction { id, .. }, _) => Some(Place::of(*id)?.seq),
        (Answer::Reservation(view), Intent::Reserve { .. }) => Some(seq_of(view.id)),
        _ => None,
    }
}

/// The wallets have what the commands that were done come to.
fn figures(journal: &Journal, done: &HashMap<u64, &Told>) -> Result<(), Wrong> {
    let mut reference = Reference::default();
    for entry in &journal.entries {
        match (&entry.what, done.get(&entry.seq)) {
            (What::Expired { reservation }, _) => reference.expire(*reservation)?,
            (_, Some(told)) => {
                let id: ReservationId = entry.reservation_id(SHARD);
                reference.apply(&told.project, &told.intent, id)?;
            }
            _ => {}
        }
    }
    let kind = Name::new(KIND).map_err(|error| error.to_string())?;
    for project in projects() {
        let wallet = journal.state.wallet(&project).ok_or("no wallet")?;
        let quota = journal.state.quotas(&project).find(|one| one.kind == kind);
        let quota = quota.ok_or("no quota")?;
        let is = [
            wallet.figures.balance,
            wallet.figures.reserved,
            wallet.figures.available,
            quota.used,
            quota.reserved,
        ];
        let should = reference.figures(&project);
        if is != should {
            return Err(format!("{project} has {is:?} and should have {should:?}"));
        }
    }
    Ok(())
}

/// Pages have exactly the entries of their project.
async fn pages(wire: &Wire, journal: &Journal) -> Result<(), Wrong> {
    for project in projects() {
        let pages = page::from(wire, &project, 0, u32::MAX).await;
        let pages = pages.map_err(|error| error.to_string())?;
        let paged: Vec<&Entry> = pages.iter().flat_map(|page| &page.entries).collect();
        let made: Vec<&Entry> = of_project(journal, &project).collect();
        if paged != made {
            let seqs = |entries: &[&Entry]| entries.iter().map(|one| one.seq).collect::<Vec<_>>();
            let (paged, made) = (seqs(&paged), seqs(&made));
            let lost: Vec<_> = made.iter().filter(|seq| !paged.contains(seq)).collect();
            return Err(format!(
                "pages of {project} have {} of {} entries, without {lost:?}",
                paged.len(),
                made.len(),
            ));
        }
    }
    Ok(())
}

fn of_project<'a>(journal: &'a Journal, project: &'a Name) -> impl Iterator<Item = &'a Entry> {
    let of = move |entry: &&Entry| entry.project.as_ref() == Some(project);
    journal.entries.iter().filter(of)
}

/// Nothing is left of snapshots that are not the newest.
fn snapshots(world: &World) -> Result<(), Wrong> {
    let current = layout::current_snapshot(SHARD);
    let all = Scan::below(layout::snapshots(SHARD), u32::MAX);
    let keys = world.disk.lock().range(&all);
    let keys = keys.entries.iter().map(|entry| entry.key.as_str());
    let chunks: Vec<&str> = keys.filter(|key| *key != current).collect();
    // The state is small: a snapshot of it is one chunk.
    if chunks.len() == 1 {
        return Ok(());
    }
    Err(format!("chunks of several snapshots: {chunks:?}"))
}

/// What was read was the state at some time while it was being read.
fn is_of_its_time(journal: &Journal, reading: &Reading) -> Result<(), Wrong> {
    let Reading {
        project,
        after,
        before,
        seen,
    } = reading;
    match seen {
        Seen::Figures(seen) => {
            let all = journal.figures.get(project).cloned().unwrap_or_default();
            let at_first = all.iter().rev().find(|(seq, _)| seq <= after);
            let at_first = at_first.map(|(_, figures)| *figures);
            let within = all.iter().filter(|(seq, _)| seq > after && seq <= before);
            let mut possible = within.map(|(_, figures)| Some(*figures));
            if *seen != at_first && !possible.any(|figures| figures == *seen) {
                return Err(format!("{reading:?} was never so"));
            }
        }
        Seen::History(seen) => {
            let made = of_project(journal, project).map(|entry| entry.seq);
            let last = seen.last().copied().unwrap_or(0).max(*after);
            let expected: Vec<u64> = made.take_while(|seq| *seq <= last).collect();
            if *seen != expected {
                let lost: Vec<_> = expected.iter().filter(|seq| !seen.contains(seq)).collect();
                return Err(format!(
                    "a history of {project} read between {after} and {before} lacks {lost:?}"
                ));
            }
        }
    }
    Ok(())
}
