//! A thread for the host's own side, of ways out and of tunnels: looks, plans, acts, and looks again, as those of the VPCs do.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc, time::Duration};

use prismnet_model::FloatingOrphan;
use rand::Rng as _;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
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
    worker::{FIRST_PAUSE, HostOutcome, Outcomes, PASS, QUIET, ROUNDS},
};

/// How often it is looked whether floating IPs are still answered for.
const PROXIES: Duration = Duration::from_secs(1);

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
    let wake = Arc::clone(&order.outcomes.host_wake);
    let mut space: Option<HostSpace> = None;
    let mut pause = FIRST_PAUSE;
    let mut down = BTreeSet::new();
    let mut resync = Instant::now() + order.resync;
    loop {
        if Instant::now() >= resync {
            // However often it was woken meanwhile.
            resync = Instant::now() + order.resync;
            if let Some(space) = &mut space {
                space.look_closely();
            }
        }
        let records = Arc::clone(&wanted.borrow_and_update());
        let now = with_underlay(&records, &order.outcomes);
        let pass = pass(&mut space, &wake, &now, &mut down);
        let done = timeout(PASS, pass)
            .await
            .unwrap_or_else(|_| Err(Error::Late("a pass".to_owned())));
        // Where no VPC has a way out, nobody's changes to the host are looked at.
        let (is_done, is_idle, proxies) = match done {
            Ok(came) => {
                let is_done = came.failed.is_empty();
                let before = order.outcomes.host.lock().orders;
                order.outcomes.put_host(HostOutcome {
                    problems: [came.problems, came.failed].concat(),
                    floating_orphans: came.floating_orphans,
                    orders: if is_done { now.orders.0 } else { before },
                });
                (is_done, is_done && came.is_idle, came.proxies)
            }
            Err(error) => {
                tracing::warn!(%error, "a pass over the ways out failed; trying again");
                let before = order.outcomes.host.lock().clone();
                order.outcomes.put_host(HostOutcome {
                    problems: vec![error.to_string()],
                    ..before
                });
                space = None;
                (false, false, BTreeSet::new())
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
            () = tokio::time::sleep_until(resync) => {}
            () = until_unanswered(space.as_ref(), &proxies) => {}
        }
    }
}

/// Until one of these addresses is answered for no longer.
async fn until_unanswered(space: Option<&HostSpace>, proxies: &BTreeSet<(Device, Ipv4Addr)>) {
    let Some(space) = space.filter(|_| !proxies.is_empty()) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(PROXIES).await;
        // What cannot be read is for the pass to tell.
        if !space.answers(proxies).await.unwrap_or_default() {
            return;
        }
    }
}

/// What the records want, with what the VPCs' workers have found: tunnels of ports that the store does not know are fed by
/// nobody else either.
fn with_underlay(records: &HostWanted, outcomes: &Outcomes) -> HostWanted {
    let (tunnels, led, is_led_known) = outcomes.underlay();
    let mut wanted = records.clone();
    wanted.tunnels.extend(tunnels);
    HostWanted {
        led,
        is_led_known,
        ..wanted
    }
}

/// What came of a pass.
struct Came {
    /// What cannot be, as things are.
    problems: Vec<String>,
    /// What was tried and refused.
    failed: Vec<String>,
    /// Floating IPs of which the store says nothing.
    floating_orphans: Vec<FloatingOrphan>,
    /// What is answered for.
    proxies: BTreeSet<(Device, Ipv4Addr)>,
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
        floating_orphans: floating_orphans(wanted, &actual),
        proxies: actual.network.proxies.clone(),
        is_idle: wanted.ways.is_empty() && wanted.tunnels.is_empty() && actual.has_nothing(),
    })
}

/// Floating IPs that are answered for though the store says nothing of them.
#[must_use]
pub fn floating_orphans(wanted: &HostWanted, actual: &HostActual) -> Vec<FloatingOrphan> {
    let kept = actual.kept(wanted).into_iter();
    kept.map(|(address, vpc)| FloatingOrphan { address, vpc })
        .collect()
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
