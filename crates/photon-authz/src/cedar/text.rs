//! Policies as Cedar writes them. Everything put into a text comes from a parsed type without quotes or backslashes in
//! its alphabet.
//!
//! What the policies ask of the request's context: `permission` (text), `now` (microseconds since 1970), `day` (0 is
//! Monday), `minute` (of the day), `least` (the lowest level from which bindings count) and, if known, `source`.

use ipnet::IpNet;

use crate::{
    Binding, Condition, DenyRule, PermissionPattern, PrincipalKind, PrincipalRef, Scope,
    WeeklyWindow, condition::micros, policies::place::level, role::Compiled,
};

/// The entity type of principals of a kind.
pub(super) const fn type_of(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "User",
        PrincipalKind::ServiceAccount => "ServiceAccount",
        PrincipalKind::Service => "Service",
        PrincipalKind::Group => "Group",
    }
}

/// The id of the entity that holds the permissions without a star of one part of a role.
pub(super) fn part_id(role: &Compiled, part: usize) -> String {
    format!("{}/{part}", role.role.id)
}

fn principal(principal: &PrincipalRef) -> String {
    format!(
        "principal in {}::\"{}\"",
        type_of(principal.kind),
        principal.id
    )
}

fn resource(scope: &Scope) -> String {
    match scope {
        // Everything is in the system.
        Scope::System => "resource".to_owned(),
        Scope::Org(id) => format!("resource in Org::\"{id}\""),
        Scope::Project(id) => format!("resource in Project::\"{id}\""),
    }
}

/// The name of the entity attribute that holds a network of a condition: parsed once, where a literal is on every question.
pub(super) fn network_attribute(index: usize) -> String {
    format!("network{index}")
}

/// A term for permissions that were found to match before Cedar is asked.
pub(super) const MATCHED: &str = "true";

/// What a binding allows. `permissions`: the term for those of the role.
pub(super) fn of_binding(binding: &Binding, role: &Compiled, permissions: &str) -> String {
    let mut terms = vec![
        format!("context.least <= {}", level(&binding.scope)),
        permissions.to_owned(),
    ];
    if let Some(owner) = &role.role.org {
        terms.push(format!("resource in Org::\"{owner}\""));
        if binding.scope == Scope::System {
            terms.push("false".to_owned());
        }
    }
    if let Some(end) = binding.expires_at {
        terms.push(format!("context.now < {}", micros(end)));
    }
    if let Some(condition) = &binding.condition {
        let holder = format!("Binding::\"{}\"", binding.id);
        terms.extend(conditions(condition, &holder, false));
    }
    format!(
        "permit({}, action, {}) when {{ {} }};",
        principal(&binding.principal),
        resource(&binding.scope),
        all_of(terms)
    )
}

/// What a service holds everywhere.
pub(super) fn of_service(service: &PrincipalRef, permissions: &str) -> String {
    format!(
        "permit({}, action, resource) when {{ {permissions} }};",
        principal(service)
    )
}

/// What a deny rule forbids.
pub(super) fn of_rule(rule: &DenyRule, permissions: &str) -> String {
    let mut terms = vec![permissions.to_owned()];
    if let Some(condition) = &rule.condition {
        let holder = format!("DenyRule::\"{}\"", rule.id);
        terms.extend(conditions(condition, &holder, true));
    }
    format!(
        "forbid({}, action, {}) when {{ {} }};",
        rule.principal
            .as_ref()
            .map_or_else(|| "principal".to_owned(), principal),
        resource(&rule.scope),
        all_of(terms)
    )
}

/// The term for the permissions of a deny rule.
pub(super) fn permissions_of_rule(rule: &DenyRule) -> String {
    matches(&rule.permissions, "DenyRule", &rule.id.to_string())
}

/// The term for the permissions of a role.
pub(super) fn permissions_of_role(role: &Compiled) -> String {
    let parts = role.role.parts();
    let terms = parts.iter().enumerate().map(|(index, part)| {
        let given = matches(&part.permissions, "Role", &part_id(role, index));
        let missing = part.except.iter().map(like).collect();
        format!("({given} && !{})", any_of(missing))
    });
    any_of(terms.collect())
}

/// Whether the permission is one of those meant. Those without a star are in an attribute of the entity, where finding
/// one costs the same however many there are.
fn matches(patterns: &[PermissionPattern], entity_type: &str, entity_id: &str) -> String {
    let mut terms: Vec<String> = patterns
        .iter()
        .filter(|pattern| !pattern.is_exact())
        .map(like)
        .collect();
    if terms.len() < patterns.len() {
        terms.push(format!(
            "{entity_type}::\"{entity_id}\".exact.contains(context.permission)"
        ));
    }
    any_of(terms)
}

/// A permission and a pattern have two dots each, so that a star of `like` never swallows one.
fn like(pattern: &PermissionPattern) -> String {
    format!("context.permission like \"{pattern}\"")
}

/// `holder`: the entity that has the networks.
fn conditions(condition: &Condition, holder: &str, unknown_source: bool) -> Vec<String> {
    let mut terms = Vec::new();
    if let Some(from) = condition.not_before {
        terms.push(format!("{} <= context.now", micros(from)));
    }
    if let Some(until) = condition.not_after {
        terms.push(format!("context.now < {}", micros(until)));
    }
    if let Some(window) = &condition.window {
        terms.push(hours(window));
    }
    if !condition.source_networks.is_empty() {
        let networks = 0..condition.source_networks.len();
        let inside = networks.map(|index| {
            let network = network_attribute(index);
            format!("context.source.isInRange({holder}.{network})")
        });
        let inside = any_of(inside.collect());
        terms.push(if unknown_source {
            format!("!(context has source) || {inside}")
        } else {
            format!("context has source && {inside}")
        });
    }
    terms
}

fn hours(window: &WeeklyWindow) -> String {
    let begins = |days_ago: u8| {
        if window.days.is_empty() {
            return "true".to_owned();
        }
        let days = window.days.iter().map(|day| {
            let day = (*day as u8 + days_ago) % 7;
            format!("context.day == {day}")
        });
        any_of(days.collect())
    };
    let from = format!("{} <= context.minute", window.from.minutes());
    let until = format!("context.minute < {}", window.until.minutes());
    if window.from < window.until {
        format!("{} && {from} && {until}", begins(0))
    } else {
        format!("({} && {from}) || ({} && {until})", begins(0), begins(1))
    }
}

/// A network as Cedar reads it.
pub(super) fn network(net: &IpNet) -> String {
    match net.trunc() {
        IpNet::V4(net) => net.to_string(),
        // Written out: Cedar refuses the forms that end like an IPv4 address.
        IpNet::V6(net) => {
            let groups = net.addr().segments().map(|group| format!("{group:x}"));
            format!("{}/{}", groups.join(":"), net.prefix_len())
        }
    }
}

fn all_of(terms: Vec<String>) -> String {
    let terms: Vec<String> = terms.into_iter().map(|term| format!("({term})")).collect();
    terms.join(" && ")
}

/// Paired up again and again, so that a thousand terms nest ten deep.
fn any_of(mut terms: Vec<String>) -> String {
    if terms.is_empty() {
        return "false".to_owned();
    }
    while terms.len() > 1 {
        terms = terms
            .chunks(2)
            .map(|pair| match pair {
                [a, b] => format!("({a} || {b})"),
                rest => rest.concat(),
            })
            .collect();
    }
    format!("({})", terms.concat())
}
