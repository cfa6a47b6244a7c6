//! The use cases of groups.

use photon_auth::Context;
use photon_authz::{Group, PrincipalKind, PrincipalRef, Scope, records::MAX_MEMBERS};
use photon_core::{Error, Name};
use photon_store::{Stored, Transaction};

use super::{GroupChange, GroupFilter, NewGroup};
use crate::{
    app::App,
    audit::Act,
    contention::{Lost, contended},
    escalation,
    ids::made_up,
    listing::{self, Ask, Listing},
    principal, removal, scope,
    versioned::{Versioned, expect},
};

/// Written by every change that puts a group into a group.
const NESTING: &str = "/photon/iam/nesting";

/// The most members a group is made with: each is required to be there, in one transaction.
pub const MOST_FIRST_MEMBERS: usize = 100;

fn named(id: &Name) -> String {
    format!("group {id}")
}

fn home(group: &Group) -> Scope {
    scope::home(group.org.as_ref())
}

fn act(group: &Group) -> Act {
    Act::new("group", group.id.as_str(), home(group))
}

/// A group that is made, with those who are in it from the beginning.
fn of_new(group: &Group) -> Act {
    let nobody = Group {
        members: Vec::new(),
        ..group.clone()
    };
    act(group).changed(&nobody, group)
}

/// Makes a group.
pub async fn create(app: &App, ctx: &Context, new: NewGroup) -> Result<Versioned<Group>, Error> {
    let home = scope::home(new.org.as_ref());
    ctx.allow_hidden(&home, scope::named(&home))?;
    if new.members.len() > MOST_FIRST_MEMBERS {
        let message = format!(
            "members may be at most {MOST_FIRST_MEMBERS} when a group is made; add the others to it"
        );
        return Err(Error::validation("members", "length", message));
    }
    let mut group = Group {
        id: new.id.map_or_else(|| made_up("grp"), Ok)?,
        org: new.org,
        title: new.title.map(Into::into).unwrap_or_default(),
        members: Vec::new(),
    };
    for member in new.members {
        if !group.members.contains(&member) {
            group.members.push(member);
        }
    }
    scope::ensure(app, ctx, &home).await?;
    forget_an_earlier_one(app, ctx, &group).await?;
    contended(ctx, || try_create(app, ctx, &group, &home)).await
}

/// What an earlier group of this id left behind, if its deletion was cut off, must not come to the new one. In dev mode
/// bindings of groups that are not there yet are good.
async fn forget_an_earlier_one(app: &App, ctx: &Context, group: &Group) -> Result<(), Error> {
    let there = app.records::<Group>().get(group.id.as_str()).await?;
    if app.is_dev() || there.is_some() {
        return Ok(());
    }
    let who = principal::group(&group.id);
    removal::bindings_of(app, ctx, &who, &act(group)).await
}

async fn try_create(
    app: &App,
    ctx: &Context,
    group: &Group,
    home: &Scope,
) -> Result<Versioned<Group>, Lost> {
    let groups = app.records::<Group>();
    if groups.get(group.id.as_str()).await?.is_some() {
        return Err(Error::already_exists(named(&group.id)).into());
    }
    // In dev mode bindings may be waiting for it: its members get what they give.
    if !group.members.is_empty() {
        escalation::must_hold_all_of(app, ctx, &principal::group(&group.id), None)?;
    }
    let mut transaction = app.store.transaction();
    scope::require_live(app, &mut transaction, home).await?;
    for (at, member) in group.members.iter().enumerate() {
        let field = format!("members[{at}]");
        principal::require_live(app, &mut transaction, member, &field).await?;
    }
    if group.members.iter().any(is_group) {
        guard_nesting(app, ctx, &mut transaction, group, "members").await?;
    }
    transaction.create(&groups, group.id.as_str(), group)?;
    let revision = app.publish_new(ctx, transaction, of_new(group)).await;
    Ok(Versioned::new(
        group.clone(),
        revision.map_err(Lost::to_create)?,
    ))
}

fn is_group(member: &PrincipalRef) -> bool {
    member.kind == PrincipalKind::Group
}

/// Refuses a group that would make a circle or a nesting too deep; and, in the transaction, requires that no other group
/// has been put into a group since that was decided.
async fn guard_nesting(
    app: &App,
    ctx: &Context,
    transaction: &mut Transaction,
    group: &Group,
    field: &str,
) -> Result<(), Lost> {
    match app.store.get_raw(NESTING).await? {
        Some(last) => {
            app.auth.wait_for(last.revision, ctx.deadline).await?;
            transaction.at_revision(NESTING, last.revision)?;
        }
        None => {
            transaction.absent(NESTING)?;
        }
    }
    app.policies()
        .check_members(group)
        .map_err(|fault| fault.error(field))?;
    transaction.put_raw(NESTING, group.id.to_string(), 0)?;
    Ok(())
}

