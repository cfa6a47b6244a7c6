//! One path: its request becomes a gRPC call to a service of this process, whose answer becomes JSON.

use std::{convert::Infallible, time::Duration};

use anyhow::Context as _;
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, uri::PathAndQuery};
use photon_server::{Peer, RestError, face::json_response};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use tokio::sync::mpsc;
use tonic::{
    Status, Streaming,
    client::Grpc,
    metadata::{MetadataKey, MetadataMap, MetadataValue},
    service::Routes,
};

use super::{
    face,
    transcode::{Dynamic, from_json, to_json},
    values::{Values, broken_off},
};
use crate::etcd::ByGateway;

/// Headers that go on as gRPC metadata: who calls, and whether to wait without a leader.
const FORWARDED: &[(&str, &str)] = &[
    ("authorization", "authorization"),
    ("grpc-metadata-token", "token"),
    ("grpc-metadata-hasleader", "hasleader"),
];

#[derive(Clone)]
pub(super) struct Call {
    method: MethodDescriptor,
    path: PathAndQuery,
    services: Routes,
    /// For a body that is to be read whole.
    patience: Duration,
}

impl Call {
    /// `method` is `package.Service/Method`.
    pub(super) fn new(
        pool: &DescriptorPool,
        method: &str,
        services: Routes,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let descriptor = method.split_once('/').and_then(|(service, name)| {
            let service = pool.get_service_by_name(service)?;
            service.methods().find(|method| method.name() == name)
        });
        Ok(Self {
            method: descriptor.with_context(|| format!("there is no gRPC method {method}"))?,
            path: format!("/{method}").parse()?,
            services,
            patience,
        })
    }

    pub(super) async fn answer(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let context = Context {
            metadata: forwarded(&parts.headers),
            peer: parts.extensions.get::<Peer>().cloned(),
        };
        let answer = match (
            self.method.is_client_streaming(),
            self.method.is_server_streaming(),
        ) {
            (false, false) => self.one_for_one(context, body).await,
            (false, true) => self.many_for_one(context, body).await,
            (true, _) => self.many_for_many(context, body).await,
        };
        answer.unwrap_or_else(|status| RestError(face::error(&status)).into_response())
    }

    async fn one_for_one(self, context: Context, body: Body) -> Result<Response, Status> {
        let message = self.whole(body).await?;
        let (mut grpc, codec) = self.client();
        ready(&mut grpc).await?;
        let answer = grpc
            .unary(context.request(message), self.path.clone(), codec)
            .await?;
        let json = to_json(answer.get_ref())?;
        Ok(json_response(StatusCode::OK, json.to_string().into_bytes()))
    }

    async fn many_for_one(self, context: Context, body: Body) -> Result<Response, Status> {
        let message = self.whole(body).await?;
        let (mut grpc, codec) = self.client();
        ready(&mut grpc).await?;
        let answers = grpc
            .server_streaming(context.request(message), self.path.clone(), codec)
            .await?;
        // Nothing more is read, so nothing more can be wrong with the request.
        let (_, wrong) = mpsc::channel(1);
        Ok(lines(answers.into_inner(), wrong))
    }

    /// Answers are written while requests are still read.
    async fn many_for_many(self, context: Context, body: Body) -> Result<Response, Status> {
        let kind = self.method.input();
        let mut values = Values::new(body);
        let first = values.next().await?;
        let first = first.ok_or_else(|| Status::invalid_argument("a JSON object is expected"))?;
        let first = from_json(&kind, &first)?;
        let (report, wrong) = mpsc::channel(1);
        let rest = stream::unfold((values, report), move |(mut values, report)| {
            let kind = kind.clone();
            async move {
                let message = match values.next().await {
                    Ok(None) => return None,
                    Ok(Some(json)) => from_json(&kind, &json),
                    Err(status) => Err(status),
                };
                match message {
                    Ok(message) => Some((message, (values, report))),
                    Err(status) => {
                        // One place for one report: this is the last message.
                        let _told = report.try_send(status);
                        None
                    }
                }
            }
        });
        let requests = stream::StreamExt::chain(stream::iter([first]), rest);
        let (mut grpc, codec) = self.client();
        ready(&mut grpc).await?;
        let answers = grpc
            .streaming(context.request(requests), self.path.clone(), codec)
            .await?;
        Ok(lines(answers.into_inner(), wrong))
    }

    async fn whole(&self, body: Body) -> Result<DynamicMessage, Status> {
        let read = tokio::time::timeout(self.patience, to_bytes(body, usize::MAX));
        match read.await {
            Ok(Ok(json)) => from_json(&self.method.input(), &json),
            Ok(Err(error)) => Err(broken_off(&error)),
            Err(_) => Err(Status::deadline_exceeded("the body took too long")),
        }
    }

    fn client(&self) -> (Grpc<Routes>, Dynamic) {
        let grpc = Grpc::new(self.services.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let answers = self.method.output();
        (grpc, Dynamic { answers })
    }
}

/// Services of this process are always ready.
async fn ready(grpc: &mut Grpc<Routes>) -> Result<(), Status> {
    grpc.ready()
        .await
        .map_err(|never: Infallible| match never {})
}

/// What goes on with a call beside its messages.
struct Context {
    metadata: MetadataMap,
    peer: Option<Peer>,
}

impl Context {
    fn request<T>(self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = self.metadata;
        request.extensions_mut().insert(ByGateway);
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        request
    }
}

fn forwarded(headers: &HeaderMap) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for (header, key) in FORWARDED {
        let value: Option<&HeaderValue> = headers.get(HeaderName::from_static(header));
        let value = value.and_then(|value| MetadataValue::try_from(value.as_bytes()).ok());
        if let Some(value) = value {
            metadata.insert(MetadataKey::from_static(key), value);
        }
    }
    metadata
}

/// Answers as lines of `{"result": …}`; a failure of the call, or of reading further requests, as the last
/// line `{"error": …}`. Written as fast as the client reads, and no faster.
fn lines(answers: Streaming<DynamicMessage>, wrong: mpsc::Receiver<Status>) -> Response {
    let body = Body::from_stream(results(answers, wrong));
    let mut response = body.into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

fn results(
    answers: Streaming<DynamicMessage>,
    wrong: mpsc::Receiver<Status>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(Some((answers, wrong)), |state| async move {
        let (mut answers, mut wrong) = state?;
        let answer = tokio::select! {
            biased;
            Some(status) = wrong.recv() => Err(status),
            answer = answers.message() => answer,
        };
        let answer = answer.and_then(|answer| answer.as_ref().map(to_json).transpose());
        match answer {
            Ok(None) => None,
            Ok(Some(result)) => {
                let line = serde_json::json!({ "result": result });
                Some((Ok(line_of(&line)), Some((answers, wrong))))
            }
            Err(status) => Some((Ok(line_of(&face::last_line(&status))), None)),
        }
    })
}

fn line_of(value: &serde_json::Value) -> Bytes {
    format!("{value}\n").into()
}
