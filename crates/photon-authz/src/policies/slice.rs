//! What concerns one principal at one scope, out of everything there is.
//!
//! A slice is remembered. It says which subjects it was made of and which stamps they had: as long as those, the rules'
//! stamp and the scope's org are the same it is what building it again would give. So a write drops exactly the slices
//! it concerns, when they are next asked for, and no matter by which snapshot.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::RwLock;
use photon_core::Name;

use super::{
    Granted, Policies, Subject,
    place::{Level, Place, SYSTEM, level},
};
use crate::{
    Binding, DenyRule, Permission, PrincipalKind, PrincipalRef, Scope,
    cedar::Prepared,
    condition::{Condition, Moment, micros},
    role::{self, Compiled},
};

/// A role held at the scope or above it.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// None: built in.
    pub(crate) binding: Option<Arc<Binding>>,
    pub(crate) role: Arc<Compiled>,
    pub(crate) level: Level,
}

impl Grant {
    pub(crate) fn granted(&self) -> Granted {
        self.binding
            .as_ref()
            .map_or(Granted::BuiltIn, |binding| Granted::Binding(binding.id))
    }

    pub(crate) fn condition(&self) -> Option<&Condition> {
        let condition = self.binding.as_ref()?.condition.as_ref()?;
        (!condition.is_empty()).then_some(condition)
    }

    pub(crate) fn has_expired(&self, moment: Moment) -> bool {
        self.binding
            .as_ref()
            .and_then(|binding| binding.expires_at)
            .is_some_and(|end| micros(end) <= moment.micros)
    }
}

/// What Cedar needs to know about some grants and deny rules of a slice, by their places in it.
type PreparedFor = (Box<[usize]>, Arc<Prepared>);

/// See the module.
#[derive(Debug)]
pub(crate) struct Slice {
    /// What is built in first, then by id.
    pub(crate) grants: Vec<Grant>,
    /// By id.
    pub(crate) denies: Vec<Arc<DenyRule>>,
    /// What of it Cedar was asked about.
    prepared: RwLock<Vec<PreparedFor>>,
    remembered: bool,
    subjects: Vec<(PrincipalRef, u64)>,
    org: Option<Name>,
    rules: u64,
    /// The generation in which it was last found to be what it should be.
    current_in: AtomicU64,
}

impl Slice {
    /// The principal, then its groups.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &PrincipalRef> {
        self.subjects.iter().map(|(subject, _)| subject)
    }
}

impl Policies {
    /// The slice of a principal at a scope: remembered, or made and remembered.
    pub(super) fn slice(&self, principal: &PrincipalRef, place: &Place<'_>) -> Arc<Slice> {
        let known = self.slices.get(principal, place.scope);
        if let Some(slice) = known.filter(|slice| self.is_current(slice, place)) {
            return slice;
        }
        let mut slice = self.build(principal, place);
        slice.remembered = true;
        let slice = Arc::new(slice);
        self.slices.put(principal, place.scope, Arc::clone(&slice));
        slice
    }

    fn is_current(&self, slice: &Slice, place: &Place<'_>) -> bool {
        if slice.current_in.load(Ordering::Relaxed) == self.generation {
            return true;
        }
        let same = slice.rules == self.rules
            && slice.org.as_ref() == place.org
            && slice
                .subjects
                .iter()
                .all(|(subject, stamp)| self.stamp_of(subject) == *stamp);
        if same {
            slice.current_in.store(self.generation, Ordering::Relaxed);
        }
        same
    }

    /// Finds it in the records; remembers nothing.
    pub(super) fn build(&self, principal: &PrincipalRef, place: &Place<'_>) -> Slice {
        let subjects = self.subjects_of(principal);
        let known: Vec<(&PrincipalRef, Option<&Subject>)> = subjects
            .into_iter()
            .map(|subject| (subject, self.subjects.get(subject).map(|known| &**known)))
            .collect();
        let scopes = Self::with_ancestors(place);

        let mut grants: Vec<Grant> = known
            .iter()
            .filter_map(|(_, subject)| *subject)
            .flat_map(|subject| {
                scopes
                    .iter()
                    .flat_map(move |scope| subject.bindings_at(scope))
            })
            .filter_map(|binding| self.grant(binding, place.org))
            .chain(built_in(principal))
            .collect();
        grants.sort_by_key(|grant| grant.binding.as_ref().map(|binding| binding.id));

        let concerns = |rule: &&Arc<DenyRule>| {
            let whom = rule.principal.as_ref();
            whom.is_none_or(|whom| known.iter().any(|(subject, _)| *subject == whom))
        };
        let mut denies: Vec<Arc<DenyRule>> = scopes
            .iter()
            .filter_map(|scope| self.denies_at.get(scope))
            .flatten()
            .filter(concerns)
            .cloned()
            .collect();
        denies.sort_by_key(|rule| rule.id);

        Slice {
            grants,
            denies,
            prepared: RwLock::default(),
            remembered: false,
            subjects: known
                .into_iter()
                .map(|(who, known)| (who.clone(), known.map_or(0, |known| known.stamp)))
                .collect(),
            org: place.org.cloned(),
            rules: self.rules,
            current_in: AtomicU64::new(self.generation),
        }
    }

