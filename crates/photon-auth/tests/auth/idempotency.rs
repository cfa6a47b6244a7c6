//! Creates with a key: once, told again, and to nobody else. The service here makes boxes in a project.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::extract::State;
use photon_auth::{Auth, AuthOptions, Context, Tell, idempotency::KEPT_FOR, rest::Routes};
use photon_authz::{Binding, Scope};
use photon_core::{Error, Name};
use photon_server::{Created, Daemon, Json, Listen, Mode, Path, RestError};
use photon_store::{
    FeedEvent, PageRequest, Record, Store,
    idempotency::{Answer, Found},
};
use reqwest::{RequestBuilder, header::HeaderMap};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::{Shift, World, binding, caught_up, user};

const BOXES: &str = "/api/v1/projects/shop/boxes";
const HEADER: &str = "idempotency-key";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    text: String,
}

impl Record for Stored {
    const ROOT: &'static str = "/photon/test/box/";
}

#[derive(Clone)]
struct Boxes {
    store: Store,
    tried: Arc<AtomicUsize>,
    /// What a use case waits for before it commits.
    gate: Arc<Semaphore>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    id: String,
    text: String,
    /// How it goes on after the box is there.
    #[serde(default)]
    then: String,
}

async fn create(
    ctx: Context,
    State(boxes): State<Boxes>,
    Path(project): Path<Name>,
    Json(new): Json<New>,
) -> Result<Created<Value>, RestError> {
    ctx.allow(&Scope::Project(project))?;
    let nth = boxes.tried.fetch_add(1, Ordering::SeqCst);
    if new.text.is_empty() {
        return Err(Error::required("text").into());
    }
    let passed = boxes.gate.acquire().await;
    drop(passed.map_err(Error::internal)?);
    let all = boxes.store.collection::<Stored>();
    let mut transaction = boxes.store.transaction();
    let stored = Stored { text: new.text };
    transaction
        .create(&all, &new.id, &stored)
        .map_err(Error::from)?;
    let tell = match new.then.as_str() {
        "secret" => Tell::Once,
        _ => Tell::Again,
    };
    if new.then != "forget" {
        let once = ctx.once(&mut transaction, "box", &new.id, tell);
        once.map_err(Error::from)?;
    }
    transaction.commit().await.map_err(Error::from)?;
    match new.then.as_str() {
        "fail" => Err(Error::unavailable("the lid does not close").into()),
        "large" => Ok(Created(json!({ "nth": nth, "text": "x".repeat(70_000) }))),
        _ => Ok(Created(json!({ "nth": nth, "text": stored.text }))),
    }
}

