//! The little HTTP that starting and observing servers takes: one request a connection, plain text.

use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// Headers and body; a chunked body keeps its chunk sizes.
    pub(crate) body: String,
}

/// `GET http://ADDRESS/PATH`.
///
/// # Errors
/// When the server does not answer in time.
pub(crate) async fn get(address: &str, path: &str) -> anyhow::Result<Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    exchange(address, &request).await
}

/// `POST http://ADDRESS/PATH` with a JSON body.
///
/// # Errors
/// When the server does not answer in time.
pub(crate) async fn post_json(address: &str, path: &str, body: &str) -> anyhow::Result<Answer> {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(address, &request).await
}

async fn exchange(address: &str, request: &str) -> anyhow::Result<Answer> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        anyhow::Ok(bytes)
    };
    let bytes = tokio::time::timeout(DEADLINE, talk)
        .await
        .with_context(|| format!("no answer from {address}"))??;
    let body = String::from_utf8_lossy(&bytes).into_owned();
    let status = body
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("not an HTTP answer")?;
    Ok(Answer { status, body })
}
