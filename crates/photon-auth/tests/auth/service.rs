//! A small service: what every later one looks like from here.
//!
//! | route | |
//! |---|---|
//! | `GET /api/v1/projects/{project}/greeting` | hidden from who may not get it |
//! | `POST /api/v1/projects/{project}/greetings` | |
//! | `GET /api/v1/greetings` | those the caller may see |
//! | `GET /api/v1/whoami` | for every principal |
//! | `GET /api/v1/versions` | open |
//! | `demo.v1.Greeter/Greet`, `/Ping` | guarded, open |

use std::{
    convert::Infallible,
    task::{Context as Polling, Poll},
};

use axum::extract::State;
use futures::future::BoxFuture;
use http::Method;
use photon_auth::{
    Auth, AuthOptions, Context,
    grpc::{Guard, Needs},
    rest::{Declared, Routes},
};
use photon_authz::Scope;
use photon_core::Name;
use photon_server::{
    Created, Daemon, Data, Json, Listen, Mode, Path, RestError, RestResult, grpc::status,
};
use prost::Message as _;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};
use reqwest::{Client, RequestBuilder, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::world::{World, binding, caught_up};

/// The use cases know nothing of REST or gRPC.
#[derive(Clone)]
struct Greetings;

impl Greetings {
    fn get(&self, ctx: &Context, project: &Name) -> Result<String, photon_core::Error> {
        ctx.allow_hidden(
            &Scope::Project(project.clone()),
            format!("project {project}"),
        )?;
        Ok(format!("hello {project}"))
    }

    fn create(
        &self,
        ctx: &Context,
        project: &Name,
        text: &str,
    ) -> Result<String, photon_core::Error> {
        ctx.allow(&Scope::Project(project.clone()))?;
        Ok(format!("{text} {project}"))
    }

    fn list(&self, ctx: &Context) -> Result<Vec<String>, photon_core::Error> {
        let visible = ctx.visible()?;
        let policies = ctx.auth().policies();
        let seen = policies
            .projects()
            .filter(|project| visible.project(&project.id, Some(&project.org)));
        Ok(seen
            .map(|project| format!("hello {}", project.id))
            .collect())
    }
}

async fn get(
    ctx: Context,
    State(greetings): State<Greetings>,
    Path(project): Path<Name>,
) -> RestResult<Value> {
    let text = greetings.get(&ctx, &project)?;
    Ok(Data(json!({ "text": text, "request_id": ctx.request_id })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGreeting {
    text: String,
}

async fn create(
    ctx: Context,
    State(greetings): State<Greetings>,
    Path(project): Path<Name>,
    Json(new): Json<NewGreeting>,
) -> Result<Created<Value>, RestError> {
    let text = greetings.create(&ctx, &project, &new.text)?;
    Ok(Created(json!({ "text": text })))
}

async fn list(ctx: Context, State(greetings): State<Greetings>) -> RestResult<Value> {
    Ok(Data(json!({ "greetings": greetings.list(&ctx)? })))
}

async fn whoami(ctx: Context) -> Data<Value> {
    ctx.allow_self();
    Data(json!({ "who": ctx.caller.who.to_string() }))
}

async fn versions() -> Data<Value> {
    Data(json!({ "versions": ["v1"] }))
}

async fn forgetful(_ctx: Context) -> Data<Value> {
    Data(json!({ "secret": "shown to everybody" }))
}

fn routes() -> Routes<Greetings> {
    Routes::new()
        .get(
            "/api/v1/projects/{project}/greeting",
            "demo.greetings.get",
            get,
        )
        .post(
            "/api/v1/projects/{project}/greetings",
            "demo.greetings.create",
            create,
        )
        .get("/api/v1/greetings", "demo.greetings.list", list)
        .get("/api/v1/whoami", "demo.callers.get", whoami)
        .open(Method::GET, "/api/v1/versions", versions)
}

/// Which the compiler of protobuf would have written.
pub(crate) fn descriptor_set() -> Vec<u8> {
    let method = |name: &str| MethodDescriptorProto {
        name: Some(name.to_owned()),
        ..Default::default()
    };
    let file = FileDescriptorProto {
        package: Some("demo.v1".to_owned()),
        service: vec![ServiceDescriptorProto {
            name: Some("Greeter".to_owned()),
            method: vec![method("Greet"), method("Ping"), method("Forget")],
            ..Default::default()
        }],
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

fn guard() -> Guard {
    Guard::of(&descriptor_set())
        .rpc("demo.v1.Greeter/Greet", "demo.greetings.get")
        .open("demo.v1.Greeter/Ping")
        .rpc("demo.v1.Greeter/Forget", "demo.greetings.get")
}

#[derive(Clone)]
struct Greeter(Greetings);

impl NamedService for Greeter {
    const NAME: &'static str = "demo.v1.Greeter";
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Polling<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = match request.uri().path() {
            "/demo.v1.Greeter/Greet" => Rpc::Greet(self.0.clone()),
            "/demo.v1.Greeter/Forget" => Rpc::Forget,
            _ => Rpc::Ping,
        };
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<String, String>::new());
            Ok(grpc.unary(method, request).await)
        })
    }
}

enum Rpc {
    Greet(Greetings),
    Ping,
    Forget,
}

impl UnaryService<String> for Rpc {
    type Response = String;
    type Future = BoxFuture<'static, Result<tonic::Response<String>, Status>>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let answer = match self {
            Self::Ping => Ok("pong".to_owned()),
            Self::Forget => Context::of(&request).map(|_| "shown to everybody".to_owned()),
            Self::Greet(greetings) => Context::of(&request).and_then(|ctx| {
                let project = Name::parse_field("project", request.get_ref());
                let text = project.and_then(|project| greetings.get(&ctx, &project));
                text.map_err(|error| status(&error))
            }),
        };
        Box::pin(std::future::ready(answer.map(tonic::Response::new)))
    }
}

