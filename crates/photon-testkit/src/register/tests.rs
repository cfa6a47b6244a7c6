#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

const LIMIT: Duration = Duration::from_secs(60);
const UNKNOWN: u64 = u64::MAX;

type Op = Operation<Keyed<&'static str, u32>, Output<u32>>;

fn op(called: u64, returned: u64, input: Input<u32>, output: Option<Output<u32>>) -> Op {
    Operation {
        client: 0,
        input: Keyed { key: "k", input },
        output,
        called,
        returned,
    }
}

fn put(called: u64, returned: u64, value: u32) -> Op {
    let output = (returned != UNKNOWN).then_some(Output::Done);
    op(called, returned, Input::Put(value), output)
}

fn get(called: u64, returned: u64, value: Option<u32>) -> Op {
    op(called, returned, Input::Get, Some(Output::Value(value)))
}

fn cas(called: u64, returned: u64, expected: Option<u32>, new: u32, swapped: Option<bool>) -> Op {
    let output = swapped.map(Output::Swapped);
    op(called, returned, Input::Cas { expected, new }, output)
}

fn delete(called: u64, returned: u64, found: Option<bool>) -> Op {
    op(called, returned, Input::Delete, found.map(Output::Deleted))
}

fn good(history: &[Op]) {
    check_map(history, LIMIT).assert();
}

fn bad(history: &[Op]) {
    let verdict = check_map(history, LIMIT);
    assert!(
        matches!(&verdict, Verdict::Violation(why) if why.contains("key \"k\"")),
        "{verdict:?}"
    );
}

#[test]
fn sequential_histories() {
    good(&[]);
    good(&[get(0, 1, None), put(2, 3, 1), get(4, 5, Some(1))]);
    good(&[
        put(0, 1, 1),
        delete(2, 3, Some(true)),
        get(4, 5, None),
        delete(6, 7, Some(false)),
    ]);
    good(&[
        cas(0, 1, None, 1, Some(true)),
        cas(2, 3, None, 2, Some(false)),
        get(4, 5, Some(1)),
    ]);
}

#[test]
fn a_stale_read_is_a_violation() {
    bad(&[put(0, 1, 1), put(2, 3, 2), get(4, 5, Some(1))]);
    bad(&[put(0, 1, 1), get(2, 3, None)]);
}

#[test]
fn a_lost_write_is_a_violation() {
    bad(&[put(0, 1, 1), delete(2, 3, Some(false))]);
    bad(&[
        cas(0, 1, None, 1, Some(true)),
        cas(2, 3, None, 2, Some(true)),
    ]);
    bad(&[put(0, 1, 1), cas(2, 3, Some(1), 2, Some(false))]);
}

#[test]
fn a_value_from_nowhere_is_a_violation() {
    bad(&[get(0, 1, Some(9))]);
    bad(&[get(0, 1, Some(1)), put(2, 3, 1)]);
}

#[test]
fn overlapping_reads_may_see_either_but_not_go_back() {
    good(&[put(0, 9, 1), get(1, 2, None), get(3, 4, Some(1))]);
    bad(&[put(0, 9, 1), get(1, 2, Some(1)), get(3, 4, None)]);
    // Two writes overlap, two readers see them in opposite orders.
    bad(&[
        put(0, 10, 1),
        put(1, 11, 2),
        get(12, 13, Some(1)),
        get(14, 15, Some(2)),
        get(16, 17, Some(1)),
    ]);
}

#[test]
fn two_swaps_of_the_same_value_cannot_both_win() {
    bad(&[
        put(0, 1, 0),
        cas(2, 9, Some(0), 1, Some(true)),
        cas(3, 8, Some(0), 2, Some(true)),
    ]);
    good(&[
        put(0, 1, 0),
        cas(2, 9, Some(0), 1, Some(true)),
        cas(3, 8, Some(1), 2, Some(true)),
    ]);
}

#[test]
fn an_unknown_write_may_happen_late_or_never_but_not_early_and_not_twice() {
    good(&[put(0, UNKNOWN, 1), get(1, 2, None)]);
    good(&[put(0, UNKNOWN, 1), get(1, 2, None), get(3, 4, Some(1))]);
    bad(&[get(0, 1, Some(1)), put(2, UNKNOWN, 1)]);
    bad(&[
        put(0, UNKNOWN, 1),
        get(1, 2, Some(1)),
        put(3, 4, 2),
        get(5, 6, Some(1)),
    ]);
    bad(&[put(0, UNKNOWN, 1), get(1, 2, Some(1)), get(3, 4, None)]);
}

#[test]
fn an_unknown_swap_or_delete_explains_what_it_can() {
    good(&[
        put(0, 1, 1),
        cas(2, UNKNOWN, Some(1), 2, None),
        get(3, 4, Some(2)),
    ]);
    good(&[
        put(0, 1, 1),
        cas(2, UNKNOWN, Some(5), 2, None),
        get(3, 4, Some(1)),
    ]);
    bad(&[
        put(0, 1, 1),
        cas(2, UNKNOWN, Some(5), 2, None),
        get(3, 4, Some(2)),
    ]);
    good(&[put(0, 1, 1), delete(2, UNKNOWN, None), get(3, 4, None)]);
    // Only the unknown put, which nobody reads, explains why the swap failed.
    good(&[
        put(0, 1, 1),
        put(2, UNKNOWN, 7),
        cas(3, 4, Some(1), 2, Some(false)),
    ]);
}

