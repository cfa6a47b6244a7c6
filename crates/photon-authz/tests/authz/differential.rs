//! Random models, changed at random: the fast way, Cedar over everything, and the reference must agree.
//!
//! `PHOTON_SEED` repeats a run; `PHOTON_LONG` tries twenty times as many models.

use std::{cell::Cell, net::IpAddr};

use photon_authz::{Change, Condition, Decision, Key, Object, Oracle, Policies, Reason, Scope};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{build::*, reference::World};

const PRINCIPALS: &[&str] = &[
    "user:u0",
    "user:u1",
    "service_account:u0",
    "service:plasmavmc",
    "service:other",
    "group:g0",
    "group:g1",
    "group:g2",
    "group:g3",
];
/// Neither p3 nor o2 is ever written.
const SCOPES: &[&str] = &[
    "system",
    "org:o0",
    "org:o1",
    "org:o2",
    "project:p0",
    "project:p1",
    "project:p2",
    "project:p3",
];
const ROLES: &[&str] = &["viewer", "editor", "admin", "r0", "r1", "r2", "gone"];
const PERMISSIONS: &[&str] = &[
    "vm.disks.get",
    "vm.disks.create",
    "vm.secrets.get",
    "iam.users.get",
    "iam.projects.update",
    "iam.deny_rules.delete",
    "iam.deny_rules.create",
    "prismnet.ports.create",
    "creditservice.wallets.list",
];
const PATTERNS: &[&str] = &[
    "*.*.*",
    "vm.*.*",
    "vm.disks.*",
    "vm.disks.get",
    "vm.disks.create",
    "*.*.get",
    "iam.*.*",
    "iam.deny_rules.*",
    "iam.users.get",
    "*.secrets.*",
    "prismnet.ports.create",
];
const TIMES: &[&str] = &[
    "1969-12-28T05:30:00Z",
    "2026-11-20T23:30:00Z",
    "2026-11-21T00:00:00Z",
    "2026-11-21T05:59:59.999999999Z",
    "2026-11-23T12:00:00Z",
    "2026-11-23T12:00:00.000001Z",
    "2030-01-01T08:00:00Z",
];
const SOURCES: &[&str] = &[
    "10.1.2.3",
    "::ffff:10.1.2.3",
    "192.0.2.7",
    "2001:db8::1",
    "::1",
];
const NETWORKS: &[&str] = &[
    "10.0.0.0/8",
    "192.0.2.7/32",
    "2001:db8::/32",
    "0.0.0.0/0",
    "::/0",
];

fn one(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    select(of)
}

/// Some are asked about more than others, so that what is written and what is asked meet.
fn some_principal() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => one(&PRINCIPALS[..2]), 2 => one(&["group:g0", "group:g2"]), 2 => one(PRINCIPALS)]
}

fn some_scope() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => one(&["system", "org:o0", "project:p0"]), 2 => one(SCOPES)]
}

fn some_patterns(at_most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    vec(one(PATTERNS), 1..=at_most)
}

/// Times of conditions are whole microseconds, like those of the store.
fn some_condition() -> impl Strategy<Value = Condition> {
    let whole: &'static [&'static str] = &[
        "1969-12-28T05:30:00Z",
        "2026-11-21T00:00:00Z",
        "2026-11-23T12:00:00Z",
        "2026-11-23T12:00:00.000001Z",
    ];
    let days: &'static [&'static str] = &["mon", "fri", "sat", "sun"];
    let hours: &'static [&'static str] = &["00:00", "05:30", "06:00", "12:00", "23:30", "24:00"];
    let window = (vec(select(days), 0..3), select(hours), select(hours)).prop_map(
        |(days, from, until)| serde_json::json!({"days": days, "from": from, "until": until}),
    );
    (
        option::weighted(0.15, select(whole)),
        option::weighted(0.15, select(whole)),
        option::weighted(0.3, window),
        vec(one(NETWORKS), 0..3),
    )
        .prop_map(|(from, until, window, networks)| {
            condition(serde_json::json!({
                "not_before": from, "not_after": until, "window": window, "source_networks": networks
            }))
        })
}

