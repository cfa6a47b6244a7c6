//! What is refused, in the codes of `docs/network.md`.

use std::{fmt, net::Ipv4Addr};

use photon_core::{Code, Error, Id, Kind};
use prismnet_model::{
    Block, BlockError, ExternalNetworkId, Mac, PortId, SubnetId, external::ExternalBlock,
    layout::Placed, mac::MacError,
};
use serde_json::{Value, json};

/// Users of a thing that are named.
pub(crate) const NAMED: usize = 10;

/// Something that uses another thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
}

/// A thing is not deleted while something uses it.
pub(crate) fn in_use(what: &str, users: &[User], more: bool) -> Error {
    let named: Vec<Value> = users
        .iter()
        .map(|user| json!({ "kind": user.kind, "id": user.id }))
        .collect();
    let first = users
        .first()
        .map_or_else(String::new, |user| format!(" by {}", user.id));
    Error::new(Code::IN_USE, format!("{what} is in use{first}"))
        .with_details(json!({ "used_by": named, "more": more }))
}

/// A thing that a body names is not there, or not the caller's.
pub(crate) fn nothing(field: &str, what: &str) -> Error {
    Error::not_found(what).with_details(json!({ "field": field, "constraint": "exists" }))
}

/// The id of a thing that a body names. What is no id names nothing.
pub(crate) fn named<K: Kind>(field: &str, what: &str, text: &str) -> Result<Id<K>, Error> {
    if text.is_empty() {
        return Err(Error::required(field));
    }
    text.parse().map_err(|_| nothing(field, what))
}

pub(crate) fn block(field: &str, error: BlockError) -> Error {
    Error::validation(field, error.constraint(), format!("{field} {error}"))
}

pub(crate) fn mac(field: &str, error: MacError) -> Error {
    Error::validation(field, error.constraint(), format!("{field} {error}"))
}

/// A value that is none of the words there are.
pub(crate) fn word(field: &str, error: impl fmt::Display) -> Error {
    Error::validation(field, "value", format!("{field} {error}"))
}

/// An address in dotted decimal.
pub(crate) fn address(field: &str, text: &str) -> Result<Ipv4Addr, Error> {
    text.parse().map_err(|_| {
        let message = format!("{field} must be an IPv4 address like 10.0.0.5");
        Error::validation(field, "ipv4", message)
    })
}

pub(crate) fn overlaps(field: &str, block: impl fmt::Display, with: &Placed) -> Error {
    let message = format!(
        "{field} {block} overlaps {} of {}",
        with.cidr_block, with.id
    );
    Error::new(Code::BLOCK_OVERLAPS, message).with_details(json!({
        "field": field,
        field: block.to_string(),
        "overlaps": with.cidr_block,
        "subnet_id": with.id,
    }))
}

/// Another external network has some of the addresses.
pub(crate) fn overlaps_outside(block: Block, with: &ExternalBlock) -> Error {
    let message = format!(
        "cidr_block {block} overlaps {} of {}",
        with.cidr_block, with.id
    );
    Error::new(Code::BLOCK_OVERLAPS, message).with_details(json!({
        "field": "cidr_block",
        "cidr_block": block,
        "overlaps": with.cidr_block,
        "external_network_id": with.id,
    }))
}

/// An address outside that somebody has: who, is nothing to tell others.
pub(crate) fn outside_in_use(address: Ipv4Addr) -> Error {
    Error::new(Code::ADDRESS_IN_USE, format!("address {address} is in use"))
        .with_details(json!({ "field": "address", "address": address }))
}

pub(crate) fn exhausted_outside(network: ExternalNetworkId, capacity: u64) -> Error {
    let message = format!("all {capacity} addresses of {network} are in use");
    Error::new(Code::ADDRESSES_EXHAUSTED, message)
        .with_details(json!({ "external_network_id": network, "capacity": capacity }))
}

pub(crate) fn address_in_use(address: Ipv4Addr, port: Option<PortId>) -> Error {
    Error::new(
        Code::ADDRESS_IN_USE,
        format!("ip_address {address} is in use"),
    )
    .with_details(json!({ "field": "ip_address", "ip_address": address, "port_id": port }))
}

/// A port that the store does not know has it on its host, until an operator decides about it there.
pub(crate) fn address_held(address: Ipv4Addr, by: PortId) -> Error {
    let message =
        format!("ip_address {address} is in use by {by}, which runs on its host without a record");
    Error::new(Code::ADDRESS_IN_USE, message)
        .with_details(json!({ "field": "ip_address", "ip_address": address, "orphan_id": by }))
}

pub(crate) fn mac_in_use(mac: Mac, port: Option<PortId>) -> Error {
    Error::new(Code::MAC_IN_USE, format!("mac_address {mac} is in use"))
        .with_details(json!({ "field": "mac_address", "mac_address": mac, "port_id": port }))
}

pub(crate) fn exhausted(subnet: SubnetId, capacity: u32) -> Error {
    let message = format!("all {capacity} addresses of {subnet} are in use");
    Error::new(Code::ADDRESSES_EXHAUSTED, message)
        .with_details(json!({ "subnet_id": subnet, "capacity": capacity }))
}

pub(crate) fn too_many(what: &str, limit: usize) -> Error {
    Error::new(
        Code::LIMIT_EXCEEDED,
        format!("there may be at most {limit} {what}"),
    )
    .with_details(json!({ "limit": limit }))
}

/// There is one like it already.
pub(crate) fn exists<K: Kind>(what: &str, id: Option<Id<K>>) -> Error {
    Error::already_exists(what).with_details(json!({ "id": id }))
}
