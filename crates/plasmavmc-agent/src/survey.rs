//! What is wanted, what is there, and the difference: `status` and `--dry-run`. Changes nothing.
//!
//! An embedded libvirt is open in one process at a time. While the agent runs with one, `status` shows what the agent has told the store,
//! and `--dry-run` is refused; with a libvirtd, or while the agent is stopped, both look for themselves.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use photon_agent::{Memory, connection::connect};
use photon_store::{PageRequest, Store};
use plasmavmc_door::Doors;
use plasmavmc_model::{Alive, ObservedAgent, ObservedVm, Probe, VmId, VolumeId, observed};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    blobs::Blobs,
    config::Config,
    copies::Copies,
    feed::{Follower, Records},
    files::Files,
    images::Images,
    libvirt::embed,
    metadata,
    outcome::Outcomes,
    plan::{Wanted, plan},
    pools::Pools,
    ports::{Ports, Socket},
    run::open,
    verdicts::{Verdict, Verdicts},
    volumes,
    worker::Order,
};

/// The host as it is found, or as its agent has told.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// The host's name.
    pub host: String,
    /// Since when the agent runs, as the store knows it.
    pub agent_since: Option<Timestamp>,
    /// How the store differs from the one that was seen before; then nothing would be changed.
    pub store_changed: Option<String>,
    /// What the agent told of itself.
    pub agent: Option<ObservedAgent>,
    /// VMs that are told of, or wanted.
    pub vms: Vec<VmSurvey>,
    /// What a person decided about orphans.
    pub decided: BTreeMap<VmId, Verdict>,
}

/// A VM.
#[derive(Clone, Debug, Serialize)]
pub struct VmSurvey {
    /// Which.
    pub id: VmId,
    /// What is wanted: `running`, `stopped`, `gone`, or that its record cannot be read.
    pub wanted: String,
    /// What the agent told of it.
    pub told: Option<ObservedVm>,
}

/// What would be done.
#[derive(Clone, Debug, Serialize)]
pub struct DryRun {
    /// By VM.
    pub steps: BTreeMap<VmId, Vec<String>>,
    /// By volume, the next of each.
    pub volumes: BTreeMap<VolumeId, String>,
    /// VMs that nobody knows.
    pub orphans: Vec<VmId>,
}

async fn records(config: &Config, store: &Store) -> anyhow::Result<Records> {
    let mut follower = Follower::new(store.clone(), &config.host);
    let limit = Duration::from_millis(config.store.request_timeout_ms * 2);
    let known = tokio::time::timeout(limit, follower.next()).await;
    known.context("the store does not answer")??;
    Ok(follower.records)
}

