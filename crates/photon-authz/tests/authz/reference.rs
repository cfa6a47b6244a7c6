//! The rules once more, as plainly as they can be said: loops over all records, nothing shared with the crate's own ways
//! of deciding. Slow, and right by reading.

use std::collections::BTreeMap;

use jiff::{civil::Weekday, tz::TimeZone};
use photon_authz::{
    Binding, Change, Condition, Day, Key, Object, PermissionPattern, Policies, PrincipalKind,
    PrincipalRef, Question, Role, Scope, built_in,
};
use photon_core::Name;

/// All records there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct World(BTreeMap<String, Object>);

fn key_of(object: &Object) -> Key {
    match object {
        Object::Org(org) => Key::Org(org.id.clone()),
        Object::Project(project) => Key::Project(project.id.clone()),
        Object::Role(role) => Key::Role(role.id.clone()),
        Object::Binding(binding) => Key::Binding(binding.id),
        Object::DenyRule(rule) => Key::DenyRule(rule.id),
        Object::Group(group) => Key::Group(group.id.clone()),
        Object::PrincipalState(state) => Key::PrincipalState(state.principal.clone()),
    }
}

impl World {
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(object) => self
                .0
                .insert(format!("{:?}", key_of(object)), object.clone()),
            Change::Delete(key) => self.0.remove(&format!("{key:?}")),
        };
    }

    /// A snapshot made of these records from nothing.
    pub(crate) fn policies(&self) -> Policies {
        let mut policies = Policies::new();
        for object in self.0.values() {
            policies.apply(Change::Put(object.clone()));
        }
        policies
    }

    /// The same without deny rules about everybody.
    pub(crate) fn without_rules_for_everybody(&self) -> Self {
        let kept = self.0.iter().filter(
            |(_, object)| !matches!(object, Object::DenyRule(rule) if rule.principal.is_none()),
        );
        Self(
            kept.map(|(key, object)| (key.clone(), object.clone()))
                .collect(),
        )
    }

    fn project_org(&self, id: &Name) -> Option<(&Name, bool)> {
        self.0.values().find_map(|object| match object {
            Object::Project(project) if project.id == *id => Some((&project.org, project.disabled)),
            _ => None,
        })
    }

    fn org_disabled(&self, id: &Name) -> Option<bool> {
        self.0.values().find_map(|object| match object {
            Object::Org(org) if org.id == *id => Some(org.disabled),
            _ => None,
        })
    }

    /// The scopes that are there.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        let scopes = self.0.values().filter_map(|object| match object {
            Object::Org(org) => Some(Scope::Org(org.id.clone())),
            Object::Project(project) => {
                self.org_disabled(&project.org)?;
                Some(Scope::Project(project.id.clone()))
            }
            _ => None,
        });
        std::iter::once(Scope::System).chain(scopes).collect()
    }

    pub(crate) fn is_disabled(&self, scope: &Scope) -> bool {
        match scope {
            Scope::System => false,
            Scope::Org(id) => self.org_disabled(id) == Some(true),
            Scope::Project(id) => self
                .project_org(id)
                .is_some_and(|(org, disabled)| disabled || self.org_disabled(org) == Some(true)),
        }
    }

    pub(crate) fn contains(&self, outer: &Scope, inner: &Scope) -> bool {
        outer == inner
            || match (outer, inner) {
                (Scope::System, _) => true,
                (Scope::Org(org), Scope::Project(project)) => {
                    self.project_org(project).is_some_and(|(of, _)| of == org)
                }
                _ => false,
            }
    }

    fn is_member(&self, group: &Name, who: &PrincipalRef, depth: usize) -> bool {
        depth > 0
            && self.0.values().any(|object| match object {
                Object::Group(known) if known.id == *group => known.members.iter().any(|member| {
                    member == who
                        || (member.kind == PrincipalKind::Group
                            && self.is_member(&member.id, who, depth - 1))
                }),
                _ => false,
            })
    }

    fn concerns(&self, whom: &PrincipalRef, who: &PrincipalRef) -> bool {
        whom == who || (whom.kind == PrincipalKind::Group && self.is_member(&whom.id, who, 8))
    }

    fn role(&self, id: &Name) -> Option<&Role> {
        built_in(id).or_else(|| {
            self.0.values().find_map(|object| match object {
                Object::Role(role) if role.id == *id => Some(role),
                _ => None,
            })
        })
    }

    /// Whether a binding at `at` is one whose scope may decide about `asked`.
    fn reaches(&self, at: &Scope, asked: &Scope, question: &Question<'_>) -> bool {
        if !self.contains(at, asked) {
            return false;
        }
        let (org, project_disabled) = match asked {
            Scope::System => return true,
            Scope::Org(org) => (Some(org), false),
            Scope::Project(id) => match self.project_org(id) {
                Some((org, disabled)) => (Some(org), disabled),
                None => (None, false),
            },
        };
        let org_disabled = org.and_then(|org| self.org_disabled(org));
        let usable = match at {
            Scope::System => true,
            Scope::Org(_) => org_disabled == Some(false),
            Scope::Project(_) => org_disabled == Some(false) && !project_disabled,
        };
        let open = !project_disabled && org_disabled != Some(true)
            || question.principal.kind == PrincipalKind::Service
            || question.permission.as_str().starts_with("iam.");
        usable && open
    }

    fn gives(&self, binding: &Binding, question: &Question<'_>) -> bool {
        let Some(role) = self.role(&binding.role) else {
            return false;
        };
        let at_home = role.org.as_ref().is_none_or(|org| {
            let org = Scope::Org(org.clone());
            binding.scope != Scope::System && self.contains(&org, question.scope)
        });
        at_home
            && self.concerns(&binding.principal, question.principal)
            && self.reaches(&binding.scope, question.scope, question)
            && binding.expires_at.is_none_or(|end| question.now < end)
            && binding
                .condition
                .as_ref()
                .is_none_or(|condition| holds(condition, question, false))
            && allows(role, question)
    }

    pub(crate) fn allows(&self, question: &Question<'_>) -> bool {
        let inside = question
            .limit
            .is_none_or(|limit| self.contains(limit, question.scope));
        let disabled = self.0.values().any(|object| {
            matches!(object, Object::PrincipalState(state)
                if state.principal == *question.principal && state.disabled)
        });
        if !inside || disabled {
            return false;
        }
        let bindings = || {
            self.0.values().filter_map(|object| match object {
                Object::Binding(binding) => Some(binding),
                _ => None,
            })
        };
        let unlocks = ["get", "list", "delete"]
            .map(|verb| format!("iam.deny_rules.{verb}"))
            .contains(&question.permission.to_string());
        let whole_admin = |binding: &Binding| {
            binding.role.as_str() == "admin"
                && binding.scope == Scope::System
                && binding
                    .condition
                    .as_ref()
                    .is_none_or(|c| *c == Condition::default())
                && self.gives(binding, question)
        };
        if unlocks && bindings().any(whole_admin) {
            return true;
        }
        let denied = self.0.values().any(|object| match object {
            Object::DenyRule(rule) => {
                rule.principal
                    .as_ref()
                    .is_none_or(|whom| self.concerns(whom, question.principal))
                    && self.contains(&rule.scope, question.scope)
                    && rule
                        .permissions
                        .iter()
                        .any(|pattern| matches(pattern, question))
                    && rule
                        .condition
                        .as_ref()
                        .is_none_or(|condition| holds(condition, question, true))
            }
            _ => false,
        });
        let of_service = question.principal.kind == PrincipalKind::Service
            && Name::new(format!("service-{}", question.principal.id))
                .ok()
                .and_then(|id| built_in(&id))
                .is_some_and(|role| allows(role, question));
        !denied && (of_service || bindings().any(|binding| self.gives(binding, question)))
    }
}

