//! Connecting what runs here with its port.

use std::{
    collections::BTreeSet,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use prismnet_model::{PortId, PortKind, PortState, VpcId, device};
use tokio::time::Instant;

use super::{
    deadline::until,
    known::{Known, Local, StoreState},
    plugged::{Far, Plug},
    refusal::Refusal,
};
use crate::{
    desired::{Lease, PortHere},
    kernel::{
        Error,
        far::{self, FarEnd, Place},
        namespace::runtime,
        tap::{self, Tap},
    },
    network::Ether,
};

/// What is to be plugged.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Of a pod: its namespace's path; else empty.
    pub namespace: String,
    /// Of a pod: what its end is called; empty: `eth0`.
    pub interface: String,
    /// Who asks; may be empty.
    pub holder: String,
}

/// What was plugged.
#[derive(Clone, Debug)]
pub struct Done {
    /// The port as it is to be.
    pub port: PortHere,
    /// The port's end, if it is a veth's.
    pub interface: String,
    /// Where that is.
    pub namespace: String,
}

const ETH0: &str = "eth0";

/// Makes the port's device, when the port is to be here and its rules stand.
///
/// # Errors
/// As in `host.proto`.
pub async fn plug(
    local: &Arc<Local>,
    port: PortId,
    asked: Asked,
    end: Instant,
) -> Result<Done, Refusal> {
    let (vpc, known) = here(local, port, end).await?;
    let is_pod = known.kind == PortKind::Pod;
    if !is_pod && !asked.namespace.is_empty() {
        let problem = format!(
            "{port} is of kind {}: only a pod's goes into a namespace",
            known.kind
        );
        return Err(Refusal::Unfit(problem));
    }
    match known.kind {
        PortKind::Guest => plug_guest(local, vpc, port, known, asked.holder, end).await,
        PortKind::Pod => plug_pod(local, vpc, port, known, asked, end).await,
        PortKind::Service => {
            until_attached(local, vpc, port, end).await?;
            Ok(Done {
                port: known,
                interface: ETH0.to_owned(),
                namespace: local
                    .namespaces
                    .path(&device::port_namespace(port))
                    .display()
                    .to_string(),
            })
        }
        PortKind::Vip => Err(Refusal::Unfit(format!(
            "{port} is a vip: nothing can be plugged"
        ))),
    }
}

/// Waits until the guest's device is attached.
///
/// # Errors
/// As in `host.proto`.
pub async fn started(local: &Arc<Local>, port: PortId, end: Instant) -> Result<(), Refusal> {
    let (vpc, known) = here(local, port, end).await?;
    if known.kind == PortKind::Guest {
        let opened = until(end, || async {
            let tap = find_tap(local, vpc, port).await?;
            let is_open = matches!(
                tap,
                Tap::Inside { opened: true } | Tap::Outside { opened: true }
            );
            Ok::<_, Refusal>(is_open.then_some(()))
        });
        if opened.await?.is_none() {
            let problem = format!("nobody has opened {}", known.device);
            return Err(Refusal::Unfit(problem));
        }
    }
    until_attached(local, vpc, port, end).await
}

/// Takes away what was plugged, unless another holder has done that.
///
/// # Errors
/// As in `host.proto`. What is not there is not missed.
pub async fn unplug(local: &Arc<Local>, port: PortId, holder: &str) -> Result<(), Refusal> {
    let known = local.now();
    let kept = local.plugged.get(port);
    let here = known.here.get(&port);
    if here.is_some_and(|(_, here)| here.kind == PortKind::Service) {
        let problem = format!("{port} is a service's: it is there as long as its record says so");
        return Err(Refusal::Unfit(problem));
    }
    if kept.as_ref().is_some_and(|plug| is_anothers(plug, holder)) {
        tracing::info!(%port, holder, "not unplugged: somebody else has plugged it since");
        return Ok(());
    }
    let changing = local.changing.lock().await;
    local.plugged.forget(port)?;
    let vpc = here.map(|(vpc, _)| *vpc).or(kept.map(|plug| plug.vpc));
    let taken = blocking({
        let local = Arc::clone(local);
        move || take_away(&local, vpc, port)
    });
    taken.await?;
    drop(changing);
    tracing::info!(%port, holder, "unplugged");
    Ok(())
}

