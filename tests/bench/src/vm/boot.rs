//! One VM: from the request until it runs, and until it answers its first ping; beside the same by hand.

use std::time::Duration;

use super::Options;
use super::cloud::{Cloud, Kind};
use super::sides::{Pairs, Sides};
use crate::figures::{Figure, Goal, Line, Table, milliseconds};
use crate::network::probe::histogram;

/// How many times as long, and how many milliseconds longer, it may take.
const RATIO: f64 = 1.3;
const OVER_MS: f64 = 150.0;

/// Measures it.
///
/// # Errors
/// What went wrong first.
pub(super) async fn run(options: &Options) -> anyhow::Result<Vec<Table>> {
    let mut cloud = Cloud::start(options, 1).await?;
    cloud.upload().await?;
    let mut lines = Vec::new();
    for kind in Kind::ALL {
        let mut sides = Sides::set_up(&cloud, kind, 1).await?;
        let rounds = sides.rounds(options.rounds).await?;
        let what = format!("{} ({})", kind.title(), sides.hypervisor);
        lines.push(line(format!("{what}: Running"), &rounds.running())?);
        if let Some(answered) = rounds.answered() {
            lines.push(line(format!("{what}: first answered ping"), &answered)?);
        }
    }
    Ok(vec![Table {
        part: "one VM, from the request",
        columns: &[
            "API p50 ms",
            "API p99 ms",
            "by hand p50 ms",
            "by hand p99 ms",
            "API / by hand",
            "API over it ms",
        ],
        lines,
    }])
}

fn line(what: String, pairs: &Pairs) -> anyhow::Result<Line> {
    let histogram =
        |side: &[f64]| histogram(side.iter().map(|ms| Duration::from_secs_f64(ms / 1e3)));
    let (api, hand) = (histogram(&pairs.api_ms)?, histogram(&pairs.hand_ms)?);
    let (ratio, over_ms) = (pairs.ratio(), pairs.over_ms());
    let middle = ratio.middle().zip(over_ms.middle());
    Ok(Line {
        what,
        goal: middle.map(|(ratio, over_ms)| Goal {
            text: "<= 1.3 and <= 150 ms over it",
            is_reached: ratio <= RATIO && over_ms <= OVER_MS,
        }),
        figures: vec![
            Figure::One(milliseconds(&api, 0.5)),
            Figure::One(milliseconds(&api, 0.99)),
            Figure::One(milliseconds(&hand, 0.5)),
            Figure::One(milliseconds(&hand, 0.99)),
            ratio,
            over_ms,
        ],
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn both_goals_have_to_be_reached() {
        let reached = |api_ms: f64, hand_ms: f64| {
            let pairs = Pairs {
                api_ms: vec![api_ms],
                hand_ms: vec![hand_ms],
            };
            line(String::new(), &pairs)
                .unwrap()
                .goal
                .unwrap()
                .is_reached
        };
        assert!(reached(130.0, 100.0));
        assert!(!reached(140.0, 100.0), "1.4 times");
        assert!(!reached(1160.0, 1000.0), "160 ms");
        assert!(reached(1140.0, 1000.0));
    }
}
