//! How the ports of a VPC get out of it on this host, and how what is outside gets in: by the VPC's rules.
//!
//! ```text
//!  port ─> groups ─> may it out? ─> source: its floating IP, else the transfer address ─> pnuplink ─> host
//!  port <─ groups <─ an answer, or translated? <─ destination: the port of the floating IP <─ pnuplink <─ host
//! ```
//!
//! Destinations are translated before the groups are asked, and sources after, so both see the port's own address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use prismnet_model::{Block, FloatingIp, PortId, VpcId, device::UPLINK_INSIDE};

use crate::{
    desired::Here,
    records::Records,
    rules::{in_set, put_chain, put_element, put_set},
    ruleset::{Family, Hook, Rule, Ruleset, SetKind, Target, say},
    transfer::{Transfer, Transfers},
};

/// From a floating IP to its port's address.
pub const INWARD: &str = "inward";
/// From a port's address to its floating IP.
pub const OUTWARD: &str = "outward";
/// The addresses of ports with a floating IP.
pub const FLOATERS: &str = "floaters";

/// The chains of a way out.
pub const CHAINS: [&str; 3] = ["arriving", "way-out", "leaving"];

/// A VPC's way out on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// The addresses of its two ends.
    pub transfer: Transfer,
    /// Whether all ports may use it, or those with a floating IP only.
    pub internet: bool,
    /// The VPC's addresses; `None` if the record is not there.
    pub block: Option<Block>,
    /// The floating IPs of ports here, with the ports' addresses.
    pub floating: BTreeMap<Ipv4Addr, Ipv4Addr>,
}

/// What is translated into what, for connections that are there already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translations {
    /// From floating IP to port, of ports here.
    pub floating: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// The VPC's addresses, the gateways' among them.
    pub block: Option<Block>,
}

impl Translations {
    /// Whether a connection would be translated so again: `asked` is whom it was for, `reached` who answers; `source` began it
    /// and is `seen` as that.
    #[must_use]
    pub fn stand(
        &self,
        asked: Ipv4Addr,
        reached: Ipv4Addr,
        source: Ipv4Addr,
        seen: Ipv4Addr,
    ) -> bool {
        let inward = asked == reached || self.floating.get(&asked) == Some(&reached);
        // What is no floating IP any more is neither a transfer address nor a gateway's.
        let outward = match self.floating.get(&seen) {
            Some(port) => *port == source,
            None => {
                let is_own = self.block.is_some_and(|block| block.has(seen));
                seen == source || is_own || Transfer::of_inside(seen).is_some()
            }
        };
        inward && outward
    }
}

/// The addresses outside of which something is said: who has them, or that nobody has. What else is answered for here nobody
/// has ended: it stands (decision 9).
///
/// Any two are equal: that something is said of an address somewhere is by itself no reason to look at a host. Whoever has
/// found one that was not told is woken by what says more ([`Outcomes::wake_told`](crate::worker::Outcomes::wake_told)).
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<BTreeSet<Ipv4Addr>>);

impl PartialEq for Told {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Told {}

impl Told {
    /// What the records say, and what a person has said: `released` is nobody's.
    #[must_use]
    pub fn of(records: &Records, released: &BTreeSet<Ipv4Addr>) -> Self {
        let is_said = |floating: &&FloatingIp| match floating.port {
            // Whether its port is here, only the port's record says.
            Some(port) => records.port(port).is_some() || records.gone.contains_key(&port),
            None => true,
        };
        let known = records.floating_ips.values().filter(is_said);
        let known = known.map(|floating| floating.address);
        let gone = records.gone_floating_ips.values().map(|gone| gone.address);
        let all = known.chain(gone).chain(released.iter().copied());
        Self(Arc::new(all.collect()))
    }

    /// Whether something is said of the address.
    #[must_use]
    pub fn has(&self, address: Ipv4Addr) -> bool {
        self.0.contains(&address)
    }
}

/// Floating IPs by port, of ports here.
#[derive(Clone, Debug, Default)]
pub struct Floats<'a> {
    /// Of ports here that this host can answer for.
    pub here: BTreeMap<PortId, &'a FloatingIp>,
    /// Why others are not answered.
    pub problems: Vec<String>,
}

