//! The use cases of routes.

use photon_auth::Context;
use photon_core::Error;
use photon_store::Stored;
use prismnet_model::{
    Block, BlockError, Layout, Route, RouteId, Subnet, SubnetId, Vpc,
    block::RESERVED,
    layout::{MOST_ROUTES, Routed},
    route::index,
    subnet,
};

use super::{NewRoute, RouteFilter};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    listing::{self, Ask, Listing},
    quota::{Held, Unit},
    refusal,
    scope::{self, Home, Owner},
    subnet::service::{self as subnets, in_body},
    versioned::Versioned,
    vpc,
};

fn named(id: RouteId) -> String {
    format!("route {id}")
}

fn home(route: &Stored<Route>) -> Home {
    Home {
        org: route.value.org.clone(),
        project: route.value.project.clone(),
    }
}

fn act(route: &Route) -> Act {
    Act::new("route", route.id, &route.project)
        .detail("vpc_id", route.vpc.to_string())
        .detail("destination", route.destination.to_string())
        .detail("next_hop", route.next_hop.to_string())
}

/// Makes a route in a VPC.
pub(crate) async fn create(
    app: &App,
    ctx: &Context,
    new: NewRoute,
) -> Result<Versioned<Route>, Error> {
    let vpc = vpc_for(app, ctx, &new).await?;
    let id = RouteId::generate();
    let project = &vpc.value.project;
    let held = app
        .quota
        .hold(ctx, project, Unit::Route, &id.to_string())
        .await?;
    match create_in_turn(app, ctx, id, &new, &held).await {
        Ok(route) => {
            app.quota.made(held, route.revision);
            Ok(route)
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
    id: RouteId,
    new: &NewRoute,
    held: &Held,
) -> Result<Versioned<Route>, Error> {
    let _turn = app.turns.take(ctx, new.vpc).await?;
    contended(ctx, || try_create(app, ctx, id, new, held)).await
}

async fn vpc_for(app: &App, ctx: &Context, new: &NewRoute) -> Result<Stored<Vpc>, Error> {
    let found = vpc::service::find(app, ctx, new.vpc, &Owner::default()).await;
    found.map_err(|error| in_body("vpc_id", error))
}

async fn try_create(
    app: &App,
    ctx: &Context,
    id: RouteId,
    new: &NewRoute,
    held: &Held,
) -> Result<Versioned<Route>, Lost> {
    let vpc = vpc_for(app, ctx, new).await?;
    let mut layout = vpc::service::layout_of(app, new.vpc).await?;
    let subnet = check(&vpc.value, &layout.value, new)?;
    let subnet = hop_in(app, subnet, new).await?;
    layout.value.routes.push(Routed {
        id,
        destination: new.destination,
    });
    let route = Route {
        id,
        vpc: vpc.value.id,
        org: vpc.value.org.clone(),
        project: vpc.value.project.clone(),
        destination: new.destination,
        next_hop: new.next_hop,
        subnet: subnet.value.id,
        description: new.description.as_str().to_owned(),
        created_at: clock::now(),
    };
    let mut transaction = app.store.transaction();
    transaction.unchanged(&app.records(), &vpc)?;
    transaction.unchanged(&app.records(), &subnet)?;
    transaction.replace(&app.records(), &layout)?;
    transaction.create(&app.records(), &route.key(), &route)?;
    app.quota.remember(&mut transaction, held)?;
    let revision = app.commit_new(ctx, transaction, &act(&route)).await?;
    Ok(Versioned::new(route, revision))
}

/// The subnet that the next hop lies in, if there is nothing against the route.
fn check(vpc: &Vpc, layout: &Layout, new: &NewRoute) -> Result<SubnetId, Error> {
    let block = vpc.cidr_block.block();
    if new.destination != Block::ANY && new.destination.overlaps(block) {
        let message = format!("destination {} must not overlap {block}", new.destination);
        return Err(Error::validation("destination", "outside_vpc", message));
    }
    // What is wider than these may be led anywhere; they themselves mean something on every host.
    let mut reserved = RESERVED.into_iter();
    if let Some(range) = reserved.find(|range| range.contains(new.destination)) {
        return Err(refusal::block("destination", BlockError::Reserved(range)));
    }
    let Some(placed) = layout.subnet_of(new.next_hop) else {
        let message = format!("next_hop {} is in no subnet of the VPC", new.next_hop);
        return Err(Error::validation("next_hop", "within_vpc", message));
    };
    if let Some(routed) = layout.route_to(new.destination) {
        let what = format!("a route to {}", new.destination);
        return Err(refusal::exists(&what, Some(routed.id)));
    }
    if layout.routes.len() >= MOST_ROUTES {
        return Err(refusal::too_many("routes in a VPC", MOST_ROUTES));
    }
    Ok(placed.id)
}

/// The subnet, if the next hop can be a port's address in it.
async fn hop_in(app: &App, id: SubnetId, new: &NewRoute) -> Result<Stored<Subnet>, Lost> {
    let found = app
        .records::<Subnet>()
        .get_by_index(&subnet::index(id))
        .await?;
    // It was in the layout a moment ago.
    let subnet = found.ok_or(Lost::Race)?;
    if !subnet.value.is_for_ports(new.next_hop) {
        let message = "next_hop must not be the subnet's network, broadcast or gateway";
        return Err(Error::validation("next_hop", "reserved", message).into());
    }
    Ok(subnet)
}

/// Reads a route.
pub(crate) async fn get(app: &App, ctx: &Context, id: RouteId) -> Result<Versioned<Route>, Error> {
    Ok(find(app, ctx, id).await?.into())
}

async fn find(app: &App, ctx: &Context, id: RouteId) -> Result<Stored<Route>, Error> {
    let found = app.records::<Route>().get_by_index(&index(id)).await?;
    scope::allow_found(ctx, found, home, &named(id))
}

/// Lists the routes the caller may see.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &RouteFilter,
    ask: &Ask,
) -> Result<Listing<Route>, Error> {
    let visible = ctx.visible()?;
    let keep = |route: &Route| {
        filter.owner.is(&route.org, &route.project)
            && filter.vpc.is(route.vpc)
            && scope::is_visible(ctx, &visible, &route.project)
    };
    let prefix = subnets::prefix(app, ctx, &filter.owner, filter.vpc).await?;
    listing::list(&app.records(), &prefix, ask, keep).await
}

/// Deletes a route.
pub(crate) async fn delete(app: &App, ctx: &Context, id: RouteId) -> Result<i64, Error> {
    contended(ctx, || try_delete(app, ctx, id)).await
}

async fn try_delete(app: &App, ctx: &Context, id: RouteId) -> Result<i64, Lost> {
    let route = find(app, ctx, id).await?;
    let mut layout = vpc::service::layout_of(app, route.value.vpc).await?;
    layout.value.routes.retain(|routed| routed.id != id);
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &layout)?;
    transaction.delete(&app.records(), &route)?;
    let (project, name) = (&route.value.project, id.to_string());
    let freed = app
        .quota
        .forget(&mut transaction, project, Unit::Route, &name)?;
    let revision = app.commit(ctx, &transaction, &act(&route.value)).await?;
    app.quota.made(freed, revision);
    Ok(revision)
}
