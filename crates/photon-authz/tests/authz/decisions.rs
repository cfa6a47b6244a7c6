//! Who may do what where.

use photon_authz::{Change, Decision, Granted, Key, Policies, Reason};

use super::build::*;

#[test]
fn a_binding_counts_at_its_scope_and_below() {
    for (bound_at, asked_at, wanted) in [
        ("project:shop", "project:shop", true),
        ("project:shop", "project:blog", false),
        ("project:shop", "org:acme", false),
        ("project:shop", "system", false),
        ("org:acme", "project:shop", true),
        ("org:acme", "project:blog", true),
        ("org:acme", "org:acme", true),
        ("org:acme", "project:theirs", false),
        ("org:acme", "org:other", false),
        ("org:acme", "system", false),
        ("system", "project:shop", true),
        ("system", "org:other", true),
        ("system", "system", true),
    ] {
        let policies = with(two_orgs(), binding(1, "user:alice", "editor", bound_at));
        let asked = ask("user:alice", "plasmavmc.vms.create", asked_at);
        assert_eq!(
            asked.allowed(&policies),
            wanted,
            "bound at {bound_at}, asked at {asked_at}"
        );
        let stranger = ask("user:bob", "plasmavmc.vms.create", asked_at);
        assert_eq!(stranger.refused(&policies), Reason::NoBinding);
        // The same id, another kind.
        let namesake = ask("service_account:alice", "plasmavmc.vms.create", asked_at);
        assert_eq!(namesake.refused(&policies), Reason::NoBinding);
    }
}

#[test]
fn the_answer_names_the_binding() {
    let policies = with(two_orgs(), binding(7, "user:alice", "viewer", "org:acme"));
    assert_eq!(
        ask("user:alice", "plasmavmc.vms.get", "project:shop").of(&policies),
        Decision::Allow {
            binding: Granted::Binding(binding_id(7))
        }
    );
    let by_cedar = ask("user:alice", "plasmavmc.vms.get", "project:shop");
    assert_eq!(
        policies.decide_by_cedar(&by_cedar.question()),
        by_cedar.of(&policies)
    );
}

#[test]
fn nothing_is_allowed_by_default() {
    let asked = ask("user:alice", "iam.projects.get", "system");
    assert_eq!(asked.refused(&Policies::new()), Reason::NoBinding);
    let nowhere = ask("user:alice", "iam.projects.get", "project:shop");
    assert_eq!(nowhere.refused(&Policies::new()), Reason::ScopeUnknown);
}

#[test]
fn a_role_that_is_not_there_gives_nothing() {
    let bound = with(two_orgs(), binding(1, "user:alice", "painter", "org:acme"));
    let asked = ask("user:alice", "art.walls.paint", "project:shop");
    assert_eq!(asked.refused(&bound), Reason::NoBinding);
    let mut made = with(bound, role("painter", &["art.walls.paint"]));
    assert!(asked.allowed(&made));
    made.apply(Change::Delete(Key::Role(name("painter"))));
    assert_eq!(asked.refused(&made), Reason::NoBinding);
}

#[test]
fn a_stored_role_cannot_redefine_a_built_in_one() {
    let policies = with(two_orgs(), binding(1, "user:alice", "viewer", "org:acme"));
    let policies = with(policies, role("viewer", &["*.*.*"]));
    assert!(!ask("user:alice", "plasmavmc.vms.delete", "project:shop").allowed(&policies));
}

#[test]
fn a_role_of_an_org_counts_only_there() {
    let mut painter = role("painter", &["art.walls.paint"]);
    painter.org = Some(name("acme"));
    let policies = with(two_orgs(), painter);
    for (bound_at, asked_at, wanted) in [
        ("project:shop", "project:shop", true),
        ("org:acme", "project:shop", true),
        ("org:acme", "org:acme", true),
        ("system", "project:shop", false),
        ("system", "system", false),
        ("org:other", "project:theirs", false),
        ("project:theirs", "project:theirs", false),
    ] {
        let policies = with(
            policies.clone(),
            binding(1, "user:alice", "painter", bound_at),
        );
        let asked = ask("user:alice", "art.walls.paint", asked_at);
        assert_eq!(
            asked.allowed(&policies),
            wanted,
            "bound at {bound_at}, asked at {asked_at}"
        );
    }
}

