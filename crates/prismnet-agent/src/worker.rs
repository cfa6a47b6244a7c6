//! One thread for each VPC, in its namespace: looks, plans, acts, and looks again.
//!
//! ```text
//!  wanted changed ─┐
//!  somebody changed the kernel ─┼─> look ─> plan ─> act ─> tell what came of it ─> wait
//!  30 s ─┘
//! ```
//!
//! One that hangs or fails holds up nobody else. It ends when nothing is wanted and nothing is there, or when its namespace was
//! replaced, so that another thread must go in; it takes nothing down when it is told to stop.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use prismnet_model::{FloatingOrphan, Orphan, PortId, PortState, VpcId};
use rand::Rng as _;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clash::{Clash, clashes, identities},
    desired::Wanted,
    dhcp::{self, Responders},
    kernel::{Error, Namespaces, Space, namespace::runtime},
    metadata,
    network::Actual,
    plan::{Step, lost_floating, orphans, plan},
    served::{Served, served},
    way_out::Told,
};

/// How long a pass may take before the thread is given up to wait and try again.
pub(crate) const PASS: Duration = Duration::from_secs(60);
/// What somebody changes in the kernel within this time is looked at once.
pub(crate) const QUIET: Duration = Duration::from_millis(20);
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The most rounds of looking and acting before it waits for another reason.
pub(crate) const ROUNDS: usize = 4;

/// What came of a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Ports here, as of their records' revisions.
    pub ports: BTreeMap<PortId, PortOutcome>,
    /// Ports that nobody knows.
    pub orphans: Vec<Orphan>,
    /// Those of them that a person wants to stay.
    pub adopted: Vec<Orphan>,
    /// What is not as it should be.
    pub problems: Vec<String>,
    /// Floating IPs that stand though the store says nothing of them.
    pub lost_floating: BTreeSet<Ipv4Addr>,
    /// The orders that were carried out, with everything else.
    pub orders: i64,
    /// Whether it was looked at, ever: if not, nothing is known of what is below.
    pub is_seen: bool,
    /// What comes to it from other hosts: the numbers of its tunnels.
    pub tunnels: BTreeSet<u32>,
    /// What goes from it to other hosts: their tunnel addresses.
    pub remotes: BTreeSet<Ipv4Addr>,
}

/// How a port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOutcome {
    /// Of the record that it is about.
    pub revision: i64,
    /// How it is.
    pub state: PortState,
    /// Why, if not active.
    pub reason: String,
    /// Whether its rules stand and it only waits for its device, which somebody else brings.
    pub waits: bool,
}

/// The host's own side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostOutcome {
    /// What is not as it should be.
    pub problems: Vec<String>,
    /// Floating IPs that are answered for though the store says nothing of them.
    pub floating_orphans: Vec<FloatingOrphan>,
    /// The orders that were carried out, with everything else.
    pub orders: i64,
}

/// What all workers tell, by VPC.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// The last of each.
    pub all: Mutex<BTreeMap<VpcId, Outcome>>,
    /// How the host's own side is.
    pub host: Mutex<HostOutcome>,
    /// What makes the host's own side be looked at.
    pub host_wake: Arc<Notify>,
    /// That one changed.
    pub changed: Notify,
    /// What makes a VPC's worker look.
    wakes: Mutex<BTreeMap<VpcId, Arc<Notify>>>,
}

impl Outcomes {
    /// Makes the VPC's worker look, if there is one.
    pub fn wake(&self, vpc: VpcId) {
        if let Some(wake) = self.wakes.lock().get(&vpc) {
            wake.notify_one();
        }
    }

    /// Makes those look who have found an address outside that nobody had said anything of, if somebody has now.
    pub fn wake_told(&self, told: &Told) {
        let is_told = |address: &Ipv4Addr| told.has(*address);
        for (vpc, outcome) in &*self.all.lock() {
            if outcome.lost_floating.iter().any(is_told) {
                self.wake(*vpc);
            }
        }
        let orphans = &self.host.lock().floating_orphans;
        if orphans.iter().any(|orphan| told.has(orphan.address)) {
            self.host_wake.notify_one();
        }
    }

