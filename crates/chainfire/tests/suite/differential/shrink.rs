//! From a sequence that differs to a short one that still does: delta debugging by leaving out ever smaller pieces
//! (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002, without complements).

use std::time::Duration;

use tokio::time::Instant;

use super::compare::{Tally, difference};
use super::op::Op;
use super::server::Server;
use super::session;

/// Shrinking must not turn a failure into a timeout.
const DEADLINE: Duration = Duration::from_secs(45);

/// Runs a sequence on both servers; the first difference that is not allowed, if any.
///
/// # Errors
/// When a server cannot be used any more.
pub(crate) async fn differs(
    oracle: &Server,
    ours: &Server,
    ops: &[Op],
    tally: &mut Tally,
) -> anyhow::Result<Option<String>> {
    let (theirs, mine) = tokio::join!(session::run(oracle, ops), session::run(ours, ops));
    Ok(match (theirs, mine) {
        (Ok(theirs), Ok(mine)) => difference(ops, &theirs, &mine, tally),
        // An oracle that cannot be run says nothing about us.
        (Err(error), _) => return Err(error),
        (Ok(_), Err(error)) => Some(format!("ours broke off: {error:#}")),
    })
}

/// The shortest sequence found in time that still differs.
///
/// # Errors
/// When the oracle cannot be used any more.
pub(crate) async fn shrink(oracle: &Server, ours: &Server, ops: &[Op]) -> anyhow::Result<Vec<Op>> {
    let until = Instant::now() + DEADLINE;
    let mut shortest = ops.to_vec();
    let mut piece = shortest.len().div_ceil(2);
    loop {
        let mut from = 0;
        let before = shortest.len();
        while from < shortest.len() {
            if Instant::now() >= until {
                return Ok(shortest);
            }
            let mut shorter = shortest.clone();
            shorter.drain(from..(from + piece).min(shorter.len()));
            if differs(oracle, ours, &shorter, &mut Tally::new())
                .await?
                .is_some()
            {
                shortest = shorter;
            } else {
                from += piece;
            }
        }
        match piece {
            // Once nothing can be left out any more.
            1 if shortest.len() == before => return Ok(shortest),
            1 => {}
            _ => piece = piece.div_ceil(2),
        }
    }
}
