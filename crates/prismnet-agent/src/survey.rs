//! What is wanted, what is there, and the difference: `status` and `--dry-run`. Changes nothing.

use std::{collections::BTreeSet, fmt, sync::Arc};

use anyhow::Context as _;
use prismnet_model::{Orphan, PortId, VpcId, device};
use serde::Serialize;
use tokio::sync::Notify;

use crate::{
    config::Config,
    desired::{Wanted, desired},
    feed::Follower,
    kernel::{
        Namespaces, Space,
        namespace::{on_thread, runtime},
    },
    memory::Memory,
    plan::{Step, plan},
    run::{connect, here, vpcs_here},
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
    /// VPCs that have something here, or should.
    pub vpcs: Vec<VpcSurvey>,
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
}

/// Looks.
///
/// # Errors
/// A store that does not answer, no right to look.
pub async fn survey(config: &Config) -> anyhow::Result<Survey> {
    let memory = Memory::new(&config.state_directory);
    let store = connect(config, &memory).await?;
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
    let mut all = desired(&follower.records, &here);
    let vpcs = vpcs_here(&namespaces)?;
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
    survey.vpcs = vpcs.await??;
    Ok(survey)
}

fn look(namespaces: &Namespaces, vpc: VpcId, wanted: &Wanted) -> anyhow::Result<VpcSurvey> {
    let actual = on_thread(|| {
        runtime()?.block_on(async {
            let mut space = Space::open(vpc, namespaces.clone(), Arc::new(Notify::new()))?;
            space.look(wanted).await
        })
    })?;
    let ports = wanted.ports.iter().map(|(id, port)| PortSurvey {
        port: *id,
        device: port.device.clone(),
        address: port.lease.address,
        attached: actual.network.plugs.get(&port.device) == wanted.network.plugs.get(&port.device),
    });
    Ok(VpcSurvey {
        vpc,
        namespace: device::namespace(vpc),
        exists: actual.exists,
        ports: ports.collect(),
        orphans: orphans_of(vpc, wanted, &actual),
        foreign: actual.foreign.clone(),
        steps: plan(wanted, &actual).iter().map(Step::to_string).collect(),
    })
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
        lines.collect()
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
            }
            for orphan in &vpc.orphans {
                writeln!(
                    f,
                    "  {} {} is an orphan: nobody knows it",
                    orphan.port, orphan.device
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
