//! A frame: what one fsync makes durable, and where it begins and ends in a file.
//!
//! ```text
//!  0      3    4        8      16       24       28        32
//!  | "PRL"| 2  | length | log  | number | CRC of | CRC of  | body: records back to back |
//!  |      |    | of body|      |        | body   | 0 to 28 |                            | next frame
//! ```
//!
//! All numbers are big endian. `log` is drawn when a log is made: a frame of another log, or one that a client has
//! put together inside a value, is not taken for one of ours.

/// Bytes before the body.
pub(super) const HEADER: usize = 32;

const MAGIC: [u8; 3] = *b"PRL";
/// 1, which no release wrote, did not say how long a file is.
const VERSION: u8 = 2;

/// What stands before a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) log: u64,
    /// Consecutive, from 1.
    pub(super) number: u64,
    /// Bytes of the body.
    body: u32,
    body_crc: u32,
}

/// Why there is no frame here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    Header,
    /// The header is intact; the frame should end at `end` and does not have the content it was written with.
    Body {
        end: usize,
    },
    /// Intact, and of another version.
    Version(u8),
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header => f.write_str("the header of a frame is damaged"),
            Self::Body { .. } => f.write_str("the checksum of a frame does not match"),
            Self::Version(version) => write!(
                f,
                "a frame has format version {version}, this program knows {VERSION}"
            ),
        }
    }
}

/// Writes the header of the frame that fills `frame`, whose body is complete. The body must be shorter than 4 GiB.
pub(super) fn seal(frame: &mut [u8], log: u64, number: u64) -> std::io::Result<()> {
    let (header, body) = frame.split_at_mut(HEADER);
    let len = u32::try_from(body.len()).map_err(std::io::Error::other)?;
    header[..3].copy_from_slice(&MAGIC);
    header[3] = VERSION;
    header[4..8].copy_from_slice(&len.to_be_bytes());
    header[8..16].copy_from_slice(&log.to_be_bytes());
    header[16..24].copy_from_slice(&number.to_be_bytes());
    header[24..28].copy_from_slice(&crc32fast::hash(body).to_be_bytes());
    let crc = crc32fast::hash(&header[..28]);
    header[28..].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(number)
}

fn header_at(file: &[u8], at: usize) -> Result<Header, Flaw> {
    let header = file.get(at..at + HEADER).ok_or(Flaw::Header)?;
    if header[..3] != MAGIC || u32_at(header, 28) != crc32fast::hash(&header[..28]) {
        return Err(Flaw::Header);
    }
    if header[3] != VERSION {
        return Err(Flaw::Version(header[3]));
    }
    Ok(Header {
        log: u64_at(header, 8),
        number: u64_at(header, 16),
        body: u32_at(header, 4),
        body_crc: u32_at(header, 24),
    })
}

/// The frame at `at`: its header and the range of its body.
pub(super) fn read(file: &[u8], at: usize) -> Result<(Header, std::ops::Range<usize>), Flaw> {
    let header = header_at(file, at)?;
    let start = at + HEADER;
    let end = start.saturating_add(usize::try_from(header.body).unwrap_or(usize::MAX));
    match file.get(start..end) {
        Some(body) if crc32fast::hash(body) == header.body_crc => Ok((header, start..end)),
        _ => Err(Flaw::Body { end }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn frame(body: &[u8], log: u64, number: u64) -> Vec<u8> {
        let mut frame = vec![0; HEADER];
        frame.extend_from_slice(body);
        seal(&mut frame, log, number).unwrap();
        frame
    }

    proptest! {
        #[test]
        fn frames_round_trip(body in prop::collection::vec(any::<u8>(), 0..300), log in any::<u64>(), number in any::<u64>(), before in 0..50usize) {
            let mut file = vec![7; before];
            file.extend(frame(&body, log, number));
            file.extend([9; 40]);
            let (header, range) = read(&file, before).unwrap();
            prop_assert_eq!((header.log, header.number), (log, number));
            prop_assert_eq!(&file[range], &body[..]);
        }

        #[test]
        fn garbage_never_panics(mut garbage in prop::collection::vec(any::<u8>(), 0..100), at in 0..120usize) {
            let _ = read(&garbage, at);
            if garbage.len() >= HEADER {
                // A good header before it: the length may be anything.
                garbage[..3].copy_from_slice(&MAGIC);
                garbage[3] = VERSION;
                let crc = crc32fast::hash(&garbage[..28]);
                garbage[28..32].copy_from_slice(&crc.to_be_bytes());
                let _ = read(&garbage, 0);
            }
        }

        #[test]
        fn each_flipped_bit_is_found(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let whole = frame(&body, 3, 4);
            for bit in 0..whole.len() * 8 {
                let mut damaged = whole.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(read(&damaged, 0).is_err(), "bit {}", bit);
            }
        }

        #[test]
        fn each_cut_is_found(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let whole = frame(&body, 3, 4);
            for len in 0..whole.len() {
                prop_assert!(read(&whole[..len], 0).is_err(), "cut at {}", len);
            }
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut other = frame(b"x", 1, 1);
        other[3] = 1;
        let crc = crc32fast::hash(&other[..28]);
        other[28..32].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(read(&other, 0).unwrap_err(), Flaw::Version(1));
    }
}
