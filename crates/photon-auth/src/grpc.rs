//! gRPC methods with what they do declared in one table.
//!
//! ```ignore
//! let routes = Guard::of(photon_proto::IAM_FILE_DESCRIPTOR_SET)
//!     .create("photon.iam.v1.Orgs/CreateOrg", "iam.orgs.create")
//!     .rpc("photon.iam.v1.Orgs/GetOrg", "iam.orgs.get")
//!     .open("photon.iam.v1.Tokens/IssueToken")
//!     .around(&auth, routes)?;
//! ```
//!
//! Every method of the descriptor set must be in the table, and only those; a request for anything else is answered with
//! `UNIMPLEMENTED`. A method takes a [`Context`] by [`Context::of`] and decides by it; an answer that nobody decided on is
//! held back. Health and reflection, which the daemon adds, are not behind the guard.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, header};
use photon_authz::Permission;
use photon_core::{Code, Error};
use photon_server::{Mode, Peer, grpc::status};
use tokio::time::Instant;
use tonic::{Status, service::Routes};
use uuid::Uuid;

use crate::{auth::Auth, context::Context, idempotency, methods::methods_of};

/// The header, metadata here, that names a request in logs.
const REQUEST_ID: &str = "x-request-id";

/// What a method needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A known caller, and the method decides on this.
    Permission(Permission),
    /// The same, and the method makes something: it heeds an `idempotency-key`.
    Create(Permission),
    /// Nothing: no credential is looked at, and the method gets no [`Context`].
    Open,
}

/// The table, being filled.
#[derive(Clone, Debug)]
pub struct Guard {
    descriptor_set: Vec<u8>,
    table: BTreeMap<String, Needs>,
    faults: Vec<String>,
}

/// Why a table does not guard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .faults.join("; "))]
pub struct GuardError {
    faults: Vec<String>,
}

impl Guard {
    /// An empty table for the methods of an encoded descriptor set.
    #[must_use]
    pub fn of(descriptor_set: &[u8]) -> Self {
        Self {
            descriptor_set: descriptor_set.to_vec(),
            table: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// A method, `package.Service/Method`, and the permission it needs.
    #[must_use]
    pub fn rpc(self, method: &str, permission: &str) -> Self {
        self.guarded(method, permission, Needs::Permission)
    }

    /// A unary method that makes something and heeds an `idempotency-key` in its metadata: its use case calls
    /// [`Context::once`] for the transaction that makes the thing.
    #[must_use]
    pub fn create(self, method: &str, permission: &str) -> Self {
        self.guarded(method, permission, Needs::Create)
    }

    fn guarded(mut self, method: &str, permission: &str, needs: fn(Permission) -> Needs) -> Self {
        match Permission::new(permission) {
            Ok(permission) => self.declare(method, needs(permission)),
            Err(error) => self
                .faults
                .push(format!("{method}: permission {permission:?} {error}")),
        }
        self
    }

    /// A method for everybody.
    #[must_use]
    pub fn open(mut self, method: &str) -> Self {
        self.declare(method, Needs::Open);
        self
    }

    fn declare(&mut self, method: &str, needs: Needs) {
        if self.table.insert(method.to_owned(), needs).is_some() {
            self.faults.push(format!("{method} is declared twice"));
        }
    }

    /// What was declared so far, by method.
    #[must_use]
    pub fn declared(&self) -> &BTreeMap<String, Needs> {
        &self.table
    }

    /// The services with the guard around them, to be given to [`photon_server::Daemon::grpc`].
    ///
    /// # Errors
    /// Methods that are not in the table, rows that are no methods, and permissions that are none.
    pub fn around(self, auth: &Auth, services: Routes) -> Result<Routes, GuardError> {
        let table = self.check()?;
        if table
            .values()
            .any(|needs| matches!(needs, Needs::Create(_)))
        {
            auth.note_creates();
        }
        let guarding = Arc::new(Guarding {
            auth: auth.clone(),
            table,
        });
        let layer = middleware::from_fn_with_state(guarding, guard);
        Ok(services.into_axum_router().layer(layer).into())
    }

    fn check(mut self) -> Result<BTreeMap<String, Needs>, GuardError> {
        match methods_of(&self.descriptor_set) {
            Ok(methods) => {
                let methods: BTreeSet<String> = methods.into_iter().collect();
                for method in methods.iter().filter(|one| !self.table.contains_key(*one)) {
                    self.faults.push(format!(
                        "{method} is not declared: add .rpc or .open for it"
                    ));
                }
                for method in self.table.keys().filter(|one| !methods.contains(*one)) {
                    self.faults
                        .push(format!("{method} is declared and there is no such method"));
                }
            }
            Err(error) => self.faults.push(format!("the descriptor set: {error}")),
        }
        if self.faults.is_empty() {
            Ok(self.table)
        } else {
            Err(GuardError {
                faults: self.faults,
            })
        }
    }
}

/// The table at work.
struct Guarding {
    auth: Auth,
    table: BTreeMap<String, Needs>,
}

/// Around each method.
async fn guard(State(guarding): State<Arc<Guarding>>, request: Request, next: Next) -> Response {
    let request_id = Uuid::new_v4();
    let began = Instant::now();
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let mut response = match Box::pin(guarding.serve(&method, request_id, request, next)).await {
        Ok(response) => response,
        Err(refused) => refused.into_http(),
    };
    if let Ok(id) = HeaderValue::from_str(&request_id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    tracing::debug!(
        %request_id,
        method,
        status = grpc_status(&response).unwrap_or_default(),
        ms = began.elapsed().as_millis(),
        "rpc"
    );
    response
}

impl Guarding {
    async fn serve(
        &self,
        method: &str,
        request_id: Uuid,
        mut request: Request,
        next: Next,
    ) -> Result<Response, Status> {
        self.check_head(&request).map_err(|error| status(&error))?;
        let needs = self
            .table
            .get(method)
            .ok_or_else(|| Status::unimplemented(format!("unknown method {method}")))?;
        let deadline = Instant::now() + self.time_for(request.headers());
        let context = match needs {
            Needs::Open => None,
            Needs::Permission(permission) | Needs::Create(permission) => {
                let (parts, body) = request.into_parts();
                let identifying = self.identify(&parts, permission, request_id, deadline);
                let context = identifying.await.map_err(|error| status(&error))?;
                request = Request::from_parts(parts, body);
                Some(context)
            }
        };
        let running = run(needs, context.clone(), request, next);
        let handler = AssertUnwindSafe(running).catch_unwind();
        let response = match tokio::time::timeout_at(deadline, handler).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => return Err(status(&Error::internal(format!("{method} panicked")))),
            Err(_) => {
                let late = "the request took too long; a change it asks for may still take effect";
                return Err(status(&Error::new(Code::DEADLINE_EXCEEDED, late)));
            }
        };
        if let Some(context) = context
            && !context.is_decided()
            && grpc_status(&response).is_none_or(|status| status == "0")
        {
            let undecided = format!("{method} answered without a decision");
            return Err(status(&Error::internal(undecided)));
        }
        Ok(response)
    }

    /// What a browser may have caused does not get in for nothing. Browsers cannot send `application/grpc` to another
    /// site unasked, and nothing here says that they may.
    fn check_head(&self, request: &Request) -> Result<(), Error> {
        let headers = request.headers();
        let content_type = headers.get(header::CONTENT_TYPE);
        if !content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
            return Err(Error::new(
                Code::UNSUPPORTED_MEDIA_TYPE,
                "the content type must be application/grpc",
            ));
        }
        if self.auth.mode() == Mode::Dev && headers.contains_key(header::ORIGIN) {
            return Err(Error::forbidden(
                "in dev mode requests from web pages are refused",
            ));
        }
        Ok(())
    }

    async fn identify(
        &self,
        parts: &http::request::Parts,
        permission: &Permission,
        request_id: Uuid,
        deadline: Instant,
    ) -> Result<Context, Error> {
        let peer = parts.extensions.get::<Peer>();
        let caller = self.auth.admit(parts, peer).await?;
        let caller = caller.ok_or_else(|| Error::unauthenticated("a credential is required"))?;
        Ok(Context::new(
            self.auth.clone(),
            caller,
            permission.clone(),
            request_id,
            deadline,
        ))
    }

    /// The client's limit, or ours if that is shorter.
    fn time_for(&self, headers: &HeaderMap) -> Duration {
        let ours = self.auth.options().grpc_timeout;
        let theirs = headers
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok())
            .and_then(timeout);
        theirs.map_or(ours, |theirs| theirs.min(ours))
    }
}

