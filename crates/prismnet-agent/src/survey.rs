//! What is wanted, what is there, and the difference: `status` and `--dry-run`. Changes nothing.

use std::{collections::BTreeSet, fmt, sync::Arc};

use anyhow::Context as _;
use photon_agent::{Memory, connection::connect};
use prismnet_model::{ExternalNetworkId, FloatingOrphan, Orphan, PortId, VpcId, device};
use serde::Serialize;
use tokio::sync::Notify;

use crate::{
    clash::{Clash, clashes},
    config::Config,
    desired::{Wanted, desired},
    feed::Follower,
    host::{
        self,
        network::{Float, HostActual, HostWanted},
        plan::HostStep,
        target::target,
        worker::floating_orphans,
    },
    kernel::{
        HostSpace, Namespaces, Space,
        namespace::{on_thread, runtime},
    },
    local::verdicts::Verdicts,
    network::Network,
    plan::{Step, plan},
    run::{give, here, vpcs_here},
    transfer::Transfers,
    way_out::{self, Told},
    worker::orphans_of,
};

/// The host as it is found.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// The host's name.
    pub host: String,
    /// How groups are enforced.
    pub mode: String,
    /// How the store differs from the one that was seen before; then nothing would be changed.
    pub store_changed: Option<String>,
    /// Records that cannot be read.
    pub unreadable: Vec<String>,
    /// The host's own side of ways out.
    pub ways_out: WaysSurvey,
    /// VPCs that have something here, or should.
    pub vpcs: Vec<VpcSurvey>,
}

/// The host's own side of ways out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WaysSurvey {
    /// VPCs with a way out.
    pub ways: Vec<WaySurvey>,
    /// Floating IPs of ports here.
    pub floating: Vec<FloatingSurvey>,
    /// Floating IPs that are answered for here though the store says nothing of them.
    pub orphans: Vec<FloatingOrphan>,
    /// What is in the way.
    pub problems: Vec<String>,
    /// What would be done.
    pub steps: Vec<String>,
}

/// A way out.
#[derive(Clone, Debug, Serialize)]
pub struct WaySurvey {
    /// Whose.
    pub vpc: VpcId,
    /// The host's side.
    pub device: String,
    /// Its address.
    pub address: std::net::Ipv4Addr,
    /// Whether it is there and up.
    pub up: bool,
}

/// A floating IP.
#[derive(Clone, Debug, Serialize)]
pub struct FloatingSurvey {
    /// Its address.
    pub address: std::net::Ipv4Addr,
    /// Its external network.
    pub network: ExternalNetworkId,
    /// The interface that it is answered on; none if it is not.
    pub answered_on: Option<String>,
    /// Why nobody hears an answer though the host would give it.
    pub problem: Option<String>,
}

/// A VPC on this host.
#[derive(Clone, Debug, Serialize)]
pub struct VpcSurvey {
    /// Which.
    pub vpc: VpcId,
    /// Its namespace.
    pub namespace: String,
    /// Whether that is there.
    pub exists: bool,
    /// Its ports here.
    pub ports: Vec<PortSurvey>,
    /// Ports that nobody knows.
    pub orphans: Vec<Orphan>,
    /// Those of them that a person wants to stay.
    pub adopted: Vec<Orphan>,
    /// Devices that say they are something else.
    pub foreign: BTreeSet<String>,
    /// What would be done.
    pub steps: Vec<String>,
}

/// A port of this host.
#[derive(Clone, Debug, Serialize)]
pub struct PortSurvey {
    /// Which.
    pub port: PortId,
    /// Its device.
    pub device: String,
    /// Its address.
    pub address: std::net::Ipv4Addr,
    /// Whether the device is there and attached as it should be.
    pub attached: bool,
    /// Why it cannot be, if it cannot.
    pub problem: Option<String>,
}

