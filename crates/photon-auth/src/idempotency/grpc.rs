//! Around the gRPC methods that create.

use std::{collections::BTreeMap, sync::Arc};

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use photon_core::{Code, Error};
use photon_server::grpc::status;
use photon_store::idempotency::Kept;
use tonic::Status;

use super::{Attempt, KEY, REPLAYED, key::Key};
use crate::context::Context;

/// The longest message that is taken with a key; as much as tonic takes by itself. A service may take less.
const LONGEST_MESSAGE: usize = 4 << 20;
/// gRPC's number for good.
const OK: &str = "0";

/// Passes a request to a method that creates, once.
pub(crate) async fn pass(ctx: Context, request: Request, next: Next) -> Response {
    match try_pass(ctx, request, next).await {
        Ok(response) => response,
        Err(error) => status(&error).into_http(),
    }
}

async fn try_pass(mut ctx: Context, mut request: Request, next: Next) -> Result<Response, Error> {
    let Some(key) = Key::of(request.headers())? else {
        request.extensions_mut().insert(ctx);
        return Ok(next.run(request).await);
    };
    let (mut parts, body) = request.into_parts();
    let message = whole_message(body).await?;
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    let attempt = Arc::new(Attempt::new(&ctx, &key, method, path, &message));
    if let Some(kept) = attempt.earlier(&ctx).await? {
        return again(&kept);
    }
    ctx.attempt = Some(Arc::clone(&attempt));
    parts.extensions.insert(ctx.clone());
    let request = Request::from_parts(parts, Body::from(message));
    let (running, deadline) = (ctx.auth().running().clone(), ctx.deadline);
    let handling = async move { finish(&ctx, &attempt, next.run(request).await).await };
    running.to_the_end(deadline, handling).await
}

async fn whole_message(body: Body) -> Result<Bytes, Error> {
    match Limited::new(body, LONGEST_MESSAGE).collect().await {
        Ok(message) => Ok(message.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::new(
            Code::PAYLOAD_TOO_LARGE,
            format!("with an {KEY} a message may have at most {LONGEST_MESSAGE} bytes"),
        )),
        Err(error) => {
            Err(Error::validation("body", "complete", "the message ended early").with_source(error))
        }
    }
}

async fn finish(ctx: &Context, attempt: &Attempt, response: Response) -> Result<Response, Error> {
    let (parts, body) = response.into_parts();
    let whole = body.collect().await.map_err(Error::internal)?;
    let trailers = whole.trailers().cloned().unwrap_or_default();
    let message = whole.to_bytes();
    // In the head it stands only if there is no message.
    let told = trailers
        .get(Status::GRPC_STATUS)
        .or_else(|| parts.headers.get(Status::GRPC_STATUS));
    let good = told.is_some_and(|told| told == OK);
    if good {
        let kept = Kept {
            status: 0,
            headers: BTreeMap::new(),
            body: STANDARD.encode(&message),
        };
        attempt.succeeded(ctx, kept).await?;
    } else if let Some(told) = attempt.refused(ctx).await {
        return again(&told?);
    }
    Ok(Response::from_parts(parts, body_of(message, trailers)))
}

fn body_of(message: Bytes, trailers: HeaderMap) -> Body {
    let trailers = (!trailers.is_empty()).then_some(Ok(trailers));
    Body::new(Full::new(message).with_trailers(std::future::ready(trailers)))
}

/// The first answer, told again.
fn again(kept: &Kept) -> Result<Response, Error> {
    let message = STANDARD.decode(&kept.body).map_err(Error::internal)?;
    let mut trailers = HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static(OK));
    let mut response = Response::new(body_of(message.into(), trailers));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
