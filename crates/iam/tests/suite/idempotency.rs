//! Creates with an idempotency key, over both doors, of every resource.

use std::collections::BTreeSet;

use photon_auth::grpc::Needs;
use photon_proto::photon::iam::v1 as pb;
use photon_server::Mode;
use photon_store::idempotency::{Answer, Idempotency};
use photon_testkit::{InProcessIam, in_process::in_process_chainfire, in_process_iam};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Code, Request, transport::Channel};

use crate::{
    house::{self, House},
    instances,
};

const KEY: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";

impl House {
    /// A create with a key.
    async fn make(&self, path: &str, token: &str, key: &str, body: &Value) -> house::Answer {
        let mut request = self.http.post(format!("{}{path}", self.rest));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        self.send(request.header(KEY, key).json(body)).await
    }

    /// How many rows a list has.
    async fn count(&self, path: &str, plural: &str, token: &str) -> usize {
        let listed = self.get(path, token).await.data(200);
        listed[plural].as_array().unwrap().len()
    }
}

fn is_replay(answer: &house::Answer) -> bool {
    answer
        .headers
        .get(REPLAYED)
        .is_some_and(|value| value == "true")
}

/// Every route that creates, with something to make, in an order in which that is possible; and whether its answer has a
/// secret in it.
fn creates() -> Vec<(&'static str, Value, bool)> {
    let certificate = {
        let authority = photon_pki::Authority::create("other").unwrap();
        let leaf = authority.issue(&photon_pki::LeafRequest::client("bob"));
        leaf.unwrap().certificate_pem
    };
    vec![
        ("orgs", json!({"id": "acme", "name": "Acme"}), false),
        (
            "projects",
            json!({"id": "shop", "name": "Shop", "org_id": "acme"}),
            false,
        ),
        ("users", json!({"id": "bob", "name": "Bob"}), false),
        // Nothing of these is unique but the key.
        ("users", json!({"name": "Somebody"}), false),
        (
            "deny-rules",
            json!({"permissions": ["plasmavmc.vms.delete"], "scope": "project:shop"}),
            false,
        ),
        (
            "groups",
            json!({"id": "ops", "members": ["user:bob"]}),
            false,
        ),
        (
            "service-accounts",
            json!({"id": "build", "name": "Build", "project_id": "shop"}),
            false,
        ),
        (
            "roles",
            json!({"id": "looker", "permissions": ["plasmavmc.vms.get"]}),
            false,
        ),
        (
            "bindings",
            json!({"principal": "user:bob", "role": "viewer", "scope": "project:shop"}),
            false,
        ),
        (
            "credentials",
            json!({"kind": "password", "principal": "user:bob", "password": "correct horse battery"}),
            false,
        ),
        (
            "credentials",
            json!({"kind": "certificate", "principal": "user:bob", "certificate": certificate}),
            false,
        ),
        (
            "credentials",
            json!({"kind": "api_key", "principal": "user:bob"}),
            true,
        ),
        ("host-tokens", json!({"host": "h1"}), true),
        ("signing-keys", json!({"signs_after_seconds": 7200}), false),
    ]
}

#[tokio::test]
async fn every_create_is_done_once() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    let mut tried = BTreeSet::new();
    for (n, (resource, body, secret)) in creates().into_iter().enumerate() {
        let (path, key) = (format!("/api/v1/{resource}"), format!("key-{n}"));
        let first = house.make(&path, &admin, &key, &body).await;
        assert!(!is_replay(&first), "{resource}");
        let etag = first.headers.get("etag").cloned();
        let request_id = first.body["meta"]["request_id"].clone();
        let made = first.data(201);
        let again = house.make(&path, &admin, &key, &body).await;
        if secret {
            assert_eq!(again.error(409), "ALREADY_EXISTS", "{resource}");
            let details = &again.body["error"]["details"];
            assert_eq!(details["constraint"], "shown_once");
            let id = made["id"].as_str().unwrap();
            assert_eq!(details["resource"]["id"], id, "{details}");
        } else {
            assert!(is_replay(&again), "{resource}: {again:?}");
            assert_eq!(again.headers.get("etag").cloned(), etag, "{resource}");
            assert_ne!(again.body["meta"]["request_id"], request_id);
            assert_eq!(again.data(201), made, "{resource}");
        }
        tried.insert(path);
    }
    // Nothing was made twice: by the kinds whose things have no name of their own.
    for (path, plural, expected) in [
        ("/api/v1/users", "users", 3),
        ("/api/v1/deny-rules", "deny_rules", 1),
        ("/api/v1/credentials?principal=user:bob", "credentials", 3),
        ("/api/v1/signing-keys", "keys", 2),
    ] {
        assert_eq!(house.count(path, plural, &admin).await, expected, "{path}");
    }
    let declared = iam::rest::declared();
    let creating = declared.iter().filter(|route| route.creates);
    assert_eq!(
        tried,
        creating
            .map(|route| route.path.clone())
            .collect::<BTreeSet<_>>()
    );
    for (_, value) in house.everything_stored().await {
        assert!(!value.contains("phk_"), "{value}");
        assert!(!value.contains("correct horse"), "{value}");
    }
}