    /// The tunnels that are there, the hosts that they lead to, and whether all VPCs here have been looked at.
    #[must_use]
    pub fn underlay(&self) -> (BTreeSet<u32>, BTreeSet<Ipv4Addr>, bool) {
        let all = self.all.lock();
        let tunnels = all.values().flat_map(|outcome| &outcome.tunnels).copied();
        let remotes = all.values().flat_map(|outcome| &outcome.remotes).copied();
        let (tunnels, remotes) = (tunnels.collect(), remotes.collect());
        let is_seen = |vpc| all.get(vpc).is_some_and(|outcome| outcome.is_seen);
        let is_all = self.wakes.lock().keys().all(is_seen);
        (tunnels, remotes, is_all)
    }

    /// Up to which revision all workers have carried out all orders. Some say so only at their next resync.
    #[must_use]
    pub fn orders(&self) -> i64 {
        let all = self.all.lock();
        let host = self.host.lock().orders;
        let of = |vpc| all.get(vpc).map_or(0, |outcome: &Outcome| outcome.orders);
        let vpcs = self.wakes.lock().keys().map(of).min();
        vpcs.map_or(host, |vpcs| vpcs.min(host))
    }

    /// Replaces what the host's own side is.
    pub fn put_host(&self, outcome: HostOutcome) {
        let mut host = self.host.lock();
        if *host != outcome {
            *host = outcome;
            self.changed.notify_one();
        }
    }

    /// A VPC's, as it was told last.
    #[must_use]
    pub fn of(&self, vpc: VpcId) -> Outcome {
        self.all.lock().get(&vpc).cloned().unwrap_or_default()
    }

    /// Replaces a VPC's; none if its worker ended.
    pub fn put(&self, vpc: VpcId, outcome: Option<Outcome>) {
        let mut all = self.all.lock();
        let before = match outcome {
            Some(ref outcome) => all.insert(vpc, outcome.clone()),
            None => {
                self.wakes.lock().remove(&vpc);
                all.remove(&vpc)
            }
        };
        if before != outcome {
            self.changed.notify_one();
        }
        let underlay =
            |outcome: Option<Outcome>| outcome.map(|outcome| (outcome.tunnels, outcome.remotes));
        if underlay(before) != underlay(outcome) {
            self.host_wake.notify_one();
        }
    }
}

/// What a worker is made with.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its VPC.
    pub vpc: VpcId,
    /// Where namespaces are.
    pub namespaces: Namespaces,
    /// What ports are told.
    pub dhcp: dhcp::Network,
    /// Who answers what ports ask of themselves.
    pub metadata: metadata::Source,
    /// After which time everything is looked at anyway.
    pub resync: Duration,
    /// Where it tells what came of it.
    pub outcomes: Arc<Outcomes>,
    /// Where it says that it ended.
    pub ended: mpsc::UnboundedSender<VpcId>,
    /// Told to stop.
    pub stop: CancellationToken,
}

/// Starts one.
///
/// # Errors
/// No thread.
pub fn start(
    order: Order,
    wanted: watch::Receiver<Arc<Wanted>>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let name = format!("vpc-{}", prismnet_model::device::short(order.vpc));
    let wake = Arc::new(Notify::new());
    let wakes = &order.outcomes.wakes;
    wakes.lock().insert(order.vpc, Arc::clone(&wake));
    std::thread::Builder::new().name(name).spawn(move || {
        let vpc = order.vpc;
        let ended = order.ended.clone();
        let worked = runtime().map(|runtime| runtime.block_on(work(order, wanted, wake)));
        if let Err(error) = worked {
            tracing::error!(%vpc, %error, "a worker ended");
        }
        // Nobody listens any more when the agent stops.
        let _ = ended.send(vpc);
    })
}