pub(crate) struct Demo {
    pub(crate) rest: String,
    pub(crate) grpc: String,
    pub(crate) auth: Auth,
    pub(crate) declared: Vec<Declared>,
    pub(crate) table: std::collections::BTreeMap<String, Needs>,
    pub(crate) client: Client,
    _stop: DropGuard,
}

impl Demo {
    pub(crate) async fn start(world: &World, mode: Mode, options: AuthOptions) -> Self {
        let auth = world.auth_with(mode, options).await;
        let bind = async || {
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Listen::bound(socket, None)
        };
        let routes = routes();
        let declared = routes.declared().to_vec();
        let forgetful = Routes::new().get("/api/v1/forgetful", "demo.greetings.get", forgetful);
        let router = routes.merge(forgetful).into_router(&auth).unwrap();
        let guard = guard();
        let mut table = guard.declared().clone();
        table.remove("demo.v1.Greeter/Forget");
        let services = tonic::service::Routes::new(Greeter(Greetings));
        let services = guard.around(&auth, services).unwrap();
        let stop = CancellationToken::new();
        let running = Daemon::new("demo", "1.0.0")
            .mode(mode)
            .authenticator(auth.authenticator())
            .rest(bind().await, router.with_state(Greetings))
            .grpc(bind().await, services)
            .start(stop.clone())
            .unwrap();
        Self {
            rest: format!("http://{}", running.rest_addresses()[0]),
            grpc: format!("http://{}", running.grpc_addresses()[0]),
            auth,
            declared,
            table,
            client: Client::new(),
            _stop: stop.drop_guard(),
        }
    }

