//! The smallest daemon: `cargo run -p photon-server --example hello -- --config hello.toml`, with
//!
//! ```toml
//! [rest]
//! address = "127.0.0.1:8099"
//! [auth]
//! mode = "dev"
//! ```

use std::process::ExitCode;

use axum::{Router, routing::get};
use clap::Parser;
use photon_server::{
    AuthConfig, CommonArgs, ConfigError, Daemon, Data, LimitsConfig, Listen, ListenConfig,
    LogConfig, ServiceConfig, main_with,
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    rest: ListenConfig,
    #[serde(default)]
    auth: AuthConfig,
    #[serde(default)]
    limits: LimitsConfig,
    #[serde(default)]
    log: LogConfig,
}

impl ServiceConfig for Config {
    fn log(&self) -> &LogConfig {
        &self.log
    }
    fn validate(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let routes = Router::new().route("/api/v1/hello", get(async || Data("hello")));
    Daemon::new("hello", env!("CARGO_PKG_VERSION"))
        .mode(config.auth.mode)
        .limits(config.limits)
        .rest(Listen::bind(&config.rest).await?, routes)
        .run(stop)
        .await?;
    Ok(())
}

fn main() -> ExitCode {
    main_with(&Args::parse().common, "HELLO", run)
}
