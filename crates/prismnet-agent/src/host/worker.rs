//! A thread for the host's own side of the ways out: looks, plans, acts, and looks again, as those of the VPCs do.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rand::Rng as _;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    network::{HostActual, HostNetwork, HostWanted},
    plan::{HostStep, plan},
    target::target,
};
use crate::{
    kernel::{Error, HostSpace, namespace::runtime},
    network::Device,
    worker::{FIRST_PAUSE, Outcomes, PASS, QUIET, ROUNDS},
};

/// What it is made with.
#[derive(Clone, Debug)]
pub struct HostOrder {
    /// After which time everything is looked at anyway.
    pub resync: Duration,
    /// Where it tells what is not as it should be.
    pub outcomes: Arc<Outcomes>,
    /// Told to stop.
    pub stop: CancellationToken,
}

/// Starts it, in the namespace of the calling thread. It takes nothing down when it is told to stop.
///
/// # Errors
/// No thread.
pub fn start(
    order: HostOrder,
    wanted: watch::Receiver<Arc<HostWanted>>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name("ways-out".to_owned())
        .spawn(move || {
            let worked = runtime().map(|runtime| runtime.block_on(work(order, wanted)));
            if let Err(error) = worked {
                tracing::error!(%error, "the ways out are looked after no longer");
            }
        })
}

async fn work(order: HostOrder, mut wanted: watch::Receiver<Arc<HostWanted>>) {
    let wake = Arc::new(Notify::new());
    let mut space = None;
    let mut pause = FIRST_PAUSE;
    let mut down = BTreeSet::new();
    loop {
        let now = Arc::clone(&wanted.borrow_and_update());
        let pass = pass(&mut space, &wake, &now, &mut down);
        let done = timeout(PASS, pass)
            .await
            .unwrap_or_else(|_| Err(Error::Late("a pass".to_owned())));
        // Where no VPC has a way out, nobody's changes to the host are looked at.
        let (is_done, is_idle) = match done {
            Ok(came) => {
                let is_done = came.failed.is_empty();
                order
                    .outcomes
                    .put_host([came.problems, came.failed].concat());
                (is_done, is_done && came.is_idle)
            }
            Err(error) => {
                tracing::warn!(%error, "a pass over the ways out failed; trying again");
                order.outcomes.put_host(vec![error.to_string()]);
                space = None;
                (false, false)
            }
        };
        let wait = if is_done {
            pause = FIRST_PAUSE;
            order.resync
        } else {
            pause = (pause * 2).min(order.resync);
            pause.mul_f64(rand::rng().random_range(0.5..1.0))
        };
        tokio::select! {
            () = order.stop.cancelled() => return,
            changed = wanted.changed() => if changed.is_err() { return },
            () = wake.notified(), if !is_idle => tokio::time::sleep(QUIET).await,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What came of a pass.
struct Came {
    /// What cannot be, as things are.
    problems: Vec<String>,
    /// What was tried and refused.
    failed: Vec<String>,
    /// Whether nothing is wanted and nothing is there.
    is_idle: bool,
}

async fn pass(
    space: &mut Option<HostSpace>,
    wake: &Arc<Notify>,
    wanted: &HostWanted,
    down: &mut BTreeSet<Device>,
) -> Result<Came, Error> {
    let space = match space {
        Some(space) => space,
        None => space.insert(HostSpace::open(Some(wake))?),
    };
    let mut failed = Vec::new();
    let mut actual = space.look(wanted).await?;
    for _ in 0..ROUNDS {
        let (target, _) = target(wanted, &actual);
        let steps = plan(wanted, &target, &actual);
        if steps.is_empty() {
            break;
        }
        failed = act(space, &steps).await;
        actual = space.look(wanted).await?;
        if !failed.is_empty() {
            break;
        }
    }
    let (target, problems) = target(wanted, &actual);
    for step in risen(&target, &actual, down) {
        failed.extend(act(space, &[step]).await);
    }
    let foreign = actual.foreign.iter();
    let foreign = foreign.map(|name| format!("{name} says it is something else: left alone"));
    Ok(Came {
        problems: problems.into_iter().chain(foreign).collect(),
        failed,
        is_idle: wanted.ways.is_empty() && actual.has_nothing(),
    })
}

/// Does all that can be done: a step that fails keeps back only what needs it, and that fails by itself.
async fn act(space: &mut HostSpace, steps: &[HostStep]) -> Vec<String> {
    let mut failed = Vec::new();
    for step in steps {
        match space.act(step).await {
            Ok(()) => tracing::info!(%step, "done"),
            Err(error) => {
                tracing::warn!(%step, %error, "not done");
                failed.push(format!("{step}: {error}"));
                // Without its rules no way out comes up.
                if matches!(step, HostStep::Change(_)) {
                    break;
                }
            }
        }
    }
    failed
}

/// Uplinks that were down when it looked last have lost what their neighbours knew of them.
fn risen(target: &HostNetwork, actual: &HostActual, down: &mut BTreeSet<Device>) -> Vec<HostStep> {
    let is_up = |device: &Device| {
        let device = actual.devices.get(device);
        device.is_some_and(|device| device.up && device.carrier)
    };
    let again = target
        .proxies
        .iter()
        .filter(|(uplink, _)| down.contains(uplink) && is_up(uplink));
    let again = again.map(|(uplink, address)| HostStep::Announce(uplink.clone(), *address));
    let again = again.collect();
    let uplinks = target.proxies.iter().map(|(uplink, _)| uplink);
    *down = uplinks.filter(|uplink| !is_up(uplink)).cloned().collect();
    again
}
