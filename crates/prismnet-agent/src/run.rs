//! The agent, from its configuration to its workers and back.
//!
//! ```text
//!  store ──> Follower ──> desired ──> Workers: one thread a VPC ──> Outcomes ──> Reporter ──> store
//! ```
//!
//! When it stops, or is killed, everything stays as it is: the kernel's state is its state.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use photon_agent::{
    Memory,
    connection::{self, KEEP, RECONNECT},
    notify::{NotifyState, tell_systemd},
};
use photon_store::{Error, Seen, Store};
use prismnet_model::{Block, VpcId};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    desired::{Here, Wanted, desired},
    dhcp,
    feed::Follower,
    host::{self, network::HostWanted, worker::HostOrder},
    kernel::{self, Namespaces, detect},
    local::{Local, arrivals, keep::keep, serve::serve, socket::Socket},
    metadata,
    records::Records,
    report::Reporter,
    transfer::Transfers,
    way_out::{self, Told},
    worker::{self, Order, Outcomes},
};

/// What `accept-store` is said to.
const PROGRAM: &str = "prismnet-agent";

/// What this host is, as configured and found.
///
/// # Errors
/// No right to make namespaces, or no nft.
pub fn here(config: &Config) -> anyhow::Result<Here> {
    let mode = detect::mode().context("cannot find out what this kernel offers")?;
    Ok(Here {
        host: config.host.clone(),
        vtep: config.tunnel.address,
        mtu: config.tunnel.mtu,
        mode,
    })
}

/// Runs until it is stopped.
///
/// # Errors
/// What keeps it from starting. A store that does not answer does not: what stands, stands.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let memory = Memory::new(&config.state_directory);
    // Before anything is changed: a memory that cannot be read is no clean slate.
    memory
        .seen()
        .context("what was seen of the store cannot be read")?;
    let here = tokio::task::spawn_blocking({
        let config = config.clone();
        move || here(&config)
    });
    let here = here.await??;
    Namespaces::new(&config.namespace_directory).prepare()?;
    make_room();
    match here.vtep {
        Some(vtep) => {
            tracing::info!(host = %here.host, mode = %here.mode, %vtep, "prismnet-agent starts");
        }
        None => {
            tracing::info!(host = %here.host, mode = %here.mode, "prismnet-agent starts, without a tunnel");
        }
    }
    let (ended, mut ends) = mpsc::unbounded_channel();
    let metadata = metadata::Source::read(&config.state_directory)
        .context("what is needed for metadata cannot be read")?;
    let mut workers = Workers::new(&config, metadata.clone(), ended, stop.child_token());
    let local = Local::new(&config, &here, metadata, Arc::clone(&workers.outcomes));
    let local = Arc::new(local.context("what was plugged cannot be read")?);
    let beside = beside(&config, &local, &stop)?;
    tell_systemd(&NotifyState::Ready);
    let agent = Agent {
        local,
        config,
        here,
        memory,
        stop: stop.clone(),
    };
    let followed = agent.follow(&mut workers, &mut ends).await;
    tell_systemd(&NotifyState::Stopping);
    workers.wait().await;
    stop.cancel();
    beside.close();
    beside.wait().await;
    tracing::info!("prismnet-agent stopped; everything stays as it is");
    followed
}

/// The kernel has one table of neighbours for all namespaces, of a thousand: too few for ports, and soon filled by somebody who
/// sends to addresses that nobody has.
fn make_room() {
    for (limit, entries) in [
        ("gc_thresh3", 65_536),
        ("gc_thresh2", 32_768),
        ("gc_thresh1", 8_192),
    ] {
        kernel::settings::raise(&format!("ipv4/neigh/default/{limit}"), entries);
    }
}

/// What goes on whether the store is there or not: the local socket, and what was plugged by it.
fn beside(
    config: &Config,
    local: &Arc<Local>,
    stop: &CancellationToken,
) -> anyhow::Result<TaskTracker> {
    let tasks = TaskTracker::new();
    let socket = Socket::bind(&config.socket, !config.socket_uids.is_empty())?;
    let serve = serve(
        socket,
        Arc::clone(local),
        config.socket_uids.clone(),
        stop.clone(),
    );
    tasks.spawn(async {
        if let Err(error) = serve.await {
            tracing::error!(%error, "the local socket is served no longer");
        }
    });
    tasks.spawn(keep(Arc::clone(local), stop.clone()));
    tasks.spawn(arrivals::watch(Arc::clone(&local.outcomes), stop.clone()));
    Ok(tasks)
}

struct Agent {
    config: Config,
    local: Arc<Local>,
    here: Here,
    memory: Memory,
    stop: CancellationToken,
}

