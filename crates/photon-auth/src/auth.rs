//! The front of a service: follows, verifies, decides.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, request::Parts};
use jiff::Timestamp;
use parking_lot::Mutex;
use photon_authz::{Decision, Permission, Policies, PrincipalRef, Question, Scope};
use photon_core::{Code, Error};
use photon_server::{Admission, Authenticator, Identity, Mode, Peer};
use photon_store::{Store, idempotency::Idempotency};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::{
    cache::Tokens,
    caller::{Caller, Who},
    context::Context,
    counts::Counts,
    follow::{Followed, Unfit, ask_every, follow},
    idempotency::{self, Running, Sweeper},
    options::AuthOptions,
    rehearsal::{Rehearsal, WouldRefuse},
    rest::{self, OpenRoutes},
    scheme::{self, Asking, Bearer, DevOperator, Scheme, ServiceCertificate},
    token::{self, Claims, Refused, Trust, Verified, check_key, check_times},
};

/// How long a token that speaks of something unknown waits for news of it.
const NEWS: Duration = Duration::from_secs(1);
/// Anybody can name keys that do not exist; the store is asked for news of one no more often.
const UNKNOWN_KEYS: Duration = Duration::from_secs(1);

/// The front of a service. Clones are one; with the last it ends to follow.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    service: &'static str,
    mode: Mode,
    options: AuthOptions,
    trust: Trust,
    followed: Arc<Followed>,
    tokens: Tokens,
    counts: Counts,
    rehearsal: Rehearsal,
    schemes: Vec<Arc<dyn Scheme>>,
    open: OpenRoutes,
    /// What was made by requests with a key.
    records: Idempotency,
    running: Running,
    /// Whether any route or method creates.
    creates: Arc<AtomicBool>,
    /// When the store was last asked because of a key that was not known.
    asked_for_key: Mutex<Option<Instant>>,
    _stop: DropGuard,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("service", &self.0.service)
            .field("mode", &self.0.mode)
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

/// What the authenticator leaves in a request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) auth: Auth,
    pub(crate) caller: Caller,
}

