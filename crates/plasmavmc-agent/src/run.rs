//! The agent, from its configuration to its workers and back.
//!
//! ```text
//!  store ──> Follower ──> Workers: one task a VM ──> Outcomes ──> Reporter ──> store
//!                              ^ libvirt's events
//! ```
//!
//! When it stops, or is killed, everything stays as it is: VMs are processes of their own.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use photon_agent::{
    Memory,
    connection::{self, KEEP, RECONNECT},
    notify::{NotifyState, tell_systemd},
};
use photon_store::{Error, Seen, Store};
use plasmavmc_door::Doors;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    blobs::Blobs,
    calls::Calls,
    config::Config,
    console::Consoles,
    copies::Copies,
    door,
    driver::{About, Driver},
    feed::Follower,
    files::{self, Files},
    host,
    images::Images,
    libvirt::{Libvirt, embed, monitor},
    metadata::{self, Metadata},
    outcome::Outcomes,
    pools::Pools,
    ports::Socket,
    report::Reporter,
    verdicts::Verdicts,
    workers::{Shop, Wakes, Workers},
};

/// What `accept-store` is said to.
const PROGRAM: &str = "plasmavmc-agent";
/// How long libvirt may take to be there: a new version of qemu is looked at first.
const OPEN: Duration = Duration::from_secs(120);
/// How often it is looked for uploads that nobody goes on with.
const EXPIRE: Duration = Duration::from_secs(600);
/// How often it is looked whether a person decided something.
const VERDICTS: Duration = Duration::from_secs(1);

/// Opens what drives machines here.
///
/// # Errors
/// What libvirt says; another process has an embedded one open.
pub async fn open(
    config: &Config,
    changed: mpsc::UnboundedSender<plasmavmc_model::VmId>,
) -> anyhow::Result<(Calls, About)> {
    let uri = config.uri();
    if let Some(root) = embed::root(&uri) {
        let prepare = move || {
            embed::prepare(&root).with_context(|| format!("cannot prepare {}", root.display()))?;
            // It takes as long as what an agent that was killed has begun.
            monitor::hear_out(&root);
            anyhow::Ok(())
        };
        tokio::task::spawn_blocking(prepare).await??;
    }
    let opened = tokio::task::spawn_blocking(move || {
        let driver = Libvirt::open(&uri, changed)?;
        let about = driver.about()?;
        anyhow::Ok((Calls::new(driver), about))
    });
    let opened = tokio::time::timeout(OPEN, opened).await;
    opened.context("libvirt does not answer")??
}

/// Runs until it is stopped.
///
/// # Errors
/// What keeps it from starting. A store that does not answer does not: what was wanted last is wanted still.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let memory = Memory::new(&config.state_directory);
    // Before anything is changed: a memory that cannot be read is no clean slate.
    memory
        .seen()
        .context("what was seen of the store cannot be read")?;
    std::fs::create_dir_all(&config.state_directory)
        .with_context(|| format!("cannot make {}", config.state_directory.display()))?;
    files::close(&config.state_directory, embed::is_embedded(&config.uri()))
        .context("what guests' files are kept in cannot be made")?;
    let (told, changed) = mpsc::unbounded_channel();
    let (calls, about) = open(&config, told).await?;
    tracing::info!(host = %config.host, driver = about.versions, machine = about.machine, "plasmavmc-agent starts");
    let outcomes = Arc::new(Outcomes::default());
    outcomes.change(|facts| {
        facts.driver.clone_from(&about.versions);
        facts.capacity = host::capacity(&config, &about);
    });
    let images = Arc::new(Images::new(&config.state_directory));
    let consoles = Consoles::new(Files::new(&config.state_directory));
    let blobs = Arc::new(Blobs::new(&config.state_directory, Arc::clone(&images)));
    let opened = door::open(
        &config,
        Arc::clone(&blobs),
        consoles.clone(),
        stop.child_token(),
    )
    .await?;
    let opened = match opened {
        Ok(opened) => {
            tracing::info!(door = opened.url, "the door is open");
            outcomes.change(|facts| facts.door = Some(opened.url.clone()));
            Some(opened)
        }
        Err(why) => {
            tracing::warn!(why, "no door");
            outcomes.change(|facts| drop(facts.problems.insert("door", vec![why])));
            None
        }
    };
    let pools = Pools::new(&config);
    let (probed, probe) = watch::channel(None);
    let wakes = Wakes::default();
    let metadata = Metadata::default();
    let copies = Copies::new(
        config.host.clone(),
        Arc::clone(&blobs),
        Doors::new(config.store.tls_files()),
        stop.child_token(),
    );
    let shop = Shop {
        copies,
        calls,
        files: Files::with(&config.state_directory, pools.clone()),
        images: Arc::clone(&images),
        prismnet: Socket::new(&config.ports.socket),
        probe,
        outcomes: Arc::clone(&outcomes),
        metadata: metadata.clone(),
        answers: metadata::socket(&config.state_directory),
        verdicts: Verdicts::new(&config.state_directory),
        resync: Duration::from_secs(config.resync_seconds),
        stop: stop.child_token(),
    };
    let beside = TaskTracker::new();
    let follow = host::follow(
        config.clone(),
        about,
        images,
        Arc::clone(&blobs),
        Arc::clone(&outcomes),
        probed,
        stop.child_token(),
    );
    beside.spawn(follow);
    let look_again = {
        let wakes = wakes.clone();
        move || wakes.wake_all()
    };
    beside.spawn(pools.follow(Arc::clone(&outcomes), look_again, stop.child_token()));
    let socket = metadata::socket(&config.state_directory);
    beside.spawn(metadata.serve(socket, stop.child_token()));
    beside.spawn(consoles.keep_short(stop.child_token()));
    beside.spawn(expire(blobs, stop.child_token()));
    if let Some(opened) = opened {
        beside.spawn(opened.wait());
    }
    let passing = tokio::spawn(wakes.clone().pass_on(changed));
    tell_systemd(&NotifyState::Ready);
    let mut workers = Workers::new(shop, wakes.clone());
    let agent = Agent {
        config,
        memory,
        outcomes,
        wakes,
        stop: stop.clone(),
    };
    let followed = agent.follow(&mut workers).await;
    tell_systemd(&NotifyState::Stopping);
    stop.cancel();
    workers.stop().await;
    beside.close();
    beside.wait().await;
    passing.abort();
    tracing::info!("plasmavmc-agent stopped; what runs, runs");
    followed
}

