//! A small service with a route for everything that can happen, and ways to talk to it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{
    Router,
    routing::{get, post},
};
use photon_core::{Error, Id, Kind};
use photon_server::{
    Created, Daemon, Data, Json, LimitsConfig, Listen, Mode, Path, Peer, Query, RestError,
    RestResult, Running, TlsConfig,
    rest::{refuse_body, refuse_query},
};
use reqwest::{Client, Method, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;

/// Longer than anything here may take; a wait that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Service {
    pub(crate) rest: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) client: Client,
    pub(crate) stop: CancellationToken,
    pub(crate) running: Option<Running>,
    _guard: DropGuard,
}

pub(crate) struct Setup {
    pub(crate) mode: Mode,
    pub(crate) limits: LimitsConfig,
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) change: fn(Daemon) -> Daemon,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            mode: Mode::Dev,
            limits: LimitsConfig::default(),
            tls: None,
            change: |daemon| daemon,
        }
    }
}

impl Setup {
    pub(crate) async fn start(self) -> Service {
        photon_server::main_with::install_crypto();
        let bind = async || Listen::bound(loopback().await, self.tls.clone());
        let daemon = (self.change)(
            Daemon::new("test", "1.2.3")
                .mode(self.mode)
                .limits(self.limits),
        );
        let draining = daemon.draining();
        let door = daemon.door("gateway");
        let daemon = daemon.rest(bind().await, routes(draining)).grpc_with_http(
            bind().await,
            Routes::default(),
            door.wrap(gateway()),
        );
        let stop = CancellationToken::new();
        let running = daemon.start(stop.clone()).unwrap();
        Service {
            rest: running.rest_addresses()[0],
            grpc: running.grpc_addresses()[0],
            client: Client::new(),
            _guard: stop.clone().drop_guard(),
            stop,
            running: Some(running),
        }
    }
}

pub(crate) async fn service() -> Service {
    Setup::default().start().await
}

pub(crate) async fn loopback() -> tokio::net::TcpListener {
    tokio::net::TcpListener::bind((IpAddr::from([127, 0, 0, 1]), 0))
        .await
        .unwrap()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    value: String,
    #[serde(default)]
    lease: i64,
}

/// Something with ids.
struct Thing;

impl Kind for Thing {
    const PREFIX: &'static str = "thing";
}

#[derive(Deserialize)]
struct Scan {
    limit: Option<u32>,
}

fn gateway() -> Router {
    Router::new().route(
        "/version",
        get(async || Data(json!({"etcdserver": "3.6.0"}))),
    )
}

fn routes(draining: CancellationToken) -> Router {
    Router::new()
        .route("/ok", get(async || Data(json!({"name": "x"}))))
        .route("/created", post(async || Created(json!({"id": 1}))))
        .route("/put/{*key}", post(put))
        .route("/scan", get(scan))
        .route("/number/{n}", get(async |Path(n): Path<u64>| Data(n)))
        .route(
            "/thing/{id}",
            get(async |Path(id): Path<Id<Thing>>| Data(id)),
        )
        .route("/nothing", get(nothing))
        .route("/panic", get(panics))
        .route(
            "/hang",
            get(async || std::future::pending::<Data<()>>().await),
        )
        .route("/slow", get(slow))
        .route("/swallow", post(swallow))
        .route(
            "/flood",
            get(async || axum::body::Body::from_stream(flood())),
        )
        .route("/text", get(async || "plain"))
        .route("/who", get(who))
        .route("/delete", post(async || Data(json!({"deleted": true}))))
        .route("/stream", get(async move || stream(draining)))
        .route(
            "/plain",
            get(async || Data("plain")).route_layer(axum::middleware::from_fn(refuse_query)),
        )
        .route(
            "/bare",
            post(async || Data("done")).route_layer(axum::middleware::from_fn(refuse_body)),
        )
        .route("/own", get(async || Data("own")).fallback(wrong_method))
}

