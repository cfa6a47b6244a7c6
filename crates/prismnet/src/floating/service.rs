//! The use cases of floating IPs.

use std::net::Ipv4Addr;

use futures::{StreamExt as _, TryStreamExt as _};
use photon_auth::Context;
use photon_core::Error;
use photon_store::{Stored, Transaction};
use prismnet_model::{
    ExternalNetwork, FloatingIp, FloatingIpId, GoneFloatingIp, Port, PortId, external,
    floating::{index, of_port},
};

use super::{FloatingIpChange, FloatingIpFilter, NewFloatingIp};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    external::{given, ranges, service as networks},
    listing::{self, Ask, Listing},
    pool::Reserved,
    port::service as ports,
    quota::{Held, Unit},
    refusal,
    scope::{self, Home, Owner},
    versioned::{Versioned, expect},
    wanted::Wanted,
};

/// Claims that are lost to others one after the other before an attempt makes a pause.
const TRIES: usize = 8;

/// Ports that are read side by side for a list.
const SIDE_BY_SIDE: usize = 32;

/// A floating IP, and the port that has it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) floating: Versioned<FloatingIp>,
    /// None, too, if it has been given another one or none meanwhile.
    pub(crate) port: Option<Port>,
}

fn named(id: FloatingIpId) -> String {
    format!("floating ip {id}")
}

fn home(floating: &Stored<FloatingIp>) -> Home {
    Home {
        org: floating.value.org.clone(),
        project: floating.value.project.clone(),
    }
}

fn act(floating: &FloatingIp) -> Act {
    Act::new("floating_ip", floating.id, &floating.project)
        .detail("address", floating.address.to_string())
}

/// Allocates a floating IP to a project, and associates it with a port if one is named.
pub(crate) async fn create(app: &App, ctx: &Context, new: NewFloatingIp) -> Result<Shown, Error> {
    scope::allow_new(ctx, &new.home)?;
    // Before anything is asked of CreditService: most mistakes are found here.
    let network = network_for(app, &new).await?;
    check_address(&network.value, new.address)?;
    port_for(app, &new.home, new.port).await?;
    let id = FloatingIpId::generate();
    let project = &new.home.project;
    let held = app
        .quota
        .hold(ctx, project, Unit::FloatingIp, &id.to_string())
        .await?;
    match contended(ctx, || try_create(app, ctx, id, &new, &held)).await {
        Ok(made) => {
            app.quota.made(held, made.floating.revision);
            Ok(made)
        }
        Err(error) => {
            app.quota.give_up(held).await;
            Err(error)
        }
    }
}

/// Where the address is from. Which there are, everybody may know.
async fn network_for(app: &App, new: &NewFloatingIp) -> Result<Stored<ExternalNetwork>, Error> {
    let network = networks::read(app, new.network).await?;
    let what = networks::named(new.network);
    network.ok_or_else(|| refusal::nothing("external_network_id", &what))
}

fn check_address(network: &ExternalNetwork, wanted: Option<Ipv4Addr>) -> Result<(), Error> {
    match wanted {
        Some(address) if !ranges::has(&network.pool, address) => {
            let message = format!("address {address} must be in the pool of {}", network.id);
            Err(Error::validation("address", "within_pool", message))
        }
        _ => Ok(()),
    }
}

/// The port that is to have it, of the same project. Another project's is not this caller's business.
async fn port_for(
    app: &App,
    home: &Home,
    id: Option<PortId>,
) -> Result<Option<Stored<Port>>, Error> {
    let Some(id) = id else {
        return Ok(None);
    };
    let port = port_in(app, home, id).await?;
    let port = port.ok_or_else(|| refusal::nothing("port_id", &ports::named(id)))?;
    Ok(Some(port))
}

async fn port_in(app: &App, home: &Home, id: PortId) -> photon_store::Result<Option<Stored<Port>>> {
    let key = format!("{}{id}", home.prefix());
    app.records::<Port>().get(&key).await
}

