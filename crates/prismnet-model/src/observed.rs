//! What an agent reports, each below its own host's prefix.

use std::{collections::BTreeSet, net::Ipv4Addr};

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{PortId, SubnetId, VpcId};

/// Below which all of it lies; each of the types has its own part of every host's.
const ROOT: &str = "/photon/prismnet/host/";

/// How a port is on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortState {
    /// What it needs is not all there yet.
    Building,
    /// It is as its record says.
    Active,
    /// It cannot be made so.
    Error,
}

/// A port as of its record's `revision`; at `<host>/observed/port/<port>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedPort {
    /// The revision of the record that this is about.
    pub revision: i64,
    /// How it is.
    pub state: PortState,
    /// Why, if it is not active; else empty.
    #[serde(default)]
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

impl Record for ObservedPort {
    const ROOT: &'static str = ROOT;
}

/// An agent, as it says of itself; at `<host>/observed/agent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedAgent {
    /// Of the program.
    pub version: String,
    /// The host's tunnel address, if it has one.
    #[serde(default)]
    pub vtep: Option<Ipv4Addr>,
    /// The host's own addresses, on any of its devices: none of them is anybody else's.
    #[serde(default)]
    pub addresses: BTreeSet<Ipv4Addr>,
    /// The bytes of a packet inside a tunnel.
    pub mtu: u32,
    /// How security groups are enforced: `bridge-ct` or `ip-forward`.
    pub mode: String,
    /// What is not as it should be, one sentence each.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Ports that are here and that the store does not know, with no order to take them down.
    #[serde(default)]
    pub orphans: Vec<Orphan>,
    /// Those of them that a person wants to stay (`prismnet-agent adopt`): their addresses are not free either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adopted: Vec<Orphan>,
    /// Addresses outside that are answered for here and that the store does not know, with no order to stop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floating_orphans: Vec<FloatingOrphan>,
    /// All orders to take something down (`gone/…`, `gone-floating-ip/…`) up to this revision of the store are carried out here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders_done: Option<i64>,
}

impl Record for ObservedAgent {
    const ROOT: &'static str = ROOT;
}

/// A port that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Orphan {
    /// In which VPC's namespace.
    pub vpc: VpcId,
    /// What its device says it is.
    pub port: PortId,
    /// Its device.
    pub device: String,
    /// The subnet that its device is in, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<SubnetId>,
    /// The address that it sends from, if that is known: as long as it is here, nobody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
}

/// An address outside that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FloatingOrphan {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose port has it.
    pub vpc: VpcId,
}

/// That the agent runs; under its lease at `<host>/alive`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Since when.
    pub since: Timestamp,
}

impl Record for Alive {
    const ROOT: &'static str = ROOT;
}

/// Where a port's state is told, below the collection.
#[must_use]
pub fn port_key(host: &Name, port: PortId) -> String {
    format!("{}{port}", port_prefix(host))
}

/// Where the states of a host's ports lie, below the collection; ends with a slash.
#[must_use]
pub fn port_prefix(host: &Name) -> String {
    format!("{host}/observed/port/")
}

/// Where the agent tells of itself, below the collection.
#[must_use]
pub fn agent_key(host: &Name) -> String {
    format!("{host}/observed/agent")
}

/// The key under the agent's lease, below the collection.
#[must_use]
pub fn alive_key(host: &Name) -> String {
    format!("{host}/alive")
}
