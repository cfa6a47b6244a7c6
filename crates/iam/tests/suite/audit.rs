//! Audit: one record a change, chained, listed, checked, exported.

use std::collections::HashSet;

use iam::{
    Config, Running, Sockets,
    audit::export::{export, verify_files},
};
use photon_store::{Store, audit::Trails};
use photon_testkit::{InProcessIam, enforcing_iam, in_process_chainfire, in_process_iam};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// A caller of one IAM.
struct Rest {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Rest {
    fn of(base: String) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base,
            token: None,
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, None).await
    }

    /// What a good GET answers.
    async fn read(&self, path: &str) -> Value {
        let (status, answer) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer["data"].clone()
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn make_user(&self, id: &str) -> Value {
        let body = json!({"id": id, "name": "A user", "email": "a@example.com", "type": "user"});
        let (status, answer) = self.post("/api/v1/users", body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer
    }

    /// The records about one thing in the system's trail.
    async fn records_of(&self, id: &str) -> Vec<Value> {
        let all = self.read("/api/v1/audit?scope=system").await["records"].take();
        let all: Vec<Value> = serde_json::from_value(all).unwrap();
        all.into_iter()
            .filter(|record| record["resource"]["id"] == id)
            .collect()
    }
}

/// The store under an IAM, past everything that IAM would say to it.
async fn store_of(iam: &mut InProcessIam) -> Store {
    let options = photon_store::Options::new([iam.chainfire().endpoint()]);
    Store::connect(options).await.unwrap()
}

#[tokio::test]
async fn every_change_leaves_one_record_and_nothing_else_does() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let rest = Rest::of(iam.rest_url());
    let made = rest.make_user("alice").await;
    let (status, refused) = rest
        .post(
            "/api/v1/users",
            json!({"id": "alice", "name": "Again", "email": "a@example.com", "type": "user"}),
        )
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    rest.read("/api/v1/users/alice").await;
    let renamed = json!({"name": "Alice"});
    let (status, changed) = rest
        .call(Method::PATCH, "/api/v1/users/alice", Some(renamed))
        .await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    let (status, gone) = rest.call(Method::DELETE, "/api/v1/users/alice", None).await;
    assert_eq!(status, StatusCode::OK, "{gone}");

    let records = rest.records_of("alice").await;
    let action = |record: &Value| record["action"].as_str().unwrap().to_owned();
    let (first, deletion) = records.split_at(2);
    assert_eq!(
        (action(&first[0]).as_str(), action(&first[1]).as_str()),
        ("iam.users.create", "iam.users.update"),
        "{records:#?}"
    );
    // A user is disabled before it is gone: a deletion may take several transactions, all of one request.
    assert!(!deletion.is_empty());
    for record in deletion {
        assert_eq!(action(record), "iam.users.delete");
        assert_eq!(record["request_id"], gone["meta"]["request_id"]);
    }
    // What it changed, and what only comes along is not said.
    let changed = |record: &Value| record["details"]["changed"].clone();
    let renamed = json!({"name": {"from": "A user", "to": "Alice"}});
    assert_eq!(changed(&first[1]), renamed);
    let disabled = json!({"disabled": {"from": false, "to": true}});
    assert_eq!(changed(&deletion[0]), disabled);
    let record = &records[0];
    assert_eq!(record["actor"], "dev-operator");
    assert_eq!(record["source"], "127.0.0.1");
    assert_eq!(record["answer"], "done");
    assert_eq!(record["resource"], json!({"kind": "user", "id": "alice"}));
    assert_eq!(record["request_id"], made["meta"]["request_id"]);
    assert_ne!(records[1]["request_id"], record["request_id"]);
    // Somebody who shows a token is named.
    let body = json!({"principal_id": "bob", "scope_id": "system"});
    let (status, token) = rest.post("/api/v1/auth/token", body).await;
    assert_eq!(status, StatusCode::OK, "{token}");
    let bob = Rest {
        token: Some(token["data"]["token"].as_str().unwrap().to_owned()),
        ..Rest::of(iam.rest_url())
    };
    bob.make_user("carol").await;
    let record = rest.records_of("carol").await.remove(0);
    assert_eq!(record["actor"], "user:bob");
    assert!(record["token_id"].is_string(), "{record}");
    iam.stop().await;
}