impl Agent {
    /// One connection after the other: another begins when a person has accepted another store.
    async fn follow(
        &self,
        workers: &mut Workers,
        ends: &mut mpsc::UnboundedReceiver<VpcId>,
    ) -> anyhow::Result<()> {
        while !self.stop.is_cancelled() {
            let store = match connection::connect(&self.config.store, &self.memory).await {
                Ok(store) => store,
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "no store; everything stays as it is"
                    );
                    self.stop
                        .run_until_cancelled(tokio::time::sleep(RECONNECT))
                        .await;
                    continue;
                }
            };
            let tasks = TaskTracker::new();
            let end = self.stop.child_token();
            if let Some(files) = self.config.store.tls_files() {
                tasks.spawn(store.clone().follow_tls(files, end.clone()));
            }
            let reporter = Reporter::new(
                store.clone(),
                self.here.clone(),
                Arc::clone(&workers.outcomes),
            );
            tasks.spawn(reporter.run(end.clone()));
            let followed = self.follow_store(&store, workers, ends).await;
            end.cancel();
            tasks.close();
            tasks.wait().await;
            followed?;
        }
        Ok(())
    }

    /// Until it is stopped, or the store is to be connected to anew.
    async fn follow_store(
        &self,
        store: &Store,
        workers: &mut Workers,
        ends: &mut mpsc::UnboundedReceiver<VpcId>,
    ) -> anyhow::Result<()> {
        let mut follower = Follower::new(store.clone());
        let mut keep = tokio::time::interval(KEEP);
        let mut is_known = false;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                known = follower.next() => match known {
                    Ok(()) => {
                        is_known = true;
                        // First what was seen, then what it says: after a crash the store is held against this.
                        connection::keep(store, &self.memory);
                        workers.update(&follower.records, &self.here, &self.local)?;
                    }
                    Err(Error::StoreChanged(change)) => {
                        self.local.distrust();
                        let change = change.to_string();
                        let word = connection::wait_for_word(PROGRAM, &change, &self.memory, &self.stop);
                        return Ok(word.await?);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the store does not tell; everything stays as it is");
                        self.stop.run_until_cancelled(tokio::time::sleep(RECONNECT)).await;
                    }
                },
                () = self.local.decided.notified(), if is_known => workers.update(&follower.records, &self.here, &self.local)?,
                Some(vpc) = ends.recv() => workers.ended(vpc, is_known)?,
                _ = keep.tick() => connection::keep(store, &self.memory),
            }
        }
    }
}

/// Accepts the store as it is now, and what it says.
///
/// # Errors
/// A store that does not answer, a memory that cannot be written.
pub async fn accept_store(config: &Config) -> anyhow::Result<Option<Seen>> {
    connection::accept(&config.store, &Memory::new(&config.state_directory)).await
}

/// The threads, by VPC.
struct Workers {
    namespaces: Namespaces,
    dhcp: dhcp::Network,
    metadata: metadata::Source,
    resync: Duration,
    outcomes: Arc<Outcomes>,
    ended: mpsc::UnboundedSender<VpcId>,
    stop: CancellationToken,
    running: BTreeMap<VpcId, Running>,
    wanted: BTreeMap<VpcId, Arc<Wanted>>,
    /// What no VPC reaches.
    deny: Vec<Block>,
    transfers: Transfers,
    host: Option<HostRunning>,
}

/// The thread for the host's own side of the ways out.
struct HostRunning {
    wanted: watch::Sender<Arc<HostWanted>>,
    thread: JoinHandle<()>,
}

struct Running {
    wanted: watch::Sender<Arc<Wanted>>,
    thread: JoinHandle<()>,
}

