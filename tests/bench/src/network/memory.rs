//! The agent's resident memory, by the ports it knows: some on its host, with everything they need there, the others on another
//! host.

use std::time::Duration;

use serde_json::json;

use super::Options;
use super::control::Control;
use super::lab::Lab;
use crate::figures::{Figure, Goal, Line, Table};
use crate::memory::steady;

const PROJECT: &str = "memory";
const SETTING_UP: Duration = Duration::from_secs(600);

/// Measures it.
///
/// # Errors
/// What went wrong first.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Table> {
    let mut lines = Vec::new();
    for &here in &options.here {
        lines.push(measure(options, here).await?);
    }
    Ok(Table {
        part: "agent's memory",
        columns: &["resident MiB", "at most MiB", "CPU s so far"],
        lines,
    })
}

async fn measure(options: &Options, here: usize) -> anyhow::Result<Line> {
    let elsewhere = options.known - here;
    let lab = Lab::start(options.programs(), 2, 0).await?;
    let mut control = Control::connect(&lab.network.rest).await?;
    let subnet = control.subnet(PROJECT).await?;
    let [this, other] = [&lab.hosts[0], &lab.hosts[1]];
    // Guests without a tap: known everywhere, and nothing to be made there.
    let body = json!({"subnet_id": subnet, "kind": "guest", "host_id": other.name});
    control.ports(&body, elsewhere, SETTING_UP).await?;
    let body = json!({"subnet_id": subnet, "kind": "service", "host_id": this.name});
    control.ports(&body, here, SETTING_UP).await?;
    control
        .active(&subnet, &this.name, here, SETTING_UP)
        .await?;
    let resident = steady(&this.agent).await?;
    println!("memory: {here} here, {elsewhere} elsewhere: {resident:.1} MiB");
    Ok(Line {
        what: format!("{here} ports on the host, {elsewhere} elsewhere"),
        goal: Some(Goal {
            text: "<= 40 MB, 38.1 MiB",
            is_reached: resident * f64::from(1 << 20) <= 40e6,
        }),
        figures: vec![
            Figure::One(resident),
            Figure::One(this.agent.peak_mib()?),
            Figure::One(this.agent.cpu_s()?),
        ],
    })
}
