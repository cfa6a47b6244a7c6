//! `prismnet-cni`: what a container runtime calls to connect a container.

use std::{
    io::{Read as _, Write as _},
    process::ExitCode,
};

use prismnet_cni::{
    LATEST,
    call::version_of,
    failure::{Code, Failure},
    verbs::perform,
};
use serde_json::Value;

/// The most bytes of a configuration.
const LARGEST: u64 = 1 << 20;

fn main() -> ExitCode {
    let mut stdin = Vec::new();
    let done = read(&mut stdin).and_then(|()| run(&stdin));
    let (said, code) = match done {
        Ok(Value::Null) => return ExitCode::SUCCESS,
        Ok(said) => (said, ExitCode::SUCCESS),
        Err(failure) => {
            let version = version_of(&stdin).unwrap_or_else(|| LATEST.to_owned());
            (failure.to_json(&version), ExitCode::FAILURE)
        }
    };
    // A runtime that has gone hears nothing.
    match writeln!(std::io::stdout(), "{said}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn read(stdin: &mut Vec<u8>) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(Code::Io, "standard input cannot be read").because(why);
    let all = std::io::stdin().lock().take(LARGEST + 1).read_to_end(stdin);
    all.map_err(|error| failed(error.to_string()))?;
    if u64::try_from(stdin.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(failed(format!("it has more than {LARGEST} bytes")));
    }
    Ok(())
}

fn run(stdin: &[u8]) -> Result<Value, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime
        .map_err(|error| Failure::new(Code::Later, "no runtime").because(error.to_string()))?;
    runtime.block_on(perform(&|name: &str| std::env::var(name).ok(), stdin))
}
