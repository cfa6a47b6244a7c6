//! `photonctl vm log` and `photonctl vm console`: what a guest writes to its serial console, and a terminal to it.

use std::{
    io::{self, IsTerminal as _, Read as _},
    time::Duration,
};

use futures::{SinkExt as _, StreamExt as _};
use nix::sys::termios::{self, SetArg, Termios};
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::sleep,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Bytes, Message, protocol::Role},
};

use super::vm::VM;
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{
        cli::Named,
        client::Call,
        things::{Things, of},
    },
};

/// How often it is asked for more.
const AGAIN: Duration = Duration::from_secs(1);
/// What is asked for at once.
const PART: u64 = 512 << 10;
/// PlasmaVMC's.
const PROTOCOL: &str = "photon.console.v1";
/// Ctrl-], as virsh and telnet have it.
const ESCAPE: u8 = 0x1d;
/// The most that is typed at once.
const TYPED: usize = 4096;

/// Prints what a guest has written; what a terminal would obey is shown instead, unless it is wanted raw.
pub(super) async fn log(
    vms: &Things<'_>,
    named: Named<'_>,
    follow: bool,
    raw: bool,
) -> Result<(), Failure> {
    let id = vms.id_of(&VM, &named).await?;
    let path = ["api", "v1", VM.path, &id, "console"];
    let mut offset = 0;
    loop {
        let call = Call::get(&path)
            .query("offset", Some(offset.to_string()))
            .query("limit", Some(PART.to_string()));
        let part = vms.service.call(of(&VM, named.whose, call)).await?;
        let number = |name: &str| part[name].as_u64();
        let (Some(data), Some(from), Some(next)) = (
            part["data"].as_str(),
            number("offset"),
            number("next_offset"),
        ) else {
            return Err(vms.service.not_understood("it is no part of a log"));
        };
        if let Format::Data(notation) = vms.format {
            return output::data(notation, &part);
        }
        if from > offset {
            eprintln!("the first {from} bytes are no longer kept");
        }
        match raw {
            true => output::bytes(data.as_bytes())?,
            false => output::bytes(plain(data).as_bytes())?,
        }
        let is_all = next <= offset || Some(next) >= number("end_offset");
        offset = next;
        if is_all && !follow {
            return Ok(());
        }
        if is_all {
            sleep(AGAIN).await;
        }
    }
}

/// Without what a terminal obeys.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            // Only what it is without one.
            '\r' => {}
            control if control.is_ascii_control() => {
                shown.push('^');
                shown.push(char::from(control as u8 ^ 0x40));
            }
            control if control.is_control() => shown.push('\u{fffd}'),
            other => shown.push(other),
        }
    }
    shown
}

