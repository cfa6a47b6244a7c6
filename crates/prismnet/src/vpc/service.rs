//! The use cases of VPCs.

use photon_auth::Context;
use photon_core::Error;
use photon_store::Stored;
use prismnet_model::{Layout, TenantBlock, Vpc, VpcId, layout, vpc::index};

use super::{NewVpc, VpcChange, VpcFilter};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    group,
    listing::{self, Ask, Listing},
    quota::Unit,
    refusal::{self, User},
    scope::{self, Home, Owner},
    versioned::{Versioned, expect},
};

pub(crate) fn named(id: VpcId) -> String {
    format!("vpc {id}")
}

pub(crate) fn home(vpc: &Stored<Vpc>) -> Home {
    Home {
        org: vpc.value.org.clone(),
        project: vpc.value.project.clone(),
    }
}

fn act(vpc: &Vpc) -> Act {
    Act::new("vpc", vpc.id, &vpc.project)
}

/// Makes a VPC. The project's default group is made too, if it is not there.
pub(crate) async fn create(app: &App, ctx: &Context, new: NewVpc) -> Result<Versioned<Vpc>, Error> {
    scope::allow_new(ctx, &new.home)?;
    keep_off_underlay(app, new.cidr_block)?;
    group::service::ensure_default(app, ctx, &new.home).await?;
    let now = clock::now();
    let vpc = Vpc {
        id: VpcId::generate(),
        name: new.name.into(),
        org: new.home.org,
        project: new.home.project,
        cidr_block: new.cidr_block,
        description: new.description.into(),
        internet_access: new.internet_access,
        created_at: now,
        updated_at: now,
    };
    let held = app
        .quota
        .hold(ctx, &vpc.project, Unit::Vpc, &vpc.id.to_string())
        .await?;
    let mut transaction = app.store.transaction();
    transaction.create(&app.records(), &vpc.key(), &vpc)?;
    transaction.create(&app.records(), &layout::key(vpc.id), &Layout::default())?;
    app.quota.remember(&mut transaction, &held)?;
    match app.commit_new(ctx, transaction, &act(&vpc)).await {
        Ok(revision) => {
            app.quota.made(held, revision);
            Ok(Versioned::new(vpc, revision))
        }
        Err(error) => {
            app.quota.give_up(held).await;
            Err(error.into())
        }
    }
}

/// The hosts' own networks are not a tenant's to use.
fn keep_off_underlay(app: &App, block: TenantBlock) -> Result<(), Error> {
    let mut underlay = app.config.network.underlay.iter();
    if underlay.any(|hosts| hosts.overlaps(block.block())) {
        // Which one, is nothing to tell a tenant.
        let message = "cidr_block overlaps a network of the hosts";
        return Err(Error::validation("cidr_block", "underlay", message));
    }
    Ok(())
}

/// Reads a VPC.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: VpcId,
    owner: &Owner,
) -> Result<Versioned<Vpc>, Error> {
    Ok(find(app, ctx, id, owner).await?.into())
}

/// A VPC, if the caller may do what it asks for in its project, and means that owner's.
pub(crate) async fn find(
    app: &App,
    ctx: &Context,
    id: VpcId,
    owner: &Owner,
) -> Result<Stored<Vpc>, Error> {
    let found = app.records::<Vpc>().get_by_index(&index(id)).await?;
    let vpc = scope::allow_found(ctx, found, home, &named(id))?;
    if !owner.is(&vpc.value.org, &vpc.value.project) {
        return Err(Error::not_found(named(id)));
    }
    Ok(vpc)
}

/// Lists the VPCs the caller may see.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &VpcFilter,
    ask: &Ask,
) -> Result<Listing<Vpc>, Error> {
    let visible = ctx.visible()?;
    let keep = |vpc: &Vpc| {
        filter.owner.is(&vpc.org, &vpc.project)
            && filter.name.as_ref().is_none_or(|name| *name == vpc.name)
            && scope::is_visible(ctx, &visible, &vpc.project)
    };
    let prefix = filter.owner.prefix(ctx);
    listing::list(&app.records(), &prefix, ask, keep).await
}

/// Changes a VPC.
pub(crate) async fn update(
    app: &App,
    ctx: &Context,
    id: VpcId,
    change: &VpcChange,
    expected: Option<i64>,
) -> Result<Versioned<Vpc>, Error> {
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: VpcId,
    change: &VpcChange,
    expected: Option<i64>,
) -> Result<Versioned<Vpc>, Lost> {
    let mut vpc = find(app, ctx, id, &Owner::default()).await?;
    expect(&vpc, expected)?;
    let before = vpc.value.clone();
    if let Some(name) = &change.name {
        vpc.value.name = name.as_str().to_owned();
    }
    if let Some(description) = &change.description {
        vpc.value.description = description.as_str().to_owned();
    }
    if let Some(internet_access) = change.internet_access {
        vpc.value.internet_access = internet_access;
    }
    if vpc.value == before {
        return Ok(vpc.into());
    }
    vpc.value.updated_at = clock::now();
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &vpc)?;
    let act = act(&vpc.value).changed(&before, &vpc.value);
    let revision = app.commit(ctx, &transaction, &act).await?;
    Ok(Versioned::new(vpc.value, revision))
}

/// Deletes a VPC that nothing is in.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    id: VpcId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<i64, Error> {
    contended(ctx, || try_delete(app, ctx, id, owner, expected)).await
}

async fn try_delete(
    app: &App,
    ctx: &Context,
    id: VpcId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<i64, Lost> {
    let vpc = find(app, ctx, id, owner).await?;
    expect(&vpc, expected)?;
    let layout = layout_of(app, id).await?;
    refuse_inhabited(id, &layout.value)?;
    let mut transaction = app.store.transaction();
    // Whoever adds a subnet or a route changes the layout: one of both loses.
    transaction.delete(&app.records(), &vpc)?;
    transaction.delete(&app.records(), &layout)?;
    let (project, name) = (&vpc.value.project, id.to_string());
    let freed = app
        .quota
        .forget(&mut transaction, project, Unit::Vpc, &name)?;
    let revision = app.commit(ctx, &transaction, &act(&vpc.value)).await?;
    app.quota.made(freed, revision);
    Ok(revision)
}

fn refuse_inhabited(id: VpcId, layout: &Layout) -> Result<(), Error> {
    let subnets = layout.subnets.iter().map(|placed| User {
        kind: "subnet",
        id: placed.id.to_string(),
    });
    let routes = layout.routes.iter().map(|routed| User {
        kind: "route",
        id: routed.id.to_string(),
    });
    let users: Vec<User> = subnets.chain(routes).take(refusal::NAMED).collect();
    if users.is_empty() {
        return Ok(());
    }
    let all = layout.subnets.len() + layout.routes.len();
    Err(refusal::in_use(&named(id), &users, all > users.len()))
}

/// What a VPC is divided into. It is made and deleted with the VPC.
pub(crate) async fn layout_of(app: &App, id: VpcId) -> Result<Stored<Layout>, Lost> {
    let found = app.records::<Layout>().get(&layout::key(id)).await?;
    // The VPC was there a moment ago: it is being deleted by somebody else.
    found.ok_or(Lost::Race)
}
