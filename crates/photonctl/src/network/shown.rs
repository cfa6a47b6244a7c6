//! What is nested in PrismNET's things, as people write it.

use serde_json::Value;

use crate::output;

/// A thing with what is nested in it as people write it.
pub(super) fn for_people(mut thing: Value) -> Value {
    in_one_line(&mut thing, "pool", |range| {
        format!(
            "{}-{}",
            output::cell(&range["first"]),
            output::cell(&range["last"])
        )
    });
    in_one_line(&mut thing, "held_by_hosts", |held| {
        format!(
            "{} by {}",
            output::cell(&held["address"]),
            output::cell(&held["host_id"])
        )
    });
    if let Some(uplinks) = thing
        .get_mut("uplinks")
        .filter(|uplinks| uplinks.is_object())
    {
        let uplink =
            |(host, interface): (&String, &Value)| format!("{host}={}", output::cell(interface));
        let shown: Vec<String> = uplinks
            .as_object()
            .into_iter()
            .flatten()
            .map(uplink)
            .collect();
        *uplinks = shown.join(", ").into();
    }
    thing
}

/// A list of things as their texts.
fn in_one_line(thing: &mut Value, name: &str, text: impl Fn(&Value) -> String) {
    if let Some(list) = thing.get_mut(name).filter(|list| list.is_array()) {
        let texts: Vec<String> = list.as_array().into_iter().flatten().map(text).collect();
        *list = texts.join(", ").into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_nested_is_shown_as_people_write_it() {
        let shown = for_people(json!({
            "id": "extnet-1",
            "pool": [{"first": "192.0.2.10", "last": "192.0.2.20"}, {"first": "192.0.2.30", "last": "192.0.2.30"}],
            "uplinks": {"a": "eth1", "b": "br-lan"},
            "held_by_hosts": [{"address": "192.0.2.11", "host_id": "a"}],
        }));
        assert_eq!(
            shown["pool"],
            "192.0.2.10-192.0.2.20, 192.0.2.30-192.0.2.30"
        );
        assert_eq!(shown["uplinks"], "a=eth1, b=br-lan");
        assert_eq!(shown["held_by_hosts"], "192.0.2.11 by a");
        assert_eq!(for_people(json!({"name": "x"})), json!({"name": "x"}));
    }
}
