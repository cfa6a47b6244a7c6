//! The use cases of ports.

use std::net::Ipv4Addr;

use photon_auth::Context;
use photon_authz::{Permission, Scope};
use photon_core::{Error, Name};
use photon_store::{Stored, Transaction};
use prismnet_model::{
    Gone, GroupId, Mac, Port, PortId, PortKind, SecurityGroup, Subnet, SubnetId, key, port::index,
    subnet,
};

use super::{NewPort, PortChange, PortFilter};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    group::service::{self as groups, refuse_deleting},
    listing::{self, Ask, Listing},
    pool::Reserved,
    quota::{Held, Unit},
    refusal,
    scope::{self, Home, Owner},
    subnet::service::{self as subnets, in_body},
    users,
    versioned::{Versioned, expect},
    wanted::Wanted,
};

/// Claims that are lost to others one after the other before an attempt makes a pause.
const TRIES: usize = 8;

/// What one must be allowed to do, at the system, to say on which host a port is.
const BIND: &str = "prismnet.ports.bind";

pub(crate) fn named(id: PortId) -> String {
    format!("port {id}")
}

fn home(port: &Stored<Port>) -> Home {
    Home {
        org: port.value.org.clone(),
        project: port.value.project.clone(),
    }
}

fn act(port: &Port) -> Act {
    Act::new("port", port.id, &port.project)
}

/// Makes a port in a subnet. Its org and project are the subnet's.
pub(crate) async fn create(
    app: &App,
    ctx: &Context,
    new: NewPort,
) -> Result<Versioned<Port>, Error> {
    let subnet = subnet_for(app, ctx, &new).await?;
    check(ctx, &subnet.value, &new)?;
    let id = PortId::generate();
    let project = &subnet.value.project;
    let held = app
        .quota
        .hold(ctx, project, Unit::Port, &id.to_string())
        .await?;
    match contended(ctx, || try_create(app, ctx, id, &new, &held)).await {
        Ok(port) => {
            app.quota.made(held, port.revision);
            Ok(port)
        }
        Err(error) => {
            app.quota.give_up(held).await;
            Err(error)
        }
    }
}

/// What is wrong with it whoever else there is.
fn check(ctx: &Context, subnet: &Subnet, new: &NewPort) -> Result<(), Error> {
    check_host(ctx, new.kind, new.host.as_ref())?;
    new.ip_address
        .map_or(Ok(()), |address| check_address(subnet, address))
}

fn check_host(ctx: &Context, kind: PortKind, host: Option<&Name>) -> Result<(), Error> {
    if host.is_none() {
        return Ok(());
    }
    if kind == PortKind::Vip {
        let message = "host_id does not go with a vip: it is an address without a host";
        return Err(Error::validation("host_id", "kind", message));
    }
    let bind = Permission::new(BIND).map_err(Error::internal)?;
    ctx.allow_permission(&bind, &Scope::System)
}

fn check_address(subnet: &Subnet, address: Ipv4Addr) -> Result<(), Error> {
    const FIELD: &str = "ip_address";
    let block = subnet.cidr_block;
    if !block.block().has(address) {
        let message = format!("{FIELD} {address} must lie within {block}");
        return Err(Error::validation(FIELD, "within_subnet", message));
    }
    if !subnet.is_for_ports(address) {
        let message = format!("{FIELD} must not be the subnet's network, broadcast or gateway");
        return Err(Error::validation(FIELD, "reserved", message));
    }
    Ok(())
}

/// The subnet, if the caller may make ports in it.
async fn subnet_for(app: &App, ctx: &Context, new: &NewPort) -> Result<Stored<Subnet>, Error> {
    let found = known_subnet(app, new.subnet).await?;
    let what = subnets::named(new.subnet);
    let found = scope::allow_found(ctx, found, subnets::home, &what);
    let subnet = found.map_err(|error| in_body("subnet_id", error))?;
    if !new.owner.is(&subnet.value.org, &subnet.value.project) {
        return Err(refusal::nothing("subnet_id", &what));
    }
    Ok(subnet)
}

