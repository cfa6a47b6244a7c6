//! Clones, what they share, and what changes do to them.

use photon_authz::{Change, Key, Policies};

use super::build::*;

fn put_of(object: impl Into<Put>) -> Change {
    Change::Put(object.into().0)
}

#[test]
fn a_clone_keeps_answering_by_what_it_saw() {
    let mut now = with(two_orgs(), binding(1, "user:alice", "editor", "org:acme"));
    now.set_revision(7);
    let asked = ask("user:alice", "plasmavmc.vms.create", "project:shop");
    assert!(asked.allowed(&now));
    let before = now.clone();
    now.apply(Change::Delete(Key::Binding(binding_id(1))));
    now.set_revision(8);
    for _ in 0..3 {
        assert!(!asked.allowed(&now));
        assert!(asked.allowed(&before));
    }
    assert_eq!((before.revision(), now.revision()), (7, 8));
}

/// Two clones that changed differently stand in the same generation only by name.
#[test]
fn clones_that_part_do_not_answer_for_each_other() {
    let base = two_orgs();
    let with_alice = with(base.clone(), binding(1, "user:alice", "editor", "org:acme"));
    let with_bob = with(base, binding(1, "user:bob", "editor", "org:acme"));
    let alice = ask("user:alice", "plasmavmc.vms.create", "project:shop");
    let bob = ask("user:bob", "plasmavmc.vms.create", "project:shop");
    for _ in 0..2 {
        assert!(alice.allowed(&with_alice) && !alice.allowed(&with_bob));
        assert!(bob.allowed(&with_bob) && !bob.allowed(&with_alice));
    }
}

#[test]
fn every_kind_of_change_is_seen_at_once() {
    let mut policies = with(two_orgs(), group("staff", &["user:alice"]));
    put(&mut policies, role("painter", &["art.walls.paint"]));
    put(
        &mut policies,
        binding(1, "group:staff", "painter", "org:acme"),
    );
    let asked = ask("user:alice", "art.walls.paint", "project:shop");
    let mut disabled_org = org("acme");
    disabled_org.disabled = true;
    let mut disabled_project = project("shop", "acme");
    disabled_project.disabled = true;
    let moved = binding(1, "group:staff", "painter", "project:blog");
    let given_away = binding(1, "user:bob", "painter", "org:acme");
    let steps: Vec<(Change, Change)> = vec![
        (
            put_of(role("painter", &["art.walls.wash"])),
            put_of(role("painter", &["art.*.*"])),
        ),
        (
            Change::Delete(Key::Role(name("painter"))),
            put_of(role("painter", &["art.*.*"])),
        ),
        (
            put_of(group("staff", &[])),
            put_of(group("staff", &["user:alice"])),
        ),
        (
            put_of(deny(1, None, &["art.*.*"], "system")),
            Change::Delete(Key::DenyRule(deny_id(1))),
        ),
        (put_of(disabled_org), put_of(org("acme"))),
        (put_of(disabled_project), put_of(project("shop", "acme"))),
        (
            put_of(project("shop", "other")),
            put_of(project("shop", "acme")),
        ),
        (
            Change::Delete(Key::Project(name("shop"))),
            put_of(project("shop", "acme")),
        ),
        (Change::Delete(Key::Org(name("acme"))), put_of(org("acme"))),
        (
            put_of(moved),
            put_of(binding(1, "group:staff", "painter", "org:acme")),
        ),
        (
            put_of(given_away),
            put_of(binding(1, "group:staff", "painter", "org:acme")),
        ),
        (
            put_of(state("user:alice", true)),
            put_of(state("user:alice", false)),
        ),
    ];
    assert!(asked.allowed(&policies));
    for (number, (away, back)) in steps.into_iter().enumerate() {
        policies.apply(away);
        assert!(!asked.allowed(&policies), "step {number}");
        policies.apply(back);
        assert!(asked.allowed(&policies), "step {number} back");
    }
}

#[test]
fn deleting_what_is_not_there_is_nothing() {
    let mut policies = with(two_orgs(), binding(1, "user:alice", "editor", "org:acme"));
    for key in [
        Key::Org(name("gone")),
        Key::Project(name("gone")),
        Key::Role(name("gone")),
        Key::Group(name("gone")),
        Key::Binding(binding_id(9)),
        Key::DenyRule(deny_id(9)),
        Key::PrincipalState(who("user:gone")),
    ] {
        policies.apply(Change::Delete(key));
    }
    assert!(ask("user:alice", "plasmavmc.vms.create", "project:shop").allowed(&policies));
}

#[test]
fn what_was_put_can_be_read() {
    let mut policies = with(two_orgs(), group("staff", &["user:alice"]));
    put(&mut policies, role("painter", &["art.walls.paint"]));
    put(
        &mut policies,
        binding(1, "group:staff", "painter", "org:acme"),
    );
    put(&mut policies, deny(1, None, &["art.*.*"], "system"));
    put(&mut policies, state("user:alice", true));
    assert_eq!(policies.org(&name("acme")), Some(&org("acme")));
    assert_eq!(
        policies.project(&name("shop")),
        Some(&project("shop", "acme"))
    );
    assert_eq!(policies.org_of(&name("shop")), Some(&name("acme")));
    assert_eq!(
        policies.group(&name("staff")),
        Some(&group("staff", &["user:alice"]))
    );
    assert_eq!(
        policies.role(&name("painter")),
        Some(&role("painter", &["art.walls.paint"]))
    );
    assert!(policies.role(&name("viewer")).is_some());
    assert_eq!(
        policies.binding(binding_id(1)).unwrap().role,
        name("painter")
    );
    assert!(policies.state_of(&who("user:alice")).unwrap().disabled);
    assert_eq!(policies.state_of(&who("user:bob")), None);
    assert_eq!(
        (
            policies.orgs().count(),
            policies.projects().count(),
            policies.groups().count()
        ),
        (2, 3, 1)
    );
    assert_eq!(
        (
            policies.roles().count(),
            policies.bindings().count(),
            policies.deny_rules().count()
        ),
        (1, 1, 1)
    );
}

/// More principals than are remembered: what is thrown away is made again.
#[test]
fn remembering_has_a_limit_that_nobody_notices() {
    let mut policies = with(two_orgs(), role("painter", &["art.walls.paint"]));
    for n in 0..40_000_u128 {
        if n % 2 == 0 {
            put(
                &mut policies,
                binding(n, &format!("user:u{n}"), "painter", "org:acme"),
            );
        }
    }
    let what = permission("art.walls.paint");
    for _ in 0..2 {
        for n in 0..40_000 {
            let asked = Ask {
                permission: what.clone(),
                ..ask(&format!("user:u{n}"), "art.walls.paint", "project:shop")
            };
            let decision = policies.decide(&asked.question());
            assert_eq!(decision.is_allowed(), n % 2 == 0, "user:u{n}");
        }
    }
}

#[test]
fn snapshots_can_be_read_from_many_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Policies>();
    let policies = with(two_orgs(), binding(1, "user:alice", "editor", "org:acme"));
    std::thread::scope(|threads| {
        for n in 0..4 {
            let mut mine = policies.clone();
            threads.spawn(move || {
                let asked = ask("user:alice", "plasmavmc.vms.create", "project:shop");
                for round in 0..500_u32 {
                    let bound = round % 2 == n % 2;
                    if bound {
                        put(&mut mine, binding(1, "user:alice", "editor", "org:acme"));
                    } else {
                        mine.apply(Change::Delete(Key::Binding(binding_id(1))));
                    }
                    assert_eq!(mine.decide(&asked.question()).is_allowed(), bound);
                }
            });
        }
    });
}
