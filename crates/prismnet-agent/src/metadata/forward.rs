//! A question goes to the socket of whoever answers for the port, and its answer back.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Method, Request, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, ETAG, HOST, LAST_MODIFIED, USER_AGENT},
};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prismnet_model::PortId;
use tokio::{net::UnixStream, time::timeout};

/// Which port asks: told to whoever answers.
pub const PORT_HEADER: HeaderName = HeaderName::from_static("x-photon-port");
/// The most bytes of an answer.
const LARGEST: usize = 1 << 20;
/// How long an answer may take, all of it.
const ANSWER: Duration = Duration::from_secs(5);
/// What is passed on of a question, beside its path: nothing that a port could say of itself.
const QUESTION: [HeaderName; 2] = [ACCEPT, USER_AGENT];
/// What is passed back.
const ANSWERED: [HeaderName; 3] = [CONTENT_TYPE, ETAG, LAST_MODIFIED];

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody is at the socket, or breaks off.
    #[error("who answers for this port is away")]
    Away,
    /// Too late.
    #[error("who answers for this port takes too long")]
    Late,
    /// Too long.
    #[error("the answer is too long")]
    Long,
}

/// Asks.
///
/// # Errors
/// No answer.
pub async fn ask(
    socket: &Path,
    port: PortId,
    method: Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response<Full<Bytes>>, NoAnswer> {
    let asked = timeout(ANSWER, talk(socket, port, method, path, headers));
    asked.await.map_err(|_| NoAnswer::Late)?
}

async fn talk(
    socket: &Path,
    port: PortId,
    method: Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response<Full<Bytes>>, NoAnswer> {
    let away = |error: &dyn std::fmt::Display| {
        tracing::debug!(%port, %error, "no answer at the metadata address");
        NoAnswer::Away
    };
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| away(&error))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| away(&error))?;
    let connection = tokio::spawn(connection);
    let mut question = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "169.254.169.254")
        .header(PORT_HEADER, port.to_string());
    for name in QUESTION {
        if let Some(value) = headers.get(&name) {
            question = question.header(name, value);
        }
    }
    let question = question
        .body(Empty::<Bytes>::new())
        .map_err(|error| away(&error))?;
    let answer = sender.send_request(question).await;
    let result = match answer {
        Ok(answer) => take(answer).await,
        Err(error) => Err(away(&error)),
    };
    connection.abort();
    result
}

async fn take(answer: Response<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, NoAnswer> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, LARGEST).collect().await;
    let body = body.map_err(|_| NoAnswer::Long)?.to_bytes();
    let mut passed = Response::new(Full::new(body));
    *passed.status_mut() = final_status(head.status);
    for name in ANSWERED {
        if let Some(value) = head.headers.get(&name) {
            passed.headers_mut().insert(name, value.clone());
        }
    }
    Ok(passed)
}

/// An answer that is none, an upgrade for instance, is nothing to pass on.
fn final_status(status: StatusCode) -> StatusCode {
    if status.is_informational() {
        StatusCode::BAD_GATEWAY
    } else {
        status
    }
}
