//! The store goes away, comes back, or was never there; and waiting for what was written to it.

use std::time::Duration;

use photon_auth::{Auth, AuthOptions};
use photon_authz::Permission;
use photon_core::Code;
use photon_server::Mode;
use photon_store::{Options, Record, Store};
use photon_testkit::poll::eventually_true;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::world::{PATIENCE, World, binding, caught_up, claims, project, shop};

fn code(auth: &Auth, token: &str) -> Option<Code> {
    auth.verify(token).err().map(|error| error.code())
}

fn stale_after(limit: Duration) -> AuthOptions {
    AuthOptions {
        max_staleness: limit,
        ..AuthOptions::default()
    }
}

#[tokio::test]
async fn decisions_go_on_for_a_bounded_time() {
    const LIMIT: Duration = Duration::from_secs(2);
    let mut world = World::new().await;
    let patient = world.auth(Mode::Enforce).await;
    let auth = world.auth_with(Mode::Enforce, stale_after(LIMIT)).await;
    let begun = Instant::now();
    let (seen, unseen) = (world.token("alice"), world.key.token(&claims("alice")));
    let caller = crate::callers::caller_of(&auth, &seen).await;
    let permission = Permission::new("demo.greetings.get").unwrap();
    patient.verify(&seen).unwrap();
    // While nothing happens it stays fresh: the store is asked.
    tokio::time::sleep_until(begun + 2 * LIMIT).await;
    let fresh = || async { auth.check_fresh().is_ok() && auth.silent_since().is_none() };
    eventually_true("it is fresh", PATIENCE, fresh)
        .await
        .unwrap();

    world.node.stop().await;
    let noticed = || async { patient.silent_since().is_some() };
    eventually_true("that nothing is heard is said", PATIENCE, noticed)
        .await
        .unwrap();
    assert_eq!(patient.silent_since(), patient.silent_since());
    assert_eq!(code(&patient, &seen), None);
    assert_eq!(
        code(&patient, &unseen),
        None,
        "a token nobody has shown yet"
    );
    patient.decide(&caller, &permission, &shop()).unwrap();
    let forged = format!("{seen}x");
    assert_eq!(code(&patient, &forged), Some(Code::UNAUTHENTICATED));
    // A key nobody knows makes nobody wait for a store that is away.
    let foreign = crate::world::Signer::new("unheard-of", "x", false);
    let foreign = foreign.token(&claims("alice"));
    let error = patient.verify_up_to_date(&foreign).await.unwrap_err();
    assert_eq!(error.code(), Code::UNAUTHENTICATED);

    let refuses = || async { code(&auth, &seen) == Some(Code::UNAVAILABLE) };
    eventually_true("everything is refused", PATIENCE, refuses)
        .await
        .unwrap();
    assert!(auth.staleness() > LIMIT);
    assert_eq!(code(&auth, &unseen), Some(Code::UNAVAILABLE));
    // Nothing is said about credentials that cannot be judged.
    assert_eq!(code(&auth, &forged), Some(Code::UNAVAILABLE));
    let refused = auth.decide(&caller, &permission, &shop()).unwrap_err();
    assert_eq!(refused.code(), Code::UNAVAILABLE);
    // A list is a decision, too.
    let deadline = Instant::now() + PATIENCE;
    let ctx = auth.context(caller, permission, uuid::Uuid::now_v7(), deadline);
    assert_eq!(ctx.visible().unwrap_err().code(), Code::UNAVAILABLE);

    Box::pin(world.node.start()).await.unwrap();
    let accepts = || async { code(&auth, &seen).is_none() };
    eventually_true("it goes on", PATIENCE, accepts)
        .await
        .unwrap();
    eventually_true("the store is heard", PATIENCE, fresh)
        .await
        .unwrap();
    // And hears what happens from then on.
    let store = Store::connect(Options::new([world.node.endpoint()]))
        .await
        .unwrap();
    world.store = store;
    world.write(project(i64::MAX, false)).await;
    for auth in [&auth, &patient] {
        let refuses = || async { code(auth, &seen) == Some(Code::UNAUTHENTICATED) };
        eventually_true("the project's tokens are revoked", PATIENCE, refuses)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn it_does_not_start_without_a_store() {
    let mut world = World::new().await;
    world.node.stop().await;
    let options = AuthOptions {
        start_timeout: Duration::from_millis(300),
        ..AuthOptions::default()
    };
    let error = Auth::start(world.store.clone(), Mode::Enforce, options, "test")
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::UNAVAILABLE);
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    text: String,
}

impl Record for Note {
    const ROOT: &'static str = "/photon/test/note/";
}

#[tokio::test]
async fn what_a_write_returned_can_be_waited_for() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let eve = crate::callers::caller_of(&auth, &world.token("eve")).await;
    let permission = Permission::new("demo.greetings.get").unwrap();
    for _ in 0..20 {
        let given = binding("user:eve", "viewer", "project:shop");
        let id = given.id;
        let revision = world.create(given).await;
        caught_up(&auth, revision).await;
        auth.decide(&eve, &permission, &shop()).unwrap();
        world.delete::<photon_authz::Binding>(&id.to_string()).await;
        // A revision that changed nothing of what is followed is reached, too.
        let notes = world.store.collection::<Note>();
        let note = Note {
            text: id.to_string(),
        };
        let revision = notes.create(&id.to_string(), note).await.unwrap().revision;
        caught_up(&auth, revision).await;
        assert!(auth.revision() >= revision);
        auth.decide(&eve, &permission, &shop()).unwrap_err();
    }
    let never = auth.revision() + 1000;
    let deadline = Instant::now() + Duration::from_millis(200);
    let late = auth.wait_for(never, deadline).await.unwrap_err();
    assert_eq!(late.code(), Code::UNAVAILABLE);
}
