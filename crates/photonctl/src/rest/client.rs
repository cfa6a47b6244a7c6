//! A service's REST API: JSON in and out, the guide's envelope taken off, errors as failures.
//!
//! A change with an idempotency key is sent again, within the deadline, when the answer was lost or the service was not able to
//! give one: the service makes it once. So is one that comes to the same when it is done twice. Nothing else is sent twice.

use std::{fmt, fs, net::IpAddr, path::Path, time::Duration};

use anyhow::Context as _;
use base64::Engine as _;
use photon_core::{Code, error::in_one_line};
use reqwest::{
    Certificate, Client, Identity, Method, RequestBuilder, Response, StatusCode, Upgraded, Url,
    header, redirect,
};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::context::Secret;
use crate::failure::Failure;

/// Larger than any list a page of 10,000 rows makes.
const ANSWER_BYTES: usize = 64 << 20;

/// The header that makes a change safe to repeat, and the one that says that it was.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const REPLAYED: &str = "Idempotency-Replayed";

/// How long it takes until something is sent again: the first time, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where a service is, and what to show it.
pub(crate) struct Options<'a> {
    /// Its name in messages.
    pub(crate) name: &'static str,
    /// The flag that says where it is.
    pub(crate) flag: &'static str,
    pub(crate) address: Url,
    pub(crate) ca: Option<&'a Path>,
    /// A client certificate and its key.
    pub(crate) identity: Option<(&'a Path, &'a Path)>,
    pub(crate) token: Option<Secret>,
    pub(crate) deadline: Duration,
}

/// A connection to a service.
pub(crate) struct Service {
    http: Client,
    name: &'static str,
    address: Url,
    token: Option<Secret>,
    deadline: Duration,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("address", &self.address.as_str())
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// One call.
pub(crate) struct Call<'a> {
    method: Method,
    /// The path's segments: each is one, whatever characters it has.
    path: &'a [&'a str],
    query: Vec<(&'a str, String)>,
    body: Option<Value>,
    /// Bytes instead of a body, and where they are in the whole: `Content-Range`.
    piece: Option<(Vec<u8>, String)>,
    if_revision: Option<i64>,
    key: Option<String>,
    repeatable: bool,
    /// How long the answer may take, if the connection's usual time is not enough.
    deadline: Option<Duration>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            body: None,
            piece: None,
            if_revision: None,
            key: None,
            repeatable: false,
            deadline: None,
        }
    }

    pub(crate) fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: &'a [&'a str], body: Value) -> Self {
        Self::new(Method::POST, path).body(body)
    }

    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// With bytes, which are so much of a whole: `bytes 0-99/300`.
    pub(crate) fn piece(mut self, bytes: Vec<u8>, range: String) -> Self {
        self.piece = Some((bytes, range));
        self
    }

    pub(crate) fn query(mut self, name: &'a str, value: Option<String>) -> Self {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    pub(crate) fn if_revision(mut self, revision: Option<i64>) -> Self {
        self.if_revision = revision;
        self
    }

    /// Doing it twice comes to the same as doing it once, also without a key.
    pub(crate) fn repeatable(mut self, repeatable: bool) -> Self {
        self.repeatable = repeatable;
        self
    }

    /// With so much time for the answer, if that is more than usual.
    pub(crate) fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// With an idempotency key, for routes that heed it.
    pub(crate) fn once(mut self, key: String) -> Self {
        self.key = Some(key);
        self
    }
}

/// What came back.
struct Reply {
    status: StatusCode,
    body: Vec<u8>,
    replayed: bool,
    retry_after: Option<Duration>,
}

/// Nothing came back, or not all of it.
struct Silence {
    cause: String,
    /// It was not even sent.
    unsent: bool,
}