#[tokio::test]
async fn a_key_stands_for_one_request_of_one_caller() {
    let house = House::enforce().await;
    let admin = house.admin().await;
    house.furnish(&admin, "carol", "", "shop").await;
    house.bind(&admin, "user:carol", "admin", "org:acme").await;
    let carol = house
        .token("carol", "acme", ("password", &house::password_of("carol")))
        .await;
    let users = "/api/v1/users";
    let bob = json!({"id": "bob", "name": "Bob", "org_id": "acme"});
    house.make(users, &carol, "k", &bob).await.data(201);
    let other = json!({"id": "bob", "name": "Robert", "org_id": "acme"});
    let mismatch = house.make(users, &carol, "k", &other).await;
    assert_eq!(mismatch.error(422), "UNPROCESSABLE");
    assert_eq!(
        mismatch.body["error"]["details"],
        json!({"field": "Idempotency-Key", "constraint": "same_request"})
    );
    // The admin's key of the same text is another one.
    let theirs = house.make(users, &admin, "k", &bob).await;
    assert_eq!(theirs.error(409), "ALREADY_EXISTS");
    assert!(theirs.body["error"]["details"].is_null(), "{theirs:?}");
    // So is the same at another route.
    let group = json!({"id": "ops", "org_id": "acme"});
    let group = house.make("/api/v1/groups", &carol, "k", &group).await;
    assert!(!is_replay(&group));
    group.data(201);
    // Who lost the right to make it is not told of it again.
    assert!(is_replay(&house.make(users, &carol, "k", &bob).await));
    let bindings = house
        .get("/api/v1/bindings?principal=user:carol", &admin)
        .await
        .data(200);
    let id = bindings["bindings"][0]["id"].as_str().unwrap();
    let path = format!("/api/v1/bindings/{id}");
    house
        .call(Method::DELETE, &path, &admin, Value::Null)
        .await
        .data(200);
    let refused = house.make(users, &carol, "k", &bob).await;
    assert_eq!(refused.error(403), "FORBIDDEN");
    // A key that cannot be one.
    let bad = house.make(users, &admin, &"x".repeat(256), &bob).await;
    assert_eq!(bad.field(), "Idempotency-Key");
    // Where nothing is made nobody looks at it.
    let check = json!({"token": "x"});
    let path = "/api/v1/auth/verify";
    let ignored = house.make(path, &admin, &"x".repeat(256), &check).await;
    assert_eq!(ignored.data(200)["valid"], false);
}

/// What is made on the way, in dev mode an org and a project, is not what the key stands for.
#[tokio::test]
async fn in_dev_mode_the_key_stands_for_what_was_asked_for() {
    let house = House::of(Mode::Dev, |_| {}).await;
    let binding = json!({"principal": "user:bob", "role": "viewer", "scope": "project:shop"});
    let path = "/api/v1/bindings";
    let first = house.make(path, "", "k", &binding).await.data(201);
    let store = house.store().await;
    let (records, name) = only_record(&house, store).await;
    let found = records.find(&name).await.unwrap().unwrap();
    assert_eq!(found.making.kind, "binding");
    assert_eq!(found.making.id, first["id"]);
    assert!(is_replay(&house.make(path, "", "k", &binding).await));

    // A process that was killed after the change, before it had kept its answer.
    records.answer(&name, found, Answer::Pending).await.unwrap();
    let told = house.make(path, "", "k", &binding).await;
    assert_eq!(told.error(409), "CONFLICT");
    assert_eq!(told.headers["retry-after"], "1");
    let details = &told.body["error"]["details"];
    assert_eq!(details["constraint"], "in_flight");
    assert_eq!(
        details["resource"],
        json!({"kind": "binding", "id": first["id"]})
    );
    assert_eq!(house.count(path, "bindings", "").await, 1);

    // A day later it is forgotten, and the binding is what keeps another one from being made.
    let day_after = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(25);
    assert_eq!(records.sweep(day_after).await.unwrap(), 1);
    let told = house.make(path, "", "k", &binding).await;
    assert_eq!(told.error(409), "ALREADY_EXISTS");
    assert!(told.body["error"]["details"].is_null());
}

async fn only_record(house: &House, store: photon_store::Store) -> (Idempotency, String) {
    let root = "/photon/iam/idempotency/";
    let stored = house.everything_stored().await;
    let names: Vec<&str> = stored
        .iter()
        .filter_map(|(key, _)| key.strip_prefix(root))
        .collect();
    assert_eq!(names.len(), 1);
    (Idempotency::new(store, "iam"), names[0].to_owned())
}