impl Auth {
    /// Begins to follow what IAM publishes, and returns when it is known. `service` is the word in the log
    /// and in the keys of what is kept here.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the store does not show it within [`AuthOptions::start_timeout`]; `FAILED_PRECONDITION` with the
    /// key when a deny rule or group cannot be read: without it more would be allowed than is.
    pub async fn start(
        store: Store,
        mode: Mode,
        options: AuthOptions,
        service: &'static str,
    ) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let followed = Arc::new(Followed::default());
        let counts = Counts::default();
        if let Some(metrics) = &options.metrics {
            counts.register(metrics);
        }
        let last_error = Arc::new(Mutex::new(None));
        let records = Idempotency::new(store.clone(), service);
        let following = tokio::spawn(follow(
            Arc::clone(&followed),
            store,
            options.max_staleness,
            counts.clone(),
            Arc::clone(&last_error),
            stop.clone(),
        ));
        let creates = Arc::new(AtomicBool::new(false));
        let sweeper = Sweeper {
            records: records.clone(),
            clock: Arc::clone(&options.clock),
            needed: Arc::clone(&creates),
        };
        tokio::spawn(sweeper.run(stop.clone()));
        // From here on, also when this future is dropped, following and sweeping end with `stop`.
        let stop = stop.drop_guard();
        let deadline = Instant::now() + options.start_timeout;
        let begun = tokio::select! {
            begun = followed.heard.begun(deadline) => begun,
            ended = following => match ended {
                Ok(Err(Unfit(key))) => return Err(unfit(&key)),
                Ok(Ok(())) | Err(_) => false,
            },
        };
        if !begun {
            let late = Error::unavailable("the store does not show what IAM publishes");
            return Err(match last_error.lock().take() {
                Some(cause) => late.with_source(cause),
                None => late,
            });
        }
        let mut schemes = options.schemes.clone();
        schemes.push(Arc::new(Bearer));
        schemes.push(Arc::new(ServiceCertificate));
        if mode == Mode::Dev {
            schemes.push(Arc::new(DevOperator));
        }
        Ok(Self(Arc::new(Inner {
            service,
            mode,
            trust: Trust {
                issuer: options.issuer.clone(),
                dev: mode == Mode::Dev,
            },
            tokens: Tokens::new(options.cached_tokens),
            options,
            followed,
            counts,
            rehearsal: Rehearsal::default(),
            schemes,
            open: OpenRoutes::default(),
            records,
            running: Running::default(),
            creates,
            asked_for_key: Mutex::new(None),
            _stop: stop,
        })))
    }

    /// Dev or enforce.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.mode
    }

    /// What it was started with.
    #[must_use]
    pub fn options(&self) -> &AuthOptions {
        &self.0.options
    }

    /// For [`photon_server::Daemon::authenticator`].
    #[must_use]
    pub fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::new(Doorkeeper(self.clone()))
    }

    /// What is decided by at this moment.
    #[must_use]
    pub fn policies(&self) -> arc_swap::Guard<Arc<Policies>> {
        self.0.followed.policies.load()
    }

    /// The revision of the store up to which everything is decided by.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.0.followed.heard.revision()
    }

    /// Waits until everything up to a revision, as a write of IAM returned it, is decided by here.
    ///
    /// # Errors
    /// `UNAVAILABLE` at the deadline.
    pub async fn wait_for(&self, revision: i64, deadline: Instant) -> Result<(), Error> {
        self.0.followed.heard.wait_for(revision, deadline).await
    }

    /// How old what is known may be.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        // It began to follow before it became an `Auth`.
        self.0.followed.heard.staleness().unwrap_or(Duration::MAX)
    }

    /// Since when the store has not answered, while it does not: decisions go on, until [`Auth::check_fresh`] says no.
    #[must_use]
    pub fn silent_since(&self) -> Option<Timestamp> {
        // One question may be on its way.
        let usual = 2 * ask_every(self.0.options.max_staleness);
        self.0.followed.heard.silent_since(usual)
    }

    /// Whether decisions can be made.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the store was not heard of for [`AuthOptions::max_staleness`].
    pub fn check_fresh(&self) -> Result<(), Error> {
        let staleness = self.staleness();
        if staleness <= self.0.options.max_staleness {
            return Ok(());
        }
        let source = format!("the store was not heard of for {staleness:?}");
        Err(Error::unavailable("who may do what cannot be checked at present").with_source(source))
    }

    /// Checks a token: signature, claims, times, revocations, whether its principal and scope are live. What was found
    /// good once costs no signature again.
    ///
    /// # Errors
    /// 401; `UNAVAILABLE` as [`Auth::check_fresh`].
    pub fn verify(&self, token: &str) -> Result<Arc<Claims>, Error> {
        self.check_fresh()?;
        let verified = self.check(token).map_err(|refused| self.refused(refused))?;
        Ok(Arc::clone(&verified.claims))
    }

    /// [`Auth::verify`], but what a token speaks of and nobody here has heard of is asked for first: a token may be
    /// faster than the news of its project.
    pub(crate) async fn believe(&self, token: &str) -> Result<Arc<Verified>, Error> {
        self.check_fresh()?;
        let mut checked = self.check(token);
        if let Err(refused) = checked
            && refused.may_be_news()
            && self.catch_up(refused).await
        {
            checked = self.check(token);
        }
        checked.map_err(|refused| self.refused(refused))
    }

    /// As [`Auth::verify`] for who can wait a moment for news, as the authenticator does.
    ///
    /// # Errors
    /// As [`Auth::verify`].
    pub async fn verify_up_to_date(&self, token: &str) -> Result<Arc<Claims>, Error> {
        let verified = self.believe(token).await?;
        Ok(Arc::clone(&verified.claims))
    }

    fn check(&self, token: &str) -> Result<Arc<Verified>, Refused> {
        if token.len() > token::MAX_TOKEN_BYTES {
            return Err(Refused::TooLong);
        }
        let now = (self.0.options.clock)().as_second();
        let fingerprint = Tokens::fingerprint(token);
        if let Some(verified) = self.0.tokens.get(&fingerprint) {
            match self.check_again(&verified, now) {
                Ok(()) => return Ok(verified),
                // Its key has been written again since, perhaps as it was.
                Err(Refused::UnknownKey) => self.0.tokens.forget(&fingerprint),
                Err(refused) => return Err(refused),
            }
        }
        let keys = Arc::clone(&self.0.followed.known.read().keys);
        let verified = Arc::new(token::verify(token, &keys, &self.0.trust, now)?);
        self.check_again(&verified, now)?;
        self.0.tokens.remember(fingerprint, Arc::clone(&verified));
        Ok(verified)
    }

    /// What may have changed since the signature was checked.
    fn check_again(&self, verified: &Verified, now: i64) -> Result<(), Refused> {
        check_times(&verified.claims, now)?;
        check_key(&verified.key, &self.0.trust, now)?;
        let strict = self.0.mode == Mode::Enforce;
        self.0.followed.known.read().check(verified, strict)
    }

    async fn catch_up(&self, refused: Refused) -> bool {
        if refused == Refused::UnknownKey && !self.may_ask_for_key() {
            return false;
        }
        self.0.followed.heard.catch_up(NEWS).await
    }

    fn may_ask_for_key(&self) -> bool {
        let now = Instant::now();
        let mut asked = self.0.asked_for_key.lock();
        if asked.is_some_and(|asked| now.saturating_duration_since(asked) < UNKNOWN_KEYS) {
            return false;
        }
        *asked = Some(now);
        true
    }

    fn refused(&self, refused: Refused) -> Error {
        self.0.counts.token_refused(refused);
        refused.into()
    }

    /// Whether a principal that proved itself otherwise than by a token may act.
    fn check_standing(&self, caller: &Caller) -> Result<(), Error> {
        let Some(principal) = caller.principal() else {
            return Ok(());
        };
        self.check_fresh()?;
        let known = self.0.followed.known.read();
        known
            .check_principal(principal, None, false)
            .map_err(|refused| self.refused(refused))
    }

    /// Notes for whom a service acts, if it is for somebody for whom there is still something to do (decision 13).
    fn on_behalf(&self, mut caller: Caller, headers: &HeaderMap) -> Result<Caller, Error> {
        let Some(principal) = caller.principal() else {
            return Ok(caller);
        };
        let Some(on_behalf) = scheme::read_on_behalf(principal, headers)? else {
            return Ok(caller);
        };
        let enforce = self.0.mode == Mode::Enforce;
        let known = self.0.followed.known.read();
        if enforce && !known.is_live(&on_behalf.project) {
            let gone = format!("project {} is disabled or gone", on_behalf.project);
            return Err(Error::failed_precondition(gone));
        }
        if known
            .check_principal(&on_behalf.principal, None, false)
            .is_err()
        {
            let disabled = format!("{} is disabled", on_behalf.principal);
            return Err(Error::failed_precondition(disabled));
        }
        caller.on_behalf = Some(on_behalf);
        Ok(caller)
    }

    /// Who a request is from, whatever its route: what the authenticator asks, for the handlers of open routes. `None`: it
    /// has no credential (in dev mode that is the operator).
    ///
    /// # Errors
    /// 401 for a bad credential; `UNAVAILABLE` as [`Auth::check_fresh`].
    pub async fn caller(
        &self,
        request: &Parts,
        peer: Option<&Peer>,
    ) -> Result<Option<Caller>, Error> {
        let asking = Asking {
            auth: self,
            request,
            peer,
        };
        for scheme in &self.0.schemes {
            if let Some(caller) = scheme.caller(asking).await? {
                // With a token this was asked already, and more.
                if caller.token_id.is_none() {
                    self.check_standing(&caller)?;
                }
                return self.on_behalf(caller, &request.headers).map(Some);
            }
        }
        Ok(None)
    }

    /// The context of a caller that the handler of an open route has found by itself: by [`Auth::caller`], or by what the
    /// body shows.
    #[must_use]
    pub fn context(
        &self,
        caller: Caller,
        permission: Permission,
        request_id: Uuid,
        deadline: Instant,
    ) -> Context {
        Context::new(self.clone(), caller, permission, request_id, deadline)
    }

    /// [`Auth::caller`], no more often than it may ask.
    pub(crate) async fn admit(
        &self,
        request: &Parts,
        peer: Option<&Peer>,
    ) -> Result<Option<Caller>, Error> {
        let caller = self.caller(request, peer).await?;
        if let (Some(caller), Some(limit)) = (&caller, &self.0.options.rate_limit) {
            limit(caller).map_err(too_often)?;
        }
        Ok(caller)
    }

    /// Decides. In dev mode what policy would refuse is allowed, logged and counted.
    ///
    /// # Errors
    /// `FORBIDDEN`; `UNAVAILABLE` as [`Auth::check_fresh`].
    pub fn decide(
        &self,
        caller: &Caller,
        permission: &Permission,
        scope: &Scope,
    ) -> Result<(), Error> {
        self.decide_for(caller, permission, scope, None)
    }

    pub(crate) fn decide_for(
        &self,
        caller: &Caller,
        permission: &Permission,
        scope: &Scope,
        request_id: Option<Uuid>,
    ) -> Result<(), Error> {
        let Who::Principal(principal) = &caller.who else {
            return self.allow_operator();
        };
        self.check_fresh()?;
        match self.ask(caller, principal, permission, scope) {
            Decision::Allow { .. } => Ok(()),
            Decision::Deny { reason } if self.0.mode == Mode::Dev => {
                self.note_would_refuse(principal, permission, Some(scope));
                tracing::warn!(
                    service = self.0.service,
                    request_id = request_id.map(tracing::field::display),
                    caller = %caller.who,
                    %permission,
                    %scope,
                    ?reason,
                    "enforce would refuse"
                );
                Ok(())
            }
            Decision::Deny { reason } => {
                self.0.counts.forbidden(permission);
                tracing::debug!(
                    service = self.0.service,
                    request_id = request_id.map(tracing::field::display),
                    caller = %caller.who,
                    %permission,
                    %scope,
                    ?reason,
                    "refused"
                );
                Err(forbidden(principal, permission, scope))
            }
        }
    }

    pub(crate) fn note_would_refuse(
        &self,
        principal: &PrincipalRef,
        permission: &Permission,
        scope: Option<&Scope>,
    ) {
        self.0.counts.would_refuse(permission);
        let now = self.now();
        self.0.rehearsal.note(principal, permission, scope, now);
    }

    /// What this process let pass in dev mode that enforce mode would refuse: at most a thousand kinds, the most frequent
    /// first.
    #[must_use]
    pub fn would_refuse(&self) -> Vec<WouldRefuse> {
        self.0.rehearsal.all()
    }

    /// What policy says, in either mode, without a word in the log.
    pub(crate) fn policy_allows(
        &self,
        caller: &Caller,
        permission: &Permission,
        scope: &Scope,
    ) -> bool {
        match &caller.who {
            Who::DevOperator => self.0.mode == Mode::Dev,
            Who::Principal(principal) => {
                self.ask(caller, principal, permission, scope).is_allowed()
            }
        }
    }

    fn ask(
        &self,
        caller: &Caller,
        principal: &PrincipalRef,
        permission: &Permission,
        scope: &Scope,
    ) -> Decision {
        self.policies().decide(&Question {
            principal,
            permission,
            scope,
            now: self.now(),
            source: caller.source,
            limit: caller.limit.as_ref(),
        })
    }

    fn allow_operator(&self) -> Result<(), Error> {
        match self.0.mode {
            Mode::Dev => Ok(()),
            // No scheme of enforce mode makes one.
            Mode::Enforce => Err(Error::forbidden("there is no operator in enforce mode")),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0.options.clock)()
    }

    pub(crate) fn service(&self) -> &'static str {
        self.0.service
    }

    /// The records of idempotency keys of this service.
    #[must_use]
    pub fn idempotency(&self) -> &Idempotency {
        &self.0.records
    }

    /// Forgets idempotency keys that are a day old, as is done every minute, and says how many.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget_old_keys(&self) -> Result<usize, photon_store::Error> {
        idempotency::forget_old(&self.0.records, self.now()).await
    }

    pub(crate) fn running(&self) -> &Running {
        &self.0.running
    }

    /// There is something that creates, so there will be records to forget.
    pub(crate) fn note_creates(&self) {
        self.0.creates.store(true, Ordering::Relaxed);
    }

    pub(crate) fn open_routes(&self) -> &OpenRoutes {
        &self.0.open
    }
}

