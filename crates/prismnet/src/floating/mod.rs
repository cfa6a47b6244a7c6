//! Floating IPs: an address outside, for a port.
//!
//! ```text
//!   (nothing) ──allocated──> a project's ──associated──> a port's
//!       ^                      │     ^                     │  │
//!       └──────released────────┘     └────dissociated──────┘  └──associated with another──> that port's
//! ```
//!
//! The address is taken from the first to the last of it, whether a port has it or not. A port that has one is not deleted.

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use std::net::Ipv4Addr;

use photon_core::Error;
use prismnet_model::{
    Description, ExternalNetworkId, FloatingIp, PortId,
    id::{ExternalNetworkKind, PortKindId},
};

use crate::{
    refusal,
    scope::{Home, Owner},
    wanted::Wanted,
};

/// A floating IP to be allocated.
#[derive(Clone, Debug)]
pub(crate) struct NewFloatingIp {
    pub(crate) network: ExternalNetworkId,
    pub(crate) home: Home,
    /// Without it the next one that is free.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) port: Option<PortId>,
    pub(crate) description: Description,
}

/// What changes of a floating IP.
#[derive(Clone, Debug, Default)]
pub(crate) struct FloatingIpChange {
    pub(crate) port: Option<Option<PortId>>,
    pub(crate) description: Option<Description>,
}

/// Which floating IPs to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct FloatingIpFilter {
    pub(crate) owner: Owner,
    pub(crate) network: Wanted<ExternalNetworkKind>,
    pub(crate) port: Wanted<PortKindId>,
    pub(crate) address: Option<Ipv4Addr>,
}

impl FloatingIpFilter {
    fn is(&self, floating: &FloatingIp) -> bool {
        self.owner.is(&floating.org, &floating.project)
            && self.network.is(floating.external_network)
            && self.port.is_among(floating.port.as_slice())
            && self
                .address
                .is_none_or(|address| address == floating.address)
    }
}

/// A port in a field; an empty text is none.
pub(crate) fn port(text: &str) -> Result<Option<PortId>, Error> {
    match text {
        "" => Ok(None),
        text => refusal::named("port_id", "port", text).map(Some),
    }
}
