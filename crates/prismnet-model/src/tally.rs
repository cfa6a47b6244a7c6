//! How many rules a group has: written by whoever adds or removes one.

use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::GroupId;

/// The count of a group, stored at `<group>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Rules.
    pub rules: u32,
}

impl Record for Tally {
    const ROOT: &'static str = "/photon/prismnet/tally/";
}

/// The key of a group's tally below the collection.
#[must_use]
pub fn key(group: GroupId) -> String {
    group.to_string()
}
