//! From entries of the store to what they mean here, by their path below `/photon/iam/public/`.
//!
//! A record that cannot be read must not give anybody anything: it counts as removed; a revocation counts by its key
//! alone, a principal's state as disabled. Deny rules, and the groups they may be about, hold back: they stay as they
//! were known, and nothing begins without one.

use std::sync::Arc;

use photon_authz::{
    Binding, BindingId, Change, DenyId, DenyRule, Group, Key, Keyed, Object, Org, Policies,
    PrincipalRef, PrincipalState, Project, PublicKey, Role, records::PUBLIC,
};
use photon_core::Name;
use photon_store::{Entry, Record, Store};

use crate::{
    keys::VerifyingKey,
    known::{Fact, ProjectState, Standing},
};

/// What one entry changes.
#[derive(Debug, Default)]
pub(crate) struct Meaning {
    pub(crate) change: Option<Change>,
    pub(crate) fact: Option<Fact>,
    /// Whether the entry is there and cannot be read.
    pub(crate) unreadable: bool,
}

impl Meaning {
    fn change(change: Change) -> Self {
        Self {
            change: Some(change),
            ..Self::default()
        }
    }

    fn fact(fact: Fact) -> Self {
        Self {
            fact: Some(fact),
            ..Self::default()
        }
    }

    fn and(mut self, fact: Fact) -> Self {
        self.fact = Some(fact);
        self
    }

    fn unreadable(mut self) -> Self {
        self.unreadable = true;
        self
    }
}

/// What an entry that was written means.
pub(crate) fn put(store: &Store, entry: Entry) -> Meaning {
    let path = entry.key.clone();
    let Some((kind, id)) = split(&path) else {
        return Meaning::default();
    };
    let read = match kind {
        "org" => record::<Org>(store, entry, id).map(|org| {
            let fact = Fact::Org(org.id.clone(), Some(org.disabled));
            Meaning::change(Change::Put(Object::Org(org))).and(fact)
        }),
        "project" => record::<Project>(store, entry, id).map(|project| {
            let state = ProjectState {
                org: project.org.clone(),
                standing: Standing {
                    disabled: project.disabled,
                    epoch: project.epoch,
                },
            };
            let fact = Fact::Project(project.id.clone(), Some(state));
            Meaning::change(Change::Put(Object::Project(project))).and(fact)
        }),
        "role" => record::<Role>(store, entry, id)
            .map(|role| Meaning::change(Change::Put(Object::Role(role)))),
        "binding" => record::<Binding>(store, entry, id)
            .map(|binding| Meaning::change(Change::Put(Object::Binding(binding)))),
        "deny" => record::<DenyRule>(store, entry, id)
            .map(|rule| Meaning::change(Change::Put(Object::DenyRule(rule)))),
        "group" => record::<Group>(store, entry, id)
            .map(|group| Meaning::change(Change::Put(Object::Group(group)))),
        "principal" => record::<PrincipalState>(store, entry, id).map(|state| {
            let standing = Standing {
                disabled: state.disabled,
                epoch: state.epoch,
            };
            let fact = Fact::Principal(state.principal.clone(), Some(standing));
            Meaning::change(Change::Put(Object::PrincipalState(state))).and(fact)
        }),
        "key" => record::<PublicKey>(store, entry, id).and_then(|key| {
            let verifying = VerifyingKey::read(&key)
                .inspect_err(|reason| {
                    tracing::error!(kid = key.kid, reason, "a published key verifies nothing");
                })
                .ok()?;
            Some(Meaning::fact(Fact::Key(key.kid, Some(Arc::new(verifying)))))
        }),
        // Its key says it all.
        "revoked" => Some(Meaning::fact(Fact::Revoked(id.to_owned(), true))),
        other => {
            tracing::debug!(kind = other, "published by a newer IAM; not known here");
            return Meaning::default();
        }
    };
    read.unwrap_or_else(|| refused(kind, id).unreadable())
}

/// What the removal of an entry means.
pub(crate) fn delete(path: &str) -> Meaning {
    split(path).map_or_else(Meaning::default, |(kind, id)| removed(kind, id))
}

/// Whether to go on without the record could allow what it forbids.
pub(crate) fn holds_back(path: &str) -> bool {
    split(path).is_some_and(|(kind, _)| matches!(kind, "deny" | "group"))
}

