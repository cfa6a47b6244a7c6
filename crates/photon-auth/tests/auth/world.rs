//! A store with an org, a project, people and a key, as IAM would have published them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use photon_auth::{Auth, AuthOptions, DEFAULT_ISSUER, sweep::sign};
use photon_authz::{Binding, BindingId, Keyed, Org, PrincipalState, Project, PublicKey, Scope};
use photon_core::Name;
use photon_server::Mode;
use photon_store::{Expected, Options, Record, Store};
use photon_testkit::{InProcessChainfire, in_process_chainfire};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

/// Longer than anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// A key pair and what is published of it.
pub(crate) struct Signer {
    pub(crate) pkcs8: Vec<u8>,
    pub(crate) point: Vec<u8>,
    pub(crate) record: PublicKey,
}

impl Signer {
    pub(crate) fn new(kid: &str, issuer: &str, dev: bool) -> Self {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        let (x, y) = point[1..].split_at(32);
        let now = Timestamp::now();
        let record = PublicKey {
            kid: kid.to_owned(),
            jwk: json!({
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
                "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
            }),
            issuer: issuer.to_owned(),
            dev,
            not_before: now,
            not_after: now + Duration::from_secs(86_400),
        };
        Self {
            pkcs8: pkcs8.as_ref().to_vec(),
            point,
            record,
        }
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": "ES256", "kid": self.record.kid, "typ": "at+jwt"})
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        sign(&self.pkcs8, header, claims).unwrap()
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }
}

/// Good claims for the project `shop`.
pub(crate) fn claims(subject: &str) -> Value {
    let now = now();
    json!({
        "iss": DEFAULT_ISSUER, "sub": subject, "aud": "photon",
        "exp": now + 3600, "iat": now, "nbf": now,
        "jti": Uuid::now_v7().to_string(),
        "client_id": subject, "scope": "", "ptype": "user",
        "scope_id": "shop", "scope_type": "project", "org_id": "acme",
    })
}

pub(crate) fn with(claims: &Value, member: &str, value: impl Into<Value>) -> Value {
    let mut changed = claims.clone();
    changed[member] = value.into();
    changed
}

pub(crate) fn project(epoch: i64, disabled: bool) -> Project {
    Project {
        id: name("shop"),
        org: name("acme"),
        name: "Shop".into(),
        implicit: false,
        disabled,
        epoch,
        created_at: Timestamp::now(),
    }
}

pub(crate) fn user(id: &str, epoch: i64, disabled: bool) -> PrincipalState {
    PrincipalState {
        principal: format!("user:{id}").parse().unwrap(),
        home: None,
        disabled,
        epoch,
    }
}

pub(crate) fn binding(principal: &str, role: &str, scope: &str) -> Binding {
    Binding {
        id: BindingId::generate(),
        principal: principal.parse().unwrap(),
        role: name(role),
        scope: scope.parse().unwrap(),
        condition: None,
        expires_at: None,
        created_at: Timestamp::now(),
        created_by: String::new(),
    }
}

/// A clock that tests move.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shift(Arc<AtomicI64>);

impl Shift {
    pub(crate) fn by(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    pub(crate) fn options(&self) -> AuthOptions {
        let shift = Arc::clone(&self.0);
        AuthOptions {
            clock: Arc::new(move || {
                let shift = jiff::SignedDuration::from_secs(shift.load(Ordering::SeqCst));
                Timestamp::now() + shift
            }),
            ..AuthOptions::default()
        }
    }
}

pub(crate) struct World {
    pub(crate) node: InProcessChainfire,
    pub(crate) store: Store,
    pub(crate) key: Signer,
    pub(crate) dev_key: Signer,
}

impl World {
    /// `alice` may do everything in the project `shop` of the org `acme`; `eve` exists.
    pub(crate) async fn new() -> Self {
        let node = Box::pin(in_process_chainfire()).await.unwrap();
        let store = Store::connect(Options::new([node.endpoint()]))
            .await
            .unwrap();
        let world = Self {
            node,
            store,
            key: Signer::new("key-1", DEFAULT_ISSUER, false),
            dev_key: Signer::new("dev-1", "photon-dev", true),
        };
        let acme = Org {
            id: name("acme"),
            name: "Acme".into(),
            implicit: false,
            disabled: false,
            created_at: Timestamp::now(),
        };
        world.create(acme).await;
        world.create(project(0, false)).await;
        for id in ["alice", "eve"] {
            world.create(user(id, 0, false)).await;
        }
        world
            .create(binding("user:alice", "admin", "project:shop"))
            .await;
        world.create(world.key.record.clone()).await;
        world.create(world.dev_key.record.clone()).await;
        world
    }

    pub(crate) async fn create<T: Record + Keyed>(&self, record: T) -> i64 {
        let all = self.store.collection::<T>();
        all.create(&record.key(), record).await.unwrap().revision
    }

    pub(crate) async fn write<T: Record + Keyed>(&self, record: T) -> i64 {
        let all = self.store.collection::<T>();
        let key = record.key();
        let mut stored = all.get(&key).await.unwrap().unwrap();
        stored.value = record;
        all.replace(stored).await.unwrap().revision
    }

    pub(crate) async fn delete<T: Record>(&self, key: &str) {
        let all = self.store.collection::<T>();
        all.delete(key, Expected::Any).await.unwrap();
    }

    pub(crate) async fn auth(&self, mode: Mode) -> Auth {
        self.auth_with(mode, AuthOptions::default()).await
    }

    pub(crate) async fn auth_with(&self, mode: Mode, options: AuthOptions) -> Auth {
        Auth::start(self.store.clone(), mode, options, "test")
            .await
            .unwrap()
    }

    pub(crate) fn token(&self, subject: &str) -> String {
        self.key.token(&claims(subject))
    }
}

pub(crate) async fn caught_up(auth: &Auth, revision: i64) {
    auth.wait_for(revision, Instant::now() + PATIENCE)
        .await
        .unwrap();
}

pub(crate) fn shop() -> Scope {
    Scope::Project(name("shop"))
}