impl Workers {
    fn new(
        config: &Config,
        metadata: metadata::Source,
        ended: mpsc::UnboundedSender<VpcId>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            namespaces: Namespaces::new(&config.namespace_directory),
            dhcp: dhcp::Network {
                dns: config.dhcp.dns.clone(),
                lease_seconds: config.dhcp.lease_seconds,
            },
            metadata,
            resync: Duration::from_secs(config.resync_seconds),
            outcomes: Arc::default(),
            ended,
            stop,
            running: BTreeMap::new(),
            wanted: BTreeMap::new(),
            deny: config.egress.deny.clone(),
            transfers: Transfers::default(),
            host: None,
        }
    }

    /// What is wanted from now on.
    fn update(&mut self, records: &Records, here: &Here, local: &Local) -> anyhow::Result<()> {
        let ways = way_out::wanted(records, here);
        self.transfers = give(&self.transfers, &ways)?;
        let told = Told::of(records, &local.released());
        let mut all = desired(records, here, &self.transfers, &told);
        local.learn(&mut all);
        let nothing = Wanted {
            told_floating: told.clone(),
            orders: records.orders,
            ..Wanted::default()
        };
        self.update_vpcs(all, &nothing)?;
        let host = host::desired::desired(records, here, &self.transfers, &self.deny, &told);
        self.update_host(host)?;
        self.outcomes.wake_told(&told);
        Ok(())
    }

    fn update_host(&mut self, wanted: HostWanted) -> anyhow::Result<()> {
        let ended = |running: &HostRunning| running.thread.is_finished();
        if self.host.as_ref().is_some_and(ended) {
            self.host = None;
        }
        if let Some(running) = &self.host {
            running.wanted.send_if_modified(|now| {
                let is_new = **now != wanted;
                *now = Arc::new(wanted);
                is_new
            });
            return Ok(());
        }
        let (sender, receiver) = watch::channel(Arc::new(wanted));
        let order = HostOrder {
            resync: self.resync,
            outcomes: Arc::clone(&self.outcomes),
            stop: self.stop.clone(),
        };
        let thread = host::worker::start(order, receiver).context("no thread for the ways out")?;
        self.host = Some(HostRunning {
            wanted: sender,
            thread,
        });
        Ok(())
    }

    /// A VPC of which nothing is wanted is looked after as long as its namespace is there.
    fn update_vpcs(
        &mut self,
        mut all: BTreeMap<VpcId, Wanted>,
        nothing: &Wanted,
    ) -> anyhow::Result<()> {
        let here = vpcs_here(&self.namespaces)?;
        let known: BTreeSet<VpcId> = self
            .running
            .keys()
            .chain(all.keys())
            .chain(&here)
            .copied()
            .collect();
        let mut next = BTreeMap::new();
        for vpc in known {
            let wanted = Arc::new(all.remove(&vpc).unwrap_or_else(|| nothing.clone()));
            let is_needed = !wanted.ports.is_empty() || here.contains(&vpc);
            match self.running.get(&vpc) {
                Some(running) => {
                    running.wanted.send_if_modified(|now| {
                        let is_new = **now != *wanted;
                        now.clone_from(&wanted);
                        is_new
                    });
                }
                None if is_needed => self.start(vpc, Arc::clone(&wanted))?,
                None => {}
            }
            if is_needed || self.running.contains_key(&vpc) {
                next.insert(vpc, wanted);
            }
        }
        self.wanted = next;
        Ok(())
    }

    fn start(&mut self, vpc: VpcId, wanted: Arc<Wanted>) -> anyhow::Result<()> {
        let (sender, receiver) = watch::channel(wanted);
        let order = Order {
            vpc,
            namespaces: self.namespaces.clone(),
            dhcp: self.dhcp.clone(),
            metadata: self.metadata.clone(),
            resync: self.resync,
            outcomes: Arc::clone(&self.outcomes),
            ended: self.ended.clone(),
            stop: self.stop.clone(),
        };
        let thread = worker::start(order, receiver).context("no thread for a VPC")?;
        let running = Running {
            wanted: sender,
            thread,
        };
        self.running.insert(vpc, running);
        Ok(())
    }

    /// A worker ended. If something is wanted, or there, another one goes on.
    fn ended(&mut self, vpc: VpcId, is_known: bool) -> anyhow::Result<()> {
        if let Some(running) = self.running.remove(&vpc) {
            // It has said that it ends: there is nothing to wait for but its last instructions.
            let _ = running.thread.join();
        }
        let wanted = self.wanted.get(&vpc).cloned().unwrap_or_default();
        let is_there = vpcs_here(&self.namespaces)?.contains(&vpc);
        let is_needed = !wanted.ports.is_empty() || is_there;
        if is_known && is_needed && !self.stop.is_cancelled() {
            return self.start(vpc, wanted);
        }
        self.outcomes.put(vpc, None);
        Ok(())
    }

    /// All of them have ended.
    async fn wait(self) {
        self.stop.cancel();
        for (vpc, running) in self.running {
            let joined = tokio::task::spawn_blocking(move || running.thread.join());
            if tokio::time::timeout(RECONNECT * 5, joined).await.is_err() {
                tracing::warn!(%vpc, "a worker is cut off that has not ended in time");
            }
        }
        if let Some(running) = self.host {
            let joined = tokio::task::spawn_blocking(move || running.thread.join());
            if tokio::time::timeout(RECONNECT * 5, joined).await.is_err() {
                tracing::warn!("the worker of the ways out is cut off: it has not ended in time");
            }
        }
    }
}

/// Transfer addresses for these VPCs: what they have, in memory or on their devices, else some that nobody has.
///
/// # Errors
/// Devices that cannot be read.
pub fn give(known: &Transfers, wanted: &BTreeSet<VpcId>) -> anyhow::Result<Transfers> {
    let mut transfers = known.clone();
    let found = if transfers.are_enough(wanted) {
        BTreeMap::new()
    } else {
        kernel::host::transfers()?
    };
    transfers.give(wanted, &found);
    Ok(transfers)
}

/// VPCs that have a namespace here.
///
/// # Errors
/// A directory that cannot be read.
pub fn vpcs_here(namespaces: &Namespaces) -> anyhow::Result<BTreeSet<VpcId>> {
    let names = namespaces.list()?;
    let ids = names
        .iter()
        .filter_map(|name| name.strip_prefix("photon-")?.parse().ok());
    Ok(ids.collect())
}