/// What the agent has told, beside what is wanted.
///
/// # Errors
/// A store that does not answer.
pub async fn survey(config: &Config) -> anyhow::Result<Survey> {
    let store = connect(&config.store, &Memory::new(&config.state_directory)).await?;
    let mut survey = Survey {
        host: config.host.to_string(),
        agent_since: None,
        store_changed: store.change().map(|change| change.to_string()),
        agent: None,
        vms: Vec::new(),
        decided: Verdicts::new(&config.state_directory).all()?,
    };
    if survey.store_changed.is_some() {
        return Ok(survey);
    }
    let host = &config.host;
    let alive = store.collection::<Alive>();
    let alive = alive.get(&observed::alive_key(host)).await?;
    survey.agent_since = alive.map(|alive| alive.value.since);
    let agent = store.collection::<ObservedAgent>();
    let agent = agent.get(&observed::agent_key(host)).await?;
    survey.agent = agent.map(|agent| agent.value);
    let prefix = format!("{}vm/", observed::prefix(host));
    let request = PageRequest {
        prefix: prefix.clone(),
        ..PageRequest::default()
    };
    let page = store.collection::<ObservedVm>().list(&request).await?;
    let told = page.items.into_iter().filter_map(|stored| {
        let id: VmId = stored.key.strip_prefix(&prefix)?.parse().ok()?;
        Some((id, stored.value))
    });
    let mut told: BTreeMap<VmId, ObservedVm> = told.collect();
    let records = records(config, &store).await?;
    let mut wanted: BTreeMap<VmId, String> = told
        .keys()
        .map(|vm| (*vm, "nothing: the store does not know it".to_owned()))
        .collect();
    wanted.extend(records.vms.iter().map(|(vm, desired)| {
        let power = match desired.power {
            plasmavmc_model::Power::Running => "running",
            plasmavmc_model::Power::Stopped => "stopped",
            plasmavmc_model::Power::Paused => "paused",
            plasmavmc_model::Power::Suspended => "suspended",
        };
        (*vm, format!("{power}, boot {}", desired.boot))
    }));
    let unreadable = records.unreadable.iter();
    wanted
        .extend(unreadable.map(|(vm, why)| (*vm, format!("a record that cannot be read: {why}"))));
    wanted.extend(records.gone.iter().map(|vm| (*vm, "gone".to_owned())));
    survey.vms = wanted
        .into_iter()
        .map(|(id, wanted)| VmSurvey {
            id,
            wanted,
            told: told.remove(&id),
        })
        .collect();
    Ok(survey)
}

