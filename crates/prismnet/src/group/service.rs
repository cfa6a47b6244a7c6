//! The use cases of security groups.

use jiff::Timestamp;
use photon_auth::Context;
use photon_core::Error;
use photon_store::{PageRequest, Stored, Transaction};
use prismnet_model::{
    Block, Direction, GroupId, Protocol, Remote, Rule, RuleId, SecurityGroup, Services, Tally,
    group::{DEFAULT, index},
    key, tally,
};

use super::{GroupChange, GroupFilter, NewGroup};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    listing::{self, Ask, Listing},
    quota::{Held, Unit},
    refusal,
    rule::service::remove_batch,
    scope::{self, Home, Owner},
    users,
    versioned::{Versioned, expect},
};

/// Rules that go together: a record and up to two index keys each, of the 128 writes that etcd takes.
const BATCH: usize = 30;

pub(crate) fn named(id: GroupId) -> String {
    format!("security group {id}")
}

pub(crate) fn home(group: &Stored<SecurityGroup>) -> Home {
    Home {
        org: group.value.org.clone(),
        project: group.value.project.clone(),
    }
}

pub(crate) fn act(group: &SecurityGroup) -> Act {
    Act::new("security_group", group.id, &group.project)
}

fn group_of(name: String, home: &Home, description: String, now: Timestamp) -> SecurityGroup {
    SecurityGroup {
        id: GroupId::generate(),
        name,
        org: home.org.clone(),
        project: home.project.clone(),
        description,
        deleting: false,
        created_at: now,
        updated_at: now,
    }
}

/// Makes a group without rules: whoever is in it may send and receive nothing.
pub(crate) async fn create(
    app: &App,
    ctx: &Context,
    new: NewGroup,
) -> Result<Versioned<SecurityGroup>, Error> {
    scope::allow_new(ctx, &new.home)?;
    let group = group_of(
        new.name.into(),
        &new.home,
        new.description.into(),
        clock::now(),
    );
    let held = app
        .quota
        .hold(ctx, &group.project, Unit::Group, &group.id.to_string())
        .await?;
    let mut transaction = app.store.transaction();
    transaction.create(&app.records(), &group.key(), &group)?;
    transaction.create(&app.records(), &tally::key(group.id), &Tally::default())?;
    app.quota.remember(&mut transaction, &held)?;
    match app.commit_new(ctx, transaction, &act(&group)).await {
        Ok(revision) => {
            app.quota.made(held, revision);
            Ok(Versioned::new(group, revision))
        }
        Err(error) => {
            app.quota.give_up(held).await;
            Err(taken(app, &new.home, &group.name, error).await?)
        }
    }
}

/// The refusal of a name that somebody has.
async fn taken(
    app: &App,
    home: &Home,
    name: &str,
    error: photon_store::Error,
) -> Result<Error, Error> {
    let claim = key::group_name(&home.org, &home.project, name);
    match &error {
        photon_store::Error::AlreadyExists { key } if *key == claim => {
            let other = by_name(app, home, name).await?;
            let id = other.map(|other| other.value.id);
            // The name is not repeated: it is the caller's own.
            Ok(refusal::exists("a security group of this name", id))
        }
        _ => Ok(error.into()),
    }
}

/// Finds a group by its name.
pub(crate) async fn by_name(
    app: &App,
    home: &Home,
    name: &str,
) -> Result<Option<Stored<SecurityGroup>>, Error> {
    let claim = key::group_name(&home.org, &home.project, name);
    Ok(app.records().get_by_index(&claim).await?)
}

/// The group that ports of a project are in if nothing is said; it is made on first use.
pub(crate) async fn ensure_default(
    app: &App,
    ctx: &Context,
    home: &Home,
) -> Result<GroupId, Error> {
    if let Some(id) = app.known.defaults.get(home) {
        return Ok(id);
    }
    let id = contended(ctx, || find_or_make_default(app, ctx, home)).await?;
    app.known.defaults.insert(home.clone(), id);
    Ok(id)
}

async fn find_or_make_default(app: &App, ctx: &Context, home: &Home) -> Result<GroupId, Lost> {
    match by_name(app, home, DEFAULT).await? {
        Some(found) if !found.value.deleting => return Ok(found.value.id),
        Some(_) => return Err(Lost::Race), // it will be gone in a moment, and made again
        None => {}
    }
    let now = clock::now();
    let description = "out to everywhere, in from each other";
    let group = group_of(DEFAULT.to_owned(), home, description.to_owned(), now);
    let rules = usual_rules(group.id, now);
    let count = u32::try_from(rules.len()).map_err(Error::internal)?;
    let mut transaction = app.store.transaction();
    transaction.create(&app.records(), &group.key(), &group)?;
    let counted = Tally { rules: count };
    transaction.create(&app.records(), &tally::key(group.id), &counted)?;
    for rule in &rules {
        transaction.create(&app.records(), &rule.key(), rule)?;
    }
    // Not what the request asked for: its idempotency key does not stand for this.
    let act = act(&group).detail("implicit", true);
    let done = app.commit(ctx, &transaction, &act).await;
    done.map_err(Lost::to_create)?;
    Ok(group.id)
}

/// Out to everywhere, in from the group itself.
fn usual_rules(group: GroupId, now: Timestamp) -> [Rule; 2] {
    let rule = |direction, remote| Rule {
        id: RuleId::generate(),
        group,
        direction,
        services: Services::All(Protocol::Any),
        remote,
        description: String::new(),
        created_at: now,
    };
    [
        rule(Direction::Egress, Remote::Cidr(Block::ANY)),
        rule(Direction::Ingress, Remote::Group(group)),
    ]
}