impl Service {
    pub(crate) fn new(options: Options<'_>) -> Result<Self, Failure> {
        let Options {
            name,
            flag,
            address,
            ca,
            identity,
            token,
            deadline,
        } = options;
        check_address(flag, &address)?;
        let mut http = Client::builder()
            .no_proxy()
            // A redirect would carry the token to wherever it says.
            .redirect(redirect::Policy::none())
            .connect_timeout(deadline.min(Duration::from_secs(5)))
            .timeout(deadline);
        if let Some(ca) = ca {
            http = http.tls_certs_only(
                Certificate::from_pem_bundle(&read(ca)?)
                    .with_context(|| format!("{} holds no certificates", ca.display()))?,
            );
        } else if address.scheme() == "http" {
            // The system's authorities are not needed, and need not be there.
            http = http.tls_certs_only([]);
        }
        if let Some((certificate, key)) = identity {
            let pem = [read(key)?, read(certificate)?].concat();
            http = http.identity(Identity::from_pem(&pem).with_context(|| {
                format!(
                    "{} and {} are no certificate with its key",
                    certificate.display(),
                    key.display()
                )
            })?);
        }
        Ok(Self {
            http: http.build().map_err(anyhow::Error::from)?,
            name,
            address,
            token,
            deadline,
        })
    }

    pub(crate) fn address(&self) -> &Url {
        &self.address
    }

    /// The content of a good answer, out of its envelope.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Value, Failure> {
        let mut answer = self.raw(call).await?;
        match answer.get_mut("data") {
            Some(data) => Ok(data.take()),
            None => Err(self.not_ours()),
        }
    }

    /// A good answer as it is: AuthZEN's have no envelope.
    pub(crate) async fn raw(&self, call: Call<'_>) -> Result<Value, Failure> {
        let reply = self.answer(&call).await?;
        if reply.replayed {
            eprintln!("this was done before: here is what was answered then");
        }
        let parsed: Option<Value> = serde_json::from_slice(&reply.body).ok();
        match parsed {
            Some(value) if reply.status.is_success() => Ok(value),
            None if reply.status.is_success() => Err(self.not_ours()),
            parsed => Err(self.refused(reply.status, &parsed.unwrap_or_default())),
        }
    }

    /// A good answer that is text.
    pub(crate) async fn text(&self, call: Call<'_>) -> Result<String, Failure> {
        let Reply { status, body, .. } = self.answer(&call).await?;
        if !status.is_success() {
            let answer = serde_json::from_slice(&body).unwrap_or_default();
            return Err(self.refused(status, &answer));
        }
        String::from_utf8(body).map_err(|_| self.not_ours())
    }

    /// What is answered, however often it has to be asked.
    async fn answer(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        let usual = self.deadline;
        let deadline = call.deadline.map_or(usual, |own| own.max(usual));
        let until = Instant::now() + deadline;
        let mut pause = FIRST_PAUSE;
        loop {
            let reply = self.ask(call, until).await?;
            // Before another change is repeated, somebody has to look whether it was made.
            let again = call.key.is_some() || call.repeatable;
            let wait = match (again, &reply) {
                (true, Ok(reply)) if reply.status == StatusCode::SERVICE_UNAVAILABLE => {
                    reply.retry_after.unwrap_or(pause)
                }
                (true, Err(silence)) if !silence.unsent => pause,
                _ => Duration::MAX,
            };
            if wait >= until.saturating_duration_since(Instant::now()) {
                return reply.map_err(|silence| self.silent(call, &silence));
            }
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Asks once.
    async fn ask(
        &self,
        call: &Call<'_>,
        until: Instant,
    ) -> Result<Result<Reply, Silence>, Failure> {
        let request = self.request(call)?;
        let request = request.timeout(until.saturating_duration_since(Instant::now()));
        match request.send().await {
            Ok(answer) => self.read(answer).await,
            Err(error) => Ok(Err(Silence::of(&error))),
        }
    }

    /// A WebSocket of that subprotocol, once it is one.
    pub(crate) async fn websocket(
        &self,
        call: Call<'_>,
        protocol: &str,
    ) -> Result<Upgraded, Failure> {
        let key = base64::prelude::BASE64_STANDARD.encode(uuid::Uuid::new_v4().as_bytes());
        let request = self.request(&call)?;
        let request = request
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key)
            .header(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.silent(&call, &Silence::of(&error))),
        };
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let reply = self.read(answer).await?;
            let reply = reply.map_err(|silence| self.silent(&call, &silence))?;
            let told = serde_json::from_slice(&reply.body).unwrap_or_default();
            return Err(self.refused(reply.status, &told));
        }
        let accepted = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accepted.map(|told| told.as_bytes())
            != Some(derive_accept_key(key.as_bytes()).as_bytes())
        {
            return Err(self.not_ours());
        }
        let upgraded = answer.upgrade().await;
        upgraded.map_err(|error| self.silent(&call, &Silence::of(&error)))
    }

    fn request(&self, call: &Call<'_>) -> Result<RequestBuilder, Failure> {
        let mut request = self.http.request(call.method.clone(), self.url(call)?);
        if let Some(Secret(token)) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(revision) = call.if_revision {
            request = request.header(header::IF_MATCH, format!("\"{revision}\""));
        }
        if let Some(key) = &call.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        if let Some((bytes, range)) = &call.piece {
            request = request
                .header(header::CONTENT_RANGE, range)
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .body(bytes.clone());
        }
        Ok(request)
    }

    fn url(&self, call: &Call<'_>) -> Result<Url, Failure> {
        // These would name another resource than the one that is meant, however they are escaped.
        if let Some(id) = call.path.iter().find(|id| matches!(**id, "" | "." | "..")) {
            return Err(Failure::usage(format!("{id:?} is no id")));
        }
        let mut url = self.address.clone();
        // `check_address` has seen to it that the address can have a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url)
    }

    async fn read(&self, mut answer: Response) -> Result<Result<Reply, Silence>, Failure> {
        let header = |name: &str| answer.headers().get(name)?.to_str().ok();
        let retry_after = header("Retry-After").and_then(|seconds| seconds.parse().ok());
        let mut reply = Reply {
            status: answer.status(),
            body: Vec::new(),
            replayed: header(REPLAYED) == Some("true"),
            retry_after: retry_after.map(Duration::from_secs),
        };
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) if reply.body.len() + chunk.len() > ANSWER_BYTES => {
                    return Err(self.not_ours());
                }
                Ok(Some(chunk)) => reply.body.extend_from_slice(&chunk),
                Ok(None) => return Ok(Ok(reply)),
                Err(error) => return Ok(Err(Silence::of(&error))),
            }
        }
    }

    fn silent(&self, call: &Call<'_>, silence: &Silence) -> Failure {
        let text = format!("{} at {} {}", self.name, self.address, silence.cause);
        Failure::unreachable(match &call.key {
            Some(key) if !silence.unsent => format!("{text}\n{}", unknown(key)),
            _ => text,
        })
    }

    /// An answer with an error status: the envelope's words, or what the status says.
    fn refused(&self, status: StatusCode, answer: &Value) -> Failure {
        let error = &answer["error"];
        match (error["code"].as_str(), error["message"].as_str()) {
            (Some(code), Some(message)) => {
                let row = Code::by_name(code).unwrap_or(Code::by_http(status.as_u16()));
                let message = format!("{message}{}", unsaid(message, &error["details"]));
                Failure::answered(code, &message, row)
            }
            _ => Failure::answered(
                &format!("HTTP {}", status.as_u16()),
                &format!("{} answered", self.name),
                Code::by_http(status.as_u16()),
            ),
        }
    }

    fn not_ours(&self) -> Failure {
        Failure::other(anyhow::anyhow!(
            "what answers at {} does not speak as {} does",
            self.address,
            self.name
        ))
    }

    /// An answer that says something else than it should.
    pub(crate) fn not_understood(&self, why: &str) -> Failure {
        Failure::other(anyhow::anyhow!(
            "the answer of {} is not understood: {why}",
            self.name
        ))
    }
}

