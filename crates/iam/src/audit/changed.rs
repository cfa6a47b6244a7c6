//! What an update changed, for its record.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Elements of a list that are named; of the rest there is the number.
const NAMED: usize = 100;

/// Changes with every update, and says nothing.
const ALWAYS: &str = "updated_at";

/// Each member that differs: `{"from": …, "to": …}`, of lists `{"added": […], "removed": […]}`. Empty if none does, or if these
/// are no objects.
pub(super) fn changed<T: Serialize>(before: &T, after: &T) -> Map<String, Value> {
    let object = |value: &T| match serde_json::to_value(value) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let (before, after) = (object(before), object(after));
    let names = before.keys().chain(after.keys());
    let mut found = Map::new();
    for name in names.filter(|name| *name != ALWAYS) {
        let of = |members: &Map<String, Value>| members.get(name).cloned().unwrap_or(Value::Null);
        let (from, to) = (of(&before), of(&after));
        if from != to {
            found.insert(name.clone(), difference(from, to));
        }
    }
    found
}

fn difference(from: Value, to: Value) -> Value {
    match (from, to) {
        (Value::Array(from), Value::Array(to)) => {
            let without = |all: &[Value], others: &[Value]| -> Vec<Value> {
                let gone = all.iter().filter(|item| !others.contains(item));
                gone.cloned().collect()
            };
            let (added, removed) = (without(&to, &from), without(&from, &to));
            json!({ "added": named(added), "removed": named(removed) })
        }
        (from, to) => json!({ "from": from, "to": to }),
    }
}

fn named(mut items: Vec<Value>) -> Vec<Value> {
    if items.len() > NAMED {
        let more = items.len() - NAMED;
        items.truncate(NAMED);
        items.push(format!("and {more} more").into());
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_said() {
        let before = json!({"name": "a", "disabled": false, "members": ["user:a", "user:b"], "updated_at": 1});
        let after = json!({"name": "a", "disabled": true, "members": ["user:b", "user:c"], "updated_at": 2, "org": "x"});
        assert_eq!(
            Value::Object(changed(&before, &after)),
            json!({
                "disabled": {"from": false, "to": true},
                "members": {"added": ["user:c"], "removed": ["user:a"]},
                "org": {"from": null, "to": "x"},
            })
        );
        assert!(changed(&after, &after).is_empty());
    }

    #[test]
    fn a_long_list_is_named_in_part() {
        let all: Vec<u32> = (0..250).collect();
        let found = changed(&json!({"m": []}), &json!({"m": all}));
        let added = found["m"]["added"].as_array().map_or(0, Vec::len);
        assert_eq!(added, NAMED + 1);
        assert_eq!(found["m"]["added"][NAMED], "and 150 more");
    }
}
