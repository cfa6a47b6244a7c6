//! The use cases of subnets.

use photon_auth::Context;
use photon_core::Error;
use photon_store::{Stored, Transaction};
use prismnet_model::{
    Block, Layout, Subnet, SubnetId, Vni, Vpc,
    id::VpcKind,
    key,
    layout::{MOST_SUBNETS, Placed},
    subnet::index,
};

use super::{NewSubnet, SubnetChange, SubnetFilter};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    listing::{self, Ask, Listing},
    quota::{Held, Unit},
    refusal,
    scope::{self, Home, Owner},
    users,
    versioned::{Versioned, expect},
    vpc,
    wanted::Wanted,
};

pub(crate) fn named(id: SubnetId) -> String {
    format!("subnet {id}")
}

pub(crate) fn home(subnet: &Stored<Subnet>) -> Home {
    Home {
        org: subnet.value.org.clone(),
        project: subnet.value.project.clone(),
    }
}

fn act(subnet: &Subnet) -> Act {
    Act::new("subnet", subnet.id, &subnet.project)
}

/// Makes a subnet in a VPC. Its org and project are the VPC's.
pub(crate) async fn create(
    app: &App,
    ctx: &Context,
    new: NewSubnet,
) -> Result<Versioned<Subnet>, Error> {
    let vpc = vpc_for(app, ctx, &new).await?;
    // Before anything is asked of CreditService: most mistakes are found here.
    let layout = app.records::<Layout>().get(&new.vpc.to_string()).await?;
    if let Some(layout) = &layout {
        check(&vpc.value, &layout.value, &new)?;
    }
    let id = SubnetId::generate();
    let project = &vpc.value.project;
    let held = app
        .quota
        .hold(ctx, project, Unit::Subnet, &id.to_string())
        .await?;
    match create_in_turn(app, ctx, id, &new, &held).await {
        Ok(subnet) => {
            app.quota.made(held, subnet.revision);
            Ok(subnet)
        }
        Err(error) => {
            app.quota.give_up(held).await;
            Err(error)
        }
    }
}

async fn create_in_turn(
    app: &App,
    ctx: &Context,
    id: SubnetId,
    new: &NewSubnet,
    held: &Held,
) -> Result<Versioned<Subnet>, Error> {
    let _turn = app.turns.take(ctx, new.vpc).await?;
    contended(ctx, || try_create(app, ctx, id, new, held)).await
}

/// The VPC, if the caller may make subnets in it.
async fn vpc_for(app: &App, ctx: &Context, new: &NewSubnet) -> Result<Stored<Vpc>, Error> {
    let found = vpc::service::find(app, ctx, new.vpc, &new.owner).await;
    found.map_err(|error| in_body("vpc_id", error))
}

/// What is not found is named by a field here, not by the path.
pub(crate) fn in_body(field: &str, error: Error) -> Error {
    match error.code() {
        photon_core::Code::NOT_FOUND => {
            let message = error.message().trim_end_matches(" not found").to_owned();
            refusal::nothing(field, &message)
        }
        _ => error,
    }
}

async fn try_create(
    app: &App,
    ctx: &Context,
    id: SubnetId,
    new: &NewSubnet,
    held: &Held,
) -> Result<Versioned<Subnet>, Lost> {
    let vpc = vpc_for(app, ctx, new).await?;
    let mut layout = vpc::service::layout_of(app, new.vpc).await?;
    check(&vpc.value, &layout.value, new)?;
    layout.value.subnets.push(Placed {
        id,
        cidr_block: new.cidr_block,
    });
    let now = clock::now();
    let subnet = Subnet {
        id,
        name: new.name.as_str().to_owned(),
        vpc: vpc.value.id,
        org: vpc.value.org.clone(),
        project: vpc.value.project.clone(),
        cidr_block: new.cidr_block,
        gateway_ip: new.gateway_ip,
        vni: some_vni()?,
        description: new.description.as_str().to_owned(),
        created_at: now,
        updated_at: now,
    };
    let mut transaction = app.store.transaction();
    transaction.unchanged(&app.records(), &vpc)?;
    transaction.replace(&app.records(), &layout)?;
    transaction.create(&app.records(), &subnet.key(), &subnet)?;
    app.quota.remember(&mut transaction, held)?;
    let done = app.commit_new(ctx, transaction, &act(&subnet)).await;
    // That something exists already can only be the number on the wire: another one then.
    let revision = done.map_err(Lost::to_create)?;
    Ok(Versioned::new(subnet, revision))
}

/// Sixteen million of them: one that is taken is rare, and one that was given up does not come back soon.
fn some_vni() -> Result<Vni, Error> {
    let number = rand::random_range(Vni::LOWEST..=Vni::HIGHEST);
    Vni::try_from(number).map_err(Error::internal)
}

/// Whether the block is one of the VPC's, and nobody else's in it.
fn check(vpc: &Vpc, layout: &Layout, new: &NewSubnet) -> Result<(), Error> {
    let block: Block = new.cidr_block.into();
    if !vpc.cidr_block.block().contains(block) {
        let message = format!("cidr_block {block} must lie within {}", vpc.cidr_block);
        return Err(Error::validation("cidr_block", "within_vpc", message));
    }
    if let Some(placed) = layout.overlapping(block) {
        return Err(refusal::overlaps("cidr_block", block, placed));
    }
    if layout.subnets.len() >= MOST_SUBNETS {
        return Err(refusal::too_many("subnets in a VPC", MOST_SUBNETS));
    }
    Ok(())
}