async fn known_subnet(app: &App, id: SubnetId) -> Result<Option<Stored<Subnet>>, Error> {
    if let Some(known) = app.known.subnets.get(&id) {
        return Ok(Some(known));
    }
    let found = app
        .records::<Subnet>()
        .get_by_index(&subnet::index(id))
        .await?;
    if let Some(subnet) = &found {
        app.known.subnets.insert(id, subnet.clone());
    }
    Ok(found)
}

async fn try_create(
    app: &App,
    ctx: &Context,
    id: PortId,
    new: &NewPort,
    held: &Held,
) -> Result<Versioned<Port>, Lost> {
    let subnet = subnet_for(app, ctx, new).await?;
    let groups = match &new.groups {
        Some(ids) => groups_of(app, &subnets::home(&subnet), ids).await?,
        None => vec![default_group(app, ctx, &subnets::home(&subnet)).await?],
    };
    if let Some(address) = new.ip_address
        && let Some(holder) = app.hosts.holder(subnet.value.vpc, address)
    {
        return Err(refusal::address_held(address, holder).into());
    }
    for _ in 0..TRIES {
        let reserved = match new.ip_address {
            Some(_) => None,
            None => {
                let held = app.hosts.held(subnet.value.vpc);
                Some(app.pools.next(&subnet.value, held).await?)
            }
        };
        let address = reserved.as_ref().map(Reserved::address).or(new.ip_address);
        let address = address.ok_or_else(|| Error::internal("no address was chosen"))?;
        let port = port_of(id, &subnet.value, new, address, &groups);
        let mut transaction = app.store.transaction();
        transaction.unchanged(&app.records(), &subnet)?;
        for group in &groups {
            transaction.unchanged(&app.records(), group)?;
        }
        transaction.create(&app.records(), &port.key(), &port)?;
        app.quota.remember(&mut transaction, held)?;
        let error = match app.commit_new(ctx, transaction, &act(&port)).await {
            Ok(revision) => {
                match reserved {
                    Some(reserved) => reserved.taken(),
                    None => app.pools.taken(subnet.value.id, address),
                }
                return Ok(Versioned::new(port, revision));
            }
            Err(error) => error,
        };
        match why(&error, &port) {
            Why::Address => match reserved {
                Some(reserved) => reserved.lost(),
                None => return Err(address_taken(app, &port).await?.into()),
            },
            Why::Mac if new.mac_address.is_some() => {
                return Err(mac_taken(app, &port).await?.into());
            }
            Why::Mac => {}
            Why::Changed => {
                forget(app, &subnet.value, &groups);
                return Err(Lost::Race);
            }
            Why::Unknown => {
                if let Some(reserved) = reserved {
                    reserved.taken();
                }
                return Err(error.into());
            }
            Why::Other => return Err(error.into()),
        }
    }
    Err(Lost::Race)
}

fn port_of(
    id: PortId,
    subnet: &Subnet,
    new: &NewPort,
    address: Ipv4Addr,
    groups: &[Stored<SecurityGroup>],
) -> Port {
    let now = clock::now();
    let text = |label: &Option<prismnet_model::Label>| {
        label.as_ref().map(|label| label.as_str().to_owned())
    };
    Port {
        id,
        name: text(&new.name).unwrap_or_default(),
        vpc: subnet.vpc,
        subnet: subnet.id,
        org: subnet.org.clone(),
        project: subnet.project.clone(),
        kind: new.kind,
        mac_address: new.mac_address.unwrap_or_else(|| Mac::ours(rand::random())),
        ip_address: address,
        security_groups: groups.iter().map(|group| group.value.id).collect(),
        host: new.host.clone(),
        device: text(&new.device),
        description: new.description.as_str().to_owned(),
        created_at: now,
        updated_at: now,
    }
}

/// Why a port was not made.
enum Why {
    /// Somebody has the address.
    Address,
    /// Somebody has the MAC address.
    Mac,
    /// The subnet or a group is not as it was.
    Changed,
    /// Nobody knows whether it was.
    Unknown,
    /// Something else.
    Other,
}

fn why(error: &photon_store::Error, port: &Port) -> Why {
    match error {
        photon_store::Error::AlreadyExists { key } => {
            if *key == key::address(port.subnet, port.ip_address) {
                Why::Address
            } else if *key == key::mac(port.vpc, port.mac_address) {
                Why::Mac
            } else {
                Why::Other
            }
        }
        photon_store::Error::Conflict { .. } | photon_store::Error::NotFound { .. } => Why::Changed,
        photon_store::Error::Unknown { .. } => Why::Unknown,
        _ => Why::Other,
    }
}

