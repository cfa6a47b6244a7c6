//! An HTTP/1.1 connection that stays open. It does no more than it must: the client shares the machine with the server.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CONNECT: Duration = Duration::from_secs(10);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// No answer of ours is longer.
const LONGEST: usize = 16 * 1024 * 1024;

/// A connection, and the answer it got last.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    stream: TcpStream,
    received: Vec<u8>,
    body_at: usize,
}

impl KeepAlive {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
            .await
            .with_context(|| format!("no connection to {address} within {CONNECT:?}"))?
            .with_context(|| address.to_owned())?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            received: Vec::with_capacity(4096),
            body_at: 0,
        })
    }

    /// Sends a request, waits for the whole answer, and returns its status. [`KeepAlive::body`] is its content.
    ///
    /// # Errors
    /// A connection that ends, an answer that is none, or too late.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        tokio::time::timeout(ANSWER, self.talk(request))
            .await
            .context("no answer in time")?
    }

    /// The content of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        &self.received[self.body_at..]
    }

    async fn talk(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.received.clear();
        self.stream.write_all(request).await?;
        let end_of_head = loop {
            self.receive().await?;
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = std::str::from_utf8(&self.received[..end_of_head])?;
        let status = head
            .get(9..12)
            .and_then(|code| code.parse().ok())
            .context("not an HTTP answer")?;
        let length = content_length(head).context("an answer without Content-Length")?;
        while self.received.len() < end_of_head + length {
            self.receive().await?;
        }
        self.body_at = end_of_head;
        Ok(status)
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        let count = self.stream.read_buf(&mut self.received).await?;
        ensure!(count > 0, "the connection ended");
        ensure!(self.received.len() <= LONGEST, "an endless answer");
        Ok(())
    }
}

/// A request with a JSON body, or none.
pub(crate) fn request(address: &str, line: &str, token: &str, body: &str) -> Vec<u8> {
    let authorization = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    format!(
        "{line} HTTP/1.1\r\nHost: {address}\r\n{authorization}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Asks over a connection that stays open, and returns the `data` of the answer.
///
/// # Errors
/// An answer that is not 2xx.
pub(crate) async fn call(
    connection: &mut KeepAlive,
    address: &str,
    line: &str,
    body: &str,
) -> anyhow::Result<Value> {
    let status = connection
        .exchange(&request(address, line, "", body))
        .await?;
    let text = String::from_utf8_lossy(connection.body());
    ensure!((200..300).contains(&status), "{line}: {status} {text}");
    let mut answer: Value = serde_json::from_str(&text)?;
    Ok(answer["data"].take())
}

fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let found = name.eq_ignore_ascii_case("content-length");
        found.then(|| value.trim().parse().ok())?
    })
}

/// Where `what` begins in `within`.
pub(crate) fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|part| part == what)
}

#[cfg(test)]
mod tests {
    use super::{content_length, find};

    #[test]
    fn heads_are_read() {
        let head = "HTTP/1.1 200 OK\r\nDate: now\r\ncontent-LENGTH: 12\r\n\r\n";
        assert_eq!(content_length(head), Some(12));
        assert_eq!(content_length("HTTP/1.1 200 OK\r\n\r\n"), None);
        assert_eq!(find(b"a\r\n\r\nb", b"\r\n\r\n"), Some(1));
        assert_eq!(find(b"", b"\r\n\r\n"), None);
    }
}
