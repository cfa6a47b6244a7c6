//! Log lines: for people on a terminal, one JSON object per line elsewhere.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{ConfigError, LogConfig, LogFormat};

/// Installs the process's subscriber, writing to standard error. `RUST_LOG` overrides the level.
/// A second call changes nothing.
pub fn init(config: &LogConfig) -> Result<(), ConfigError> {
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| config.level.clone());
    let filter = EnvFilter::try_new(&directives)
        .map_err(|error| ConfigError::Invalid(format!("log.level: {error}")))?;
    let registry = tracing_subscriber::registry().with(filter);
    // Only an earlier subscriber makes this fail, as in a test process; that one stays.
    let _ = match resolve(config.format) {
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        _ => registry
            .with(
                fmt::layer()
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
    Ok(())
}

/// Under systemd standard error is the journal's socket, not a terminal, so one question is enough.
fn resolve(format: LogFormat) -> LogFormat {
    match format {
        LogFormat::Auto if std::io::stderr().is_terminal() => LogFormat::Pretty,
        LogFormat::Auto => LogFormat::Json,
        chosen => chosen,
    }
}
