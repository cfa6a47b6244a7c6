//! Groups within groups.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use photon_core::{Error, Name};

use super::Policies;
use crate::{
    Group, PrincipalKind, PrincipalRef,
    records::{MAX_DEPTH, MAX_MEMBERS},
};

/// Why a group cannot have the members it is to have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupFault {
    /// More than [`MAX_MEMBERS`].
    #[error("must name at most {MAX_MEMBERS} members")]
    TooMany,
    /// The group would be in itself.
    #[error("would put the group into itself")]
    Cycle,
    /// More than [`MAX_DEPTH`] groups within each other.
    #[error("would make more than {MAX_DEPTH} groups within each other")]
    TooDeep,
}

impl GroupFault {
    /// The error of a request whose field says so.
    #[must_use]
    pub fn error(&self, field: &str) -> Error {
        let constraint = match self {
            Self::TooMany => "length",
            Self::Cycle => "cycle",
            Self::TooDeep => "depth",
        };
        Error::validation(field, constraint, format!("{field} {self}"))
    }
}

impl Policies {
    /// The groups that a principal is in, directly or by way of other groups, at most [`MAX_DEPTH`] away; sorted.
    #[must_use]
    pub fn groups_of(&self, principal: &PrincipalRef) -> Arc<[Name]> {
        let mut names: Vec<Name> = self
            .subjects_of(principal)
            .into_iter()
            .skip(1)
            .map(|group| group.id.clone())
            .collect();
        names.sort();
        names.into()
    }

    /// The principal first, then the groups it is in, the nearer ones first.
    pub(crate) fn subjects_of<'a>(&'a self, principal: &'a PrincipalRef) -> Vec<&'a PrincipalRef> {
        let mut found = vec![principal];
        let mut seen = HashSet::from([principal]);
        let mut level = 0..1;
        for _ in 0..MAX_DEPTH {
            for index in level.clone() {
                let parents = self.parents_of(found[index]).iter();
                found.extend(parents.filter(|parent| seen.insert(*parent)));
            }
            level = level.end..found.len();
        }
        found
    }

    fn parents_of(&self, member: &PrincipalRef) -> &[PrincipalRef] {
        self.subjects
            .get(member)
            .map_or(&[], |subject| &subject.parents)
    }

    /// Whether a group may be written as it is, given all the others.
    pub fn check_members(&self, group: &Group) -> Result<(), GroupFault> {
        if group.members.len() > MAX_MEMBERS {
            return Err(GroupFault::TooMany);
        }
        let below = self.depth_below(group)?;
        if self.depth_above(&group.id) + 1 + below > MAX_DEPTH {
            return Err(GroupFault::TooDeep);
        }
        Ok(())
    }

    /// How many groups follow each other on the longest way down.
    fn depth_below(&self, group: &Group) -> Result<usize, GroupFault> {
        // All that can be reached in that many steps, by any way.
        let mut level: BTreeSet<&Name> = groups_in(group).collect();
        let mut depth = 0;
        while !level.is_empty() {
            if level.contains(&group.id) {
                return Err(GroupFault::Cycle);
            }
            depth += 1;
            if depth > MAX_DEPTH {
                return Err(GroupFault::TooDeep);
            }
            level = level
                .into_iter()
                .filter_map(|id| self.groups.get(id))
                .flat_map(|group| groups_in(group))
                .collect();
        }
        Ok(depth)
    }

    /// How many groups follow each other on the longest way up; counts no further than is too many.
    fn depth_above(&self, group: &Name) -> usize {
        let mut level = BTreeSet::from([PrincipalRef::group(group.clone())]);
        for depth in 0..MAX_DEPTH {
            level = level
                .iter()
                .flat_map(|group| self.parents_of(group))
                .cloned()
                .collect();
            if level.is_empty() {
                return depth;
            }
        }
        MAX_DEPTH
    }
}

fn groups_in(group: &Group) -> impl Iterator<Item = &Name> {
    group
        .members
        .iter()
        .filter(|member| member.kind == PrincipalKind::Group)
        .map(|member| &member.id)
}