/// The next attempt reads them again.
fn forget(app: &App, subnet: &Subnet, groups: &[Stored<SecurityGroup>]) {
    app.known.subnets.invalidate(&subnet.id);
    for group in groups {
        app.known.groups.invalidate(&group.value.id);
    }
}

async fn address_taken(app: &App, port: &Port) -> Result<Error, Error> {
    let claim = key::address(port.subnet, port.ip_address);
    let other = app.records::<Port>().get_by_index(&claim).await?;
    let id = other.map(|other| other.value.id);
    Ok(refusal::address_in_use(port.ip_address, id))
}

async fn mac_taken(app: &App, port: &Port) -> Result<Error, Error> {
    let claim = key::mac(port.vpc, port.mac_address);
    let other = app.records::<Port>().get_by_index(&claim).await?;
    let id = other.map(|other| other.value.id);
    Ok(refusal::mac_in_use(port.mac_address, id))
}

/// The groups of a port, all of its own project.
async fn groups_of(
    app: &App,
    home: &Home,
    ids: &[GroupId],
) -> Result<Vec<Stored<SecurityGroup>>, Error> {
    let mut groups = Vec::with_capacity(ids.len());
    for id in ids {
        let found = known_group(app, *id).await?;
        // Another project's are not this caller's business, whatever it may see elsewhere.
        let found = found.filter(|group| groups::home(group) == *home);
        let group =
            found.ok_or_else(|| refusal::nothing("security_group_ids", &groups::named(*id)))?;
        if group.value.deleting {
            // What is known may be old: a group that stays is not refused for that.
            app.known.groups.invalidate(id);
        }
        refuse_deleting(&group.value)?;
        groups.push(group);
    }
    Ok(groups)
}

async fn known_group(app: &App, id: GroupId) -> Result<Option<Stored<SecurityGroup>>, Error> {
    if let Some(known) = app.known.groups.get(&id) {
        return Ok(Some(known));
    }
    let index = prismnet_model::group::index(id);
    let found = app.records::<SecurityGroup>().get_by_index(&index).await?;
    if let Some(group) = &found {
        app.known.groups.insert(id, group.clone());
    }
    Ok(found)
}

async fn default_group(
    app: &App,
    ctx: &Context,
    home: &Home,
) -> Result<Stored<SecurityGroup>, Lost> {
    let id = groups::ensure_default(app, ctx, home).await?;
    match known_group(app, id).await? {
        Some(group) if !group.value.deleting => Ok(group),
        // Somebody deletes it, in this process or another: the next attempt makes it again.
        _ => {
            app.known.groups.invalidate(&id);
            app.known.defaults.invalidate(home);
            Err(Lost::Race)
        }
    }
}

/// Reads a port.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: PortId,
    owner: &Owner,
) -> Result<Versioned<Port>, Error> {
    Ok(find(app, ctx, id, owner).await?.into())
}

async fn find(app: &App, ctx: &Context, id: PortId, owner: &Owner) -> Result<Stored<Port>, Error> {
    let found = app.records::<Port>().get_by_index(&index(id)).await?;
    let port = scope::allow_found(ctx, found, home, &named(id))?;
    if !owner.is(&port.value.org, &port.value.project) {
        return Err(Error::not_found(named(id)));
    }
    Ok(port)
}

/// Lists the ports the caller may see.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    filter: &PortFilter,
    ask: &Ask,
) -> Result<Listing<Port>, Error> {
    let visible = ctx.visible()?;
    let keep = |port: &Port| filter.is(port) && scope::is_visible(ctx, &visible, &port.project);
    let prefix = prefix(app, ctx, filter).await?;
    listing::list(&app.records(), &prefix, ask, keep).await
}

/// What the keys of all that is meant begin with, so that a list does not look at everybody's.
async fn prefix(app: &App, ctx: &Context, filter: &PortFilter) -> Result<String, Error> {
    if let Wanted::One(id) = filter.subnet
        && let Some(subnet) = known_subnet(app, id).await?
        && filter.owner.is(&subnet.value.org, &subnet.value.project)
    {
        return Ok(subnets::home(&subnet).prefix());
    }
    subnets::prefix(app, ctx, &filter.owner, filter.vpc).await
}

