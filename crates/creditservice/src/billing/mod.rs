//! Whether services may create things for a project without a wallet: by org, and if nobody said, by the configuration.

mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use photon_core::Name;
use serde::{Deserialize, Serialize};

/// Whether projects of an org must have a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) org: Name,
    pub(crate) required: bool,
    /// Whether somebody said so for this org.
    pub(crate) own: bool,
}

/// What somebody said for an org, as it is stored.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Stored {
    required: bool,
}

/// Below it: what was said, by org.
const ORGS: &str = "/photon/creditservice/billing/org/";

fn key(org: &Name) -> String {
    format!("{ORGS}{org}")
}
