//! The use cases of tokens.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use photon_auth::{Caller, Claims, Context, Who};
use photon_authz::{Org, Permission, PrincipalKind, PrincipalRef, Project, Revoked, Scope};
use photon_core::{Code, Error, Name};

use super::{Ask, Issued, Proof, Revocation, Subject, Terms, What, claims::moment};
use crate::{
    app::App,
    audit::Act,
    contention::{Lost, contended},
    credential::service::{allow_about, home_of},
    escalation,
    login::{self, Presented},
    principal, project, scope,
};

/// A revocation is kept this much longer than its token lives: clocks differ.
pub(crate) const MARGIN: Duration = Duration::from_secs(120);

/// Issues a token.
///
/// # Errors
/// `UNAUTHENTICATED` without a proof in enforce mode, and with a wrong one in either; `FORBIDDEN` for a scope where the
/// principal has nothing, and for a caller that may not act for it.
pub async fn issue(app: &App, presented: &Presented, ask: Ask) -> Result<Issued, Error> {
    let ttl = app.config.tokens.ttl(ask.ttl_seconds)?;
    if ask.principal.kind == PrincipalKind::Group {
        return Err(Error::validation(
            "principal_type",
            "enum",
            "principal_type must be one of user, service_account, service",
        ));
    }
    let caller = asker(app, presented, &ask).await?;
    let ctx = app.auth.context(
        caller.clone(),
        permission("iam.tokens.issue")?,
        presented.request_id,
        presented.deadline,
    );
    // In this order, so that who may do nothing there learns neither of principals nor of scopes which there are.
    let itself = ctx.caller.who == Who::DevOperator || ctx.caller.is(&ask.principal);
    if !itself {
        let home = home_of(app, &ask.principal).await?;
        let impersonate = permission("iam.tokens.impersonate")?;
        allow_about(&ctx, &impersonate, &ask.principal, &home)?;
    }
    let scope = scope_of(app, &ask.scope).await?;
    refuse_unbound(app, &ctx, &ask.principal, &scope)?;
    if itself {
        refuse_wider(app, &ctx, &scope)?;
    } else {
        escalation::must_hold_all_of(app, &ctx, &ask.principal, Some(&scope))?;
    }
    let until = end_of_bearer(app, presented).await?;
    let subject = subject(app, ask.principal, scope).await?;
    subject.wait().await?;
    let acting = acting(&caller, itself);
    let terms = Terms {
        until,
        acting,
        ..Terms::of(ttl)
    };
    let issued = subject.sign(&app.signing, terms)?;
    if acting.is_some() {
        record_impersonation(app, presented, &caller, &subject, &issued).await?;
    }
    tracing::info!(
        request_id = %presented.request_id,
        principal = %subject.principal,
        scope = %subject.scope,
        by = %caller.who,
        acting = acting.map(tracing::field::display),
        jti = issued.claims.jti,
        "issued a token"
    );
    Ok(issued)
}

/// Who will act as the token's principal, if that is somebody else: the caller, or who acts as the caller already.
fn acting(caller: &Caller, itself: bool) -> Option<&PrincipalRef> {
    let caller_itself = if itself { None } else { caller.principal() };
    caller.acting.as_ref().or(caller_itself)
}

/// Before anybody has the token: what is done with it is done by somebody else than it says.
async fn record_impersonation(
    app: &App,
    presented: &Presented,
    caller: &Caller,
    subject: &Subject,
    issued: &Issued,
) -> Result<(), Error> {
    let ctx = app.auth.context(
        caller.clone(),
        permission("iam.tokens.impersonate")?,
        presented.request_id,
        presented.deadline,
    );
    let principal = &subject.principal;
    let act = Act::new(
        principal.kind.as_str(),
        &principal.id,
        subject.scope.clone(),
    )
    .detail("token_id", issued.claims.jti.as_str())
    .detail("expires_at", moment(issued.claims.exp).to_string());
    app.commit(&ctx, app.store.transaction(), act).await?;
    Ok(())
}

