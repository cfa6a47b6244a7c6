//! What every use case shares: the decisions, the shards, the mode.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use creditservice_ledger::{Actor, Answer, Command, Key, Request, Shard};
use photon_auth::{Auth, AuthOptions, Context};
use photon_core::{Error, Name};
use photon_server::{Metrics, Mode};
use photon_service::store_change::{Knows, follow_acceptance};
use photon_store::Store;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    catalog::{self, Row},
    config::Config,
    export::Exports,
    idempotency::Given,
    run::SERVICE,
    shard::{
        Shards,
        ask::{Ask, Reply},
    },
};

/// Before what failed in a store that was accepted is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// The service without its doors.
pub struct App {
    pub(crate) auth: Auth,
    pub(crate) shards: Shards,
    /// Kinds of units that were registered by this start; not every shard may know them yet.
    registered: Vec<Row>,
    pub(crate) mode: Mode,
    pub(crate) config: Arc<Config>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// An answer to a change, and whether it is that of an earlier request.
#[derive(Clone, Debug)]
pub(crate) struct Done<T> {
    pub(crate) value: T,
    pub(crate) replayed: bool,
}

impl<T> Done<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Done<U> {
        Done {
            value: change(self.value),
            replayed: self.replayed,
        }
    }
}

impl App {
    /// Connects to the store, follows what IAM publishes there, and finds out how projects are spread.
    ///
    /// # Errors
    /// A store that does not answer, or was written by a newer version.
    pub(crate) async fn open(
        config: Arc<Config>,
        metrics: Metrics,
        grpc: String,
    ) -> anyhow::Result<Self> {
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
        let tls = config.store.tls_files();
        let limits = config.quotas.defaults.clone().into_iter();
        let registered = catalog::register_first(&store, limits).await?;
        let exports = Exports::open(&config.export)?;
        let shards = Shards::open(store, grpc, &config.shards, exports, tls).await?;
        Ok(Self {
            auth,
            shards,
            registered,
            mode,
            config,
        })
    }

    /// Starts what goes on behind the doors, until it is stopped.
    pub(crate) fn start_tasks(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        tasks.spawn(self.shards.clone().run(stop.child_token()));
        let (shards, rows) = (self.shards.clone(), self.registered.clone());
        let stop_telling = stop.child_token();
        tasks.spawn(async move {
            let telling = catalog::tell_all(shards, rows);
            stop_telling.run_until_cancelled(telling).await;
        });
        if let Some(files) = self.config.store.tls_files() {
            let store = self.shards.store().clone();
            tasks.spawn(store.follow_tls(files, stop.child_token()));
        }
        let (knows, store) = (Arc::clone(self), self.shards.store().clone());
        tasks.spawn(follow_acceptance(store, SERVICE, knows, stop.child_token()));
    }

    /// Has a project's ledger do something for the caller of a request, once.
    pub(crate) async fn change(
        &self,
        ctx: &Context,
        given: &Given,
        project: &Name,
        command: Command,
    ) -> Result<Done<Answer>, Error> {
        let key = given.key(ctx, Some(project), &command)?;
        let shard = self.shards.of_project(project);
        self.apply(ctx, shard, key, command).await
    }

    /// Has a shard's ledger do something for the caller of a request.
    pub(crate) async fn apply(
        &self,
        ctx: &Context,
        shard: Shard,
        key: Option<Key>,
        command: Command,
    ) -> Result<Done<Answer>, Error> {
        let request = Request {
            command,
            key,
            by: Some(actor(ctx)?),
        };
        let ask = Ask::Apply(Box::new(request));
        match self.shards.ask(shard, ask, ctx.deadline).await? {
            Reply::Applied { answer, replayed } => Ok(Done {
                value: answer,
                replayed,
            }),
            other => Err(odd(&other)),
        }
    }
}

impl Knows for App {
    async fn forget(&self) {
        self.shards.forget();
    }

    /// The kinds of units are registered where they are not, and every shard hears of them.
    async fn begin_again(&self) {
        let rows = loop {
            let limits = self.config.quotas.defaults.clone().into_iter();
            match catalog::register_first(self.shards.store(), limits).await {
                Ok(rows) => break rows,
                Err(error) => tracing::warn!(%error, "kinds of units are not registered yet"),
            }
            tokio::time::sleep(AGAIN).await;
        };
        catalog::tell_all(self.shards.clone(), rows).await;
    }
}

/// Whom entries name: the caller, and beside it for whom it acts, or who acts as it.
pub(crate) fn actor(ctx: &Context) -> Result<Actor, Error> {
    use std::fmt::Write as _;
    let mut text = ctx.caller.who.to_string();
    // Writing to a string cannot fail.
    if let Some(acting) = &ctx.caller.acting {
        let _ = write!(text, " by {acting}");
    }
    if let Some(behalf) = &ctx.caller.on_behalf {
        let _ = write!(text, " for {}", behalf.principal);
    }
    Actor::new(text).map_err(Error::internal)
}

/// An owner's reply that does not belong to what was asked: a defect.
pub(crate) fn odd(reply: &impl std::fmt::Debug) -> Error {
    Error::internal(format!("the ledger answered with {reply:?}"))
}