/// Runs the method, with its context; one that creates, once for each key.
async fn run(
    needs: &Needs,
    context: Option<Context>,
    mut request: Request,
    next: Next,
) -> Response {
    match (needs, context) {
        (Needs::Create(_), Some(context)) => idempotency::grpc::pass(context, request, next).await,
        (_, Some(context)) => {
            request.extensions_mut().insert(context);
            next.run(request).await
        }
        (_, None) => next.run(request).await,
    }
}

/// gRPC's notation: at most eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The status in an answer's head: there only if it has no messages.
fn grpc_status(response: &Response) -> Option<&str> {
    response.headers().get(Status::GRPC_STATUS)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn faults(guard: Guard) -> Vec<String> {
        guard.check().map_err(|error| error.faults).unwrap_err()
    }

    #[test]
    fn the_table_and_the_descriptors_must_agree() {
        let described = described();
        let whole = Guard::of(&described)
            .open("demo.v1.Greeter/Ping")
            .rpc("demo.v1.Greeter/Greet", "demo.greetings.create");
        whole.clone().check().unwrap();

        assert_eq!(
            faults(whole.clone().open("demo.v1.Greeter/Gone")),
            ["demo.v1.Greeter/Gone is declared and there is no such method"]
        );
        assert_eq!(
            faults(whole.open("demo.v1.Greeter/Ping")),
            ["demo.v1.Greeter/Ping is declared twice"]
        );
        assert_eq!(
            faults(Guard::of(&described).open("demo.v1.Greeter/Ping")),
            ["demo.v1.Greeter/Greet is not declared: add .rpc or .open for it"]
        );
        let bad = Guard::of(&[]).rpc("a.B/C", "not a permission");
        assert!(faults(bad)[0].contains("a.B/C: permission \"not a permission\""));
        assert!(faults(Guard::of(&[0xff]))[0].starts_with("the descriptor set"));
    }

    fn described() -> Vec<u8> {
        use prost::Message as _;
        use prost_types::{
            FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
        };
        let method = |name: &str| MethodDescriptorProto {
            name: Some(name.to_owned()),
            ..Default::default()
        };
        let file = FileDescriptorProto {
            package: Some("demo.v1".to_owned()),
            service: vec![ServiceDescriptorProto {
                name: Some("Greeter".to_owned()),
                method: vec![method("Ping"), method("Greet")],
                ..Default::default()
            }],
            ..Default::default()
        };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    }

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("40m", Some(Duration::from_millis(40))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("999999999S", None),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("1x", None),
            ("1ä", None),
        ] {
            assert_eq!(timeout(text), expected, "{text}");
        }
    }
}
