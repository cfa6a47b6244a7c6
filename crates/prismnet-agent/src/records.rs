//! What the store says of networks, kept small: an agent knows the ports of all VPCs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
    sync::Arc,
};

use photon_core::Name;
use prismnet_model::{
    ExternalNetwork, ExternalNetworkId, FloatingIp, FloatingIpId, Gone, GoneFloatingIp, GroupId,
    Host, Mac, Port, PortId, PortKind, Route, RouteId, Rule, RuleId, SecurityGroup, Subnet,
    SubnetId, Vpc, VpcId,
};

/// A port, without what a host has no use for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPort {
    /// Its subnet.
    pub subnet: SubnetId,
    /// What is connected.
    pub kind: PortKind,
    /// Its MAC.
    pub mac: Mac,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its groups.
    pub groups: Arc<[GroupId]>,
    /// Where it is to be.
    pub host: Option<Name>,
    /// Of its record.
    pub revision: i64,
}

/// The revision of the youngest order to take something down.
///
/// Any two are equal: most orders are for other hosts. That one was carried out is told some time after it was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Orders(pub i64);

impl PartialEq for Orders {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Orders {}

/// Everything below `public/`.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// How far the orders below go.
    pub orders: Orders,
    /// VPCs.
    pub vpcs: BTreeMap<VpcId, Vpc>,
    /// Subnets.
    pub subnets: BTreeMap<SubnetId, Subnet>,
    /// Ports by VPC.
    pub ports: BTreeMap<VpcId, BTreeMap<PortId, KnownPort>>,
    /// Groups.
    pub groups: BTreeSet<GroupId>,
    /// Rules by group.
    pub rules: BTreeMap<GroupId, BTreeMap<RuleId, Rule>>,
    /// Routes.
    pub routes: BTreeMap<RouteId, Route>,
    /// Networks outside.
    pub external_networks: BTreeMap<ExternalNetworkId, ExternalNetwork>,
    /// Addresses outside, for ports.
    pub floating_ips: BTreeMap<FloatingIpId, FloatingIp>,
    /// Orders to take ports down.
    pub gone: BTreeMap<PortId, Gone>,
    /// Orders to answer no longer for addresses outside.
    pub gone_floating_ips: BTreeMap<FloatingIpId, GoneFloatingIp>,
    /// Hosts with their tunnel addresses.
    pub hosts: BTreeMap<Name, Host>,
    /// In which VPC a port is: a key that is removed does not say.
    home: HashMap<PortId, VpcId>,
}

/// One record, as it was read.
#[derive(Clone, Debug)]
pub enum Known {
    /// A VPC.
    Vpc(Box<Vpc>),
    /// A subnet.
    Subnet(Box<Subnet>),
    /// A port, with its record's revision.
    Port(Box<Port>, i64),
    /// A group.
    Group(Box<SecurityGroup>),
    /// A rule.
    Rule(Box<Rule>),
    /// A route.
    Route(Box<Route>),
    /// A network outside.
    ExternalNetwork(Box<ExternalNetwork>),
    /// An address outside.
    FloatingIp(Box<FloatingIp>),
    /// An order, with its record's revision.
    Gone(Gone, i64),
    /// An order, with its record's revision.
    GoneFloatingIp(GoneFloatingIp, i64),
    /// A host.
    Host(Host),
}

impl Records {
    /// A port, whichever VPC it is in.
    #[must_use]
    pub fn port(&self, id: PortId) -> Option<(VpcId, &KnownPort)> {
        let vpc = *self.home.get(&id)?;
        Some((vpc, self.ports.get(&vpc)?.get(&id)?))
    }

    /// Whether a port of the VPC is to be on that host.
    #[must_use]
    pub fn has_port_on(&self, vpc: VpcId, host: &Name) -> bool {
        let mut ports = self.ports.get(&vpc).into_iter().flat_map(BTreeMap::values);
        ports.any(|port| port.host.as_ref() == Some(host))
    }

