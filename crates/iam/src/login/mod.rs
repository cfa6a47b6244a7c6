//! Who is at the door, before there is a token: passwords, API keys, certificates, other tokens.
//!
//! ```text
//!   Authorization: Basic name:password, Bearer phk_…, Bearer <token>     client certificate     body: password | api_key
//!                     └───────────────┬───────────────────────────────────────┘                      │
//!                                     v                                                              v
//!                             somebody (a Caller)                                        the principal itself
//! ```
//!
//! Every look at a password or key takes a guess from [`crate::guess`] first. What fails says the same for a wrong secret,
//! for a principal that does not exist or is disabled and for one that has no such credential, and costs the same.

mod authorization;

use std::{convert::Infallible, net::IpAddr, time::Instant};

use axum::extract::FromRequestParts;
use http::{Extensions, HeaderMap, header, request::Parts};
use photon_auth::{Caller, Context, Who};
use photon_authz::{PrincipalKind, PrincipalRef};
use photon_core::Error;
use photon_server::{Deadline, Peer, RequestId};
use uuid::Uuid;

pub(crate) use self::authorization::Authorization;
use crate::{
    app::App,
    credential::{Secret, verify},
    guess::Attempt,
    principal,
};

/// How long a request without a deadline may take.
const WITHOUT_DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);

/// What a request on a route for everybody shows of its caller.
#[derive(Clone, Debug)]
pub struct Presented {
    pub(crate) authorization: Authorization,
    peer: Option<Peer>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) request_id: Uuid,
    pub(crate) deadline: tokio::time::Instant,
}

impl Presented {
    /// Reads it; an `Authorization` that is nothing known is a bad credential, which only [`Presented::caller`] says.
    #[must_use]
    pub fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let peer = extensions.get::<Peer>();
        let deadline = extensions.get::<Deadline>().map_or_else(
            || tokio::time::Instant::now() + WITHOUT_DEADLINE,
            |deadline| deadline.0,
        );
        Self {
            authorization: Authorization::of(headers.get(header::AUTHORIZATION)),
            source: peer.map(|peer| peer.addr.ip().to_canonical()),
            peer: peer.cloned(),
            request_id: extensions
                .get::<RequestId>()
                .map_or_else(Uuid::new_v4, |id| id.0),
            deadline,
        }
    }

    /// Whoever the request proves to be from; `None` if it shows nothing. `kind`: which kind of principal a name in Basic
    /// is one of.
    ///
    /// # Errors
    /// A credential that is bad, in either mode.
    pub(crate) async fn caller(
        &self,
        app: &App,
        kind: PrincipalKind,
    ) -> Result<Option<Caller>, Error> {
        match &self.authorization {
            Authorization::None => self.without_header(app).await,
            Authorization::Basic { name, secret } => {
                let claimed = PrincipalRef::new(kind, name.clone());
                by_secret(app, &claimed, secret.clone(), self.source).await?;
                Ok(Some(self.proved(claimed)))
            }
            Authorization::ApiKey(key) => {
                let owner = by_api_key(app, key, self.source).await?;
                Ok(Some(self.proved(owner)))
            }
            Authorization::Token(token) => {
                let claims = app.auth.verify_up_to_date(token.expose()).await?;
                Ok(Some(Caller {
                    who: Who::Principal(claims.principal()),
                    limit: claims.limit(),
                    source: self.source,
                    on_behalf: None,
                    token_id: Some(claims.jti.as_str().into()),
                    acting: claims.acting().cloned(),
                }))
            }
            Authorization::Bad => Err(Error::unauthenticated(
                "the Authorization header is neither Basic nor Bearer, or is not whole",
            )),
        }
    }

    /// By its certificate; in dev mode without one the operator.
    async fn without_header(&self, app: &App) -> Result<Option<Caller>, Error> {
        let (nothing, ()) = http::Request::new(()).into_parts();
        let Some(caller) = app.auth.caller(&nothing, self.peer.as_ref()).await? else {
            return Ok(None);
        };
        if let Some(principal) = caller.principal()
            && !is_live(app, principal).await?
        {
            return Err(refused());
        }
        Ok(Some(caller))
    }

    /// The principal that it proves to be from.
    pub(crate) fn proved(&self, principal: PrincipalRef) -> Caller {
        Caller {
            who: Who::Principal(principal),
            limit: None,
            source: self.source,
            on_behalf: None,
            token_id: None,
            acting: None,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Presented {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers, &parts.extensions))
    }
}

