//! Reading a log from its files, and telling what a crash leaves from damage. Changes nothing.
//!
//! Frame n + 1 is written only after the fdatasync of frame n has returned. So where frame n is not intact:
//!
//! ```text
//!  | n-1 | ????? | 0 0 0 0 |     nothing intact behind it: it was being written, nobody was told -> a torn tail
//!  | n-1 | ????? | n+1 |         frame n was acknowledged -> damage, refuse
//!  | n-1 | 0 0 0 |  log-n.seg    the file was full -> go on with the next one
//!  | n-1 | 0 0 0 |  log-m.seg    m > n: frames are missing -> refuse
//!  | n-1 | 0 0 0 |               the end
//! ```
//!
//! A file has its full length before it has a name, and says how long that is in its first frame. One that is shorter
//! has lost its end, and nobody knows what stood there: damage, also where what is left ends with an intact frame.
//!
//! A disk writes whole sectors, so a frame that was being written lacks at least one, or its end. The last frame with
//! neither is damaged, and not taken for a torn one. What is cut off is overwritten with zeros before the log goes on:
//! bytes of an abandoned frame must never be found behind a later one.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    codec::invalid,
    log::{
        frame::{self, Flaw, HEADER, Header},
        index::{Index, Slot},
        record::{Change, Record, Records, State},
        segment,
    },
    types::LogId,
};

const SECTOR: usize = 512;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) index: Index,
    /// Numbers of the files, oldest first.
    pub(super) segments: Vec<u64>,
    /// Which log it is; `None`: there is no frame.
    pub(super) log: Option<u64>,
    /// Of the next frame.
    pub(super) number: u64,
    /// Where the log goes on in the last file.
    pub(super) offset: u64,
    /// Bytes behind `offset` that were being written.
    pub(super) torn: u64,
    /// Bytes of all files up to where they end.
    pub(super) used: u64,
}

/// Reads the log in `dir`. `entry` is shown the payload of each entry in the files, also of those that are cut off or
/// purged later.
pub(super) fn recover(
    dir: &Path,
    cache_limit: usize,
    entry: &mut dyn FnMut(LogId, &[u8]) -> io::Result<()>,
    change: &mut dyn FnMut(&Change),
) -> io::Result<Recovered> {
    let files = segment::list(dir)?;
    let mut recovered = Recovered {
        index: Index::new(cache_limit),
        number: files.first().map_or(1, |(number, _)| *number),
        ..Recovered::default()
    };
    for (at, (number, path)) in files.iter().enumerate() {
        if *number != recovered.number {
            return Err(invalid(format!(
                "{}: it should begin with frame {}: frames are damaged or a file is missing",
                path.display(),
                recovered.number
            )));
        }
        let bytes = std::fs::read(path)?;
        let mut file = Reading {
            number: *number,
            path,
            bytes: &bytes,
            at: 0,
            oldest: at == 0,
            newest: at + 1 == files.len(),
        };
        file.frames(&mut recovered, entry, change)?;
        recovered.segments.push(*number);
    }
    recovered.index.check_complete()?;
    Ok(recovered)
}

/// One file.
struct Reading<'a> {
    number: u64,
    path: &'a PathBuf,
    bytes: &'a [u8],
    at: usize,
    oldest: bool,
    newest: bool,
}

