//! Subnets: segments of a VPC.
//!
//! ```text
//!   (nothing) ──created──> active ──deleted, when it has no ports and no route leads through it──> (nothing)
//! ```

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use std::net::Ipv4Addr;

use photon_core::Error;
use prismnet_model::{Description, Label, TenantBlock, VpcId, id::VpcKind};

use crate::{refusal, scope::Owner, wanted::Wanted};

/// A subnet to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewSubnet {
    pub(crate) name: Label,
    pub(crate) vpc: VpcId,
    pub(crate) cidr_block: TenantBlock,
    pub(crate) gateway_ip: Ipv4Addr,
    pub(crate) description: Description,
    /// Whose the VPC must be, if that was said.
    pub(crate) owner: Owner,
}

/// What changes of a subnet.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubnetChange {
    pub(crate) name: Option<Label>,
    pub(crate) description: Option<Description>,
}

/// Which subnets.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubnetFilter {
    pub(crate) owner: Owner,
    pub(crate) vpc: Wanted<VpcKind>,
    pub(crate) name: Option<String>,
}

/// The gateway that is asked for, or the first address.
pub(crate) fn gateway(block: TenantBlock, asked: Option<&str>) -> Result<Ipv4Addr, Error> {
    const FIELD: &str = "gateway_ip";
    let Some(text) = asked else {
        return Ok(block.first());
    };
    let address = refusal::address(FIELD, text)?;
    if !block.block().has(address) {
        let message = format!("gateway_ip {address} must lie within {block}");
        return Err(Error::validation(FIELD, "within_subnet", message));
    }
    if !block.is_for_hosts(address) {
        let message = "gateway_ip must not be the subnet's network or broadcast address";
        return Err(Error::validation(FIELD, "reserved", message));
    }
    Ok(address)
}
