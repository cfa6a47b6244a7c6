//! A snapshot of everything that decides, and the decisions.
//!
//! ```text
//! change.rs   what changes a snapshot
//! place.rs    where a scope lies
//! groups.rs   groups within groups
//! slice.rs    what concerns one principal at one scope, remembered until what it is made of changes
//! decide.rs   one question, one answer
//! lists.rs    where a principal may do something
//! holds.rs    what a principal could pass on
//! ```
//!
//! Invariants: every binding is in `bindings` and in the subject of its principal, and nowhere else; `parents` of a
//! subject are exactly the groups that list it; a stamp is never used twice by snapshots that share slices.

mod change;
mod decide;
mod groups;
mod holds;
mod lists;
pub(crate) mod place;
pub(crate) mod slice;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use photon_core::Name;

pub use change::{Change, Key, Object};
pub use decide::{Decision, Granted, Question, Reason};
pub(crate) use decide::{is_shut, unlocks};
pub use groups::GroupFault;
pub use lists::Visible;

use crate::{
    Binding, BindingId, DenyId, DenyRule, Group, Org, PrincipalRef, PrincipalState, Project, Role,
    Scope, built_in,
    role::{self, Compiled},
    sharded::Sharded,
};
use slice::Slices;

/// What is known of a principal or group, however it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    /// Another whenever bindings or parents are.
    stamp: u64,
    /// By scope, then by id.
    bindings: Vec<Arc<Binding>>,
    /// The groups that list it.
    parents: Vec<PrincipalRef>,
    state: Option<PrincipalState>,
}

impl Subject {
    fn is_empty(&self) -> bool {
        self.bindings.is_empty() && self.parents.is_empty() && self.state.is_none()
    }

    fn bindings_at(&self, scope: &Scope) -> &[Arc<Binding>] {
        let from = self
            .bindings
            .partition_point(|binding| binding.scope < *scope);
        let len = self.bindings[from..].partition_point(|binding| binding.scope == *scope);
        &self.bindings[from..from + len]
    }
}

/// Everything that decides, at one moment. Cloning is cheap, and so is changing a clone: what did not change is shared.
///
/// Clones share what they remember of earlier decisions; each still decides by its own records.
#[derive(Clone, Default)]
pub struct Policies {
    orgs: Sharded<Name, Arc<Org>>,
    projects: Sharded<Name, Arc<Project>>,
    /// The orgs and projects that are disabled.
    disabled: Arc<BTreeSet<Scope>>,
    groups: Sharded<Name, Arc<Group>>,
    subjects: Sharded<PrincipalRef, Arc<Subject>>,
    bindings: Sharded<BindingId, Arc<Binding>>,
    roles: Arc<HashMap<Name, Arc<Compiled>>>,
    denies: Arc<BTreeMap<DenyId, Arc<DenyRule>>>,
    denies_at: Arc<HashMap<Scope, Vec<Arc<DenyRule>>>>,
    /// Another whenever roles or deny rules are.
    rules: u64,
    /// Another whenever anything is that a slice is made of.
    generation: u64,
    revision: i64,
    slices: Arc<Slices>,
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies")
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

impl Policies {
    /// Nothing: every question is answered with no, save what the built-in service roles allow.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The store's revision up to which changes were applied.
    #[must_use]
    pub const fn revision(&self) -> i64 {
        self.revision
    }

    /// Says up to which revision changes were applied.
    pub const fn set_revision(&mut self, revision: i64) {
        self.revision = revision;
    }