    fn get(&self, path: &str, token: Option<&str>) -> RequestBuilder {
        let request = self.client.get(format!("{}{path}", self.rest));
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response: Response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

#[tokio::test]
async fn enforce_mode_over_rest() {
    let world = World::new().await;
    world
        .create(binding("user:bob", "viewer", "project:shop"))
        .await;
    world.create(crate::world::user("bob", 0, false)).await;
    let demo = Demo::start(&world, Mode::Enforce, AuthOptions::default()).await;
    let (alice, bob, eve) = (world.token("alice"), world.token("bob"), world.token("eve"));
    let greeting = "/api/v1/projects/shop/greeting";

    let (status, body) = answer(demo.get(greeting, None)).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (401, &json!("UNAUTHENTICATED"))
    );
    let (status, body) = answer(demo.get(greeting, Some(&alice))).await;
    assert_eq!((status, &body["data"]["text"]), (200, &json!("hello shop")));
    // The context's id is the answer's.
    assert_eq!(body["data"]["request_id"], body["meta"]["request_id"]);
    let (status, body) = answer(demo.get(greeting, Some(&eve))).await;
    assert_eq!(
        (status, &body["error"]["message"]),
        (404, &json!("project shop not found"))
    );

    // Bob may see it, so he is told that he may not.
    let post = |token: &str| {
        let url = format!("{}/api/v1/projects/shop/greetings", demo.rest);
        demo.client
            .post(url)
            .bearer_auth(token)
            .json(&json!({ "text": "hi" }))
    };
    assert_eq!(answer(post(&alice)).await.0, 201);
    let (status, body) = answer(post(&bob)).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("FORBIDDEN")));

    let list = "/api/v1/greetings";
    let (_, body) = answer(demo.get(list, Some(&bob))).await;
    assert_eq!(body["data"]["greetings"], json!(["hello shop"]));
    let (status, body) = answer(demo.get(list, Some(&eve))).await;
    assert_eq!((status, &body["data"]["greetings"]), (200, &json!([])));

    let (_, body) = answer(demo.get("/api/v1/whoami", Some(&eve))).await;
    assert_eq!(body["data"]["who"], "user:eve");
    // An open route looks at no credential.
    for token in [None, Some("rubbish"), Some(alice.as_str())] {
        assert_eq!(answer(demo.get("/api/v1/versions", token)).await.0, 200);
    }
    let head = demo.client.head(format!("{}/api/v1/versions", demo.rest));
    assert_eq!(head.send().await.unwrap().status().as_u16(), 200);
    // What is not declared needs a credential, whether it is there or not.
    for path in ["/nothing", "/metrics"] {
        assert_eq!(
            demo.get(path, None).send().await.unwrap().status().as_u16(),
            401,
            "{path}"
        );
    }
    // An answer that nobody decided on is held back.
    let (status, body) = answer(demo.get("/api/v1/forgetful", Some(&alice))).await;
    assert_eq!(status, 500);
    assert!(!body.to_string().contains("shown"));
}

#[tokio::test]
async fn dev_mode_over_rest() {
    let world = World::new().await;
    let demo = Demo::start(&world, Mode::Dev, AuthOptions::default()).await;
    let eve = world.token("eve");
    let greeting = "/api/v1/projects/nowhere/greeting";
    for token in [None, Some(eve.as_str())] {
        assert_eq!(
            answer(demo.get(greeting, token)).await.0,
            200,
            "{}",
            token.is_some()
        );
    }
    // A credential that is there and bad is refused all the same.
    assert_eq!(answer(demo.get(greeting, Some("rubbish"))).await.0, 401);
    // A token's scope narrows lists; without one it is all.
    let mut other = crate::world::project(0, false);
    other.id = crate::world::name("other");
    other.name = "Other".into();
    caught_up(&demo.auth, world.create(other).await).await;
    let (_, body) = answer(demo.get("/api/v1/greetings", Some(&eve))).await;
    assert_eq!(body["data"]["greetings"], json!(["hello shop"]));
    let (_, body) = answer(demo.get("/api/v1/greetings", None)).await;
    assert_eq!(body["data"]["greetings"].as_array().unwrap().len(), 2);
    let (_, body) = answer(demo.get("/api/v1/whoami", None)).await;
    assert_eq!(body["data"]["who"], "dev-operator");
}

