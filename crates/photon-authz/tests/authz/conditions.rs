//! Bindings and deny rules that count only at times and from places, and bindings that end.

use photon_authz::{Condition, Policies, Reason};
use serde_json::json;

use super::build::*;

/// Alice may, under the condition.
fn bound_if(condition: serde_json::Value) -> Policies {
    let mut bound = binding(1, "user:alice", "editor", "project:shop");
    bound.condition = Some(super::build::condition(condition));
    with(two_orgs(), bound)
}

/// Alice may unless the condition holds.
fn denied_if(condition: serde_json::Value) -> Policies {
    let mut rule = deny(1, None, &["plasmavmc.*.*"], "org:acme");
    rule.condition = Some(super::build::condition(condition));
    let policies = with(
        two_orgs(),
        binding(1, "user:alice", "editor", "project:shop"),
    );
    with(policies, rule)
}

fn create() -> Ask {
    ask("user:alice", "plasmavmc.vms.create", "project:shop")
}

/// Whether a binding under the condition counts; a deny rule under it must do the opposite.
fn counts(condition: &serde_json::Value, asked: &Ask) -> bool {
    let bound = asked.allowed(&bound_if(condition.clone()));
    let denied = asked.of(&denied_if(condition.clone()));
    assert_eq!(denied.is_allowed(), !bound, "{condition}");
    bound
}

#[test]
fn between_two_moments() {
    let both = json!({"not_before": "2026-11-23T12:00:00Z", "not_after": "2026-11-23T13:00:00Z"});
    for (now, wanted) in [
        ("2026-11-23T11:59:59.999999Z", false),
        ("2026-11-23T12:00:00Z", true),
        ("2026-11-23T12:59:59.999999Z", true),
        ("2026-11-23T13:00:00Z", false),
    ] {
        assert_eq!(counts(&both, &create().at(now)), wanted, "{now}");
    }
    let from = json!({"not_before": "1969-12-31T23:00:00Z"});
    assert!(counts(&from, &create().at("1970-01-01T00:00:00Z")));
    assert!(!counts(&from, &create().at("1969-12-31T22:00:00Z")));
}

#[test]
fn in_hours_of_the_week() {
    // 2026-11-23 is a Monday.
    let office = json!({"window": {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "until": "18:00"}});
    let night = json!({"window": {"days": ["fri"], "from": "22:00", "until": "06:00"}});
    let sunday_night = json!({"window": {"days": ["sun"], "from": "22:00", "until": "06:00"}});
    let daily = json!({"window": {"from": "12:00", "until": "24:00"}});
    for (condition, now, wanted) in [
        (&office, "2026-11-23T07:59:59Z", false),
        (&office, "2026-11-23T08:00:00Z", true),
        (&office, "2026-11-23T17:59:59Z", true),
        (&office, "2026-11-23T18:00:00Z", false),
        (&office, "2026-11-28T12:00:00Z", false),
        (&night, "2026-11-27T21:59:59Z", false),
        (&night, "2026-11-27T22:00:00Z", true),
        (&night, "2026-11-28T05:59:59Z", true),
        (&night, "2026-11-28T06:00:00Z", false),
        (&night, "2026-11-27T05:00:00Z", false),
        (&night, "2026-11-28T23:00:00Z", false),
        (&sunday_night, "2026-11-29T23:00:00Z", true),
        (&sunday_night, "2026-11-30T05:00:00Z", true),
        (&sunday_night, "2026-11-30T23:00:00Z", false),
        (&daily, "2026-11-23T11:59:00Z", false),
        (&daily, "2026-11-23T23:59:59Z", true),
        (&daily, "2026-11-24T00:00:00Z", false),
        (&daily, "1969-12-31T23:59:00Z", true),
    ] {
        assert_eq!(
            counts(condition, &create().at(now)),
            wanted,
            "{condition} at {now}"
        );
    }
}

#[test]
fn from_networks() {
    let office = json!({"source_networks": ["10.1.0.0/16", "2001:db8::/32", "192.0.2.7/32"]});
    for (source, wanted) in [
        ("10.1.2.3", true),
        ("10.2.2.3", false),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("2001:db8:1::1", true),
        ("2001:db9::1", false),
        ("::ffff:10.1.2.3", true),
        ("::ffff:10.2.2.3", false),
        ("::1", false),
    ] {
        assert_eq!(counts(&office, &create().from(source)), wanted, "{source}");
    }
    for (network, source, wanted) in [
        ("0.0.0.0/0", "203.0.113.9", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "2001:db8::1", true),
        ("::/0", "203.0.113.9", false),
        ("10.1.2.3/8", "10.9.9.9", true),
        ("::1.2.3.4/128", "::1.2.3.4", true),
    ] {
        let condition = json!({"source_networks": [network]});
        assert_eq!(
            counts(&condition, &create().from(source)),
            wanted,
            "{source} in {network}"
        );
    }
}