async fn work(order: Order, mut wanted: watch::Receiver<Arc<Wanted>>, wake: Arc<Notify>) {
    let mut responders = Responders::new(order.dhcp.clone());
    let mut listener = metadata::Listener::new(order.metadata.clone());
    let mut space: Option<Space> = None;
    let mut pause = FIRST_PAUSE;
    let mut resync = Instant::now() + order.resync;
    loop {
        if Instant::now() >= resync {
            // However often it was woken meanwhile.
            resync = Instant::now() + order.resync;
            if let Some(space) = &mut space {
                space.look_closely();
            }
        }
        let now = Arc::clone(&wanted.borrow_and_update());
        let pass = pass(
            &order,
            &mut space,
            &mut responders,
            &mut listener,
            &wake,
            &now,
        );
        let done = timeout(PASS, pass)
            .await
            .unwrap_or_else(|_| Err(Error::Late("a pass".to_owned())));
        let wait = match done {
            Ok(Pass::Over) => {
                order.outcomes.put(order.vpc, None);
                return;
            }
            Ok(Pass::Done) => {
                pause = FIRST_PAUSE;
                order.resync
            }
            Ok(Pass::Again) => {
                pause = (pause * 2).min(order.resync);
                pause.mul_f64(rand::rng().random_range(0.5..1.0))
            }
            // This thread may stand anywhere by now: only a new one knows where it is.
            Err(error) if space.is_none() || matches!(error, Error::Replaced) => {
                tracing::warn!(vpc = %order.vpc, %error, "going into the namespace anew");
                tokio::time::sleep(FIRST_PAUSE).await;
                return;
            }
            Err(error) => {
                tracing::warn!(vpc = %order.vpc, %error, "a pass failed; trying again");
                let outcome = failed(order.outcomes.of(order.vpc), &now, &error);
                order.outcomes.put(order.vpc, Some(outcome));
                pause = (pause * 2).min(order.resync);
                pause.mul_f64(rand::rng().random_range(0.5..1.0))
            }
        };
        tokio::select! {
            () = order.stop.cancelled() => return,
            changed = wanted.changed() => if changed.is_err() { return },
            () = wake.notified() => tokio::time::sleep(QUIET).await,
            () = tokio::time::sleep(wait) => {}
            () = tokio::time::sleep_until(resync) => {}
        }
    }
}

enum Pass {
    Done,
    /// Something could not be done.
    Again,
    /// Nothing is wanted and nothing is there.
    Over,
}