#[tokio::test]
async fn grpc_is_guarded_alike() {
    let world = World::new().await;
    let demo = Demo::start(&world, Mode::Enforce, AuthOptions::default()).await;
    let channel = tonic::transport::Endpoint::from_shared(demo.grpc.clone())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let call = |method: &'static str, token: Option<String>| {
        let mut client = tonic::client::Grpc::new(channel.clone());
        async move {
            let mut request = tonic::Request::new("shop".to_owned());
            if let Some(token) = token {
                let value = format!("Bearer {token}").parse().unwrap();
                request.metadata_mut().insert("authorization", value);
            }
            client.ready().await.unwrap();
            let path = http::uri::PathAndQuery::from_static(method);
            let codec = ProstCodec::<String, String>::new();
            client.unary(request, path, codec).await
        }
    };
    let greet = "/demo.v1.Greeter/Greet";
    let greeted = call(greet, Some(world.token("alice"))).await.unwrap();
    assert!(greeted.metadata().contains_key("x-request-id"));
    assert_eq!(greeted.into_inner(), "hello shop");
    let code = |answer: Result<tonic::Response<String>, Status>| answer.unwrap_err().code();
    assert_eq!(code(call(greet, None).await), tonic::Code::Unauthenticated);
    assert_eq!(
        code(call(greet, Some("x".into())).await),
        tonic::Code::Unauthenticated
    );
    assert_eq!(
        code(call(greet, Some(world.token("eve"))).await),
        tonic::Code::NotFound
    );
    let ping = call("/demo.v1.Greeter/Ping", Some("x".into()))
        .await
        .unwrap();
    assert_eq!(ping.into_inner(), "pong");
    let unknown = call("/demo.v1.Greeter/Gone", Some(world.token("alice"))).await;
    assert_eq!(code(unknown), tonic::Code::Unimplemented);
    let forgotten = call("/demo.v1.Greeter/Forget", Some(world.token("alice"))).await;
    assert_eq!(code(forgotten), tonic::Code::Internal);
}

#[tokio::test]
async fn a_caller_may_be_slowed_down() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let world = World::new().await;
    let left = std::sync::Arc::new(AtomicU32::new(2));
    let options = AuthOptions {
        rate_limit: Some(std::sync::Arc::new(move |_| {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .map(drop)
            .map_err(|_| std::time::Duration::from_millis(1500))
        })),
        ..AuthOptions::default()
    };
    let demo = Demo::start(&world, Mode::Enforce, options).await;
    let alice = world.token("alice");
    for _ in 0..2 {
        assert_eq!(
            answer(demo.get("/api/v1/whoami", Some(&alice))).await.0,
            200
        );
    }
    let response = demo
        .get("/api/v1/whoami", Some(&alice))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 429);
    assert_eq!(response.headers()["retry-after"], "2");
}

#[tokio::test]
async fn routes_that_are_wrong_do_not_become_a_router() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    let twice =
        Routes::<()>::new()
            .get("/a", "demo.a.get", versions)
            .open(Method::GET, "/a", versions);
    let error = twice.into_router(&auth).unwrap_err();
    assert_eq!(error.to_string(), "GET /a is declared twice");
    let nameless = Routes::<()>::new().post("/a", "everything", versions);
    let error = nameless.into_router(&auth).unwrap_err().to_string();
    assert!(
        error.starts_with("POST /a: permission \"everything\""),
        "{error}"
    );
    let merged = Routes::<()>::new().get("/a", "demo.a.get", versions);
    let merged = merged.merge(Routes::new().get("/a", "demo.b.get", versions));
    assert!(merged.into_router(&auth).is_err());
}
