//! Groups within groups.

use photon_authz::{Change, GroupFault, Key, Policies, records};

use super::build::*;

/// g1 contains alice, g2 contains g1, and so on.
fn chain(length: usize) -> Policies {
    let mut policies = with(two_orgs(), group("g1", &["user:alice"]));
    for n in 2..=length {
        put(
            &mut policies,
            group(&format!("g{n}"), &[&format!("group:g{}", n - 1)]),
        );
    }
    policies
}

#[test]
fn members_hold_what_the_group_holds() {
    let mut policies = with(
        two_orgs(),
        group("devs", &["user:alice", "service_account:ci"]),
    );
    put(
        &mut policies,
        binding(1, "group:devs", "editor", "project:shop"),
    );
    for (principal, wanted) in [
        ("user:alice", true),
        ("service_account:ci", true),
        ("user:bob", false),
        ("user:ci", false),
        ("group:devs", true),
    ] {
        let asked = ask(principal, "plasmavmc.vms.create", "project:shop");
        assert_eq!(asked.allowed(&policies), wanted, "{principal}");
    }
    let asked = ask("user:alice", "plasmavmc.vms.create", "project:shop");
    put(&mut policies, group("devs", &["user:bob"]));
    assert!(!asked.allowed(&policies));
    assert!(ask("user:bob", "plasmavmc.vms.create", "project:shop").allowed(&policies));
    put(&mut policies, group("devs", &["user:alice", "user:alice"]));
    assert!(asked.allowed(&policies));
    policies.apply(Change::Delete(Key::Group(name("devs"))));
    assert!(!asked.allowed(&policies));
}

#[test]
fn groups_reach_eight_deep() {
    let mut policies = chain(9);
    let groups = policies.groups_of(&who("user:alice"));
    let wanted: Vec<_> = (1..=8).map(|n| name(&format!("g{n}"))).collect();
    assert_eq!(*groups, *wanted);
    put(
        &mut policies,
        binding(1, "group:g8", "viewer", "project:shop"),
    );
    put(
        &mut policies,
        binding(2, "group:g9", "editor", "project:shop"),
    );
    let asked = |what| {
        let asked = ask("user:alice", what, "project:shop");
        policies.decide(&asked.question()).is_allowed()
    };
    assert!(asked("plasmavmc.vms.get"));
    assert!(!asked("plasmavmc.vms.create"));
}

#[test]
fn a_change_in_the_middle_reaches_the_members() {
    let mut policies = chain(4);
    put(
        &mut policies,
        binding(1, "group:g4", "editor", "project:shop"),
    );
    let asked = ask("user:alice", "plasmavmc.vms.create", "project:shop");
    assert!(asked.allowed(&policies));
    put(&mut policies, group("g3", &[]));
    assert!(!asked.allowed(&policies));
    put(&mut policies, group("g3", &["group:g2"]));
    assert!(asked.allowed(&policies));
    policies.apply(Change::Delete(Key::Binding(binding_id(1))));
    assert!(!asked.allowed(&policies));
}

#[test]
fn circles_and_towers_are_refused_before_they_are_written() {
    let policies = chain(7);
    for (group, wanted) in [
        (group("g1", &["group:g1"]), Err(GroupFault::Cycle)),
        (group("g1", &["group:g7"]), Err(GroupFault::Cycle)),
        (
            group("g3", &["user:bob", "group:g4"]),
            Err(GroupFault::Cycle),
        ),
        (group("top", &["group:g7"]), Ok(())),
        (group("g8", &["group:g7", "group:g1"]), Ok(())),
        (group("g1", &["group:bottom"]), Ok(())),
        (group("unknown", &["group:nobody-made-it"]), Ok(())),
    ] {
        assert_eq!(policies.check_members(&group), wanted, "{}", group.id);
    }
    let eight = chain(8);
    assert_eq!(
        eight.check_members(&group("top", &["group:g8"])),
        Err(GroupFault::TooDeep)
    );
    let with_bottom = with(eight, group("bottom", &["user:bob"]));
    assert_eq!(
        with_bottom.check_members(&group("g1", &["group:bottom"])),
        Err(GroupFault::TooDeep)
    );
    let crowd: Vec<String> = (0..=records::MAX_MEMBERS)
        .map(|n| format!("user:u{n}"))
        .collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    assert_eq!(
        policies.check_members(&group("crowd", &crowd)),
        Err(GroupFault::TooMany)
    );
    assert_eq!(policies.check_members(&group("crowd", &crowd[1..])), Ok(()));

    let error = GroupFault::Cycle.error("members");
    assert_eq!(error.details().unwrap()["field"], "members");
    assert_eq!(error.details().unwrap()["constraint"], "cycle");
}

/// IAM writes none; but what is followed must not hang on one.
#[test]
fn a_circle_that_is_there_all_the_same_ends() {
    let mut policies = with(two_orgs(), group("a", &["user:alice", "group:b"]));
    put(&mut policies, group("b", &["group:a"]));
    put(
        &mut policies,
        binding(1, "group:b", "editor", "project:shop"),
    );
    assert_eq!(
        *policies.groups_of(&who("user:alice")),
        [name("a"), name("b")]
    );
    let asked = ask("user:alice", "plasmavmc.vms.create", "project:shop");
    assert!(policies.decide(&asked.question()).is_allowed());
    assert_eq!(
        policies.check_members(&group("c", &["group:a"])),
        Err(GroupFault::TooDeep)
    );
}

#[test]
fn many_ways_up_take_no_longer_than_few() {
    // Each of these groups is in every one of the next row: 10^7 ways to the top.
    let mut policies = two_orgs();
    for row in 1..8 {
        for n in 0..10 {
            let below: Vec<String> = match row {
                1 => vec!["user:alice".to_owned()],
                _ => (0..10).map(|m| format!("group:r{}-{m}", row - 1)).collect(),
            };
            let below: Vec<&str> = below.iter().map(String::as_str).collect();
            put(&mut policies, group(&format!("r{row}-{n}"), &below));
        }
    }
    assert_eq!(policies.groups_of(&who("user:alice")).len(), 70);
    assert_eq!(
        policies.check_members(&group("top", &["group:r7-0"])),
        Ok(())
    );
}
