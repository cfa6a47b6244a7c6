//! The use cases of external networks.

use std::net::Ipv4Addr;

use photon_auth::Context;
use photon_authz::{Permission, Scope};
use photon_core::{Error, Name};
use photon_server::Mode;
use photon_store::{PageRequest, Scan, Stored, Transaction};
use prismnet_model::{
    AddressRange, Block, ExternalNetwork, ExternalNetworkId, Host,
    external::{ExternalBlock, ExternalLayout, LAYOUT, MOST_NETWORKS},
    key,
};

use super::{
    ExternalNetworkChange, ExternalNetworkFilter, NewExternalNetwork, given,
    ranges::{self, has},
};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    listing::{self, Ask, Listing},
    pool::Source as _,
    refusal::{self, User},
    users,
    versioned::{Versioned, expect},
};

/// Who may do this at the system is shown by which interfaces hosts reach a network.
const UPDATE: &str = "prismnet.external_networks.update";

/// Addresses of a pool that hosts have, and that are named.
const MOST_HELD: usize = 100;

/// The line in which those stand who change the layout.
const TURN: &str = "external networks";

pub(crate) fn named(id: ExternalNetworkId) -> String {
    format!("external network {id}")
}

fn act(network: &ExternalNetwork) -> Act {
    Act::of_system("external_network", network.id)
}

/// Makes an external network.
pub(crate) async fn create(
    app: &App,
    ctx: &Context,
    new: NewExternalNetwork,
) -> Result<Versioned<ExternalNetwork>, Error> {
    ctx.allow(&Scope::System)?;
    let now = clock::now();
    let network = ExternalNetwork {
        id: ExternalNetworkId::generate(),
        name: new.name.into(),
        cidr_block: new.cidr_block,
        gateway_ip: new.gateway_ip,
        pool: new
            .pool
            .unwrap_or_else(|| ranges::whole(new.cidr_block, new.gateway_ip)),
        uplinks: new.uplinks,
        description: new.description.into(),
        created_at: now,
        updated_at: now,
    };
    ranges::check(network.cidr_block, network.gateway_ip, &network.pool)?;
    keep_off_hosts(app, &network.pool).await?;
    let _turn = app.turns.take(ctx, TURN).await?;
    contended(ctx, || try_create(app, ctx, &network)).await
}

async fn try_create(
    app: &App,
    ctx: &Context,
    network: &ExternalNetwork,
) -> Result<Versioned<ExternalNetwork>, Lost> {
    let own = ExternalBlock {
        id: network.id,
        cidr_block: network.cidr_block,
    };
    let layouts = app.records::<ExternalLayout>();
    let mut transaction = app.store.transaction();
    match layouts.get(LAYOUT).await? {
        Some(mut layout) => {
            check_place(&layout.value, network.cidr_block)?;
            layout.value.networks.push(own);
            transaction.replace(&layouts, &layout)?;
        }
        None => {
            let first = ExternalLayout {
                networks: vec![own],
            };
            transaction.create(&layouts, LAYOUT, &first)?;
        }
    }
    transaction.create(&app.records(), &network.key(), network)?;
    let done = app.commit_new(ctx, transaction, &act(network)).await;
    // That something exists already can only be the first layout: somebody else's.
    let revision = done.map_err(Lost::to_create)?;
    Ok(Versioned::new(network.clone(), revision))
}

/// Whether there is room for a block among those there are.
fn check_place(layout: &ExternalLayout, block: Block) -> Result<(), Error> {
    let mut networks = layout.networks.iter();
    if let Some(other) = networks.find(|other| other.cidr_block.overlaps(block)) {
        return Err(refusal::overlaps_outside(block, other));
    }
    if layout.networks.len() >= MOST_NETWORKS {
        return Err(refusal::too_many("external networks", MOST_NETWORKS));
    }
    Ok(())
}

/// What hosts have, or are reached by by each other, is not given out. (A host that comes later with an address of a pool is not told to
/// the others.)
async fn keep_off_hosts(app: &App, pool: &[AddressRange]) -> Result<(), Error> {
    let hosts = app.records::<Host>().list(&PageRequest::default()).await?;
    let mut hosts = hosts.items.iter().map(|host| &host.value);
    if let Some((host, address)) = app.hosts.find_address(|address| has(pool, address)) {
        let message = format!("pool has {address}, which is that of host {host}");
        return Err(Error::validation("pool", "host", message));
    }
    match hosts.find(|host| has(pool, host.vtep)) {
        Some(host) => {
            let message = format!(
                "pool has {}, which is that of host {}",
                host.vtep, host.host
            );
            Err(Error::validation("pool", "vtep", message))
        }
        None => Ok(()),
    }
}

/// Reads an external network, for whoever may see any.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: ExternalNetworkId,
) -> Result<Versioned<ExternalNetwork>, Error> {
    ctx.allow_somewhere()?;
    let network = read(app, id).await?;
    Ok(network.ok_or_else(|| Error::not_found(named(id)))?.into())
}

/// An external network, for use cases that have decided whether they may use it.
pub(crate) async fn read(
    app: &App,
    id: ExternalNetworkId,
) -> photon_store::Result<Option<Stored<ExternalNetwork>>> {
    app.records::<ExternalNetwork>().get(&id.to_string()).await
}

/// An external network, if the caller may do what it asks for to all of them.
async fn find(
    app: &App,
    ctx: &Context,
    id: ExternalNetworkId,
) -> Result<Stored<ExternalNetwork>, Error> {
    ctx.allow(&Scope::System)?;
    let network = read(app, id).await?;
    network.ok_or_else(|| Error::not_found(named(id)))
}