#[test]
fn what_is_not_there_is_open_only_from_the_system() {
    let policies = with(
        two_orgs(),
        binding(1, "user:alice", "editor", "project:gone"),
    );
    let policies = with(policies, binding(2, "user:alice", "editor", "org:gone"));
    let policies = with(policies, project("stray", "gone"));
    let policies = with(
        policies,
        binding(3, "user:alice", "editor", "project:stray"),
    );
    let policies = with(policies, binding(4, "user:root", "editor", "system"));
    for at in ["project:gone", "org:gone", "project:stray"] {
        let asked = ask("user:alice", "plasmavmc.vms.create", at);
        assert_eq!(asked.refused(&policies), Reason::ScopeUnknown, "{at}");
        assert!(
            ask("user:root", "plasmavmc.vms.create", at).allowed(&policies),
            "{at}"
        );
    }
}

#[test]
fn a_disabled_principal_may_nothing() {
    let policies = with(two_orgs(), binding(1, "user:alice", "admin", "system"));
    let asked = ask("user:alice", "iam.users.get", "system");
    let policies = with(policies, state("user:alice", false));
    assert!(asked.allowed(&policies));
    let mut policies = with(policies, state("user:alice", true));
    assert_eq!(asked.refused(&policies), Reason::Disabled);
    policies.apply(Change::Delete(Key::PrincipalState(who("user:alice"))));
    assert!(asked.allowed(&policies));
}

#[test]
fn a_disabled_scope_is_left_to_iam_above_it_and_to_services() {
    let mut policies = two_orgs();
    for (number, principal, at) in [
        (1, "user:root", "system"),
        (2, "user:chief", "org:acme"),
        (3, "user:dev", "project:shop"),
    ] {
        put(&mut policies, binding(number, principal, "admin", at));
    }
    let mut shop = project("shop", "acme");
    shop.disabled = true;
    let project_closed = with(policies.clone(), shop);
    let mut acme = org("acme");
    acme.disabled = true;
    let org_closed = with(policies.clone(), acme);

    let reopen = |principal| ask(principal, "iam.projects.update", "project:shop");
    for (principal, when_project, when_org) in [
        ("user:root", true, true),
        ("user:chief", true, false),
        ("user:dev", false, false),
    ] {
        assert!(reopen(principal).allowed(&policies), "{principal}");
        assert_eq!(
            reopen(principal).allowed(&project_closed),
            when_project,
            "{principal}"
        );
        assert_eq!(
            reopen(principal).allowed(&org_closed),
            when_org,
            "{principal}"
        );
        for closed in [&project_closed, &org_closed] {
            let work = ask(principal, "plasmavmc.vms.get", "project:shop");
            assert_eq!(work.refused(closed), Reason::Disabled, "{principal}");
        }
    }
    for closed in [&project_closed, &org_closed] {
        let clear = ask("service:plasmavmc", "prismnet.ports.delete", "project:shop");
        assert!(clear.allowed(closed));
        let stranger = ask("user:eve", "plasmavmc.vms.get", "project:shop");
        assert_eq!(stranger.refused(closed), Reason::NoBinding);
    }
    // The neighbours stay open.
    assert!(ask("user:chief", "plasmavmc.vms.get", "project:blog").allowed(&project_closed));
    assert!(ask("user:root", "plasmavmc.vms.get", "org:other").allowed(&org_closed));
}

#[test]
fn a_token_reaches_no_further_than_its_scope() {
    let policies = with(two_orgs(), binding(1, "user:root", "admin", "system"));
    for (limit, asked_at, wanted) in [
        ("system", "project:shop", true),
        ("system", "system", true),
        ("org:acme", "project:shop", true),
        ("org:acme", "org:acme", true),
        ("org:acme", "project:theirs", false),
        ("org:acme", "project:unknown", false),
        ("org:acme", "system", false),
        ("project:shop", "project:shop", true),
        ("project:shop", "project:blog", false),
        ("project:shop", "org:acme", false),
        ("project:shop", "system", false),
    ] {
        let asked = ask("user:root", "iam.users.get", asked_at).limited(limit);
        let answer = asked.of(&policies);
        assert_eq!(
            answer.is_allowed(),
            wanted,
            "token for {limit}, asked at {asked_at}"
        );
        if !wanted {
            assert_eq!(asked.refused(&policies), Reason::OutsideToken);
        }
    }
}

