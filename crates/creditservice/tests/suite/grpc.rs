//! The gRPC doors: the same use cases, and those that only services have.

use std::collections::HashMap;

use photon_proto::photon::credit::v1::{
    AskRequest, CommitReservationRequest, CreateReservationRequest, CreateWalletRequest, Forecast,
    ForecastLine, FreeUnitsRequest, GetStatementRequest, GetTermsRequest, GetWalletRequest,
    ListLimitsRequest, ListPricesRequest, ListQuotasRequest, ListTransactionsRequest,
    PublishPriceRequest, RecordUsageRequest, RegisterLimitRequest, RegisteredLimit,
    SetTermsRequest, SettleRequest, TopUpRequest, UpdateWalletRequest, UsageLine,
    billing_client::BillingClient, prices_client::PricesClient, quotas_client::QuotasClient,
    register_limit_request, reservations_client::ReservationsClient, shards_client::ShardsClient,
    statements_client::StatementsClient, usage_client::UsageClient, wallets_client::WalletsClient,
};
use prost_types::Timestamp;
use reqwest::Method;
use serde_json::json;
use tonic::{Code, Request, Status, transport::Channel};

use crate::house::House;

async fn channel(house: &House) -> Channel {
    let address = house.running.as_ref().unwrap().grpc_address();
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

fn said(status: &Status) -> (Code, &str) {
    let code = status.metadata().get("photon-error-code");
    (
        status.code(),
        code.map_or("", |code| code.to_str().unwrap()),
    )
}

fn keyed<T>(key: &'static str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let key = tonic::metadata::MetadataValue::from_static(key);
    request.metadata_mut().insert("idempotency-key", key);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_same_as_rest() {
    let house = House::dev().await;
    let channel = channel(&house).await;
    let mut wallets = WalletsClient::new(channel.clone());
    let mut reservations = ReservationsClient::new(channel.clone());
    let made = wallets
        .create(CreateWalletRequest {
            project_id: "shop".to_owned(),
            org_id: "acme".to_owned(),
            initial_balance: 1_000,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((made.balance, made.status.as_str()), (1_000, "active"));
    let top_up = TopUpRequest {
        project_id: "shop".to_owned(),
        amount: 5,
        ..Default::default()
    };
    let first = wallets.top_up(keyed("k", top_up.clone())).await.unwrap();
    assert!(first.metadata().get("idempotency-replayed").is_none());
    let again = wallets.top_up(keyed("k", top_up.clone())).await.unwrap();
    assert_eq!(
        again.metadata().get("idempotency-replayed").unwrap(),
        "true"
    );
    assert_eq!(first.into_inner(), again.into_inner());
    let other = TopUpRequest {
        amount: 6,
        ..top_up
    };
    let refused = wallets.top_up(keyed("k", other)).await.unwrap_err();
    assert_eq!(said(&refused), (Code::InvalidArgument, "UNPROCESSABLE"));

    let held = reservations
        .create(CreateReservationRequest {
            project_id: "shop".to_owned(),
            amount: 2_000,
            ..Default::default()
        })
        .await
        .unwrap_err();
    assert_eq!(
        said(&held),
        (Code::FailedPrecondition, "INSUFFICIENT_CREDIT")
    );
    let held = reservations
        .create(CreateReservationRequest {
            project_id: "shop".to_owned(),
            amount: 200,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let shown = house
        .operator
        .get(&format!("/api/v1/reservations/{}", held.id))
        .await;
    assert_eq!(shown.data()["amount"], 200);
    let committed = reservations
        .commit(CommitReservationRequest {
            id: held.id,
            actual_amount: Some(150),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(committed.actual_amount, Some(150));
    let got = wallets
        .get(GetWalletRequest {
            project_id: "shop".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((got.balance, got.reserved, got.available), (855, 0, 855));
    let listed = wallets
        .list_transactions(ListTransactionsRequest {
            project_id: "shop".to_owned(),
            order: "asc".to_owned(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let amounts: Vec<i64> = listed.transactions.iter().map(|one| one.amount).collect();
    assert_eq!(amounts, [1_000, 5, -150]);
    let missing = wallets.get(GetWalletRequest::default()).await.unwrap_err();
    assert_eq!(said(&missing), (Code::InvalidArgument, "VALIDATION_ERROR"));
    // What processes of the service ask each other.
    let nonsense = AskRequest {
        shard: 5_000,
        ask: "{}".into(),
    };
    let refused = ShardsClient::new(channel).ask(nonsense).await.unwrap_err();
    assert_eq!(said(&refused), (Code::InvalidArgument, "VALIDATION_ERROR"));
    house.stop().await;
}

fn second(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn minute(sku: &str, start: i64) -> Vec<UsageLine> {
    vec![UsageLine {
        resource_id: "vm-1".to_owned(),
        sku: sku.to_owned(),
        start: second(start),
        end: second(start + 60),
        quantity: 1,
    }]
}

/// A VM's life, as its service reports it: units and the first minute held, used minute by minute, given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_metered_resource_is_charged_by_the_price_book() {
    let house = House::dev().await;
    let operator = &house.operator;
    let channel = channel(&house).await;
    let mut wallets = WalletsClient::new(channel.clone());
    let mut reservations = ReservationsClient::new(channel.clone());
    let mut usage = UsageClient::new(channel.clone());
    let mut quotas = QuotasClient::new(channel);
    operator.wallet("shop", 100).await;
    wallets
        .update(UpdateWalletRequest {
            project_id: "shop".to_owned(),
            billing_mode: Some("metered".to_owned()),
            ..Default::default()
        })
        .await
        .unwrap();
    // 10 JPY a minute.
    let price = json!({ "sku": "vm.demo", "nanos": 10_000_000_000_u64, "per_seconds": 60 });
    operator.post("/api/v1/prices", price).await.data();
    operator
        .call(
            Method::PUT,
            "/api/v1/limits/vcpu",
            Some(json!({ "default": 4 })),
            None,
        )
        .await
        .unwrap()
        .data();

    // Whole minutes of the last hour.
    let now = jiff::Timestamp::now().as_second();
    let begin = now - now % 60 - 1_800;
    let forecast = |start: i64| Forecast {
        start: second(start),
        end: second(start + 60),
        lines: vec![ForecastLine {
            sku: "vm.demo".to_owned(),
            quantity: 1,
        }],
    };
    let vcpu = HashMap::from([("vcpu".to_owned(), 2)]);
    let units = reservations
        .create(CreateReservationRequest {
            project_id: "shop".to_owned(),
            units: vcpu,
            resource_id: "vm-1".to_owned(),
            by_service: true,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    reservations
        .commit(CommitReservationRequest {
            id: units.id,
            ..Default::default()
        })
        .await
        .unwrap();
    let mut hold = reservations
        .create(CreateReservationRequest {
            project_id: "shop".to_owned(),
            forecast: Some(forecast(begin)),
            resource_id: "vm-1".to_owned(),
            by_service: true,
            ttl_seconds: 600,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(hold.amount, 10);
    assert_eq!(operator.figures("shop").await, [100, 10, 90]);
    for n in 0..3 {
        let start = begin + 60 * n;
        let settled = usage
            .settle(SettleRequest {
                project_id: "shop".to_owned(),
                reservation_id: hold.id,
                usage: minute("vm.demo", start),
                next: Some(forecast(start + 60)),
                next_ttl_seconds: 600,
                ..Default::default()
            })
            .await
            .unwrap()
            .into_inner();
        assert_eq!((settled.charged, settled.billed), (10, true));
        hold = settled.next.unwrap();
    }
    assert_eq!(operator.figures("shop").await, [70, 10, 60]);
    // A repeated report changes nothing.
    let again = RecordUsageRequest {
        project_id: "shop".to_owned(),
        usage: minute("vm.demo", begin),
    };
    let again = usage.record(again).await.unwrap().into_inner();
    assert_eq!(again.charged, 0);
    let last = usage
        .settle(SettleRequest {
            project_id: "shop".to_owned(),
            reservation_id: hold.id,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((last.charged, last.next), (0, None));
    assert_eq!(operator.figures("shop").await, [70, 0, 70]);
    let of_vcpu = ListQuotasRequest {
        project_id: "shop".to_owned(),
    };
    let listed = quotas.list(of_vcpu.clone()).await.unwrap().into_inner();
    assert_eq!(listed.quotas[0].used, 2);
    quotas
        .free(FreeUnitsRequest {
            project_id: "shop".to_owned(),
            resource_id: "vm-1".to_owned(),
            ..Default::default()
        })
        .await
        .unwrap();
    let listed = quotas.list(of_vcpu).await.unwrap().into_inner();
    assert_eq!(listed.quotas[0].used, 0);
    let unpriced = RecordUsageRequest {
        project_id: "shop".to_owned(),
        usage: minute("unheard.of", begin),
    };
    let refused = usage.record(unpriced).await.unwrap_err();
    assert_eq!(
        said(&refused),
        (Code::FailedPrecondition, "PRICE_NOT_FOUND")
    );
    let charges = operator.transactions("shop", "&types=charge").await;
    assert_eq!(charges.len(), 3);
    house.stop().await;
}

/// What REST has beside wallets and reservations, gRPC has too.
#[tokio::test(flavor = "multi_thread")]
async fn limits_prices_statements_and_terms() {
    let house = House::dev().await;
    let channel = channel(&house).await;
    let mut quotas = QuotasClient::new(channel.clone());
    let mut prices = PricesClient::new(channel.clone());
    let mut statements = StatementsClient::new(channel.clone());
    let mut billing = BillingClient::new(channel);

    let limit = RegisterLimitRequest {
        kind: "gpu".to_owned(),
        to: Some(register_limit_request::To::Default(2)),
    };
    quotas.register_limit(limit).await.unwrap();
    let listed = quotas.list_limits(ListLimitsRequest {}).await.unwrap();
    let gpu = RegisteredLimit {
        kind: "gpu".to_owned(),
        default: Some(2),
    };
    assert_eq!(listed.into_inner().limits, [gpu]);

    let new = PublishPriceRequest {
        sku: "gpu".to_owned(),
        nanos: 5_000_000_000,
        per_seconds: Some(3600),
        ..Default::default()
    };
    prices.publish(new.clone()).await.unwrap();
    let listed = prices
        .list(ListPricesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.prices.len(), 1);
    assert_eq!(
        (listed.prices[0].nanos, listed.prices[0].per_quantity),
        (5_000_000_000, 1)
    );
    let wrong = PublishPriceRequest {
        per_seconds: Some(7),
        ..new
    };
    let refused = prices.publish(wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    house.operator.wallet("shop", 100).await;
    let day = |seconds: i64| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let now = jiff::Timestamp::now().as_second();
    let asked = GetStatementRequest {
        project_id: "shop".to_owned(),
        from: day(now - 3_600),
        to: day(now + 3_600),
        ..Default::default()
    };
    let statement = statements.get(asked).await.unwrap().into_inner();
    assert_eq!((statement.opening, statement.closing), (0, 100));
    assert_eq!(statement.transactions.len(), 1);

    let of_org = GetTermsRequest {
        org_id: "acme".to_owned(),
    };
    let terms = billing.get(of_org.clone()).await.unwrap().into_inner();
    assert_eq!((terms.required, terms.own), (false, false));
    let set = SetTermsRequest {
        org_id: "acme".to_owned(),
        required: Some(true),
    };
    assert!(billing.set(set).await.unwrap().into_inner().own);
    let put = house.operator.get("/api/v1/billing/acme").await;
    assert_eq!(
        put.data(),
        &json!({ "org_id": "acme", "required": true, "own": true })
    );
    let unset = SetTermsRequest {
        org_id: "acme".to_owned(),
        required: None,
    };
    assert!(!billing.set(unset).await.unwrap().into_inner().required);
    house.stop().await;
}
