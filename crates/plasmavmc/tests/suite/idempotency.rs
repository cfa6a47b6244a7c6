//! `Idempotency-Key`: asked twice, made once.

use serde_json::json;
use tokio::task::JoinSet;

use crate::house::{House, VMS};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_makes_one_vm() {
    let house = House::dev().await;
    let _host = house.host("host-1").await;
    let body = json!({ "name": "web", "org_id": "acme", "project_id": "shop", "vcpus": 1, "memory_mib": 64 });
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let (operator, body) = (house.operator.clone(), body.clone());
        asking.spawn(async move { operator.keyed("k", VMS, body).await });
    }
    let answers = asking.join_all().await;
    let made: Vec<String> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .map(crate::house::Answer::id)
        .collect();
    assert!(
        !made.is_empty() && made.iter().all(|id| *id == made[0]),
        "{answers:?}"
    );
    // The others were told that it is in flight.
    assert!(
        answers
            .iter()
            .all(|answer| [201, 409].contains(&answer.status)),
        "{answers:?}"
    );
    let again = house.operator.keyed("k", VMS, body).await;
    assert!(again.replayed);
    assert_eq!(
        house.operator.all(VMS, "vms", "id").await,
        [made[0].clone()]
    );
    let other = json!({ "name": "db", "org_id": "acme", "project_id": "shop", "vcpus": 1, "memory_mib": 64 });
    let other = house.operator.keyed("k", VMS, other).await;
    assert_eq!(other.error(), (422, "UNPROCESSABLE", "Idempotency-Key"));
    house.stop().await;
}