/// Who gained or lost what is in the record itself, not only that something changed.
#[tokio::test]
async fn memberships_and_permissions_are_told() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let rest = Rest::of(iam.rest_url());
    rest.make_user("alice").await;
    let (status, group) = rest
        .post(
            "/api/v1/groups",
            json!({"id": "ops", "members": ["user:alice"]}),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "{group}");
    rest.make_user("bob").await;
    for (method, member) in [(Method::PUT, "user/bob"), (Method::DELETE, "user/alice")] {
        let path = format!("/api/v1/groups/ops/members/{member}");
        let (status, answer) = rest.call(method, &path, None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let role = json!({"id": "looker", "permissions": ["a.b.get"]});
    let (status, answer) = rest.post("/api/v1/roles", role).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let more = json!({"permissions": ["a.b.get", "a.b.list"]});
    let (status, answer) = rest
        .call(Method::PATCH, "/api/v1/roles/looker", Some(more))
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");

    let details = |records: Vec<Value>| -> Vec<Value> {
        let details = records.iter().map(|record| record["details"].clone());
        details.collect()
    };
    let of_lists = |added: Value| json!({"added": added, "removed": []});
    assert_eq!(
        details(rest.records_of("ops").await),
        [
            json!({"changed": {"members": of_lists(json!(["user:alice"]))}}),
            json!({"added": "user:bob"}),
            json!({"removed": "user:alice"}),
        ]
    );
    assert_eq!(
        details(rest.records_of("looker").await),
        [
            json!({"changed": {"permissions": of_lists(json!(["a.b.get"]))}}),
            json!({"changed": {"permissions": of_lists(json!(["a.b.list"]))}}),
        ]
    );
    iam.stop().await;
}

#[tokio::test]
async fn a_trail_is_paged_and_cut_by_time() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let rest = Rest::of(iam.rest_url());
    for id in ["a", "b", "c", "d", "e"] {
        rest.make_user(id).await;
    }
    let all = rest.read("/api/v1/audit?scope=system").await;
    let all: Vec<Value> = serde_json::from_value(all["records"].clone()).unwrap();
    let seqs: Vec<u64> = all.iter().map(|r| r["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());

    let mut paged: Vec<Value> = Vec::new();
    let mut path = "/api/v1/audit?scope=system&limit=2".to_owned();
    loop {
        let page = rest.read(&path).await;
        let records = page["records"].as_array().unwrap();
        assert!(records.len() <= 2);
        paged.extend(records.iter().cloned());
        let Some(token) = page["next_page_token"].as_str() else {
            break;
        };
        path = format!("/api/v1/audit?scope=system&limit=2&page_token={token}");
    }
    assert_eq!(paged, all);

    let at = |n: usize| all[n]["at"].as_str().unwrap();
    let (from, to) = (at(1), at(all.len() - 1));
    let some = rest
        .read(&format!("/api/v1/audit?scope=system&from={from}&to={to}"))
        .await;
    let expected: Vec<&Value> = all
        .iter()
        .filter(|r| r["at"].as_str().unwrap() >= from && r["at"].as_str().unwrap() < to)
        .collect();
    assert_eq!(
        some["records"]
            .as_array()
            .unwrap()
            .iter()
            .collect::<Vec<_>>(),
        expected
    );
    let none = rest
        .read("/api/v1/audit?scope=system&from=2100-01-01T00:00:00Z")
        .await;
    assert_eq!(none, json!({"records": []}));

    // What cannot be is refused by the field's name.
    let elsewhere = "/api/v1/audit?scope=org:default&limit=1";
    let (_, page) = rest.get("/api/v1/audit?scope=system&limit=1").await;
    let token = page["data"]["next_page_token"].as_str().unwrap();
    for (path, field) in [
        ("/api/v1/audit".to_owned(), "scope"),
        ("/api/v1/audit?scope=".to_owned(), "scope"),
        ("/api/v1/audit?scope=planet:x".to_owned(), "scope"),
        ("/api/v1/audit?scope=org:A/B".to_owned(), "scope"),
        (
            format!("/api/v1/audit?scope=org:{}", "x".repeat(10_000)),
            "scope",
        ),
        (
            "/api/v1/audit?scope=system&from=yesterday".to_owned(),
            "from",
        ),
        ("/api/v1/audit?scope=system&to=1".to_owned(), "to"),
        (
            "/api/v1/audit?scope=system&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z"
                .to_owned(),
            "to",
        ),
        ("/api/v1/audit?scope=system&limit=0".to_owned(), "limit"),
        ("/api/v1/audit?scope=system&limit=10001".to_owned(), "limit"),
        ("/api/v1/audit?scope=system&limit=-1".to_owned(), "limit"),
        (
            "/api/v1/audit?scope=system&page_token=x".to_owned(),
            "page_token",
        ),
        (format!("{elsewhere}&page_token={token}"), "page_token"),
        ("/api/v1/audit?scope=system&since=x".to_owned(), "since"),
        (
            "/api/v1/audit/verify?scope=system&from_seq=0".to_owned(),
            "from_seq",
        ),
        ("/api/v1/audit/verify".to_owned(), "scope"),
    ] {
        let (status, answer) = rest.get(&path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path:.100}: {answer}");
        assert_eq!(
            answer["error"]["details"]["field"], field,
            "{path:.100}: {answer}"
        );
    }
    let (status, _) = rest.get("/api/v1/audit?scope=nobody-made-this").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    iam.stop().await;
}

#[tokio::test]
async fn what_is_altered_behind_our_back_is_found() {
    let mut iam = Box::pin(in_process_iam()).await.unwrap();
    let rest = Rest::of(iam.rest_url());
    for id in ["a", "b", "c"] {
        rest.make_user(id).await;
    }
    for method in [Method::GET, Method::POST] {
        let (_, answer) = rest
            .call(method, "/api/v1/audit/verify?scope=system", None)
            .await;
        let verdict = &answer["data"];
        assert_eq!(verdict["intact"], true, "{answer}");
        assert_eq!(verdict["complete"], true);
        assert_eq!(verdict["through"], verdict["head"]);
        assert_eq!(verdict["records"], verdict["head"]["seq"]);
    }
    let key = format!("/photon/iam/audit/system/{:020}", 2);
    let store = store_of(&mut iam).await;
    let record = store.get_raw(&key).await.unwrap().unwrap();
    let text = String::from_utf8(record.value.to_vec()).unwrap();
    let mut alter = store.transaction();
    alter
        .put_raw(&key, text.replace("dev-operator", "user:mallory"), 0)
        .unwrap();
    alter.commit().await.unwrap();
    let verdict = rest.read("/api/v1/audit/verify?scope=system").await;
    assert_eq!(verdict["intact"], false, "{verdict}");
    assert_eq!(verdict["fault"]["seq"], 2);
    assert_eq!(verdict["through"]["seq"], 1);
    // What comes after it is still good by itself.
    let later = rest
        .read("/api/v1/audit/verify?scope=system&from_seq=3")
        .await;
    assert_eq!(later["intact"], true, "{later}");

    // A record behind the end is found, also when only the end is looked at.
    let end = later["head"]["seq"].as_u64().unwrap();
    for seq in [end + 1, end + 7] {
        let stray = format!("/photon/iam/audit/system/{seq:020}");
        let mut add = store.transaction();
        add.put_raw(&stray, record.value.clone(), 0).unwrap();
        add.commit().await.unwrap();
        for from in [3, end, end + 100] {
            let path = format!("/api/v1/audit/verify?scope=system&from_seq={from}");
            let verdict = rest.read(&path).await;
            assert_eq!(verdict["intact"], false, "{verdict}");
            assert_eq!(verdict["fault"]["seq"], seq, "{verdict}");
            let what = verdict["fault"]["what"].as_str().unwrap();
            assert!(what.contains(&stray), "{what}");
        }
        let mut remove = store.transaction();
        remove.delete_raw(&stray).unwrap();
        remove.commit().await.unwrap();
    }

    // A record nobody can read does not hide the others.
    let mut damage = store.transaction();
    damage.put_raw(&key, "{", 0).unwrap();
    damage.commit().await.unwrap();
    let listed = rest.read("/api/v1/audit?scope=system").await;
    assert_eq!(
        listed["unreadable"].as_array().unwrap().len(),
        1,
        "{listed}"
    );
    assert!(listed["records"].as_array().unwrap().len() >= 2);
    rest.make_user("d").await;
    iam.stop().await;
}

#[tokio::test]
async fn only_who_may_list_sees_a_trail() {
    let mut iam = Box::pin(enforcing_iam()).await.unwrap();
    let endpoint = iam.chainfire().endpoint();
    let anybody = Rest::of(iam.rest_url());
    let as_user = async |proof: Value| {
        let (status, answer) = anybody.post("/api/v1/auth/token", proof).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        Rest {
            token: Some(answer["data"]["token"].as_str().unwrap().to_owned()),
            ..Rest::of(iam.rest_url())
        }
    };
    let key = iam.admin_key().unwrap();
    let admin =
        as_user(json!({"principal_id": "admin", "scope_id": "system", "api_key": key})).await;
    let good = async |path: &str, body: Value| {
        let (status, answer) = admin.post(path, body).await;
        assert!(status.is_success(), "{path}: {answer}");
    };
    good("/api/v1/orgs", json!({"id": "acme", "name": "Acme"})).await;
    for project in ["shop", "other"] {
        let body = json!({"id": project, "name": project, "org_id": "acme"});
        good("/api/v1/projects", body).await;
    }
    admin.make_user("auditor").await;
    let password = "correct horse battery";
    let body = json!({"principal": "user:auditor", "kind": "password", "password": password});
    good("/api/v1/credentials", body).await;
    let role = json!({"id": "auditor", "title": "Auditor", "permissions": ["iam.audit.list"]});
    good("/api/v1/roles", role).await;
    let binding = json!({"principal": "user:auditor", "role": "auditor", "scope": "project:shop"});
    good("/api/v1/bindings", binding).await;

    let auditor =
        as_user(json!({"principal_id": "auditor", "scope_id": "shop", "password": password})).await;
    // The bare id of the guide, and the whole name.
    for scope in ["shop", "project:shop"] {
        let listed = auditor.read(&format!("/api/v1/audit?scope={scope}")).await;
        let records = listed["records"].as_array().unwrap();
        let binding = records
            .iter()
            .find(|record| record["action"] == "iam.bindings.create")
            .unwrap_or_else(|| panic!("{listed:#}"));
        assert_eq!(binding["actor"], "user:admin");
        let path = format!("/api/v1/audit/verify?scope={scope}");
        assert_eq!(auditor.read(&path).await["intact"], true);
    }
    for scope in ["system", "org:acme", "project:other", "project:nowhere"] {
        for path in ["audit", "audit/verify"] {
            let (status, answer) = auditor.get(&format!("/api/v1/{path}?scope={scope}")).await;
            assert!(
                [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&status),
                "{scope}: {answer}"
            );
        }
    }
    let (status, _) = anybody.get("/api/v1/audit?scope=system").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);

    // No trail has a secret in it.
    let store = photon_store::Options::new([endpoint]);
    let trails = Trails::new(Store::connect(store).await.unwrap(), "iam");
    for name in trails.names(None, 100).await.unwrap() {
        for record in trails.records(&name, 0, 10_000).await.unwrap() {
            let text = serde_json::to_string(&record.unwrap().fields).unwrap();
            assert!(
                !text.contains(password) && !text.contains(key),
                "{name}: {text}"
            );
        }
    }
    iam.stop().await;
}

async fn process_over(endpoint: String) -> Running {
    let mut config = Config::default();
    config.store.endpoints = vec![endpoint];
    for listener in [&mut config.rest, &mut config.grpc] {
        listener.address.set_port(0);
    }
    Box::pin(iam::start(config, Sockets::default()))
        .await
        .unwrap()
}

#[tokio::test]
async fn two_processes_write_one_unbroken_trail() {
    const EACH: usize = 20;
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let one = process_over(chainfire.endpoint()).await;
    let other = process_over(chainfire.endpoint()).await;
    let urls = [&one, &other].map(|of| format!("http://{}", of.rest_address()));
    let writers: Vec<_> = urls
        .iter()
        .enumerate()
        .flat_map(|(process, url)| (0..EACH).map(move |user| (url.clone(), process, user)))
        .map(|(url, process, user)| {
            tokio::spawn(async move {
                let id = format!("p{process}-u{user}");
                Rest::of(url).make_user(&id).await;
                id
            })
        })
        .collect();
    let mut made = HashSet::new();
    for writer in writers {
        made.insert(writer.await.unwrap());
    }
    let rest = Rest::of(urls[0].clone());
    let verdict = rest.read("/api/v1/audit/verify?scope=system").await;
    assert_eq!(verdict["intact"], true, "{verdict}");
    assert_eq!(verdict["complete"], true, "{verdict}");
    let listed = rest.read("/api/v1/audit?scope=system").await;
    let recorded: Vec<&str> = listed["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["action"] == "iam.users.create")
        .map(|record| record["resource"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(recorded.len(), made.len(), "one record each");
    assert!(recorded.iter().all(|id| made.contains(*id)));
    other.stop().await;
    one.stop().await;
    chainfire.stop().await;
}

#[tokio::test]
async fn exported_records_go_on_in_files_and_the_trail_goes_on_from_them() {
    let mut iam = Box::pin(in_process_iam()).await.unwrap();
    let rest = Rest::of(iam.rest_url());
    for id in ["a", "b", "c"] {
        rest.make_user(id).await;
    }
    let before = rest.read("/api/v1/audit/verify?scope=system").await;
    let trails = Trails::new(store_of(&mut iam).await, "iam");
    let dir = tempfile::tempdir().unwrap();
    let long_ago = "2020-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(
        export(&trails, dir.path(), long_ago, None).await.unwrap(),
        0
    );
    let later = "2100-01-01T00:00:00Z".parse().unwrap();
    let moved = export(&trails, dir.path(), later, None).await.unwrap();
    assert!(moved >= before["records"].as_u64().unwrap(), "{moved}");

    let filed = verify_files(&dir.path().join("system")).unwrap().unwrap();
    assert_eq!(
        (filed.from, filed.records),
        (1, before["records"].as_u64().unwrap())
    );
    let after = rest.read("/api/v1/audit/verify?scope=system").await;
    assert_eq!(after["intact"], true, "{after}");
    assert_eq!(after["exported"]["seq"], filed.through.seq);
    assert_eq!(after["exported"]["hash"], filed.through.hash.as_str());
    assert_eq!(
        rest.read("/api/v1/audit?scope=system").await["records"],
        json!([])
    );

    // The running service did not know that its trail was moved under it.
    rest.make_user("d").await;
    let verdict = rest.read("/api/v1/audit/verify?scope=system").await;
    assert_eq!(verdict["intact"], true, "{verdict}");
    assert_eq!(verdict["from_seq"], filed.through.seq + 1);
    let record = &rest.read("/api/v1/audit?scope=system").await["records"][0];
    assert_eq!(record["prev"], filed.through.hash.as_str());
    export(&trails, dir.path(), later, None).await.unwrap();
    let filed = verify_files(&dir.path().join("system")).unwrap().unwrap();
    assert_eq!(filed.through.hash, record["hash"].as_str().unwrap());
    iam.stop().await;
}
