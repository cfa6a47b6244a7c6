//! A project's network.

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{TenantBlock, VpcId, key};

/// A VPC, as it is stored: at `<org>/<project>/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Its id.
    pub id: VpcId,
    /// Its name, for people.
    pub name: String,
    /// The org that owns the project.
    pub org: Name,
    /// The project that owns it.
    pub project: Name,
    /// What its subnets lie in.
    pub cidr_block: TenantBlock,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Whether hosts let its ports out, under the host's own address.
    #[serde(default)]
    pub internet_access: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Record for Vpc {
    const ROOT: &'static str = "/photon/prismnet/public/vpc/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        vec![index(self.id)]
    }
}

impl Vpc {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.org, self.project, self.id)
    }
}

/// The key that leads from the id to the record.
#[must_use]
pub fn index(id: VpcId) -> String {
    key::by_id("vpc", id)
}