/// Looks.
///
/// # Errors
/// A store that does not answer, no right to look.
pub async fn survey(config: &Config) -> anyhow::Result<Survey> {
    let memory = Memory::new(&config.state_directory);
    let store = connect(&config.store, &memory).await?;
    let config = config.clone();
    let here = tokio::task::spawn_blocking({
        let config = config.clone();
        move || here(&config)
    });
    let here = here.await??;
    let mut survey = Survey {
        host: here.host.to_string(),
        mode: here.mode.to_string(),
        store_changed: store.change().map(|change| change.to_string()),
        unreadable: Vec::new(),
        ways_out: WaysSurvey::default(),
        vpcs: Vec::new(),
    };
    if survey.store_changed.is_some() {
        return Ok(survey);
    }
    let mut follower = Follower::new(store);
    let limit = std::time::Duration::from_millis(config.store.request_timeout_ms * 2);
    let known = tokio::time::timeout(limit, follower.next()).await;
    known.context("the store does not answer")??;
    survey.unreadable = follower.unreadable.into_keys().collect();
    let namespaces = Namespaces::new(&config.namespace_directory);
    let records = &follower.records;
    let transfers = give(&Transfers::default(), &way_out::wanted(records, &here))?;
    let told = Told::of(records, &BTreeSet::new());
    let mut ways = host::desired::desired(records, &here, &transfers, &config.egress.deny, &told);
    let mut all = desired(records, &here, &transfers, &told);
    let vpcs = vpcs_here(&namespaces)?;
    Verdicts::read(&config.state_directory)?.apply(&mut all);
    all.retain(|vpc, wanted| !wanted.ports.is_empty() || vpcs.contains(vpc));
    for vpc in vpcs {
        all.entry(vpc).or_default();
    }
    let vpcs = tokio::task::spawn_blocking(move || {
        let each = all
            .into_iter()
            .map(|(vpc, wanted)| look(&namespaces, vpc, &wanted));
        each.collect::<anyhow::Result<Vec<_>>>()
    });
    for (vpc, network) in vpcs.await?? {
        let tunnels = network.tunnels.values();
        ways.tunnels.extend(tunnels.map(|tunnel| tunnel.vni));
        ways.led.extend(network.remotes.values());
        survey.vpcs.push(vpc);
    }
    ways.is_led_known = true;
    survey.ways_out = tokio::task::spawn_blocking(move || look_out(&ways)).await??;
    Ok(survey)
}

fn look(
    namespaces: &Namespaces,
    vpc: VpcId,
    wanted: &Wanted,
) -> anyhow::Result<(VpcSurvey, Network)> {
    let actual = on_thread(|| {
        runtime()?.block_on(async {
            let mut space = Space::open(vpc, namespaces.clone(), Arc::new(Notify::new()))?;
            space.look(wanted).await
        })
    })?;
    let clashes = clashes(wanted, &actual);
    let problem = |port: PortId| {
        let of_port = clashes.iter().find(|clash| clash.port == Some(port));
        of_port.map(Clash::reason)
    };
    let ports = wanted.ports.iter().map(|(id, port)| PortSurvey {
        port: *id,
        problem: port.problem.clone().or_else(|| problem(*id)),
        device: port.device.clone(),
        address: port.lease.address,
        attached: actual.network.plugs.get(&port.device) == wanted.network.plugs.get(&port.device),
    });
    let (adopted, orphans) = orphans_of(vpc, wanted, &actual)
        .into_iter()
        .partition(|orphan| wanted.adopted.contains(&orphan.port));
    let survey = VpcSurvey {
        vpc,
        namespace: device::namespace(vpc),
        exists: actual.exists,
        ports: ports.collect(),
        orphans,
        adopted,
        foreign: actual.foreign.clone(),
        steps: plan(wanted, &actual).iter().map(Step::to_string).collect(),
    };
    Ok((survey, actual.network))
}

fn look_out(wanted: &HostWanted) -> anyhow::Result<WaysSurvey> {
    let actual =
        on_thread(|| runtime()?.block_on(async { HostSpace::open(None)?.look(wanted).await }))?;
    let (target, problems) = target(wanted, &actual);
    let ways = wanted.ways.iter().map(|(device, way)| WaySurvey {
        vpc: way.vpc,
        device: device.clone(),
        address: way.transfer.host(),
        up: actual.network.ways.get(device) == target.ways.get(device)
            && actual.owners.get(device) == Some(&way.vpc),
    });
    let answered = |address| {
        let mut proxies = actual.network.proxies.iter();
        proxies
            .find(|(_, one)| *one == address)
            .map(|(device, _)| device.clone())
    };
    let floating = wanted
        .floating
        .iter()
        .map(|(address, float)| FloatingSurvey {
            address: *address,
            network: float.network,
            answered_on: answered(*address),
            problem: unheard(float, wanted, &actual),
        });
    let foreign = actual.foreign.iter();
    let foreign = foreign.map(|name| format!("{name} is not ours"));
    Ok(WaysSurvey {
        ways: ways.collect(),
        floating: floating.collect(),
        orphans: floating_orphans(wanted, &actual),
        problems: problems.into_iter().chain(foreign).collect(),
        steps: host::plan::plan(wanted, &target, &actual)
            .iter()
            .map(HostStep::to_string)
            .collect(),
    })
}