/// Changes a port.
pub(crate) async fn update(
    app: &App,
    ctx: &Context,
    id: PortId,
    change: &PortChange,
    expected: Option<i64>,
) -> Result<Versioned<Port>, Error> {
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: PortId,
    change: &PortChange,
    expected: Option<i64>,
) -> Result<Versioned<Port>, Lost> {
    let mut port = find(app, ctx, id, &Owner::default()).await?;
    expect(&port, expected)?;
    let before = port.value.clone();
    let joined = apply(app, ctx, &mut port, change).await?;
    if port.value == before {
        return Ok(port.into());
    }
    port.value.updated_at = clock::now();
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &port)?;
    for group in &joined {
        transaction.unchanged(&app.records(), group)?;
    }
    let act = act(&port.value).changed(&before, &port.value);
    match app.commit(ctx, &transaction, &act).await {
        Ok(revision) => Ok(Versioned::new(port.value, revision)),
        Err(error) => {
            for group in &joined {
                app.known.groups.invalidate(&group.value.id);
            }
            Err(error.into())
        }
    }
}

/// Makes the changes, and returns the groups it is in from now on and was not before.
async fn apply(
    app: &App,
    ctx: &Context,
    port: &mut Stored<Port>,
    change: &PortChange,
) -> Result<Vec<Stored<SecurityGroup>>, Error> {
    let text = |label: &Option<prismnet_model::Label>| {
        label.as_ref().map(|label| label.as_str().to_owned())
    };
    if let Some(name) = &change.name {
        port.value.name = text(name).unwrap_or_default();
    }
    if let Some(description) = &change.description {
        port.value.description = description.as_str().to_owned();
    }
    if let Some(device) = &change.device {
        port.value.device = text(device);
    }
    if let Some(host) = &change.host
        && *host != port.value.host
    {
        // Taking it off a host is as much as putting it on one.
        check_host(
            ctx,
            port.value.kind,
            host.as_ref().or(port.value.host.as_ref()),
        )?;
        port.value.host.clone_from(host);
    }
    let Some(ids) = &change.groups else {
        return Ok(Vec::new());
    };
    let new: Vec<GroupId> = ids
        .iter()
        .filter(|id| !port.value.security_groups.contains(id))
        .copied()
        .collect();
    let joined = groups_of(app, &home(port), &new).await?;
    port.value.security_groups.clone_from(ids);
    Ok(joined)
}

/// Deletes a port that has no floating IP; its address and MAC are free. Its host, if it has one, is told to take it down.
pub(crate) async fn delete(
    app: &App,
    ctx: &Context,
    id: PortId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<i64, Error> {
    let (port, revision) = contended(ctx, || try_delete(app, ctx, id, owner, expected)).await?;
    app.pools.free(port.subnet, port.ip_address);
    Ok(revision)
}

async fn try_delete(
    app: &App,
    ctx: &Context,
    id: PortId,
    owner: &Owner,
    expected: Option<i64>,
) -> Result<(Port, i64), Lost> {
    let port = find(app, ctx, id, owner).await?;
    expect(&port, expected)?;
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &port)?;
    // Whoever gives it a floating IP requires it to be as it was: one of both loses.
    transaction.empty_below(&key::users(id))?;
    if let Some(gone) = Gone::of(&port.value, clock::now()) {
        transaction.create(&app.records(), &gone.key(), &gone)?;
    }
    let freed = free(app, &mut transaction, &port.value)?;
    match app.commit(ctx, &transaction, &act(&port.value)).await {
        Ok(revision) => {
            app.quota.made(freed, revision);
            Ok((port.value, revision))
        }
        Err(photon_store::Error::NotEmpty { .. }) => {
            Err(users::of(app, &named(id), &[key::users(id)]).await?)
        }
        Err(error) => Err(error.into()),
    }
}

fn free(app: &App, transaction: &mut Transaction, port: &Port) -> photon_store::Result<Held> {
    let id = port.id.to_string();
    app.quota
        .forget(transaction, &port.project, Unit::Port, &id)
}
