//! What every use case shares: the store, the decisions, what hosts tell; and the one place where changes are committed.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use photon_auth::{Auth, AuthOptions, Context, Tell};
use photon_reconcile::Queue;
use photon_server::Metrics;
use photon_service::{audit::Act, store_change::follow_acceptance};
use photon_store::{Collection, Record, Store, Transaction, audit::Trails};
use plasmavmc_door::Doors;
use plasmavmc_model::{VmId, VolumeId};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    console, controller,
    door::HostDoors,
    host::Hosts,
    image::{blobs::Blobs, disks::HostDisks},
    money::Money,
    network::Prismnet,
    run::SERVICE,
};

/// The service without its doors.
pub struct App {
    pub(crate) store: Store,
    pub(crate) auth: Auth,
    pub(crate) trails: Trails,
    pub(crate) config: Arc<Config>,
    pub(crate) hosts: Hosts,
    /// Where VMs' interfaces are; none if there are no networks.
    pub(crate) prismnet: Option<Prismnet>,
    pub(crate) money: Money,
    /// Where images' content is kept.
    pub(crate) blobs: Arc<dyn Blobs>,
    /// Hosts' agents.
    pub(crate) doors: HostDoors,
    pub(crate) consoles: console::Sessions,
    /// The VMs that are to be looked at. Only who leads does.
    pub(crate) queue: Queue<VmId>,
    /// The same of volumes.
    pub(crate) volumes: Queue<VolumeId>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// Connects to the store and follows what IAM publishes there.
    ///
    /// # Errors
    /// A store that does not answer, settings that cannot be.
    pub(crate) async fn open(config: Arc<Config>, metrics: Metrics) -> anyhow::Result<Self> {
        let store = Store::connect(config.store.options()?)
            .await
            .with_context(|| format!("the store at {}", config.store.endpoints.join(", ")))?;
        let options = AuthOptions {
            issuer: config.issuer.clone(),
            max_staleness: Duration::from_secs(config.auth.max_staleness_seconds),
            metrics: Some(metrics),
            ..AuthOptions::default()
        };
        let auth = Auth::start(store.clone(), config.auth.mode, options, SERVICE).await?;
        let (queue, volumes) = (Queue::new(), Queue::new());
        let prismnet = config.prismnet.endpoint.as_ref();
        let prismnet = prismnet.map(|url| Prismnet::new(url, config.store.tls_files()));
        let hosts = Hosts::new(queue.clone(), volumes.clone());
        let doors = HostDoors::new(hosts.clone(), Doors::new(config.store.tls_files()));
        Ok(Self {
            auth,
            trails: Trails::new(store.clone(), SERVICE),
            hosts,
            prismnet: prismnet.transpose()?,
            money: Money::open(&config)?,
            blobs: Arc::new(HostDisks(doors.clone())),
            doors,
            consoles: console::Sessions::new(CancellationToken::new()),
            queue,
            volumes,
            config,
            store,
        })
    }

    /// Starts what goes on behind the doors, until it is stopped.
    pub(crate) fn start_tasks(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        let following = self
            .hosts
            .clone()
            .follow(self.store.clone(), stop.child_token());
        tasks.spawn(following);
        tasks.spawn(controller::run(Arc::clone(self), stop.child_token()));
        if let Some(files) = self.config.store.tls_files() {
            tasks.spawn(self.store.clone().follow_tls(files, stop.child_token()));
        }
        let (trails, following) = (self.trails.clone(), stop.child_token());
        let accepting = follow_acceptance(
            self.store.clone(),
            SERVICE,
            // Feeds and elections begin again by themselves.
            move || {
                let trails = trails.clone();
                async move { trails.forget().await }
            },
            following,
        );
        tasks.spawn(accepting);
        if self.prismnet.is_none() {
            tracing::info!("no prismnet.endpoint: VMs have no networks");
        }
    }

    /// The records of one type.
    pub(crate) fn records<T: Record>(&self) -> Collection<T> {
        self.store.collection()
    }

    /// Does a transaction with its audit record, and returns its revision.
    pub(crate) async fn commit(
        &self,
        ctx: &Context,
        transaction: &Transaction,
        act: &Act,
    ) -> photon_store::Result<i64> {
        let entry = act.within(ctx);
        let done = self
            .trails
            .commit(transaction, &act.trail(), &entry)
            .await?;
        Ok(done.revision)
    }

    /// [`App::commit`] of the transaction that makes what the request asked for: once for each idempotency key.
    pub(crate) async fn commit_new(
        &self,
        ctx: &Context,
        mut transaction: Transaction,
        act: &Act,
    ) -> photon_store::Result<i64> {
        ctx.once(&mut transaction, act.kind(), act.id(), Tell::Again)?;
        self.commit(ctx, &transaction, act).await
    }
}
