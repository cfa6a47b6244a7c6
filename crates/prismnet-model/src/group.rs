//! A named set of ports, with rules.

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{GroupId, key};

/// The name of the group that a port is in if nothing is said.
pub const DEFAULT: &str = "default";

/// A security group, as it is stored: at `<org>/<project>/<id>`. Its rules have keys of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its id.
    pub id: GroupId,
    /// Its name; unique in the project.
    pub name: String,
    /// The org that owns the project.
    pub org: Name,
    /// The project that owns it.
    pub project: Name,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Whether it is being deleted: nothing may use it any more, and it gets no rules.
    #[serde(default)]
    pub deleting: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Record for SecurityGroup {
    const ROOT: &'static str = "/photon/prismnet/public/security-group/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        vec![
            index(self.id),
            key::group_name(&self.org, &self.project, &self.name),
        ]
    }
}

impl SecurityGroup {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.org, self.project, self.id)
    }
}

/// The key that leads from the id to the record.
#[must_use]
pub fn index(id: GroupId) -> String {
    key::by_id("security-group", id)
}
