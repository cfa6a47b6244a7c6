//! The quota of volumes, with a real CreditService.

use photon_testkit::poll::eventually;
use serde_json::{Value, json};

use crate::{
    house::{Caller, PATIENCE, config, over},
    paid::{Paid, asks},
};

/// Waits until so many volumes count, of so many GiB, and nothing is held.
async fn until_counted(paid: &Paid, volumes: i64, gib: i64) {
    eventually(
        &format!("{volumes} of {gib} GiB count"),
        PATIENCE,
        || async {
            let units = paid.units().await;
            let of = |kind: &str| units.get(kind).copied().unwrap_or_default();
            (of("volume") == (volumes, 0) && of("disk_gib") == (gib, 0)).then_some(())
        },
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_counts_as_large_as_it_is() {
    let paid = Paid::start(|_| {}).await;
    let operator = &paid.house.operator;
    let host = paid.house.host("host-1").await;
    let volume = operator.made_volume().await;
    until_counted(&paid, 1, 10).await;
    // Twice at once, before either is counted.
    operator.grow(&volume, json!(12)).await.data();
    operator.grow(&volume, json!(15)).await.data();
    until_counted(&paid, 1, 15).await;
    // What a VM's root disk lies in counts as before there were pools.
    let vm = operator.vm(json!({ "disk_size_gb": 3 })).await.id();
    operator.until(&vm, "Stopped").await;
    until_counted(&paid, 1, 18).await;
    paid.limit("disk_gib", 20).await;
    let refused = operator.grow(&volume, json!(18)).await;
    assert_eq!(refused.error(), (409, "QUOTA_EXCEEDED", ""));
    let refused = operator.volume(json!({ "size_gb": 3 })).await;
    assert_eq!(refused.error(), (409, "QUOTA_EXCEEDED", ""));
    assert_eq!(refused.details()["lacking"][0]["kind"], "disk_gib");
    assert_eq!(operator.allocated("local").await, 18);
    paid.limit("disk_gib", 4_096).await;
    paid.limit("volume", 1).await;
    let refused = operator.volume(json!({})).await;
    assert_eq!(refused.error(), (409, "QUOTA_EXCEEDED", ""));
    assert_eq!(refused.details()["lacking"][0]["kind"], "volume");
    // What is refused for another reason is given back.
    paid.limit("volume", 50).await;
    let refused = operator.volume(json!({ "size_gb": 2_000 })).await;
    assert_eq!(refused.error(), (409, "NO_CAPACITY", ""));
    let (one, two) = tokio::join!(
        operator.volume(json!({ "size_gb": 900 })),
        operator.volume(json!({ "size_gb": 900 })),
    );
    let won = if one.status == 201 { &one } else { &two };
    until_counted(&paid, 2, 918).await;
    operator.until_volume(&won.id(), "Available").await;
    operator.delete_volume(&won.id()).await;
    until_counted(&paid, 1, 18).await;
    // What cannot be made counts until it is deleted.
    host.habits(|habits| habits.volumes.broken = Some("no".to_owned()));
    let failed = operator.volume(json!({})).await.id();
    operator.until_volume(&failed, "Error").await;
    until_counted(&paid, 2, 28).await;
    operator.delete_volume(&failed).await;
    operator.delete_volume(&volume).await;
    operator.delete_vm(&vm).await;
    paid.until_nothing_is_held().await;
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credit_service_nothing_is_made_and_what_goes_waits() {
    let mut paid = Paid::start(|_| {}).await;
    let host = paid.house.host("host-1").await;
    let volume = paid.house.operator.made_volume().await;
    until_counted(&paid, 1, 10).await;
    paid.credit_goes().await;
    let operator = paid.house.operator.clone();
    let refused = operator.volume(json!({})).await;
    assert_eq!(refused.error(), (503, "UNAVAILABLE", ""));
    let refused = operator.grow(&volume, json!(11)).await;
    assert_eq!(refused.error(), (503, "UNAVAILABLE", ""));
    operator
        .delete(&format!("/api/v1/volumes/{volume}"))
        .await
        .data();
    let waits = |volume: &Value| volume["state_reason"] == "waiting for CreditService";
    operator.until_volume_is(&volume, "waiting", waits).await;
    assert_eq!(host.removed(&volume), 1);
    paid.credit_returns().await;
    operator.until_volume_gone(&volume).await;
    paid.until_nothing_is_held().await;
    assert_eq!(operator.allocated("local").await, 0);
    paid.stop().await;
}

/// The process that took what a volume needs is gone before it is counted, and what held it has ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_counted_in_time_is_counted_as_it_is() {
    let mut paid = Paid::start(|_| {}).await;
    let _host = paid.house.host("host-1").await;
    let volume = paid.house.operator.made_volume().await;
    let before = paid.house.operator.made_volume().await;
    until_counted(&paid, 2, 20).await;
    paid.house.running.take().unwrap().stop().await;
    let store = paid.house.store().await;
    let held =
        json!({ "state": "held", "reservation": "rsv-019ac8e5-3c00-7001-8c00-000000000009" });
    for (id, units, size) in [(&volume, held, 30), (&before, json!(null), 10)] {
        let key = format!("/photon/plasmavmc/volume/acme/shop/{id}");
        let found = store.get_raw(&key).await.unwrap().unwrap();
        let mut record: Value = serde_json::from_slice(&found.value).unwrap();
        record["size_gib"] = json!(size);
        record["units"] = units;
        let mut transaction = store.transaction();
        transaction.put_raw(&key, record.to_string(), 0).unwrap();
        transaction.commit().await.unwrap();
    }
    let mut config = config(&paid.house.chainfire.endpoint());
    asks(&mut config, paid.address());
    let again = over(config).await;
    paid.house.operator = Caller::of(&again);
    paid.house.running = Some(again);
    until_counted(&paid, 2, 40).await;
    let operator = paid.house.operator.clone();
    for volume in [&volume, &before] {
        operator.delete_volume(volume).await;
    }
    paid.until_nothing_is_held().await;
    paid.stop().await;
}