pub(crate) fn permission(text: &str) -> Result<Permission, Error> {
    text.parse()
        .map_err(|error: photon_authz::permission::PermissionError| Error::internal(error))
}

/// Who asks.
async fn asker(app: &App, presented: &Presented, ask: &Ask) -> Result<Caller, Error> {
    let own = match &ask.proof {
        Some(Proof::Password(secret) | Proof::ApiKey(secret)) => Some(secret.clone()),
        None => None,
    };
    if let Some(secret) = own {
        if presented.authorization != login::Authorization::None {
            return Err(Error::validation(
                "Authorization",
                "exclusive",
                "give one proof: the Authorization header, password or api_key",
            ));
        }
        match &ask.proof {
            Some(Proof::ApiKey(_)) => {
                let owner = login::by_api_key(app, &secret, presented.source).await?;
                if owner != ask.principal {
                    return Err(login::refused());
                }
            }
            _ => login::by_secret(app, &ask.principal, secret, presented.source).await?,
        }
        return Ok(presented.proved(ask.principal.clone()));
    }
    let caller = presented.caller(app, ask.principal.kind).await?;
    caller.ok_or_else(|| {
        Error::unauthenticated(
            "a proof is required: password, api_key, an Authorization header or a client certificate",
        )
    })
}

/// What the scope's bare id means. What there is not and what one may do nothing at are told the same.
async fn scope_of(app: &App, id: &Name) -> Result<Scope, Error> {
    match scope::resolve(app, id).await? {
        Some(scope) => Ok(scope),
        None if app.is_dev() => {
            project::ensure_implicit(app, id).await?;
            Ok(Scope::Project(id.clone()))
        }
        None => Err(unbound(id.as_str())),
    }
}

pub(crate) fn unbound(scope: &str) -> Error {
    Error::forbidden(format!("the principal has no binding at scope {scope}"))
}

/// The principal and the scope as the store has them now, not as they were heard of: right after everything was revoked
/// a token must be issued for the new epoch.
pub(crate) async fn subject(
    app: &App,
    principal: PrincipalRef,
    scope: Scope,
) -> Result<Subject, Error> {
    let mut epoch = 0;
    match principal::read(app, &principal).await? {
        Some(state) if state.value.disabled => return Err(login::refused()),
        Some(state) => epoch = epoch.max(state.value.epoch),
        None if app.is_dev() || principal.kind == PrincipalKind::Service => {}
        None => return Err(login::refused()),
    }
    let closed = |what: &Scope| Error::forbidden(format!("{what} is disabled"));
    let org = match &scope {
        Scope::System => None,
        Scope::Org(org) => Some(org.clone()),
        Scope::Project(id) => {
            let found = app.records::<Project>().get(id.as_str()).await?;
            let project = found.ok_or_else(|| unbound(id.as_str()))?.value;
            if project.disabled {
                return Err(closed(&scope));
            }
            epoch = epoch.max(project.epoch);
            Some(project.org)
        }
    };
    if let Some(org) = &org {
        let found = app.records::<Org>().get(org.as_str()).await?;
        if found.is_none_or(|found| found.value.disabled) {
            return Err(closed(&scope));
        }
    }
    Ok(Subject {
        principal,
        scope,
        org,
        epoch,
    })
}

/// A token gives tokens for its scope and what lies within, to its own principal.
fn refuse_wider(app: &App, ctx: &Context, scope: &Scope) -> Result<(), Error> {
    match &ctx.caller.limit {
        Some(limit) if !scope::contains(&app.auth.policies(), limit, scope) => {
            Err(Error::forbidden(format!(
                "your token is for {limit} and gives none for {scope}: log in again"
            )))
        }
        _ => Ok(()),
    }
}

/// When a token must end at the latest that is had for a token: no chain of them outlives its first proof.
async fn end_of_bearer(app: &App, presented: &Presented) -> Result<Option<i64>, Error> {
    match &presented.authorization {
        login::Authorization::Token(token) => {
            let claims = app.auth.verify_up_to_date(token.expose()).await?;
            Ok(Some(claims.exp))
        }
        _ => Ok(None),
    }
}

