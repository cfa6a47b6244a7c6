//! What lists show.

use photon_authz::{Policies, Visible};

use super::build::*;

fn visible(policies: &Policies, principal: &str, what: &str) -> Visible {
    policies.scopes_with(&who(principal), &permission(what), time(NOON), None)
}

#[test]
fn what_is_bound_is_seen_with_what_is_below() {
    let mut policies = two_orgs();
    put(
        &mut policies,
        binding(1, "user:alice", "viewer", "org:acme"),
    );
    put(
        &mut policies,
        binding(2, "user:alice", "viewer", "project:theirs"),
    );
    put(&mut policies, binding(3, "user:root", "viewer", "system"));
    let (acme, other) = (name("acme"), name("other"));

    let alice = visible(&policies, "user:alice", "plasmavmc.vms.list");
    assert!(!alice.all && !alice.is_empty());
    assert!(alice.org(&acme) && !alice.org(&other));
    assert!(alice.project(&name("shop"), Some(&acme)));
    assert!(alice.project(&name("made-later"), Some(&acme)));
    assert!(alice.project(&name("theirs"), Some(&other)));
    assert!(!alice.project(&name("made-later"), Some(&other)));
    assert!(!alice.project(&name("lost"), None));

    let root = visible(&policies, "user:root", "plasmavmc.vms.list");
    assert!(root.all && root.org(&other) && root.project(&name("lost"), None));
    assert!(visible(&policies, "user:alice", "plasmavmc.vms.delete").is_empty());
    assert!(visible(&policies, "user:eve", "plasmavmc.vms.list").is_empty());
}

#[test]
fn what_a_rule_denies_or_is_disabled_is_not_seen() {
    let mut policies = two_orgs();
    put(&mut policies, binding(1, "user:root", "viewer", "system"));
    put(
        &mut policies,
        binding(2, "user:chief", "viewer", "org:acme"),
    );
    put(
        &mut policies,
        deny(1, None, &["plasmavmc.vms.list"], "project:shop"),
    );
    let mut other = org("other");
    other.disabled = true;
    put(&mut policies, other);
    let (acme, other) = (name("acme"), name("other"));

    for principal in ["user:root", "user:chief"] {
        let seen = visible(&policies, principal, "plasmavmc.vms.list");
        assert!(!seen.project(&name("shop"), Some(&acme)), "{principal}");
        assert!(seen.project(&name("blog"), Some(&acme)), "{principal}");
        assert!(!seen.project(&name("theirs"), Some(&other)), "{principal}");
        let others = visible(&policies, principal, "plasmavmc.disks.list");
        assert!(others.project(&name("shop"), Some(&acme)), "{principal}");
    }
    // Whoever may open it again sees that it is there.
    let orgs = visible(&policies, "user:root", "iam.orgs.list");
    assert!(orgs.org(&other) && orgs.project(&name("theirs"), Some(&other)));
}

#[test]
fn a_token_sees_only_its_scope() {
    let policies = with(two_orgs(), binding(1, "user:root", "viewer", "system"));
    let all = visible(&policies, "user:root", "plasmavmc.vms.list");
    let (acme, other) = (name("acme"), name("other"));
    let in_acme = policies.within_limit(all.clone(), &scope("org:acme"));
    assert!(!in_acme.all && in_acme.org(&acme) && !in_acme.org(&other));
    assert!(in_acme.project(&name("shop"), Some(&acme)));
    assert!(!in_acme.project(&name("theirs"), Some(&other)));
    let in_shop = policies.within_limit(all.clone(), &scope("project:shop"));
    assert!(in_shop.project(&name("shop"), Some(&acme)) && !in_shop.org(&acme));
    assert!(!in_shop.project(&name("blog"), Some(&acme)));
    assert_eq!(policies.within_limit(all.clone(), &scope("system")), all);
    let everything = policies.within_limit(Visible::everything(), &scope("project:not-made-yet"));
    assert!(everything.project(&name("not-made-yet"), None));
}