/// Why what is sent to a floating IP is not answered though all is as it should be.
fn unheard(float: &Float, wanted: &HostWanted, actual: &HostActual) -> Option<String> {
    if float.is_led_elsewhere {
        let vpc = wanted.ways.get(&float.way)?.vpc;
        return Some(format!("{vpc} has a default route of its own"));
    }
    let uplink = wanted.networks.get(&float.network)?.uplink.as_str();
    match actual.devices.get(uplink) {
        Some(device) if !(device.up && device.carrier) => Some(format!("{uplink} is down")),
        _ => None,
    }
}

impl fmt::Display for WaysSurvey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for way in &self.ways {
            let state = if way.up { "up" } else { "not up" };
            writeln!(
                f,
                "way out of {} {} {} {state}",
                way.vpc, way.address, way.device
            )?;
        }
        for floating in &self.floating {
            let (address, network) = (floating.address, floating.network);
            match (&floating.answered_on, &floating.problem) {
                (_, Some(problem)) => {
                    writeln!(f, "{address} of {network} is not answered: {problem}")?;
                }
                (Some(uplink), None) => {
                    writeln!(f, "{address} of {network} is answered on {uplink}")?;
                }
                (None, None) => writeln!(f, "{address} of {network} is not answered")?,
            }
        }
        for orphan in &self.orphans {
            let (address, vpc) = (orphan.address, orphan.vpc);
            writeln!(
                f,
                "{address} is an orphan of {vpc}: answered for, though nobody knows it"
            )?;
        }
        for problem in &self.problems {
            writeln!(f, "problem: {problem}")?;
        }
        for step in &self.steps {
            writeln!(f, "to do: {step}")?;
        }
        Ok(())
    }
}

impl Survey {
    /// What would be done, one line a step.
    #[must_use]
    pub fn plan_lines(&self) -> Vec<String> {
        let lines = self.vpcs.iter().flat_map(|vpc| {
            vpc.steps
                .iter()
                .map(move |step| format!("{}: {step}", vpc.vpc))
        });
        let host = self.ways_out.steps.iter();
        let host = host.map(|step| format!("host: {step}"));
        host.chain(lines).collect()
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host {}, mode {}", self.host, self.mode)?;
        if let Some(change) = &self.store_changed {
            writeln!(
                f,
                "the store is not what it was ({change}): nothing is changed until accept-store"
            )?;
        }
        for key in &self.unreadable {
            writeln!(f, "cannot be read: {key}")?;
        }
        write!(f, "{}", self.ways_out)?;
        for vpc in &self.vpcs {
            let state = if vpc.exists { "" } else { " (not there)" };
            writeln!(f, "{}{state}", vpc.vpc)?;
            for port in &vpc.ports {
                let state = if port.attached {
                    "attached"
                } else {
                    "not attached"
                };
                writeln!(
                    f,
                    "  {} {} {} {state}",
                    port.port, port.address, port.device
                )?;
                if let Some(problem) = &port.problem {
                    writeln!(f, "    problem: {problem}")?;
                }
            }
            for orphan in &vpc.orphans {
                writeln!(
                    f,
                    "  {} {} is an orphan: nobody knows it",
                    orphan.port, orphan.device
                )?;
            }
            for orphan in &vpc.adopted {
                let (port, device) = (orphan.port, &orphan.device);
                writeln!(
                    f,
                    "  {port} {device} stays, though nobody knows it: adopted"
                )?;
            }
            for device in &vpc.foreign {
                writeln!(f, "  {device} is not ours")?;
            }
            for step in &vpc.steps {
                writeln!(f, "  to do: {step}")?;
            }
        }
        Ok(())
    }
}
