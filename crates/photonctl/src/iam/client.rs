//! IAM's REST API: JSON in and out, the guide's envelope taken off, errors as failures.

use std::{fmt, fs, net::IpAddr, path::Path, time::Duration};

use anyhow::Context as _;
use photon_core::{Code, error::in_one_line};
use reqwest::{Certificate, Client, Identity, Method, Response, StatusCode, Url, header, redirect};
use serde_json::Value;

use super::context::Secret;
use crate::failure::Failure;

/// Larger than any list a page of 10,000 rows makes.
const ANSWER_BYTES: usize = 64 << 20;

/// Where IAM is, and what to show it.
pub(crate) struct Options<'a> {
    pub(crate) address: Url,
    pub(crate) ca: Option<&'a Path>,
    /// A client certificate and its key.
    pub(crate) identity: Option<(&'a Path, &'a Path)>,
    pub(crate) token: Option<Secret>,
    pub(crate) deadline: Duration,
}

/// A connection to IAM.
pub(crate) struct Iam {
    http: Client,
    address: Url,
    token: Option<Secret>,
}

impl fmt::Debug for Iam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iam")
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
    if_revision: Option<i64>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            body: None,
            if_revision: None,
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

    pub(crate) fn query(mut self, name: &'a str, value: Option<String>) -> Self {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    pub(crate) fn if_revision(mut self, revision: Option<i64>) -> Self {
        self.if_revision = revision;
        self
    }
}

impl Iam {
    pub(crate) fn new(options: Options<'_>) -> Result<Self, Failure> {
        let Options {
            address,
            ca,
            identity,
            token,
            deadline,
        } = options;
        check_address(&address)?;
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
            address,
            token,
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
            None => Err(not_ours(&self.address)),
        }
    }

    /// A good answer as it is: AuthZEN's have no envelope.
    pub(crate) async fn raw(&self, call: Call<'_>) -> Result<Value, Failure> {
        let (status, body) = self.answer(&call).await?;
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        match parsed {
            Some(value) if status.is_success() => Ok(value),
            None if status.is_success() => Err(not_ours(&self.address)),
            parsed => Err(refused(status.as_u16(), &parsed.unwrap_or_default())),
        }
    }

    /// A good answer that is text.
    pub(crate) async fn text(&self, path: &[&str]) -> Result<String, Failure> {
        let (status, body) = self.answer(&Call::get(path)).await?;
        if !status.is_success() {
            let answer = serde_json::from_slice(&body).unwrap_or_default();
            return Err(refused(status.as_u16(), &answer));
        }
        String::from_utf8(body).map_err(|_| not_ours(&self.address))
    }

    async fn answer(&self, call: &Call<'_>) -> Result<(StatusCode, Vec<u8>), Failure> {
        let mut request = self.http.request(call.method.clone(), self.url(call)?);
        if let Some(Secret(token)) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(revision) = call.if_revision {
            request = request.header(header::IF_MATCH, format!("\"{revision}\""));
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| self.unsent(&error))?;
        let status = answer.status();
        Ok((status, self.read(answer).await?))
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

    async fn read(&self, mut answer: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unsent(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(not_ours(&self.address));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unsent(&self, error: &reqwest::Error) -> Failure {
        // Its own text repeats the address, with whatever a query says.
        let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), in_one_line);
        let what = if error.is_timeout() {
            "did not answer in time"
        } else {
            "cannot be reached"
        };
        Failure::unreachable(format!("IAM at {} {what}: {cause}", self.address))
    }
}

/// A token or password must not travel in clear, except within this machine.
fn check_address(address: &Url) -> Result<(), Failure> {
    let loopback = match address.host_str() {
        None => return Err(Failure::usage(format!("--iam {address} names no host"))),
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
            "--iam {address} is neither http nor https"
        ))),
    }
}

/// An answer with an error status: the envelope's words, or what the status says.
fn refused(status: u16, answer: &Value) -> Failure {
    let error = &answer["error"];
    match (error["code"].as_str(), error["message"].as_str()) {
        (Some(code), Some(message)) => {
            let row = Code::by_name(code).unwrap_or(Code::by_http(status));
            Failure::answered(code, message, row)
        }
        _ => Failure::answered(
            &format!("HTTP {status}"),
            "IAM answered",
            Code::by_http(status),
        ),
    }
}

fn not_ours(address: &Url) -> Failure {
    Failure::other(anyhow::anyhow!(
        "what answers at {address} does not speak as IAM does"
    ))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn iam(address: &str) -> Result<Iam, Failure> {
        Iam::new(Options {
            address: address.parse().unwrap(),
            ca: None,
            identity: None,
            token: Some(Secret("top-secret".to_owned())),
            deadline: Duration::from_secs(1),
        })
    }

    #[test]
    fn secrets_do_not_leave_the_machine_in_clear() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
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
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
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
        let envelope = |code: &str| serde_json::json!({"error": {"code": code, "message": "m"}});
        for (status, code, exit) in [
            (404, "NOT_FOUND", 3),
            (401, "UNAUTHENTICATED", 5),
            (403, "FORBIDDEN", 5),
            (409, "ALREADY_EXISTS", 6),
            (409, "CONFLICT", 6),
            (503, "UNAVAILABLE", 4),
            (400, "VALIDATION_ERROR", 1),
        ] {
            let failure = refused(status, &envelope(code));
            assert_eq!(failure.exit_code(), exit, "{code}");
            assert_eq!(failure.to_string(), format!("m ({code})"));
        }
        assert_eq!(refused(404, &Value::Null).exit_code(), 3);
    }
}