async fn try_create(
    app: &App,
    ctx: &Context,
    id: FloatingIpId,
    new: &NewFloatingIp,
    held: &Held,
) -> Result<Shown, Lost> {
    let network = network_for(app, new).await?;
    check_address(&network.value, new.address)?;
    let port = port_for(app, &new.home, new.port).await?;
    if let Some(address) = new.address
        && app.hosts.has_outside(address)
    {
        return Err(refusal::outside_in_use(address).into());
    }
    for _ in 0..TRIES {
        let reserved = match new.address {
            Some(_) => None,
            None => {
                let held = app.hosts.outside(&network.value.pool);
                Some(app.outside.next(&network.value, held.into_keys()).await?)
            }
        };
        let address = reserved.as_ref().map(Reserved::address).or(new.address);
        let address = address.ok_or_else(|| Error::internal("no address was chosen"))?;
        let floating = floating_of(id, new, address);
        let mut transaction = app.store.transaction();
        transaction.unchanged(&app.records(), &network)?;
        require(app, &mut transaction, port.as_ref())?;
        transaction.create(&app.records(), &floating.key(), &floating)?;
        given::note(&mut transaction, network.value.id, id)?;
        app.quota.remember(&mut transaction, held)?;
        match app.commit_new(ctx, transaction, &act(&floating)).await {
            Ok(revision) => {
                match reserved {
                    Some(reserved) => reserved.taken(),
                    None => app.outside.taken(network.value.id, address),
                }
                return Ok(Shown {
                    floating: Versioned::new(floating, revision),
                    port: port.map(|port| port.value),
                });
            }
            Err(photon_store::Error::AlreadyExists { key })
                if key == external::address(address) =>
            {
                match reserved {
                    Some(reserved) => reserved.lost(),
                    None => return Err(refusal::outside_in_use(address).into()),
                }
            }
            Err(error) => {
                // Whether it was made, nobody knows.
                if let (photon_store::Error::Unknown { .. }, Some(reserved)) = (&error, reserved) {
                    reserved.taken();
                }
                return Err(why(app, error, floating.port).await?);
            }
        }
    }
    Err(Lost::Race)
}

fn floating_of(id: FloatingIpId, new: &NewFloatingIp, address: Ipv4Addr) -> FloatingIp {
    let now = clock::now();
    FloatingIp {
        id,
        org: new.home.org.clone(),
        project: new.home.project.clone(),
        external_network: new.network,
        address,
        port: new.port,
        description: new.description.as_str().to_owned(),
        created_at: now,
        updated_at: now,
    }
}

/// Whoever deletes the port requires that it has none: one of both loses.
fn require(
    app: &App,
    transaction: &mut Transaction,
    port: Option<&Stored<Port>>,
) -> photon_store::Result<()> {
    match port {
        Some(port) => transaction.unchanged(&app.records(), port).map(|_| ()),
        None => Ok(()),
    }
}

/// Why nothing was written: perhaps that the port has one.
async fn why(app: &App, error: photon_store::Error, port: Option<PortId>) -> Result<Lost, Error> {
    let (photon_store::Error::AlreadyExists { key }, Some(port)) = (&error, port) else {
        return Ok(error.into());
    };
    if *key != of_port(port) {
        return Ok(error.into());
    }
    let other = app.records::<FloatingIp>().get_by_index(key).await?;
    Ok(match other {
        Some(other) => {
            let what = format!("a floating ip of {port}");
            refusal::exists(&what, Some(other.value.id)).into()
        }
        // It had one a moment ago.
        None => Lost::Race,
    })
}

/// Reads a floating IP.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: FloatingIpId,
    owner: &Owner,
) -> Result<Shown, Error> {
    let floating = find(app, ctx, id, owner).await?;
    shown(app, floating.into()).await
}

async fn find(
    app: &App,
    ctx: &Context,
    id: FloatingIpId,
    owner: &Owner,
) -> Result<Stored<FloatingIp>, Error> {
    let found = app.records::<FloatingIp>().get_by_index(&index(id)).await?;
    let floating = scope::allow_found(ctx, found, home, &named(id))?;
    if !owner.is(&floating.value.org, &floating.value.project) {
        return Err(Error::not_found(named(id)));
    }
    Ok(floating)
}

