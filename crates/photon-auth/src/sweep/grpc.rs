//! Asking gRPC, without knowing any message: an empty one is valid for every type.

use http::uri::PathAndQuery;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::AsciiMetadataValue,
    transport::{Channel, Endpoint},
};

use super::{Answer, Credential, Kind, PATIENCE, SweepError, Target};

pub(super) async fn connect(endpoint: &str) -> Result<Channel, SweepError> {
    let failed = |error| SweepError::because(endpoint.to_owned(), error);
    let endpoint = Endpoint::from_shared(endpoint.to_owned()).map_err(failed)?;
    endpoint
        .connect_timeout(PATIENCE)
        .connect()
        .await
        .map_err(failed)
}

pub(super) async fn ask(
    channel: Channel,
    target: &Target,
    credential: &Credential,
    message: Option<Vec<u8>>,
) -> Result<Answer, SweepError> {
    let path = PathAndQuery::try_from(format!("/{}", target.name))
        .map_err(|error| SweepError::because(target.name.clone(), error))?;
    let messages = futures::stream::once(std::future::ready(message.unwrap_or_default()));
    let mut request = Request::new(messages);
    request.set_timeout(PATIENCE);
    if let Some(authorization) = &credential.authorization {
        let value = AsciiMetadataValue::try_from(authorization)
            .map_err(|error| SweepError::because(credential.name.clone(), error))?;
        request.metadata_mut().insert("authorization", value);
    }
    let asking = first_message(channel, path, request);
    let answer = tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
    Ok(judge(answer))
}

/// The first message of the answer, whether the method streams or not.
async fn first_message(
    channel: Channel,
    path: PathAndQuery,
    request: Request<impl futures::Stream<Item = Vec<u8>> + Send + 'static>,
) -> Result<Option<Vec<u8>>, Status> {
    let mut client = Grpc::new(channel);
    client
        .ready()
        .await
        .map_err(|error| Status::unknown(error.to_string()))?;
    let answer = client.streaming(request, path, Bytes).await?;
    answer.into_inner().message().await
}

fn judge(answer: Result<Option<Vec<u8>>, Status>) -> Answer {
    match answer {
        Ok(message) => {
            let bytes = message.unwrap_or_default().len();
            Answer {
                kind: if bytes == 0 {
                    Kind::Nothing
                } else {
                    Kind::Something
                },
                text: format!("OK, {bytes} bytes"),
            }
        }
        Err(status) => Answer {
            kind: kind(status.code()),
            text: format!("{:?}: {}", status.code(), status.message()),
        },
    }
}

fn kind(code: Code) -> Kind {
    match code {
        Code::Unauthenticated => Kind::Unauthenticated,
        // Not offered yet is not a defect, and shows nothing.
        Code::PermissionDenied | Code::NotFound | Code::Unimplemented => Kind::Refused,
        Code::Internal
        | Code::Unknown
        | Code::DataLoss
        | Code::Unavailable
        | Code::DeadlineExceeded => Kind::Broken,
        _ => Kind::Other,
    }
}

/// Messages as they are.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        prost::bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; prost::bytes::Buf::remaining(buffer)];
        prost::bytes::Buf::copy_to_slice(buffer, &mut item);
        Ok(Some(item))
    }
}
