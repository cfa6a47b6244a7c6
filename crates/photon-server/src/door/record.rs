//! What is remembered of one request for the log and the metrics.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use http::{HeaderValue, Method, StatusCode};
use photon_core::{Code, Error};

use crate::{
    metrics::{HttpMetrics, RequestLabels, RouteLabels},
    peer::Peer,
    rest::RequestId,
};

use super::OPEN_PATHS;

/// What is noted of a request whose client left before it was done, as nginx notes it. Nobody is answered with it.
const CLIENT_LEFT: u16 = 499;

pub(super) struct Record {
    door: &'static str,
    method: &'static str,
    path: String,
    route: String,
    id: RequestId,
    client_id: Option<String>,
    peer: Option<String>,
    started: Instant,
    pub(super) identity: Option<String>,
    code: Option<Code>,
    reason: Option<String>,
    is_cut: bool,
}

impl Record {
    pub(super) fn begin(
        door: &'static str,
        request: &Request,
        id: RequestId,
        theirs: Option<&HeaderValue>,
    ) -> Self {
        let matched = request.extensions().get::<MatchedPath>();
        Self {
            door,
            method: method_label(request.method()),
            path: request.uri().path().to_owned(),
            // Only paths of ours become labels, so that strangers cannot make the metrics grow.
            route: matched.map_or("unmatched", MatchedPath::as_str).to_owned(),
            id,
            client_id: theirs
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            peer: request
                .extensions()
                .get::<Peer>()
                .map(|peer| peer.addr.to_string()),
            started: Instant::now(),
            identity: None,
            code: None,
            reason: None,
            is_cut: false,
        }
    }

    /// Its client left in the middle of its body, and hears no answer.
    pub(super) fn client_left(&mut self) {
        self.is_cut = true;
    }

    /// An error is logged here, once, with its private cause.
    pub(super) fn note(&mut self, error: &Error) {
        self.code = Some(error.code());
        self.reason = Some(error.message().to_owned());
        if error.code() == Code::INTERNAL {
            tracing::error!(
                request_id = %self.id.0,
                method = self.method,
                path = self.path,
                cause = error.causes().as_deref().unwrap_or("none"),
                "request failed inside: {}",
                error.message(),
            );
        } else if let Some(cause) = error.causes() {
            tracing::debug!(request_id = %self.id.0, cause, "request refused: {}", error.message());
        }
    }

    /// Logs and counts it, by its answer; by [`CLIENT_LEFT`] if there is none, or nobody to hear it.
    pub(super) fn finish(&mut self, answer: Option<StatusCode>, metrics: &HttpMetrics) {
        let answer = answer.filter(|_| !self.is_cut);
        let status = answer.map_or(CLIENT_LEFT, |answer| answer.as_u16());
        let elapsed = self.started.elapsed();
        let duration_ms = milliseconds(elapsed);
        macro_rules! access {
            ($level:expr) => {
                tracing::event!(
                    target: "photon_server::access",
                    $level,
                    door = self.door,
                    method = self.method,
                    path = self.path,
                    status,
                    duration_ms,
                    request_id = %self.id.0,
                    client_request_id = self.client_id,
                    peer = self.peer,
                    identity = self.identity,
                    code = self.code.map(|code| code.name),
                    reason = self.reason,
                    "request"
                )
            };
        }
        // Probes come every few seconds and say nothing as long as all is well.
        if OPEN_PATHS.contains(&self.path.as_str()) || self.path == "/metrics" {
            access!(tracing::Level::DEBUG);
        } else {
            access!(tracing::Level::INFO);
        }
        let labels = RouteLabels {
            door: self.door,
            method: self.method,
            route: self.route.clone(),
        };
        metrics
            .seconds
            .get_or_create(&labels)
            .observe(elapsed.as_secs_f64());
        let labels = RequestLabels {
            door: self.door,
            method: self.method,
            route: std::mem::take(&mut self.route),
            status,
        };
        metrics.requests.get_or_create(&labels).inc();
    }
}

/// To the microsecond: what a float shows beyond that is noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_decimals() {
        for (nanoseconds, shown) in [
            (1_234_567_891, "1234.568"),
            (1_234_499, "1.234"),
            (300_000_000, "300"),
            (100, "0"),
        ] {
            let time = Duration::from_nanos(nanoseconds);
            assert_eq!(milliseconds(time).to_string(), shown);
        }
    }
}
