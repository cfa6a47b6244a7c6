//! A request of a known caller, as use cases take it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::extract::FromRequestParts;
use http::request::Parts;
use photon_authz::{Permission, PrincipalRef, Scope, Visible};
use photon_core::{Code, Error};
use photon_server::{Mode, RestError};
use photon_store::Transaction;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    auth::Auth,
    caller::{Caller, Who},
    idempotency::{Attempt, Tell},
};

/// Who asks, what its route declared, and the means to decide. Clones are one: a decision by any is a decision.
///
/// A REST handler takes it as an argument, a gRPC method by [`Context::of`]. Every request must be decided on by one of
/// the `allow…` methods or [`Context::visible`]; an answer without that is held back.
#[derive(Clone)]
pub struct Context {
    /// Who asks.
    pub caller: Caller,
    /// The id of the request.
    pub request_id: Uuid,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
    permission: Permission,
    auth: Auth,
    decided: Arc<AtomicBool>,
    /// Of a request that creates and has an idempotency key.
    pub(crate) attempt: Option<Arc<Attempt>>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("caller", &self.caller)
            .field("request_id", &self.request_id)
            .field("permission", &self.permission)
            .finish_non_exhaustive()
    }
}

impl Context {
    pub(crate) fn new(
        auth: Auth,
        caller: Caller,
        permission: Permission,
        request_id: Uuid,
        deadline: Instant,
    ) -> Self {
        Self {
            caller,
            request_id,
            deadline,
            permission,
            auth,
            decided: Arc::new(AtomicBool::new(false)),
            attempt: None,
        }
    }

    /// The context of a gRPC request that passed a [`crate::grpc::Guard`].
    ///
    /// # Errors
    /// `INTERNAL` where no guard stands before the method, or it is declared open.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, tonic::Status> {
        let context = request.extensions().get::<Self>().cloned();
        context.ok_or_else(|| photon_server::grpc::status(&missing()))
    }

    /// What the route or method declared that it does.
    #[must_use]
    pub fn permission(&self) -> &Permission {
        &self.permission
    }

    /// The front this request came through.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Lets the request go on if the caller may do what the route declared at a scope.
    ///
    /// # Errors
    /// `FORBIDDEN`; `UNAVAILABLE` when nothing can be decided at present.
    pub fn allow(&self, scope: &Scope) -> Result<(), Error> {
        self.allow_permission(&self.permission, scope)
    }

    /// As [`Context::allow`] for what a caller must not learn the existence of: if it may not even get such a thing there,
    /// it is told that there is none. `what` is the thing in words, `project shop`.
    ///
    /// # Errors
    /// `NOT_FOUND`, `FORBIDDEN`; `UNAVAILABLE` when nothing can be decided at present.
    pub fn allow_hidden(&self, scope: &Scope, what: impl fmt::Display) -> Result<(), Error> {
        self.allow(scope).map_err(|error| {
            if error.code() == Code::FORBIDDEN && !self.may_get(scope) {
                Error::not_found(what)
            } else {
                error
            }
        })
    }

    /// As [`Context::allow`] for another permission than the declared one.
    ///
    /// # Errors
    /// `FORBIDDEN`; `UNAVAILABLE` when nothing can be decided at present.
    pub fn allow_permission(&self, permission: &Permission, scope: &Scope) -> Result<(), Error> {
        self.auth
            .decide_for(&self.caller, permission, scope, Some(self.request_id))?;
        self.decide();
        if let Some(attempt) = &self.attempt {
            attempt.note(permission, scope);
        }
        Ok(())
    }

    /// To be called by a use case that creates, with the transaction that makes the thing: if the request has an
    /// `Idempotency-Key`, what it makes is recorded in this very transaction, and of all requests with this key only one
    /// commits; the others get [`photon_store::Error::Done`], and from the door the answer of the first, or 409. `kind` and
    /// `id` are for those who cannot be told that answer.
    ///
    /// It needs one requirement and two writes of the transaction.
    ///
    /// # Errors
    /// None that a key of ours causes.
    pub fn once(
        &self,
        transaction: &mut Transaction,
        kind: &str,
        id: &str,
        tell: Tell,
    ) -> photon_store::Result<()> {
        match &self.attempt {
            Some(attempt) => attempt.record(self, transaction, kind, id, tell),
            None => Ok(()),
        }
    }

    /// Lets the request go on without asking policy: for what everybody may do to what is their own. That it is, the use
    /// case has found out.
    pub fn allow_self(&self) {
        self.decide();
    }

    /// Where the caller may do what the route declared, for lists. A token's scope narrows it. In dev mode it is
    /// everything else.
    ///
    /// # Errors
    /// `UNAVAILABLE` when nothing can be decided at present.
    pub fn visible(&self) -> Result<Visible, Error> {
        if self.caller.principal().is_some() {
            self.auth.check_fresh()?;
        }
        self.decide();
        let policies = self.auth.policies();
        let visible = match &self.caller.who {
            Who::DevOperator => Visible::everything(),
            Who::Principal(principal) => {
                let (now, source) = (self.auth.now(), self.caller.source);
                let visible = policies.scopes_with(principal, &self.permission, now, source);
                if self.auth.mode() == Mode::Dev {
                    self.note_hidden(principal, &visible);
                    Visible::everything()
                } else {
                    visible
                }
            }
        };
        Ok(match &self.caller.limit {
            Some(limit) => policies.within_limit(visible, limit),
            None => visible,
        })
    }

    fn note_hidden(&self, principal: &PrincipalRef, visible: &Visible) {
        if visible.is_empty() {
            self.auth
                .note_would_refuse(principal, &self.permission, None);
            tracing::warn!(
                service = self.auth.service(),
                request_id = %self.request_id,
                caller = %self.caller.who,
                permission = %self.permission,
                "enforce would refuse: it would list nothing"
            );
        }
    }

    /// Lets the request go on about what is the same everywhere, for whoever may do what the route declared anywhere.
    ///
    /// # Errors
    /// `FORBIDDEN`; `UNAVAILABLE` when nothing can be decided at present.
    pub fn allow_somewhere(&self) -> Result<(), Error> {
        if self.visible()?.is_empty() {
            return Err(Error::forbidden(format!(
                "{} is allowed nowhere",
                self.permission
            )));
        }
        Ok(())
    }

    /// Whether policy gives the caller a permission at a scope, in either mode: for answers that show some callers more than
    /// others. It lets no request go on.
    #[must_use]
    pub fn is_given(&self, permission: &Permission, scope: &Scope) -> bool {
        self.auth.policy_allows(&self.caller, permission, scope)
    }

    fn may_get(&self, scope: &Scope) -> bool {
        let [service, resource, _] = self.permission.segments();
        Permission::new(format!("{service}.{resource}.get"))
            .is_ok_and(|get| self.is_given(&get, scope))
    }

    fn decide(&self) {
        self.decided.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_decided(&self) -> bool {
        self.decided.load(Ordering::Relaxed)
    }
}

/// A handler asks for a context where there is none: a defect of the service.
fn missing() -> Error {
    Error::internal("no context: the route is open, or not declared by photon_auth::rest::Routes")
}

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, RestError> {
        let context = parts.extensions.get::<Self>().cloned();
        context.ok_or_else(|| missing().into())
    }
}