async fn pass(
    order: &Order,
    space: &mut Option<Space>,
    responders: &mut Responders,
    listener: &mut metadata::Listener,
    wake: &Arc<Notify>,
    wanted: &Wanted,
) -> Result<Pass, Error> {
    let space = match space {
        Some(space) => space,
        None => space.insert(Space::open(
            order.vpc,
            order.namespaces.clone(),
            Arc::clone(wake),
        )?),
    };
    let mut problems = Vec::new();
    let began = Instant::now();
    let mut actual = space.look(wanted).await?;
    let looked = began.elapsed();
    space.remove_left(&wanted.removed, &actual)?;
    for _ in 0..ROUNDS {
        let steps = plan(wanted, &actual);
        if steps.is_empty() {
            break;
        }
        problems = act(order.vpc, space, &steps).await;
        if steps.contains(&Step::RemoveNamespace) && problems.is_empty() {
            return Ok(Pass::Over);
        }
        actual = space.look(wanted).await?;
        if !problems.is_empty() {
            break;
        }
    }
    if !actual.exists && plan(wanted, &actual).is_empty() {
        return Ok(Pass::Over);
    }
    let Served { leases, ports } = served(wanted, &actual);
    let bridges = leases.iter().map(|lease| &*lease.bridge).collect();
    let bridges = space.bridges(&bridges).await?;
    if let Err(error) = responders.update(&bridges, &leases) {
        problems.push(error.to_string());
    }
    // Only in the VPC's own namespace.
    if actual.exists
        && let Err(error) = listener.update(ports.into_iter().collect()).await
    {
        problems.push(error.to_string());
    }
    let pass = if problems.is_empty() {
        Pass::Done
    } else {
        Pass::Again
    };
    let (looked, all) = (micros(looked), micros(began.elapsed()));
    tracing::debug!(vpc = %order.vpc, looked, all, "a pass, and its first look, in microseconds");
    let mut outcome = outcome(order.vpc, wanted, &actual, problems);
    let is_whole = matches!(pass, Pass::Done) && plan(wanted, &actual).is_empty();
    outcome.orders = if is_whole {
        wanted.orders.0
    } else {
        order.outcomes.of(order.vpc).orders
    };
    order.outcomes.put(order.vpc, Some(outcome));
    Ok(pass)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Does all that can be done: a step that fails keeps back only what needs it, and that fails by itself.
async fn act(vpc: VpcId, space: &mut Space, steps: &[Step]) -> Vec<String> {
    let mut problems = Vec::new();
    for step in steps {
        match space.act(step).await {
            Ok(()) => tracing::info!(%vpc, %step, "done"),
            Err(error) => {
                tracing::warn!(%vpc, %step, %error, "not done");
                problems.push(format!("{step}: {error}"));
                // Without its rules nothing is attached; without its namespace nothing is made.
                if matches!(step, Step::MakeNamespace | Step::Change(_) | Step::Set(..)) {
                    break;
                }
            }
        }
    }
    problems
}

fn outcome(vpc: VpcId, wanted: &Wanted, actual: &Actual, mut problems: Vec<String>) -> Outcome {
    problems.extend(actual.foreign.iter().map(|name| {
        format!("{name} in the namespace of {vpc} says it is something else: left alone")
    }));
    let is_whole = plan(wanted, actual).is_empty();
    let clashes = clashes(wanted, actual);
    problems.extend(clashes.iter().map(Clash::reason));
    let ports = wanted.ports.iter().map(|(id, port)| {
        let is_there =
            actual.network.plugs.get(&port.device) == wanted.network.plugs.get(&port.device);
        let clash = clashes.iter().find(|clash| clash.port == Some(*id));
        let problem = port.problem.clone().or(clash.map(Clash::reason));
        let (state, reason) = match problem {
            Some(problem) => (PortState::Error, problem),
            None if actual.foreign.contains(&port.device) => (
                PortState::Error,
                format!("{} is another's device", port.device),
            ),
            None if is_there && is_whole => (PortState::Active, String::new()),
            None if !actual.network.plugs.contains_key(&port.device) => (
                PortState::Building,
                format!("{} is not there yet", port.device),
            ),
            None => (
                PortState::Building,
                problems.first().cloned().unwrap_or_default(),
            ),
        };
        let is_missing = !actual.network.plugs.contains_key(&port.device);
        let outcome = PortOutcome {
            revision: port.revision,
            state,
            reason,
            waits: state == PortState::Building && is_missing && is_whole,
        };
        (*id, outcome)
    });
    let ports = ports.collect();
    let network = &actual.network;
    let (adopted, orphans) = orphans_of(vpc, wanted, actual)
        .into_iter()
        .partition(|orphan| wanted.adopted.contains(&orphan.port));
    Outcome {
        ports,
        orphans,
        adopted,
        problems,
        lost_floating: lost_floating(wanted, actual),
        is_seen: true,
        orders: 0,
        tunnels: network.tunnels.values().map(|tunnel| tunnel.vni).collect(),
        remotes: network.remotes.values().copied().collect(),
    }
}

/// Ports here that nobody knows.
#[must_use]
pub fn orphans_of(vpc: VpcId, wanted: &Wanted, actual: &Actual) -> Vec<Orphan> {
    let network = &actual.network;
    let found = orphans(wanted, actual).into_iter();
    let orphan = |(device, port): (String, PortId)| {
        let bridge = network.plugs[&device].seat.bridge.as_ref();
        let bridge = bridge.and_then(|bridge| network.bridges.get(bridge));
        let identity = identities(network, &device).into_iter().next();
        Orphan {
            vpc,
            port,
            subnet: bridge.and_then(|bridge| bridge.alias.parse().ok()),
            address: identity.map(|(_, address)| address),
            device,
        }
    };
    found.map(orphan).collect()
}

/// After a pass that saw nothing: what was found before is still found.
fn failed(before: Outcome, wanted: &Wanted, error: &Error) -> Outcome {
    let ports = wanted.ports.iter().map(|(id, port)| {
        let outcome = PortOutcome {
            revision: port.revision,
            state: PortState::Building,
            reason: error.to_string(),
            waits: false,
        };
        (*id, outcome)
    });
    Outcome {
        ports: ports.collect(),
        problems: vec![error.to_string()],
        ..before
    }
}
