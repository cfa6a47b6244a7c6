//! Who a request is from.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Request, request::Parts};
use photon_auth::{
    Asking, Auth, AuthOptions, Caller, ON_BEHALF_OF, ON_BEHALF_PROJECT, Scheme, Who,
};
use photon_authz::{PrincipalRef, PrincipalState, Scope};
use photon_core::Error;
use photon_server::{CertificateIdentity, Mode, Peer};

use crate::world::{World, caught_up, name, project, user};

pub(crate) fn request(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn bearer(token: &str) -> Parts {
    request(&[("authorization", &format!("Bearer {token}"))])
}

pub(crate) async fn caller_of(auth: &Auth, token: &str) -> Caller {
    auth.caller(&bearer(token), None).await.unwrap().unwrap()
}

fn peer(address: &str, common_name: Option<&str>) -> Peer {
    Peer {
        addr: address.parse().unwrap(),
        certificate: common_name.map(|common_name| {
            Arc::new(CertificateIdentity {
                common_name: common_name.to_owned(),
                dns_names: Vec::new(),
                fingerprint: "00".into(),
                der: Arc::new([]),
            })
        }),
    }
}

#[tokio::test]
async fn a_bearer_is_its_tokens_principal_within_its_scope() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let peer = peer("[::ffff:192.0.2.7]:1000", Some("svc/prismnet"));
    let token = world.token("alice");
    // The token counts, not the connection it came by.
    let caller = auth
        .caller(&bearer(&token), Some(&peer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(caller.who.to_string(), "user:alice");
    assert_eq!(caller.limit, Some(Scope::Project(name("shop"))));
    assert_eq!(caller.source.unwrap().to_string(), "192.0.2.7");
    assert!(caller.token_id.is_some());

    for bad in ["Basic YTpi", "Bearer", "Bearer x", "phk_1234", ""] {
        let request = request(&[("authorization", bad)]);
        for mode in [Mode::Enforce, Mode::Dev] {
            let auth = world.auth(mode).await;
            let error = auth.caller(&request, None).await.unwrap_err();
            assert_eq!(error.code().http, 401, "{bad} in {mode:?}");
            assert!(!format!("{error:?}").contains("YTpi"));
        }
    }
}

#[tokio::test]
async fn without_a_credential_only_dev_mode_knows_somebody() {
    let world = World::new().await;
    let none = request(&[]);
    let enforce = world.auth(Mode::Enforce).await;
    assert_eq!(enforce.caller(&none, None).await.unwrap(), None);

    let dev = world.auth(Mode::Dev).await;
    for local in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let caller = dev.caller(&none, Some(&peer(local, None))).await.unwrap();
        assert_eq!(caller.unwrap().who, Who::DevOperator, "{local}");
    }
    let far = dev.caller(&none, Some(&peer("192.0.2.1:1", None))).await;
    assert_eq!(far.unwrap(), None);
}

#[tokio::test]
async fn services_are_known_by_certificate_and_can_be_disabled() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let of = |common_name: &'static str| {
        let auth = auth.clone();
        async move {
            let peer = peer("192.0.2.1:1", Some(common_name));
            auth.caller(&request(&[]), Some(&peer)).await
        }
    };
    for (common_name, expected) in [
        ("svc/prismnet", "service:prismnet"),
        ("prismnet", "service:prismnet"),
        ("svc/nightlight", "service:nightlight"),
    ] {
        let caller = of(common_name).await.unwrap().unwrap();
        assert_eq!(caller.who.to_string(), expected);
        assert_eq!(caller.limit, None);
    }
    for stranger in ["", "root", "alice", "svc/", "svc/../iam"] {
        assert_eq!(
            of(stranger).await.unwrap_err().code().http,
            401,
            "{stranger}"
        );
    }
    let revision = world
        .create(PrincipalState {
            principal: "service:prismnet".parse().unwrap(),
            home: None,
            disabled: true,
            epoch: 0,
        })
        .await;
    caught_up(&auth, revision).await;
    assert_eq!(of("svc/prismnet").await.unwrap_err().code().http, 401);
    of("svc/nightlight").await.unwrap();
}

#[tokio::test]
async fn a_service_acts_for_principals_and_projects_that_are_live() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let peer = peer("192.0.2.1:1", Some("svc/k8shost"));
    let asking = |principal: &'static str, project: &'static str| {
        let auth = auth.clone();
        let peer = peer.clone();
        async move {
            let request = request(&[(ON_BEHALF_OF, principal), (ON_BEHALF_PROJECT, project)]);
            auth.caller(&request, Some(&peer)).await
        }
    };
    let caller = asking("user:alice", "shop").await.unwrap().unwrap();
    let for_whom = caller.on_behalf.unwrap();
    assert_eq!(for_whom.principal.to_string(), "user:alice");
    assert_eq!(for_whom.project, name("shop"));
    assert_eq!(asking("alice", "shop").await.unwrap_err().code().http, 400);
    assert_eq!(
        asking("user:alice", "gone").await.unwrap_err().code().http,
        409
    );

    caught_up(&auth, world.write(user("alice", 0, true)).await).await;
    assert_eq!(
        asking("user:alice", "shop").await.unwrap_err().code().http,
        409
    );
    asking("user:eve", "shop").await.unwrap();
    caught_up(&auth, world.write(project(0, true)).await).await;
    assert_eq!(
        asking("user:eve", "shop").await.unwrap_err().code().http,
        409
    );
}

/// Keys in a header of their own, as a later protocol might have.
struct HeaderKey;

impl Scheme for HeaderKey {
    fn caller<'a>(&'a self, asking: Asking<'a>) -> BoxFuture<'a, Result<Option<Caller>, Error>> {
        Box::pin(async move {
            let Some(key) = asking.request.headers.get("x-key") else {
                return Ok(None);
            };
            if key != "secret" {
                return Err(Error::unauthenticated("the key is not known"));
            }
            Ok(Some(Caller {
                who: Who::Principal(PrincipalRef::user(name("alice"))),
                limit: None,
                source: asking.source(),
                on_behalf: None,
                token_id: None,
                acting: None,
            }))
        })
    }
}

#[tokio::test]
async fn a_service_may_bring_another_scheme() {
    let world = World::new().await;
    let options = AuthOptions {
        schemes: vec![Arc::new(HeaderKey)],
        ..AuthOptions::default()
    };
    let auth = world.auth_with(Mode::Enforce, options).await;
    let ask = |headers: &'static [(&'static str, &'static str)]| {
        let auth = auth.clone();
        async move { auth.caller(&request(headers), None).await }
    };
    let caller = ask(&[("x-key", "secret")]).await.unwrap().unwrap();
    assert_eq!(caller.who.to_string(), "user:alice");
    assert_eq!(
        ask(&[("x-key", "wrong")]).await.unwrap_err().code().http,
        401
    );
    assert_eq!(ask(&[]).await.unwrap(), None);
    caller_of(&auth, &world.token("eve")).await;
    // Whoever is disabled is, by whatever credential.
    caught_up(&auth, world.write(user("alice", 0, true)).await).await;
    let disabled = ask(&[("x-key", "secret")]).await.unwrap_err();
    assert_eq!(disabled.code().http, 401);
}