#[test]
fn a_deny_rule_wins_over_bindings() {
    let mut policies = two_orgs();
    put(&mut policies, binding(1, "user:alice", "admin", "org:acme"));
    put(&mut policies, binding(2, "user:root", "admin", "system"));
    let delete = |principal, at| ask(principal, "plasmavmc.vms.delete", at);
    for (rule, alice_in_shop, alice_in_blog, root_in_shop) in [
        (
            deny(1, None, &["plasmavmc.*.delete"], "project:shop"),
            false,
            true,
            false,
        ),
        (
            deny(1, None, &["plasmavmc.vms.delete"], "org:acme"),
            false,
            false,
            false,
        ),
        (deny(1, None, &["*.*.*"], "system"), false, false, false),
        (
            deny(1, Some("user:alice"), &["plasmavmc.*.*"], "org:acme"),
            false,
            false,
            true,
        ),
        (
            deny(1, Some("user:alice"), &["plasmavmc.*.*"], "project:blog"),
            true,
            false,
            true,
        ),
        (
            deny(1, Some("user:alice"), &["prismnet.*.*"], "org:acme"),
            true,
            true,
            true,
        ),
        (
            deny(1, None, &["plasmavmc.vms.create"], "org:acme"),
            true,
            true,
            true,
        ),
        (
            deny(1, None, &["plasmavmc.*.delete"], "org:other"),
            true,
            true,
            true,
        ),
    ] {
        let denied = with(policies.clone(), rule.clone());
        for (asked, wanted) in [
            (delete("user:alice", "project:shop"), alice_in_shop),
            (delete("user:alice", "project:blog"), alice_in_blog),
            (delete("user:root", "project:shop"), root_in_shop),
        ] {
            assert_eq!(
                asked.allowed(&denied),
                wanted,
                "{} under {rule:?}",
                asked.principal
            );
            if !wanted {
                assert_eq!(asked.refused(&denied), Reason::DenyRule(deny_id(1)));
            }
        }
        let mut again = denied;
        again.apply(Change::Delete(Key::DenyRule(deny_id(1))));
        assert!(delete("user:alice", "project:shop").allowed(&again));
    }
}

#[test]
fn a_deny_rule_about_a_group_concerns_its_members() {
    let mut policies = with(two_orgs(), group("interns", &["user:alice"]));
    put(
        &mut policies,
        group("staff", &["group:interns", "user:bob"]),
    );
    put(
        &mut policies,
        binding(1, "group:staff", "editor", "org:acme"),
    );
    put(
        &mut policies,
        deny(
            1,
            Some("group:interns"),
            &["plasmavmc.vms.delete"],
            "org:acme",
        ),
    );
    assert!(!ask("user:alice", "plasmavmc.vms.delete", "project:shop").allowed(&policies));
    assert!(ask("user:alice", "plasmavmc.vms.create", "project:shop").allowed(&policies));
    assert!(ask("user:bob", "plasmavmc.vms.delete", "project:shop").allowed(&policies));
}

#[test]
fn a_deny_rule_can_always_be_found_and_removed() {
    let mut policies = two_orgs();
    put(&mut policies, binding(1, "user:root", "admin", "system"));
    put(&mut policies, binding(2, "user:chief", "admin", "org:acme"));
    put(&mut policies, binding(3, "user:editor", "editor", "system"));
    put(&mut policies, group("operators", &["user:op"]));
    put(
        &mut policies,
        binding(4, "group:operators", "admin", "system"),
    );
    let mut on_mondays = binding(5, "user:monday", "admin", "system");
    on_mondays.condition = Some(condition(serde_json::json!({
        "window": {"days": ["mon"], "from": "00:00", "until": "24:00"}
    })));
    put(&mut policies, on_mondays);
    let mut short = binding(6, "user:temp", "admin", "system");
    short.expires_at = Some(time("2026-11-23T13:00:00Z"));
    put(&mut policies, short);
    put(&mut policies, deny(1, None, &["*.*.*"], "system"));
    put(
        &mut policies,
        deny(2, Some("user:root"), &["iam.*.*"], "org:acme"),
    );

    for at in ["system", "org:acme", "project:shop"] {
        for verb in ["get", "list", "delete"] {
            let asked = |principal| ask(principal, &format!("iam.deny_rules.{verb}"), at);
            assert!(asked("user:root").allowed(&policies), "{verb} at {at}");
            assert!(asked("user:op").allowed(&policies), "{verb} at {at}");
            assert!(asked("user:temp").allowed(&policies), "{verb} at {at}");
            assert!(
                !asked("user:temp")
                    .at("2026-11-23T13:00:00Z")
                    .allowed(&policies)
            );
            for lesser in ["user:chief", "user:editor", "user:monday"] {
                assert!(!asked(lesser).allowed(&policies), "{lesser} {verb} at {at}");
            }
        }
        for other in [
            "iam.deny_rules.create",
            "iam.bindings.delete",
            "plasmavmc.deny_rules.get",
        ] {
            assert!(
                !ask("user:root", other, at).allowed(&policies),
                "{other} at {at}"
            );
        }
    }
}

