//! What every use case shares: the store, the decisions, what is believed; and the one place where changes are committed.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use photon_auth::{Auth, AuthOptions, Context, Tell};
use photon_server::{Metrics, Mode};
use photon_service::store_change::follow_acceptance;
use photon_store::{Collection, Record, Store, Transaction, audit::Trails};
use prismnet_model::{ExternalNetwork, Subnet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    audit::Act, config::Config, gone, host::Hosts, known::Known, pool::Pools, quota::Quota,
    run::SERVICE, turns::Turns,
};

/// The service without its doors.
pub struct App {
    pub(crate) store: Store,
    pub(crate) auth: Auth,
    pub(crate) trails: Trails,
    pub(crate) mode: Mode,
    pub(crate) config: Arc<Config>,
    /// Addresses of ports.
    pub(crate) pools: Pools<Subnet>,
    /// Addresses of floating IPs.
    pub(crate) outside: Pools<ExternalNetwork>,
    pub(crate) known: Known,
    pub(crate) turns: Turns,
    pub(crate) quota: Quota,
    pub(crate) hosts: Hosts,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
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
        let mode = config.auth.mode;
        let options = AuthOptions {
            issuer: config.issuer.clone(),
            max_staleness: Duration::from_secs(config.auth.max_staleness_seconds),
            metrics: Some(metrics),
            ..AuthOptions::default()
        };
        let auth = Auth::start(store.clone(), mode, options, SERVICE).await?;
        let quota = Quota::open(store.clone(), &config)?;
        Ok(Self {
            auth,
            trails: Trails::new(store.clone(), SERVICE),
            mode,
            pools: Pools::new(store.clone()),
            outside: Pools::new(store.clone()),
            known: Known::new(),
            turns: Turns::new(),
            quota,
            hosts: Hosts::default(),
            config,
            store,
        })
    }

    /// Starts what goes on behind the doors, until it is stopped.
    pub(crate) fn start_tasks(self: Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        tasks.spawn(self.quota.clone().run(stop.child_token()));
        let following = self.hosts.clone().follow(
            self.store.clone(),
            Arc::clone(&self.config),
            stop.child_token(),
        );
        tasks.spawn(following);
        tasks.spawn(gone::sweep(
            self.store.clone(),
            self.hosts.clone(),
            stop.child_token(),
        ));
        if let Some(files) = self.config.store.tls_files() {
            tasks.spawn(self.store.clone().follow_tls(files, stop.child_token()));
        }
        let (store, stop) = (self.store.clone(), stop.child_token());
        tasks.spawn(async move {
            let forget = move || {
                let app = Arc::clone(&self);
                async move { app.forget().await }
            };
            follow_acceptance(store, SERVICE, forget, stop).await;
        });
    }

    /// Forgets what was read of the store, when it has become another one.
    async fn forget(&self) {
        self.trails.forget().await;
        self.known.forget();
        self.pools.forget();
        self.outside.forget();
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
