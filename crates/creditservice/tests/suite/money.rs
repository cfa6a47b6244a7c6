//! What wallets and reservations do, through REST.

use photon_testkit::poll::eventually;
use serde_json::json;
use tokio::task::JoinSet;

use crate::house::{House, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn of_200_parallel_reservations_exactly_those_succeed_that_are_covered() {
    let house = House::dev().await;
    let operator = &house.operator;
    operator.wallet("hot", 7_350).await;
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let caller = operator.clone();
        asking.spawn(async move { caller.reserve("hot", 100, 600).await });
    }
    let answers = asking.join_all().await;
    let held = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(held, 73);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(refused.error(), (409, "INSUFFICIENT_CREDIT", ""));
        assert_eq!(
            refused.details(),
            &json!({ "required": 100, "available": 50, "missing": 50 })
        );
    }
    assert_eq!(operator.figures("hot").await, [7_350, 7_300, 50]);
    // Every one of them is resolved once, however many try.
    let ids: Vec<String> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .map(|answer| answer.id())
        .collect();
    let mut resolving = JoinSet::new();
    for id in ids.iter().flat_map(|id| [id; 3]) {
        let (caller, path) = (
            operator.clone(),
            format!("/api/v1/reservations/{id}/commit"),
        );
        resolving.spawn(async move { caller.post(&path, json!({ "actual_amount": 60 })).await });
    }
    let answers = resolving.join_all().await;
    let committed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(committed, 73);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(refused.error(), (409, "RESERVATION_COMMITTED", ""));
    }
    let left = 7_350 - 73 * 60;
    assert_eq!(operator.figures("hot").await, [left, 0, left]);
    let sum: i64 = operator
        .transactions("hot", "")
        .await
        .iter()
        .map(|one| one["amount"].as_i64().unwrap())
        .sum();
    assert_eq!(sum, left);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_are_resolved_once_and_end_by_themselves() {
    let house = House::dev().await;
    let operator = &house.operator;
    operator.wallet("shop", 1_000).await;
    let act = async |id: &str, verb: &str, body| {
        operator
            .post(&format!("/api/v1/reservations/{id}/{verb}"), body)
            .await
    };

    let first = operator.reserve("shop", 300, 600).await.id();
    let too_much = act(&first, "commit", json!({ "actual_amount": 301 })).await;
    assert_eq!(too_much.error(), (409, "EXCEEDS_RESERVATION", ""));
    assert_eq!(too_much.details(), &json!({ "held": 300, "actual": 301 }));
    assert_eq!(operator.figures("shop").await, [1_000, 300, 700]);
    let released = act(&first, "release", json!({ "reason": "not needed" })).await;
    assert_eq!(released.data()["status"], "released");
    for verb in ["commit", "release"] {
        let again = act(&first, verb, json!({})).await;
        assert_eq!(again.error(), (409, "RESERVATION_RELEASED", ""));
    }
    let extended = act(&first, "extend", json!({ "ttl_seconds": 60 })).await;
    assert_eq!(extended.error(), (409, "RESERVATION_RELEASED", ""));

    // Nobody asks for it; it ends all the same.
    let short = operator.reserve("shop", 300, 1).await.id();
    eventually("the hold is given back", PATIENCE, || async {
        (operator.figures("shop").await == [1_000, 0, 1_000]).then_some(())
    })
    .await
    .unwrap();
    let late = act(&short, "commit", json!({})).await;
    assert_eq!(late.error(), (409, "RESERVATION_EXPIRED", ""));
    let shown = operator.get(&format!("/api/v1/reservations/{short}")).await;
    assert_eq!(shown.data()["status"], "expired");

    // Extended it lasts longer than it was made for.
    let kept = operator.reserve("shop", 200, 5).await.id();
    let until = act(&kept, "extend", json!({ "ttl_seconds": 600 })).await;
    assert_eq!(until.data()["status"], "active");
    let listed = operator.get("/api/v1/reservations?project_id=shop").await;
    assert_eq!(listed.data()["reservations"][0]["id"], kept);
    let probe = operator.reserve("shop", 1, 6).await.id();
    eventually("a later one is over", PATIENCE, || async {
        let shown = operator.get(&format!("/api/v1/reservations/{probe}")).await;
        (shown.data()["status"] == "expired").then_some(())
    })
    .await
    .unwrap();
    let all = act(&kept, "commit", json!({})).await;
    assert_eq!(all.data()["actual_amount"], 200);
    assert_eq!(operator.figures("shop").await, [800, 0, 800]);

    let kinds: Vec<String> = operator
        .transactions("shop", "&types=reservation,release,expiry,charge")
        .await
        .iter()
        .map(|one| one["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        kinds,
        [
            "reservation",
            "release",
            "reservation",
            "expiry",
            "reservation",
            "reservation",
            "expiry",
            "charge"
        ]
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charges_refunds_corrections_and_settings() {
    let house = House::dev().await;
    let operator = &house.operator;
    operator.wallet("shop", 1_000).await;
    let wallet = "/api/v1/wallets/shop";
    let charge = operator
        .post(
            &format!("{wallet}/charge"),
            json!({ "amount": 700, "resource_id": "vm-1", "sku": "vm.small" }),
        )
        .await;
    assert_eq!(charge.data()["amount"], -700);
    assert_eq!(charge.data()["available"], 300);
    let refund = async |amount: i64, of: &str| {
        let body = json!({ "amount": amount, "transaction_id": of });
        operator.post(&format!("{wallet}/refund"), body).await
    };
    let charge = charge.id();
    assert_eq!(refund(500, &charge).await.data()["balance"], 800);
    let over = refund(201, &charge).await;
    assert_eq!(over.error(), (409, "REFUND_EXCEEDS_CHARGE", ""));
    assert_eq!(over.details()["refundable"], 200);
    let deposit = operator.transactions("shop", "&types=deposit").await[0]["id"].clone();
    let none = refund(1, deposit.as_str().unwrap()).await;
    assert_eq!(none.error(), (400, "VALIDATION_ERROR", "transaction_id"));
    let adjusted = operator
        .post(
            &format!("{wallet}/adjust"),
            json!({ "amount": -100, "reason": "counted twice" }),
        )
        .await;
    assert_eq!(adjusted.data()["balance"], 700);

    // An overdraft, and more than is held.
    let changed = operator
        .patch(
            wallet,
            json!({ "overdraft_limit": 50, "allow_overage": true }),
        )
        .await;
    assert_eq!(changed.data()["overdraft_limit"], 50);
    let id = operator.reserve("shop", 700, 600).await.id();
    let commit = format!("/api/v1/reservations/{id}/commit");
    let beyond = operator
        .post(&commit, json!({ "actual_amount": 751 }))
        .await;
    assert_eq!(beyond.error(), (409, "INSUFFICIENT_CREDIT", ""));
    let within = operator
        .post(&commit, json!({ "actual_amount": 750 }))
        .await;
    assert_eq!(within.data()["actual_amount"], 750);
    assert_eq!(operator.figures("shop").await, [-50, 0, -50]);
    let lower = operator
        .patch(wallet, json!({ "overdraft_limit": 0 }))
        .await;
    assert_eq!(lower.error(), (409, "OVERDRAFT_IN_USE", ""));

    // Suspended: nothing new; closed: nothing.
    operator
        .post(&format!("{wallet}/topup"), json!({ "amount": 150 }))
        .await
        .data();
    let held = operator.reserve("shop", 100, 600).await.id();
    let suspended = operator
        .patch(wallet, json!({ "status": "suspended" }))
        .await;
    assert_eq!(suspended.data()["status"], "suspended");
    let refused = operator.reserve("shop", 1, 600).await;
    assert_eq!(refused.error(), (409, "WALLET_SUSPENDED", ""));
    let close = json!({ "status": "closed" });
    let open = operator.patch(wallet, close.clone()).await;
    assert_eq!(open.error(), (409, "WALLET_HAS_RESERVATIONS", ""));
    let path = format!("/api/v1/reservations/{held}/commit");
    operator.post(&path, json!({})).await.data();
    assert_eq!(
        operator.patch(wallet, close).await.data()["status"],
        "closed"
    );
    let refused = operator
        .post(&format!("{wallet}/topup"), json!({ "amount": 1 }))
        .await;
    assert_eq!(refused.error(), (409, "WALLET_CLOSED", ""));

    let twice = operator
        .post(
            "/api/v1/wallets",
            json!({ "project_id": "shop", "org_id": "acme" }),
        )
        .await;
    assert_eq!(twice.error(), (409, "WALLET_EXISTS", ""));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_paged_and_filtered() {
    let house = House::dev().await;
    let operator = &house.operator;
    operator.wallet("busy", 0).await;
    operator.wallet("other", 5).await;
    let mut paying = JoinSet::new();
    for n in 0..600 {
        let caller = operator.clone();
        paying.spawn(async move {
            let body = json!({ "amount": 1, "description": format!("n{n}") });
            caller.post("/api/v1/wallets/busy/topup", body).await.id()
        });
    }
    let mut made = paying.join_all().await;
    made.sort_unstable();
    let ids = |rows: &[serde_json::Value]| -> Vec<String> {
        rows.iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    };
    // Ids sort as the entries were made.
    assert_eq!(ids(&operator.transactions("busy", "").await), made);
    let store = house.store().await;
    let pages = photon_store::Scan::below("/photon/creditservice/history/busy/", 10);
    eventually("full pages are written", PATIENCE, || async {
        (store.scan(&pages).await.unwrap().entries.len() >= 2).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(ids(&operator.transactions("busy", "").await), made);
    // Newest first, page by page, from pages and memory alike.
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/wallets/busy/transactions?limit=70{token}");
        let page = operator.get(&path).await;
        found.extend(ids(page.data()["transactions"].as_array().unwrap()));
        match page.data()["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    found.reverse();
    assert_eq!(found, made);
    let all = operator.get("/api/v1/wallets/busy/transactions").await;
    assert_eq!(all.data()["transactions"].as_array().unwrap().len(), 600);
    let none = operator
        .get("/api/v1/wallets/busy/transactions?types=charge")
        .await;
    assert_eq!(none.data()["transactions"], json!([]));
    let past = operator
        .get("/api/v1/wallets/busy/transactions?to=2020-01-01T00:00:00Z")
        .await;
    assert_eq!(past.data()["transactions"], json!([]));
    assert_eq!(operator.transactions("other", "").await.len(), 1);
    let listed = operator.get("/api/v1/wallets?limit=1").await;
    assert_eq!(listed.data()["wallets"][0]["project_id"], "busy");
    let token = listed.data()["next_page_token"].as_str().unwrap();
    let rest = operator
        .get(&format!("/api/v1/wallets?page_token={token}"))
        .await;
    assert_eq!(rest.data()["wallets"][0]["project_id"], "other");
    assert_eq!(rest.data()["wallets"].as_array().unwrap().len(), 1);
    house.stop().await;
}

/// Time that passes while nobody is there counts.
#[tokio::test(flavor = "multi_thread")]
async fn holds_end_across_a_restart() {
    let mut house = House::dev().await;
    house.operator.wallet("shop", 100).await;
    house.operator.reserve("shop", 60, 1).await.id();
    let kept = house.operator.reserve("shop", 30, 600).await.id();
    house.restart().await;
    let operator = &house.operator;
    eventually("the hold is given back", PATIENCE, || async {
        (operator.figures("shop").await == [100, 30, 70]).then_some(())
    })
    .await
    .unwrap();
    let shown = operator.get(&format!("/api/v1/reservations/{kept}")).await;
    assert_eq!(shown.data()["status"], "active");
    house.stop().await;
}
