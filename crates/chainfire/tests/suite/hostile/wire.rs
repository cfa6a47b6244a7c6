//! Bytes by hand: HTTP/1 requests as text, HTTP/2 frames, gRPC messages of any content.

use std::{net::SocketAddr, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// What a client of HTTP/2 begins with, and empty SETTINGS.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Sends bytes, reads until the other side closes (or resets), and returns what it said. It must close in time.
pub(super) async fn exchange(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let talk = async {
        let mut stream = TcpStream::connect(to).await.unwrap();
        // The other side may have heard enough before everything is sent.
        let _sent = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ended = stream.read_to_end(&mut answer).await;
        answer
    };
    timeout(PATIENCE, talk).await.expect("the connection ends")
}

/// The status of an HTTP/1 answer; none when there was no answer.
pub(super) fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.strip_prefix(b"HTTP/1.1 ")?;
    std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
}

/// An HTTP/2 frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_uint(payload.len() as u64, 3);
    frame.put_u8(kind);
    frame.put_u8(flags);
    frame.put_u32(stream);
    frame.put_slice(payload);
    frame
}

/// A field of a protobuf message that holds a message.
pub(super) fn field(number: u32, message: &[u8]) -> Vec<u8> {
    let mut field = Vec::with_capacity(message.len() + 8);
    prost::encoding::encode_key(
        number,
        prost::encoding::WireType::LengthDelimited,
        &mut field,
    );
    prost::encoding::encode_varint(message.len() as u64, &mut field);
    field.extend_from_slice(message);
    field
}

/// Messages as they are, undecoded.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}

/// A unary call with any bytes as its message.
pub(super) async fn call(
    channel: Channel,
    path: &'static str,
    message: Bytes,
) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready()
        .await
        .map_err(|error| Status::new(Code::Unknown, error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(path);
    let answer = timeout(PATIENCE, grpc.unary(Request::new(message), path, Raw));
    Ok(answer.await.expect("an answer in time")?.into_inner())
}