/// What puts a record that holds back where it was, if it was known.
pub(crate) fn as_known(path: &str, before: &Policies) -> Option<Change> {
    let (kind, id) = split(path)?;
    let object = match kind {
        "deny" => {
            let rule = before.deny_rules().find(|rule| rule.key() == id)?;
            Object::DenyRule(rule.clone())
        }
        "group" => Object::Group(before.group(&Name::new(id).ok()?)?.clone()),
        _ => return None,
    };
    Some(Change::Put(object))
}

fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix(PUBLIC)?.split_once('/')
}

/// A record that is what its key says it is.
fn record<T: Record + Keyed>(store: &Store, entry: Entry, id: &str) -> Option<T> {
    // What cannot be read is logged there.
    let value = store.collection::<T>().read(entry).ok()?.value;
    if value.key() != id {
        tracing::error!(
            key = format!("{}{id}", T::ROOT),
            "a record under another's key"
        );
        return None;
    }
    Some(value)
}

/// The least that is safe when a record cannot be read.
fn refused(kind: &str, id: &str) -> Meaning {
    match kind {
        "deny" | "group" => Meaning::default(),
        "principal" => principal(id).map_or_else(Meaning::default, |principal| {
            let standing = Standing {
                disabled: true,
                epoch: i64::MAX,
            };
            Meaning::fact(Fact::Principal(principal, Some(standing)))
        }),
        _ => removed(kind, id),
    }
}

fn removed(kind: &str, id: &str) -> Meaning {
    let name = || Name::new(id).ok();
    let known = match kind {
        "org" => name().map(|org| {
            Meaning::change(Change::Delete(Key::Org(org.clone()))).and(Fact::Org(org, None))
        }),
        "project" => name().map(|project| {
            Meaning::change(Change::Delete(Key::Project(project.clone())))
                .and(Fact::Project(project, None))
        }),
        "role" => name().map(|role| Meaning::change(Change::Delete(Key::Role(role)))),
        "group" => name().map(|group| Meaning::change(Change::Delete(Key::Group(group)))),
        "binding" => id
            .parse::<BindingId>()
            .ok()
            .map(|id| Meaning::change(Change::Delete(Key::Binding(id)))),
        "deny" => id
            .parse::<DenyId>()
            .ok()
            .map(|id| Meaning::change(Change::Delete(Key::DenyRule(id)))),
        "principal" => principal(id).map(|principal| {
            Meaning::change(Change::Delete(Key::PrincipalState(principal.clone())))
                .and(Fact::Principal(principal, None))
        }),
        "key" => Some(Meaning::fact(Fact::Key(id.to_owned(), None))),
        "revoked" => Some(Meaning::fact(Fact::Revoked(id.to_owned(), false))),
        _ => None,
    };
    known.unwrap_or_default()
}

/// `<kind>/<id>`.
fn principal(path: &str) -> Option<PrincipalRef> {
    let (kind, id) = path.split_once('/')?;
    Some(PrincipalRef::new(kind.parse().ok()?, id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use photon_authz::Scope;

    use super::*;

    #[test]
    fn what_holds_back_can_be_put_where_it_was() {
        let group = Group {
            id: Name::new("team").unwrap(),
            org: None,
            title: String::new(),
            members: vec!["user:alice".parse().unwrap()],
        };
        let rule = DenyRule {
            id: DenyId::generate(),
            principal: None,
            permissions: Vec::new(),
            scope: Scope::System,
            condition: None,
            created_at: jiff::Timestamp::now(),
            created_by: String::new(),
        };
        let mut before = Policies::new();
        for object in [Object::Group(group), Object::DenyRule(rule.clone())] {
            before.apply(Change::Put(object));
        }
        let mut after = Policies::new();
        for path in [
            format!("{PUBLIC}deny/{}", rule.id),
            format!("{PUBLIC}group/team"),
        ] {
            assert!(holds_back(&path));
            after.apply(as_known(&path, &before).unwrap());
        }
        assert_eq!(after.deny_rules().next(), Some(&rule));
        assert_eq!(after.groups().next(), before.groups().next());
        for path in ["role/team", "group/other", "deny/team"] {
            assert!(
                as_known(&format!("{PUBLIC}{path}"), &before).is_none(),
                "{path}"
            );
        }
        assert!(!holds_back(&format!("{PUBLIC}role/team")));
    }
}
