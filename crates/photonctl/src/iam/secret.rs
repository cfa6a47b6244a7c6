//! Secrets from the terminal, without showing them, or from stdin.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

use crate::{failure::Failure, rest::context::Secret};

/// The longest line that is read.
const LINE_BYTES: u64 = 16 << 10;

/// Asks for a secret: one line, without its end.
pub(crate) fn ask(what: &str) -> Result<Secret, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line(what);
    }
    eprint!("{what}: ");
    let quiet = Quiet::begin()?;
    let secret = line(what);
    drop(quiet);
    eprintln!();
    secret
}

/// Asks twice on a terminal: what is typed unseen is easily mistyped.
pub(crate) fn ask_new(what: &str) -> Result<Secret, Failure> {
    let secret = ask(what)?;
    if io::stdin().is_terminal() && ask(&format!("{what} again"))? != secret {
        return Err(Failure::usage("the two are not the same"));
    }
    Ok(secret)
}

fn line(what: &str) -> Result<Secret, Failure> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(LINE_BYTES)
        .read_line(&mut text)
        .map_err(anyhow::Error::from)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        let missing = format!("{} was not given: stdin is empty", what.to_lowercase());
        return Err(Failure::usage(missing));
    }
    Ok(Secret(text.to_owned()))
}

/// The terminal shows nothing of what is typed, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> Result<Self, Failure> {
        let before = termios::tcgetattr(io::stdin()).map_err(anyhow::Error::from)?;
        let mut without = before.clone();
        without.local_flags.remove(LocalFlags::ECHO);
        termios::tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &without)
            .map_err(anyhow::Error::from)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // There is nobody to tell; the shell sets its terminal anew.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