struct Service {
    url: String,
    auth: Auth,
    boxes: Boxes,
    http: reqwest::Client,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Told {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Told {
    fn is_replay(&self) -> bool {
        self.headers
            .get("idempotency-replayed")
            .is_some_and(|value| value == "true")
    }

    /// The content of an answer that made a box, or tells of it again.
    fn data(&self) -> &Value {
        assert_eq!(self.status, 201, "{self:?}");
        &self.body["data"]
    }

    /// Status, code, and the constraint of the details, which must be about the key.
    fn error(&self) -> (u16, &str, &str) {
        let error = &self.body["error"];
        assert_eq!(error["details"]["field"], "Idempotency-Key", "{self:?}");
        let text = |value: &'static str| error[value].as_str().unwrap();
        let constraint = error["details"]["constraint"].as_str().unwrap();
        (self.status, text("code"), constraint)
    }
}

impl Service {
    async fn start(world: &World, options: AuthOptions) -> Self {
        let auth = world.auth_with(Mode::Enforce, options).await;
        let boxes = Boxes {
            store: world.store.clone(),
            tried: Arc::default(),
            gate: Arc::new(Semaphore::new(1000)),
        };
        let router = Routes::new()
            .create(
                "/api/v1/projects/{project}/boxes",
                "demo.boxes.create",
                create,
            )
            .into_router(&auth)
            .unwrap()
            .with_state(boxes.clone());
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let running = Daemon::new("demo", "1.0.0")
            .mode(Mode::Enforce)
            .authenticator(auth.authenticator())
            .rest(Listen::bound(socket, None), router)
            .start(stop.clone())
            .unwrap();
        Self {
            url: format!("http://{}", running.rest_addresses()[0]),
            auth,
            boxes,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            _stop: stop.drop_guard(),
        }
    }

    fn request(&self, token: &str, key: &str, body: &Value) -> RequestBuilder {
        let request = self.http.post(format!("{}{BOXES}", self.url));
        request.bearer_auth(token).header(HEADER, key).json(body)
    }

    async fn make(&self, token: &str, key: &str, body: &Value) -> Told {
        told(self.request(token, key, body)).await
    }

    fn tried(&self) -> usize {
        self.boxes.tried.load(Ordering::SeqCst)
    }

    async fn made(&self) -> usize {
        let all = self.boxes.store.collection::<Stored>();
        all.list(&PageRequest::default()).await.unwrap().items.len()
    }

    /// The one record of a key there is, and what it is found by.
    async fn record(&self) -> (String, Found) {
        let root = "/photon/test/idempotency/";
        let snapshot = self.boxes.store.feed(root).next().await.unwrap();
        let FeedEvent::Snapshot { entries, .. } = snapshot else {
            panic!("a feed begins with a snapshot");
        };
        assert_eq!(entries.len(), 1);
        let name = entries[0].key.strip_prefix(root).unwrap().to_owned();
        let found = self.auth.idempotency().find(&name).await.unwrap().unwrap();
        (name, found)
    }
}

async fn told(request: RequestBuilder) -> Told {
    let response = request.send().await.unwrap();
    Told {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.json().await.unwrap(),
    }
}

#[tokio::test]
async fn the_same_request_is_done_once_and_told_again() {
    let world = World::new().await;
    let service = Service::start(&world, AuthOptions::default()).await;
    let alice = world.token("alice");
    let body = json!({"id": "a", "text": "hi"});
    let first = service.make(&alice, "k-1", &body).await;
    assert!(!first.is_replay());
    // Another token of the same principal, and the same JSON written otherwise.
    let written = "{ \"text\": \"\\u0068i\",\n \"id\": \"a\" }";
    let again = service
        .http
        .post(format!("{}{BOXES}", service.url))
        .bearer_auth(world.token("alice"))
        .header(HEADER, "k-1")
        .header("content-type", "application/json")
        .body(written);
    let again = told(again).await;
    assert!(again.is_replay());
    assert_eq!(again.data(), first.data());
    let id = |told: &Told| told.body["meta"]["request_id"].to_string();
    assert_ne!(id(&again), id(&first));
    assert_eq!((service.tried(), service.made().await), (1, 1));

    // The same key for something else is a mistake; another key for the same is another box.
    let other = service
        .make(&alice, "k-1", &json!({"id": "b", "text": "hi"}))
        .await;
    assert_eq!(other.error(), (422, "UNPROCESSABLE", "same_request"));
    let taken = service.make(&alice, "k-2", &body).await;
    assert_eq!(taken.body["error"]["code"], "ALREADY_EXISTS");
    assert!(taken.body["error"]["details"].is_null());
    let other = service
        .make(&alice, "k-2", &json!({"id": "b", "text": "hi"}))
        .await;
    assert_eq!(other.data()["nth"], 2);
    // Without a key it is as ever.
    let plain = service.http.post(format!("{}{BOXES}", service.url));
    let plain = plain
        .bearer_auth(&alice)
        .json(&json!({"id": "c", "text": "x"}));
    assert!(!told(plain).await.is_replay());
}

#[tokio::test]
async fn what_is_refused_may_be_tried_again_with_the_same_key() {
    let world = World::new().await;
    let service = Service::start(&world, AuthOptions::default()).await;
    let alice = world.token("alice");
    let empty = json!({"id": "a", "text": ""});
    for _ in 0..2 {
        let refused = service.make(&alice, "k", &empty).await;
        assert_eq!(refused.body["error"]["details"]["field"], "text");
    }
    let good = json!({"id": "a", "text": "hi"});
    assert!(!service.make(&alice, "k", &good).await.is_replay());
    assert!(service.make(&alice, "k", &good).await.is_replay());
    // A key that cannot be one reaches nobody.
    let tried = service.tried();
    for bad in ["", "a b", &"x".repeat(256)] {
        let refused = service.make(&alice, bad, &good).await;
        let (status, code, _) = refused.error();
        assert_eq!((status, code), (400, "VALIDATION_ERROR"), "{bad:?}");
    }
    let twice = service.request(&alice, "k", &good).header(HEADER, "l");
    assert_eq!(told(twice).await.error().2, "single");
    assert_eq!(service.tried(), tried);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_done() {
    let world = World::new().await;
    let service = Arc::new(Service::start(&world, AuthOptions::default()).await);
    let alice = world.token("alice");
    // All of them are past the look into the records before one may commit.
    let closed = service.boxes.gate.acquire_many(1000).await.unwrap();
    let mut all = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (service, alice) = (Arc::clone(&service), alice.clone());
        // Half of them would clash in their box, too.
        let body = json!({"id": "same", "text": "hi"});
        let key = if n < 18 { "k" } else { "other" };
        all.spawn(async move { (key, service.make(&alice, key, &body).await) });
    }
    while service.tried() < 20 {
        tokio::task::yield_now().await;
    }
    drop(closed);
    let all = all.join_all().await;
    assert_eq!(service.made().await, 1);
    let firsts = all
        .iter()
        .filter(|(_, told)| told.status == 201 && !told.is_replay());
    let [(winner, first)] = firsts.collect::<Vec<_>>()[..] else {
        panic!("{all:?}");
    };
    for (key, told) in &all {
        if key == winner && told.status == 201 {
            assert_eq!(told.data(), first.data());
        } else if key == winner {
            assert_eq!(told.error(), (409, "CONFLICT", "in_flight"));
            assert_eq!(told.headers["retry-after"], "1");
        } else {
            assert_eq!(told.body["error"]["code"], "ALREADY_EXISTS", "{told:?}");
        }
    }
    // Whoever was told to ask again is told.
    let body = json!({"id": "same", "text": "hi"});
    let again = service.make(&alice, winner, &body).await;
    assert_eq!(again.data(), first.data());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_gone_away_is_told_when_it_comes_back() {
    let world = World::new().await;
    let service = Service::start(&world, AuthOptions::default()).await;
    let alice = world.token("alice");
    let body = json!({"id": "a", "text": "hi"});
    let closed = service.boxes.gate.acquire_many(1000).await.unwrap();
    let request = tokio::spawn(service.request(&alice, "k", &body).send());
    while service.tried() == 0 {
        tokio::task::yield_now().await;
    }
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    drop(closed);
    // It goes on without its sender.
    photon_testkit::eventually("the box is made", crate::world::PATIENCE, || async {
        (service.made().await == 1).then_some(())
    })
    .await
    .unwrap();
    let answered = photon_testkit::eventually("it is told", crate::world::PATIENCE, || async {
        let told = service.make(&alice, "k", &body).await;
        (told.status == 201).then_some(told)
    });
    assert!(answered.await.unwrap().is_replay());
    assert_eq!(service.tried(), 1);
}

#[tokio::test]
async fn keys_of_two_callers_do_not_meet() {
    let world = World::new().await;
    world.create(user("bob", 0, false)).await;
    let revision = world
        .create(binding("user:bob", "admin", "project:shop"))
        .await;
    let service = Service::start(&world, AuthOptions::default()).await;
    caught_up(&service.auth, revision).await;
    for (who, id) in [("alice", "a"), ("bob", "b")] {
        let told = service
            .make(&world.token(who), "k", &json!({"id": id, "text": who}))
            .await;
        assert!(!told.is_replay());
        assert_eq!(told.data()["text"], who);
    }
    // Who may not do it learns nothing from a key.
    let refused = service
        .make(
            &world.token("eve"),
            "k",
            &json!({"id": "a", "text": "alice"}),
        )
        .await;
    assert_eq!((refused.status, refused.is_replay()), (403, false));
}

#[tokio::test]
async fn who_may_no_longer_do_it_is_not_told_again() {
    let world = World::new().await;
    world.create(user("bob", 0, false)).await;
    let held: Binding = binding("user:bob", "admin", "project:shop");
    let key = held.id.to_string();
    let revision = world.create(held).await;
    let service = Service::start(&world, AuthOptions::default()).await;
    caught_up(&service.auth, revision).await;
    let (bob, body) = (world.token("bob"), json!({"id": "b", "text": "hi"}));
    service.make(&bob, "k", &body).await.data();
    assert!(service.make(&bob, "k", &body).await.is_replay());
    world.delete::<Binding>(&key).await;
    photon_testkit::eventually("it is heard of", crate::world::PATIENCE, || async {
        let told = service.make(&bob, "k", &body).await;
        (told.status == 403).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(service.tried(), 1);
}

#[tokio::test]
async fn what_is_not_kept_is_named() {
    let world = World::new().await;
    let service = Service::start(&world, AuthOptions::default()).await;
    let alice = world.token("alice");
    for (then, first, constraint) in [
        ("secret", 201, "shown_once"),
        ("large", 201, "not_kept"),
        ("fail", 503, "not_kept"),
    ] {
        let body = json!({"id": then, "text": "TOP-SECRET", "then": then});
        let told = service.make(&alice, then, &body).await;
        assert_eq!(told.status, first);
        let again = service.make(&alice, then, &body).await;
        assert_eq!(again.error(), (409, "ALREADY_EXISTS", constraint));
        let resource = &again.body["error"]["details"]["resource"];
        assert_eq!(resource, &json!({"kind": "box", "id": then}));
    }
    assert_eq!((service.tried(), service.made().await), (3, 3));
    let mut kept = service.boxes.store.feed("/photon/test/idempotency/");
    let kept = format!("{:?}", kept.next().await.unwrap());
    assert!(!kept.contains("TOP-SECRET"), "{kept}");
    // A service that forgets to record what it makes does not get away with it.
    let forgotten = json!({"id": "f", "text": "x", "then": "forget"});
    assert_eq!(service.make(&alice, "f", &forgotten).await.status, 500);
}

/// A process that was killed between the change and its answer leaves a record without one.
#[tokio::test]
async fn after_a_crash_the_thing_is_named() {
    let world = World::new().await;
    let shift = Shift::default();
    let service = Service::start(&world, shift.options()).await;
    let alice = world.token("alice");
    let body = json!({"id": "a", "text": "hi"});
    service.make(&alice, "k", &body).await.data();
    let (name, found) = service.record().await;
    let crash = service
        .auth
        .idempotency()
        .answer(&name, found, Answer::Pending);
    crash.await.unwrap();
    // It may still be on its way ...
    let told = service.make(&alice, "k", &body).await;
    assert_eq!(told.error(), (409, "CONFLICT", "in_flight"));
    // ... until nobody can be at it any more.
    shift.by(61);
    let told = service.make(&alice, "k", &body).await;
    assert_eq!(told.error(), (409, "ALREADY_EXISTS", "not_kept"));
    let resource = &told.body["error"]["details"]["resource"];
    assert_eq!(resource, &json!({"kind": "box", "id": "a"}));
    assert_eq!(service.tried(), 1);
}

#[tokio::test]
async fn keys_are_forgotten_after_a_day() {
    let world = World::new().await;
    let shift = Shift::default();
    let service = Service::start(&world, shift.options()).await;
    let alice = world.token("alice");
    let body = json!({"id": "a", "text": "hi"});
    service.make(&alice, "k", &body).await.data();
    let day = i64::try_from(KEPT_FOR.as_secs()).unwrap();
    shift.by(day - 60);
    assert_eq!(service.auth.forget_old_keys().await.unwrap(), 0);
    shift.by(day + 60);
    assert_eq!(service.auth.forget_old_keys().await.unwrap(), 1);
    // As if it had never been: the box is there, and the key is new.
    shift.by(0);
    let told = service.make(&alice, "k", &body).await;
    assert_eq!((told.status, told.is_replay()), (409, false));
    assert!(told.body["error"]["details"].is_null());
    let other = json!({"id": "b", "text": "hi"});
    assert!(!service.make(&alice, "k", &other).await.is_replay());
}