impl Reading<'_> {
    fn damaged(&self, why: impl std::fmt::Display) -> io::Error {
        invalid(format!(
            "{} at byte {}: {why}",
            self.path.display(),
            self.at
        ))
    }

    fn frames(
        &mut self,
        log: &mut Recovered,
        entry: &mut dyn FnMut(LogId, &[u8]) -> io::Result<()>,
        change: &mut dyn FnMut(&Change),
    ) -> io::Result<()> {
        loop {
            match frame::read(self.bytes, self.at) {
                Ok((header, body)) => {
                    self.belongs(log, &header)?;
                    let end = body.end;
                    self.records(log, body.start, &self.bytes[body], entry, change)
                        .map_err(|error| self.damaged(error))?;
                    log.number += 1;
                    self.at = end;
                }
                Err(flaw) => {
                    log.torn = self.end(log, flaw)? as u64;
                    log.offset = self.at as u64;
                    log.used += log.offset;
                    return Ok(());
                }
            }
        }
    }

    fn belongs(&self, log: &mut Recovered, header: &Header) -> io::Result<()> {
        if header.log != *log.log.get_or_insert(header.log) {
            return Err(self.damaged("a frame of another log"));
        }
        if header.number != log.number {
            return Err(self.damaged(format!(
                "frame {} where {} should be",
                header.number, log.number
            )));
        }
        Ok(())
    }

    fn records(
        &self,
        log: &mut Recovered,
        start: usize,
        body: &[u8],
        entry: &mut dyn FnMut(LogId, &[u8]) -> io::Result<()>,
        change: &mut dyn FnMut(&Change),
    ) -> io::Result<()> {
        for (n, record) in Records::new(body).enumerate() {
            let record = record?;
            let state = matches!(record, Record::Change(Change::State(_)));
            if state != (self.at == 0 && n == 0) {
                return Err(invalid("a state stands at the beginning of a file only"));
            }
            match record {
                Record::Change(Change::State(State { file_bytes, .. }))
                    if file_bytes > self.bytes.len() as u64 =>
                {
                    return Err(invalid(format!(
                        "the file has lost its end: it was made with {file_bytes} bytes and has {}",
                        self.bytes.len()
                    )));
                }
                Record::Entry { id, payload } => {
                    let bytes = &body[payload.clone()];
                    let slot = Slot {
                        term: id.leader_id.term,
                        segment: self.number,
                        offset: (start + payload.start) as u64,
                        len: u32::try_from(bytes.len()).map_err(io::Error::other)?,
                        crc: crc32fast::hash(bytes),
                    };
                    log.index.found(id, slot)?;
                    entry(id, bytes)?;
                }
                Record::Change(record) => {
                    log.index.change(&record)?;
                    change(&record);
                }
            }
        }
        Ok(())
    }

    /// There is no intact frame here. Returns how many bytes are to be cut off; an error for damage.
    fn end(&self, log: &Recovered, flaw: Flaw) -> io::Result<usize> {
        if self.at == 0 && self.oldest && self.number != 1 {
            // Files are removed when a later one has a durable frame.
            return Err(self.damaged(flaw));
        }
        if self.bytes.is_empty() {
            return Err(self.damaged("the file has lost everything, and it was made with a length"));
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let written = without_zeros(rest);
        if written == 0 {
            return Ok(0);
        }
        if let Flaw::Version(_) = flaw {
            return Err(self.damaged(flaw));
        }
        let Some(frame) = self.bytes.get(self.at..self.frame_end(flaw)) else {
            // A frame is written only where it fits.
            return Err(self.damaged("the file has lost its end: it ends within a frame"));
        };
        if let Some(number) = self.intact_behind(log, self.at + written) {
            return Err(self.damaged(format!(
                "{flaw}, and frame {number}, which was written after it, is intact"
            )));
        }
        if !self.newest {
            return Err(self.damaged(format!("{flaw}, and a file follows")));
        }
        if !self.torn(frame) {
            return Err(self.damaged(format!(
                "{flaw}, and it is not one that was being written when the process ended"
            )));
        }
        Ok(written)
    }

    /// The number of an intact frame that was written later, if there is one before `end`.
    fn intact_behind(&self, log: &Recovered, end: usize) -> Option<u64> {
        (self.at + 1..end).find_map(|at| {
            let (header, _) = frame::read(self.bytes, at).ok()?;
            let ours = log.log.is_none_or(|log| log == header.log);
            (ours && header.number > log.number).then_some(header.number)
        })
    }

    /// How far the broken frame here reaches, as far as that is known.
    fn frame_end(&self, flaw: Flaw) -> usize {
        match flaw {
            Flaw::Body { end } => end,
            _ => self.at + HEADER,
        }
    }

    /// Whether the broken frame here lacks its end or a whole sector.
    fn torn(&self, frame: &[u8]) -> bool {
        let first = SECTOR - self.at % SECTOR;
        let (head, others) = frame.split_at(first.min(frame.len()));
        frame.last() == Some(&0)
            || without_zeros(head) == 0
            || others
                .chunks(SECTOR)
                .any(|sector| without_zeros(sector) == 0)
    }
}

/// The length without the zeros at the end.
fn without_zeros(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut len = bytes.len();
    while len > 0 {
        let part = len.min(ZEROS.len());
        if bytes[len - part..len] != ZEROS[..part] {
            break;
        }
        len -= part;
    }
    let rest = &bytes[..len];
    rest.iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1)
}