/// What was found of a port that was plugged.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What is not as it was plugged, one sentence each.
    pub problems: Vec<String>,
    /// What the port is told.
    pub lease: Lease,
}

/// Whether everything is as it was plugged.
///
/// # Errors
/// As in `host.proto`.
pub async fn check(
    local: &Arc<Local>,
    port: PortId,
    asked: Asked,
    end: Instant,
) -> Result<Checked, Refusal> {
    let (vpc, known) = here(local, port, end).await?;
    let mut problems = Vec::new();
    match state(local, vpc, port) {
        Some((PortState::Active, _)) => {}
        Some((_, reason)) => problems.push(reason),
        None => problems.push(format!("nothing is known yet of {port}")),
    }
    let lease = known.lease.clone();
    if known.kind != PortKind::Pod {
        return Ok(Checked { problems, lease });
    }
    let interface = interface_of(&asked)?;
    let local = Arc::clone(local);
    let of_pod = blocking(move || {
        let place = Place::open(Path::new(&asked.namespace), &local.namespaces)?;
        if !far::leads_to(&local.namespaces, vpc, port, &place, &interface)? {
            return Ok(vec![format!(
                "{interface} does not lead to {}",
                known.device
            )]);
        }
        Ok::<_, Refusal>(far::differences(&place, &interface, &far_end(&known))?)
    });
    problems.extend(of_pod.await?);
    Ok(Checked { problems, lease })
}

/// From now on that socket answers the port's questions at the metadata address; none if nobody does.
///
/// # Errors
/// As in `host.proto`.
pub async fn register_metadata(
    local: &Local,
    port: PortId,
    socket: Option<PathBuf>,
    end: Instant,
) -> Result<(), Refusal> {
    let Some(socket) = socket else {
        return Ok(local.metadata.forget(&BTreeSet::from([port]))?);
    };
    if !socket.is_absolute() {
        return Err(Refusal::Invalid("socket: must be absolute".to_owned()));
    }
    // Whoever is to answer may be about to make it. What else is there never answers.
    let there = tokio::fs::metadata(&socket).await;
    if there.is_ok_and(|there| !there.file_type().is_socket()) {
        let problem = format!("socket: {} is no socket", socket.display());
        return Err(Refusal::Invalid(problem));
    }
    here(local, port, end).await?;
    Ok(local.metadata.put(port, socket)?)
}

/// How the port's far end is to be.
#[must_use]
pub fn far_end(port: &PortHere) -> FarEnd {
    FarEnd {
        mac: Ether(port.lease.mac.bytes()),
        address: (port.lease.address, port.lease.prefix_length),
        routes: port.lease.routes.clone(),
        mtu: port.lease.mtu,
    }
}

/// Runs what blocks, or enters namespaces, where it holds up nobody.
///
/// # Errors
/// What it answers with.
pub async fn blocking<T, E>(
    task: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Refusal>
where
    T: Send + 'static,
    E: Send + 'static,
    Refusal: From<E>,
{
    match tokio::task::spawn_blocking(task).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(Refusal::Machine(error.to_string())),
    }
}

/// Waits until the port is to be here.
async fn here(local: &Local, port: PortId, end: Instant) -> Result<(VpcId, PortHere), Refusal> {
    let mut follow = local.follow();
    loop {
        let known = Arc::clone(&follow.borrow_and_update());
        if let (StoreState::Heard, Some(found)) = (known.store, known.here.get(&port)) {
            return Ok(found.clone());
        }
        match tokio::time::timeout_at(end, follow.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(why_not_here(local, &known, port)),
        }
    }
}

fn why_not_here(local: &Local, known: &Known, port: PortId) -> Refusal {
    match known.store {
        StoreState::Unheard => {
            Refusal::Late("the store has not answered since the agent started".to_owned())
        }
        StoreState::Changed => Refusal::Unfit(
            "the store is not what it was: nothing is changed until `prismnet-agent accept-store`"
                .to_owned(),
        ),
        StoreState::Heard if known.away.contains(&port) => {
            Refusal::Unfit(format!("{port} is not to be on this host, {}", local.host))
        }
        StoreState::Heard => Refusal::Unknown(format!("there is no port {port}")),
    }
}