#[test]
fn services_hold_their_role_without_a_binding() {
    let policies = two_orgs();
    let asked = ask("service:plasmavmc", "prismnet.ports.create", "project:shop");
    assert_eq!(
        asked.of(&policies),
        Decision::Allow {
            binding: Granted::BuiltIn
        }
    );
    assert!(ask("service:plasmavmc", "prismnet.ports.create", "system").allowed(&policies));
    for (principal, what) in [
        ("service:plasmavmc", "prismnet.vpcs.delete"),
        ("service:plasmavmc", "iam.bindings.create"),
        ("service:prismnet", "prismnet.ports.create"),
        ("service:stranger", "prismnet.ports.create"),
        ("user:plasmavmc", "prismnet.ports.create"),
        ("service_account:plasmavmc", "prismnet.ports.create"),
    ] {
        let asked = ask(principal, what, "project:shop");
        assert_eq!(
            asked.refused(&policies),
            Reason::NoBinding,
            "{principal} {what}"
        );
    }
    let stopped = with(policies.clone(), state("service:plasmavmc", true));
    assert_eq!(asked.refused(&stopped), Reason::Disabled);
    let denied = with(
        policies,
        deny(1, None, &["prismnet.ports.create"], "org:acme"),
    );
    assert_eq!(asked.refused(&denied), Reason::DenyRule(deny_id(1)));
}

#[test]
fn service_roles_can_also_be_bound() {
    let bound = binding(1, "service:svc-backup", "service-plasmavmc", "org:acme");
    let policies = with(two_orgs(), bound);
    assert!(ask("service:svc-backup", "prismnet.ports.get", "project:shop").allowed(&policies));
    assert!(!ask("service:svc-backup", "prismnet.ports.get", "project:theirs").allowed(&policies));
}

#[test]
fn many_permissions_are_no_trouble_for_cedar() {
    let exact: Vec<String> = (0..1000).map(|n| format!("svc.things.verb{n}")).collect();
    let wild: Vec<String> = (0..1000).map(|n| format!("svc{n}.*.get")).collect();
    let texts = |all: &[String]| patterns(&all.iter().map(String::as_str).collect::<Vec<_>>());
    let mut big = role("big", &[]);
    big.permissions = texts(&exact).into_iter().chain(texts(&wild)).collect();
    big.except = texts(&wild[500..]);
    let mut policies = with(two_orgs(), big);
    put(&mut policies, binding(1, "user:alice", "big", "org:acme"));
    let mut rule = deny(1, None, &["svc0.things.get"], "org:acme");
    rule.permissions.extend(texts(&exact[500..]));
    put(&mut policies, rule);
    for (what, wanted) in [
        ("svc.things.verb499", true),
        ("svc.things.verb500", false),
        ("svc.things.verb999", false),
        ("svc.things.verb1000", false),
        ("svc0.things.get", false),
        ("svc1.things.get", true),
        ("svc499.other.get", true),
        ("svc500.other.get", false),
        ("svc1.things.list", false),
    ] {
        let asked = ask("user:alice", what, "project:shop");
        assert_eq!(asked.allowed(&policies), wanted, "{what}");
        assert_ne!(
            asked.of(&policies),
            Decision::Deny {
                reason: Reason::Evaluation
            }
        );
    }
}
