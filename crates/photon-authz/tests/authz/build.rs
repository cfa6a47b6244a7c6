//! Short ways to say what a test is about.

use std::net::IpAddr;

use jiff::Timestamp;
use photon_authz::{
    Binding, BindingId, Change, Condition, Decision, DenyId, DenyRule, Group, Object, Org,
    Permission, PermissionPattern, Policies, PrincipalRef, PrincipalState, Project, Question,
    Reason, Role, Scope,
};
use photon_core::Name;
use uuid::Uuid;

/// Monday, 2026-11-23, noon UTC.
pub(crate) const NOON: &str = "2026-11-23T12:00:00Z";

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn who(text: &str) -> PrincipalRef {
    text.parse().unwrap()
}

pub(crate) fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

pub(crate) fn permission(text: &str) -> Permission {
    text.parse().unwrap()
}

pub(crate) fn patterns(texts: &[&str]) -> Vec<PermissionPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn org(id: &str) -> Org {
    Org {
        id: name(id),
        name: id.to_owned(),
        implicit: false,
        disabled: false,
        created_at: time(NOON),
    }
}

pub(crate) fn project(id: &str, org: &str) -> Project {
    Project {
        id: name(id),
        org: name(org),
        name: id.to_owned(),
        implicit: false,
        disabled: false,
        epoch: 0,
        created_at: time(NOON),
    }
}

pub(crate) fn role(id: &str, permissions: &[&str]) -> Role {
    Role {
        id: name(id),
        org: None,
        title: String::new(),
        permissions: patterns(permissions),
        except: Vec::new(),
        includes: Vec::new(),
    }
}

pub(crate) fn binding_id(number: u128) -> BindingId {
    BindingId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn deny_id(number: u128) -> DenyId {
    DenyId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn binding(number: u128, principal: &str, role: &str, at: &str) -> Binding {
    Binding {
        id: binding_id(number),
        principal: who(principal),
        role: name(role),
        scope: scope(at),
        condition: None,
        expires_at: None,
        created_at: time(NOON),
        created_by: String::new(),
    }
}

pub(crate) fn deny(
    number: u128,
    principal: Option<&str>,
    permissions: &[&str],
    at: &str,
) -> DenyRule {
    DenyRule {
        id: deny_id(number),
        principal: principal.map(who),
        permissions: patterns(permissions),
        scope: scope(at),
        condition: None,
        created_at: time(NOON),
        created_by: String::new(),
    }
}

pub(crate) fn group(id: &str, members: &[&str]) -> Group {
    Group {
        id: name(id),
        org: None,
        title: String::new(),
        members: members.iter().map(|member| who(member)).collect(),
    }
}

pub(crate) fn state(principal: &str, disabled: bool) -> PrincipalState {
    PrincipalState {
        principal: who(principal),
        home: None,
        disabled,
        epoch: 0,
    }
}

pub(crate) fn put(policies: &mut Policies, object: impl Into<Put>) {
    policies.apply(Change::Put(object.into().0));
}

/// Any record.
pub(crate) struct Put(pub(crate) Object);

macro_rules! put_from {
    ($($record:ident)*) => {
        $(impl From<$record> for Put {
            fn from(record: $record) -> Self {
                Self(Object::$record(record))
            }
        })*
    };
}
put_from!(Org Project Role Binding DenyRule Group PrincipalState);

/// Two orgs: acme with the projects shop and blog, and other with theirs.
pub(crate) fn two_orgs() -> Policies {
    let mut policies = Policies::new();
    put(&mut policies, org("acme"));
    put(&mut policies, org("other"));
    put(&mut policies, project("shop", "acme"));
    put(&mut policies, project("blog", "acme"));
    put(&mut policies, project("theirs", "other"));
    policies
}

/// With one more record.
pub(crate) fn with(mut policies: Policies, object: impl Into<Put>) -> Policies {
    put(&mut policies, object);
    policies
}

/// A question that can be changed before it is asked.
pub(crate) struct Ask {
    pub(crate) principal: PrincipalRef,
    pub(crate) permission: Permission,
    pub(crate) scope: Scope,
    pub(crate) now: Timestamp,
    pub(crate) source: Option<IpAddr>,
    pub(crate) limit: Option<Scope>,
}

pub(crate) fn ask(principal: &str, what: &str, at: &str) -> Ask {
    Ask {
        principal: who(principal),
        permission: permission(what),
        scope: scope(at),
        now: time(NOON),
        source: None,
        limit: None,
    }
}

impl Ask {
    pub(crate) fn at(mut self, now: &str) -> Self {
        self.now = time(now);
        self
    }

    pub(crate) fn from(mut self, source: &str) -> Self {
        self.source = Some(source.parse().unwrap());
        self
    }

    pub(crate) fn limited(mut self, limit: &str) -> Self {
        self.limit = Some(scope(limit));
        self
    }

    pub(crate) fn question(&self) -> Question<'_> {
        Question {
            principal: &self.principal,
            permission: &self.permission,
            scope: &self.scope,
            now: self.now,
            source: self.source,
            limit: self.limit.as_ref(),
        }
    }

    /// The answer, which is the same when asked again and when asked of Cedar alone.
    pub(crate) fn of(&self, policies: &Policies) -> Decision {
        let answer = policies.decide(&self.question());
        assert_eq!(policies.decide(&self.question()), answer, "asked again");
        let cedar = policies.decide_by_cedar(&self.question());
        assert_eq!(
            cedar.is_allowed(),
            answer.is_allowed(),
            "Cedar says {cedar:?}, not {answer:?}"
        );
        answer
    }

    pub(crate) fn allowed(&self, policies: &Policies) -> bool {
        self.of(policies).is_allowed()
    }

    /// Why not.
    pub(crate) fn refused(&self, policies: &Policies) -> Reason {
        match self.of(policies) {
            Decision::Deny { reason } => reason,
            allowed @ Decision::Allow { .. } => panic!("{allowed:?}"),
        }
    }
}

pub(crate) fn condition(json: serde_json::Value) -> Condition {
    serde_json::from_value(json).unwrap()
}
