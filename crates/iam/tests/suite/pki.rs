//! Certificates: who they are, how they are renewed, and how hosts join.

use iam::run::{Running, Sockets};
use photon_authz::PrincipalState;
use photon_pki::{Authority, KeyRequest, Leaf, LeafRequest, describe};
use photon_store::Store;
use photon_testkit::{InProcessChainfire, in_process_chainfire, pki::install_crypto};
use reqwest::{Certificate, Identity, Method, StatusCode};
use serde_json::{Value, json};

const AGENTS: [&str; 3] = ["k8shost-agent", "plasmavmc-agent", "prismnet-agent"];

/// IAM in enforce mode over TLS, with the authority's key.
struct Secured {
    running: Running,
    chainfire: InProcessChainfire,
    authority: Authority,
    admin_key: String,
    base: String,
    _dir: tempfile::TempDir,
}

impl Secured {
    async fn start(with_authority: bool) -> Self {
        install_crypto();
        let chainfire = Box::pin(in_process_chainfire()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create("test root").unwrap();
        authority.save(&dir.path().join("ca")).unwrap();
        let server = LeafRequest::server("iam-server", []);
        let leaf = authority.issue(&server).unwrap();
        leaf.save(dir.path(), "server").unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let tls = |listener: &str| {
            format!(
                "[{listener}]\naddress = \"127.0.0.1:0\"\n[{listener}.tls]\ncertificate = {:?}\nkey = {:?}\nclient_ca = {:?}\n",
                path("server.crt"),
                path("server.key"),
                path("ca/ca.crt"),
            )
        };
        let pki = if with_authority {
            format!("[pki]\nca_dir = {:?}\n", path("ca"))
        } else {
            String::new()
        };
        let text = format!(
            "[auth]\nmode = \"enforce\"\n[store]\nendpoints = [{:?}]\n[signing]\nwrapping_key_file = {:?}\n{}{}{pki}",
            chainfire.endpoint(),
            path("wrapping.key"),
            tls("rest"),
            tls("grpc"),
        );
        let file = dir.path().join("iam.toml");
        std::fs::write(&file, text).unwrap();
        let config = iam::Config::load(Some(&file)).unwrap();
        let store = Store::connect(config.store.options().unwrap())
            .await
            .unwrap();
        let first = Box::pin(iam::init::found(&config, &store)).await.unwrap();
        let running = Box::pin(iam::run::start(config, Sockets::default()))
            .await
            .unwrap();
        Self {
            base: format!("https://localhost:{}", running.rest_address().port()),
            running,
            chainfire,
            authority,
            admin_key: first.api_key.expose().to_owned(),
            _dir: dir,
        }
    }

    fn issue(&self, common_name: &str) -> Leaf {
        self.authority.client(common_name).unwrap()
    }

    fn nobody(&self) -> Caller {
        self.caller(None)
    }

    fn with(&self, leaf: &Leaf) -> Caller {
        self.caller(Some(leaf))
    }

    fn caller(&self, leaf: Option<&Leaf>) -> Caller {
        let ca = Certificate::from_pem(self.authority.certificate_pem().as_bytes()).unwrap();
        let mut http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]);
        if let Some(leaf) = leaf {
            let pem = format!("{}{}", leaf.key_pem, leaf.certificate_pem);
            http = http.identity(Identity::from_pem(pem.as_bytes()).unwrap());
        }
        Caller {
            http: http.build().unwrap(),
            base: self.base.clone(),
            token: None,
        }
    }

    async fn admin(&self) -> Caller {
        let nobody = self.nobody();
        let proof =
            json!({"principal_id": "admin", "scope_id": "system", "api_key": self.admin_key});
        let answer = nobody.good("/api/v1/auth/token", proof).await;
        Caller {
            token: Some(answer["token"].as_str().unwrap().to_owned()),
            ..nobody
        }
    }

    async fn store(&self) -> Store {
        let options = photon_store::Options::new([self.chainfire.endpoint()]);
        Store::connect(options).await.unwrap()
    }

    async fn stop(mut self) {
        self.running.stop().await;
        self.chainfire.stop().await;
    }
}

