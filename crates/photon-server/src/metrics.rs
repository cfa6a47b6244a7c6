//! One registry for the process.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::process::ProcessCollector;

/// The metrics of a process; clones share one registry.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: String,
    registry: Mutex<Registry>,
    http: HttpMetrics,
    listeners: Listeners,
}

/// Requests through doors.
#[derive(Clone, Debug)]
pub(crate) struct HttpMetrics {
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    pub(crate) in_flight: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) door: &'static str,
    pub(crate) method: &'static str,
    pub(crate) route: String,
    pub(crate) status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RouteLabels {
    pub(crate) door: &'static str,
    pub(crate) method: &'static str,
    pub(crate) route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Clone, Debug, Default)]
struct Listeners {
    open: Family<ListenerLabels, Gauge>,
    accepted: Family<ListenerLabels, Counter>,
    refused: Family<ListenerLabels, Counter>,
    requests: Family<ListenerLabels, Counter>,
}

/// The counters of one listener, looked up once so that a request only touches an atomic.
#[derive(Clone, Debug)]
pub(crate) struct ListenerMetrics {
    pub(crate) open: Gauge,
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    pub(crate) requests: Counter,
}

fn latency_buckets() -> Histogram {
    // 0.25 ms to 8 s, doubling.
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

impl Metrics {
    /// An empty registry with the process's own metrics; a service's are prefixed `photon_<service>_`.
    #[must_use]
    pub fn new(service: &str) -> Self {
        let http = HttpMetrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(latency_buckets),
            in_flight: Gauge::default(),
        };
        let listeners = Listeners::default();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessCollector::new()));
        let own = registry.sub_registry_with_prefix(format!("photon_{service}"));
        own.register(
            "http_requests",
            "Requests answered, by matched route",
            http.requests.clone(),
        );
        own.register(
            "http_request_seconds",
            "Time until the head of the answer",
            http.seconds.clone(),
        );
        own.register(
            "http_requests_in_flight",
            "Requests being worked on",
            http.in_flight.clone(),
        );
        own.register(
            "connections_open",
            "Open connections",
            listeners.open.clone(),
        );
        own.register(
            "connections_accepted",
            "Connections accepted",
            listeners.accepted.clone(),
        );
        own.register(
            "connections_refused",
            "Connections closed at the limit",
            listeners.refused.clone(),
        );
        own.register(
            "listener_requests",
            "Requests by listener, gRPC included",
            listeners.requests.clone(),
        );
        Self(Arc::new(Inner {
            service: service.to_owned(),
            registry: Mutex::new(registry),
            http,
            listeners,
        }))
    }

    /// Registers a service's own metrics, under the prefix `photon_<service>_`.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        let prefix = format!("photon_{}", self.0.service);
        register(self.0.registry.lock().sub_registry_with_prefix(prefix));
    }

    /// Registers metrics with names of their own, for example etcd's.
    pub fn register_unprefixed(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.0.registry.lock());
    }

    /// The OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.0.registry.lock()).is_err() {
            tracing::error!("a metric could not be written");
        }
        text
    }

    pub(crate) fn http(&self) -> &HttpMetrics {
        &self.0.http
    }

    pub(crate) fn listener(&self, listener: &'static str) -> ListenerMetrics {
        let labels = ListenerLabels { listener };
        let listeners = &self.0.listeners;
        ListenerMetrics {
            open: listeners.open.get_or_create(&labels).clone(),
            accepted: listeners.accepted.get_or_create(&labels).clone(),
            refused: listeners.refused.get_or_create(&labels).clone(),
            requests: listeners.requests.get_or_create(&labels).clone(),
        }
    }
}

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