#[test]
fn keys_are_judged_apart() {
    let mut other = put(2, 3, 2);
    other.input.key = "other";
    good(&[put(0, 1, 1), other, get(4, 5, Some(1))]);
}

#[test]
fn many_unknown_writes_do_not_explode() {
    let mut history: Vec<Op> = (0..200).map(|n| put(u64::from(n), UNKNOWN, n)).collect();
    history.extend((0..50).map(|n| {
        let at = 1000 + 2 * u64::from(n);
        get(at, at + 1, Some(n))
    }));
    good(&history);
    history.push(get(5000, 5001, Some(3)));
    bad(&history);
}

#[test]
fn time_is_limited() {
    let history: Vec<Op> = (0..64)
        .map(|n| put(u64::from(n), 1000, n))
        .chain([get(2000, 2001, Some(99))])
        .collect();
    assert_eq!(check_map(&history, Duration::ZERO), Verdict::Undecided);
}

/// A random execution that is linearizable because it was made so: each operation takes effect at a point
/// (in the order of the list) and its interval is stretched around that point.
fn executions() -> impl Strategy<Value = Vec<Op>> {
    let kind = prop_oneof![
        3 => (0_u32..4).prop_map(Input::Put),
        4 => Just(Input::Get),
        2 => (proptest::option::of(0_u32..4), 0_u32..4)
            .prop_map(|(expected, new)| Input::Cas { expected, new }),
        1 => Just(Input::Delete),
    ];
    let one = (
        kind,
        0_u64..60,
        0_u64..60,
        proptest::bool::weighted(0.1),
        any::<bool>(),
    );
    proptest::collection::vec(one, 1..40).prop_map(|ops| {
        let model = Register::new();
        let mut state = None;
        let mut history = Vec::new();
        for (place, (input, before, after, unknown, happened)) in ops.into_iter().enumerate() {
            let point = 100 + 20 * place as u64;
            let output = match &input {
                Input::Put(_) => Output::Done,
                Input::Get => Output::Value(state),
                Input::Cas { expected, .. } => Output::Swapped(*expected == state),
                Input::Delete => Output::Deleted(state.is_some()),
            };
            if !unknown || happened {
                state = model.step(&state, &input, Some(&output)).unwrap();
            }
            let returned = if unknown { UNKNOWN } else { point + after };
            history.push(op(
                point - before,
                returned,
                input,
                (!unknown).then_some(output),
            ));
        }
        history
    })
}

proptest! {
    #[test]
    fn linearizable_executions_are_accepted(history in executions()) {
        prop_assert_eq!(check_map(&history, LIMIT), Verdict::Linearizable);
    }

    #[test]
    fn a_read_of_a_value_never_written_is_rejected(
        history in executions(), which in any::<prop::sample::Index>(),
    ) {
        let mut history = history;
        let reads: Vec<_> = (0..history.len())
            .filter(|at| matches!(history[*at].output, Some(Output::Value(_))))
            .collect();
        prop_assume!(!reads.is_empty());
        history[reads[which.index(reads.len())]].output = Some(Output::Value(Some(77)));
        prop_assert!(matches!(check_map(&history, LIMIT), Verdict::Violation(_)));
    }

    /// Any mutation of an answer: the search agrees with trying every order.
    #[test]
    fn agrees_with_trying_every_order(
        history in executions(), which in any::<prop::sample::Index>(), value in proptest::option::of(0_u32..4),
    ) {
        let mut history: Vec<Op> = history.into_iter().take(7).collect();
        let at = which.index(history.len());
        if history[at].input.input == Input::Get && history[at].output.is_some() {
            history[at].output = Some(Output::Value(value));
        }
        let expected = every_order(&history, &mut vec![false; history.len()], None);
        let verdict = check_map(&history, LIMIT);
        prop_assert_eq!(verdict == Verdict::Linearizable, expected, "{:?}", verdict);
    }
}

/// The definition, without any cleverness: some order that respects real time explains every answer.
fn every_order(history: &[Op], done: &mut [bool], state: Option<u32>) -> bool {
    if history
        .iter()
        .zip(&*done)
        .all(|(op, done)| *done || op.output.is_none())
    {
        return true;
    }
    for at in 0..history.len() {
        let precedes_all = (0..history.len()).all(|other| {
            done[other] || other == at || history[other].returned >= history[at].called
        });
        if done[at] || !precedes_all {
            continue;
        }
        let op = &history[at];
        if let Some(next) = Register::new().step(&state, &op.input.input, op.output.as_ref()) {
            done[at] = true;
            if every_order(history, done, next) {
                return true;
            }
            done[at] = false;
        }
    }
    false
}