    /// What Cedar needs to know of a slice for one permission. None: Cedar does not take it.
    pub(super) fn prepared(
        &self,
        principal: &PrincipalRef,
        place: &Place<'_>,
        slice: &Slice,
        permission: &Permission,
    ) -> Option<Arc<Prepared>> {
        let grants = slice.grants.iter().enumerate();
        let grants = grants.filter(|(_, grant)| grant.role.allows(permission));
        let rules = slice.denies.iter().enumerate();
        let rules = rules.filter(|(_, rule)| speaks_of(rule, permission));
        let about: Box<[usize]> = grants
            .clone()
            .map(|(at, _)| at)
            .chain(rules.clone().map(|(at, _)| slice.grants.len() + at))
            .collect();
        let known = |all: &[PreparedFor]| {
            let found = all.iter().find(|(known, _)| *known == about);
            found.map(|(_, prepared)| Arc::clone(prepared))
        };
        if let Some(prepared) = known(&slice.prepared.read()) {
            return Some(prepared);
        }
        let grants = grants.map(|(_, grant)| grant);
        let rules = rules.map(|(_, rule)| &**rule);
        let made = Prepared::of_slice(principal, place, slice, grants, rules)?;
        let made = Arc::new(made);
        if slice.remembered {
            slice.prepared.write().push((about, Arc::clone(&made)));
            self.slices.prepared_one();
        }
        Some(made)
    }

    fn with_ancestors(place: &Place<'_>) -> Vec<Scope> {
        let mut scopes = vec![Scope::System];
        scopes.extend(place.org.map(|org| Scope::Org(org.clone())));
        if matches!(place.scope, Scope::Project(_)) {
            scopes.push(place.scope.clone());
        }
        scopes
    }

    /// What a binding at or above a scope of `org` gives: nothing, if its role is not there or is another org's.
    pub(super) fn grant(&self, binding: &Arc<Binding>, org: Option<&Name>) -> Option<Grant> {
        let role = self.compiled(&binding.role)?;
        let level = level(&binding.scope);
        let at_home = match &role.role.org {
            None => true,
            Some(owner) => level < SYSTEM && org == Some(owner),
        };
        at_home.then(|| Grant {
            binding: Some(Arc::clone(binding)),
            role: Arc::clone(role),
            level,
        })
    }
}

/// Whether a deny rule is about a permission.
pub(super) fn speaks_of(rule: &DenyRule, permission: &Permission) -> bool {
    let mut patterns = rule.permissions.iter();
    patterns.any(|pattern| pattern.matches(permission))
}

/// What a service of the suite holds everywhere.
pub(super) fn built_in(principal: &PrincipalRef) -> Option<Grant> {
    if principal.kind != PrincipalKind::Service {
        return None;
    }
    let role = role::compiled_of_service(&principal.id)?;
    Some(Grant {
        binding: None,
        role: Arc::clone(role),
        level: SYSTEM,
    })
}

/// Slices remembered in one shard; with [`SHARDS`] of them some 30,000 in all.
const PER_SHARD: usize = 512;
const SHARDS: usize = 64;

/// What was prepared for Cedar, over all slices; some kilobytes each.
const PREPARED: usize = 8_192;

/// The slices that clones share, and their stamps.
#[derive(Debug)]
pub(super) struct Slices {
    /// Prepared since everything was last thrown away.
    prepared: AtomicUsize,
    shards: Vec<RwLock<Shard>>,
    chooser: RandomState,
    stamps: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    slices: HashMap<PrincipalRef, HashMap<Scope, Arc<Slice>>>,
    count: usize,
}

impl Default for Slices {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            chooser: RandomState::new(),
            stamps: AtomicU64::new(0),
            prepared: AtomicUsize::new(0),
        }
    }
}

impl Slices {
    pub(super) fn next_stamp(&self) -> u64 {
        self.stamps.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts one; with too many all slices are thrown away. Who holds one goes on with it.
    fn prepared_one(&self) {
        if self.prepared.fetch_add(1, Ordering::Relaxed) + 1 < PREPARED {
            return;
        }
        self.prepared.store(0, Ordering::Relaxed);
        for shard in &self.shards {
            *shard.write() = Shard::default();
        }
    }

    fn shard(&self, principal: &PrincipalRef) -> &RwLock<Shard> {
        // The remainder is below 64 and fits.
        &self.shards[(self.chooser.hash_one(principal) % SHARDS as u64) as usize]
    }

    fn get(&self, principal: &PrincipalRef, scope: &Scope) -> Option<Arc<Slice>> {
        let shard = self.shard(principal).read();
        shard.slices.get(principal)?.get(scope).cloned()
    }

    fn put(&self, principal: &PrincipalRef, scope: &Scope, slice: Arc<Slice>) {
        let mut shard = self.shard(principal).write();
        if shard.count >= PER_SHARD {
            // Making them again costs microseconds each; keeping account of their use would cost that on every use.
            *shard = Shard::default();
        }
        let of_principal = shard.slices.entry(principal.clone()).or_default();
        if of_principal.insert(scope.clone(), slice).is_none() {
            shard.count += 1;
        }
    }
}
