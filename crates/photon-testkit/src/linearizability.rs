//! Is a history linearizable? The search of Wing and Gong with Lowe's memoisation.
//!
//! Sources: J. Wing, C. Gong, "Testing and Verifying Concurrent Objects" (1993); G. Lowe, "Testing for
//! linearizability" (2017), section on the just-in-time and graph-search variants; the formulation with one
//! list of call and return entries, a bit set and a cache is the one used by the checker "porcupine".
//!
//! All calls and returns stand in one list, by time. The search walks it: at a call it tries to let that operation
//! take effect now; if the model allows it and the pair (set of operations done, state) is new, the operation's two
//! entries are lifted out and the walk starts again at the front. At a return entry, an operation has ended without
//! having taken effect: the last choice was wrong and is undone. Nothing left to undo: the history is not
//! linearizable. Operations with unknown outcome have no return entry: they may take effect anywhere after their
//! call, or never, so the search is over when every operation with an answer has taken effect.
//!
//! Ours: an operation of unknown outcome that changes nothing, or whose effect the very next operation erases, might as
//! well not have happened; removing it leaves a valid order. So only orders without such are tried, and many unknown
//! writes do not double the search each.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::history::Operation;

/// What a correct object does, one operation at a time.
pub trait Model {
    /// The object's state.
    type State: Clone + Eq + Hash + Debug;
    /// An operation.
    type Input: Clone + Debug;
    /// Its answer.
    type Output: Clone + Debug;

    /// The state before any operation.
    fn initial(&self) -> Self::State;

    /// The state after `input`, if answering `output` is right in `state`; `None` if it is wrong. With an unknown
    /// `output` every input must be possible in every state.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;

    /// Whether the operation's effect and answer do not depend on the state before it. Saying no is always right;
    /// saying yes where it is true keeps operations of unknown outcome from blowing the search up.
    fn erases(&self, input: &Self::Input, output: Option<&Self::Output>) -> bool {
        let _ = (input, output);
        false
    }
}

/// The judgement on a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order of the operations that explains all answers.
    Linearizable,
    /// There is none. The text shows the longest explanation found and where it ends.
    Violation(String),
    /// The time given was not enough.
    Undecided,
}

impl Verdict {
    /// # Panics
    /// Unless the history is linearizable.
    pub fn assert(&self) {
        match self {
            Self::Linearizable => {}
            Self::Violation(why) => panic!("not linearizable: {why}"),
            Self::Undecided => panic!("linearizability undecided in the time given"),
        }
    }
}

/// Judges the history of one object within `limit`.
pub fn check<M: Model>(
    model: &M,
    history: &[Operation<M::Input, M::Output>],
    limit: Duration,
) -> Verdict {
    Search::new(model, history).run(Instant::now() + limit)
}

type Entry = usize;
const HEAD: Entry = 0;
const NONE: Entry = usize::MAX;

