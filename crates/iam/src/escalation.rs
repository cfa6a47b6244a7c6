//! Nobody gives what they do not have.
//!
//! Whoever writes a binding, a role or a membership, or acts for somebody else, must hold what it gives: without a
//! condition, and at least as long. The dev operator holds everything; in dev mode a principal that does not is let
//! through, and the log says so. A deny rule takes and does not give: for that the permission to write it is enough.

use jiff::Timestamp;
use photon_auth::{Context, Who};
use photon_authz::{ADMIN, Binding, Policies, PrincipalKind, PrincipalRef, Role, Scope, built_in};
use photon_core::{Error, Name};

use crate::app::App;

/// Refuses unless the caller holds everything that a role allows, at a scope until then (`None`: for ever).
pub(crate) fn must_hold_role(
    app: &App,
    ctx: &Context,
    scope: &Scope,
    role: &Role,
    until: Option<Timestamp>,
) -> Result<(), Error> {
    let policies = app.policies();
    let holds = |caller: &PrincipalRef| policies.holds_role(caller, scope, role, until);
    if by_caller(&policies, ctx, scope, holds) {
        return Ok(());
    }
    refuse(
        app,
        ctx,
        scope,
        &format!("all that role {} allows", role.id),
    )
}

/// Refuses unless the caller holds everything that a principal does, directly or by its groups: everywhere, or in as far
/// as it counts at one scope. For impersonation, for making somebody else's credentials, for memberships.
pub(crate) fn must_hold_all_of(
    app: &App,
    ctx: &Context,
    principal: &PrincipalRef,
    at: Option<&Scope>,
) -> Result<(), Error> {
    if ctx.caller.is(principal) {
        return Ok(());
    }
    let policies = app.policies();
    let now = Timestamp::now();
    let lasting = |binding: &&Binding| binding.expires_at.is_none_or(|end| end > now);
    for binding in everything_of(&policies, principal)
        .into_iter()
        .filter(lasting)
    {
        if let Some(role) = policies.role(&binding.role)
            && let Some(scope) = where_it_counts(&policies, &binding.scope, at)
        {
            must_hold_role(app, ctx, scope, role, binding.expires_at)?;
        }
    }
    match of_service(principal) {
        Some(role) => must_hold_role(app, ctx, at.unwrap_or(&Scope::System), role, None),
        None => Ok(()),
    }
}

/// Refuses unless the caller is an admin of the system: holds the role `admin` there, directly or by a group, without a
/// condition. What deny rules take does not matter here: whether it may do it at all has been decided.
pub(crate) fn must_be_admin(app: &App, ctx: &Context) -> Result<(), Error> {
    let policies = app.policies();
    let now = Timestamp::now();
    let is_admin = |caller: &PrincipalRef| {
        everything_of(&policies, caller).iter().any(|binding| {
            binding.role.as_str() == ADMIN
                && binding.scope == Scope::System
                && binding.condition.is_none()
                && binding.expires_at.is_none_or(|end| end > now)
        })
    };
    if by_caller(&policies, ctx, &Scope::System, is_admin) {
        return Ok(());
    }
    if app.is_dev() {
        tracing::warn!(
            request_id = %ctx.request_id,
            "enforce would refuse: the caller is no admin of the system"
        );
        return Ok(());
    }
    Err(Error::forbidden(
        "only an admin of the system makes and lifts deny rules there",
    ))
}

/// What a service of the suite holds everywhere without a binding.
fn of_service(principal: &PrincipalRef) -> Option<&'static Role> {
    if principal.kind != PrincipalKind::Service {
        return None;
    }
    built_in(&Name::new(format!("service-{}", principal.id)).ok()?)
}

/// Where something given at a scope counts, of what is asked about: everywhere (`None`), or at one scope and below.
fn where_it_counts<'a>(
    policies: &Policies,
    given: &'a Scope,
    at: Option<&'a Scope>,
) -> Option<&'a Scope> {
    match at {
        Some(at) if policies.contains(given, at) => Some(at),
        Some(at) => policies.contains(at, given).then_some(given),
        None => Some(given),
    }
}

/// The bindings of a principal and of the groups it is in.
pub(crate) fn everything_of<'a>(
    policies: &'a Policies,
    principal: &PrincipalRef,
) -> Vec<&'a Binding> {
    let groups = policies.groups_of(principal);
    let mut all: Vec<&Binding> = policies.bindings_of(principal).collect();
    for group in groups.iter() {
        all.extend(policies.bindings_of(&crate::principal::group(group)));
    }
    all
}

/// Whether the caller has something at a scope: it does, and its token does not leave it out.
fn by_caller(
    policies: &Policies,
    ctx: &Context,
    at: &Scope,
    has: impl Fn(&PrincipalRef) -> bool,
) -> bool {
    match &ctx.caller.who {
        Who::DevOperator => true,
        Who::Principal(caller) => {
            let within = ctx.caller.limit.as_ref();
            within.is_none_or(|limit| policies.contains(limit, at)) && has(caller)
        }
    }
}

fn refuse(app: &App, ctx: &Context, scope: &Scope, lacking: &str) -> Result<(), Error> {
    if app.is_dev() {
        tracing::warn!(
            request_id = %ctx.request_id,
            lacking,
            %scope,
            "enforce would refuse: the caller does not hold what it gives"
        );
        return Ok(());
    }
    Err(Error::forbidden(format!(
        "you cannot give {lacking} at {scope}: you do not hold it there"
    )))
}
