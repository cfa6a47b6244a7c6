//! The grammar of the commands that speak to PrismNET.

use std::net::Ipv4Addr;

use clap::{Args, Subcommand, ValueEnum};

use crate::rest::cli::{If, Once, Page, Whose};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// VPCs: networks of a project.
    #[command(subcommand)]
    Vpc(Vpc),
    /// Subnets: the segments of a VPC.
    #[command(subcommand)]
    Subnet(Subnet),
    /// Ports: addresses in subnets, by which guests, pods and processes are connected.
    #[command(subcommand)]
    Port(Port),
    /// Security groups: what their ports may send and receive.
    #[command(subcommand)]
    Securitygroup(SecurityGroup),
    /// Routes: ways that a VPC knows.
    #[command(subcommand)]
    Route(Route),
    /// External networks: what hosts reach by interfaces of theirs. The operator's.
    #[command(subcommand)]
    Externalnetwork(ExternalNetwork),
    /// Floating IPs: addresses of external networks, for ports.
    #[command(subcommand)]
    Floatingip(FloatingIp),
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Vpc {
    /// Make a VPC.
    Create {
        /// Its name.
        name: String,
        /// What its subnets will lie in, as 10.0.0.0/16.
        cidr: String,
        /// Let its ports out, each under the address of the host it is on.
        #[arg(long)]
        internet_access: bool,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        once: Once,
    },
    /// Show a VPC.
    Get {
        /// Its id, or its name.
        vpc: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the VPCs that we may see.
    List {
        /// Of this name only.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        page: Page,
    },
    /// Change a VPC.
    Update {
        /// Its id, or its name.
        vpc: String,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Let its ports out, each under the address of the host it is on; or no more.
        #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "on")]
        internet_access: Option<Switch>,
        /// The same as `--internet-access off`.
        #[arg(long, conflicts_with = "internet_access")]
        no_internet_access: bool,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// Delete a VPC that has no subnets.
    Delete {
        /// Its id, or its name.
        vpc: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Subnet {
    /// Make a subnet.
    Create {
        /// Its name.
        name: String,
        /// Its block, within the VPC's: as 10.0.1.0/24.
        cidr: String,
        /// The VPC's id, or its name.
        #[arg(long)]
        vpc: String,
        /// The gateway's address; without it the first one.
        #[arg(long, value_name = "ADDRESS")]
        gateway: Option<Ipv4Addr>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        once: Once,
    },
    /// Show a subnet.
    Get {
        /// Its id, or its name.
        subnet: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the subnets that we may see.
    List {
        /// Of this VPC only.
        #[arg(long)]
        vpc: Option<String>,
        /// Of this name only.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        page: Page,
    },
    /// Change a subnet.
    Update {
        /// Its id, or its name.
        subnet: String,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// Delete a subnet that has no ports.
    Delete {
        /// Its id, or its name.
        subnet: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
}

/// What a port connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PortKind {
    /// A virtual machine.
    Guest,
    /// A pod.
    Pod,
    /// A process of a host: a namespace with the port in it.
    Service,
    /// Nothing by itself: an address that is bound to other ports.
    Vip,
}

impl PortKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Pod => "pod",
            Self::Service => "service",
            Self::Vip => "vip",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Port {
    /// Make a port.
    Create {
        /// The subnet its address is from: its id, or its name.
        subnet: String,
        /// Its name.
        #[arg(long)]
        name: Option<String>,
        /// What it connects; without it, a guest.
        #[arg(long, value_enum)]
        kind: Option<PortKind>,
        /// Its address; without it, the next one that is free.
        #[arg(long, value_name = "ADDRESS")]
        ip: Option<Ipv4Addr>,
        /// Its MAC address; without it, one is made up.
        #[arg(long, value_name = "ADDRESS")]
        mac: Option<String>,
        /// A security group's id, or its name; may be repeated. Without it, the project's default group.
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// In no security group: nothing is let in or out.
        #[arg(long, conflicts_with = "groups")]
        no_groups: bool,
        /// The host it is to be on.
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// Whose it is, as vm-…
        #[arg(long, value_name = "ID")]
        device: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        once: Once,
    },
    /// Show a port.
    Get {
        /// Its id, or its name.
        port: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the ports that we may see.
    List {
        /// Of this VPC only.
        #[arg(long)]
        vpc: Option<String>,
        /// Of this subnet only.
        #[arg(long)]
        subnet: Option<String>,
        /// In this security group only.
        #[arg(long)]
        group: Option<String>,
        /// On this host only.
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// Of this device only.
        #[arg(long, value_name = "ID")]
        device: Option<String>,
        /// With this address only.
        #[arg(long, value_name = "ADDRESS")]
        ip: Option<Ipv4Addr>,
        /// Of this name only.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        page: Page,
    },
    /// Change a port, or move it to another host.
    Update {
        /// Its id, or its name.
        port: String,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// The whole new list of its security groups; may be repeated.
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// In no security group any more: nothing is let in or out.
        #[arg(long, conflicts_with = "groups")]
        no_groups: bool,
        /// The host it is to be on.
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// Take it off its host.
        #[arg(long, conflicts_with = "host")]
        no_host: bool,
        /// Whose it is, as vm-…
        #[arg(long, value_name = "ID")]
        device: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// Delete a port: its host takes it down.
    Delete {
        /// Its id, or its name.
        port: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecurityGroup {
    /// Make a security group. Without rules nothing is allowed.
    Create {
        /// Its name, which no other group of the project has.
        name: String,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        once: Once,
    },
    /// Show a security group.
    Get {
        /// Its id, or its name.
        group: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the security groups that we may see.
    List {
        /// Of this name only.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        page: Page,
    },
    /// Change a security group.
    Update {
        /// Its id, or its name.
        group: String,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// Delete a security group that nothing uses, with its rules.
    Delete {
        /// Its id, or its name.
        group: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// What a group allows.
    #[command(subcommand)]
    Rule(GroupRule),
}

/// Which way connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// To the group's ports.
    Ingress,
    /// From the group's ports.
    Egress,
}

impl Direction {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

// What is allowed to be spoken.
#[derive(Clone, Debug, Args)]
pub(crate) struct Services {
    /// tcp, udp, icmp, any or a number; without it any, or icmp with --icmp.
    #[arg(long, value_name = "NAME")]
    pub(crate) protocol: Option<String>,
    /// Of tcp and udp, a destination port or a range: 443, or 8000-8099. Without it all of them.
    #[arg(long, value_name = "FIRST[-LAST]", value_parser = ports, requires = "protocol")]
    pub(crate) ports: Option<Ports>,
    /// Of icmp, a type, or a type and a code: 8, or 3/4. Without it all of them.
    #[arg(long, value_name = "TYPE[/CODE]", value_parser = icmp, conflicts_with = "ports")]
    pub(crate) icmp: Option<Icmp>,
}

/// Destination ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

/// Parses `443` and `8000-8099`.
fn ports(text: &str) -> Result<Ports, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(Ports { first, last }),
        _ => Err("a port from 0 to 65535, or the first and the last one, as 8000-8099".to_owned()),
    }
}

/// Messages of ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Icmp {
    pub(crate) kind: u8,
    pub(crate) code: Option<u8>,
}

/// Parses `8` and `3/4`.
fn icmp(text: &str) -> Result<Icmp, String> {
    let (kind, code) = match text.split_once('/') {
        Some((kind, code)) => (kind.parse(), code.parse().map(Some)),
        None => (text.parse(), Ok(None)),
    };
    match (kind, code) {
        (Ok(kind), Ok(code)) => Ok(Icmp { kind, code }),
        _ => Err("a type from 0 to 255, or a type and a code, as 3/4".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupRule {
    /// Allow something more.
    Add {
        /// The group's id, or its name.
        group: String,
        /// Which way connections go.
        #[arg(value_enum)]
        direction: Direction,
        #[command(flatten)]
        services: Services,
        /// The other side: addresses, as 192.0.2.0/24. Without this and a group, everybody.
        #[arg(long, value_name = "BLOCK")]
        cidr: Option<String>,
        /// The other side: the ports of a group, in the same VPC; its id, or its name.
        #[arg(long, value_name = "GROUP", conflicts_with = "cidr")]
        remote_group: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        once: Once,
    },
    /// List what a group allows.
    List {
        /// The group's id, or its name.
        group: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        page: Page,
    },
    /// Allow something no more: connections that live by it end.
    Delete {
        /// The group's id, or its name.
        group: String,
        /// The rule's id.
        rule: String,
        #[command(flatten)]
        whose: Whose,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Route {
    /// Make a route.
    Create {
        /// The VPC's id, or its name.
        vpc: String,
        /// For which addresses: outside the VPC's block, or 0.0.0.0/0 for everything that leaves.
        destination: String,
        /// Over which address of the VPC's subnets.
        next_hop: Ipv4Addr,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        once: Once,
    },
    /// Show a route.
    Get {
        /// Its id, or its destination.
        route: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the routes that we may see.
    List {
        /// Of this VPC only.
        #[arg(long)]
        vpc: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        page: Page,
    },
    /// Delete a route.
    Delete {
        /// Its id, or its destination.
        route: String,
        #[command(flatten)]
        whose: Whose,
    },
}

/// Addresses from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: Ipv4Addr,
    pub(crate) last: Ipv4Addr,
}

/// Parses `192.0.2.10-192.0.2.20` and `192.0.2.10`.
fn range(text: &str) -> Result<Range, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(Range { first, last }),
        _ => Err("the first and the last address, as 192.0.2.10-192.0.2.20".to_owned()),
    }
}

/// How a host reaches an external network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uplink {
    pub(crate) host: String,
    pub(crate) interface: String,
}

/// Parses `host-1=eth1`.
fn uplink(text: &str) -> Result<Uplink, String> {
    match text.split_once('=') {
        Some((host, interface)) if !host.is_empty() && !interface.is_empty() => Ok(Uplink {
            host: host.to_owned(),
            interface: interface.to_owned(),
        }),
        _ => Err("a host and its interface, as host-1=eth1".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExternalNetwork {
    /// Make an external network.
    Create {
        /// Its name.
        name: String,
        /// Its addresses, as 192.0.2.0/24.
        cidr: String,
        /// Addresses that may be given out, as 192.0.2.10-192.0.2.20; may be repeated. Without it, all but the gateway's.
        #[arg(long, value_name = "FIRST[-LAST]", value_parser = range)]
        pool: Vec<Range>,
        /// Who knows the way on. Without it only those in the block are reached.
        #[arg(long, value_name = "ADDRESS")]
        gateway: Option<Ipv4Addr>,
        /// The interface or bridge by which a host reaches it, as host-1=eth1; may be repeated.
        #[arg(long = "uplink", value_name = "HOST=INTERFACE", value_parser = uplink)]
        uplinks: Vec<Uplink>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        once: Once,
    },
    /// Show an external network.
    Get {
        /// Its id, or its name.
        #[arg(id = "external_network", value_name = "NETWORK")]
        network: String,
    },
    /// List the external networks.
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Change an external network.
    Update {
        /// Its id, or its name.
        #[arg(id = "external_network", value_name = "NETWORK")]
        network: String,
        /// Its new name.
        #[arg(long)]
        name: Option<String>,
        /// Who knows the way on.
        #[arg(long, value_name = "ADDRESS")]
        gateway: Option<Ipv4Addr>,
        /// Nobody does: only those in the block are reached.
        #[arg(long, conflicts_with = "gateway")]
        no_gateway: bool,
        /// The whole new pool; may be repeated.
        #[arg(long, value_name = "FIRST[-LAST]", value_parser = range)]
        pool: Vec<Range>,
        /// The whole new list of uplinks; may be repeated.
        #[arg(long = "uplink", value_name = "HOST=INTERFACE", value_parser = uplink)]
        uplinks: Vec<Uplink>,
        /// No host reaches it any more.
        #[arg(long, conflicts_with = "uplinks")]
        no_uplinks: bool,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        only: If,
    },
    /// Delete an external network that no floating IP is from.
    Delete {
        /// Its id, or its name.
        #[arg(id = "external_network", value_name = "NETWORK")]
        network: String,
        #[command(flatten)]
        only: If,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum FloatingIp {
    /// Allocate a floating IP.
    #[command(visible_alias = "allocate")]
    Create {
        /// The external network it is from: its id, or its name.
        external_network: String,
        /// The address; without it, the next one of the pool that is free.
        #[arg(long)]
        address: Option<Ipv4Addr>,
        /// The port that is to have it at once: its id, or its name.
        #[arg(long)]
        port: Option<String>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        once: Once,
    },
    /// Show a floating IP.
    Get {
        /// Its id, or its address.
        address: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// List the floating IPs that we may see.
    List {
        /// From this external network only.
        #[arg(long, value_name = "NETWORK")]
        external_network: Option<String>,
        /// That of this port only.
        #[arg(long)]
        port: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        page: Page,
    },
    /// Change what a floating IP is said to be for.
    Update {
        /// Its id, or its address.
        address: String,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// Let a port have a floating IP.
    Associate {
        /// Its id, or its address.
        address: String,
        /// The port's id, or its name.
        port: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// Let no port have a floating IP any more; it stays the project's.
    Dissociate {
        /// Its id, or its address.
        address: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
    /// Give a floating IP back.
    #[command(visible_alias = "release")]
    Delete {
        /// Its id, or its address.
        address: String,
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        only: If,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn ports_types_ranges_and_uplinks_are_read() {
        assert_eq!(
            ports("443"),
            Ok(Ports {
                first: 443,
                last: 443
            })
        );
        assert_eq!(
            ports("8000-8099"),
            Ok(Ports {
                first: 8000,
                last: 8099
            })
        );
        for bad in ["", "-", "2-1", "65536", "http"] {
            ports(bad).unwrap_err();
        }
        assert_eq!(
            icmp("8"),
            Ok(Icmp {
                kind: 8,
                code: None
            })
        );
        assert_eq!(
            icmp("3/4"),
            Ok(Icmp {
                kind: 3,
                code: Some(4)
            })
        );
        for bad in ["", "256", "3/", "/4"] {
            icmp(bad).unwrap_err();
        }
        let one = range("192.0.2.10").unwrap();
        assert_eq!(one.first, one.last);
        for bad in ["", "192.0.2.2-192.0.2.1", "192.0.2.0/24"] {
            range(bad).unwrap_err();
        }
        assert_eq!(uplink("host-1=eth1").unwrap().interface, "eth1");
        for bad in ["", "host-1", "=eth1", "host-1="] {
            uplink(bad).unwrap_err();
        }
    }
}