/// The same over two processes at once, of a kind that nothing but the key makes unique.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_in_two_processes_one_is_made() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let endpoint = chainfire.endpoint();
    let (one, other) = (
        instances::over(&endpoint).await,
        instances::over(&endpoint).await,
    );
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |n: usize| {
        let address = [&one, &other][n % 2].rest_address();
        let body = json!({"permissions": ["plasmavmc.vms.delete"], "scope": "system"});
        let request = http.post(format!("http://{address}/api/v1/deny-rules"));
        let answer = request.header(KEY, "k").json(&body).send().await.unwrap();
        let (status, replay) = (
            answer.status().as_u16(),
            answer.headers().contains_key(REPLAYED),
        );
        let body: Value = answer.json().await.unwrap();
        (status, replay, body)
    };
    let all = futures::future::join_all((0..20).map(ask)).await;
    let first: Vec<_> = all
        .iter()
        .filter(|told| (told.0, told.1) == (201, false))
        .collect();
    assert_eq!(first.len(), 1, "{all:?}");
    for (status, replay, body) in &all {
        if *replay {
            assert_eq!(body["data"], first[0].2["data"]);
        } else if *status == 409 {
            assert_eq!(body["error"]["details"]["constraint"], "in_flight");
        } else {
            assert_eq!(*status, 201, "{body}");
        }
    }
    let (_, replay, body) = ask(1).await;
    assert!(replay);
    assert_eq!(body["data"], first[0].2["data"]);
    let listed = http.get(format!("http://{}/api/v1/deny-rules", one.rest_address()));
    let listed: Value = listed.send().await.unwrap().json().await.unwrap();
    assert_eq!(listed["data"]["deny_rules"].as_array().unwrap().len(), 1);
    one.stop().await;
    other.stop().await;
    chainfire.stop().await;
}

fn keyed<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(KEY, key.parse().unwrap());
    request
}

async fn channel(iam: &InProcessIam) -> Channel {
    let endpoint = Channel::from_shared(iam.grpc_url()).unwrap();
    endpoint.connect().await.unwrap()
}

#[tokio::test]
async fn grpc_alike() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let channel = channel(&iam).await;
    let mut users = pb::users_client::UsersClient::new(channel.clone());
    let named = |name: &str| pb::CreateUserRequest {
        name: name.to_owned(),
        ..Default::default()
    };
    let first = users.create(keyed("k", named("Bob"))).await.unwrap();
    assert!(!first.metadata().contains_key(REPLAYED));
    let again = users.create(keyed("k", named("Bob"))).await.unwrap();
    assert_eq!(again.metadata().get(REPLAYED).unwrap(), "true");
    let id = |answer: &tonic::Response<pb::User>| {
        let id = answer.metadata().get("x-request-id");
        id.unwrap().to_str().unwrap().to_owned()
    };
    assert_ne!(id(&first), id(&again));
    assert_eq!(first.into_inner(), again.into_inner());
    let listed = users.list(pb::ListUsersRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().users.len(), 1);

    let code = |status: &tonic::Status| {
        let code = status.metadata().get("photon-error-code");
        code.unwrap().to_str().unwrap().to_owned()
    };
    let details = |status: &tonic::Status| -> Value {
        let details = status.metadata().get("photon-error-details");
        serde_json::from_str(details.unwrap().to_str().unwrap()).unwrap()
    };
    let other = users.create(keyed("k", named("Eve"))).await.unwrap_err();
    assert_eq!(
        (other.code(), code(&other).as_str()),
        (Code::InvalidArgument, "UNPROCESSABLE")
    );
    let bad = users
        .create(keyed(&"x".repeat(256), named("Eve")))
        .await
        .unwrap_err();
    assert_eq!(details(&bad)["field"], "Idempotency-Key");
    // What is refused may be tried again.
    let nameless = users.create(keyed("l", named(""))).await.unwrap_err();
    assert_eq!(details(&nameless)["field"], "name");
    let named = users.create(keyed("l", named("Eve"))).await.unwrap();
    let eve = named.into_inner().id;

    let mut credentials = pb::credentials_client::CredentialsClient::new(channel);
    let key = || pb::CreateCredentialRequest {
        principal: format!("user:{eve}"),
        kind: "api_key".to_owned(),
        ..Default::default()
    };
    let made = credentials.create(keyed("k", key())).await.unwrap();
    let again = credentials.create(keyed("k", key())).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    let made = made.into_inner();
    assert_eq!(details(&again)["constraint"], "shown_once");
    assert_eq!(
        details(&again)["resource"]["id"],
        made.credential.unwrap().id.as_str()
    );
    iam.stop().await;
}

/// What creates over one door does so over the other, as far as it is there.
#[test]
fn both_doors_declare_the_same() {
    let needed = |needs: &Needs| match needs {
        Needs::Create(permission) => Some(permission.to_string()),
        Needs::Permission(_) | Needs::Open => None,
    };
    let grpc: BTreeSet<String> = iam::methods().values().filter_map(needed).collect();
    let declared = iam::rest::declared();
    let rest: BTreeSet<String> = declared
        .iter()
        .filter(|route| route.creates)
        .filter_map(|route| route.permission.as_ref().map(ToString::to_string))
        // Hosts join over REST only.
        .filter(|permission| permission != "iam.host_tokens.create")
        .collect();
    assert_eq!(grpc, rest);
}
