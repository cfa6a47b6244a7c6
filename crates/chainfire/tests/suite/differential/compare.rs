//! Two transcripts of one sequence: equal, or different where, and what was excused.

use std::collections::BTreeMap;

use super::allowed::{ALLOWED, Allowed, LAGGING, WATCH_ALLOWED, is_lagging};
use super::op::Op;
use super::session::{Outcome, Transcript};
use super::watching::Seen;

/// How often each allowed difference was met.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

/// The first difference that nothing allows, in words.
pub(crate) fn difference(
    ops: &[Op],
    etcd: &Transcript,
    ours: &Transcript,
    tally: &mut Tally,
) -> Option<String> {
    let pairs = etcd.outcomes.iter().zip(&ours.outcomes);
    for (index, (op, (theirs, mine))) in ops.iter().zip(pairs).enumerate() {
        if theirs == mine {
            continue;
        }
        match allowed(op, theirs, mine) {
            Some(entry) => *tally.entry(entry.name).or_default() += 1,
            None => {
                return Some(format!(
                    "operation {index}: {op:?}\n  oracle: {theirs:?}\n  ours:   {mine:?}"
                ));
            }
        }
    }
    if etcd.watchers.len() != ours.watchers.len() {
        return Some(format!(
            "watchers\n  oracle: {}\n  ours:   {}",
            etcd.watchers.len(),
            ours.watchers.len()
        ));
    }
    etcd.watchers
        .iter()
        .zip(&ours.watchers)
        .find_map(|(theirs, mine)| watcher_difference(theirs, mine, tally))
}

fn allowed(op: &Op, etcd: &Outcome, ours: &Outcome) -> Option<&'static Allowed> {
    ALLOWED.iter().find(|entry| (entry.applies)(op, etcd, ours))
}

fn watcher_difference(etcd: &Seen, ours: &Seen, tally: &mut Tally) -> Option<String> {
    if etcd == ours {
        return None;
    }
    if is_lagging(etcd, ours) {
        *tally.entry(LAGGING.0).or_default() += 1;
        return None;
    }
    // Each allowed difference alone, then both.
    let mut excused = ours.clone();
    for entries in [&WATCH_ALLOWED[..1], &WATCH_ALLOWED[1..], WATCH_ALLOWED] {
        excused.clone_from(ours);
        for entry in entries {
            (entry.excuse)(&mut excused);
        }
        if *etcd == excused {
            for entry in entries {
                *tally.entry(entry.name).or_default() += 1;
            }
            return None;
        }
    }
    let at = etcd
        .events
        .iter()
        .zip(&ours.events)
        .position(|(theirs, mine)| theirs != mine);
    Some(format!(
        "watcher {}, first different event {at:?}\n  oracle: {etcd:?}\n  ours:   {ours:?}",
        etcd.watch_id
    ))
}
