//! Histories of a map of registers: put, get, compare-and-swap and delete by key.
//!
//! Keys are independent, so each key's history is judged alone (linearizability is local: Herlihy and Wing 1990).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::history::Operation;
use crate::linearizability::{Model, Verdict, check};

/// An operation on one register. `None` is "no such key".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input<V> {
    /// Writes.
    Put(V),
    /// Reads.
    Get,
    /// Writes `new` if the register is `expected`.
    Cas {
        /// What must be there.
        expected: Option<V>,
        /// What is written then.
        new: V,
    },
    /// Removes.
    Delete,
}

/// The answer to an operation on one register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output<V> {
    /// Of a put, or of a delete that does not say what it found.
    Done,
    /// Of a get.
    Value(Option<V>),
    /// Of a compare-and-swap: whether it wrote.
    Swapped(bool),
    /// Of a delete: whether there was something.
    Deleted(bool),
}

/// An operation on one register of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed<K, V> {
    /// Which register.
    pub key: K,
    /// What to do.
    pub input: Input<V>,
}

type RegisterOperation<V> = Operation<Input<V>, Output<V>>;

/// A history of the whole map.
pub type History<K, V> = Vec<Operation<Keyed<K, V>, Output<V>>>;

/// The model of one register that is empty at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register<V>(std::marker::PhantomData<V>);

impl<V> Register<V> {
    /// An empty register.
    pub fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<V: Clone + Eq + Hash + Debug> Model for Register<V> {
    type State = Option<V>;
    type Input = Input<V>;
    type Output = Output<V>;

    fn initial(&self) -> Self::State {
        None
    }

    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State> {
        let fits = |right: Output<V>| output.is_none_or(|answer| *answer == right);
        match input {
            Input::Put(value) => fits(Output::Done).then(|| Some(value.clone())),
            Input::Get => fits(Output::Value(state.clone())).then(|| state.clone()),
            Input::Cas { expected, new } => {
                let swaps = expected == state;
                let next = if swaps {
                    Some(new.clone())
                } else {
                    state.clone()
                };
                fits(Output::Swapped(swaps)).then_some(next)
            }
            Input::Delete => {
                (fits(Output::Done) || fits(Output::Deleted(state.is_some()))).then_some(None)
            }
        }
    }

    fn erases(&self, input: &Self::Input, output: Option<&Self::Output>) -> bool {
        match input {
            Input::Put(_) => true,
            Input::Delete => !matches!(output, Some(Output::Deleted(_))),
            Input::Get | Input::Cas { .. } => false,
        }
    }
}

/// Judges a history of the map, key by key, all within `limit`. The first violation found is reported with its key.
pub fn check_map<K, V>(history: &[Operation<Keyed<K, V>, Output<V>>], limit: Duration) -> Verdict
where
    K: Clone + Ord + Debug,
    V: Clone + Eq + Hash + Debug,
{
    let end = Instant::now() + limit;
    let mut by_key: BTreeMap<K, Vec<RegisterOperation<V>>> = BTreeMap::new();
    for operation in history {
        let Keyed { key, input } = operation.input.clone();
        by_key.entry(key).or_default().push(Operation {
            client: operation.client,
            input,
            output: operation.output.clone(),
            called: operation.called,
            returned: operation.returned,
        });
    }
    let mut undecided = false;
    for (key, operations) in by_key {
        let left = end.saturating_duration_since(Instant::now());
        match check(&Register::new(), &operations, left) {
            Verdict::Linearizable => {}
            Verdict::Violation(why) => return Verdict::Violation(format!("key {key:?}: {why}")),
            Verdict::Undecided => undecided = true,
        }
    }
    if undecided {
        Verdict::Undecided
    } else {
        Verdict::Linearizable
    }
}

#[cfg(test)]
mod tests;