impl Silence {
    fn of(error: &reqwest::Error) -> Self {
        // Its own text repeats the address, with whatever a query says.
        let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), in_one_line);
        let what = if error.is_timeout() {
            "did not answer in time"
        } else {
            "cannot be reached"
        };
        Self {
            cause: format!("{what}: {cause}"),
            unsent: error.is_connect() || error.is_builder(),
        }
    }
}

/// What to do about a change of which nobody knows whether it was made.
fn unknown(key: &str) -> String {
    format!(
        "whether it was done is not known; the same again with --idempotency-key {key} does it once"
    )
}

/// What an error's details say and its message does not: numbers, names, times and ids, `; at 2026-11-23T00:00:00Z`.
fn unsaid(message: &str, details: &Value) -> String {
    let mut text = String::new();
    for (name, value) in details.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Array(things) => {
                let ids = things.iter().filter_map(|thing| thing["id"].as_str());
                let unsaid: Vec<&str> = ids.filter(|id| !message.contains(id)).collect();
                unsaid.join(", ")
            }
            _ => continue,
        };
        if name != "constraint" && !message.contains(&value) {
            text.push_str(&format!("; {} {value}", name.replace('_', " ")));
        }
    }
    text
}

/// A token or password must not travel in clear, except within this machine.
fn check_address(flag: &str, address: &Url) -> Result<(), Failure> {
    let loopback = match address.host_str() {
        None => return Err(Failure::usage(format!("{flag} {address} names no host"))),
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback()),
    };
    match address.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => Err(Failure::usage(format!(
            "{address} is on another machine: what proves who you are would travel in clear; use https"
        ))),
        _ => Err(Failure::usage(format!(
            "{flag} {address} is neither http nor https"
        ))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn iam(address: &str) -> Result<Service, Failure> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Service::new(Options {
            name: "IAM",
            flag: "--iam",
            address: address.parse().unwrap(),
            ca: None,
            identity: None,
            token: Some(Secret("top-secret".to_owned())),
            deadline: Duration::from_secs(1),
        })
    }

    #[test]
    fn secrets_do_not_leave_the_machine_in_clear() {
        for good in [
            "http://127.0.0.1:8083",
            "http://[::1]:1",
            "http://localhost",
        ] {
            let iam = iam(good).unwrap();
            assert!(!format!("{iam:?}").contains("top-secret"));
        }
        for bad in [
            "http://iam.example:8083",
            "http://10.0.0.1",
            "ftp://localhost",
            "data:x",
        ] {
            assert_eq!(iam(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn an_id_is_one_segment_of_the_path() {
        let iam = iam("http://localhost:1/base/").unwrap();
        let path = ["api", "v1", "users", "../orgs?x#y"];
        let call = Call::get(&path).query("scope_id", Some("a&b=c".to_owned()));
        assert_eq!(
            iam.url(&call).unwrap().as_str(),
            "http://localhost:1/base/api/v1/users/..%2Forgs%3Fx%23y?scope_id=a%26b%3Dc"
        );
        for bad in ["", ".", ".."] {
            let path = ["api", "v1", "users", bad];
            assert_eq!(iam.url(&Call::get(&path)).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn exit_codes_follow_the_code_of_the_answer() {
        let iam = iam("http://localhost:1").unwrap();
        let envelope = |code: &str| json!({"error": {"code": code, "message": "m"}});
        for (status, code, exit) in [
            (404, "NOT_FOUND", 3),
            (401, "UNAUTHENTICATED", 5),
            (403, "FORBIDDEN", 5),
            (409, "ALREADY_EXISTS", 6),
            (409, "CONFLICT", 6),
            (503, "UNAVAILABLE", 4),
            (400, "VALIDATION_ERROR", 1),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let failure = iam.refused(status, &envelope(code));
            assert_eq!(failure.exit_code(), exit, "{code}");
            assert_eq!(failure.to_string(), format!("m ({code})"));
        }
        let bare = iam.refused(StatusCode::NOT_FOUND, &Value::Null);
        assert_eq!(bare.exit_code(), 3);
        assert_eq!(bare.to_string(), "IAM answered (HTTP 404)");
    }

    #[test]
    fn details_are_said_where_the_message_does_not() {
        for (message, details, text) in [
            (
                "20 is required, 5 is available, 15 is missing",
                json!({"required": 20, "available": 5, "missing": 15}),
                "",
            ),
            (
                "the reservation is committed already",
                json!({"at": "2026-11-23T00:00:00Z"}),
                "; at 2026-11-23T00:00:00Z",
            ),
            (
                "must be a number",
                json!({"field": "amount", "constraint": "type"}),
                "; field amount",
            ),
            (
                "amount must be a number",
                json!({"field": "amount", "constraint": "type"}),
                "",
            ),
            ("quota exceeded", json!({"lacking": [{"kind": "vcpu"}]}), ""),
            (
                "vpc-1 is in use by subnet-1",
                json!({"used_by": [{"kind": "subnet", "id": "subnet-1"}, {"kind": "subnet", "id": "subnet-2"}], "more": false}),
                "; used by subnet-2",
            ),
            ("x", Value::Null, ""),
        ] {
            assert_eq!(unsaid(message, &details), text);
        }
    }
}
