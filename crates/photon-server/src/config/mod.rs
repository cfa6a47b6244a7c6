//! The configuration blocks that services embed in their own, and how they are read.
//!
//! A service's configuration is one struct with named fields of these types:
//!
//! ```toml
//! [rest]
//! address = "127.0.0.1:8081"
//! [rest.tls]
//! certificate = "server.crt"
//! key = "server.key"
//! [auth]
//! mode = "enforce"
//! ```

mod blocks;
mod load;

pub use blocks::{AuthConfig, LimitsConfig, ListenConfig, LogConfig, LogFormat, Mode, TlsConfig};
pub use load::{ConfigError, load, load_from};
