//! What was changed, by whom: a record for each change, in the change's own transaction, in the trail of its project; of what
//! belongs to no project, in that of the system.
//!
//! How records are chained: [`photon_store::audit`]; what they say: `docs/audit.md`.

use std::fmt;

use photon_auth::Context;
use photon_authz::Scope;
use photon_core::Name;
use photon_store::Fields;
use serde::Serialize;
use serde_json::{Value, json};

/// Changes with every update, and says nothing.
const ALWAYS: &str = "updated_at";

/// What is being changed. The use case says it; who does it comes from the request.
#[derive(Clone, Debug)]
#[must_use = "it is to be recorded with the change"]
pub struct Act {
    kind: &'static str,
    id: String,
    scope: Scope,
    details: Fields,
}

impl Act {
    /// Something of this kind and id is changed, in a project.
    pub fn new(kind: &'static str, id: impl fmt::Display, project: &Name) -> Self {
        Self {
            kind,
            id: id.to_string(),
            scope: Scope::Project(project.clone()),
            details: Fields::new(),
        }
    }

    /// Something of this kind and id is changed, and is the operator's.
    pub fn of_system(kind: &'static str, id: impl fmt::Display) -> Self {
        Self {
            kind,
            id: id.to_string(),
            scope: Scope::System,
            details: Fields::new(),
        }
    }

    /// The kind of thing it is about.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The id of the thing it is about.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The trail it belongs to.
    #[must_use]
    pub fn trail(&self) -> String {
        self.scope.to_string().replace(':', "-")
    }

    /// What else a reader wants to know.
    pub fn detail(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// What an update makes of a record: each member that differs, from what to what.
    pub fn changed<T: Serialize>(self, before: &T, after: &T) -> Self {
        match changed(before, after) {
            found if found.is_empty() => self,
            found => self.detail("changed", found),
        }
    }

    /// The record's content: done by the caller of a request, as what the request needs permission for.
    #[must_use]
    pub fn within(&self, ctx: &Context) -> Fields {
        let mut fields = actor(ctx);
        fields.insert("action".to_owned(), ctx.permission().to_string().into());
        let resource = json!({ "kind": self.kind, "id": self.id });
        fields.insert("resource".to_owned(), resource);
        fields.insert("scope".to_owned(), self.scope.to_string().into());
        // A record exists exactly when the change does.
        fields.insert("answer".to_owned(), "done".into());
        if !self.details.is_empty() {
            fields.insert("details".to_owned(), Value::Object(self.details.clone()));
        }
        fields
    }
}

/// Who asks, and by which request.
fn actor(ctx: &Context) -> Fields {
    let caller = &ctx.caller;
    let mut fields = Fields::new();
    let mut say = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    say("actor", caller.who.to_string().into());
    say("request_id", ctx.request_id.to_string().into());
    if let Some(token) = &caller.token_id {
        say("token_id", token.to_string().into());
    }
    if let Some(acting) = &caller.acting {
        say("acted_by", acting.to_string().into());
    }
    if let Some(behalf) = &caller.on_behalf {
        let principal = behalf.principal.to_string();
        say(
            "on_behalf",
            json!({ "principal": principal, "project": behalf.project }),
        );
    }
    if let Some(source) = caller.source {
        say("source", source.to_canonical().to_string().into());
    }
    fields
}

fn changed<T: Serialize>(before: &T, after: &T) -> Fields {
    let members = |value: &T| match serde_json::to_value(value) {
        Ok(Value::Object(members)) => members,
        _ => Fields::new(),
    };
    let (before, after) = (members(before), members(after));
    let names = before.keys().chain(after.keys());
    let mut found = Fields::new();
    for name in names.filter(|name| *name != ALWAYS) {
        let (from, to) = (before.get(name), after.get(name));
        if from != to {
            found.insert(name.clone(), json!({ "from": from, "to": to }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_said() {
        let before = json!({"name": "a", "host": null, "updated_at": 1});
        let after = json!({"name": "b", "host": null, "updated_at": 2, "device": "vm-1"});
        assert_eq!(
            Value::Object(changed(&before, &after)),
            json!({
                "name": {"from": "a", "to": "b"},
                "device": {"from": null, "to": "vm-1"},
            })
        );
        assert!(changed(&after, &after).is_empty());
    }
}
