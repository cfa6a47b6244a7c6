//! The kinds of resources: their tables, and how their commands become calls.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::Value;

use super::{
    cli::{
        Binding, Condition, Credential, CredentialKind, Deny, Group, Key, Org, Project, Role,
        ServiceAccount, User,
    },
    resource::{Kind, On},
    secret,
    token::principal,
};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{Body, Session, client::Call},
};

type Done = Result<(), Failure>;

pub(crate) const ORG: Kind = Kind {
    path: "orgs",
    plural: "orgs",
    columns: &["id", "name", "implicit", "disabled", "created_at"],
};

pub(crate) async fn org(session: &Session, format: Format, command: Org) -> Done {
    let on = On::new(session, format, &ORG);
    match command {
        Org::Create { id, name } => {
            let name = name.unwrap_or_else(|| id.clone());
            on.create(Body::default().set("id", id).set("name", name))
                .await
        }
        Org::Get { id } => on.get(&id).await,
        Org::List { page } => on.list(&[], page).await,
        Org::Update {
            id,
            name,
            switch,
            only,
        } => {
            let body = Body::default()
                .maybe("name", name)
                .maybe("disabled", switch.disabled());
            on.update(&id, body, &only).await
        }
        Org::Delete { id, only } => on.delete(&id, &only).await,
    }
}

pub(crate) const PROJECT: Kind = Kind {
    path: "projects",
    plural: "projects",
    columns: &["id", "name", "org_id", "implicit", "disabled", "created_at"],
};

pub(crate) async fn project(session: &Session, format: Format, command: Project) -> Done {
    let on = On::new(session, format, &PROJECT);
    match command {
        Project::Create { name, org, id } => {
            let body = Body::default()
                .set("name", name)
                .set("org_id", org)
                .maybe("id", id);
            on.create(body).await
        }
        Project::Get { id } => on.get(&id).await,
        Project::List { org, page } => on.list(&[("org_id", org)], page).await,
        Project::Update {
            id,
            name,
            switch,
            only,
        } => {
            let body = Body::default()
                .maybe("name", name)
                .maybe("disabled", switch.disabled());
            on.update(&id, body, &only).await
        }
        Project::Delete { id, only } => on.delete(&id, &only).await,
    }
}

const USER: Kind = Kind {
    path: "users",
    plural: "users",
    columns: &["id", "name", "email", "org_id", "disabled"],
};

pub(crate) async fn user(session: &Session, format: Format, command: User) -> Done {
    let on = On::new(session, format, &USER);
    match command {
        User::Create {
            id,
            name,
            email,
            org,
        } => {
            let name = name.unwrap_or_else(|| id.clone());
            let body = Body::default()
                .set("id", id)
                .set("name", name)
                .set("type", "user")
                .maybe("email", email)
                .maybe("org_id", org);
            on.create(body).await
        }
        User::Get { id } => on.get(&id).await,
        User::List { scope, page } => on.list(&[("scope_id", scope)], page).await,
        User::Update {
            id,
            name,
            email,
            switch,
            only,
        } => {
            let body = Body::default()
                .maybe("name", name)
                .maybe("email", email)
                .maybe("disabled", switch.disabled());
            on.update(&id, body, &only).await
        }
        User::Password { id, current } => {
            let current = current.then(|| secret::ask("Current password"));
            let current = current.transpose()?.map(|secret| secret.0);
            let body = Body::default()
                .maybe("current", current)
                .set("password", secret::ask_new("New password")?.0);
            let path = ["api", "v1", "users", id.as_str(), "password"];
            on.show(Call::new(Method::PUT, &path).body(body.into()))
                .await
        }
        User::Delete { id, only } => on.delete(&id, &only).await,
    }
}

const GROUP: Kind = Kind {
    path: "groups",
    plural: "groups",
    columns: &["id", "org_id", "title", "members"],
};