/// The addresses of the pool that are not given out because hosts have them, each with its host: as many as are named.
pub(crate) fn held_by_hosts(app: &App, network: &ExternalNetwork) -> Vec<(Ipv4Addr, Name)> {
    let held = app.hosts.outside(&network.pool);
    held.into_iter().take(MOST_HELD).collect()
}

/// Whether the caller is shown what hosts have to do with a network: by which interfaces they reach it, which addresses of its
/// pool they have.
pub(crate) fn sees_hosts(app: &App, ctx: &Context) -> Result<bool, Error> {
    let update = Permission::new(UPDATE).map_err(Error::internal)?;
    // In dev mode everybody may change it.
    Ok(app.mode == Mode::Dev || ctx.is_given(&update, &Scope::System))
}

/// Lists the external networks, for whoever may see any.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &ExternalNetworkFilter,
    ask: &Ask,
) -> Result<Listing<ExternalNetwork>, Error> {
    ctx.allow_somewhere()?;
    let keep = |network: &ExternalNetwork| {
        let name = filter.name.as_ref();
        name.is_none_or(|name| *name == network.name)
    };
    listing::list(&app.records(), "", ask, keep).await
}

/// Changes an external network.
pub(crate) async fn update(
    app: &App,
    ctx: &Context,
    id: ExternalNetworkId,
    change: &ExternalNetworkChange,
    expected: Option<i64>,
) -> Result<Versioned<ExternalNetwork>, Error> {
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: ExternalNetworkId,
    change: &ExternalNetworkChange,
    expected: Option<i64>,
) -> Result<Versioned<ExternalNetwork>, Lost> {
    let mut network = find(app, ctx, id).await?;
    expect(&network, expected)?;
    let before = network.value.clone();
    apply(&mut network.value, change);
    if network.value == before {
        return Ok(network.into());
    }
    let after = &network.value;
    ranges::check(after.cidr_block, after.gateway_ip, &after.pool)?;
    let mut transaction = app.store.transaction();
    if after.pool != before.pool {
        keep_off_hosts(app, &after.pool).await?;
        keep_what_is_given(app, &mut transaction, after).await?;
    }
    network.value.updated_at = clock::now();
    transaction.replace(&app.records(), &network)?;
    let act = act(&network.value).changed(&before, &network.value);
    let revision = app.commit(ctx, &transaction, &act).await?;
    Ok(Versioned::new(network.value, revision))
}

fn apply(network: &mut ExternalNetwork, change: &ExternalNetworkChange) {
    if let Some(name) = &change.name {
        network.name = name.as_str().to_owned();
    }
    if let Some(description) = &change.description {
        network.description = description.as_str().to_owned();
    }
    if let Some(gateway_ip) = change.gateway_ip {
        network.gateway_ip = gateway_ip;
    }
    if let Some(pool) = &change.pool {
        network.pool.clone_from(pool);
    }
    if let Some(uplinks) = &change.uplinks {
        network.uplinks.clone_from(uplinks);
    }
}

/// Refuses a pool without an address that was given out, and makes the transaction require that none is given out meanwhile.
async fn keep_what_is_given(
    app: &App,
    transaction: &mut Transaction,
    network: &ExternalNetwork,
) -> Result<(), Lost> {
    // Before anything is looked at: whatever is given out later makes the transaction fail.
    let since = given::since(&app.store, network.id).await?;
    let users = given_outside(app, network).await?;
    if !users.is_empty() {
        return Err(users::in_use("an address outside the pool", users));
    }
    given::nothing_since(transaction, network.id, since)?;
    Ok(())
}

/// The floating IPs, up to one more than are named, whose address is in the block and not in the pool.
async fn given_outside(app: &App, network: &ExternalNetwork) -> photon_store::Result<Vec<User>> {
    let mut users = Vec::new();
    let mut scan: Scan = network.claims();
    while users.len() <= refusal::NAMED {
        let page = app.store.scan(&scan).await?;
        for entry in &page.entries {
            let is_left = |address: Ipv4Addr| has(&network.pool, address);
            if !key::claimed_address(&entry.key).is_some_and(is_left) {
                users.extend(users::user(&entry.value));
            }
        }
        match page.entries.last() {
            Some(last) if page.more => scan.from = Some(crate::pool::behind(&last.key)),
            _ => break,
        }
    }
    Ok(users)
}

/// Deletes an external network that no floating IP is from.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    id: ExternalNetworkId,
    expected: Option<i64>,
) -> Result<i64, Error> {
    contended(ctx, || try_delete(app, ctx, id, expected)).await
}

async fn try_delete(
    app: &App,
    ctx: &Context,
    id: ExternalNetworkId,
    expected: Option<i64>,
) -> Result<i64, Lost> {
    let network = find(app, ctx, id).await?;
    expect(&network, expected)?;
    let layouts = app.records::<ExternalLayout>();
    // The network was there a moment ago, and so was this.
    let mut layout = layouts.get(LAYOUT).await?.ok_or(Lost::Race)?;
    layout.value.networks.retain(|own| own.id != id);
    let mut transaction = app.store.transaction();
    transaction.replace(&layouts, &layout)?;
    // Whoever takes an address of it requires it to be as it was: one of both loses.
    transaction.delete(&app.records(), &network)?;
    transaction.empty_below(&key::users(id))?;
    given::forget(&mut transaction, id)?;
    match app.commit(ctx, &transaction, &act(&network.value)).await {
        Ok(revision) => Ok(revision),
        Err(photon_store::Error::NotEmpty { .. }) => {
            Err(users::of(app, &named(id), &[key::users(id)]).await?)
        }
        Err(error) => Err(error.into()),
    }
}
