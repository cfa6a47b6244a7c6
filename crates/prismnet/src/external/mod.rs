//! External networks: addresses of the world outside, and where hosts reach it. They are the operator's; everybody sees which
//! there are, but not by which interface of which host.
//!
//! ```text
//!   (nothing) ──created──> active ──deleted, when no floating IP is from it──> (nothing)
//! ```

pub(crate) mod given;
pub(crate) mod grpc;
pub(crate) mod ranges;
pub(crate) mod rest;
pub(crate) mod service;

use std::{collections::BTreeMap, net::Ipv4Addr};

use photon_core::{Error, Name};
use prismnet_model::{
    AddressRange, Block, BlockError, Description, Interface, Label, block::RESERVED,
    external::MOST_UPLINKS,
};

use crate::refusal;

/// An external network to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewExternalNetwork {
    pub(crate) name: Label,
    pub(crate) cidr_block: Block,
    pub(crate) gateway_ip: Option<Ipv4Addr>,
    /// Without it everything that can be given out.
    pub(crate) pool: Option<Vec<AddressRange>>,
    pub(crate) uplinks: BTreeMap<Name, Interface>,
    pub(crate) description: Description,
}

/// What changes of an external network.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExternalNetworkChange {
    pub(crate) name: Option<Label>,
    pub(crate) description: Option<Description>,
    pub(crate) gateway_ip: Option<Option<Ipv4Addr>>,
    pub(crate) pool: Option<Vec<AddressRange>>,
    pub(crate) uplinks: Option<BTreeMap<Name, Interface>>,
}

/// Which external networks to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExternalNetworkFilter {
    pub(crate) name: Option<String>,
}

/// The shortest prefix.
const SHORTEST: u8 = 8;
/// The longest prefix: one address.
const LONGEST: u8 = 32;

/// The block of an external network in a field.
pub(crate) fn block(field: &str, text: &str) -> Result<Block, Error> {
    let parsed = text.parse::<Block>().and_then(|block| {
        if block.prefix_length() < SHORTEST {
            return Err(BlockError::PrefixLength {
                least: SHORTEST,
                most: LONGEST,
            });
        }
        let reserved = RESERVED.into_iter().find(|one| one.overlaps(block));
        reserved.map_or(Ok(block), |range| Err(BlockError::Reserved(range)))
    });
    parsed.map_err(|error| refusal::block(field, error))
}

/// A gateway in a field; an empty text is none.
pub(crate) fn gateway(text: &str) -> Result<Option<Ipv4Addr>, Error> {
    match text {
        "" => Ok(None),
        text => refusal::address("gateway_ip", text).map(Some),
    }
}

/// One range of a pool.
pub(crate) fn range(first: &str, last: &str) -> Result<AddressRange, Error> {
    Ok(AddressRange {
        first: refusal::address("pool", first)?,
        last: refusal::address("pool", last)?,
    })
}

/// By host, the interface that reaches the network.
pub(crate) fn uplinks(
    given: impl ExactSizeIterator<Item = (String, String)>,
) -> Result<BTreeMap<Name, Interface>, Error> {
    const FIELD: &str = "uplinks";
    if given.len() > MOST_UPLINKS {
        let message = format!("{FIELD} must name at most {MOST_UPLINKS} hosts");
        return Err(Error::validation(FIELD, "max_items", message));
    }
    given
        .map(|(host, interface)| {
            let host = Name::parse_field(FIELD, &host)?;
            let interface = Interface::try_from(interface).map_err(|why| {
                let message = format!("{FIELD} of {host} {why}");
                Error::validation(FIELD, "interface", message)
            })?;
            Ok((host, interface))
        })
        .collect()
}