pub(crate) async fn group(session: &Session, format: Format, command: Group) -> Done {
    let on = On::new(session, format, &GROUP);
    match command {
        Group::Create {
            id,
            title,
            org,
            members,
        } => {
            let title = title.unwrap_or_else(|| id.clone());
            let body = Body::default()
                .set("id", id)
                .set("title", title)
                .maybe("org_id", org)
                .list("members", members);
            on.create(body).await
        }
        Group::Get { id } => on.get(&id).await,
        Group::List { org, page } => on.list(&[("org_id", org)], page).await,
        Group::Update { id, title, only } => {
            on.update(&id, Body::default().maybe("title", title), &only)
                .await
        }
        Group::AddMember {
            id,
            principal: member,
        } => {
            let (kind, member) = principal(&member);
            let path = ["api", "v1", "groups", &id, "members", kind, member];
            on.show(Call::new(Method::PUT, &path)).await
        }
        Group::RemoveMember {
            id,
            principal: member,
        } => {
            let (kind, member) = principal(&member);
            let path = ["api", "v1", "groups", &id, "members", kind, member];
            on.show(Call::new(Method::DELETE, &path)).await
        }
        Group::Delete { id, only } => on.delete(&id, &only).await,
    }
}

const SERVICE_ACCOUNT: Kind = Kind {
    path: "service-accounts",
    plural: "service_accounts",
    columns: &["id", "project_id", "name", "disabled", "created_at"],
};

pub(crate) async fn service_account(
    session: &Session,
    format: Format,
    command: ServiceAccount,
) -> Done {
    let on = On::new(session, format, &SERVICE_ACCOUNT);
    match command {
        ServiceAccount::Create { id, project, name } => {
            let name = name.unwrap_or_else(|| id.clone());
            let body = Body::default()
                .set("id", id)
                .set("project_id", project)
                .set("name", name);
            on.create(body).await
        }
        ServiceAccount::Get { id } => on.get(&id).await,
        ServiceAccount::List { project, page } => on.list(&[("project_id", project)], page).await,
        ServiceAccount::Update {
            id,
            name,
            switch,
            only,
        } => {
            let body = Body::default()
                .maybe("name", name)
                .maybe("disabled", switch.disabled());
            on.update(&id, body, &only).await
        }
        ServiceAccount::Delete { id, only } => on.delete(&id, &only).await,
    }
}

const CREDENTIAL: Kind = Kind {
    path: "credentials",
    plural: "credentials",
    columns: &[
        "id",
        "principal",
        "kind",
        "label",
        "disabled",
        "expires_at",
        "last_used_at",
    ],
};

pub(crate) async fn credential(session: &Session, format: Format, command: Credential) -> Done {
    let on = On::new(session, format, &CREDENTIAL);
    match command {
        Credential::Create {
            principal,
            kind,
            label,
            expires_at,
            file,
            current_password,
        } => {
            let current = current_password.then(|| secret::ask("Current password"));
            let current = current.transpose()?.map(|secret| secret.0);
            let body = Body::default()
                .maybe("current_password", current)
                .set("principal", principal)
                .set("kind", kind.word())
                .maybe("label", label)
                .maybe("expires_at", time(expires_at));
            on.create(with_content(body, kind, file)?).await
        }
        Credential::Get { id } => on.get(&id).await,
        Credential::List { principal, page } => on.list(&[("principal", principal)], page).await,
        Credential::Update {
            id,
            label,
            end,
            switch,
            only,
        } => {
            let body = Body::default()
                .maybe("label", label)
                .maybe("expires_at", end.value())
                .maybe("disabled", switch.disabled());
            on.update(&id, body, &only).await
        }
        Credential::Delete { id, only } => on.delete(&id, &only).await,
    }
}

/// What a credential is made of, besides what they all have.
fn with_content(body: Body, kind: CredentialKind, file: Option<PathBuf>) -> Result<Body, Failure> {
    let field = match (kind, &file) {
        (CredentialKind::Certificate, Some(_)) => "certificate",
        (CredentialKind::SshPublicKey, Some(_)) => "public_key",
        (CredentialKind::Certificate | CredentialKind::SshPublicKey, None) => {
            let missing = format!("--kind {} needs --file", kind.word().replace('_', "-"));
            return Err(Failure::usage(missing));
        }
        (_, Some(_)) => return Err(Failure::usage("--file is for certificates and public keys")),
        (CredentialKind::Password, None) => {
            return Ok(body.set("password", secret::ask_new("New password")?.0));
        }
        (CredentialKind::ApiKey, None) => return Ok(body),
    };
    let file = file.unwrap_or_default();
    let text =
        fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    // What is sent to others by mistake is sent: a private key must not be.
    if text.contains("PRIVATE KEY") {
        return Err(Failure::usage(format!(
            "{} holds a private key",
            file.display()
        )));
    }
    Ok(body.set(field, text.trim_end()))
}

const ROLE: Kind = Kind {
    path: "roles",
    plural: "roles",
    columns: &["id", "org_id", "title", "built_in", "permissions"],
};