/// Reads a group.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: GroupId,
    owner: &Owner,
) -> Result<Versioned<SecurityGroup>, Error> {
    Ok(find(app, ctx, id, owner).await?.into())
}

/// A group, if the caller may do what it asks for in its project, and means that owner's.
pub(crate) async fn find(
    app: &App,
    ctx: &Context,
    id: GroupId,
    owner: &Owner,
) -> Result<Stored<SecurityGroup>, Error> {
    let found = app
        .records::<SecurityGroup>()
        .get_by_index(&index(id))
        .await?;
    let group = scope::allow_found(ctx, found, home, &named(id))?;
    if !owner.is(&group.value.org, &group.value.project) {
        return Err(Error::not_found(named(id)));
    }
    Ok(group)
}

/// Lists the groups the caller may see.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &GroupFilter,
    ask: &Ask,
) -> Result<Listing<SecurityGroup>, Error> {
    let visible = ctx.visible()?;
    let keep = |group: &SecurityGroup| {
        filter.owner.is(&group.org, &group.project)
            && filter.name.as_ref().is_none_or(|name| *name == group.name)
            && scope::is_visible(ctx, &visible, &group.project)
    };
    let prefix = filter.owner.prefix(ctx);
    listing::list(&app.records(), &prefix, ask, keep).await
}

/// Changes a group's name or description.
pub(crate) async fn update(
    app: &App,
    ctx: &Context,
    id: GroupId,
    change: &GroupChange,
    expected: Option<i64>,
) -> Result<Versioned<SecurityGroup>, Error> {
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: GroupId,
    change: &GroupChange,
    expected: Option<i64>,
) -> Result<Versioned<SecurityGroup>, Lost> {
    let mut group = find(app, ctx, id, &Owner::default()).await?;
    expect(&group, expected)?;
    refuse_deleting(&group.value)?;
    let before = group.value.clone();
    if let Some(name) = &change.name {
        if before.name == DEFAULT && name.as_str() != DEFAULT {
            let text = "the default group keeps its name: ports are put into it by that";
            return Err(Error::failed_precondition(text).into());
        }
        group.value.name = name.as_str().to_owned();
    }
    if let Some(description) = &change.description {
        group.value.description = description.as_str().to_owned();
    }
    if group.value == before {
        return Ok(group.into());
    }
    group.value.updated_at = clock::now();
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &group)?;
    let act = act(&group.value).changed(&before, &group.value);
    match app.commit(ctx, &transaction, &act).await {
        Ok(revision) => {
            app.known.groups.invalidate(&id);
            Ok(Versioned::new(group.value, revision))
        }
        Err(error @ photon_store::Error::AlreadyExists { .. }) => {
            let home = home(&group);
            Err(taken(app, &home, &group.value.name, error).await?.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Nothing is hung on a group that is being deleted.
pub(crate) fn refuse_deleting(group: &SecurityGroup) -> Result<(), Error> {
    if group.deleting {
        let text = format!("{} is being deleted", named(group.id));
        return Err(Error::failed_precondition(text));
    }
    Ok(())
}

/// Deletes a group that nothing uses, with its rules.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    id: GroupId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<i64, Error> {
    let marked = contended(ctx, || try_mark(app, ctx, id, owner, expected)).await?;
    app.known.groups.invalidate(&id);
    app.known.defaults.invalidate(&home(&marked));
    remove_rules(app, ctx, &marked.value).await?;
    contended(ctx, || try_delete(app, ctx, id)).await
}

/// From here on nothing new uses it: whoever wants to requires the group to be as it was.
async fn try_mark(
    app: &App,
    ctx: &Context,
    id: GroupId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<Stored<SecurityGroup>, Lost> {
    let mut group = find(app, ctx, id, owner).await?;
    expect(&group, expected)?;
    if group.value.deleting {
        return Ok(group); // one that was cut off
    }
    group.value.deleting = true;
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &group)?;
    transaction.empty_below(&key::users(id))?;
    let act = act(&group.value).detail("deleting", true);
    match app.commit(ctx, &transaction, &act).await {
        Ok(_) => Ok(group),
        Err(photon_store::Error::NotEmpty { .. }) => {
            Err(users::of(app, &named(id), &[key::users(id)]).await?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn remove_rules(app: &App, ctx: &Context, group: &SecurityGroup) -> Result<(), Error> {
    loop {
        // From the beginning each time: the page before is gone.
        let page = app
            .records::<Rule>()
            .list(&PageRequest {
                prefix: format!("{}/", group.id),
                limit: BATCH,
                ..PageRequest::default()
            })
            .await?;
        if let Some(bad) = page.unreadable.first() {
            let what = format!("{} cannot be read: {}", bad.key, bad.reason);
            return Err(Error::internal(what));
        }
        if page.items.is_empty() {
            return Ok(());
        }
        remove_batch(app, ctx, group, &page.items).await?;
    }
}

async fn try_delete(app: &App, ctx: &Context, id: GroupId) -> Result<i64, Lost> {
    let group = find(app, ctx, id, &Owner::default()).await?;
    let tally = app.records::<Tally>().get(&tally::key(id)).await?;
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &group)?;
    if let Some(tally) = &tally {
        transaction.delete(&app.records(), tally)?;
    }
    let freed = free(app, &mut transaction, &group.value)?;
    let revision = app.commit(ctx, &transaction, &act(&group.value)).await?;
    app.quota.made(freed, revision);
    Ok(revision)
}

fn free(
    app: &App,
    transaction: &mut Transaction,
    group: &SecurityGroup,
) -> photon_store::Result<Held> {
    let id = group.id.to_string();
    app.quota
        .forget(transaction, &group.project, Unit::Group, &id)
}
