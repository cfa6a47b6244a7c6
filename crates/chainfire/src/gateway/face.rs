//! How the gateway says no: `{"error", "message", "code"}`, the text twice because clients of 3.4 read `error`
//! and those of 3.6 `message`; `code` is gRPC's, and the HTTP status follows from it as in grpc-gateway v2.

use axum::response::Response;
use http::StatusCode;
use photon_core::{Code, Error};
use photon_server::{
    Face,
    face::{Meta, json_response},
};
use serde_json::{Value, json};
use tonic::Status;

#[derive(Clone, Copy, Debug)]
pub(super) struct GatewayFace;

impl Face for GatewayFace {
    fn data(&self, status: StatusCode, json: &[u8], _: &Meta) -> Response {
        json_response(status, json.to_vec())
    }

    fn error(&self, error: &Error, _: &Meta) -> Response {
        let status = StatusCode::from_u16(error.code().http);
        let body = json!({
            "error": error.message(),
            "message": error.message(),
            "code": error.code().grpc,
        });
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json_response(status, body.to_string().into_bytes())
    }
}

/// A gRPC refusal as an error that keeps its code and text.
pub(super) fn error(status: &Status) -> Error {
    let code = Code {
        name: "GRPC",
        http: http_status(status.code()),
        grpc: status.code() as i32,
        retryable: status.code() == tonic::Code::Unavailable,
    };
    Error::new(code, status.message())
}

/// The last line of a stream that failed, in the forms of 3.4 and of 3.6 at once.
pub(super) fn last_line(status: &Status) -> Value {
    let http = http_status(status.code());
    let reason = StatusCode::from_u16(http).ok();
    json!({"error": {
        "grpc_code": status.code() as i32,
        "http_code": http,
        "message": status.message(),
        "http_status": reason.and_then(|status| status.canonical_reason()),
        "code": status.code() as i32,
    }})
}

/// grpc-gateway's `HTTPStatusFromCode`.
fn http_status(code: tonic::Code) -> u16 {
    use tonic::Code;
    match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::Unauthenticated => 401,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}
