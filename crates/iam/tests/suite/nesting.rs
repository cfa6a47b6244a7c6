//! Groups within groups: no circle, not too deep, also when two change them at once.

use photon_testkit::in_process_iam;
use serde_json::json;

use crate::local::Caller;

async fn group(operator: &Caller, id: &str) {
    operator
        .post("/api/v1/groups", json!({ "id": id }))
        .await
        .data();
}

async fn put(operator: &Caller, inner: &str, outer: &str) -> crate::local::Answer {
    operator
        .put(&format!("/api/v1/groups/{outer}/members/group/{inner}"))
        .await
}

#[tokio::test]
async fn a_group_is_never_in_itself() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    for id in ["a", "b", "c"] {
        group(&operator, id).await;
    }
    let refused = (400, "VALIDATION_ERROR", "member");
    assert_eq!(put(&operator, "a", "a").await.error(), refused);
    put(&operator, "b", "a").await.data();
    put(&operator, "c", "b").await.data();
    assert_eq!(put(&operator, "a", "c").await.error(), refused);
    assert_eq!(put(&operator, "a", "b").await.error(), refused);
    // One that is not there yet may be a member in dev mode, and must not close a circle by being made.
    put(&operator, "later", "c").await.data();
    let made = json!({ "id": "later", "members": ["group:a"] });
    let made = operator.post("/api/v1/groups", made).await;
    assert_eq!(made.error(), (400, "VALIDATION_ERROR", "members"));
    iam.stop().await;
}

#[tokio::test]
async fn eight_are_within_each_other_and_not_nine() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    for n in 0..9 {
        group(&operator, &format!("g{n}")).await;
    }
    for n in 0..7 {
        put(&operator, &format!("g{}", n + 1), &format!("g{n}"))
            .await
            .data();
    }
    let refused = put(&operator, "g8", "g7").await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "member"));
    let refused = put(&operator, "g0", "g8").await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "member"));
    iam.stop().await;
}

/// Each of two additions is fine alone. Of many pairs at once, one of each wins.
#[tokio::test]
async fn two_additions_at_once_make_no_circle() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    for round in 0..8 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        group(&operator, &a).await;
        group(&operator, &b).await;
        let (one, other) = tokio::join!(put(&operator, &a, &b), put(&operator, &b, &a));
        let mut answers = [one.status, other.status];
        answers.sort_unstable();
        assert_eq!(answers, [200, 400], "{one:?} {other:?}");
    }
    iam.stop().await;
}