    /// Applies one change. Other clones do not see it.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Put(Object::Org(org)) => {
                self.set_disabled(Scope::Org(org.id.clone()), org.disabled);
                self.orgs.insert(org.id.clone(), Arc::new(org));
                self.changed();
            }
            Change::Delete(Key::Org(id)) => {
                self.orgs.remove(&id);
                self.set_disabled(Scope::Org(id), false);
                self.changed();
            }
            Change::Put(Object::Project(project)) => {
                self.set_disabled(Scope::Project(project.id.clone()), project.disabled);
                self.projects.insert(project.id.clone(), Arc::new(project));
                self.changed();
            }
            Change::Delete(Key::Project(id)) => {
                self.projects.remove(&id);
                self.set_disabled(Scope::Project(id), false);
                self.changed();
            }
            Change::Put(Object::Role(role)) => {
                let compiled = Arc::new(Compiled::new(&role));
                Arc::make_mut(&mut self.roles).insert(role.id, compiled);
                self.rules = self.changed();
            }
            Change::Delete(Key::Role(id)) => {
                if self.roles.contains_key(&id) {
                    Arc::make_mut(&mut self.roles).remove(&id);
                    self.rules = self.changed();
                }
            }
            Change::Put(Object::Binding(binding)) => self.put_binding(binding),
            Change::Delete(Key::Binding(id)) => self.remove_binding(id),
            Change::Put(Object::DenyRule(rule)) => self.put_rule(rule),
            Change::Delete(Key::DenyRule(id)) => self.remove_rule(id),
            Change::Put(Object::Group(group)) => {
                self.set_members(&group.id, &group.members);
                self.groups.insert(group.id.clone(), Arc::new(group));
            }
            Change::Delete(Key::Group(id)) => {
                self.set_members(&id, &[]);
                self.groups.remove(&id);
            }
            Change::Put(Object::PrincipalState(state)) => {
                let principal = state.principal.clone();
                self.with_subject(&principal, |subject| subject.state = Some(state));
            }
            Change::Delete(Key::PrincipalState(principal)) => {
                self.with_subject(&principal, |subject| subject.state = None);
            }
        }
    }

    /// Slices must be looked at again before they are used. Returns the new stamp.
    fn changed(&mut self) -> u64 {
        self.generation = self.slices.next_stamp();
        self.generation
    }

    fn set_disabled(&mut self, scope: Scope, disabled: bool) {
        if disabled == self.disabled.contains(&scope) {
            return;
        }
        let all = Arc::make_mut(&mut self.disabled);
        if disabled {
            all.insert(scope);
        } else {
            all.remove(&scope);
        }
    }

    /// Changes a subject without telling its slices.
    fn with_subject(&mut self, principal: &PrincipalRef, change: impl FnOnce(&mut Subject)) {
        let mut subject = self.subjects.remove(principal).unwrap_or_default();
        change(Arc::make_mut(&mut subject));
        if !subject.is_empty() {
            self.subjects.insert(principal.clone(), subject);
        }
    }

    /// Changes what slices are made of.
    fn restamp(&mut self, principal: &PrincipalRef, change: impl FnOnce(&mut Subject)) {
        let stamp = self.changed();
        self.with_subject(principal, |subject| {
            subject.stamp = stamp;
            change(subject);
        });
    }

    fn put_binding(&mut self, binding: Binding) {
        self.remove_binding(binding.id);
        let binding = Arc::new(binding);
        self.bindings.insert(binding.id, Arc::clone(&binding));
        let principal = binding.principal.clone();
        self.restamp(&principal, |subject| {
            let order =
                |known: &Arc<Binding>| (&known.scope, known.id) < (&binding.scope, binding.id);
            let at = subject.bindings.partition_point(order);
            subject.bindings.insert(at, binding);
        });
    }

    fn remove_binding(&mut self, id: BindingId) {
        let Some(old) = self.bindings.remove(&id) else {
            return;
        };
        self.restamp(&old.principal, |subject| {
            subject.bindings.retain(|binding| binding.id != id);
        });
    }

    fn put_rule(&mut self, rule: DenyRule) {
        self.remove_rule(rule.id);
        let rule = Arc::new(rule);
        Arc::make_mut(&mut self.denies).insert(rule.id, Arc::clone(&rule));
        Arc::make_mut(&mut self.denies_at)
            .entry(rule.scope.clone())
            .or_default()
            .push(rule);
        self.rules = self.changed();
    }

    fn remove_rule(&mut self, id: DenyId) {
        let Some(old) = self.denies.get(&id).cloned() else {
            return;
        };
        Arc::make_mut(&mut self.denies).remove(&id);
        let at = Arc::make_mut(&mut self.denies_at);
        if let Some(rules) = at.get_mut(&old.scope) {
            rules.retain(|rule| rule.id != id);
            if rules.is_empty() {
                at.remove(&old.scope);
            }
        }
        self.rules = self.changed();
    }

    /// Tells those who joined and those who left; what the others hold stays as it is.
    fn set_members(&mut self, id: &Name, members: &[PrincipalRef]) {
        let group = PrincipalRef::group(id.clone());
        let before = self.groups.get(id).cloned();
        let before: HashSet<&PrincipalRef> =
            before.iter().flat_map(|group| &group.members).collect();
        let after: HashSet<&PrincipalRef> = members.iter().collect();
        for left in before.difference(&after) {
            self.restamp(left, |subject| {
                subject.parents.retain(|parent| *parent != group)
            });
        }
        for joined in after.difference(&before) {
            self.restamp(joined, |subject| {
                if let Err(at) = subject.parents.binary_search(&group) {
                    subject.parents.insert(at, group.clone());
                }
            });
        }
    }

    fn stamp_of(&self, principal: &PrincipalRef) -> u64 {
        self.subjects
            .get(principal)
            .map_or(0, |subject| subject.stamp)
    }

    pub(crate) fn compiled(&self, role: &Name) -> Option<&Arc<Compiled>> {
        role::compiled_built_in(role).or_else(|| self.roles.get(role))
    }

    /// An org.
    #[must_use]
    pub fn org(&self, id: &Name) -> Option<&Org> {
        self.orgs.get(id).map(|org| &**org)
    }

    /// A project.
    #[must_use]
    pub fn project(&self, id: &Name) -> Option<&Project> {
        self.projects.get(id).map(|project| &**project)
    }

    /// A group.
    #[must_use]
    pub fn group(&self, id: &Name) -> Option<&Group> {
        self.groups.get(id).map(|group| &**group)
    }

    /// A role, built-in or custom. A stored role with the id of a built-in one means nothing.
    #[must_use]
    pub fn role(&self, id: &Name) -> Option<&Role> {
        built_in(id).or_else(|| self.roles.get(id).map(|compiled| &compiled.role))
    }

    /// A binding.
    #[must_use]
    pub fn binding(&self, id: BindingId) -> Option<&Binding> {
        self.bindings.get(&id).map(|binding| &**binding)
    }

    /// Whether a principal is disabled and since when its tokens count; none if nothing was ever written about it.
    #[must_use]
    pub fn state_of(&self, principal: &PrincipalRef) -> Option<&PrincipalState> {
        self.subjects.get(principal)?.state.as_ref()
    }

    /// The bindings of a principal or group itself, without those of the groups it is in; by scope, then by id.
    pub fn bindings_of(&self, principal: &PrincipalRef) -> impl Iterator<Item = &Binding> {
        let subject = self.subjects.get(principal);
        subject
            .into_iter()
            .flat_map(|subject| &subject.bindings)
            .map(|binding| &**binding)
    }

    /// Every org, in no order.
    pub fn orgs(&self) -> impl Iterator<Item = &Org> {
        self.orgs.values().map(|org| &**org)
    }

    /// Every project, in no order.
    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.projects.values().map(|project| &**project)
    }

    /// Every group, in no order.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values().map(|group| &**group)
    }

    /// Every binding, in no order.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.values().map(|binding| &**binding)
    }

    /// Every deny rule, by id.
    pub fn deny_rules(&self) -> impl Iterator<Item = &DenyRule> {
        self.denies.values().map(|rule| &**rule)
    }

    /// Every custom role, in no order.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values().map(|compiled| &compiled.role)
    }
}
