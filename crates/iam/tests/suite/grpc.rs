//! `photon.iam.v1`: every service from create to delete, what is refused, and that REST shows the same.

use photon_proto::{IAM_FILE_DESCRIPTOR_SET, photon::iam::v1 as pb};
use photon_testkit::{InProcessIam, enforcing_iam, in_process_iam};
use prost::Message as _;
use prost_types::{FileDescriptorSet, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{
    Code, Request, Response, Status,
    codegen::{InterceptedService, http::uri::PathAndQuery},
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
    transport::Channel,
};

/// Puts a token into every request.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

type Guarded = InterceptedService<Channel, Bearer>;

/// A caller of both doors.
#[derive(Clone)]
struct Caller {
    channel: Channel,
    http: reqwest::Client,
    rest: String,
    token: Option<String>,
}

/// A client for each service of the proto.
macro_rules! clients {
    ($($name:ident: $module:ident::$client:ident),* $(,)?) => {$(
        fn $name(&self) -> pb::$module::$client<Guarded> {
            pb::$module::$client::new(self.guarded())
        }
    )*};
}

impl Caller {
    async fn of(iam: &InProcessIam) -> Self {
        let channel = Channel::from_shared(iam.grpc_url()).unwrap();
        Self {
            channel: channel.connect().await.unwrap(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            rest: iam.rest_url(),
            token: None,
        }
    }

    fn with(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    fn guarded(&self) -> Guarded {
        let bearer = |token: &String| format!("Bearer {token}").parse().unwrap();
        InterceptedService::new(
            self.channel.clone(),
            Bearer(self.token.as_ref().map(bearer)),
        )
    }

    clients! {
        tokens: tokens_client::TokensClient,
        orgs: orgs_client::OrgsClient,
        projects: projects_client::ProjectsClient,
        users: users_client::UsersClient,
        groups: groups_client::GroupsClient,
        service_accounts: service_accounts_client::ServiceAccountsClient,
        credentials: credentials_client::CredentialsClient,
        roles: roles_client::RolesClient,
        bindings: bindings_client::BindingsClient,
        deny_rules: deny_rules_client::DenyRulesClient,
        access: access_client::AccessClient,
        keys: keys_client::KeysClient,
    }

    /// The content of a good REST answer.
    async fn rest(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self.http.request(method, format!("{}{path}", self.rest));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let mut answer: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{path}: {answer}");
        answer["data"].take()
    }

    async fn seen(&self, path: &str) -> Value {
        self.rest(Method::GET, &format!("/api/v1/{path}"), None)
            .await
    }

    /// Somebody with a role somewhere, by a token that this caller gets.
    async fn somebody(&self, user: &str, role: &str, scope: &str) -> Self {
        let made = pb::CreateUserRequest {
            id: user.to_owned(),
            name: user.to_owned(),
            ..Default::default()
        };
        self.users().create(made).await.unwrap();
        self.bind(&format!("user:{user}"), role, scope).await;
        let id = scope.rsplit(':').next().unwrap();
        self.with(&self.token_for(user, id).await)
    }

    async fn bind(&self, principal: &str, role: &str, scope: &str) -> pb::Binding {
        let binding = pb::CreateBindingRequest {
            principal: principal.to_owned(),
            role: role.to_owned(),
            scope: scope.to_owned(),
            ..Default::default()
        };
        self.bindings().create(binding).await.unwrap().into_inner()
    }

    async fn token_for(&self, user: &str, scope: &str) -> String {
        let asked = pb::IssueTokenRequest {
            principal_id: user.to_owned(),
            scope_id: scope.to_owned(),
            ..Default::default()
        };
        self.tokens().issue(asked).await.unwrap().into_inner().token
    }

    async fn org(&self, id: &str) -> pb::Org {
        let org = pb::CreateOrgRequest {
            id: id.to_owned(),
            name: id.to_owned(),
        };
        self.orgs().create(org).await.unwrap().into_inner()
    }

    async fn project(&self, id: &str, org: &str) -> pb::Project {
        let project = pb::CreateProjectRequest {
            id: id.to_owned(),
            name: id.to_owned(),
            org_id: org.to_owned(),
        };
        self.projects().create(project).await.unwrap().into_inner()
    }
}

/// An enforcing IAM and its admin.
async fn enforcing() -> (InProcessIam, Caller) {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let nobody = Caller::of(&iam).await;
    let key = iam.admin_key().unwrap().to_owned();
    let asked = pb::IssueTokenRequest {
        principal_id: "admin".to_owned(),
        scope_id: "system".to_owned(),
        proof: Some(pb::issue_token_request::Proof::ApiKey(key)),
        ..Default::default()
    };
    let issued = nobody.tokens().issue(asked).await.unwrap().into_inner();
    let admin = nobody.with(&issued.token);
    (iam, admin)
}

/// What a refusal says: gRPC's code, ours, and the field.
fn refusal<T: std::fmt::Debug>(outcome: Result<Response<T>, Status>) -> (Code, String, String) {
    let status = outcome.unwrap_err();
    let text = |key: &str| {
        let value = status.metadata().get(key);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    let details: Value = serde_json::from_str(&text("photon-error-details")).unwrap_or_default();
    let field = details["field"].as_str().unwrap_or_default().to_owned();
    (status.code(), text("photon-error-code"), field)
}

fn said(code: Code, name: &str, field: &str) -> (Code, String, String) {
    (code, name.to_owned(), field.to_owned())
}

fn rfc3339(time: Option<Timestamp>) -> Value {
    let time = time.unwrap();
    let time = jiff::Timestamp::new(time.seconds, time.nanos).unwrap();
    json!(time)
}

/// The same moment, however many digits REST shows of it.
fn same_time(shown: &Value, time: Option<Timestamp>) {
    let parse = |value: &Value| -> jiff::Timestamp { value.as_str().unwrap().parse().unwrap() };
    let (shown, time) = (parse(shown), parse(&rfc3339(time)));
    assert_eq!(shown.as_second(), time.as_second());
}

#[tokio::test]
async fn orgs_and_projects() {
    let (iam, admin) = Box::pin(enforcing()).await;
    let org = admin.org("acme").await;
    assert!(!org.implicit && !org.disabled && org.revision > 0);
    let seen = admin.seen("orgs/acme").await;
    assert_eq!(
        (&seen["id"], &seen["name"], &seen["revision"]),
        (&json!("acme"), &json!("acme"), &json!(org.revision))
    );
    same_time(&seen["created_at"], org.created_at);

    let update = |name: Option<&str>, revision| pb::UpdateOrgRequest {
        id: "acme".to_owned(),
        name: name.map(str::to_owned),
        disabled: None,
        revision,
    };
    let renamed = admin
        .orgs()
        .update(update(Some("Acme"), Some(org.revision)))
        .await;
    let renamed = renamed.unwrap().into_inner();
    assert_eq!(renamed.name, "Acme");
    let stale = admin
        .orgs()
        .update(update(Some("Other"), Some(org.revision)))
        .await;
    assert_eq!(refusal(stale), said(Code::Aborted, "CONFLICT", ""));
    assert_eq!(admin.seen("orgs/acme").await["name"], "Acme");

    // Made over REST, seen here.
    let body = json!({"id": "shop", "name": "Web shop", "org_id": "acme"});
    let made = admin
        .rest(Method::POST, "/api/v1/projects", Some(body))
        .await;
    let id = || pb::GetProjectRequest {
        id: "shop".to_owned(),
    };
    let shop = admin.projects().get(id()).await.unwrap().into_inner();
    assert_eq!(
        (shop.name.as_str(), shop.org_id.as_str()),
        ("Web shop", "acme")
    );
    assert_eq!(made["revision"], shop.revision);
    let taken = pb::CreateProjectRequest {
        name: "Web shop".to_owned(),
        org_id: "acme".to_owned(),
        ..Default::default()
    };
    let taken = admin.projects().create(taken).await;
    assert_eq!(refusal(taken).0, Code::AlreadyExists);
    admin.project("lab", "acme").await;

    // Pages follow each other, and say what REST's do.
    let page = |page_token: String| pb::ListProjectsRequest {
        org_id: "acme".to_owned(),
        limit: 1,
        page_token,
    };
    let first = admin
        .projects()
        .list(page(String::new()))
        .await
        .unwrap()
        .into_inner();
    let second = page(first.next_page_token.clone());
    let second = admin.projects().list(second).await.unwrap().into_inner();
    assert_eq!(
        (
            first.projects[0].id.as_str(),
            second.projects[0].id.as_str()
        ),
        ("lab", "shop")
    );
    assert_eq!(second.next_page_token, "");
    let rest = admin.seen("projects?org_id=acme&limit=1").await;
    assert_eq!(rest["projects"][0]["id"], "lab");
    assert_eq!(rest["next_page_token"], first.next_page_token.as_str());

    let delete = || pb::DeleteOrgRequest {
        id: "acme".to_owned(),
        revision: None,
    };
    let used = admin.orgs().delete(delete()).await;
    assert_eq!(refusal(used).1, "FAILED_PRECONDITION");
    for id in ["shop", "lab"] {
        let gone = pb::DeleteProjectRequest {
            id: id.to_owned(),
            revision: None,
        };
        assert!(
            admin
                .projects()
                .delete(gone)
                .await
                .unwrap()
                .into_inner()
                .revision
                > 0
        );
    }
    admin.orgs().delete(delete()).await.unwrap();
    let gone = admin.projects().get(id()).await;
    assert_eq!(refusal(gone), said(Code::NotFound, "NOT_FOUND", ""));
    iam.stop().await;
}

#[tokio::test]
async fn users_groups_and_service_accounts() {
    let (iam, admin) = Box::pin(enforcing()).await;
    admin.org("acme").await;
    admin.project("shop", "acme").await;

    let new = pb::CreateUserRequest {
        id: "bob".to_owned(),
        name: "Bob Smith".to_owned(),
        email: "bob@example.com".to_owned(),
        r#type: "user".to_owned(),
        org_id: "acme".to_owned(),
    };
    let bob = admin
        .users()
        .create(new.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((bob.r#type.as_str(), bob.org_id.as_str()), ("user", "acme"));
    let again = admin.users().create(new.clone()).await;
    assert_eq!(refusal(again).0, Code::AlreadyExists);
    let robot = pb::CreateUserRequest {
        id: "robot".to_owned(),
        r#type: "robot".to_owned(),
        ..new
    };
    let robot = admin.users().create(robot).await;
    assert_eq!(
        refusal(robot),
        said(Code::InvalidArgument, "VALIDATION_ERROR", "type")
    );
    let seen = admin.seen("users/bob").await;
    for (field, value) in [
        ("id", bob.id.as_str()),
        ("name", "Bob Smith"),
        ("email", "bob@example.com"),
        ("type", "user"),
        ("org_id", "acme"),
    ] {
        assert_eq!(seen[field], value, "{field}: {seen}");
    }
    let change = pb::UpdateUserRequest {
        id: "bob".to_owned(),
        email: Some(String::new()),
        disabled: Some(true),
        ..Default::default()
    };
    let bob = admin.users().update(change).await.unwrap().into_inner();
    assert!(bob.disabled && bob.email.is_empty() && bob.name == "Bob Smith");
    let set = pb::SetPasswordRequest {
        id: "bob".to_owned(),
        password: "correct horse battery".to_owned(),
        current: String::new(),
    };
    admin.users().set_password(set).await.unwrap();
    let of = pb::ListCredentialsRequest {
        principal: "user:bob".to_owned(),
        ..Default::default()
    };
    let passwords = admin.credentials().list(of).await.unwrap().into_inner();
    assert_eq!(passwords.credentials[0].kind, "password");

    // Who is disabled is put into nothing.
    let idle = pb::CreateGroupRequest {
        id: "idle".to_owned(),
        members: vec!["user:bob".to_owned()],
        ..Default::default()
    };
    let idle = admin.groups().create(idle).await;
    assert_eq!(refusal(idle).2, "members[0]");
    let enabled = pb::UpdateUserRequest {
        id: "bob".to_owned(),
        disabled: Some(false),
        ..Default::default()
    };
    admin.users().update(enabled).await.unwrap();

    let group = |id: &str, members: &[&str]| pb::CreateGroupRequest {
        id: id.to_owned(),
        org_id: "acme".to_owned(),
        title: "Operators".to_owned(),
        members: members.iter().map(|member| (*member).to_owned()).collect(),
    };
    admin
        .groups()
        .create(group("ops", &["user:bob"]))
        .await
        .unwrap();
    admin
        .groups()
        .create(group("all", &["group:ops"]))
        .await
        .unwrap();
    let member = |id: &str, member: &str| pb::GroupMemberRequest {
        id: id.to_owned(),
        member: member.to_owned(),
    };
    let circle = admin.groups().add_member(member("ops", "group:all")).await;
    assert_eq!(refusal(circle).1, "VALIDATION_ERROR");
    let ops = admin.groups().add_member(member("ops", "user:admin")).await;
    assert_eq!(ops.unwrap().into_inner().members.len(), 2);
    let ops = admin
        .groups()
        .remove_member(member("ops", "user:bob"))
        .await;
    assert_eq!(ops.unwrap().into_inner().members, ["user:admin"]);
    assert_eq!(
        admin.seen("groups/ops").await["members"],
        json!(["user:admin"])
    );
    let wrong = admin.groups().add_member(member("ops", "bob")).await;
    assert_eq!(refusal(wrong).2, "member");

    let account = pb::CreateServiceAccountRequest {
        id: "build".to_owned(),
        project_id: "shop".to_owned(),
        name: "Builds".to_owned(),
    };
    admin.service_accounts().create(account).await.unwrap();
    let change = pb::UpdateServiceAccountRequest {
        id: "build".to_owned(),
        disabled: Some(true),
        ..Default::default()
    };
    let build = admin
        .service_accounts()
        .update(change)
        .await
        .unwrap()
        .into_inner();
    let seen = admin.seen("service-accounts/build").await;
    assert_eq!(
        (&seen["project_id"], &seen["disabled"], &seen["revision"]),
        (&json!("shop"), &json!(true), &json!(build.revision))
    );
    let of = pb::ListServiceAccountsRequest {
        project_id: "shop".to_owned(),
        ..Default::default()
    };
    let accounts = admin
        .service_accounts()
        .list(of)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(accounts.service_accounts, [build]);

    let gone = pb::DeleteServiceAccountRequest {
        id: "build".to_owned(),
        revision: None,
    };
    admin.service_accounts().delete(gone.clone()).await.unwrap();
    let again = admin.service_accounts().delete(gone).await;
    assert_eq!(refusal(again).0, Code::NotFound);
    for id in ["all", "ops"] {
        let gone = pb::DeleteGroupRequest {
            id: id.to_owned(),
            revision: None,
        };
        admin.groups().delete(gone).await.unwrap();
    }
    let bob = || pb::DeleteUserRequest {
        id: "bob".to_owned(),
        revision: None,
    };
    admin.users().delete(bob()).await.unwrap();
    assert_eq!(refusal(admin.users().delete(bob()).await).0, Code::NotFound);
    iam.stop().await;
}

#[tokio::test]
async fn roles_bindings_deny_rules_and_decisions() {
    let (iam, admin) = Box::pin(enforcing()).await;
    admin.org("acme").await;
    admin.project("shop", "acme").await;
    let alice = admin.somebody("alice", "viewer", "project:shop").await;

    let role = pb::CreateRoleRequest {
        id: "vm-starter".to_owned(),
        org_id: "acme".to_owned(),
        title: "Starts VMs".to_owned(),
        permissions: vec!["plasmavmc.vms.start".to_owned()],
    };
    let role = admin.roles().create(role).await.unwrap().into_inner();
    assert!(!role.built_in && role.permissions == ["plasmavmc.vms.start"]);
    let change = pb::UpdateRoleRequest {
        id: "vm-starter".to_owned(),
        permissions: vec![
            "plasmavmc.vms.start".to_owned(),
            "plasmavmc.vms.stop".to_owned(),
        ],
        ..Default::default()
    };
    let role = admin.roles().update(change).await.unwrap().into_inner();
    let seen = admin.seen("roles/vm-starter").await;
    assert_eq!(seen["permissions"], json!(role.permissions));
    let viewer = pb::GetRoleRequest {
        id: "viewer".to_owned(),
    };
    assert!(
        admin
            .roles()
            .get(viewer)
            .await
            .unwrap()
            .into_inner()
            .built_in
    );
    let all = admin
        .roles()
        .list(pb::ListRolesRequest::default())
        .await
        .unwrap();
    let all = all.into_inner().roles;
    assert!(all[0].built_in && all.iter().any(|other| other.id == "vm-starter"));
    let wrong = pb::CreateRoleRequest {
        id: "wrong".to_owned(),
        permissions: vec!["plasmavmc.vms.get".to_owned(), "everything".to_owned()],
        ..Default::default()
    };
    let wrong = admin.roles().create(wrong).await;
    assert_eq!(
        refusal(wrong),
        said(Code::InvalidArgument, "VALIDATION_ERROR", "permissions[1]")
    );

    let start = |principal: &str, min_revision| pb::CheckRequest {
        principal: principal.to_owned(),
        permission: "plasmavmc.vms.start".to_owned(),
        scope: "project:shop".to_owned(),
        min_revision,
        ..Default::default()
    };
    let denied = alice
        .access()
        .check(start("", 0))
        .await
        .unwrap()
        .into_inner();
    assert!(!denied.allowed && !denied.reason.is_empty());
    let end = jiff::Timestamp::now().as_second() + 3600;
    let binding = pb::CreateBindingRequest {
        principal: "user:alice".to_owned(),
        role: "vm-starter".to_owned(),
        scope: "project:shop".to_owned(),
        condition: Some(pb::Condition {
            window: Some(pb::WeeklyWindow {
                days: Vec::new(),
                from: "00:00".to_owned(),
                until: "24:00".to_owned(),
            }),
            ..Default::default()
        }),
        expires_at: Some(Timestamp {
            seconds: end,
            nanos: 0,
        }),
    };
    let given = admin
        .bindings()
        .create(binding.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(given.created_by, "user:admin");
    let twice = admin.bindings().create(binding).await;
    assert_eq!(refusal(twice).0, Code::AlreadyExists);
    let seen = admin.seen(&format!("bindings/{}", given.id)).await;
    assert_eq!(
        (
            &seen["principal"],
            &seen["role"],
            &seen["scope"],
            &seen["condition"]["window"]["until"]
        ),
        (
            &json!("user:alice"),
            &json!("vm-starter"),
            &json!("project:shop"),
            &json!("24:00")
        )
    );
    same_time(&seen["expires_at"], given.expires_at);
    let allowed = alice
        .access()
        .check(start("", given.revision))
        .await
        .unwrap()
        .into_inner();
    assert!(allowed.allowed && allowed.revision >= given.revision);
    assert_eq!(allowed.granted_by, given.id);
    // About others it takes a permission.
    let about = alice.access().check(start("user:admin", 0)).await;
    assert_eq!(refusal(about).0, Code::PermissionDenied);

    let forever = pb::UpdateBindingRequest {
        id: given.id.clone(),
        never_expires: true,
        ..Default::default()
    };
    let forever = admin.bindings().update(forever).await.unwrap().into_inner();
    assert_eq!(forever.expires_at, None);
    let both = pb::UpdateBindingRequest {
        id: given.id.clone(),
        never_expires: true,
        expires_at: given.expires_at,
        revision: None,
    };
    assert_eq!(refusal(admin.bindings().update(both).await).2, "expires_at");
    let of = pb::ListBindingsRequest {
        principal: "user:alice".to_owned(),
        role: "vm-starter".to_owned(),
        ..Default::default()
    };
    let listed = admin.bindings().list(of).await.unwrap().into_inner();
    assert_eq!(listed.bindings, [forever]);

    let rule = pb::CreateDenyRuleRequest {
        permissions: vec!["plasmavmc.*.start".to_owned()],
        scope: "org:acme".to_owned(),
        ..Default::default()
    };
    let empty = pb::CreateDenyRuleRequest {
        condition: Some(pb::Condition::default()),
        ..rule.clone()
    };
    assert_eq!(
        refusal(admin.deny_rules().create(empty).await),
        said(Code::InvalidArgument, "VALIDATION_ERROR", "condition")
    );
    let rule = admin.deny_rules().create(rule).await.unwrap().into_inner();
    let batch = |min_revision| pb::BatchCheckRequest {
        checks: vec![
            start("user:alice", 0),
            pb::CheckRequest {
                permission: "plasmavmc.vms.stop".to_owned(),
                ..start("user:alice", 0)
            },
        ],
        min_revision,
    };
    let answers = admin
        .access()
        .batch_check(batch(rule.revision))
        .await
        .unwrap()
        .into_inner();
    let allowed: Vec<bool> = answers
        .results
        .iter()
        .map(|answer| answer.allowed)
        .collect();
    assert_eq!(allowed, [false, true]);
    assert!(answers.revision >= rule.revision);
    let seen = admin.seen("deny-rules").await;
    assert_eq!(seen["deny_rules"][0]["id"], rule.id.as_str());
    let gone = pb::DeleteDenyRuleRequest {
        id: rule.id.clone(),
        revision: Some(rule.revision),
    };
    let gone = admin.deny_rules().delete(gone).await.unwrap().into_inner();
    let answers = admin
        .access()
        .batch_check(batch(gone.revision))
        .await
        .unwrap()
        .into_inner();
    assert!(answers.results[0].allowed);
    let get = pb::GetDenyRuleRequest { id: rule.id };
    assert_eq!(refusal(admin.deny_rules().get(get).await).0, Code::NotFound);
    let listed = admin
        .deny_rules()
        .list(pb::ListDenyRulesRequest::default())
        .await;
    assert!(listed.unwrap().into_inner().deny_rules.is_empty());

    let mut wrong = batch(0);
    wrong.checks[1].scope = "shop".to_owned();
    assert_eq!(
        refusal(admin.access().batch_check(wrong).await).2,
        "checks[1].scope"
    );
    let role = || pb::DeleteRoleRequest {
        id: "vm-starter".to_owned(),
        revision: None,
    };
    assert_eq!(
        refusal(admin.roles().delete(role()).await).1,
        "FAILED_PRECONDITION"
    );
    let gone = pb::DeleteBindingRequest {
        id: given.id,
        revision: None,
    };
    admin.bindings().delete(gone).await.unwrap();
    admin.roles().delete(role()).await.unwrap();
    iam.stop().await;
}

#[tokio::test]
async fn credentials_tokens_and_keys() {
    let (iam, admin) = Box::pin(enforcing()).await;
    admin.org("acme").await;
    admin.project("shop", "acme").await;
    let account = pb::CreateServiceAccountRequest {
        id: "build".to_owned(),
        project_id: "shop".to_owned(),
        name: "Builds".to_owned(),
    };
    admin.service_accounts().create(account).await.unwrap();
    admin
        .bind("service_account:build", "editor", "project:shop")
        .await;

    let key = pb::CreateCredentialRequest {
        principal: "service_account:build".to_owned(),
        kind: "api_key".to_owned(),
        label: "CI".to_owned(),
        ..Default::default()
    };
    let made = admin
        .credentials()
        .create(key.clone())
        .await
        .unwrap()
        .into_inner();
    let (credential, secret) = (made.credential.unwrap(), made.secret);
    assert!(secret.starts_with("phk_"), "an API key is shown once");
    let mixed = pb::CreateCredentialRequest {
        password: "x".to_owned(),
        ..key
    };
    assert_eq!(
        refusal(admin.credentials().create(mixed).await).2,
        "password"
    );
    let get = || pb::GetCredentialRequest {
        id: credential.id.clone(),
    };
    let shown = admin.credentials().get(get()).await.unwrap().into_inner();
    assert_eq!(
        (shown.label.as_str(), shown.kind.as_str()),
        ("CI", "api_key")
    );
    let seen = admin.seen(&format!("credentials/{}", credential.id)).await;
    assert_eq!(seen["revision"], shown.revision);
    assert!(!seen.to_string().contains(&secret[8..]), "never again");

    let ask = |secret: &str| pb::IssueTokenRequest {
        principal_id: "build".to_owned(),
        principal_type: "service_account".to_owned(),
        scope_id: "shop".to_owned(),
        ttl_seconds: 600,
        proof: Some(pb::issue_token_request::Proof::ApiKey(secret.to_owned())),
    };
    let nobody = Caller {
        token: None,
        ..admin.clone()
    };
    let issued = nobody
        .tokens()
        .issue(ask(&secret))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(issued.token_type, "Bearer");
    let wrong = format!("{}x", &secret[..secret.len() - 1]);
    let wrong = nobody.tokens().issue(ask(&wrong)).await;
    assert_eq!(refusal(wrong).1, "UNAUTHENTICATED");
    for (broken, field) in [
        (
            pb::IssueTokenRequest {
                principal_id: String::new(),
                ..ask("x")
            },
            "principal_id",
        ),
        (
            pb::IssueTokenRequest {
                principal_type: "robot".to_owned(),
                ..ask("x")
            },
            "principal_type",
        ),
        (
            pb::IssueTokenRequest {
                scope_id: "A/b".to_owned(),
                ..ask("x")
            },
            "scope_id",
        ),
        (
            pb::IssueTokenRequest {
                ttl_seconds: -1,
                ..ask("x")
            },
            "ttl_seconds",
        ),
    ] {
        assert_eq!(refusal(nobody.tokens().issue(broken).await).2, field);
    }

    let verify = |token: &str| pb::VerifyTokenRequest {
        token: token.to_owned(),
    };
    let said = admin
        .tokens()
        .verify(verify(&issued.token))
        .await
        .unwrap()
        .into_inner();
    assert!(said.valid);
    assert_eq!(
        (
            said.principal_id.as_str(),
            said.principal_type.as_str(),
            said.scope_id.as_str()
        ),
        ("build", "service_account", "shop")
    );
    assert_eq!(
        (said.scope_type.as_str(), said.org_id.as_str()),
        ("project", "acme")
    );
    assert_eq!(said.expires_at, issued.expires_at);
    let body = json!({"token": issued.token});
    let seen = admin
        .rest(Method::POST, "/api/v1/auth/verify", Some(body))
        .await;
    for (field, value) in [
        ("principal_id", &said.principal_id),
        ("scope_id", &said.scope_id),
        ("org_id", &said.org_id),
        ("token_id", &said.token_id),
    ] {
        assert_eq!(seen[field], value.as_str(), "{field}");
    }
    let revoke = pb::RevokeTokenRequest {
        what: Some(pb::revoke_token_request::What::Token(issued.token.clone())),
    };
    assert!(
        admin
            .tokens()
            .revoke(revoke)
            .await
            .unwrap()
            .into_inner()
            .revoked
    );
    let said = admin
        .tokens()
        .verify(verify(&issued.token))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(said, pb::VerifyTokenResponse::default());
    let revoked = admin.with(&issued.token);
    let refused = revoked.orgs().list(pb::ListOrgsRequest::default()).await;
    assert_eq!(refusal(refused).0, Code::Unauthenticated);
    let nothing = admin
        .tokens()
        .revoke(pb::RevokeTokenRequest::default())
        .await;
    assert_eq!(refusal(nothing).2, "token");

    let off = pb::UpdateCredentialRequest {
        id: credential.id.clone(),
        disabled: Some(true),
        ..Default::default()
    };
    assert!(
        admin
            .credentials()
            .update(off)
            .await
            .unwrap()
            .into_inner()
            .disabled
    );
    let refused = nobody.tokens().issue(ask(&secret)).await;
    assert_eq!(refusal(refused).0, Code::Unauthenticated);
    let gone = pb::DeleteCredentialRequest {
        id: credential.id.clone(),
        revision: None,
    };
    admin.credentials().delete(gone).await.unwrap();
    assert_eq!(
        refusal(admin.credentials().get(get()).await).0,
        Code::NotFound
    );

    let keys = admin
        .keys()
        .list(pb::ListKeysRequest {})
        .await
        .unwrap()
        .into_inner()
        .keys;
    let jwk: Value = serde_json::from_str(&keys[0].jwk).unwrap();
    assert_eq!((&jwk["kty"], &jwk["d"]), (&json!("EC"), &Value::Null));
    let new = admin
        .keys()
        .rotate(pb::RotateKeyRequest::default())
        .await
        .unwrap()
        .into_inner();
    let seen = admin.seen("signing-keys").await;
    let kids: Vec<&Value> = seen["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["kid"])
        .collect();
    assert!(kids.contains(&&json!(new.kid)) && kids.contains(&&json!(keys[0].kid)));
    iam.stop().await;
}

/// Every method there is, with an empty message.
async fn call(caller: &Caller, method: &str) -> Result<Response<()>, Status> {
    let mut grpc = tonic::client::Grpc::new(caller.guarded());
    grpc.ready().await.unwrap();
    let path: PathAndQuery = format!("/{method}").parse().unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    grpc.unary(Request::new(()), path, codec).await
}

fn methods() -> Vec<String> {
    let set = FileDescriptorSet::decode(IAM_FILE_DESCRIPTOR_SET).unwrap();
    let ours = set
        .file
        .iter()
        .filter(|file| file.package() == "photon.iam.v1");
    let of = |service: &prost_types::ServiceDescriptorProto| -> Vec<String> {
        let name = service.name().to_owned();
        let methods = service.method.iter();
        methods
            .map(|method| format!("photon.iam.v1.{name}/{}", method.name()))
            .collect()
    };
    ours.flat_map(|file| file.service.iter().flat_map(of))
        .collect()
}

#[tokio::test]
async fn nobody_and_strangers_get_nothing() {
    let (iam, admin) = Box::pin(enforcing()).await;
    let nobody = Caller {
        token: None,
        ..admin.clone()
    };
    let forged = {
        let token = admin.token.clone().unwrap();
        let (signed, _) = token.rsplit_once('.').unwrap();
        nobody.with(&format!("{signed}.{}", "A".repeat(86)))
    };
    let methods = methods();
    assert!(methods.len() > 50, "{methods:?}");
    for method in &methods {
        for (who, caller) in [("nobody", &nobody), ("a forger", &forged)] {
            let refused = call(caller, method).await.unwrap_err();
            let expected = match method.as_str() {
                "photon.iam.v1.Tokens/Issue" => Code::InvalidArgument,
                _ => Code::Unauthenticated,
            };
            assert_eq!(refused.code(), expected, "{method} by {who}: {refused}");
        }
    }
    let missing = call(&admin, "photon.iam.v1.Orgs/Destroy")
        .await
        .unwrap_err();
    assert_eq!(missing.code(), Code::Unimplemented);

    for org in ["acme", "other"] {
        admin.org(org).await;
    }
    admin.project("shop", "acme").await;
    admin.project("elsewhere", "other").await;
    let secret = admin.bind("user:admin", "viewer", "project:shop").await;
    let stranger = admin
        .somebody("stranger", "editor", "project:elsewhere")
        .await;
    let id = |id: &str| pb::GetProjectRequest { id: id.to_owned() };
    let seen = stranger.projects().get(id("elsewhere")).await.unwrap();
    assert_eq!(seen.into_inner().id, "elsewhere");
    // What is not one's own is not there.
    assert_eq!(
        refusal(stranger.projects().get(id("shop")).await).0,
        Code::NotFound
    );
    let org = pb::GetOrgRequest {
        id: "acme".to_owned(),
    };
    assert_eq!(refusal(stranger.orgs().get(org).await).0, Code::NotFound);
    let user = pb::GetUserRequest {
        id: "admin".to_owned(),
    };
    assert_eq!(refusal(stranger.users().get(user).await).0, Code::NotFound);
    let binding = pb::DeleteBindingRequest {
        id: secret.id,
        revision: None,
    };
    assert_eq!(
        refusal(stranger.bindings().delete(binding).await).0,
        Code::NotFound
    );
    let all = stranger
        .projects()
        .list(pb::ListProjectsRequest::default())
        .await;
    let all: Vec<String> = all
        .unwrap()
        .into_inner()
        .projects
        .into_iter()
        .map(|one| one.id)
        .collect();
    assert_eq!(all, ["elsewhere"]);
    let new = pb::CreateOrgRequest {
        id: "mine".to_owned(),
        name: "Mine".to_owned(),
    };
    assert_eq!(
        refusal(stranger.orgs().create(new).await).0,
        Code::PermissionDenied
    );
    let keys = stranger
        .keys()
        .rotate(pb::RotateKeyRequest::default())
        .await;
    assert_eq!(refusal(keys).0, Code::PermissionDenied);
    // Nobody gives what they do not hold.
    let more = pb::CreateBindingRequest {
        principal: "user:stranger".to_owned(),
        role: "admin".to_owned(),
        scope: "project:elsewhere".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        refusal(stranger.bindings().create(more).await).0,
        Code::PermissionDenied
    );
    let other = pb::IssueTokenRequest {
        principal_id: "admin".to_owned(),
        scope_id: "system".to_owned(),
        ..Default::default()
    };
    let other = stranger.tokens().issue(other).await;
    assert_eq!(refusal(other).0, Code::PermissionDenied);
    iam.stop().await;
}

#[tokio::test]
async fn dev_mode_takes_what_comes() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let nobody = Caller::of(&iam).await;
    // As the guide has it: nobody has made this user or this project.
    let token = nobody.token_for("user-alice", "project-prod").await;
    let project = pb::GetProjectRequest {
        id: "project-prod".to_owned(),
    };
    let project = nobody.projects().get(project).await.unwrap().into_inner();
    assert!(project.implicit && project.org_id == "default");
    // What enforce would refuse is let through; a credential that is bad is not.
    let alice = nobody.with(&token);
    let org = pb::CreateOrgRequest {
        id: "acme".to_owned(),
        name: "Acme".to_owned(),
    };
    alice.orgs().create(org.clone()).await.unwrap();
    let forged = nobody.with("x.y.z");
    assert_eq!(
        refusal(forged.orgs().create(org).await).0,
        Code::Unauthenticated
    );
    let label = pb::CreateOrgRequest {
        id: "beta".to_owned(),
        name: String::new(),
    };
    let missing = nobody.orgs().create(label).await;
    assert_eq!(
        refusal(missing),
        said(Code::InvalidArgument, "VALIDATION_ERROR", "name")
    );
    for bad in ["A", "a/b", "..", &"x".repeat(10_000)] {
        let get = pb::GetOrgRequest { id: bad.to_owned() };
        assert_eq!(refusal(nobody.orgs().get(get).await).0, Code::NotFound);
    }
    iam.stop().await;
}

#[tokio::test]
async fn reflection_is_for_the_known_and_health_for_everybody() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let (iam, admin) = Box::pin(enforcing()).await;
    let nobody = Caller {
        token: None,
        ..admin.clone()
    };
    let mut health = HealthClient::new(nobody.channel.clone());
    health.check(HealthCheckRequest::default()).await.unwrap();

    let ask = || {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        Request::new(futures::stream::iter([request]))
    };
    let mut reflection = ServerReflectionClient::new(nobody.guarded());
    let refused = reflection.server_reflection_info(ask()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut reflection = ServerReflectionClient::new(admin.guarded());
    let mut answers = reflection
        .server_reflection_info(ask())
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("{answer:?}");
    };
    let names: Vec<String> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    assert!(
        names.contains(&"photon.iam.v1.Orgs".to_owned()),
        "{names:?}"
    );
    iam.stop().await;
}