async fn plug_guest(
    local: &Arc<Local>,
    vpc: VpcId,
    port: PortId,
    known: PortHere,
    holder: String,
    end: Instant,
) -> Result<Done, Refusal> {
    let plug = Plug::new(port, vpc, holder, None);
    local.plugged.keep(plug.clone())?;
    until_ready(local, vpc, port, end).await?;
    let _changing = local.changing.lock().await;
    refuse_if_other(local, &plug)?;
    let tap = find_tap(local, vpc, port).await?;
    if tap == (Tap::Inside { opened: false }) {
        // Whoever had it open has closed it: where it is now nobody can open it.
        let (namespaces, device) = (local.namespaces.clone(), known.device.clone());
        blocking(move || far::remove(&namespaces, vpc, &device)).await?;
    }
    if matches!(tap, Tap::Missing | Tap::Inside { opened: false }) {
        tap::make(port, known.lease.mtu).await?;
        tracing::info!(%port, device = known.device, "a tap was made");
    }
    Ok(Done {
        port: known,
        interface: String::new(),
        namespace: String::new(),
    })
}

async fn plug_pod(
    local: &Arc<Local>,
    vpc: VpcId,
    port: PortId,
    known: PortHere,
    asked: Asked,
    end: Instant,
) -> Result<Done, Refusal> {
    let interface = interface_of(&asked)?;
    if asked.namespace.is_empty() {
        let problem = format!("{port} is a pod's: it needs a network namespace");
        return Err(Refusal::Invalid(problem));
    }
    let place = blocking({
        let (local, path) = (Arc::clone(local), asked.namespace.clone());
        move || Place::open(Path::new(&path), &local.namespaces)
    });
    let place = place.await?;
    let far = Far {
        namespace: place.path().to_owned(),
        inode: place.inode(),
        interface: interface.clone(),
    };
    refuse_if_held(local, port, &asked.holder, &far)?;
    let before = local.plugged.get(port);
    let plug = Plug::new(port, vpc, asked.holder, Some(far));
    local.plugged.keep(plug.clone())?;
    until_ready(local, vpc, port, end).await?;
    let changing = local.changing.lock().await;
    refuse_if_other(local, &plug)?;
    let made = blocking({
        let (local, interface, far) = (Arc::clone(local), interface.clone(), far_end(&known));
        move || far::put(&local.namespaces, vpc, port, &place, &interface, &far)
    });
    if let Err(error) = made.await {
        // What was not connected is not to be repaired later.
        match before {
            Some(before) => local.plugged.keep(before)?,
            None => local.plugged.forget(port)?,
        }
        return Err(error);
    }
    drop(changing);
    until_attached(local, vpc, port, end).await?;
    tracing::info!(%port, namespace = asked.namespace, interface, "plugged");
    Ok(Done {
        port: known,
        interface,
        namespace: asked.namespace,
    })
}

fn interface_of(asked: &Asked) -> Result<String, Refusal> {
    let interface = if asked.interface.is_empty() {
        ETH0
    } else {
        &asked.interface
    };
    if far::is_name(interface) {
        return Ok(interface.to_owned());
    }
    Err(Refusal::Invalid(format!(
        "{interface:?} is no name of a device"
    )))
}

/// A pod that runs is not cut because another one says that the port is its own.
fn refuse_if_held(local: &Local, port: PortId, holder: &str, wanted: &Far) -> Result<(), Refusal> {
    let Some(plug) = local.plugged.get(port) else {
        return Ok(());
    };
    let Some(far) = plug.far.as_ref().filter(|far| *far != wanted) else {
        return Ok(());
    };
    if plug.holder != holder && far.inode.is_at(&far.namespace) {
        let problem = format!(
            "{port} is plugged by {:?} as {} of {}: it has to be unplugged there first",
            plug.holder,
            far.interface,
            far.namespace.display()
        );
        return Err(Refusal::Unfit(problem));
    }
    Ok(())
}

/// While it waited somebody else may have come, or have taken it away.
fn refuse_if_other(local: &Local, plug: &Plug) -> Result<(), Refusal> {
    if local.plugged.get(plug.port).as_ref() == Some(plug) {
        return Ok(());
    }
    Err(Refusal::Unfit(format!(
        "{} was unplugged or plugged by somebody else meanwhile",
        plug.port
    )))
}

