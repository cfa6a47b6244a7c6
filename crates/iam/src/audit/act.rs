//! What a record says: who did what to which thing.

use std::{fmt, net::IpAddr};

use photon_auth::{Caller, Context};
use photon_authz::{Permission, Scope};
use photon_store::Fields;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::changed::changed;

/// What is being changed. The use case says it; who does it comes from the request.
#[derive(Clone, Debug)]
#[must_use = "it is to be recorded with the change"]
pub struct Act {
    kind: &'static str,
    id: String,
    scope: Scope,
    details: Fields,
}

/// Who does it, and by which request.
#[derive(Clone, Debug)]
pub struct Actor {
    fields: Fields,
}

/// What a record is to say.
#[derive(Clone, Debug)]
pub struct Entry {
    scope: Scope,
    fields: Fields,
}

impl Act {
    /// Something of this kind and id is changed. It is recorded in the trail of `scope`: where the thing belongs.
    pub fn new(kind: &'static str, id: impl fmt::Display, scope: Scope) -> Self {
        Self {
            kind,
            id: id.to_string(),
            scope,
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

    /// What else a reader wants to know, for example the role of a binding. Never anything secret: a record is for
    /// everybody who may read the trail, and for ever.
    pub fn detail(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// What an update makes of a record: what changes, from what to what. For records that hold nothing secret.
    pub fn changed<T: Serialize>(self, before: &T, after: &T) -> Self {
        match changed(before, after) {
            found if found.is_empty() => self,
            found => self.detail("changed", found),
        }
    }

    /// Done by the caller of a request, as what the request needs permission for.
    #[must_use]
    pub fn within(self, ctx: &Context) -> Entry {
        let actor = Actor::caller(&ctx.caller, ctx.request_id);
        self.by(actor, ctx.permission().clone())
    }

    /// Done by somebody else than the caller of a request, or where there is none.
    #[must_use]
    pub fn by(self, actor: Actor, action: Permission) -> Entry {
        let mut fields = actor.fields;
        fields.insert("action".to_owned(), action.to_string().into());
        fields.insert(
            "resource".to_owned(),
            json!({ "kind": self.kind, "id": self.id }),
        );
        fields.insert("scope".to_owned(), self.scope.to_string().into());
        // A record exists exactly when the change does.
        fields.insert("answer".to_owned(), "done".into());
        if !self.details.is_empty() {
            fields.insert("details".to_owned(), Value::Object(self.details));
        }
        Entry {
            scope: self.scope,
            fields,
        }
    }
}

impl Actor {
    /// The caller of a request.
    #[must_use]
    pub fn caller(caller: &Caller, request_id: Uuid) -> Self {
        let mut fields = Fields::new();
        fields.insert("actor".to_owned(), caller.who.to_string().into());
        if let Some(token) = &caller.token_id {
            fields.insert("token_id".to_owned(), token.to_string().into());
        }
        if let Some(acting) = &caller.acting {
            fields.insert("acted_by".to_owned(), acting.to_string().into());
        }
        if let Some(behalf) = &caller.on_behalf {
            let behalf = json!({
                "principal": behalf.principal.to_string(),
                "project": behalf.project.to_string(),
            });
            fields.insert("on_behalf".to_owned(), behalf);
        }
        Self { fields }.at(caller.source, request_id)
    }

    /// A request without a credential on a route for everybody.
    #[must_use]
    pub fn anonymous(source: Option<IpAddr>, request_id: Uuid) -> Self {
        let mut fields = Fields::new();
        fields.insert("actor".to_owned(), "anonymous".into());
        Self { fields }.at(source, request_id)
    }

    /// The holder of a client certificate, on a route where that is the proof.
    #[must_use]
    pub fn certificate(common_name: &str, source: IpAddr, request_id: Uuid) -> Self {
        let mut fields = Fields::new();
        fields.insert(
            "actor".to_owned(),
            format!("certificate:{common_name}").into(),
        );
        Self { fields }.at(Some(source), request_id)
    }

    /// This machine: a command of the service's own user, or the service by itself.
    #[must_use]
    pub fn local(name: &'static str) -> Self {
        let mut fields = Fields::new();
        fields.insert("actor".to_owned(), format!("local:{name}").into());
        Self { fields }
    }

    fn at(mut self, source: Option<IpAddr>, request_id: Uuid) -> Self {
        if let Some(source) = source {
            let source = source.to_canonical().to_string();
            self.fields.insert("source".to_owned(), source.into());
        }
        self.fields
            .insert("request_id".to_owned(), request_id.to_string().into());
        self
    }
}

impl Entry {
    /// In whose trail it belongs.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What the record says besides its place in the chain.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.fields
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use photon_auth::{OnBehalf, Who};

    use super::*;

    #[test]
    fn an_entry_says_who_what_where_and_from_where() {
        let caller = Caller {
            who: Who::Principal("service:plasmavmc".parse().unwrap()),
            limit: None,
            source: Some("::ffff:10.0.0.7".parse().unwrap()),
            on_behalf: Some(OnBehalf {
                principal: "user:alice".parse().unwrap(),
                project: "shop".parse().unwrap(),
            }),
            token_id: Some("jti-1".into()),
            acting: Some("user:carol".parse().unwrap()),
        };
        let entry = Act::new("binding", "bnd-1", Scope::Project("shop".parse().unwrap()))
            .detail("role", "viewer")
            .by(
                Actor::caller(&caller, Uuid::nil()),
                "iam.bindings.create".parse().unwrap(),
            );
        assert_eq!(
            Value::Object(entry.fields().clone()),
            json!({
                "actor": "service:plasmavmc",
                "token_id": "jti-1",
                "acted_by": "user:carol",
                "on_behalf": {"principal": "user:alice", "project": "shop"},
                "source": "10.0.0.7",
                "request_id": Uuid::nil().to_string(),
                "action": "iam.bindings.create",
                "resource": {"kind": "binding", "id": "bnd-1"},
                "scope": "project:shop",
                "answer": "done",
                "details": {"role": "viewer"},
            })
        );
        let local = Act::new("org", "root", Scope::System)
            .by(Actor::local("iam-init"), "iam.orgs.create".parse().unwrap());
        assert_eq!(local.fields()["actor"], "local:iam-init");
        assert!(!local.fields().contains_key("request_id"));
    }
}
