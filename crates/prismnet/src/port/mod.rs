//! Ports: an address in a subnet, with its MAC.
//!
//! ```text
//!   (nothing) ──created──> down ──given a host──> building ──the host reports it──> active, error
//!                            └──────────────────────┴── deleted, when it has no floating IP ──> (nothing; an order to its host to take it down)
//! ```
//!
//! What is wanted is the record's; what is, the host reports beside it (`host`): joined when a port is shown, stored nowhere. Of a
//! host that does not report any more it is `unknown`.

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use std::net::Ipv4Addr;

use photon_core::{Error, Name};
use prismnet_model::{
    Description, GroupId, Label, Mac, Port, PortKind, SubnetId,
    id::{GroupKind, SubnetKind, VpcKind},
    mac::MacError,
    port::MOST_GROUPS,
};

use crate::{refusal, scope::Owner, wanted::Wanted};

/// A port to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewPort {
    pub(crate) subnet: SubnetId,
    pub(crate) name: Option<Label>,
    pub(crate) kind: PortKind,
    /// Without it one is made up.
    pub(crate) mac_address: Option<Mac>,
    /// Without it the next one that is free.
    pub(crate) ip_address: Option<Ipv4Addr>,
    /// Without them the project's default group.
    pub(crate) groups: Option<Vec<GroupId>>,
    pub(crate) host: Option<Name>,
    pub(crate) device: Option<Label>,
    pub(crate) description: Description,
    /// Whose the subnet must be, if that was said.
    pub(crate) owner: Owner,
}

/// What changes of a port.
#[derive(Clone, Debug, Default)]
pub(crate) struct PortChange {
    pub(crate) name: Option<Option<Label>>,
    pub(crate) description: Option<Description>,
    pub(crate) groups: Option<Vec<GroupId>>,
    pub(crate) host: Option<Option<Name>>,
    pub(crate) device: Option<Option<Label>>,
}

/// Which ports to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct PortFilter {
    pub(crate) owner: Owner,
    pub(crate) vpc: Wanted<VpcKind>,
    pub(crate) subnet: Wanted<SubnetKind>,
    pub(crate) group: Wanted<GroupKind>,
    pub(crate) host: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) name: Option<String>,
}

impl PortFilter {
    fn is(&self, port: &Port) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == found)
        };
        self.owner.is(&port.org, &port.project)
            && self.vpc.is(port.vpc)
            && self.subnet.is(port.subnet)
            && self.group.is_among(&port.security_groups)
            && is(&self.host, port.host.as_ref().map(Name::as_str))
            && is(&self.device, port.device.as_deref())
            && self
                .address
                .is_none_or(|address| address == port.ip_address)
            && is(&self.name, Some(&port.name))
    }
}

/// A kind in a field.
pub(crate) fn kind(text: &str) -> Result<PortKind, Error> {
    text.parse().map_err(|error| refusal::word("kind", error))
}

/// A MAC address in a field.
pub(crate) fn mac(text: &str) -> Result<Mac, Error> {
    text.parse()
        .map_err(|error: MacError| refusal::mac("mac_address", error))
}

/// Groups in a field, each once.
pub(crate) fn groups(texts: &[String]) -> Result<Vec<GroupId>, Error> {
    const FIELD: &str = "security_group_ids";
    if texts.len() > MOST_GROUPS {
        let message = format!("{FIELD} must be at most {MOST_GROUPS}");
        return Err(Error::validation(FIELD, "max_items", message));
    }
    let mut groups = Vec::with_capacity(texts.len());
    for text in texts {
        let group = text.parse();
        let group = group.map_err(|_| refusal::nothing(FIELD, "security group"))?;
        if groups.contains(&group) {
            let message = format!("{FIELD} must name each group once");
            return Err(Error::validation(FIELD, "unique", message));
        }
        groups.push(group);
    }
    Ok(groups)
}

/// A host in a field; an empty text is none.
pub(crate) fn host(text: &str) -> Result<Option<Name>, Error> {
    match text {
        "" => Ok(None),
        text => Name::parse_field("host_id", text).map(Some),
    }
}

/// A name or device in a field; an empty text is none.
pub(crate) fn maybe_label(field: &str, text: String) -> Result<Option<Label>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let label = Label::try_from(text);
    label.map(Some).map_err(|error| refusal::word(field, error))
}