async fn put(Path(key): Path<String>, Json(put): Json<Put>) -> RestResult<Value> {
    Ok(Data(
        json!({"key": key, "value": put.value, "lease": put.lease}),
    ))
}

async fn scan(Query(scan): Query<Scan>) -> RestResult<Value> {
    Ok(Data(json!({"limit": scan.limit})))
}

async fn nothing() -> RestResult<()> {
    Err(Error::not_found("key x")
        .with_source(std::io::Error::other("secret cause"))
        .into())
}

/// A refusal of a method in a service's own words.
async fn wrong_method() -> RestError {
    Error::new(photon_core::Code::METHOD_NOT_ALLOWED, "only GET").into()
}

async fn panics() -> Data<()> {
    panic!("secret panic text")
}

/// Takes whatever comes of a body for all of it.
async fn swallow(body: axum::body::Body) -> Data<usize> {
    let pieces = futures::StreamExt::collect::<Vec<_>>(body.into_data_stream()).await;
    Data(pieces.len())
}

async fn slow() -> Data<&'static str> {
    tokio::time::sleep(Duration::from_millis(700)).await;
    Data("finished")
}

async fn who(
    peer: axum::Extension<Peer>,
    identity: Option<axum::Extension<photon_server::Identity>>,
) -> Data<Value> {
    let certificate = peer.certificate.as_ref();
    Data(json!({
        "loopback": peer.addr.ip().is_loopback(),
        "common_name": certificate.map(|c| c.common_name.clone()),
        "fingerprint": certificate.map(|c| c.fingerprint.clone()),
        "identity": identity.map(|identity| identity.0.to_string()),
    }))
}

/// As much as anybody takes.
fn flood() -> impl futures::Stream<Item = std::io::Result<bytes::Bytes>> {
    futures::stream::repeat_with(|| Ok(bytes::Bytes::from_static(&[b'x'; 65_536])))
}

/// Never ends by itself, but listens to the drain.
fn stream(draining: CancellationToken) -> axum::body::Body {
    let first =
        futures::stream::once(async { Ok::<_, std::io::Error>(bytes::Bytes::from("hello\n")) });
    let rest = futures::stream::once(async move {
        draining.cancelled().await;
        Ok(bytes::Bytes::from("goodbye\n"))
    });
    axum::body::Body::from_stream(futures::StreamExt::chain(first, rest))
}

impl Service {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.rest)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[], None).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Response {
        let mut request = self
            .client
            .request(method, self.url(path))
            .timeout(PATIENCE);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        request.send().await.unwrap()
    }

    /// POST with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Response {
        self.send(
            Method::POST,
            path,
            &[("content-type", "application/json")],
            Some(body),
        )
        .await
    }

    /// Bytes as they come, until the server closes.
    pub(crate) async fn raw(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.rest).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        read_to_close(&mut stream).await
    }
}

pub(crate) async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is a close too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("not closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) async fn json_of(response: Response) -> Value {
    let text = response.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

/// Checks the guide's error envelope and gives `error`.
pub(crate) async fn error_of(response: Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = json_of(response).await;
    check_meta(&body);
    assert!(body.get("data").is_none(), "{body}");
    let error = body["error"].clone();
    assert_eq!(error["code"], code, "{body}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{body}"
    );
    assert!(error.as_object().unwrap().contains_key("details"), "{body}");
    error
}

pub(crate) fn check_meta(body: &Value) {
    let id: uuid::Uuid = body["meta"]["request_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(id.get_version_num(), 4);
    let time = body["meta"]["timestamp"].as_str().unwrap();
    assert_eq!(time.len(), "2025-12-12T08:30:00Z".len(), "{time}");
    let parsed: jiff::Timestamp = time.parse().unwrap();
    assert!(time.ends_with('Z') && parsed.as_second() > 0);
}

pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain for: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
