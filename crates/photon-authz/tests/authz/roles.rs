//! The built-in roles, and what custom ones may say.

use photon_authz::{built_in, built_in_roles};

use super::build::*;

#[test]
fn built_in_roles_allow_what_they_say() {
    for (what, viewer, editor, admin, billing) in [
        ("plasmavmc.vms.get", true, true, true, false),
        ("plasmavmc.vms.list", true, true, true, false),
        ("plasmavmc.vms.watch", true, true, true, false),
        ("plasmavmc.vms.create", false, true, true, false),
        ("k8shost.secrets.get", false, true, true, false),
        ("iam.users.get", true, true, true, false),
        ("iam.users.update", false, false, true, false),
        ("iam.bindings.create", false, false, true, false),
        ("iam.credentials.list", false, false, true, false),
        ("iam.tokens.impersonate", false, false, true, false),
        ("creditservice.wallets.get", true, true, true, true),
        ("creditservice.wallets.update", false, false, true, true),
    ] {
        for (id, wanted) in [
            ("viewer", viewer),
            ("editor", editor),
            ("admin", admin),
            ("billing-admin", billing),
        ] {
            let allowed = built_in(&name(id)).unwrap().allows(&permission(what));
            assert_eq!(allowed, wanted, "{id} {what}");
        }
    }
    assert!(built_in_roles().len() > 4);
    assert!(built_in(&name("owner")).is_none());
}

#[test]
fn no_service_role_may_give_rights_away() {
    let services = built_in_roles()
        .iter()
        .filter(|role| role.id.as_str().starts_with("service-"));
    for role in services {
        assert!(
            role.permissions.iter().all(|pattern| pattern.is_exact()),
            "{}",
            role.id
        );
        for what in [
            "iam.bindings.create",
            "iam.tokens.impersonate",
            "iam.tokens.issue",
            "iam.credentials.create",
        ] {
            assert!(!role.allows(&permission(what)), "{} {what}", role.id);
        }
    }
}

#[test]
fn custom_roles_are_checked_by_field() {
    role("painter", &["art.*.*"]).check().unwrap();
    let mut including = role("painter", &[]);
    including.includes = vec![name("viewer")];
    including.check().unwrap();

    let mut long = role("painter", &["art.*.*"]);
    long.title = "x".repeat(201);
    let mut many = role("painter", &[]);
    many.permissions = vec!["art.*.*".parse().unwrap(); 1001];
    let mut unknown = role("painter", &["art.*.*"]);
    unknown.includes = vec![name("sculptor")];
    for (bad, field, constraint) in [
        (role("viewer", &["art.*.*"]), "id", "reserved"),
        (role("service-me", &["art.*.*"]), "id", "reserved"),
        (role("painter", &[]), "permissions", "required"),
        (long, "title", "length"),
        (many, "permissions", "length"),
        (unknown, "includes", "built_in"),
    ] {
        let error = bad.check().unwrap_err();
        let details = error.details().unwrap();
        assert_eq!(details["field"], field, "{}", bad.id);
        assert_eq!(details["constraint"], constraint, "{}", bad.id);
    }
}

#[test]
fn patterns_match_segment_by_segment() {
    for (pattern, what, wanted) in [
        ("a.b.c", "a.b.c", true),
        ("a.b.*", "a.b.c", true),
        ("*.b.*", "a.b.c", true),
        ("*.*.*", "a.b.c", true),
        ("a.b.c", "a.b.cc", false),
        ("a.*.c", "a.b.d", false),
        ("ab.*.*", "a.b.c", false),
    ] {
        let pattern: photon_authz::PermissionPattern = pattern.parse().unwrap();
        assert_eq!(
            pattern.matches(&permission(what)),
            wanted,
            "{pattern} {what}"
        );
    }
    for bad in [
        "", "a", "a.b", "a.b.c.d", "A.b.c", "a..c", "a.b.", "1.b.c", "a.b-c.d", "a.b.c ", "ä.b.c",
        "*.b.c",
    ] {
        assert!(bad.parse::<photon_authz::Permission>().is_err(), "{bad:?}");
    }
    for bad in [
        "*", "*.*", "a*.b.c", "**.b.c", "a.b.\"", "a.b.*.*", "a.b.\\*",
    ] {
        assert!(
            bad.parse::<photon_authz::PermissionPattern>().is_err(),
            "{bad:?}"
        );
    }
    let long = format!("a.b.{}", "c".repeat(64));
    assert!(long.parse::<photon_authz::Permission>().is_err());
    let longest = format!("{0}.{0}.{0}", "c".repeat(63));
    assert_eq!(
        permission(&longest).segments(),
        [longest.split('.').next().unwrap(); 3]
    );
}

#[test]
fn patterns_cover_and_meet() {
    for (a, b, covers, meet) in [
        ("*.*.*", "a.b.c", true, Some("a.b.c")),
        ("a.b.c", "*.*.*", false, Some("a.b.c")),
        ("a.*.c", "a.b.*", false, Some("a.b.c")),
        ("a.*.*", "a.b.*", true, Some("a.b.*")),
        ("a.b.c", "a.b.d", false, None),
        ("a.*.c", "b.*.c", false, None),
        ("a.b.c", "a.b.c", true, Some("a.b.c")),
    ] {
        let (a, b) = (&patterns(&[a])[0], &patterns(&[b])[0]);
        assert_eq!(a.covers(b), covers, "{a} {b}");
        let meeting = a.intersection(b);
        assert_eq!(meeting.as_ref().map(|p| p.as_str()), meet, "{a} {b}");
        assert_eq!(b.intersection(a), meeting, "{a} {b}");
    }
}
