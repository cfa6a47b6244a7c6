//! Routes: ways that a VPC knows. A route never changes; it is deleted and another one is made.

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use std::net::Ipv4Addr;

use photon_core::Error;
use prismnet_model::{Block, BlockError, Description, VpcId, id::VpcKind};

use crate::{refusal, scope::Owner, wanted::Wanted};

/// A route to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewRoute {
    pub(crate) vpc: VpcId,
    pub(crate) destination: Block,
    pub(crate) next_hop: Ipv4Addr,
    pub(crate) description: Description,
}

/// Which routes to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteFilter {
    pub(crate) owner: Owner,
    pub(crate) vpc: Wanted<VpcKind>,
}

/// A destination in a field.
pub(crate) fn destination(text: &str) -> Result<Block, Error> {
    text.parse()
        .map_err(|error: BlockError| refusal::block("destination", error))
}