/// In enforce mode a token is for where its principal has a binding, there or above, itself or by a group.
pub(crate) fn refuse_unbound(
    app: &App,
    ctx: &Context,
    principal: &PrincipalRef,
    scope: &Scope,
) -> Result<(), Error> {
    // The built-in role of a service counts everywhere.
    if principal.kind == PrincipalKind::Service || app.is_dev() {
        return Ok(());
    }
    let policies = app.auth.policies();
    if policies.has_binding_at(principal, scope, Timestamp::now()) {
        return Ok(());
    }
    tracing::info!(
        request_id = %ctx.request_id, %principal, %scope,
        "no token for a scope where the principal has no binding"
    );
    Err(unbound(scope.bare_id()))
}

/// What a token says, if it would be accepted now. About one's own nobody is asked.
///
/// # Errors
/// `UNAVAILABLE` when nobody can know.
pub async fn verify(app: &App, ctx: &Context, token: &str) -> Result<Option<Arc<Claims>>, Error> {
    let claims = match app.auth.verify_up_to_date(token).await {
        Ok(claims) => claims,
        Err(error) if error.code() == Code::UNAUTHENTICATED => {
            // Who has a credential may learn of a text that it is no token.
            ctx.allow_self();
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    decide(ctx, &claims)?;
    Ok(Some(claims))
}

/// One's own token needs no permission; another's where it is for.
fn decide(ctx: &Context, claims: &Claims) -> Result<(), Error> {
    let principal = claims.principal();
    if ctx.caller.is(&principal) {
        ctx.allow_self();
        return Ok(());
    }
    ctx.allow(&claims.limit().unwrap_or(Scope::System))
}

/// Ends tokens early.
///
/// # Errors
/// 404 for a principal or project there is not.
pub async fn revoke(app: &App, ctx: &Context, what: What) -> Result<Revocation, Error> {
    let revision = match what {
        What::Token(token) => {
            let Some(claims) = verify(app, ctx, token.expose()).await? else {
                return Ok(Revocation {
                    revoked: false,
                    revision: None,
                });
            };
            contended(ctx, || try_revoke(app, ctx, &claims)).await?
        }
        What::Principal(principal) => {
            if ctx.caller.is(&principal) {
                ctx.allow_self();
            } else {
                let home = home_of(app, &principal).await?;
                ctx.allow_hidden(&home, principal.to_string())?;
            }
            principal::bump(app, ctx, &principal).await?
        }
        What::Project(project) => {
            let here = Scope::Project(project.clone());
            ctx.allow_hidden(&here, format!("project {project}"))?;
            project::service::revoke_tokens(app, ctx, &project).await?
        }
    };
    Ok(Revocation {
        revoked: true,
        revision: Some(revision),
    })
}

async fn try_revoke(app: &App, ctx: &Context, claims: &Claims) -> Result<i64, Lost> {
    let records = app.records::<Revoked>();
    if let Some(revoked) = records.get(&claims.jti).await? {
        return Ok(revoked.revision);
    }
    let expires_at = moment(claims.exp);
    let left = expires_at.duration_since(Timestamp::now());
    let left = Duration::try_from(left).unwrap_or_default();
    // It is dropped here and so never renewed: the record ends when its token has.
    let lease = app.store.lease(left + MARGIN).await?;
    let mut transaction = app.store.transaction();
    let record = Revoked {
        jti: claims.jti.clone(),
        expires_at,
    };
    transaction.create_under(&records, &claims.jti, &record, lease.id())?;
    let scope = claims.limit().unwrap_or(Scope::System);
    let act =
        Act::new("token", &claims.jti, scope).detail("principal", claims.principal().to_string());
    app.publish(ctx, transaction, act)
        .await
        .map_err(Lost::to_create)
}
