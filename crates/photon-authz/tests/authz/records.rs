//! How records and words are written.

use photon_authz::{
    Binding, Group, Keyed, Permission, PrincipalKind, PrincipalRef, PrincipalState, Project, Role,
    Scope,
};
use serde_json::json;

use super::build::*;

#[test]
fn words_have_one_text() {
    for text in [
        "user:alice",
        "service_account:ci.build_1",
        "service:iam",
        "group:a-b",
    ] {
        let principal = who(text);
        assert_eq!(principal.to_string(), text);
        assert_eq!(json!(principal), json!(text));
        assert_eq!(
            serde_json::from_value::<PrincipalRef>(json!(text)).unwrap(),
            principal
        );
    }
    for text in ["system", "org:acme", "project:shop"] {
        let at = scope(text);
        assert_eq!(at.to_string(), text);
        assert_eq!(json!(at), json!(text));
        assert_eq!(serde_json::from_value::<Scope>(json!(text)).unwrap(), at);
    }
    for kind in PrincipalKind::ALL {
        assert_eq!(json!(kind), json!(kind.as_str()));
        assert_eq!(kind.as_str().parse::<PrincipalKind>().unwrap(), kind);
    }
    assert_eq!(
        (scope("system").bare_id(), scope("system").kind()),
        ("system", "system")
    );
    assert_eq!(
        (scope("org:acme").bare_id(), scope("org:acme").kind()),
        ("acme", "org")
    );
}

#[test]
fn other_texts_are_refused_by_field() {
    let long = format!("user:{}", "a".repeat(64));
    for bad in [
        "alice",
        "user:",
        "user:a/b",
        "user:../x",
        "user:A",
        "User:alice",
        "user:a:b",
        "robot:x",
        "user: a",
        &long,
    ] {
        let error = PrincipalRef::parse_field("principal", bad).unwrap_err();
        assert_eq!(error.details().unwrap()["field"], "principal", "{bad}");
        assert_eq!(error.details().unwrap()["constraint"], "principal", "{bad}");
    }
    for bad in [
        "shop",
        "System",
        "system:x",
        "org:",
        "org:a/b",
        "project:../x",
        "folder:x",
        "project:a b",
    ] {
        let error = Scope::parse_field("scope", bad).unwrap_err();
        assert_eq!(error.details().unwrap()["field"], "scope", "{bad}");
        assert_eq!(error.details().unwrap()["constraint"], "scope", "{bad}");
    }
    assert_eq!(
        PrincipalRef::parse_field("p", "")
            .unwrap_err()
            .details()
            .unwrap()["constraint"],
        "required"
    );
    assert_eq!(
        Scope::parse_field("s", "").unwrap_err().details().unwrap()["constraint"],
        "required"
    );
    assert_eq!(
        Permission::parse_field("permission", "a.b")
            .unwrap_err()
            .details()
            .unwrap()["field"],
        "permission"
    );
}

/// What is stored stays readable: these are the forms of version 1.
#[test]
fn records_of_version_1_are_read() {
    let stored = json!({
        "id": "bnd-00000000-0000-0000-0000-000000000001", "principal": "user:alice", "role": "viewer",
        "scope": "org:acme", "condition": {
            "not_before": "2026-11-23T12:00:00Z",
            "window": {"days": ["mon", "sun"], "from": "08:00", "until": "24:00"},
            "source_networks": ["10.0.0.0/8", "2001:db8::/32"]
        },
        "expires_at": "2027-01-01T00:00:00Z", "created_at": "2026-11-23T12:00:00Z", "created_by": "user:root"
    });
    let binding: Binding = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(json!(binding), stored);
    assert_eq!(binding.key(), "bnd-00000000-0000-0000-0000-000000000001");

    let least = json!({"id": "shop", "org": "acme", "name": "Shop", "created_at": "2026-11-23T12:00:00Z", "newer": 1});
    let project: Project = serde_json::from_value(least).unwrap();
    assert_eq!(
        (project.epoch, project.disabled, project.implicit),
        (0, false, false)
    );
    let least = json!({"id": "painter", "permissions": ["art.*.*"]});
    let role: Role = serde_json::from_value(least).unwrap();
    assert_eq!(role.permissions, patterns(&["art.*.*"]));
    let least = json!({"id": "staff"});
    let group: Group = serde_json::from_value(least).unwrap();
    assert!(group.members.is_empty());
    let least = json!({"principal": "service_account:ci", "home": "project:shop"});
    let state: PrincipalState = serde_json::from_value(least).unwrap();
    assert_eq!(state.key(), "service_account/ci");
}

#[cfg(feature = "store")]
mod store {
    use photon_authz::{DenyRule, Org, PublicKey, Revoked};
    use photon_store::Record;

    use super::*;

    #[test]
    fn records_lie_where_others_look() {
        for (root, kind) in [
            (Org::ROOT, "org"),
            (Project::ROOT, "project"),
            (Role::ROOT, "role"),
            (Binding::ROOT, "binding"),
            (DenyRule::ROOT, "deny"),
            (Group::ROOT, "group"),
            (PrincipalState::ROOT, "principal"),
            (PublicKey::ROOT, "key"),
            (Revoked::ROOT, "revoked"),
        ] {
            assert_eq!(root, format!("{}{kind}/", photon_authz::records::PUBLIC));
        }
    }

    #[test]
    fn orgs_and_projects_share_their_ids() {
        assert_eq!(
            org("acme").index_keys("acme"),
            ["/photon/iam/id/scope/acme"]
        );
        let mut shop = project("shop", "acme");
        shop.name = "Mü/shop".to_owned();
        assert_eq!(
            shop.index_keys("shop"),
            [
                "/photon/iam/id/scope/shop",
                "/photon/iam/name/project/acme/4dc3bc2f73686f70"
            ]
        );
        shop.name = "x".repeat(10_000);
        assert!(shop.index_keys("shop")[1].len() < 500);
    }

    #[test]
    fn the_same_binding_twice_has_one_key() {
        let key = |binding: &Binding| binding.index_keys("")[0].clone();
        let first = binding(1, "user:alice", "viewer", "org:acme");
        let same = Binding {
            expires_at: Some(time(NOON)),
            created_by: "user:root".to_owned(),
            ..binding(2, "user:alice", "viewer", "org:acme")
        };
        assert_eq!(key(&first), key(&same));
        assert!(key(&first).starts_with("/photon/iam/name/binding/"));
        let mut conditional = first.clone();
        conditional.condition = Some(condition(json!({"source_networks": ["10.0.0.0/8"]})));
        for other in [
            conditional,
            binding(1, "user:bob", "viewer", "org:acme"),
            binding(1, "user:alice", "editor", "org:acme"),
            binding(1, "user:alice", "viewer", "project:acme"),
        ] {
            assert_ne!(key(&first), key(&other));
        }
    }
}