/// A terminal to a guest, until Ctrl-] is typed or the service ends it.
pub(super) async fn console(vms: &Things<'_>, named: Named<'_>) -> Result<(), Failure> {
    let id = vms.id_of(&VM, &named).await?;
    let path = ["api", "v1", VM.path, &id, "console", "ws"];
    let call = of(&VM, named.whose, Call::get(&path));
    let stream = vms.service.websocket(call, PROTOCOL).await?;
    let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let (mut sink, mut source) = socket.split();
    let terminal = io::stdin().is_terminal();
    let raw = terminal.then(Raw::begin).transpose()?;
    if terminal {
        eprint!("connected to {}; Ctrl-] ends\r\n", named.text);
    }
    let mut typed = keys(terminal);
    let mut terminated = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut has_keys = true;
    let ended = loop {
        tokio::select! {
            message = source.next() => match message {
                Some(Ok(Message::Binary(data))) => output::bytes(&data)?,
                Some(Ok(Message::Close(frame))) => {
                    break frame.map(|frame| frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => break Some(format!("the connection broke: {error}")),
                None => break Some("the connection broke".to_owned()),
            },
            keys = typed.recv(), if has_keys => match keys {
                Some(keys) => {
                    let (keys, is_end) = until_escape(keys, terminal);
                    // Whether it arrives, the other side says.
                    let _ = sink.send(Message::Binary(keys)).await;
                    if is_end {
                        let _ = sink.send(Message::Close(None)).await;
                        break None;
                    }
                }
                // Nothing more is typed; what comes is shown.
                None => has_keys = false,
            },
            _ = terminated.recv() => break None,
        }
    };
    drop(raw);
    if terminal {
        eprintln!();
    }
    match ended {
        None => Ok(()),
        Some(why) => Err(Failure::unreachable(why)),
    }
}

/// What is typed before the escape, and whether it was typed. What does not come from a terminal has none.
fn until_escape(keys: Vec<u8>, terminal: bool) -> (Bytes, bool) {
    match keys.iter().position(|key| *key == ESCAPE) {
        Some(at) if terminal => (Bytes::copy_from_slice(&keys[..at]), true),
        _ => (keys.into(), false),
    }
}

/// What is typed, read by a thread of its own: it ends with the program, and not before something is typed. What does not come from a
/// terminal has lines that end as a terminal ends them.
fn keys(terminal: bool) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut room = vec![0; TYPED];
        loop {
            let read = match io::stdin().read(&mut room) {
                Ok(0) | Err(_) => return,
                Ok(read) => read,
            };
            let mut keys = room[..read].to_vec();
            if !terminal {
                for key in &mut keys {
                    if *key == b'\n' {
                        *key = b'\r';
                    }
                }
            }
            if sender.blocking_send(keys).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The terminal passes on every key, until this is dropped.
struct Raw(Termios);

impl Raw {
    fn begin() -> Result<Self, Failure> {
        let before = termios::tcgetattr(io::stdin()).map_err(anyhow::Error::from)?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &raw).map_err(anyhow::Error::from)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // There is nobody to tell; the shell sets its terminal anew.
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}

/// What a file holds, or a text that is no path.
pub(super) fn public_keys(texts: Vec<String>) -> Result<Vec<Value>, Failure> {
    let mut keys = Vec::new();
    for text in texts {
        if text.contains(' ') {
            keys.push(Value::String(text));
            continue;
        }
        let file = read_short(&text)?;
        let file = String::from_utf8(file)
            .map_err(|_| Failure::usage(format!("{text} holds no public keys")))?;
        let lines = file.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        keys.extend(lines.map(|line| Value::String(line.to_owned())));
    }
    Ok(keys)
}

/// A file's text, for a guest; `-` is stdin.
pub(super) fn user_data(path: &str) -> Result<String, Failure> {
    let bytes = read_short(path)?;
    String::from_utf8(bytes).map_err(|_| {
        Failure::usage(format!(
            "{path} is no text: user-data that is none goes by gRPC only"
        ))
    })
}

fn read_short(path: &str) -> Result<Vec<u8>, Failure> {
    // What is too long, the service says; this is only not to read for ever.
    const MOST: u64 = 1 << 20;
    let mut bytes = Vec::new();
    let read = match path {
        "-" => io::stdin().lock().take(MOST).read_to_end(&mut bytes),
        path => std::fs::File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes)),
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::usage(format!("{path} cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_a_log() {
        assert_eq!(plain("a\tb\r\nc"), "a\tb\nc");
        assert_eq!(plain("\u{1b}[31mred\u{7}\u{9b}2J"), "^[[31mred^G\u{fffd}2J");
    }

    #[test]
    fn only_a_terminal_escapes() {
        let typed = b"ls\x1drest".to_vec();
        let (keys, is_end) = until_escape(typed.clone(), true);
        assert_eq!((&keys[..], is_end), (&b"ls"[..], true));
        let (keys, is_end) = until_escape(typed.clone(), false);
        assert_eq!((&keys[..], is_end), (&typed[..], false));
    }
}