#[test]
fn an_unknown_source_is_on_the_safe_side() {
    let office = json!({"source_networks": ["10.1.0.0/16"]});
    assert_eq!(
        create().refused(&bound_if(office.clone())),
        Reason::NoBinding
    );
    assert_eq!(
        create().refused(&denied_if(office)),
        Reason::DenyRule(deny_id(1))
    );
}

#[test]
fn all_of_a_condition_must_hold() {
    let strict = json!({
        "not_before": "2026-11-01T00:00:00Z",
        "window": {"days": ["mon"], "from": "08:00", "until": "18:00"},
        "source_networks": ["10.0.0.0/8"]
    });
    let good = || create().from("10.0.0.1");
    assert!(counts(&strict, &good()));
    assert!(!counts(&strict, &good().at("2026-10-26T12:00:00Z")));
    assert!(!counts(&strict, &good().at("2026-11-24T12:00:00Z")));
    assert!(!counts(&strict, &create().from("11.0.0.1")));
}

#[test]
fn an_empty_condition_is_none() {
    let policies = bound_if(json!({}));
    assert!(create().allowed(&policies));
    let pattern = "plasmavmc.vms.create".parse().unwrap();
    assert!(policies.holds(&who("user:alice"), &scope("project:shop"), &pattern, None));
}

#[test]
fn a_binding_ends() {
    let mut bound = binding(1, "user:alice", "editor", "project:shop");
    bound.expires_at = Some(time("2026-11-23T13:00:00Z"));
    let policies = with(two_orgs(), bound);
    assert!(create().at("2026-11-23T12:59:59Z").allowed(&policies));
    assert_eq!(
        create().at("2026-11-23T13:00:00Z").refused(&policies),
        Reason::NoBinding
    );
    // With a deny rule about it in the way, Cedar is asked, and sees the same end.
    let mut weekend = deny(1, None, &["plasmavmc.*.*"], "org:acme");
    weekend.condition = Some(condition(json!({
        "window": {"days": ["sat", "sun"], "from": "00:00", "until": "24:00"}
    })));
    let policies = with(policies, weekend);
    assert!(create().at("2026-11-23T12:59:59Z").allowed(&policies));
    assert!(!create().at("2026-11-23T13:00:00Z").allowed(&policies));
    assert!(!create().at("2026-11-22T12:00:00Z").allowed(&policies));
}

#[test]
fn conditions_that_make_no_sense_are_refused_by_field() {
    let networks: Vec<String> = (0..65).map(|n| format!("10.0.{n}.0/24")).collect();
    for (json, field, constraint) in [
        (
            json!({"not_before": "2026-11-23T12:00:00Z", "not_after": "2026-11-23T12:00:00Z"}),
            "not_after",
            "order",
        ),
        (
            json!({"window": {"from": "08:00", "until": "08:00"}}),
            "window.until",
            "order",
        ),
        (
            json!({"window": {"from": "24:00", "until": "08:00"}}),
            "window.from",
            "range",
        ),
        (
            json!({"window": {"days": ["mon","mon","mon","mon","mon","mon","mon","mon"], "from": "08:00", "until": "09:00"}}),
            "window.days",
            "length",
        ),
        (
            json!({"source_networks": networks}),
            "source_networks",
            "length",
        ),
        (
            json!({"source_networks": ["::ffff:10.0.0.0/104"]}),
            "source_networks",
            "network",
        ),
    ] {
        let error = condition(json.clone()).check("condition").unwrap_err();
        let details = error.details().unwrap();
        assert_eq!(details["field"], format!("condition.{field}"), "{json}");
        assert_eq!(details["constraint"], constraint, "{json}");
    }
    for empty in [json!({}), json!({"source_networks": []})] {
        let error = condition(empty.clone()).check("condition").unwrap_err();
        assert_eq!(error.details().unwrap()["field"], "condition", "{empty}");
    }
    let good = json!({"window": {"from": "22:00", "until": "06:00"}, "source_networks": ["::/0"]});
    condition(good).check("condition").unwrap();
}

#[test]
fn a_condition_that_is_not_understood_is_none_at_all() {
    for bad in [
        json!({"not_befor": "2026-11-23T12:00:00Z"}),
        json!({"window": {"day": ["mon"], "from": "08:00", "until": "18:00"}}),
        json!({"window": {"from": "8:00", "until": "18:00"}}),
        json!({"window": {"from": "08:60", "until": "18:00"}}),
        json!({"window": {"from": "08:00", "until": "24:01"}}),
        json!({"window": {"days": ["monday"], "from": "08:00", "until": "18:00"}}),
        json!({"source_networks": ["10.0.0.0/33"]}),
        json!({"source_networks": ["office"]}),
        json!({"not_after": "tomorrow"}),
    ] {
        assert!(
            serde_json::from_value::<Condition>(bad.clone()).is_err(),
            "{bad}"
        );
    }
}