fn some_binding() -> impl Strategy<Value = Object> {
    (
        0..8_u128,
        some_principal(),
        prop_oneof![1 => one(&["admin", "editor"]), 2 => one(ROLES)],
        some_scope(),
        option::weighted(0.4, some_condition()),
        option::weighted(0.2, one(&["2026-11-21T00:00:00Z", "2026-11-23T12:00:00Z"])),
    )
        .prop_map(|(n, principal, role, at, condition, end)| {
            let mut binding = binding(n, principal, role, at);
            binding.condition = condition;
            binding.expires_at = end.map(time);
            Object::Binding(binding)
        })
}

fn some_object() -> impl Strategy<Value = Object> {
    let org = (0..2, prop::bool::weighted(0.08)).prop_map(|(n, disabled)| {
        let mut org = org(&format!("o{n}"));
        org.disabled = disabled;
        Object::Org(org)
    });
    let project = (0..3, 0..3, prop::bool::weighted(0.08)).prop_map(|(n, org, disabled)| {
        let mut project = project(&format!("p{n}"), &format!("o{org}"));
        project.disabled = disabled;
        Object::Project(project)
    });
    let role = (
        0..3,
        option::weighted(0.3, 0..3),
        some_patterns(3),
        some_patterns(2),
        vec(select(&["viewer", "billing-admin", "gone"][..]), 0..2),
    )
        .prop_map(|(n, org, permissions, except, includes)| {
            let mut role = role(&format!("r{n}"), &permissions);
            role.org = org.map(|org| name(&format!("o{org}")));
            role.except = patterns(&except);
            role.includes = includes.into_iter().map(name).collect();
            Object::Role(role)
        });
    let rule = (
        0..3_u128,
        option::of(some_principal()),
        some_patterns(2),
        some_scope(),
        option::weighted(0.5, some_condition()),
    )
        .prop_map(|(n, principal, permissions, at, condition)| {
            let mut rule = deny(n, principal, &permissions, at);
            rule.condition = condition;
            Object::DenyRule(rule)
        });
    // A group has only groups of lower numbers: no circles, as IAM sees to.
    let group = (
        0..4_usize,
        vec(one(&PRINCIPALS[..5]), 0..3),
        vec(0..4_usize, 0..3),
    )
        .prop_map(|(n, members, below)| {
            let below = below.into_iter().filter(|below| *below < n);
            let below: Vec<String> = below.map(|below| format!("group:g{below}")).collect();
            let all: Vec<&str> = members
                .into_iter()
                .chain(below.iter().map(String::as_str))
                .collect();
            Object::Group(group(&format!("g{n}"), &all))
        });
    let state = (one(&PRINCIPALS[..5]), prop::bool::weighted(0.15))
        .prop_map(|(principal, disabled)| Object::PrincipalState(state(principal, disabled)));
    prop_oneof![2 => org, 3 => project, 3 => role, 8 => some_binding(), 5 => rule, 4 => group, 1 => state]
}

fn some_change() -> impl Strategy<Value = Change> {
    let key = prop_oneof![
        (0..2).prop_map(|n| Key::Org(name(&format!("o{n}")))),
        (0..3).prop_map(|n| Key::Project(name(&format!("p{n}")))),
        (0..3).prop_map(|n| Key::Role(name(&format!("r{n}")))),
        (0..8_u128).prop_map(|n| Key::Binding(binding_id(n))),
        (0..3_u128).prop_map(|n| Key::DenyRule(deny_id(n))),
        (0..4).prop_map(|n| Key::Group(name(&format!("g{n}")))),
        one(&PRINCIPALS[..5]).prop_map(|principal| Key::PrincipalState(who(principal))),
    ];
    prop_oneof![5 => some_object().prop_map(Change::Put), 1 => key.prop_map(Change::Delete)]
}

