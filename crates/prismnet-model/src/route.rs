//! A way that a VPC knows.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{Block, RouteId, SubnetId, VpcId, key};

/// A route, as it is stored: at `<org>/<project>/<id>`. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// The VPC that knows it.
    pub vpc: VpcId,
    /// The VPC's org.
    pub org: Name,
    /// The VPC's project.
    pub project: Name,
    /// For which addresses.
    pub destination: Block,
    /// Over which address of the VPC.
    pub next_hop: Ipv4Addr,
    /// The subnet that address is in.
    pub subnet: SubnetId,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Record for Route {
    const ROOT: &'static str = "/photon/prismnet/public/route/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        vec![index(self.id), key::uses(self.subnet, self.id)]
    }
}

impl Route {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.org, self.project, self.id)
    }
}

/// The key that leads from the id to the record.
#[must_use]
pub fn index(id: RouteId) -> String {
    key::by_id("route", id)
}