#[derive(Clone)]
struct Caller {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Caller {
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        Answer {
            status: answer.status(),
            retry_after: answer.headers().get("retry-after").is_some(),
            body: answer.json().await.unwrap(),
        }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(&body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    /// What a good POST answers.
    async fn good(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
        answer.body["data"].clone()
    }

    async fn who(&self) -> Answer {
        self.get("/api/v1/whoami").await
    }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    retry_after: bool,
    body: Value,
}

impl Answer {
    fn field(&self) -> &str {
        let field = self.body["error"]["details"]["field"].as_str();
        field.unwrap_or_default()
    }
}

fn leaf(key: &KeyRequest, certificate: &Value) -> Leaf {
    Leaf {
        certificate_pem: certificate.as_str().unwrap().to_owned(),
        key_pem: key.key_pem.clone(),
    }
}

#[tokio::test]
async fn a_certificate_is_a_service_only_by_its_common_name() {
    let iam = Secured::start(false).await;
    for (common_name, principal) in [
        ("svc/backup", "service:backup"),
        ("prismnet", "service:prismnet"),
    ] {
        let answer = iam.with(&iam.issue(common_name)).who().await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.body["data"]["principal"], principal, "{answer:?}");
    }
    for stranger in [
        "backup",
        "prismnet-agent@host-1",
        "svc/A",
        "svc/",
        "root",
        "admin",
    ] {
        let answer = iam.with(&iam.issue(stranger)).who().await;
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{stranger}: {answer:?}"
        );
    }
    assert_eq!(iam.nobody().who().await.status, StatusCode::UNAUTHORIZED);
    // The built-in role of services lets them look, not change.
    let service = iam.with(&iam.issue("plasmavmc"));
    let answer = service
        .post("/api/v1/orgs", json!({"id": "acme", "name": "Acme"}))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
    iam.stop().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_over_itself() {
    let iam = Secured::start(true).await;
    let old = iam.issue("svc/backup");
    let key = KeyRequest::create("somebody else").unwrap();
    let renewal = json!({"csr": key.request_pem});
    let renewed = iam
        .with(&old)
        .good("/api/v1/pki/renew", renewal.clone())
        .await;
    assert_eq!(renewed["common_name"], "svc/backup");
    assert_eq!(renewed["ca"], iam.authority.certificate_pem());
    let new = leaf(&key, &renewed["certificate"]);
    let (before, after) = (
        describe(&old.certificate_pem).unwrap(),
        describe(&new.certificate_pem).unwrap(),
    );
    assert_eq!(
        (
            &before.common_name,
            &before.names,
            before.purpose,
            before.lifetime()
        ),
        (
            &after.common_name,
            &after.names,
            after.purpose,
            after.lifetime()
        )
    );
    assert_ne!(before.public_key, after.public_key);
    let who = iam.with(&new).who().await;
    assert_eq!(who.body["data"]["principal"], "service:backup", "{who:?}");
    // A member's keeps its addresses.
    let names = [
        "10.1.2.3".parse().unwrap(),
        "store.example".parse().unwrap(),
    ];
    let peer = iam
        .authority
        .peer("chainfire-peer", names.to_vec())
        .unwrap();
    let renewed = iam
        .with(&peer)
        .good("/api/v1/pki/renew", renewal.clone())
        .await;
    let found = describe(renewed["certificate"].as_str().unwrap()).unwrap();
    assert!(
        names.iter().all(|name| found.names.contains(name)),
        "{:?}",
        found.names
    );

    let admin = iam.admin().await;
    let trail = admin.get("/api/v1/audit?scope=system").await.body;
    let records = trail["data"]["records"].as_array().unwrap();
    let record = records
        .iter()
        .find(|record| record["action"] == "iam.certificates.renew")
        .unwrap_or_else(|| panic!("{trail:#}"));
    assert_eq!(record["actor"], "certificate:svc/backup");
    assert_eq!(record["resource"]["id"], after.serial.as_str());

    // Who may not, and what cannot be.
    let refused = iam
        .nobody()
        .post("/api/v1/pki/renew", renewal.clone())
        .await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
    let root = iam.with(&iam.issue("root"));
    let refused = root.post("/api/v1/pki/renew", renewal.clone()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let caller = iam.with(&old);
    for (body, field) in [
        (json!({}), "csr"),
        (json!({"csr": ""}), "csr"),
        (json!({"csr": 1}), "csr"),
        (json!({"csr": "x".repeat(100_000)}), "csr"),
        (json!({"csr": old.certificate_pem}), "csr"),
        (json!({"csr": key.key_pem}), "csr"),
        (json!({"csr": key.request_pem, "lifetime": 1}), "lifetime"),
    ] {
        let refused = caller.post("/api/v1/pki/renew", body.clone()).await;
        assert_eq!(
            refused.status,
            StatusCode::BAD_REQUEST,
            "{body:.60}: {refused:?}"
        );
        assert_eq!(refused.field(), field, "{refused:?}");
        assert!(!refused.body.to_string().contains("PRIVATE KEY"));
    }
    // A service that was disabled goes on being one only until its certificate ends.
    let state = PrincipalState {
        principal: "service:backup".parse().unwrap(),
        home: None,
        disabled: true,
        epoch: 0,
    };
    let store = iam.store().await;
    store
        .collection::<PrincipalState>()
        .create("service/backup", state)
        .await
        .unwrap();
    let refused = photon_testkit::eventually("the service is refused", PATIENCE, || async {
        let answer = caller.post("/api/v1/pki/renew", renewal.clone()).await;
        (answer.status == StatusCode::FORBIDDEN).then_some(answer)
    })
    .await
    .unwrap();
    assert!(
        refused.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("disabled")
    );
    iam.stop().await;
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

#[tokio::test]
async fn without_the_authority_nothing_is_issued_and_no_token_is_used_up() {
    let iam = Secured::start(false).await;
    let key = KeyRequest::create("x").unwrap();
    let service = iam.with(&iam.issue("svc/backup"));
    let answer = service
        .post("/api/v1/pki/renew", json!({"csr": key.request_pem}))
        .await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{answer:?}");
    let admin = iam.admin().await;
    let made = admin
        .good("/api/v1/host-tokens", json!({"host": "host-1"}))
        .await;
    let body = json!({"token": made["token"], "csr": key.request_pem});
    for _ in 0..2 {
        let answer = iam
            .nobody()
            .post("/api/v1/host-tokens/redeem", body.clone())
            .await;
        assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{answer:?}");
    }
    let listed = admin.get("/api/v1/host-tokens").await.body;
    assert_eq!(
        listed["data"]["host_tokens"][0]["used_at"],
        Value::Null,
        "{listed}"
    );
    iam.stop().await;
}

#[tokio::test]
async fn a_host_joins_once_with_a_token() {
    let iam = Secured::start(true).await;
    let admin = iam.admin().await;
    let made = admin
        .good(
            "/api/v1/host-tokens",
            json!({"host": "host-1", "ttl_seconds": 600}),
        )
        .await;
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["host"], "host-1");
    let listed = admin.get("/api/v1/host-tokens").await.body.to_string();
    assert!(
        listed.contains("host-1") && !listed.contains(token),
        "{listed}"
    );
    // Nowhere in the store.
    let store = iam.store().await;
    let entries = match store.feed("/photon/iam/").next().await.unwrap() {
        photon_store::FeedEvent::Snapshot { entries, .. } => entries,
        other => panic!("{other:?}"),
    };
    let secret = token.rsplit('_').next().unwrap();
    for entry in entries {
        let text = String::from_utf8_lossy(&entry.value);
        assert!(!text.contains(secret), "{}", entry.key);
    }

    let keys: Vec<KeyRequest> = AGENTS
        .iter()
        .map(|agent| KeyRequest::create(agent).unwrap())
        .collect();
    let csrs: serde_json::Map<String, Value> = AGENTS
        .iter()
        .zip(&keys)
        .map(|(agent, key)| ((*agent).to_owned(), key.request_pem.as_str().into()))
        .collect();
    let nobody = iam.nobody();
    // What is wrong costs no token.
    for (body, field) in [
        (json!({"token": token}), "csr"),
        (json!({"token": token, "csrs": {}}), "csr"),
        (json!({"token": token, "csr": "x"}), "csr"),
        (
            json!({"token": token, "csrs": {"prismnet-agent": "x"}}),
            "csrs.prismnet-agent",
        ),
        (
            json!({"token": token, "csrs": {"iam": keys[0].request_pem}}),
            "csrs",
        ),
        (
            json!({"token": token, "csr": keys[0].request_pem, "csrs": csrs}),
            "csrs",
        ),
        (json!({"csr": keys[0].request_pem}), "token"),
    ] {
        let answer = nobody
            .post("/api/v1/host-tokens/redeem", body.clone())
            .await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{body:.80}: {answer:?}"
        );
        assert_eq!(answer.field(), field, "{answer:?}");
        assert!(!answer.body.to_string().contains(token));
    }

    // Eight at once: one of them gets the certificates.
    let body = json!({"token": token, "csrs": csrs});
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (caller, body) = (nobody.clone(), body.clone());
            tokio::spawn(async move { caller.post("/api/v1/host-tokens/redeem", body).await })
        })
        .collect();
    let mut joined = Vec::new();
    for attempt in tries {
        let answer = attempt.await.unwrap();
        match answer.status {
            StatusCode::OK => joined.push(answer.body["data"].clone()),
            StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => {}
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!(joined.len(), 1, "{joined:#?}");
    let joined = &joined[0];
    assert_eq!(joined["host"], "host-1");
    let issued = joined["certificates"].as_array().unwrap();
    assert_eq!(issued.len(), AGENTS.len());
    for ((agent, key), issued) in AGENTS.iter().zip(&keys).zip(issued) {
        assert_eq!(issued["name"], *agent);
        let leaf = leaf(key, &issued["certificate"]);
        let found = describe(&leaf.certificate_pem).unwrap();
        assert_eq!(found.common_name, format!("{agent}@host-1"));
        assert!(found.names.is_empty() && !found.is_authority);
        // An agent is no service, but it can keep itself alive.
        let caller = iam.with(&leaf);
        assert_eq!(caller.who().await.status, StatusCode::UNAUTHORIZED);
        let again = KeyRequest::create("x").unwrap();
        let renewed = caller
            .good("/api/v1/pki/renew", json!({"csr": again.request_pem}))
            .await;
        assert_eq!(renewed["common_name"], found.common_name.as_str());
    }
    let trail = admin.get("/api/v1/audit?scope=system").await.body;
    let actions: Vec<&str> = trail["data"]["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["action"].as_str().unwrap())
        .collect();
    let count = |action: &str| actions.iter().filter(|found| **found == action).count();
    assert_eq!(
        (
            count("iam.host_tokens.create"),
            count("iam.host_tokens.redeem")
        ),
        (1, 1)
    );
    assert!(!trail.to_string().contains(secret));
    iam.stop().await;
}

#[tokio::test]
async fn host_tokens_are_for_administrators_and_not_guessed() {
    let iam = Secured::start(true).await;
    let admin = iam.admin().await;
    let stranger = iam.with(&iam.issue("svc/stranger"));
    for (caller, status) in [
        (&stranger, StatusCode::FORBIDDEN),
        (&iam.nobody(), StatusCode::UNAUTHORIZED),
    ] {
        let made = caller
            .post("/api/v1/host-tokens", json!({"host": "h"}))
            .await;
        assert_eq!(made.status, status, "{made:?}");
        assert_eq!(caller.get("/api/v1/host-tokens").await.status, status);
    }
    for (body, field) in [
        (json!({}), "host"),
        (json!({"host": ""}), "host"),
        (json!({"host": "A"}), "host"),
        (json!({"host": "a/b"}), "host"),
        (json!({"host": "h".repeat(63)}), "host"),
        (json!({"host": "h", "ttl_seconds": 1}), "ttl_seconds"),
        (
            json!({"host": "h", "ttl_seconds": 10_000_000}),
            "ttl_seconds",
        ),
        (json!({"host": "h", "ttl_seconds": -5}), "ttl_seconds"),
    ] {
        let refused = admin.post("/api/v1/host-tokens", body.clone()).await;
        assert_eq!(
            refused.status,
            StatusCode::BAD_REQUEST,
            "{body}: {refused:?}"
        );
        assert_eq!(refused.field(), field, "{body}: {refused:?}");
    }
    // Taken back, it is good for nothing.
    let made = admin
        .good("/api/v1/host-tokens", json!({"host": "h"}))
        .await;
    let path = format!("/api/v1/host-tokens/{}", made["id"].as_str().unwrap());
    let gone = admin.call(Method::DELETE, &path, None).await;
    assert_eq!(gone.status, StatusCode::OK, "{gone:?}");
    let again = admin.call(Method::DELETE, &path, None).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND, "{again:?}");
    let odd = admin
        .call(Method::DELETE, "/api/v1/host-tokens/x", None)
        .await;
    assert_eq!(odd.status, StatusCode::NOT_FOUND, "{odd:?}");
    let csr = KeyRequest::create("x").unwrap().request_pem;
    let redeem = json!({"token": made["token"], "csr": csr});
    let nobody = iam.nobody();
    let refused = nobody
        .post("/api/v1/host-tokens/redeem", redeem.clone())
        .await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");

    // Whoever goes on guessing is made to wait.
    let stopped = async {
        for _ in 0..200 {
            let answer = nobody
                .post("/api/v1/host-tokens/redeem", redeem.clone())
                .await;
            if answer.status == StatusCode::TOO_MANY_REQUESTS {
                return answer;
            }
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        }
        panic!("guessed 200 times");
    }
    .await;
    assert!(stopped.retry_after, "{stopped:?}");
    iam.stop().await;
}
