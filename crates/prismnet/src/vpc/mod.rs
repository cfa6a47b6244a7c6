//! VPCs: networks of projects.
//!
//! ```text
//!   (nothing) ──created──> active ──deleted, when it has no subnets and no routes──> (nothing)
//! ```

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use photon_core::Error;
use prismnet_model::{BlockError, Description, Label, TenantBlock};

use crate::{
    refusal,
    scope::{Home, Owner},
};

/// A VPC to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewVpc {
    pub(crate) name: Label,
    pub(crate) home: Home,
    pub(crate) cidr_block: TenantBlock,
    pub(crate) description: Description,
    pub(crate) internet_access: bool,
}

/// What changes of a VPC.
#[derive(Clone, Debug, Default)]
pub(crate) struct VpcChange {
    pub(crate) name: Option<Label>,
    pub(crate) description: Option<Description>,
    pub(crate) internet_access: Option<bool>,
}

/// Which VPCs to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct VpcFilter {
    pub(crate) owner: Owner,
    pub(crate) name: Option<String>,
}

/// A tenant's block in a field.
pub(crate) fn block(field: &str, text: &str) -> Result<TenantBlock, Error> {
    text.parse()
        .map_err(|error: BlockError| refusal::block(field, error))
}