fn unfit(key: &str) -> Error {
    Error::failed_precondition(format!(
        "{key} in the store cannot be read, and without it more would be allowed than is: start a version that reads it, \
         or restore or remove it"
    ))
}

fn forbidden(principal: &PrincipalRef, permission: &Permission, scope: &Scope) -> Error {
    Error::forbidden(format!("{principal} may not do {permission} at {scope}"))
        .with_details(json!({ "permission": permission, "scope": scope }))
}

fn too_often(wait: Duration) -> Error {
    // Rounded up: who waits that long is let in.
    let seconds = wait.as_secs().saturating_add(1);
    Error::new(
        Code::RATE_LIMITED,
        format!("too many requests; try again in {seconds} s"),
    )
    .with_details(json!({ "retry_after_seconds": seconds }))
}

/// The authenticator of a REST door.
struct Doorkeeper(Auth);

impl Authenticator for Doorkeeper {
    /// RFC 6750, 3.
    fn challenge(&self) -> Option<HeaderValue> {
        Some(HeaderValue::from_static("Bearer realm=\"photoncloud\""))
    }

    fn authenticate<'a>(
        &'a self,
        request: &'a Parts,
        peer: Option<&'a Peer>,
    ) -> BoxFuture<'a, Result<Option<Identity>, Error>> {
        Box::pin(async move {
            let caller = self.0.admit(request, peer).await?;
            Ok(caller.map(|caller| identity(&caller, peer)))
        })
    }

    fn admit<'a>(
        &'a self,
        request: &'a mut Parts,
        peer: Option<&'a Peer>,
    ) -> BoxFuture<'a, Result<Admission, Error>> {
        Box::pin(async move {
            if rest::is_open(self.0.open_routes(), request) {
                return Ok(Admission::Open);
            }
            let Some(caller) = self.0.admit(request, peer).await? else {
                return Ok(Admission::Anonymous);
            };
            let identity = identity(&caller, peer);
            request.extensions.insert(Admitted {
                auth: self.0.clone(),
                caller,
            });
            Ok(Admission::Known(identity))
        })
    }
}

/// The caller as photon-server's log shows it.
fn identity(caller: &Caller, peer: Option<&Peer>) -> Identity {
    let certificate = peer.and_then(|peer| peer.certificate.as_ref());
    match (&caller.who, &caller.token_id, certificate) {
        (Who::DevOperator, ..) => Identity::DevOperator,
        (Who::Principal(_), None, Some(certificate)) => {
            Identity::Certificate(Arc::clone(certificate))
        }
        (Who::Principal(principal), ..) => Identity::Token {
            subject: principal.to_string().into(),
        },
    }
}