/// Reads a subnet.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: SubnetId,
    filter: &SubnetFilter,
) -> Result<Versioned<Subnet>, Error> {
    Ok(find(app, ctx, id, filter).await?.into())
}

/// A subnet, if the caller may do what it asks for in its project, and means that one.
async fn find(
    app: &App,
    ctx: &Context,
    id: SubnetId,
    filter: &SubnetFilter,
) -> Result<Stored<Subnet>, Error> {
    let found = app.records::<Subnet>().get_by_index(&index(id)).await?;
    let subnet = scope::allow_found(ctx, found, home, &named(id))?;
    if !is_meant(filter, &subnet.value) {
        return Err(Error::not_found(named(id)));
    }
    Ok(subnet)
}

fn is_meant(filter: &SubnetFilter, subnet: &Subnet) -> bool {
    filter.owner.is(&subnet.org, &subnet.project)
        && filter.vpc.is(subnet.vpc)
        && filter.name.as_ref().is_none_or(|name| *name == subnet.name)
}

/// Lists the subnets the caller may see.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &SubnetFilter,
    ask: &Ask,
) -> Result<Listing<Subnet>, Error> {
    let visible = ctx.visible()?;
    let keep = |subnet: &Subnet| {
        is_meant(filter, subnet) && scope::is_visible(ctx, &visible, &subnet.project)
    };
    let prefix = prefix(app, ctx, &filter.owner, filter.vpc).await?;
    listing::list(&app.records(), &prefix, ask, keep).await
}

/// What the keys of things of a VPC begin with, so that a list of them does not look at everybody's.
pub(crate) async fn prefix(
    app: &App,
    ctx: &Context,
    owner: &Owner,
    vpc: Wanted<VpcKind>,
) -> Result<String, Error> {
    if let Wanted::One(vpc) = vpc {
        let found = app
            .records::<Vpc>()
            .get_by_index(&prismnet_model::vpc::index(vpc))
            .await?;
        // Whether its things may be seen is looked at one by one.
        if let Some(vpc) = found.filter(|vpc| owner.is(&vpc.value.org, &vpc.value.project)) {
            return Ok(vpc::service::home(&vpc).prefix());
        }
    }
    Ok(owner.prefix(ctx))
}

/// Changes a subnet.
pub(crate) async fn update(
    app: &App,
    ctx: &Context,
    id: SubnetId,
    change: &SubnetChange,
    expected: Option<i64>,
) -> Result<Versioned<Subnet>, Error> {
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: SubnetId,
    change: &SubnetChange,
    expected: Option<i64>,
) -> Result<Versioned<Subnet>, Lost> {
    let mut subnet = find(app, ctx, id, &SubnetFilter::default()).await?;
    expect(&subnet, expected)?;
    let before = subnet.value.clone();
    if let Some(name) = &change.name {
        subnet.value.name = name.as_str().to_owned();
    }
    if let Some(description) = &change.description {
        subnet.value.description = description.as_str().to_owned();
    }
    if subnet.value == before {
        return Ok(subnet.into());
    }
    subnet.value.updated_at = clock::now();
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &subnet)?;
    let act = act(&subnet.value).changed(&before, &subnet.value);
    let revision = app.commit(ctx, &transaction, &act).await?;
    app.known.subnets.invalidate(&id);
    Ok(Versioned::new(subnet.value, revision))
}

/// Deletes a subnet that nothing is in.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    id: SubnetId,
    filter: &SubnetFilter,
    expected: Option<i64>,
) -> Result<i64, Error> {
    let revision = contended(ctx, || try_delete(app, ctx, id, filter, expected)).await?;
    app.known.subnets.invalidate(&id);
    Ok(revision)
}

async fn try_delete(
    app: &App,
    ctx: &Context,
    id: SubnetId,
    filter: &SubnetFilter,
    expected: Option<i64>,
) -> Result<i64, Lost> {
    let subnet = find(app, ctx, id, filter).await?;
    expect(&subnet, expected)?;
    let mut layout = vpc::service::layout_of(app, subnet.value.vpc).await?;
    layout.value.subnets.retain(|placed| placed.id != id);
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &layout)?;
    transaction.delete(&app.records(), &subnet)?;
    require_unused(&mut transaction, id)?;
    let (project, name) = (&subnet.value.project, id.to_string());
    let freed = app
        .quota
        .forget(&mut transaction, project, Unit::Subnet, &name)?;
    match app.commit(ctx, &transaction, &act(&subnet.value)).await {
        Ok(revision) => {
            app.quota.made(freed, revision);
            Ok(revision)
        }
        Err(photon_store::Error::NotEmpty { .. }) => {
            let prefixes = [key::addresses(id), key::users(id)];
            Err(users::of(app, &named(id), &prefixes).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whoever makes a port or a route in it requires it to be as it was: one of both loses.
fn require_unused(transaction: &mut Transaction, id: SubnetId) -> photon_store::Result<()> {
    transaction
        .empty_below(&key::addresses(id))?
        .empty_below(&key::users(id))?;
    Ok(())
}
