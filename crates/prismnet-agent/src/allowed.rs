//! What groups allow, for connections that are there already. Pure.
//!
//! The kernel asks the rules once for a connection and lets it go on; when rules are taken away, those connections that no
//! rule allows any more are ended. It is the decision of [`rules`](crate::rules), said once more without nftables.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use photon_core::Name;
use prismnet_model::{Block, Direction, GroupId, PortId, Protocol, Remote, Services};

use crate::{
    records::{KnownPort, Records},
    way_out::Translations,
};

/// Who asked whom for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Who began it.
    pub source: Ipv4Addr,
    /// Whom it reached, behind all translation.
    pub destination: Ipv4Addr,
    /// The number of its protocol.
    pub protocol: u8,
    /// The destination's port; 0 if the protocol has none.
    pub port: u16,
    /// Type and code, of ICMP.
    pub icmp: (u8, u8),
}

/// The ports of a VPC here with what their groups allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The VPC's addresses; `None` if its record is not there.
    own: Option<Block>,
    /// Those of them that ports have, wherever they are.
    known: BTreeSet<Ipv4Addr>,
    /// By address.
    ports: BTreeMap<Ipv4Addr, Arc<[GroupId]>>,
    /// Of the groups of these ports.
    rules: BTreeMap<GroupId, Vec<(Direction, Services, Remote)>>,
    /// The addresses of the groups that those name.
    members: BTreeMap<GroupId, BTreeSet<Ipv4Addr>>,
    /// What is translated into what.
    pub translations: Translations,
}

impl Allowed {
    /// Of those of a VPC's ports that are on this host.
    #[must_use]
    pub fn of(
        records: &Records,
        own: Option<Block>,
        all: &BTreeMap<PortId, KnownPort>,
        host: &Name,
    ) -> Self {
        let mut allowed = Self {
            own,
            known: all.values().map(|port| port.address).collect(),
            ..Self::default()
        };
        for port in all.values().filter(|port| port.host.as_ref() == Some(host)) {
            allowed.ports.insert(port.address, Arc::clone(&port.groups));
            for group in port.groups.iter() {
                let rules = records.rules.get(group).into_iter().flatten();
                let said = rules.map(|(_, rule)| (rule.direction, rule.services, rule.remote));
                allowed
                    .rules
                    .entry(*group)
                    .or_insert_with(|| said.collect());
            }
        }
        let named = allowed.rules.values().flatten();
        let named = named.filter_map(|(.., remote)| match remote {
            Remote::Group(group) => Some(*group),
            Remote::Cidr(_) => None,
        });
        allowed.members = named.map(|group| (group, BTreeSet::new())).collect();
        for port in all.values() {
            for group in port.groups.iter() {
                if let Some(members) = allowed.members.get_mut(group) {
                    members.insert(port.address);
                }
            }
        }
        allowed
    }

    /// Ports that nothing is allowed.
    #[cfg(test)]
    pub(crate) fn closed(ports: &[[u8; 4]]) -> Self {
        let ports = ports.iter().map(|port| ((*port).into(), Arc::from([])));
        Self {
            ports: ports.collect(),
            ..Self::default()
        }
    }

    /// Whether the sender's groups allow it, if the sender is here, and the receiver's, if that is. What no port has any
    /// more of the VPC's own addresses, nobody speaks for.
    #[must_use]
    pub fn allows(&self, connection: &Connection) -> bool {
        let (source, destination) = (connection.source, connection.destination);
        let is_somebody = |address| {
            let is_own = self.own.is_some_and(|own| own.has(address));
            !is_own || self.known.contains(&address)
        };
        is_somebody(source)
            && is_somebody(destination)
            && self.allows_one(source, Direction::Egress, destination, connection)
            && self.allows_one(destination, Direction::Ingress, source, connection)
    }

    fn allows_one(
        &self,
        port: Ipv4Addr,
        direction: Direction,
        other: Ipv4Addr,
        connection: &Connection,
    ) -> bool {
        let Some(groups) = self.ports.get(&port) else {
            return true;
        };
        let mut rules = groups
            .iter()
            .filter_map(|group| self.rules.get(group))
            .flatten();
        rules.any(|(way, services, remote)| {
            *way == direction && self.is_of(*remote, other) && serves(*services, connection)
        })
    }

