//! The agent's resident memory, without that of machines: before there is a VM, and with those that run.

use std::time::Duration;

use super::Options;
use super::api;
use super::cloud::{Cloud, Kind};
use crate::figures::{Figure, Goal, Line, Table};
use crate::memory::steady;
use crate::network::control::Control;

/// VMs made at the same time: emulated ones keep the machine busy for seconds each.
const TOGETHER: usize = 4;
const LOOK_EVERY: Duration = Duration::from_millis(50);
const MOST_BYTES: f64 = 60e6;

/// Measures it.
///
/// # Errors
/// What went wrong first.
pub(super) async fn run(options: &Options) -> anyhow::Result<Vec<Table>> {
    let cloud = Cloud::start(options, 0).await?;
    let before = steady(&cloud.agent).await?;
    let mut doors = Vec::new();
    for _ in 0..TOGETHER {
        doors.push(Control::connect(&cloud.service.rest).await?);
    }
    let wanted = cloud.wanted(Kind::Kernel);
    let mut left = options.running;
    while left > 0 {
        let now = left.min(TOGETHER);
        let from = cloud.from();
        let some = doors[..now].iter_mut();
        let boot = some.map(|door| api::boot(door, &wanted, from, LOOK_EVERY));
        futures::future::try_join_all(boot).await?;
        left -= now;
        println!(
            "memory: {} of {} VMs run",
            options.running - left,
            options.running
        );
    }
    let resident = steady(&cloud.agent).await?;
    println!(
        "memory: {before:.1} MiB, with {} VMs {resident:.1} MiB",
        options.running
    );
    Ok(vec![Table {
        part: "agent's memory, without its machines'",
        columns: &["resident MiB", "before the first VM", "at most MiB"],
        lines: vec![Line {
            what: format!(
                "{} VMs of {} MiB that run",
                options.running,
                Cloud::MEMORY_MIB
            ),
            goal: Some(Goal {
                text: "<= 60 MB, 57.2 MiB",
                is_reached: resident * f64::from(1 << 20) <= MOST_BYTES,
            }),
            figures: vec![
                Figure::One(resident),
                Figure::One(before),
                Figure::One(cloud.agent.peak_mib()?),
            ],
        }],
    }])
}
