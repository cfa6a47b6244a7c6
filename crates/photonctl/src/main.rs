//! `photonctl`: see the library.

use std::process::ExitCode;

use clap::Parser as _;
use photonctl::{cli::Cli, failure::Failure, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A second provider in the process would be an error of ours; the first one is already the right one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Failure::other(error).report(),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