/// With its port, as it is now.
async fn shown(app: &App, floating: Versioned<FloatingIp>) -> Result<Shown, Error> {
    let port = match floating.value.port {
        Some(port) => {
            let home = Home {
                org: floating.value.org.clone(),
                project: floating.value.project.clone(),
            };
            port_in(app, &home, port).await?
        }
        None => None,
    };
    Ok(Shown {
        floating,
        port: port.map(|port| port.value),
    })
}

/// Lists the floating IPs the caller may see.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &FloatingIpFilter,
    ask: &Ask,
) -> Result<(Vec<Shown>, Option<String>), Error> {
    let visible = ctx.visible()?;
    let keep = |floating: &FloatingIp| {
        filter.is(floating) && scope::is_visible(ctx, &visible, &floating.project)
    };
    let Some(prefix) = prefix(app, ctx, filter).await? else {
        return Ok((Vec::new(), None));
    };
    let Listing {
        items,
        next_page_token,
    } = listing::list(&app.records(), &prefix, ask, keep).await?;
    let rows = futures::stream::iter(items).map(|floating| shown(app, floating));
    let rows = rows.buffered(SIDE_BY_SIDE).try_collect().await?;
    Ok((rows, next_page_token))
}

/// What the keys of all that is meant begin with; `None` if nothing can be.
async fn prefix(
    app: &App,
    ctx: &Context,
    filter: &FloatingIpFilter,
) -> Result<Option<String>, Error> {
    // Of a port and of an address there is one at most, and an index leads to it.
    let index = match (filter.address, filter.port) {
        (Some(address), _) => external::address(address),
        (None, Wanted::One(port)) => of_port(port),
        (None, _) => return Ok(Some(filter.owner.prefix(ctx))),
    };
    let only = app.records::<FloatingIp>().get_by_index(&index).await?;
    Ok(only.map(|only| only.key))
}

/// Changes a floating IP: what it is for, and which port has it.
pub(crate) async fn update(
    app: &App,
    ctx: &Context,
    id: FloatingIpId,
    change: &FloatingIpChange,
    expected: Option<i64>,
) -> Result<Shown, Error> {
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: FloatingIpId,
    change: &FloatingIpChange,
    expected: Option<i64>,
) -> Result<Shown, Lost> {
    let mut floating = find(app, ctx, id, &Owner::default()).await?;
    expect(&floating, expected)?;
    let before = floating.value.clone();
    if let Some(description) = &change.description {
        floating.value.description = description.as_str().to_owned();
    }
    if let Some(port) = change.port {
        floating.value.port = port;
    }
    if floating.value == before {
        return Ok(shown(app, floating.into()).await?);
    }
    let mut transaction = app.store.transaction();
    if floating.value.port != before.port {
        let port = port_for(app, &home(&floating), floating.value.port).await?;
        require(app, &mut transaction, port.as_ref())?;
    }
    floating.value.updated_at = clock::now();
    transaction.replace(&app.records(), &floating)?;
    let act = act(&floating.value).changed(&before, &floating.value);
    match app.commit(ctx, &transaction, &act).await {
        Ok(revision) => {
            let changed = Versioned::new(floating.value, revision);
            Ok(shown(app, changed).await?)
        }
        Err(error) => Err(why(app, error, floating.value.port).await?),
    }
}

/// Releases a floating IP; its address is free, and its port has none.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    id: FloatingIpId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<i64, Error> {
    let (floating, revision) = contended(ctx, || try_delete(app, ctx, id, owner, expected)).await?;
    app.outside
        .free(floating.external_network, floating.address);
    Ok(revision)
}

async fn try_delete(
    app: &App,
    ctx: &Context,
    id: FloatingIpId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<(FloatingIp, i64), Lost> {
    let floating = find(app, ctx, id, owner).await?;
    expect(&floating, expected)?;
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &floating)?;
    let gone = GoneFloatingIp::of(&floating.value, clock::now());
    transaction.create(&app.records(), &gone.key(), &gone)?;
    let (project, name) = (&floating.value.project, id.to_string());
    let freed = app
        .quota
        .forget(&mut transaction, project, Unit::FloatingIp, &name)?;
    let act = act(&floating.value);
    let revision = app.commit(ctx, &transaction, &act).await?;
    app.quota.made(freed, revision);
    Ok((floating.value, revision))
}
