//! Enforce mode: who may do what to whose wallet.

use creditservice::{Running, Sockets};
use photon_proto::photon::credit::v1::{RecordUsageRequest, UsageLine, usage_client::UsageClient};
use photon_server::Mode;
use photon_testkit::{
    InProcessIam, rest,
    tenants::{Tenants, somebody, tenants},
};
use reqwest::Method;
use serde_json::json;
use tonic::{Request, transport::Channel};

use crate::house::{Caller, config};

/// A service in enforce mode, and its IAM with two tenants.
pub(crate) struct Enforcing {
    iam: InProcessIam,
    running: Running,
    /// IAM's first admin, at IAM.
    pub(crate) admin: rest::Caller,
    /// Without a credential.
    pub(crate) anybody: Caller,
    /// IAM's first admin, here.
    pub(crate) operator: Caller,
    /// Where gRPC is.
    pub(crate) grpc: String,
}

impl Enforcing {
    pub(crate) async fn stop(self) {
        self.running.stop().await;
        self.iam.stop().await;
    }
}

pub(crate) async fn enforcing() -> Enforcing {
    let Tenants {
        mut iam,
        admin,
        system,
    } = Box::pin(tenants()).await.unwrap();
    let mut config = config(&iam.chainfire().endpoint());
    config.auth.mode = Mode::Enforce;
    let running = Box::pin(creditservice::start(config, Sockets::default()))
        .await
        .unwrap();
    let anybody = Caller::of(&running);
    anybody.until_ready().await;
    Enforcing {
        operator: anybody.with(&system),
        grpc: format!("http://{}", running.grpc_address()),
        iam,
        running,
        admin,
        anybody,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_and_spends_their_own() {
    let house = enforcing().await;
    let (admin, anybody, operator) = (&house.admin, &house.anybody, &house.operator);
    let billing = anybody.with(&somebody(admin, "bill", "billing-admin", "org:acme").await);
    let owner = anybody.with(&somebody(admin, "olga", "admin", "project:shop").await);
    let viewer = anybody.with(&somebody(admin, "vera", "viewer", "project:shop").await);
    let stranger = anybody.with(&somebody(admin, "sam", "admin", "project:lab").await);

    let wallet = json!({ "project_id": "shop", "org_id": "acme", "initial_balance": 1_000 });
    for (caller, expected) in [
        (anybody, (401, "UNAUTHENTICATED")),
        (&anybody.with("nonsense"), (401, "UNAUTHENTICATED")),
        (&viewer, (403, "FORBIDDEN")),
        // Who rules the project does not fill its wallet.
        (&owner, (403, "FORBIDDEN")),
        (&stranger, (403, "FORBIDDEN")),
    ] {
        let refused = caller.post("/api/v1/wallets", wallet.clone()).await;
        let (status, code, _) = refused.error();
        assert_eq!((status, code), expected);
    }
    // A project that is not there, or is another org's.
    for project in ["nobody", "lab"] {
        let body = json!({ "project_id": project, "org_id": "acme" });
        let refused = billing.post("/api/v1/wallets", body).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "project_id"));
    }
    billing.post("/api/v1/wallets", wallet).await.data();
    operator
        .post(
            "/api/v1/wallets",
            json!({ "project_id": "lab", "org_id": "other" }),
        )
        .await
        .data();

    for (caller, status) in [
        (&viewer, 200),
        (&owner, 200),
        (&billing, 200),
        (operator, 200),
        (&stranger, 404),
        (anybody, 401),
    ] {
        for path in [
            "/api/v1/wallets/shop",
            "/api/v1/wallets/shop/transactions",
            "/api/v1/reservations?project_id=shop",
        ] {
            assert_eq!(caller.get(path).await.status, status, "{path}");
        }
    }
    let listed = async |caller: &Caller| -> Vec<String> {
        let all = caller.get("/api/v1/wallets").await;
        let rows = all.data()["wallets"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["project_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed(operator).await, ["lab", "shop"]);
    assert_eq!(listed(&billing).await, ["shop"]);
    assert_eq!(listed(&viewer).await, ["shop"]);
    assert_eq!(listed(&stranger).await, ["lab"]);

    let top_up = "/api/v1/wallets/shop/topup";
    for (caller, status) in [
        (&viewer, 403),
        (&owner, 403),
        (&stranger, 404),
        (&billing, 200),
    ] {
        let answer = caller.post(top_up, json!({ "amount": 10 })).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(owner.figures("shop").await, [1_010, 0, 1_010]);

    // Reservations: the project's own.
    let body = json!({ "project_id": "shop", "amount": 100 });
    for (caller, status) in [(&viewer, 403), (&stranger, 404), (&owner, 201)] {
        let answer = caller.post("/api/v1/reservations", body.clone()).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let id = owner
        .get("/api/v1/reservations?project_id=shop")
        .await
        .data()["reservations"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/v1/reservations/{id}");
    assert_eq!(viewer.get(&path).await.status, 200);
    assert_eq!(stranger.get(&path).await.error().0, 404);
    for verb in ["commit", "release"] {
        let path = format!("{path}/{verb}");
        let foreign = stranger.post(&path, json!({})).await;
        assert_eq!(foreign.error(), (404, "RESERVATION_NOT_FOUND", ""));
        // A viewer sees it, and is told that he may not touch it.
        let seen = viewer.post(&path, json!({})).await;
        assert_eq!(seen.error().0, 403);
    }
    let commit = format!("{path}/commit");
    let done = owner.post(&commit, json!({ "actual_amount": 40 })).await;
    assert_eq!(done.data()["actual_amount"], 40);
    let history = owner.transactions("shop", "&types=charge").await;
    assert_eq!(history.len(), 1);

    // Another caller's key is another key.
    let keyed = async |caller: &Caller| {
        let body = json!({ "project_id": "shop", "amount": 7 });
        caller.keyed("same", "/api/v1/reservations", body).await
    };
    let (first, again, other) = (
        keyed(&owner).await,
        keyed(&owner).await,
        keyed(&billing).await,
    );
    assert_eq!(first.id(), again.id());
    assert!(again.replayed && !other.replayed);
    assert_ne!(first.id(), other.id());
    house.stop().await;
}

/// In enforce mode a project needs a wallet, unless the operator of the system says otherwise for its org.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_is_required_by_org() {
    let house = enforcing().await;
    let operator = &house.operator;
    let limit = json!({ "default": "unlimited" });
    let registered = operator.call(Method::PUT, "/api/v1/limits/vcpu", Some(limit), None);
    registered.await.unwrap().data();
    let price = json!({ "sku": "vm.demo", "nanos": 1_000_000_000, "per_seconds": 60 });
    operator.post("/api/v1/prices", price).await.data();
    let channel = Channel::from_shared(house.grpc.clone()).unwrap();
    let mut usage = UsageClient::new(channel.connect().await.unwrap());
    let now = jiff::Timestamp::now().as_second();
    let second = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let mut record_as = async |token: String| {
        let mut request = Request::new(RecordUsageRequest {
            project_id: "shop".to_owned(),
            usage: vec![UsageLine {
                resource_id: "vm-1".to_owned(),
                sku: "vm.demo".to_owned(),
                start: second(now - 60),
                end: second(now),
                quantity: 1,
            }],
        });
        let bearer = format!("Bearer {token}");
        request
            .metadata_mut()
            .insert("authorization", bearer.parse().unwrap());
        usage.record(request).await.map(tonic::Response::into_inner)
    };
    // Who rules the project does not say what it used.
    let boss = somebody(&house.admin, "shop-boss", "admin", "project:shop").await;
    let refused = record_as(boss).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let mut record = async || record_as(operator.token.clone().unwrap()).await;
    let refused = record().await.unwrap_err();
    let code = refused.metadata().get("photon-error-code").unwrap();
    assert_eq!(code, "WALLET_NOT_FOUND");

    let terms = |required: Option<bool>| {
        let (method, body) = match required {
            Some(required) => (Method::PUT, Some(json!({ "required": required }))),
            None => (Method::DELETE, None),
        };
        operator.call(method, "/api/v1/billing/acme", body, None)
    };
    assert_eq!(
        terms(Some(false)).await.unwrap().data(),
        &json!({ "org_id": "acme", "required": false, "own": true })
    );
    let free = record().await.unwrap();
    assert_eq!((free.charged, free.billed), (0, false));
    assert_eq!(
        terms(None).await.unwrap().data(),
        &json!({ "org_id": "acme", "required": true, "own": false })
    );
    assert!(record().await.is_err());

    // Who rules the org sees it, and does not decide it; others do not see it.
    let boss = somebody(&house.admin, "boss", "billing-admin", "org:acme").await;
    let boss = house.anybody.with(&boss);
    assert_eq!(boss.get("/api/v1/billing/acme").await.status, 200);
    assert_eq!(boss.get("/api/v1/billing/other").await.status, 404);
    let refused = boss
        .call(
            Method::PUT,
            "/api/v1/billing/acme",
            Some(json!({ "required": false })),
            None,
        )
        .await
        .unwrap();
    assert_eq!(refused.error().0, 403);
    house.stop().await;
}