fn some_question() -> impl Strategy<Value = Ask> {
    (
        some_principal(),
        one(PERMISSIONS),
        some_scope(),
        one(TIMES),
        option::weighted(0.7, one(SOURCES)),
        option::weighted(0.1, one(SCOPES)),
    )
        .prop_map(|(principal, what, at, now, source, limit)| Ask {
            source: source.map(|source| source.parse::<IpAddr>().unwrap()),
            limit: limit.map(scope),
            ..ask(principal, what, at).at(now)
        })
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.question().fmt(f)
    }
}

/// A model that begins with the orgs and projects there usually are, and what happens to it: questions between changes.
type Story = (Vec<Change>, Vec<(Change, Vec<Ask>)>);

fn some_story() -> impl Strategy<Value = Story> {
    let usual = || {
        let all = [
            Object::Org(org("o0")),
            Object::Org(org("o1")),
            Object::Project(project("p0", "o0")),
            Object::Project(project("p1", "o0")),
            Object::Project(project("p2", "o1")),
        ];
        all.map(Change::Put).to_vec()
    };
    let bindings = vec(some_binding().prop_map(Change::Put), 8);
    let beginning = (bindings, vec(some_change(), 5..20))
        .prop_map(move |(bindings, more)| [usual(), bindings, more].concat());
    (
        beginning,
        vec((some_change(), vec(some_question(), 16)), 1..6),
    )
}

/// Runs a property with a seed that can be repeated.
fn check<S: Strategy>(
    cases: u32,
    strategy: &S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) where
    S::Value: std::fmt::Debug,
{
    let seed = std::env::var("PHOTON_SEED")
        .ok()
        .and_then(|seed| seed.parse::<u64>().ok())
        .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    let cases = cases
        * if std::env::var_os("PHOTON_LONG").is_some() {
            20
        } else {
            1
        };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new_with_rng(config, rng).run(strategy, property);
    if let Err(error) = result {
        panic!("repeat with PHOTON_SEED={seed}\n{error}");
    }
}

/// Reasons agree as far as both ways look for them: Cedar names a deny rule also where nothing would have allowed it, and
/// does not look for bindings in what is disabled.
fn agree(fast: Decision, cedar: Decision) -> bool {
    match (fast, cedar) {
        (Decision::Allow { .. }, Decision::Allow { .. }) => true,
        (Decision::Deny { reason: fast }, Decision::Deny { reason: cedar }) => {
            fast == cedar
                || matches!(cedar, Reason::DenyRule(_) | Reason::Disabled)
                    && !matches!(fast, Reason::DenyRule(_) | Reason::Evaluation)
        }
        _ => false,
    }
}

/// How often which answer was given: comparing noes with noes would compare nothing.
#[derive(Debug, Default)]
struct Answers {
    allowed: Cell<u32>,
    denied_by_rule: Cell<u32>,
    all: Cell<u32>,
}

impl Answers {
    fn count(&self, decision: Decision) {
        let add = |counter: &Cell<u32>, one: bool| counter.set(counter.get() + u32::from(one));
        add(&self.all, true);
        add(&self.allowed, decision.is_allowed());
        let by_rule = matches!(
            decision,
            Decision::Deny {
                reason: Reason::DenyRule(_)
            }
        );
        add(&self.denied_by_rule, by_rule);
    }
}

fn agree_on(
    asked: &Ask,
    world: &World,
    policies: &Policies,
    oracle: &Oracle,
) -> Result<Decision, TestCaseError> {
    let question = asked.question();
    let fast = policies.decide(&question);
    let cedar = oracle.decide(policies, &question);
    prop_assert!(agree(fast, cedar), "{fast:?}, Cedar {cedar:?}: {asked:?}");
    prop_assert_eq!(
        fast.is_allowed(),
        world.allows(&question),
        "the reference: {:?}",
        asked
    );
    Ok(fast)
}