impl<'a> Floats<'a> {
    /// What the records say.
    #[must_use]
    pub fn of(records: &'a Records, here: &Here) -> Self {
        let mut floats = Self::default();
        for floating in records.floating_ips.values() {
            let Some(port) = floating.port else { continue };
            let known = records.port(port);
            if known.is_some_and(|(_, known)| known.host.as_ref() == Some(&here.host)) {
                match reached(records, here, floating) {
                    Ok(()) => drop(floats.here.insert(port, floating)),
                    Err(problem) => floats.problems.push(problem),
                }
            }
        }
        floats
    }
}

fn reached(records: &Records, here: &Here, floating: &FloatingIp) -> Result<(), String> {
    let network = records.external_networks.get(&floating.external_network);
    let has_uplink = network.is_some_and(|network| network.uplinks.contains_key(&here.host));
    has_uplink.then_some(()).ok_or_else(|| {
        let (address, network) = (floating.address, floating.external_network);
        format!("{address} is not answered: {network} has no uplink on this host")
    })
}

/// The VPCs that are to have a way out: with a port here, and internet access or a floating IP of such a port.
#[must_use]
pub fn wanted(records: &Records, here: &Here) -> BTreeSet<VpcId> {
    let floating = Floats::of(records, here);
    let floating = floating
        .here
        .keys()
        .filter_map(|port| Some(records.port(*port)?.0));
    let is_here = |vpc: &VpcId| records.has_port_on(*vpc, &here.host);
    let open = records.vpcs.values().filter(|vpc| vpc.internet_access);
    let open = open.map(|vpc| vpc.id).filter(is_here);
    floating.chain(open).collect()
}

/// A VPC's, if it is to have one and there is a pair of addresses for it.
#[must_use]
pub fn of(
    records: &Records,
    vpc: VpcId,
    floats: &Floats<'_>,
    transfers: &Transfers,
) -> Option<WayOut> {
    let record = records.vpcs.get(&vpc);
    let floating = floats.here.iter().filter_map(|(port, floating)| {
        let (home, port) = records.port(*port)?;
        (home == vpc).then_some((floating.address, port.address))
    });
    let floating: BTreeMap<_, _> = floating.collect();
    let internet = record.is_some_and(|record| record.internet_access);
    if !internet && floating.is_empty() {
        return None;
    }
    Some(WayOut {
        transfer: transfers.get(vpc)?,
        internet,
        block: record.map(|record| record.cidr_block.block()),
        floating,
    })
}

/// Its rules, beside the others.
pub(crate) fn put_rules(rules: &mut Ruleset, way: &WayOut) {
    let sets = [
        (INWARD, SetKind::AddressAddress),
        (OUTWARD, SetKind::AddressAddress),
        (FLOATERS, SetKind::Address),
    ];
    for (name, kind) in sets {
        put_set(rules, Family::Ip, name, kind);
    }
    for (floating, port) in &way.floating {
        let (outside, inside) = (vec![floating.to_string()], vec![port.to_string()]);
        let target = |address: &Ipv4Addr| Some(Target::Address(*address));
        put_element(rules, Family::Ip, INWARD, outside, target(port));
        put_element(rules, Family::Ip, OUTWARD, inside.clone(), target(floating));
        put_element(rules, Family::Ip, FLOATERS, inside, None);
    }
    let [arrive, pass, leave] = CHAINS;
    let mut put = |name, hook, said| put_chain(rules, Family::Ip, name, hook, said);
    put(
        arrive,
        Some(Hook::open("nat", "prerouting", -100)),
        arriving(way),
    );
    // Before the groups, which are asked at 0 and 10.
    put(
        pass,
        Some(Hook::open("filter", "forward", -10)),
        passing(way),
    );
    put(
        leave,
        Some(Hook::open("nat", "postrouting", 100)),
        leaving(way),
    );
}