pub(crate) async fn role(session: &Session, format: Format, command: Role) -> Done {
    let on = On::new(session, format, &ROLE);
    match command {
        Role::Create {
            id,
            title,
            org,
            permissions,
        } => {
            let title = title.unwrap_or_else(|| id.clone());
            let body = Body::default()
                .set("id", id)
                .set("title", title)
                .set("permissions", permissions)
                .maybe("org_id", org);
            on.create(body).await
        }
        Role::Get { id } => on.get(&id).await,
        Role::List { org, page } => on.list(&[("org_id", org)], page).await,
        Role::Update {
            id,
            title,
            permissions,
            only,
        } => {
            let body = Body::default()
                .maybe("title", title)
                .list("permissions", permissions);
            on.update(&id, body, &only).await
        }
        Role::Delete { id, only } => on.delete(&id, &only).await,
    }
}

const BINDING: Kind = Kind {
    path: "bindings",
    plural: "bindings",
    columns: &[
        "id",
        "principal",
        "role",
        "scope",
        "condition",
        "expires_at",
    ],
};

pub(crate) async fn binding(session: &Session, format: Format, command: Binding) -> Done {
    let on = On::new(session, format, &BINDING);
    match command {
        Binding::Create {
            principal,
            role,
            scope,
            expires_at,
            condition,
        } => {
            let body = Body::default()
                .set("principal", principal)
                .set("role", role)
                .set("scope", scope)
                .maybe("condition", condition.into_json())
                .maybe("expires_at", time(expires_at));
            on.create(body).await
        }
        Binding::Get { id } => on.get(&id).await,
        Binding::List {
            principal,
            scope,
            role,
            page,
        } => {
            let filters = [("principal", principal), ("scope", scope), ("role", role)];
            on.list(&filters, page).await
        }
        Binding::Update { id, end, only } => {
            let body = Body::default().maybe("expires_at", end.value());
            on.update(&id, body, &only).await
        }
        Binding::Delete { id, only } => on.delete(&id, &only).await,
    }
}

const DENY: Kind = Kind {
    path: "deny-rules",
    plural: "deny_rules",
    columns: &["id", "principal", "scope", "permissions", "condition"],
};

pub(crate) async fn deny(session: &Session, format: Format, command: Deny) -> Done {
    let on = On::new(session, format, &DENY);
    match command {
        Deny::Create {
            scope,
            permissions,
            principal,
            condition,
        } => {
            let body = Body::default()
                .set("scope", scope)
                .set("permissions", permissions)
                .maybe("principal", principal)
                .maybe("condition", condition.into_json());
            on.create(body).await
        }
        Deny::Get { id } => on.get(&id).await,
        Deny::List {
            principal,
            scope,
            page,
        } => {
            let filters = [("principal", principal), ("scope", scope)];
            on.list(&filters, page).await
        }
        Deny::Delete { id, only } => on.delete(&id, &only).await,
    }
}

impl Condition {
    /// As IAM takes it; nothing, if there is none.
    fn into_json(self) -> Option<Value> {
        let body = Body::default()
            .maybe("not_before", time(self.not_before))
            .maybe("not_after", time(self.not_after))
            .list("source_networks", self.source_networks);
        (!body.is_empty()).then(|| body.into())
    }
}

const KEY: Kind = Kind {
    path: "signing-keys",
    plural: "keys",
    columns: &["kid", "state", "dev", "not_before", "not_after"],
};

/// There are few, so they are listed without pages.
pub(crate) async fn key(session: &Session, format: Format, command: Key) -> Done {
    let on = On::new(session, format, &KEY);
    match command {
        Key::List => {
            let path = ["api", "v1", KEY.path];
            let answer = session.iam()?.call(Call::get(&path)).await?;
            match (format, &answer[KEY.plural]) {
                (Format::Human, Value::Array(keys)) => output::records(KEY.columns, keys),
                (Format::Human, _) => output::fields(&answer),
                (Format::Data(notation), _) => output::data(notation, &answer),
            }
        }
        Key::Rotate { signs_after } => {
            let body = Body::default().maybe("signs_after_seconds", signs_after);
            let path = ["api", "v1", KEY.path];
            on.show(Call::post(&path, body.into())).await
        }
        Key::End { kid } => {
            let path = ["api", "v1", KEY.path, &kid];
            on.show(Call::new(Method::DELETE, &path)).await
        }
    }
}

/// A time as JSON has it.
fn time(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_string())
}
