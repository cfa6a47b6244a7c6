//! Several VMs at once: from the first request until all run, and until all answer; beside a loop that makes one after the other.

use super::Options;
use super::cloud::{Cloud, Kind};
use super::sides::{Pairs, Sides};
use crate::figures::{Figure, Goal, Line, Table};

const RATIO: f64 = 1.3;

/// Measures it.
///
/// # Errors
/// What went wrong first.
pub(super) async fn run(options: &Options) -> anyhow::Result<Vec<Table>> {
    let cloud = Cloud::start(options, options.vms).await?;
    let mut sides = Sides::set_up(&cloud, Kind::Kernel, options.vms).await?;
    let rounds = sides.rounds(options.many_rounds).await?;
    let what = format!("{} VMs ({})", options.vms, sides.hypervisor);
    let mut lines = vec![line(format!("{what}: all Running"), &rounds.running())];
    let answered = rounds.answered();
    lines.extend(answered.map(|pairs| line(format!("{what}: all have answered a ping"), &pairs)));
    Ok(vec![Table {
        part: "VMs at once, from the first request",
        columns: &["API s", "by hand s", "API / by hand"],
        lines,
    }])
}

fn line(what: String, pairs: &Pairs) -> Line {
    let seconds = |side: &[f64]| Figure::of(side.iter().map(|ms| ms / 1e3));
    let ratio = pairs.ratio();
    Line {
        what,
        goal: ratio.middle().map(|ratio| Goal {
            text: "<= 1.3",
            is_reached: ratio <= RATIO,
        }),
        figures: vec![seconds(&pairs.api_ms), seconds(&pairs.hand_ms), ratio],
    }
}
