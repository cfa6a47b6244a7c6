//! What a question is answered: a token, or what whoever answers for the port says.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
    request::Parts,
};
use http_body_util::Full;
use prismnet_model::PortId;

use super::{
    Source,
    forward::{NoAnswer, ask},
    token::LONGEST,
};

/// Where a token is asked for.
const TOKEN: &str = "/latest/api/token";
/// How long it is to hold, in seconds: as others call it, and as we do.
const HOLDS: [&str; 2] = [
    "x-aws-ec2-metadata-token-ttl-seconds",
    "x-photon-metadata-token-ttl-seconds",
];
/// The token itself.
const GIVEN: [&str; 2] = ["x-aws-ec2-metadata-token", "x-photon-metadata-token"];
/// Said by proxies: whoever asks through one is not the port.
const FORWARDED: &str = "x-forwarded-for";
/// The most bytes of a path with its query.
const LONGEST_PATH: usize = 2048;

/// Of a question by a port. `port` is none if the address that asks is no port's here.
///
/// # Errors
/// Never.
pub async fn answer<B>(
    source: &Source,
    port: Option<PortId>,
    request: Request<B>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let Some(port) = port else {
        return Ok(refuse(
            StatusCode::NOT_FOUND,
            "this address is no port's of this host",
        ));
    };
    // Nothing that is asked here has a body.
    let (head, _) = request.into_parts();
    Ok(match (&head.method, head.uri.path()) {
        (&Method::PUT, TOKEN) => give(source, port, &head.headers),
        (_, TOKEN) => allow("PUT"),
        (&Method::GET | &Method::HEAD, _) => pass_on(source, port, &head).await,
        _ => allow("GET, HEAD"),
    })
}

fn give(source: &Source, port: PortId, headers: &HeaderMap) -> Response<Full<Bytes>> {
    if headers.contains_key(FORWARDED) {
        return refuse(
            StatusCode::FORBIDDEN,
            "tokens are not given through a proxy",
        );
    }
    let Some(holds) = seconds(headers) else {
        let problem = format!("{}: must be from 1 to {}", HOLDS[0], LONGEST.as_secs());
        return refuse(StatusCode::BAD_REQUEST, &problem);
    };
    let token = source.tokens.give(port, holds, SystemTime::now());
    let mut answer = text(StatusCode::OK, token);
    answer
        .headers_mut()
        .insert(HOLDS[0], HeaderValue::from(holds.as_secs()));
    answer
}

fn seconds(headers: &HeaderMap) -> Option<Duration> {
    let value = HOLDS.iter().find_map(|name| headers.get(*name))?;
    let seconds: u64 = value.to_str().ok()?.parse().ok()?;
    (1..=LONGEST.as_secs())
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

async fn pass_on(source: &Source, port: PortId, head: &Parts) -> Response<Full<Bytes>> {
    let headers = &head.headers;
    let token = GIVEN.iter().find_map(|name| headers.get(*name));
    let now = SystemTime::now();
    if !token.is_some_and(|token| source.tokens.holds(port, token.as_bytes(), now)) {
        let problem = format!("a token is needed: PUT {TOKEN}");
        return refuse(StatusCode::UNAUTHORIZED, &problem);
    }
    let Some(socket) = source.sockets.get(port) else {
        return refuse(StatusCode::NOT_FOUND, "nobody answers for this port");
    };
    let path = head.uri.path_and_query();
    let path = path.map_or("/", |path| path.as_str());
    if path.len() > LONGEST_PATH {
        return refuse(StatusCode::URI_TOO_LONG, "the path is too long");
    }
    match ask(&socket, port, head.method.clone(), path, headers).await {
        Ok(answer) => answer,
        Err(problem) => {
            let status = match problem {
                NoAnswer::Away => StatusCode::SERVICE_UNAVAILABLE,
                NoAnswer::Late => StatusCode::GATEWAY_TIMEOUT,
                NoAnswer::Long => StatusCode::BAD_GATEWAY,
            };
            refuse(status, &problem.to_string())
        }
    }
}

fn allow(methods: &'static str) -> Response<Full<Bytes>> {
    let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, "this is not done here");
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

fn refuse(status: StatusCode, problem: &str) -> Response<Full<Bytes>> {
    text(status, format!("{problem}\n"))
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}
