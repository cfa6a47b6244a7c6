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
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use prismnet_model::{Orphan, PortId, PortState, VpcId};
use rand::Rng as _;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    desired::{Lease, Wanted},
    dhcp::{self, Responders},
    kernel::{Error, Namespaces, Space, namespace::runtime},
    metadata,
    network::Actual,
    plan::{Step, orphans, plan},
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

/// What all workers tell, by VPC.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// The last of each.
    pub all: Mutex<BTreeMap<VpcId, Outcome>>,
    /// What is not as it should be with the host's own side of the ways out.
    pub host: Mutex<Vec<String>>,
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

    /// Replaces the host's problems.
    pub fn put_host(&self, problems: Vec<String>) {
        let mut host = self.host.lock();
        if *host != problems {
            *host = problems;
            self.changed.notify_one();
        }
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
    std::thread::Builder::new().name(name).spawn(move || {
        let vpc = order.vpc;
        let ended = order.ended.clone();
        let worked = runtime().map(|runtime| runtime.block_on(work(order, wanted)));
        if let Err(error) = worked {
            tracing::error!(%vpc, %error, "a worker ended");
        }
        // Nobody listens any more when the agent stops.
        let _ = ended.send(vpc);
    })
}

async fn work(order: Order, mut wanted: watch::Receiver<Arc<Wanted>>) {
    let wake = Arc::new(Notify::new());
    let wakes = &order.outcomes.wakes;
    wakes.lock().insert(order.vpc, Arc::clone(&wake));
    let mut responders = Responders::new(order.dhcp.clone());
    let mut listener = metadata::Listener::new(order.metadata.clone());
    let mut space = None;
    let mut pause = FIRST_PAUSE;
    loop {
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
                order.outcomes.put(order.vpc, Some(failed(&now, &error)));
                pause = (pause * 2).min(order.resync);
                pause.mul_f64(rand::rng().random_range(0.5..1.0))
            }
        };
        tokio::select! {
            () = order.stop.cancelled() => return,
            changed = wanted.changed() => if changed.is_err() { return },
            () = wake.notified() => tokio::time::sleep(QUIET).await,
            () = tokio::time::sleep(wait) => {
                if let Some(space) = &mut space {
                    space.look_closely();
                }
            }
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
    let mut actual = space.look(wanted).await?;
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
    let bridges = space.bridges(wanted).await?;
    let leases: Vec<Lease> = wanted
        .ports
        .values()
        .map(|port| port.lease.clone())
        .collect();
    if let Err(error) = responders.update(&bridges, &leases) {
        problems.push(error.to_string());
    }
    // Only in the VPC's own namespace.
    if actual.exists {
        let ports = wanted.ports.iter();
        let ports = ports.map(|(id, port)| (port.lease.address, *id));
        if let Err(error) = listener.update(ports.collect()).await {
            problems.push(error.to_string());
        }
    }
    let pass = if problems.is_empty() {
        Pass::Done
    } else {
        Pass::Again
    };
    order.outcomes.put(
        order.vpc,
        Some(outcome(order.vpc, wanted, &actual, problems)),
    );
    Ok(pass)
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
    let missing: BTreeSet<String> = plan(wanted, actual).iter().map(Step::to_string).collect();
    let ports = wanted.ports.iter().map(|(id, port)| {
        let is_there =
            actual.network.plugs.get(&port.device) == wanted.network.plugs.get(&port.device);
        let (state, reason) = match &port.problem {
            Some(problem) => (PortState::Error, problem.clone()),
            None if actual.foreign.contains(&port.device) => (
                PortState::Error,
                format!("{} is another's device", port.device),
            ),
            None if is_there && missing.is_empty() => (PortState::Active, String::new()),
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
            waits: state == PortState::Building && is_missing && missing.is_empty(),
        };
        (*id, outcome)
    });
    let ports = ports.collect();
    let (adopted, orphans) = orphans_of(vpc, wanted, actual)
        .into_iter()
        .partition(|orphan| wanted.adopted.contains(&orphan.port));
    Outcome {
        ports,
        orphans,
        adopted,
        problems,
    }
}

/// Ports here that nobody knows.
#[must_use]
pub fn orphans_of(vpc: VpcId, wanted: &Wanted, actual: &Actual) -> Vec<Orphan> {
    let found = orphans(wanted, actual).into_iter();
    found
        .map(|(device, port)| Orphan { vpc, port, device })
        .collect()
}

/// After a pass that saw nothing.
fn failed(wanted: &Wanted, error: &Error) -> Outcome {
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
        orphans: Vec::new(),
        adopted: Vec::new(),
        problems: vec![error.to_string()],
    }
}
