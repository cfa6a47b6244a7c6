//! Cedar, asked about what of a slice is about a permission (`Prepared`), or about everything there is ([`Oracle`]).
//!
//! ```text
//! User Service… ──in──> Group ──in──> Group        Project ──in──> Org        the system is every resource
//! permit(principal in …, action, resource in …) when { context.least <= … && <role> && <expiry> && <condition> }
//! forbid(principal in …, action, resource in …) when { <permissions> && <condition> }
//! ```
//!
//! Cedar leaves out policies that cannot be evaluated, forbidding ones too; here any error makes the answer no.

mod oracle;
mod text;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::LazyLock,
};

use cedar_policy::{
    Authorizer, Context, Decision as CedarDecision, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, Policy, PolicyId, PolicySet, Request, RestrictedExpression,
};

pub use oracle::Oracle;

use crate::{
    Binding, BindingId, Condition, DenyId, DenyRule, Permission, PermissionPattern, PrincipalKind,
    PrincipalRef, Scope,
    condition::{Moment, canonical},
    policies::{
        Granted,
        place::{Level, Place},
        slice::{Grant, Slice},
    },
    role::Compiled,
};

/// How the policy id of what a service holds without a stored binding begins.
const BUILT_IN: &str = "built-in";

/// What is asked, besides who and where.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) permission: &'a Permission,
    pub(crate) moment: Moment,
    pub(crate) source: Option<IpAddr>,
    pub(crate) least: Level,
}

/// What Cedar says. Of several policies with the same effect the one with the least id is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Allow(Granted),
    Forbid(DenyId),
    /// No policy speaks of it.
    Nothing,
    /// A policy could not be evaluated.
    Failed,
}

/// Entity types, parsed once.
struct Types {
    kinds: [EntityTypeName; PrincipalKind::ALL.len()],
    org: EntityTypeName,
    project: EntityTypeName,
    system: EntityTypeName,
    role: EntityTypeName,
    rule: EntityTypeName,
    binding: EntityTypeName,
    action: EntityUid,
}

#[expect(
    clippy::expect_used,
    reason = "only constants of this file are parsed, and every test comes by here"
)]
static TYPES: LazyLock<Types> = LazyLock::new(|| {
    let parsed = |text: &str| text.parse::<EntityTypeName>().expect("an entity type");
    Types {
        kinds: PrincipalKind::ALL.map(|kind| parsed(text::type_of(kind))),
        org: parsed("Org"),
        project: parsed("Project"),
        system: parsed("System"),
        role: parsed("Role"),
        rule: parsed("DenyRule"),
        binding: parsed("Binding"),
        action: uid(&parsed("Action"), "use"),
    }
});

fn uid(entity_type: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(entity_type.clone(), EntityId::new(id))
}

fn uid_of_principal(principal: &PrincipalRef) -> EntityUid {
    uid(&TYPES.kinds[principal.kind as usize], principal.id.as_str())
}

fn uid_of_scope(scope: &Scope) -> EntityUid {
    match scope {
        Scope::System => uid(&TYPES.system, "system"),
        Scope::Org(id) => uid(&TYPES.org, id.as_str()),
        Scope::Project(id) => uid(&TYPES.project, id.as_str()),
    }
}

/// Policies and the entities they speak of.
#[derive(Debug, Default)]
struct Model {
    policies: PolicySet,
    entities: Vec<Entity>,
    seen: HashSet<EntityUid>,
    wants: Wants,
}

/// Which members of the context the policies look at; the others are left out, as each costs time on every question.
#[derive(Clone, Copy, Debug, Default)]
struct Wants {
    permission: bool,
    hours: bool,
    source: bool,
}

/// Something that Cedar does not take. What leads here is a mistake of this crate.
#[derive(Debug)]
struct Refused;

impl Model {
    fn policy(&mut self, id: &str, text: &str) -> Result<(), Refused> {
        self.wants.permission |= text.contains("context.permission");
        self.wants.hours |= text.contains("context.minute");
        self.wants.source |= text.contains("context.source");
        let policy = Policy::parse(Some(PolicyId::new(id)), text).map_err(|_| Refused)?;
        self.policies.add(policy).map_err(|_| Refused)
    }