fn matches(pattern: &PermissionPattern, question: &Question<'_>) -> bool {
    let wanted: Vec<&str> = pattern.as_str().split('.').collect();
    let asked: Vec<&str> = question.permission.as_str().split('.').collect();
    wanted.len() == asked.len()
        && wanted
            .iter()
            .zip(asked)
            .all(|(wanted, asked)| *wanted == "*" || *wanted == asked)
}

fn allows(role: &Role, question: &Question<'_>) -> bool {
    let any = |patterns: &[PermissionPattern]| patterns.iter().any(|p| matches(p, question));
    let by_included = role
        .includes
        .iter()
        .filter_map(built_in)
        .any(|included| allows(included, question));
    (any(&role.permissions) && !any(&role.except)) || by_included
}

fn holds(condition: &Condition, question: &Question<'_>, unknown_source: bool) -> bool {
    let civil = question.now.to_zoned(TimeZone::UTC).datetime();
    let minute = u16::try_from(civil.hour()).unwrap() * 60 + u16::try_from(civil.minute()).unwrap();
    let in_window = condition.window.as_ref().is_none_or(|window| {
        let begins = |date: jiff::civil::Date| {
            window.days.is_empty() || window.days.contains(&day(date.weekday()))
        };
        let (from, until) = (window.from.minutes(), window.until.minutes());
        let today = begins(civil.date());
        let yesterday = begins(civil.date().yesterday().unwrap());
        if from < until {
            today && from <= minute && minute < until
        } else {
            (today && from <= minute) || (yesterday && minute < until)
        }
    });
    let in_network = condition.source_networks.is_empty()
        || question.source.map_or(unknown_source, |source| {
            let source = source.to_canonical();
            condition
                .source_networks
                .iter()
                .any(|net| net.contains(&source))
        });
    condition.not_before.is_none_or(|from| from <= question.now)
        && condition.not_after.is_none_or(|until| question.now < until)
        && in_window
        && in_network
}

fn day(weekday: Weekday) -> Day {
    match weekday {
        Weekday::Monday => Day::Mon,
        Weekday::Tuesday => Day::Tue,
        Weekday::Wednesday => Day::Wed,
        Weekday::Thursday => Day::Thu,
        Weekday::Friday => Day::Fri,
        Weekday::Saturday => Day::Sat,
        Weekday::Sunday => Day::Sun,
    }
}