fn arriving(way: &WayOut) -> Vec<Rule> {
    let inward = || say::translate_destination(INWARD);
    let outside = Rule::new(vec![say::is(say::device_in(), UPLINK_INSIDE), inward()]);
    // Ports of the VPC reach the floating IPs of their own host without leaving. What lies in the VPC's block is a port's own.
    let within = way.block.map(|block| {
        let elsewhere = say::is_not(say::field("ip", "daddr"), say::block(block));
        Rule::new(vec![elsewhere, inward()])
    });
    std::iter::once(outside).chain(within).collect()
}

fn passing(way: &WayOut) -> Vec<Rule> {
    let by = |device: fn() -> serde_json::Value| say::is(device(), UPLINK_INSIDE);
    let mut rules = vec![
        Rule::new(vec![
            by(say::device_in),
            say::is_established(),
            say::accept(),
        ]),
        Rule::new(vec![
            by(say::device_in),
            say::is_translated(),
            say::accept(),
        ]),
        Rule::new(vec![by(say::device_in), say::drop()]),
    ];
    if !way.internet {
        // Also what was allowed before: switching it off ends what lives by it.
        let others = say::is_not(say::field("ip", "saddr"), in_set(FLOATERS));
        rules.push(Rule::new(vec![by(say::device_out), others, say::drop()]));
    }
    rules
}

fn leaving(way: &WayOut) -> Vec<Rule> {
    let out = || say::is(say::device_out(), UPLINK_INSIDE);
    let mut rules = vec![
        Rule::new(vec![out(), say::translate_source(OUTWARD)]),
        Rule::new(vec![out(), say::translate_source_to(way.transfer.inside())]),
    ];
    if let Some(block) = way.block {
        // From port to port by a floating IP: the answer comes back by the gateway, where it is translated back.
        rules.push(Rule::new(vec![
            say::is(say::device_out(), "pnb*"),
            say::is(say::field("ip", "saddr"), say::block(block)),
            say::is_translated(),
            say::masquerade(),
        ]));
    }
    rules
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_connection_stands_as_long_as_it_would_be_translated_so_again() {
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let translations = Translations {
            floating: BTreeMap::from([(address("198.51.100.7"), address("10.0.1.2"))]),
            block: Some("10.0.0.0/16".parse().unwrap()),
        };
        for (asked, reached, source, seen, stands) in [
            // Within the VPC, by a floating IP or without.
            ("10.0.1.3", "10.0.1.3", "10.0.1.2", "10.0.1.2", true),
            ("198.51.100.7", "10.0.1.2", "10.0.1.3", "10.0.1.1", true),
            // From outside, to the port that has it and to one that had it, or another one.
            (
                "198.51.100.7",
                "10.0.1.2",
                "203.0.113.9",
                "203.0.113.9",
                true,
            ),
            (
                "198.51.100.7",
                "10.0.1.3",
                "203.0.113.9",
                "203.0.113.9",
                false,
            ),
            (
                "198.51.100.8",
                "10.0.1.2",
                "203.0.113.9",
                "203.0.113.9",
                false,
            ),
            // To outside.
            (
                "203.0.113.9",
                "203.0.113.9",
                "10.0.1.2",
                "198.51.100.7",
                true,
            ),
            (
                "203.0.113.9",
                "203.0.113.9",
                "10.0.1.3",
                "198.51.100.7",
                false,
            ),
            (
                "203.0.113.9",
                "203.0.113.9",
                "10.0.1.2",
                "198.51.100.8",
                false,
            ),
            (
                "203.0.113.9",
                "203.0.113.9",
                "10.0.1.2",
                "169.254.128.1",
                true,
            ),
        ] {
            let [asked, reached, source, seen] = [asked, reached, source, seen].map(address);
            let said = translations.stand(asked, reached, source, seen);
            assert_eq!(said, stands, "{source} as {seen} to {asked}, by {reached}");
        }
    }
}
