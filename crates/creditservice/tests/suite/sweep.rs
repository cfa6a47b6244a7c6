//! Every route and method there is, with every credential that must not open it.

use photon_auth::sweep::{Sweep, Tokens, declared, methods};
use photon_proto::photon::credit::v1 as pb;
use photon_testkit::tenants::somebody;
use prost::Message as _;
use serde_json::json;

use crate::tenancy::enforcing;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_opens_to_a_bad_credential_or_to_a_stranger() {
    let house = enforcing().await;
    let billing = somebody(&house.admin, "bill", "billing-admin", "org:acme").await;
    let billing = house.anybody.with(&billing);
    billing.wallet("shop", 1_000).await;
    let held = billing.reserve("shop", 10, 600).await.id();
    let charge = billing
        .post("/api/v1/wallets/shop/charge", json!({ "amount": 5 }))
        .await
        .id();
    // Somebody with a good token who may do nothing any more.
    let stranger = somebody(&house.admin, "stranger", "viewer", "project:lab").await;
    let bindings = house.admin.get("/api/v1/bindings").await;
    let bindings = bindings.data()["bindings"].as_array().unwrap().clone();
    for binding in bindings {
        if binding["principal"] == "user:stranger" {
            let path = format!("/api/v1/bindings/{}", binding["id"].as_str().unwrap());
            let gone = house.admin.call(reqwest::Method::DELETE, &path, None, None);
            gone.await.unwrap().data();
        }
    }
    let tokens = Tokens::from_stranger(&stranger).unwrap();

    // Bodies that are good, so that what is refused is the caller.
    let bodies = [
        (
            "POST /api/v1/wallets",
            json!({ "project_id": "lab", "org_id": "other" }),
        ),
        (
            "PATCH /api/v1/wallets/{project}",
            json!({ "allow_overage": true }),
        ),
        (
            "POST /api/v1/wallets/{project}/topup",
            json!({ "amount": 1 }),
        ),
        (
            "POST /api/v1/wallets/{project}/charge",
            json!({ "amount": 1 }),
        ),
        (
            "POST /api/v1/wallets/{project}/refund",
            json!({ "amount": 1, "transaction_id": charge }),
        ),
        (
            "POST /api/v1/wallets/{project}/adjust",
            json!({ "amount": 1, "reason": "x" }),
        ),
        (
            "POST /api/v1/reservations",
            json!({ "project_id": "shop", "amount": 1 }),
        ),
        (
            "POST /api/v1/reservations/{id}/extend",
            json!({ "ttl_seconds": 60 }),
        ),
        ("PUT /api/v1/quotas/{project}/{kind}", json!({ "limit": 1 })),
        ("PUT /api/v1/limits/{kind}", json!({ "default": 1 })),
        ("POST /api/v1/prices", json!({ "sku": "x", "nanos": 1 })),
        ("PUT /api/v1/billing/{org}", json!({ "required": false })),
    ];
    let shop = || "shop".to_owned();
    let messages = [
        (
            "Wallets/Create",
            pb::CreateWalletRequest {
                project_id: "lab".to_owned(),
                org_id: "other".to_owned(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Wallets/Get",
            pb::GetWalletRequest { project_id: shop() }.encode_to_vec(),
        ),
        (
            "Wallets/Update",
            pb::UpdateWalletRequest {
                project_id: shop(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Wallets/TopUp",
            pb::TopUpRequest {
                project_id: shop(),
                amount: 1,
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Wallets/Charge",
            pb::ChargeRequest {
                project_id: shop(),
                amount: 1,
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Wallets/Refund",
            pb::RefundRequest {
                project_id: shop(),
                amount: 1,
                transaction_id: charge.clone(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Wallets/Adjust",
            pb::AdjustRequest {
                project_id: shop(),
                amount: 1,
                reason: "x".to_owned(),
            }
            .encode_to_vec(),
        ),
        (
            "Wallets/ListTransactions",
            pb::ListTransactionsRequest {
                project_id: shop(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Reservations/Create",
            pb::CreateReservationRequest {
                project_id: shop(),
                amount: 1,
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Reservations/Get",
            pb::GetReservationRequest { id: held.clone() }.encode_to_vec(),
        ),
        (
            "Reservations/List",
            pb::ListReservationsRequest {
                project_id: shop(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Reservations/Commit",
            pb::CommitReservationRequest {
                id: held.clone(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Reservations/Release",
            pb::ReleaseReservationRequest {
                id: held.clone(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Reservations/Extend",
            pb::ExtendReservationRequest {
                id: held.clone(),
                ttl_seconds: 60,
            }
            .encode_to_vec(),
        ),
        (
            "Quotas/List",
            pb::ListQuotasRequest { project_id: shop() }.encode_to_vec(),
        ),
        (
            "Quotas/Set",
            pb::SetQuotaRequest {
                project_id: shop(),
                kind: "vcpu".to_owned(),
                to: Some(pb::set_quota_request::To::Limit(1)),
            }
            .encode_to_vec(),
        ),
        (
            "Quotas/RegisterLimit",
            pb::RegisterLimitRequest {
                kind: "vcpu".to_owned(),
                to: Some(pb::register_limit_request::To::Default(1)),
            }
            .encode_to_vec(),
        ),
        (
            "Prices/Publish",
            pb::PublishPriceRequest {
                sku: "x".to_owned(),
                nanos: 1,
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Statements/Get",
            pb::GetStatementRequest {
                project_id: shop(),
                month: "2025-12".to_owned(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Billing/Get",
            pb::GetTermsRequest {
                org_id: "acme".to_owned(),
            }
            .encode_to_vec(),
        ),
        (
            "Billing/Set",
            pb::SetTermsRequest {
                org_id: "acme".to_owned(),
                required: Some(false),
            }
            .encode_to_vec(),
        ),
        (
            "Quotas/Free",
            pb::FreeUnitsRequest {
                project_id: shop(),
                resource_id: "vm".to_owned(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Quotas/Recount",
            pb::RecountUnitsRequest {
                project_id: shop(),
                resource_id: "vm".to_owned(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Usage/Record",
            pb::RecordUsageRequest {
                project_id: shop(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "Usage/Settle",
            pb::SettleRequest {
                project_id: shop(),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
    ];
    let sweep = Sweep::new(tokens)
        .rest(
            &house.anybody.base,
            declared(&creditservice::rest::declared()),
        )
        .grpc(&house.grpc, methods(&creditservice::methods()))
        .path_value("project", "shop")
        .path_value("kind", "vcpu")
        .path_value("org", "acme")
        .path_value("id", &held);
    let sweep = bodies
        .into_iter()
        .fold(sweep, |sweep, (route, body)| sweep.body(route, body));
    let sweep = messages
        .into_iter()
        .fold(sweep, |sweep, (method, message)| {
            sweep.message(&format!("photon.credit.v1.{method}"), message)
        });
    let mut report = sweep.run().await.unwrap();
    // Refused for the query that was left out, before anything was looked at.
    let left_out = [
        "GET /api/v1/reservations",
        "GET /api/v1/quotas",
        "GET /api/v1/wallets/{project}/statement",
    ];
    report.unclear.retain(|finding| {
        let target = finding.target.as_str();
        !left_out.contains(&target)
    });
    report.assert_closed();
    assert_eq!(billing.figures("shop").await, [995, 10, 985]);
    house.stop().await;
}