/// Reads a group.
pub async fn get(app: &App, ctx: &Context, id: &Name) -> Result<Versioned<Group>, Error> {
    Ok(find(app, ctx, id).await?.into())
}

async fn find(app: &App, ctx: &Context, id: &Name) -> Result<Stored<Group>, Error> {
    let group = app.records::<Group>().get(id.as_str()).await?;
    let home = group
        .as_ref()
        .map_or(Scope::System, |group| home(&group.value));
    ctx.allow_hidden(&home, named(id))?;
    group.ok_or_else(|| Error::not_found(named(id)))
}

/// Lists the groups the caller may see.
pub async fn list(
    app: &App,
    ctx: &Context,
    filter: &GroupFilter,
    ask: &Ask,
) -> Result<Listing<Group>, Error> {
    let (visible, policies) = (ctx.visible()?, app.policies());
    let keep = |group: &Group| {
        scope::is_visible(&policies, &visible, &home(group))
            && (filter.org.is_none() || filter.org == group.org)
    };
    listing::list(&app.records(), "", ask, keep).await
}

/// Changes a group; its members have calls of their own.
pub async fn update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &GroupChange,
    expected: Option<i64>,
) -> Result<Versioned<Group>, Error> {
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &GroupChange,
    expected: Option<i64>,
) -> Result<Versioned<Group>, Lost> {
    let mut group = find(app, ctx, id).await?;
    expect(&group, expected)?;
    let before = group.value.clone();
    match &change.title {
        Some(title) if title.as_str() != group.value.title => {
            title.as_str().clone_into(&mut group.value.title);
        }
        _ => return Ok(group.into()),
    }
    let act = act(&group.value).changed(&before, &group.value);
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &group)?;
    let revision = app.publish(ctx, transaction, act).await?;
    Ok(Versioned::new(group.value, revision))
}

/// Puts a principal into a group; one that is in it already stays.
pub async fn add_member(
    app: &App,
    ctx: &Context,
    id: &Name,
    member: &PrincipalRef,
) -> Result<Versioned<Group>, Error> {
    contended(ctx, || try_add(app, ctx, id, member)).await
}

async fn try_add(
    app: &App,
    ctx: &Context,
    id: &Name,
    member: &PrincipalRef,
) -> Result<Versioned<Group>, Lost> {
    let mut group = find(app, ctx, id).await?;
    if group.value.members.contains(member) {
        return Ok(group.into());
    }
    escalation::must_hold_all_of(app, ctx, &principal::group(id), None)?;
    if group.value.members.len() >= MAX_MEMBERS {
        return Err(Error::failed_precondition(format!(
            "group {id} has {MAX_MEMBERS} members, which is the most"
        ))
        .into());
    }
    group.value.members.push(member.clone());
    let mut transaction = app.store.transaction();
    principal::require_live(app, &mut transaction, member, "member").await?;
    if is_group(member) {
        guard_nesting(app, ctx, &mut transaction, &group.value, "member").await?;
    }
    transaction.replace(&app.records(), &group)?;
    let act = act(&group.value).detail("added", member.to_string());
    let revision = app.publish(ctx, transaction, act).await;
    Ok(Versioned::new(
        group.value,
        revision.map_err(Lost::to_create)?,
    ))
}

/// Takes a principal out of a group.
///
/// # Errors
/// 404 for one that is not in it.
pub async fn remove_member(
    app: &App,
    ctx: &Context,
    id: &Name,
    member: &PrincipalRef,
) -> Result<Versioned<Group>, Error> {
    contended(ctx, || try_remove(app, ctx, id, member)).await
}

async fn try_remove(
    app: &App,
    ctx: &Context,
    id: &Name,
    member: &PrincipalRef,
) -> Result<Versioned<Group>, Lost> {
    let mut group = find(app, ctx, id).await?;
    if !group.value.members.contains(member) {
        return Err(Error::not_found(format!("member {member} of group {id}")).into());
    }
    group.value.members.retain(|one| one != member);
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &group)?;
    let act = act(&group.value).detail("removed", member.to_string());
    let revision = app.publish(ctx, transaction, act).await?;
    Ok(Versioned::new(group.value, revision))
}

/// Deletes a group with its bindings and memberships.
pub async fn delete(
    app: &App,
    ctx: &Context,
    id: &Name,
    expected: Option<i64>,
) -> Result<i64, Error> {
    let (group, revision) = contended(ctx, || try_delete(app, ctx, id, expected)).await?;
    // From here on it can be given nothing, and what it has counts for nobody.
    let who = principal::group(id);
    removal::all_of_principal(app, ctx, &who, revision, &act(&group)).await?;
    Ok(revision)
}

async fn try_delete(
    app: &App,
    ctx: &Context,
    id: &Name,
    expected: Option<i64>,
) -> Result<(Group, i64), Lost> {
    let group = find(app, ctx, id).await?;
    expect(&group, expected)?;
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &group)?;
    let revision = app.publish(ctx, transaction, act(&group.value)).await?;
    Ok((group.value, revision))
}
