//! Uploading a file in pieces, with its SHA-256. What broke off goes on where it was.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use crate::{
    failure::Failure,
    rest::client::{Call, Service},
};

/// Bytes of one request.
const PIECE: u64 = 16 << 20;
/// How often in a row a piece may be lost without anything more being there.
const ATTEMPTS: u32 = 5;
/// Times the number of attempts: until it is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// What the answer to a piece may take: after the last one, a host reads the whole over and looks into it, for up to 900 s.
const WITHIN: Duration = Duration::from_secs(1_000);

/// Uploads a file as (a part of) an image's content, and returns the image.
pub(super) async fn file(
    service: &Service,
    id: &str,
    part: Option<&str>,
    path: &Path,
) -> Result<Value, Failure> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let total = file.metadata().map_err(anyhow::Error::from)?.len();
    let sha256 = digest(&mut file).with_context(|| format!("cannot read {}", path.display()))?;
    let words = ["api", "v1", "images", id, "data"];
    let mut progress = Progress::new(path, total);
    let (mut lost, mut furthest) = (0, 0);
    let mut was_sent = false;
    loop {
        let asked = Call::get(&words).query("part", part.map(str::to_owned));
        let so_far = match service.call(asked.repeatable(true)).await {
            // A service that was never there is not waited for.
            Err(failure)
                if lost < ATTEMPTS && (is_busy(&failure) || was_sent && is_lost(&failure)) =>
            {
                lost += 1;
                sleep(PAUSE * lost).await;
                continue;
            }
            so_far => so_far?,
        };
        // One of another length is begun anew.
        let is_same = so_far["size_bytes"].as_u64() == Some(total);
        if was_sent && is_same && so_far["done"] == true {
            // The answer to the last piece was lost.
            progress.end();
            return service.call(Call::get(&words[..4])).await;
        }
        let offset = so_far["offset"].as_u64().filter(|_| is_same).unwrap_or(0);
        if offset > furthest {
            (lost, furthest) = (0, offset);
        }
        match pieces(
            service,
            &words,
            part,
            &mut file,
            (offset, total),
            &sha256,
            &mut progress,
        )
        .await
        {
            Err(failure) if is_lost(&failure) && lost < ATTEMPTS => {
                // What had come is there; from where, is asked.
                was_sent = true;
                lost += 1;
                sleep(PAUSE * lost).await;
            }
            done => {
                progress.end();
                return done;
            }
        }
    }
}

/// Whether a piece may do better next time: nobody answered, or a piece before it is still being written, or more or less of it is there
/// than was thought.
fn is_lost(failure: &Failure) -> bool {
    failure.is_unreachable() || is_busy(failure)
}

fn is_busy(failure: &Failure) -> bool {
    // A refusal ends with its code.
    failure.to_string().ends_with("(CONFLICT)")
}

async fn pieces(
    service: &Service,
    words: &[&str],
    part: Option<&str>,
    file: &mut File,
    (mut offset, total): (u64, u64),
    sha256: &str,
    progress: &mut Progress,
) -> Result<Value, Failure> {
    file.seek(SeekFrom::Start(offset))
        .map_err(anyhow::Error::from)?;
    loop {
        progress.show(offset);
        let mut bytes = Vec::new();
        let read = file.take(PIECE).read_to_end(&mut bytes);
        let read = read.map_err(anyhow::Error::from)? as u64;
        let range = match read {
            0 => format!("bytes */{total}"),
            read => format!("bytes {offset}-{}/{total}", offset + read - 1),
        };
        let call = Call::new(Method::PUT, words)
            .query("part", part.map(str::to_owned))
            .query("sha256", Some(sha256.to_owned()))
            .piece(bytes, range)
            .within(WITHIN);
        let image = service.call(call).await?;
        offset += read;
        if offset >= total {
            progress.show(total);
            return Ok(image);
        }
    }
}

fn digest(file: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(file, &mut hash)?;
    let digest = hash.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// How far it is, in a line that is written over; nothing where nobody looks.
struct Progress {
    what: String,
    total: u64,
    is_shown: bool,
}

impl Progress {
    fn new(path: &Path, total: u64) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str());
        Self {
            what: name.to_string_lossy().into_owned(),
            total,
            is_shown: io::stderr().is_terminal(),
        }
    }

    fn show(&self, offset: u64) {
        if self.is_shown {
            // Whoever has no terminal any more misses nothing.
            let _ = write!(io::stderr(), "\r{}", self.line(offset));
        }
    }

    fn line(&self, offset: u64) -> String {
        const WIDTH: u64 = 30;
        let of = |whole: u64| (offset * whole).checked_div(self.total).unwrap_or(whole);
        let (full, percent) = (of(WIDTH), of(100));
        let bar: String = (0..WIDTH)
            .map(|at| if at < full { '#' } else { '.' })
            .collect();
        let (done, all) = (offset >> 20, self.total >> 20);
        format!("{} [{bar}] {percent:3} % {done}/{all} MiB", self.what)
    }

    fn end(&self) {
        if self.is_shown {
            let _ = writeln!(io::stderr());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_do_better_is_tried_again() {
        use photon_core::Code;
        let refused = |code: Code| Failure::answered(code.name, "somebody writes to it", code);
        assert!(is_lost(&Failure::unreachable("nobody answers")));
        assert!(is_lost(&refused(Code::CONFLICT)));
        assert!(is_lost(&refused(Code::UNAVAILABLE)));
        // It is there, or may not be.
        assert!(!is_lost(&refused(Code::FAILED_PRECONDITION)));
        assert!(!is_lost(&refused(Code::FORBIDDEN)));
    }

    #[test]
    fn how_far_it_is_is_drawn() {
        let progress = Progress::new(Path::new("/a/disk.qcow2"), 200 << 20);
        let line = progress.line(50 << 20);
        let bar = format!("{}{}", "#".repeat(7), ".".repeat(23));
        assert_eq!(line, format!("disk.qcow2 [{bar}]  25 % 50/200 MiB"));
        assert!(Progress::new(Path::new("x"), 0).line(0).contains("100 %"));
    }
}