fn is_anothers(plug: &Plug, holder: &str) -> bool {
    !holder.is_empty() && !plug.holder.is_empty() && plug.holder != holder
}

fn state(local: &Local, vpc: VpcId, port: PortId) -> Option<(PortState, String)> {
    let all = local.outcomes.all.lock();
    let outcome = all.get(&vpc)?.ports.get(&port)?;
    Some((outcome.state, outcome.reason.clone()))
}

/// Whether the port's rules stand, so that a device may come.
fn is_ready(local: &Local, vpc: VpcId, port: PortId) -> Result<bool, Refusal> {
    let all = local.outcomes.all.lock();
    let outcome = all.get(&vpc).and_then(|outcome| outcome.ports.get(&port));
    match outcome.map(|outcome| (outcome.state, outcome)) {
        Some((PortState::Error, outcome)) => Err(Refusal::Unfit(outcome.reason.clone())),
        Some((PortState::Active, _)) => Ok(true),
        Some((PortState::Building, outcome)) => Ok(outcome.waits),
        None => Ok(false),
    }
}

async fn until_ready(local: &Local, vpc: VpcId, port: PortId, end: Instant) -> Result<(), Refusal> {
    let ready = until(end, || async {
        Ok::<_, Refusal>(is_ready(local, vpc, port)?.then_some(()))
    });
    match ready.await? {
        Some(()) => Ok(()),
        None => Err(late(local, vpc, port)),
    }
}

fn late(local: &Local, vpc: VpcId, port: PortId) -> Refusal {
    let reason = state(local, vpc, port).map(|(_, reason)| reason);
    let reason = reason.filter(|reason| !reason.is_empty());
    let reason = reason.unwrap_or_else(|| "its rules are not there yet".to_owned());
    Refusal::Late(format!("{port} is not connected in time: {reason}"))
}

/// Waits until the device is attached and the port is as its record says.
async fn until_attached(
    local: &Arc<Local>,
    vpc: VpcId,
    port: PortId,
    end: Instant,
) -> Result<(), Refusal> {
    let name = device_of(local, port);
    local.outcomes.wake(vpc);
    let attached = until(end, || async {
        let is_active = match state(local, vpc, port) {
            Some((PortState::Error, reason)) => return Err(Refusal::Unfit(reason)),
            Some((PortState::Active, _)) => true,
            _ => false,
        };
        if !is_active {
            return Ok(None);
        }
        // What is told may be from before.
        let (namespaces, name) = (local.namespaces.clone(), name.clone());
        let attached = blocking(move || far::is_attached(&namespaces, vpc, &name)).await?;
        Ok(attached.then_some(()))
    });
    match attached.await? {
        Some(()) => Ok(()),
        None => Err(late(local, vpc, port)),
    }
}

fn device_of(local: &Local, port: PortId) -> String {
    let known = local.now();
    let here = known.here.get(&port);
    here.map_or_else(|| device::veth(port), |(_, here)| here.device.clone())
}

async fn find_tap(local: &Arc<Local>, vpc: VpcId, port: PortId) -> Result<Tap, Refusal> {
    let local = Arc::clone(local);
    blocking(move || {
        runtime()?.block_on(tap::find(&local.namespaces, &device::namespace(vpc), port))
    })
    .await
}

/// The port's device, whichever it is, wherever it is.
pub(super) fn take_away(local: &Local, vpc: Option<VpcId>, port: PortId) -> Result<(), Error> {
    runtime()?.block_on(tap::remove(port))?;
    let vpcs = match vpc {
        Some(vpc) => vec![vpc],
        // Nobody knows it any more: it may be in any.
        None => vpcs_here(local)?,
    };
    for vpc in vpcs {
        far::remove(&local.namespaces, vpc, &device::veth(port))?;
        far::remove(&local.namespaces, vpc, &device::tap(port))?;
    }
    Ok(())
}

fn vpcs_here(local: &Local) -> Result<Vec<VpcId>, Error> {
    let names = local.namespaces.list()?;
    let ids = names
        .iter()
        .filter_map(|name| name.strip_prefix("photon-")?.parse().ok());
    Ok(ids.collect())
}
