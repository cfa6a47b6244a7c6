//! How a service wants to be guarded.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use photon_core::Name;
use photon_server::Metrics;

use crate::{caller::Caller, scheme::Scheme};

/// The issuer of tokens in enforce mode, unless configured otherwise.
pub const DEFAULT_ISSUER: &str = "https://iam.photon.internal";

/// The services whose certificates bear the plain name of the service: their users in the store have it too. Any other
/// service is `svc/<name>`.
pub const SERVICES: &[&str] = &["iam", "creditservice", "prismnet", "plasmavmc", "k8shost"];

/// Asked once for every request of a known caller, before its handler; an error is how long to wait before the next.
pub type RateLimit = Arc<dyn Fn(&Caller) -> Result<(), Duration> + Send + Sync>;

/// What time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How to be guarded. The default suits every service; set `metrics` to the daemon's.
#[derive(Clone)]
pub struct AuthOptions {
    /// The issuer of tokens in enforce mode.
    pub issuer: String,
    /// How long decisions are made from what is known while the store cannot be heard; then everything is refused.
    pub max_staleness: Duration,
    /// How long [`crate::Auth::start`] waits for the store.
    pub start_timeout: Duration,
    /// How long a gRPC method may take that the client sets no shorter limit for.
    pub grpc_timeout: Duration,
    /// Verified tokens remembered; what is used least is forgotten first.
    pub cached_tokens: u64,
    /// The services whose certificates bear a plain name.
    pub services: Vec<Name>,
    /// Other ways to prove who one is, asked before those built in.
    pub schemes: Vec<Arc<dyn Scheme>>,
    /// How often a caller may ask; without it as often as it likes.
    pub rate_limit: Option<RateLimit>,
    /// Where to count.
    pub metrics: Option<Metrics>,
    /// The time that tokens and conditions are judged by.
    pub clock: Clock,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            issuer: DEFAULT_ISSUER.to_owned(),
            max_staleness: Duration::from_secs(60),
            start_timeout: Duration::from_secs(30),
            grpc_timeout: Duration::from_secs(30),
            cached_tokens: 10_000,
            services: SERVICES
                .iter()
                .filter_map(|name| Name::new(*name).ok())
                .collect(),
            schemes: Vec::new(),
            rate_limit: None,
            metrics: None,
            clock: Arc::new(Timestamp::now),
        }
    }
}

impl std::fmt::Debug for AuthOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthOptions")
            .field("issuer", &self.issuer)
            .field("max_staleness", &self.max_staleness)
            .finish_non_exhaustive()
    }
}
