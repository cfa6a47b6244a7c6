//! What can be passed on.

use photon_authz::{Policies, built_in_roles};

use super::build::*;

fn holds(policies: &Policies, principal: &str, at: &str, pattern: &str) -> bool {
    policies.holds(&who(principal), &scope(at), &pattern.parse().unwrap(), None)
}

#[test]
fn only_what_is_held_whole() {
    let mut policies = with(
        two_orgs(),
        role("painter", &["art.walls.paint", "art.walls.*"]),
    );
    put(
        &mut policies,
        binding(1, "user:alice", "painter", "org:acme"),
    );
    put(&mut policies, group("chiefs", &["user:chief"]));
    put(
        &mut policies,
        binding(2, "group:chiefs", "admin", "org:acme"),
    );
    for (principal, at, pattern, wanted) in [
        ("user:alice", "org:acme", "art.walls.paint", true),
        ("user:alice", "project:shop", "art.walls.wash", true),
        ("user:alice", "project:shop", "art.walls.*", true),
        ("user:alice", "project:shop", "art.*.paint", false),
        ("user:alice", "project:shop", "*.*.*", false),
        ("user:alice", "system", "art.walls.paint", false),
        ("user:alice", "org:other", "art.walls.paint", false),
        ("user:chief", "project:shop", "*.*.*", true),
        ("user:chief", "system", "*.*.*", false),
        (
            "user:chief",
            "project:not-made-yet",
            "art.walls.paint",
            false,
        ),
        ("user:eve", "project:shop", "art.walls.paint", false),
    ] {
        assert_eq!(
            holds(&policies, principal, at, pattern),
            wanted,
            "{principal} {pattern} at {at}"
        );
    }
    let stopped = with(policies, state("user:alice", true));
    assert!(!holds(
        &stopped,
        "user:alice",
        "org:acme",
        "art.walls.paint"
    ));
}

#[test]
fn not_what_comes_with_a_condition_or_ends_sooner() {
    let mut conditional = binding(1, "user:alice", "editor", "org:acme");
    conditional.condition = Some(condition(
        serde_json::json!({"source_networks": ["0.0.0.0/0"]}),
    ));
    let policies = with(two_orgs(), conditional);
    assert!(!holds(
        &policies,
        "user:alice",
        "org:acme",
        "plasmavmc.vms.get"
    ));

    let mut ending = binding(1, "user:alice", "editor", "org:acme");
    ending.expires_at = Some(time("2026-12-01T00:00:00Z"));
    let policies = with(two_orgs(), ending);
    let pattern = "plasmavmc.vms.get".parse().unwrap();
    for (until, wanted) in [
        (None, false),
        (Some("2026-12-01T00:00:01Z"), false),
        (Some("2026-12-01T00:00:00Z"), true),
        (Some("2026-11-30T00:00:00Z"), true),
    ] {
        let held = policies.holds(
            &who("user:alice"),
            &scope("org:acme"),
            &pattern,
            until.map(time),
        );
        assert_eq!(held, wanted, "{until:?}");
    }
}

#[test]
fn not_what_a_rule_takes_from_the_holder() {
    let policies = with(two_orgs(), binding(1, "user:alice", "admin", "org:acme"));
    let policies = with(policies, group("interns", &["user:alice"]));
    for (rule, pattern, wanted) in [
        (
            deny(1, Some("user:alice"), &["art.walls.paint"], "org:acme"),
            "art.walls.paint",
            false,
        ),
        (
            deny(1, Some("user:alice"), &["art.walls.paint"], "org:acme"),
            "*.*.*",
            false,
        ),
        (
            deny(1, Some("user:alice"), &["art.walls.paint"], "project:shop"),
            "*.*.*",
            false,
        ),
        (
            deny(1, Some("user:alice"), &["art.walls.paint"], "system"),
            "art.*.*",
            false,
        ),
        (
            deny(1, Some("group:interns"), &["art.*.*"], "org:acme"),
            "art.walls.paint",
            false,
        ),
        (
            deny(1, Some("user:alice"), &["art.walls.paint"], "org:acme"),
            "art.walls.wash",
            true,
        ),
        (
            deny(1, Some("user:alice"), &["art.walls.paint"], "org:other"),
            "art.walls.paint",
            true,
        ),
        (
            deny(1, Some("user:bob"), &["*.*.*"], "system"),
            "art.walls.paint",
            true,
        ),
        (deny(1, None, &["*.*.*"], "system"), "art.walls.paint", true),
    ] {
        let policies = with(policies.clone(), rule.clone());
        assert_eq!(
            holds(&policies, "user:alice", "org:acme", pattern),
            wanted,
            "{pattern} under {rule:?}"
        );
    }
}

/// Whoever holds a role holds the role: exceptions and inclusions come out even.
#[test]
fn roles_as_a_whole() {
    for held in built_in_roles() {
        let policies = with(
            two_orgs(),
            binding(1, "user:alice", held.id.as_str(), "org:acme"),
        );
        let has = |id: &str| {
            let role = policies.role(&name(id)).unwrap();
            policies.holds_role(&who("user:alice"), &scope("project:shop"), role, None)
        };
        assert!(has(held.id.as_str()), "{}", held.id);
        let id = held.id.as_str();
        assert_eq!(
            has("viewer"),
            ["viewer", "editor", "admin"].contains(&id),
            "{id}"
        );
        assert_eq!(has("editor"), ["editor", "admin"].contains(&id), "{id}");
        assert_eq!(has("admin"), id == "admin", "{id}");
        assert_eq!(
            has("billing-admin"),
            ["billing-admin", "admin"].contains(&id),
            "{id}"
        );
    }
}

#[test]
fn what_was_given_and_where() {
    let mut policies = with(two_orgs(), group("staff", &["user:alice"]));
    put(
        &mut policies,
        binding(1, "group:staff", "billing-admin", "org:acme"),
    );
    let mut over = binding(2, "user:alice", "admin", "system");
    over.expires_at = Some(time("2026-11-23T11:00:00Z"));
    put(&mut policies, over);
    put(&mut policies, binding(3, "user:alice", "gone", "system"));
    put(
        &mut policies,
        binding(4, "user:alice", "admin", "project:gone"),
    );
    let alice = who("user:alice");
    assert_eq!(
        policies.grants_of(&alice, time(NOON)),
        [(scope("org:acme"), patterns(&["creditservice.*.*"]))]
    );
    let bound = |at| policies.has_binding_at(&alice, &scope(at), time(NOON));
    assert!(bound("org:acme") && bound("project:shop"));
    assert!(!bound("project:theirs") && !bound("system") && !bound("project:gone"));
    assert!(policies.has_binding_at(&alice, &scope("system"), time("2026-11-23T10:59:59Z")));
    let service = who("service:prismnet");
    assert!(policies.has_binding_at(&service, &scope("project:shop"), time(NOON)));
    assert_eq!(policies.bindings_of(&alice).count(), 3);
    assert_eq!(policies.bindings_of(&who("group:staff")).count(), 1);
}