/// What would be done.
///
/// # Errors
/// A store or libvirt that does not answer; another process has the embedded libvirt open.
pub async fn dry_run(config: &Config) -> anyhow::Result<DryRun> {
    let store = connect(&config.store, &Memory::new(&config.state_directory)).await?;
    if let Some(change) = store.change() {
        bail!(
            "the store is not what it was ({change}): nothing would be changed until accept-store"
        );
    }
    let records = records(config, &store).await?;
    let (changed, _events) = mpsc::unbounded_channel();
    let opened = open(config, changed).await;
    let (calls, about) = match opened {
        Err(error) if embed::is_embedded(&config.uri()) => {
            return Err(error.context(
                "the embedded libvirt cannot be opened: while the agent runs, it alone has it",
            ));
        }
        opened => opened?,
    };
    let images = Arc::new(Images::looking(&config.state_directory));
    let pools = Pools::looking(config);
    let files = Files::with(&config.state_directory, pools.clone());
    let agent = store.collection::<ObservedAgent>();
    let agent = agent.get(&observed::agent_key(&config.host)).await?;
    // No guest is booted to find out: what was told last counts.
    let probe = agent.map_or_else(
        || Probe {
            kvm: false,
            emulation: config.hypervisor.emulation,
            reason: format!("kvm was not tried yet ({})", about.versions),
        },
        |agent| agent.value.probe,
    );
    let (_probed, probe) = watch::channel(Some(probe));
    let decided = Verdicts::new(&config.state_directory).all()?;
    let mut wanted: BTreeMap<VmId, Wanted> = decided
        .iter()
        .filter(|(vm, verdict)| **verdict == Verdict::Purged && !records.know(**vm))
        .map(|(vm, _)| (*vm, Wanted::Purged))
        .collect();
    for (vm, desired) in &records.vms {
        wanted.insert(*vm, Wanted::Vm(Box::new(desired.clone())));
    }
    wanted.extend(records.gone.iter().map(|vm| (*vm, Wanted::Gone)));
    let blobs = Arc::new(Blobs::new(&config.state_directory, Arc::clone(&images)));
    let doors = Doors::new(None);
    // It is never told of anything to copy.
    let copies = Copies::new(config.host.clone(), blobs, doors, CancellationToken::new());
    let mut steps = BTreeMap::new();
    for (vm, wanted) in &wanted {
        let order = Order {
            vm: *vm,
            calls: calls.clone(),
            files: files.clone(),
            images: Arc::clone(&images),
            ports: Arc::new(Ports::new(
                Socket::new(&config.ports.socket),
                metadata::socket(&config.state_directory),
                Duration::from_secs(config.resync_seconds),
            )),
            copies: copies.clone(),
            probe: probe.clone(),
            outcomes: Arc::new(Outcomes::default()),
            wake: Arc::new(Notify::new()),
            resync: Duration::from_secs(config.resync_seconds),
            stop: CancellationToken::new(),
        };
        let found = order.found(wanted).await.map_err(anyhow::Error::msg)?;
        let plan = plan(wanted, &found, Timestamp::now());
        steps.insert(*vm, plan.steps.iter().map(ToString::to_string).collect());
    }
    let domains = calls.list().await?.into_iter().map(|domain| domain.id);
    let here = domains.chain(files.list()?);
    let mut orphans: Vec<VmId> = here.filter(|vm| !records.know(*vm)).collect();
    orphans.sort();
    orphans.dedup();
    let volumes = volumes::would_do(&pools, &records).await;
    Ok(DryRun {
        steps,
        volumes,
        orphans,
    })
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (vm, steps) in &self.steps {
            for step in steps {
                writeln!(f, "{vm}: {step}")?;
            }
        }
        for (volume, step) in &self.volumes {
            writeln!(f, "{volume}: {step}")?;
        }
        for vm in &self.orphans {
            writeln!(f, "{vm} is an orphan: it would be left as it is")?;
        }
        Ok(())
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.agent_since {
            Some(since) => writeln!(f, "host {}, the agent runs since {since}", self.host)?,
            None => writeln!(
                f,
                "host {}, the agent does not run, or does not reach the store",
                self.host
            )?,
        }
        if let Some(change) = &self.store_changed {
            writeln!(
                f,
                "the store is not what it was ({change}): nothing is changed until accept-store"
            )?;
        }
        if let Some(agent) = &self.agent {
            let (capacity, probe) = (&agent.capacity, &agent.probe);
            writeln!(f, "{}", agent.driver)?;
            writeln!(
                f,
                "for VMs: {} CPUs, {} MiB, {} GiB of disks",
                capacity.cpus, capacity.memory_mib, capacity.disk_gib
            )?;
            let kvm = if probe.kvm { "kvm" } else { "no kvm" };
            let emulation = if probe.emulation { "" } else { "no " };
            writeln!(f, "{kvm}, {emulation}emulation: {}", probe.reason)?;
            for pool in &agent.pools {
                let shared = if pool.shared { ", shared" } else { "" };
                writeln!(
                    f,
                    "pool {}: {} of {} GiB used{shared}",
                    pool.name, pool.used_gib, pool.capacity_gib
                )?;
            }
            for image in &agent.images {
                writeln!(f, "image {} sha256:{}", image.name, image.digest())?;
            }
            for problem in &agent.problems {
                writeln!(f, "problem: {problem}")?;
            }
        }
        for vm in &self.vms {
            write!(f, "{} wanted {}", vm.id, vm.wanted)?;
            match &vm.told {
                Some(told) => {
                    write!(
                        f,
                        "; {:?}, boot {}, since {}",
                        told.state, told.boot, told.since
                    )?;
                    if !told.reason.is_empty() {
                        write!(f, ": {}", told.reason)?;
                    }
                    writeln!(f)?;
                }
                None => writeln!(f, "; nothing is told of it yet")?,
            }
        }
        let orphans = self.agent.iter().flat_map(|agent| &agent.orphans);
        for orphan in orphans {
            writeln!(
                f,
                "{} ({:?}, {:?}) is an orphan: nobody knows it",
                orphan.id, orphan.name, orphan.state
            )?;
        }
        for (vm, verdict) in &self.decided {
            let verdict = match verdict {
                Verdict::Adopted => "stays, though nobody knows it: adopted",
                Verdict::Purged => "is being taken down: purged",
            };
            writeln!(f, "{vm} {verdict}")?;
        }
        Ok(())
    }
}