    fn entity(&mut self, entity: EntityUid, parents: HashSet<EntityUid>) {
        if self.seen.insert(entity.clone()) {
            self.entities.push(Entity::new_no_attrs(entity, parents));
        }
    }

    /// An entity that policies look something up in.
    fn holder(
        &mut self,
        entity: EntityUid,
        attributes: HashMap<String, RestrictedExpression>,
    ) -> Result<(), Refused> {
        if attributes.is_empty() || !self.seen.insert(entity.clone()) {
            return Ok(());
        }
        let entity = Entity::new(entity, attributes, HashSet::new()).map_err(|_| Refused)?;
        self.entities.push(entity);
        Ok(())
    }

    fn networks_of(&mut self, binding: &Binding) -> Result<(), Refused> {
        let holder = uid(&TYPES.binding, &binding.id.to_string());
        self.holder(holder, networks(binding.condition.as_ref()))
    }

    /// A binding whose role is spelt out.
    fn binding(&mut self, binding: &Binding, role: &Compiled) -> Result<(), Refused> {
        let permissions = self.role(role)?;
        self.networks_of(binding)?;
        let policy = text::of_binding(binding, role, &permissions);
        self.policy(&binding.id.to_string(), &policy)
    }

    /// The term for a role's permissions, and the entities it speaks of.
    fn role(&mut self, role: &Compiled) -> Result<String, Refused> {
        for (index, part) in role.role.parts().into_iter().enumerate() {
            let id = text::part_id(role, index);
            let exact = exact(&part.permissions);
            self.holder(uid(&TYPES.role, &id), HashMap::from([exact]))?;
        }
        Ok(text::permissions_of_role(role))
    }

    /// A deny rule whose permissions are spelt out.
    fn rule(&mut self, rule: &DenyRule) -> Result<(), Refused> {
        let id = rule.id.to_string();
        let mut attributes = networks(rule.condition.as_ref());
        attributes.extend([exact(&rule.permissions)]);
        self.holder(uid(&TYPES.rule, &id), attributes)?;
        let policy = text::of_rule(rule, &text::permissions_of_rule(rule));
        self.policy(&id, &policy)
    }

    fn finish(self) -> Result<Set, Refused> {
        let entities = Entities::from_entities(self.entities, None).map_err(|_| Refused)?;
        Ok(Set {
            policies: self.policies,
            entities,
            wants: self.wants,
            authorizer: Authorizer::new(),
        })
    }
}

/// The permissions without a star among some patterns, as an attribute.
fn exact(patterns: &[PermissionPattern]) -> (String, RestrictedExpression) {
    let exact = patterns
        .iter()
        .filter(|pattern| pattern.is_exact())
        .map(|pattern| RestrictedExpression::new_string(pattern.to_string()));
    ("exact".to_owned(), RestrictedExpression::new_set(exact))
}

/// The networks of a condition, as attributes.
fn networks(condition: Option<&Condition>) -> HashMap<String, RestrictedExpression> {
    let networks = condition.map_or(&[][..], |condition| &condition.source_networks);
    let attribute = |(index, net)| {
        let network = RestrictedExpression::new_ip(text::network(net));
        (text::network_attribute(index), network)
    };
    networks.iter().enumerate().map(attribute).collect()
}

/// What Cedar can be asked about.
#[derive(Debug)]
struct Set {
    policies: PolicySet,
    entities: Entities,
    wants: Wants,
    authorizer: Authorizer,
}