    fn is_of(&self, remote: Remote, other: Ipv4Addr) -> bool {
        match remote {
            Remote::Cidr(block) => block.has(other),
            Remote::Group(group) => {
                let members = self.members.get(&group);
                members.is_some_and(|members| members.contains(&other))
            }
        }
    }
}

fn serves(services: Services, connection: &Connection) -> bool {
    match services {
        Services::All(Protocol::Any) => true,
        Services::All(Protocol::Number(number)) => connection.protocol == number,
        Services::Ports { protocol, min, max } => {
            protocol == Protocol::Number(connection.protocol)
                && (min..=max).contains(&connection.port)
        }
        Services::Icmp { kind, code } => {
            Protocol::ICMP == Protocol::Number(connection.protocol)
                && connection.icmp.0 == kind
                && code.is_none_or(|code| connection.icmp.1 == code)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn address(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    /// A port in a group that lets anything out, and in: TCP 80 to 90 from 192.0.2.0/24, pings from the group's own.
    fn allowed() -> Allowed {
        let group = GroupId::generate();
        let any = Services::All(Protocol::Any);
        let web = Services::Ports {
            protocol: Protocol::TCP,
            min: 80,
            max: 90,
        };
        let ping = Services::Icmp {
            kind: 8,
            code: None,
        };
        let outside = Remote::Cidr("192.0.2.0/24".parse().unwrap());
        let rules = vec![
            (
                Direction::Egress,
                any,
                Remote::Cidr(prismnet_model::Block::ANY),
            ),
            (Direction::Ingress, web, outside),
            (Direction::Ingress, ping, Remote::Group(group)),
        ];
        let known = ["10.0.1.2", "10.0.1.5", "10.0.1.6", "10.0.1.7", "10.0.1.9"];
        Allowed {
            own: Some("10.0.0.0/16".parse().unwrap()),
            known: known.map(address).into(),
            ports: BTreeMap::from([
                (address("10.0.1.2"), Arc::from([group])),
                (address("10.0.1.9"), Arc::from([])),
            ]),
            rules: BTreeMap::from([(group, rules)]),
            members: BTreeMap::from([(group, BTreeSet::from([address("10.0.1.5")]))]),
            translations: Translations::default(),
        }
    }

    #[test]
    fn it_decides_as_the_rules_do() {
        let allowed = allowed();
        let tcp = |source, destination, port| Connection {
            source: address(source),
            destination: address(destination),
            protocol: 6,
            port,
            icmp: (0, 0),
        };
        for (source, destination, port, is_allowed) in [
            ("192.0.2.7", "10.0.1.2", 80, true),
            ("192.0.2.7", "10.0.1.2", 90, true),
            ("192.0.2.7", "10.0.1.2", 91, false),
            ("198.51.100.7", "10.0.1.2", 80, false),
            ("10.0.1.2", "198.51.100.7", 443, true),
            ("10.0.1.2", "10.0.1.9", 443, false),
            ("10.0.1.9", "198.51.100.7", 443, false),
            ("198.51.100.7", "10.0.1.7", 1, true),
            ("10.0.1.2", "10.0.1.8", 1, false),
            ("10.0.1.8", "198.51.100.7", 1, false),
        ] {
            let connection = tcp(source, destination, port);
            assert_eq!(allowed.allows(&connection), is_allowed, "{connection:?}");
        }
        let udp = Connection {
            protocol: 17,
            ..tcp("192.0.2.7", "10.0.1.2", 80)
        };
        assert!(!allowed.allows(&udp));
        for (source, kind, is_allowed) in [
            ("10.0.1.5", 8, true),
            ("10.0.1.5", 13, false),
            ("10.0.1.6", 8, false),
        ] {
            let ping = Connection {
                protocol: 1,
                icmp: (kind, 0),
                ..tcp(source, "10.0.1.2", 0)
            };
            assert_eq!(allowed.allows(&ping), is_allowed, "{ping:?}");
        }
    }
}