#[test]
fn the_index_cedar_and_the_reference_agree() {
    let answers = Answers::default();
    check(80, &some_story(), |(beginning, rest)| {
        let mut world = World::default();
        let mut policies = Policies::new();
        for change in beginning {
            world.apply(&change);
            policies.apply(change);
        }
        let mut by_cedar = world.policies().oracle().unwrap();
        for (change, questions) in rest {
            // Both the old snapshot and the new one go on answering, each by its own records, out of one memory.
            let before = (world.clone(), policies.clone(), by_cedar);
            world.apply(&change);
            policies.apply(change);
            by_cedar = world.policies().oracle().unwrap();
            for asked in &questions {
                answers.count(agree_on(asked, &world, &policies, &by_cedar)?);
                agree_on(asked, &before.0, &before.1, &before.2)?;
                agree_on(asked, &world, &policies, &by_cedar)?;
            }
        }
        Ok(())
    });
    let all = answers.all.get();
    assert!(answers.allowed.get() > all / 20, "{answers:?}");
    assert!(answers.denied_by_rule.get() > all / 400, "{answers:?}");
}

#[test]
fn lists_show_where_it_is_allowed() {
    check(
        300,
        &(some_story(), some_question()),
        |((beginning, rest), asked)| {
            let mut world = World::default();
            for change in beginning
                .iter()
                .chain(rest.iter().map(|(change, _)| change))
            {
                world.apply(change);
            }
            let policies = world.policies();
            let visible =
                policies.scopes_with(&asked.principal, &asked.permission, asked.now, asked.source);
            let limited = asked
                .limit
                .as_ref()
                .map(|limit| policies.within_limit(visible.clone(), limit));
            for at in world.scopes() {
                let mut question = asked.question();
                question.scope = &at;
                let seen = |visible: &photon_authz::Visible| match &at {
                    Scope::System => visible.all,
                    Scope::Org(id) => visible.org(id),
                    Scope::Project(id) => visible.project(id, policies.org_of(id)),
                };
                question.limit = None;
                prop_assert_eq!(
                    seen(&visible),
                    world.allows(&question),
                    "at {}: {:?}",
                    at,
                    visible
                );
                if let Some(limited) = &limited {
                    question.limit = asked.limit.as_ref();
                    prop_assert_eq!(
                        seen(limited),
                        world.allows(&question),
                        "at {}: {:?}",
                        at,
                        limited
                    );
                }
            }
            prop_assert_eq!(
                visible.is_empty(),
                !visible.all && visible.orgs.is_empty() && visible.projects.is_empty()
            );
            Ok(())
        },
    );
}

/// What somebody holds it may do, always, from everywhere, everywhere below; except for what rules take from everybody.
#[test]
fn what_is_held_is_allowed() {
    let held = (some_story(), some_question(), one(PATTERNS));
    check(300, &held, |((beginning, rest), asked, pattern)| {
        let mut world = World::default();
        for change in beginning
            .iter()
            .chain(rest.iter().map(|(change, _)| change))
        {
            world.apply(change);
        }
        let world = world.without_rules_for_everybody();
        let pattern = pattern.parse().unwrap();
        if !world
            .policies()
            .holds(&asked.principal, &asked.scope, &pattern, None)
        {
            return Ok(());
        }
        let known = world.scopes();
        for at in known
            .iter()
            .filter(|at| world.contains(&asked.scope, at) && !world.is_disabled(at))
        {
            for what in PERMISSIONS
                .iter()
                .filter(|what| pattern.matches(&permission(what)))
            {
                for now in TIMES {
                    let again = Ask {
                        scope: at.clone(),
                        permission: permission(what),
                        limit: None,
                        source: None,
                        ..ask("user:x", what, "system").at(now)
                    };
                    let again = Ask {
                        principal: asked.principal.clone(),
                        ..again
                    };
                    prop_assert!(world.allows(&again.question()), "{:?} {:?}", pattern, again);
                }
            }
        }
        Ok(())
    });
}