/// One entry of the list. Entry 0 is the head.
struct Link {
    previous: Entry,
    next: Entry,
    operation: usize,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Head,
    /// With the return entry of the same operation, or `NONE` if its outcome is unknown.
    Call(Entry),
    Return,
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Input, M::Output>],
    links: Vec<Link>,
    state: M::State,
    done: Bits,
    /// Operations that took effect, in that order, with the state before each.
    taken: Vec<(Entry, M::State)>,
    /// Operations with an answer that have not taken effect.
    owed: usize,
    /// What has been tried: operations done, state, and whether the last one's outcome is unknown.
    seen: HashSet<(Bits, M::State, bool)>,
    longest: Vec<usize>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Operation<M::Input, M::Output>]) -> Self {
        let owed = history.iter().filter(|op| op.output.is_some()).count();
        Self {
            model,
            history,
            links: list(history),
            state: model.initial(),
            done: Bits::new(history.len()),
            taken: Vec::new(),
            owed,
            seen: HashSet::new(),
            longest: Vec::new(),
        }
    }

    fn run(mut self, end: Instant) -> Verdict {
        const STEPS_PER_LOOK_AT_THE_CLOCK: u32 = 1024;
        let mut steps = 0_u32;
        let mut at = self.links[HEAD].next;
        while self.owed > 0 {
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(STEPS_PER_LOOK_AT_THE_CLOCK) && Instant::now() >= end {
                return Verdict::Undecided;
            }
            // An answered operation's return entry is ahead as long as one is owed, so the list does not end here.
            let kind = self.links[at].kind;
            at = match kind {
                Kind::Call(_) if self.take_effect(at) => self.links[HEAD].next,
                Kind::Call(_) | Kind::Head => self.links[at].next,
                Kind::Return => match self.undo() {
                    Some(undone) => self.links[undone].next,
                    None => return Verdict::Violation(self.explain(at)),
                },
            };
        }
        Verdict::Linearizable
    }

    /// Lets the operation called at `entry` take effect now, unless the model forbids it or the same has been
    /// tried before.
    fn take_effect(&mut self, entry: Entry) -> bool {
        let index = self.links[entry].operation;
        let operation = &self.history[index];
        let Some(next) = self
            .model
            .step(&self.state, &operation.input, operation.output.as_ref())
        else {
            return false;
        };
        let unknown = operation.output.is_none();
        if unknown && next == self.state {
            return false;
        }
        if self.last_is_unknown()
            && self
                .model
                .erases(&operation.input, operation.output.as_ref())
        {
            return false;
        }
        let mut done = self.done.clone();
        done.set(index);
        if !self.seen.insert((done.clone(), next.clone(), unknown)) {
            return false;
        }
        self.done = done;
        self.taken
            .push((entry, std::mem::replace(&mut self.state, next)));
        self.lift(entry);
        if !unknown {
            self.owed -= 1;
        }
        if self.taken.len() > self.longest.len() {
            self.longest = self
                .taken
                .iter()
                .map(|(entry, _)| self.links[*entry].operation)
                .collect();
        }
        true
    }

    fn last_is_unknown(&self) -> bool {
        self.taken
            .last()
            .is_some_and(|(entry, _)| self.history[self.links[*entry].operation].output.is_none())
    }

    /// Takes back the last effect and returns its call entry.
    fn undo(&mut self) -> Option<Entry> {
        let (entry, state) = self.taken.pop()?;
        let index = self.links[entry].operation;
        self.state = state;
        self.done.clear(index);
        self.unlift(entry);
        if self.history[index].output.is_some() {
            self.owed += 1;
        }
        Some(entry)
    }

    fn lift(&mut self, call: Entry) {
        self.unlink(call);
        if let Kind::Call(ret) = self.links[call].kind
            && ret != NONE
        {
            self.unlink(ret);
        }
    }

    /// The exact reverse of `lift`; entries keep their neighbours while they are out of the list.
    fn unlift(&mut self, call: Entry) {
        if let Kind::Call(ret) = self.links[call].kind
            && ret != NONE
        {
            self.relink(ret);
        }
        self.relink(call);
    }

    fn unlink(&mut self, entry: Entry) {
        let Link { previous, next, .. } = self.links[entry];
        self.links[previous].next = next;
        if next != NONE {
            self.links[next].previous = previous;
        }
    }

    fn relink(&mut self, entry: Entry) {
        let Link { previous, next, .. } = self.links[entry];
        self.links[previous].next = entry;
        if next != NONE {
            self.links[next].previous = entry;
        }
    }

    fn explain(&self, at: Entry) -> String {
        const SHOWN: usize = 12;
        let line = |index: usize| {
            let op = &self.history[index];
            format!(
                "  [{}..{}] client {} {:?} -> {:?}\n",
                op.called, op.returned, op.client, op.input, op.output
            )
        };
        let skipped = self.longest.len().saturating_sub(SHOWN);
        let mut text = format!(
            "{} of {} operations explained, the last of them:\n",
            self.longest.len(),
            self.history.len()
        );
        text.extend(self.longest[skipped..].iter().map(|index| line(*index)));
        let mut state = self.model.initial();
        for index in &self.longest {
            let op = &self.history[*index];
            if let Some(next) = self.model.step(&state, &op.input, op.output.as_ref()) {
                state = next;
            }
        }
        text.push_str(&format!("state then: {state:?}; not explained:\n"));
        let explained: HashSet<_> = self.longest.iter().collect();
        let mut rest: Vec<_> = (0..self.history.len())
            .filter(|index| !explained.contains(index))
            .collect();
        rest.sort_by_key(|index| self.history[*index].called);
        text.extend(rest.into_iter().take(SHOWN).map(line));
        text.push_str("first contradiction at the return of:\n");
        text.push_str(&line(self.links[at].operation));
        text
    }
}

/// The list of calls and returns by time; at the same time calls stand before returns.
fn list<I, O>(history: &[Operation<I, O>]) -> Vec<Link> {
    let mut times = Vec::with_capacity(history.len() * 2);
    for (index, operation) in history.iter().enumerate() {
        times.push((operation.called, false, index));
        if operation.output.is_some() {
            times.push((operation.returned, true, index));
        }
    }
    times.sort_unstable();

    let mut links = vec![Link {
        previous: NONE,
        next: if times.is_empty() { NONE } else { HEAD + 1 },
        operation: NONE,
        kind: Kind::Head,
    }];
    let mut call_of = vec![NONE; history.len()];
    for (place, (_, is_return, operation)) in times.iter().enumerate() {
        let entry = place + 1;
        links.push(Link {
            previous: place,
            next: if entry == times.len() {
                NONE
            } else {
                entry + 1
            },
            operation: *operation,
            kind: if *is_return {
                Kind::Return
            } else {
                Kind::Call(NONE)
            },
        });
        if *is_return {
            links[call_of[*operation]].kind = Kind::Call(entry);
        } else {
            call_of[*operation] = entry;
        }
    }
    links
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Bits(Box<[u64]>);

impl Bits {
    fn new(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)].into())
    }

    fn set(&mut self, bit: usize) {
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn clear(&mut self, bit: usize) {
        self.0[bit / 64] &= !(1 << (bit % 64));
    }
}