/// Throws away uploads that nobody goes on with, now and then.
async fn expire(blobs: Arc<Blobs>, stop: CancellationToken) {
    loop {
        let blobs = Arc::clone(&blobs);
        // One that panicked is in the log.
        let _ = tokio::task::spawn_blocking(move || blobs.expire()).await;
        let pause = tokio::time::sleep(EXPIRE);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

struct Agent {
    config: Config,
    memory: Memory,
    outcomes: Arc<Outcomes>,
    wakes: Wakes,
    stop: CancellationToken,
}

impl Agent {
    /// One connection after the other: another begins when a person has accepted another store.
    async fn follow(&self, workers: &mut Workers) -> anyhow::Result<()> {
        let mut was_heard = false;
        while !self.stop.is_cancelled() {
            let connecting = connection::connect(&self.config.store, &self.memory);
            let Some(connected) = self.stop.run_until_cancelled(connecting).await else {
                return Ok(());
            };
            let store = match connected {
                Ok(store) => store,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "no store; what was wanted last is wanted still");
                    if !was_heard {
                        workers.from_disk().context("what is here cannot be read")?;
                    }
                    self.pause().await;
                    continue;
                }
            };
            was_heard = true;
            let tasks = TaskTracker::new();
            let end = self.stop.child_token();
            if let Some(files) = self.config.store.tls_files() {
                tasks.spawn(store.clone().follow_tls(files, end.clone()));
            }
            let outcomes = Arc::clone(&self.outcomes);
            let reporter = Reporter::new(store.clone(), self.config.host.clone(), outcomes);
            tasks.spawn(reporter.run(end.clone()));
            let followed = self.follow_store(&store, workers).await;
            end.cancel();
            tasks.close();
            tasks.wait().await;
            followed?;
        }
        Ok(())
    }

    async fn pause(&self) {
        self.stop
            .run_until_cancelled(tokio::time::sleep(RECONNECT))
            .await;
    }

    /// Until it is stopped, or the store is to be connected to anew.
    async fn follow_store(&self, store: &Store, workers: &mut Workers) -> anyhow::Result<()> {
        let mut follower = Follower::new(store.clone(), &self.config.host);
        let mut keep = tokio::time::interval(KEEP);
        let mut decided = tokio::time::interval(VERDICTS);
        let mut resync = tokio::time::interval(Duration::from_secs(self.config.resync_seconds));
        let mut is_known = false;
        loop {
            let is_to_look = tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                known = follower.next() => match known {
                    Ok(()) => {
                        let is_first = !std::mem::replace(&mut is_known, true);
                        // First what was seen, then what it says: after a crash the store is held against this.
                        connection::keep(store, &self.memory);
                        is_first
                    }
                    Err(Error::StoreChanged(change)) => {
                        workers.stop().await;
                        let change = change.to_string();
                        let word = connection::wait_for_word(PROGRAM, &change, &self.memory, &self.stop);
                        return Ok(word.await?);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the store does not tell; what was wanted last is wanted still");
                        self.pause().await;
                        false
                    }
                },
                _ = decided.tick() => false,
                () = self.wakes.others.notified() => true,
                _ = resync.tick() => true,
                _ = keep.tick() => {
                    connection::keep(store, &self.memory);
                    continue;
                }
            };
            if is_known {
                let others = workers.update(&follower.records);
                let others = others.context("what a person decided cannot be read")?;
                if is_to_look || others {
                    workers.look_for_orphans(&follower.records).await;
                }
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