/// What everybody is told whose proof fails.
pub(crate) fn refused() -> Error {
    Error::unauthenticated("the credential is not accepted")
}

/// Proves a principal by its password, or by an API key in its place.
///
/// # Errors
/// `UNAUTHENTICATED`, `RATE_LIMITED`, `OVERLOADED`, those of the store.
pub(crate) async fn by_secret(
    app: &App,
    principal: &PrincipalRef,
    secret: Secret,
    source: Option<IpAddr>,
) -> Result<(), Error> {
    if verify::key_id(&secret).is_some() {
        let owner = by_api_key(app, &secret, source).await?;
        return if owner == *principal {
            Ok(())
        } else {
            tell(principal, source, "an API key of somebody else");
            Err(refused())
        };
    }
    by_password(app, principal, secret, source).await
}

async fn by_password(
    app: &App,
    principal: &PrincipalRef,
    password: Secret,
    source: Option<IpAddr>,
) -> Result<(), Error> {
    let attempt = app
        .guess
        .begin(&format!("password:{principal}"), source, Instant::now())?;
    let right = async {
        let right = verify::password(app, principal, password).await?;
        // Looked at in any case, as what is looked at takes time.
        let live = is_live(app, principal).await?;
        Ok(right && live)
    };
    judge(attempt, right.await, principal, source)
}

/// Whose API key this is.
///
/// # Errors
/// As [`by_secret`].
pub(crate) async fn by_api_key(
    app: &App,
    key: &Secret,
    source: Option<IpAddr>,
) -> Result<PrincipalRef, Error> {
    let id = verify::key_id(key);
    // What is no key at all counts for the address only as one more name.
    let name = id.map_or_else(|| "api_key".to_owned(), |id| format!("api_key:{id}"));
    let attempt = app.guess.begin(&name, source, Instant::now())?;
    let found = async {
        let Some(id) = id else { return Ok(None) };
        let Some(owner) = verify::api_key(app, id, key).await? else {
            return Ok(None);
        };
        let live = is_live(app, &owner).await?;
        Ok(live.then_some(owner))
    };
    match found.await {
        Ok(Some(owner)) => {
            attempt.give_back();
            Ok(owner)
        }
        Ok(None) => {
            drop(attempt);
            tracing::info!(
                source = source.map(tracing::field::display),
                "an API key was refused"
            );
            Err(refused())
        }
        Err(error) => {
            attempt.give_back();
            Err(error)
        }
    }
}

/// The caller's own password, asked for once more.
///
/// # Errors
/// As [`by_secret`]; the message names the field.
pub(crate) async fn own_password(
    app: &App,
    ctx: &Context,
    principal: &PrincipalRef,
    field: &str,
    password: Secret,
) -> Result<(), Error> {
    let source = ctx.caller.source;
    let attempt = app
        .guess
        .begin(&format!("password:{principal}"), source, Instant::now())?;
    let right = verify::password(app, principal, password).await;
    judge(attempt, right, principal, source).map_err(|error| {
        if error.code() == photon_core::Code::UNAUTHENTICATED {
            return Error::unauthenticated(format!("{field} is not the password"));
        }
        error
    })
}

fn judge(
    attempt: Attempt,
    right: Result<bool, Error>,
    principal: &PrincipalRef,
    source: Option<IpAddr>,
) -> Result<(), Error> {
    match right {
        Ok(true) => {
            attempt.give_back();
            Ok(())
        }
        Ok(false) => {
            drop(attempt);
            tell(principal, source, "a wrong password");
            Err(refused())
        }
        Err(error) => {
            attempt.give_back();
            Err(error)
        }
    }
}

fn tell(principal: &PrincipalRef, source: Option<IpAddr>, what: &str) {
    tracing::info!(%principal, source = source.map(tracing::field::display), what, "a proof was refused");
}

/// Whether a principal may act: in enforce mode it is known, and in neither disabled.
async fn is_live(app: &App, principal: &PrincipalRef) -> Result<bool, Error> {
    let state = principal::read(app, principal).await?;
    Ok(match state {
        Some(state) => !state.value.disabled,
        // The suite's authority vouches for services.
        None => app.is_dev() || principal.kind == PrincipalKind::Service,
    })
}