    /// Takes a record in, in place of an older one.
    pub fn put(&mut self, known: Known) {
        match known {
            Known::Vpc(vpc) => drop(self.vpcs.insert(vpc.id, *vpc)),
            Known::Subnet(subnet) => drop(self.subnets.insert(subnet.id, *subnet)),
            Known::Port(port, revision) => self.put_port(*port, revision),
            Known::Group(group) => drop(self.groups.insert(group.id)),
            Known::Rule(rule) => {
                self.rules
                    .entry(rule.group)
                    .or_default()
                    .insert(rule.id, *rule);
            }
            Known::Route(route) => drop(self.routes.insert(route.id, *route)),
            Known::ExternalNetwork(network) => {
                self.external_networks.insert(network.id, *network);
            }
            Known::FloatingIp(floating) => drop(self.floating_ips.insert(floating.id, *floating)),
            Known::Gone(gone, revision) => {
                self.orders.0 = self.orders.0.max(revision);
                self.gone.insert(gone.port, gone);
            }
            Known::GoneFloatingIp(gone, revision) => {
                self.orders.0 = self.orders.0.max(revision);
                self.gone_floating_ips.insert(gone.floating_ip, gone);
            }
            Known::Host(host) => drop(self.hosts.insert(host.host.clone(), host)),
        }
    }

    fn put_port(&mut self, port: Port, revision: i64) {
        let known = KnownPort {
            subnet: port.subnet,
            kind: port.kind,
            mac: port.mac_address,
            address: port.ip_address,
            groups: port.security_groups.into(),
            host: port.host,
            revision,
        };
        self.home.insert(port.id, port.vpc);
        self.ports
            .entry(port.vpc)
            .or_default()
            .insert(port.id, known);
    }

    /// Takes out what stood at a key below `public/`, e.g. `port/acme/shop/port-…`. What is not known is not missed.
    pub fn remove(&mut self, key: &str) {
        let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
        let id = rest.rsplit('/').next().unwrap_or_default();
        match kind {
            "vpc" => drop(id.parse().ok().and_then(|id| self.vpcs.remove(&id))),
            "subnet" => drop(id.parse().ok().and_then(|id| self.subnets.remove(&id))),
            "port" => {
                if let Ok(id) = id.parse() {
                    self.remove_port(id);
                }
            }
            "security-group" => drop(id.parse().ok().map(|id| self.groups.remove(&id))),
            "rule" => self.remove_rule(rest),
            "route" => drop(id.parse().ok().and_then(|id| self.routes.remove(&id))),
            "external-network" => {
                drop(
                    id.parse()
                        .ok()
                        .and_then(|id| self.external_networks.remove(&id)),
                );
            }
            "floating-ip" => {
                drop(id.parse().ok().and_then(|id| self.floating_ips.remove(&id)));
            }
            "gone-floating-ip" => {
                if let Ok(id) = id.parse() {
                    self.gone_floating_ips.remove(&id);
                }
            }
            "gone" => drop(id.parse().ok().and_then(|id| self.gone.remove(&id))),
            "host" => drop(Name::new(id).ok().and_then(|host| self.hosts.remove(&host))),
            _ => {}
        }
    }

    fn remove_port(&mut self, id: PortId) {
        let Some(vpc) = self.home.remove(&id) else {
            return;
        };
        if let Some(ports) = self.ports.get_mut(&vpc) {
            ports.remove(&id);
            if ports.is_empty() {
                self.ports.remove(&vpc);
            }
        }
    }

    fn remove_rule(&mut self, key: &str) {
        let Some((group, rule)) = key.split_once('/') else {
            return;
        };
        let (Ok(group), Ok(rule)) = (group.parse(), rule.parse()) else {
            return;
        };
        if let Some(rules) = self.rules.get_mut(&group) {
            rules.remove(&rule);
            if rules.is_empty() {
                self.rules.remove(&group);
            }
        }
    }
}
