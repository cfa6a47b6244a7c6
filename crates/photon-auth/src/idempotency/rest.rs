//! Around the REST handlers that create.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use photon_core::Error;
use photon_server::{
    RestError,
    rest::{Outcome, json_with_status, whole_body},
};
use photon_store::{audit::canonical, idempotency::Kept};

use super::{Attempt, REPLAYED, key::Key};
use crate::context::Context;

/// What stands beside an answer and belongs to the thing, not to the request.
const KEPT_HEADERS: &[HeaderName] = &[header::ETAG, header::LOCATION];

/// Passes a request to a handler that creates, once.
pub(crate) async fn pass(ctx: Context, request: Request, next: Next) -> Response {
    match try_pass(ctx, request, next).await {
        Ok(response) => response,
        Err(error) => RestError(error).into_response(),
    }
}

async fn try_pass(mut ctx: Context, mut request: Request, next: Next) -> Result<Response, Error> {
    let Some(key) = Key::of(request.headers())? else {
        request.extensions_mut().insert(ctx);
        return Ok(next.run(request).await);
    };
    let (mut parts, body) = request.into_parts();
    let body = whole_body(body).await?;
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    let attempt = Arc::new(Attempt::new(&ctx, &key, method, path, &content(&body)));
    if let Some(kept) = attempt.earlier(&ctx).await? {
        return Ok(again(&kept));
    }
    ctx.attempt = Some(Arc::clone(&attempt));
    parts.extensions.insert(ctx.clone());
    let request = Request::from_parts(parts, Body::from(body));
    let (running, deadline) = (ctx.auth().running().clone(), ctx.deadline);
    let handling = async move { finish(&ctx, &attempt, next.run(request).await).await };
    running.to_the_end(deadline, handling).await
}

async fn finish(ctx: &Context, attempt: &Attempt, response: Response) -> Result<Response, Error> {
    if !response.status().is_success() {
        return match attempt.refused(ctx).await {
            Some(told) => told.map(|kept| again(&kept)),
            None => Ok(response),
        };
    }
    attempt.succeeded(ctx, kept(&response)).await?;
    Ok(response)
}

/// The same JSON written otherwise is the same request. What is none is refused by the handler.
fn content(body: &[u8]) -> Vec<u8> {
    match serde_json::from_slice(body) {
        Ok(value) => canonical(&value),
        Err(_) => body.to_vec(),
    }
}

fn kept(response: &Response) -> Kept {
    let body = match response.extensions().get::<Outcome>() {
        Some(Outcome::Data(json)) => String::from_utf8_lossy(json).into_owned(),
        Some(Outcome::Error(_)) | None => String::new(),
    };
    Kept {
        status: response.status().as_u16(),
        headers: kept_headers(response.headers()),
        body,
    }
}

fn kept_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = |name: &HeaderName| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    };
    KEPT_HEADERS.iter().filter_map(text).collect()
}

/// The first answer, told again: the door gives it an id and a time of its own.
fn again(kept: &Kept) -> Response {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let mut response = if kept.body.is_empty() {
        status.into_response()
    } else {
        json_with_status(status, Bytes::from(kept.body.clone()))
    };
    let headers = response.headers_mut();
    for (name, value) in &kept.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn how_json_is_written_does_not_matter() {
        let one = content(br#"{"a": 1, "b": [true]}"#);
        assert_eq!(one, content(b"{\n\"b\":[true],\"a\":1}"));
        assert_ne!(one, content(br#"{"a": 1, "b": [false]}"#));
        assert_eq!(content(b"{"), b"{");
        assert_eq!(content(b""), b"");
    }
}
