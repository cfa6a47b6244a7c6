//! A body that is a sequence of JSON objects, taken apart while it arrives.

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use tonic::Status;

/// The objects of a body, one by one.
pub(super) struct Values {
    body: BodyDataStream,
    buffer: BytesMut,
    scan: Scan,
}

/// How far the buffer has been looked at, and inside of what the scan is there.
#[derive(Default)]
struct Scan {
    at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Values {
    /// What the whole body may have is its door's limit.
    pub(super) fn new(body: Body) -> Self {
        Self {
            body: body.into_data_stream(),
            buffer: BytesMut::new(),
            scan: Scan::default(),
        }
    }

    /// The text of the next object; `None` at the end of the body.
    ///
    /// # Errors
    /// `InvalidArgument` when something else than an object stands there or the body ends inside of one;
    /// `ResourceExhausted` when it is too large.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(end) = self.scan.object_end(&self.buffer)? {
                self.scan = Scan::default();
                return Ok(Some(self.buffer.split_to(end).freeze()));
            }
            match self.body.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(broken_off(&error)),
                None if self.buffer.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => {
                    return Err(Status::invalid_argument(
                        "the body ends inside of a JSON object",
                    ));
                }
            }
        }
    }
}

/// Why a body could not be read to its end.
pub(super) fn broken_off(error: &axum::Error) -> Status {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return Status::resource_exhausted("the body is too large");
        }
        cause = error.source();
    }
    Status::invalid_argument("the body could not be read")
}

impl Scan {
    /// Goes on where it stopped; where the first object ends, if it does.
    fn object_end(&mut self, buffer: &[u8]) -> Result<Option<usize>, Status> {
        while let Some(byte) = buffer.get(self.at) {
            self.at += 1;
            match (byte, self.in_string) {
                (_, true) if self.escaped => self.escaped = false,
                (b'\\', true) => self.escaped = true,
                (b'"', true) => self.in_string = false,
                (_, true) => {}
                (b'{', false) => self.depth += 1,
                (byte, false) if self.depth == 0 => {
                    if !byte.is_ascii_whitespace() {
                        return Err(Status::invalid_argument("a JSON object is expected"));
                    }
                }
                (b'"', false) => self.in_string = true,
                (b'}', false) => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(self.at));
                    }
                }
                (_, false) => {}
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use futures::stream;

    use super::*;

    /// Takes a body apart that arrives in pieces of `size` bytes.
    async fn taken_apart(body: &str, size: usize) -> Result<Vec<String>, Status> {
        let pieces: Vec<_> = body
            .as_bytes()
            .chunks(size)
            .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
            .collect();
        let mut values = Values::new(Body::from_stream(stream::iter(pieces)));
        let mut all = Vec::new();
        while let Some(value) = values.next().await? {
            all.push(String::from_utf8(value.to_vec()).unwrap().trim().to_owned());
        }
        Ok(all)
    }

    #[tokio::test]
    async fn objects_are_found_however_they_arrive() {
        let body = " {\"a\":{\"b\":\"}\\\"{\"}}\n{}{\"c\":[{\"d\":1}]} \n";
        for size in 1..=body.len() {
            assert_eq!(
                taken_apart(body, size).await.unwrap(),
                ["{\"a\":{\"b\":\"}\\\"{\"}}", "{}", "{\"c\":[{\"d\":1}]}"],
                "{size}"
            );
        }
        assert!(taken_apart(" ", 1).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_no_sequence_of_objects_is_refused() {
        for bad in ["{", "[]", "{}x", "{\"a\":\"}", "1"] {
            assert!(taken_apart(bad, 2).await.is_err(), "{bad}");
        }
    }
}
