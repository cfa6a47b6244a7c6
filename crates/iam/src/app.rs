//! What every use case shares: the store, the decisions, the mode; and the one place where changes are committed.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use photon_auth::{Auth, AuthOptions, Context, Tell};
use photon_authz::{Permission, Policies};
use photon_core::Error;
use photon_server::{Metrics, Mode};
use photon_service::store_change::{Knows, follow_acceptance};
use photon_store::{Collection, Record, Store, Transaction};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    audit::{self, Act, Actor, Audit, Entry},
    config::Config,
    contention::Lost,
    credential::{Hasher, Registered, Used},
    guess::Guess,
    run::SERVICE,
    signing::Signing,
    user::email,
};

/// What everything else here rests on, when it is not there.
pub(crate) const UNGUARDED: &str = "the store refuses nothing: whoever reaches it can change who may do what, until \
     `photonctl store init` has been run and services come with certificates";

/// How long a write that was done waits for this process to decide by it.
const SEEN_WITHIN: Duration = Duration::from_secs(3);
/// Before what failed in a store that was accepted is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// The service without its doors.
pub struct App {
    pub(crate) store: Store,
    pub(crate) auth: Auth,
    pub(crate) audit: Audit,
    pub(crate) mode: Mode,
    pub(crate) config: Arc<Config>,
    pub(crate) signing: Signing,
    pub(crate) guess: Guess,
    pub(crate) hasher: Hasher,
    pub(crate) used: Used,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl App {
    /// Connects to the store, follows what is published there, and reads the signing keys.
    ///
    /// # Errors
    /// A store that does not answer; in enforce mode, that there was no first start.
    pub(crate) async fn open(config: Arc<Config>, metrics: Metrics) -> anyhow::Result<Self> {
        let store = Store::connect(config.store.options()?)
            .await
            .with_context(|| format!("the store at {}", config.store.endpoints.join(", ")))?;
        if config.auth.mode == Mode::Enforce && !store.is_guarded().await? {
            tracing::warn!("{UNGUARDED}");
        }
        if config.users.unique_email {
            email::claim_all(&store).await?;
        }
        let used = Used::new(store.clone());
        let certificates = Registered::new(store.clone(), used.clone());
        let (mode, issuer) = (config.auth.mode, config.issuer.clone());
        let options = AuthOptions {
            issuer: issuer.clone(),
            max_staleness: Duration::from_secs(config.auth.max_staleness_seconds),
            schemes: vec![Arc::new(certificates)],
            metrics: Some(metrics),
            ..AuthOptions::default()
        };
        let auth = Auth::start(store.clone(), mode, options, SERVICE).await?;
        let audit = Audit::open(store.clone());
        let signing =
            Signing::start(store.clone(), audit.clone(), mode, &issuer, &config.signing).await?;
        Ok(Self {
            store,
            auth,
            audit,
            mode,
            signing,
            guess: Guess::new(&config.guessing),
            hasher: Hasher::new()?,
            used,
            config,
        })
    }

    /// Starts what goes on behind the doors, until it is stopped.
    pub(crate) fn start_tasks(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        tasks.spawn(self.signing.clone().run(stop.child_token()));
        tasks.spawn(audit::export::run(Arc::clone(self), stop.child_token()));
        if let Some(files) = self.config.store.tls_files() {
            tasks.spawn(self.store.clone().follow_tls(files, stop.child_token()));
        }
        let (knows, store) = (Arc::clone(self), self.store.clone());
        tasks.spawn(follow_acceptance(store, SERVICE, knows, stop.child_token()));
    }

    /// What is done at the start in the store, and again in one that was accepted.
    async fn begin(&self) -> Result<(), Error> {
        if self.config.users.unique_email {
            email::claim_all(&self.store).await?;
        }
        self.signing.maintain(Timestamp::now()).await
    }

    /// Whether unknown orgs, projects and principals are taken as they come.
    pub(crate) fn is_dev(&self) -> bool {
        self.mode == Mode::Dev
    }

    /// The records of one type.
    pub(crate) fn records<T: Record>(&self) -> Collection<T> {
        self.store.collection()
    }

    /// What decisions are made from now. A change that is waited for shows in the next one.
    pub(crate) fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.auth.policies())
    }

    /// Does a transaction with its audit record, of things that only this service reads.
    pub(crate) async fn commit(
        &self,
        ctx: &Context,
        transaction: Transaction,
        act: Act,
    ) -> photon_store::Result<i64> {
        let done = self.audit.commit(&transaction, &act.within(ctx)).await?;
        Ok(done.revision)
    }

    /// Does a transaction with its audit record that writes something published, and returns its revision once this
    /// process decides by it.
    pub(crate) async fn publish(
        &self,
        ctx: &Context,
        transaction: Transaction,
        act: Act,
    ) -> photon_store::Result<i64> {
        let revision = self.commit(ctx, transaction, act).await?;
        self.seen(ctx.deadline, revision).await;
        Ok(revision)
    }

    /// [`App::commit`] of the transaction that makes what the request asked for: once for each idempotency key.
    pub(crate) async fn commit_new(
        &self,
        ctx: &Context,
        mut transaction: Transaction,
        act: Act,
        tell: Tell,
    ) -> photon_store::Result<i64> {
        ctx.once(&mut transaction, act.kind(), act.id(), tell)?;
        self.commit(ctx, transaction, act).await
    }

    /// [`App::publish`] of the transaction that makes what the request asked for: once for each idempotency key.
    pub(crate) async fn publish_new(
        &self,
        ctx: &Context,
        mut transaction: Transaction,
        act: Act,
    ) -> photon_store::Result<i64> {
        ctx.once(&mut transaction, act.kind(), act.id(), Tell::Again)?;
        self.publish(ctx, transaction, act).await
    }

    /// [`App::publish`] of what dev mode makes on first use, for a request if one asked for it with a credential.
    pub(crate) async fn publish_implicit(
        &self,
        ctx: Option<&Context>,
        transaction: Transaction,
        act: Act,
        action: &str,
    ) -> Result<i64, Lost> {
        let act = act.detail("implicit", true);
        let done = match ctx {
            Some(ctx) => self.publish(ctx, transaction, act).await,
            None => {
                let action = Permission::new(action).map_err(Error::internal)?;
                let entry = act.by(Actor::local("dev-mode"), action);
                let deadline = Instant::now() + SEEN_WITHIN;
                self.publish_by_itself(deadline, transaction, &entry).await
            }
        };
        done.map_err(Lost::to_create)
    }

    /// [`App::publish`] of what no context stands for: the entry says who does it, and what.
    pub(crate) async fn publish_by_itself(
        &self,
        deadline: Instant,
        transaction: Transaction,
        entry: &Entry,
    ) -> photon_store::Result<i64> {
        let done = self.audit.commit(&transaction, entry).await?;
        self.seen(deadline, done.revision).await;
        Ok(done.revision)
    }

    /// Waits until this process decides by a revision, so that the client's next request sees what it did. The write has
    /// happened: that the wait ends without it is no error of the request.
    async fn seen(&self, deadline: Instant, revision: i64) {
        let deadline = deadline.min(Instant::now() + SEEN_WITHIN);
        if let Err(error) = self.auth.wait_for(revision, deadline).await {
            tracing::warn!(%error, revision, "a change is stored and not yet followed here");
        }
    }
}

impl Knows for App {
    async fn forget(&self) {
        self.audit.forget().await;
        self.signing.forget();
        self.used.forget();
    }

    async fn begin_again(&self) {
        while let Err(error) = self.begin().await {
            tracing::warn!(%error, "the store is not ready for this service yet");
            tokio::time::sleep(AGAIN).await;
        }
        if self.signing.signer(Timestamp::now()).is_err() {
            tracing::error!("there is no signing key in this store: run `iam init`");
        }
    }
}