impl Set {
    fn ask(&self, principal: EntityUid, resource: EntityUid, facts: &Facts<'_>) -> Answer {
        let Ok(context) = context(facts, self.wants) else {
            return Answer::Failed;
        };
        let action = TYPES.action.clone();
        let Ok(request) = Request::new(principal, action, resource, context, None) else {
            return Answer::Failed;
        };
        let response = self
            .authorizer
            .is_authorized(&request, &self.policies, &self.entities);
        let diagnostics = response.diagnostics();
        if diagnostics.errors().next().is_some() {
            return Answer::Failed;
        }
        let reasons = diagnostics.reason().map(AsRef::<str>::as_ref);
        match response.decision() {
            CedarDecision::Allow => allowed(reasons).map_or(Answer::Failed, Answer::Allow),
            CedarDecision::Deny => {
                let rules = reasons.filter_map(|id| id.parse::<DenyId>().ok());
                rules.min().map_or(Answer::Nothing, Answer::Forbid)
            }
        }
    }
}

fn allowed<'a>(reasons: impl Iterator<Item = &'a str>) -> Option<Granted> {
    let mut least: Option<BindingId> = None;
    for id in reasons {
        if id.starts_with(BUILT_IN) {
            return Some(Granted::BuiltIn);
        }
        let id = id.parse().ok()?;
        least = Some(least.map_or(id, |least| least.min(id)));
    }
    least.map(Granted::Binding)
}

fn context(facts: &Facts<'_>, wants: Wants) -> Result<Context, Refused> {
    let number = |number: i64| RestrictedExpression::new_long(number);
    let moment = facts.moment;
    let mut members = vec![
        ("now", number(moment.micros)),
        ("least", number(facts.least.into())),
    ];
    if wants.permission {
        let permission = facts.permission.to_string();
        members.push(("permission", RestrictedExpression::new_string(permission)));
    }
    if wants.hours {
        members.push(("day", number(moment.day.into())));
        members.push(("minute", number(moment.minute.into())));
    }
    if let Some(source) = facts.source.filter(|_| wants.source) {
        let source = canonical(source).to_string();
        members.push(("source", RestrictedExpression::new_ip(source)));
    }
    let members = members
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    Context::from_pairs(members).map_err(|_| Refused)
}

/// What a question about a slice comes to, when the index has found which of its grants and deny rules are about the
/// permission: the same for all permissions that these are about.
#[derive(Debug)]
pub(crate) struct Prepared {
    set: Set,
    principal: EntityUid,
    resource: EntityUid,
}

impl Prepared {
    /// None: Cedar does not take it.
    pub(crate) fn of_slice<'a>(
        principal: &PrincipalRef,
        place: &Place<'_>,
        slice: &Slice,
        grants: impl Iterator<Item = &'a Grant>,
        rules: impl Iterator<Item = &'a DenyRule>,
    ) -> Option<Self> {
        let mut model = Model::default();
        for grant in grants {
            let (id, policy) = match &grant.binding {
                Some(binding) => {
                    model.networks_of(binding).ok()?;
                    let policy = text::of_binding(binding, &grant.role, text::MATCHED);
                    (binding.id.to_string(), policy)
                }
                None => {
                    let policy = text::of_service(principal, text::MATCHED);
                    (BUILT_IN.to_owned(), policy)
                }
            };
            model.policy(&id, &policy).ok()?;
        }
        for rule in rules {
            let id = rule.id.to_string();
            let networks = networks(rule.condition.as_ref());
            model.holder(uid(&TYPES.rule, &id), networks).ok()?;
            let policy = text::of_rule(rule, text::MATCHED);
            model.policy(&id, &policy).ok()?;
        }
        let groups = slice.subjects().skip(1).map(uid_of_principal);
        model.entity(uid_of_principal(principal), groups.collect());
        if let (Scope::Project(_), Some(org)) = (place.scope, place.org) {
            let parents = HashSet::from([uid(&TYPES.org, org.as_str())]);
            model.entity(uid_of_scope(place.scope), parents);
        }
        Some(Self {
            set: model.finish().ok()?,
            principal: uid_of_principal(principal),
            resource: uid_of_scope(place.scope),
        })
    }

    pub(crate) fn ask(&self, facts: &Facts<'_>) -> Answer {
        self.set
            .ask(self.principal.clone(), self.resource.clone(), facts)
    }
}
