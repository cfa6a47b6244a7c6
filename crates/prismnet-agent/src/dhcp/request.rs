//! Requests, as they come from anybody: only what is needed of them is read (RFC 2131, 2132).
//!
//! `dhcproto` has a decoder, but asserts what a sender may get wrong; what it encodes is ours.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Flags, Message, Opcode};

/// Of the fixed fields, with the magic that options follow.
const HEAD: usize = 240;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
const PAD: u8 = 0;
const END: u8 = 255;

/// A request of an Ethernet client, with the options that it is answered by. `None` for what is none, or makes no sense.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Message> {
    let head = bytes.get(..HEAD)?;
    // A request, by Ethernet, with an address of six bytes.
    if head[..3] != [1, 1, 6] || head[236..] != MAGIC {
        return None;
    }
    let address = |at: usize| {
        let octets: Option<[u8; 4]> = head[at..at + 4].try_into().ok();
        octets.map(Ipv4Addr::from)
    };
    let mut message = Message::new_with_id(
        u32::from_be_bytes(head[4..8].try_into().ok()?),
        address(12)?,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::UNSPECIFIED,
        address(24)?,
        &head[28..34],
    );
    message.set_opcode(Opcode::BootRequest);
    message.set_flags(Flags::new(u16::from_be_bytes([head[10], head[11]])));
    let mut rest = &bytes[HEAD..];
    while let Some((&code, after)) = rest.split_first() {
        if code == END {
            return Some(message);
        }
        if code == PAD {
            rest = after;
            continue;
        }
        let (&length, after) = after.split_first()?;
        let (value, after) = after.split_at_checked(length.into())?;
        if let Some(option) = option(code, value)? {
            message.opts_mut().insert(option);
        }
        rest = after;
    }
    Some(message)
}

/// An option that counts; `None` inside for one that does not, outside for one that is malformed.
fn option(code: u8, value: &[u8]) -> Option<Option<DhcpOption>> {
    let address = || {
        let octets: [u8; 4] = value.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    let option = match code {
        50 => DhcpOption::RequestedIpAddress(address()?),
        53 => {
            let [kind] = value.try_into().ok()?;
            let kind: u8 = kind;
            DhcpOption::MessageType(kind.into())
        }
        54 => DhcpOption::ServerIdentifier(address()?),
        _ => return Some(None),
    };
    Some(Some(option))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use dhcproto::{
        Encodable as _,
        v4::{MessageType, OptionCode},
    };
    use proptest::prelude::*;

    use super::*;

    fn request() -> Message {
        let zero = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new(zero, zero, zero, zero, &[6, 0, 0, 0, 0, 7]);
        message.set_flags(Flags::default().set_broadcast());
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(MessageType::Request));
        options.insert(DhcpOption::RequestedIpAddress(Ipv4Addr::new(10, 0, 1, 7)));
        options.insert(DhcpOption::ServerIdentifier(Ipv4Addr::new(10, 0, 1, 1)));
        message
    }

    #[test]
    fn what_is_written_is_read() {
        let written = request();
        let mut with_more = written.clone();
        with_more
            .opts_mut()
            .insert(DhcpOption::Hostname("somebody".to_owned()));
        let read = read(&with_more.to_vec().unwrap()).unwrap();
        assert_eq!(
            (read.xid(), read.chaddr(), read.flags()),
            (written.xid(), written.chaddr(), written.flags())
        );
        for code in [
            OptionCode::MessageType,
            OptionCode::RequestedIpAddress,
            OptionCode::ServerIdentifier,
        ] {
            assert_eq!(read.opts().get(code), written.opts().get(code));
        }
        assert_eq!(read.opts().get(OptionCode::Hostname), None);
    }

    #[test]
    fn what_makes_no_sense_is_none() {
        let good = request().to_vec().unwrap();
        for (at, byte) in [(0, 2), (1, 6), (2, 255), (236, 0), (241, 2)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(read(&bad).is_none(), "byte {at}");
        }
        for length in 0..HEAD {
            assert!(read(&good[..length]).is_none(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_not(
            at in 0usize..HEAD,
            byte in any::<u8>(),
            options in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let mut bytes = request().to_vec().unwrap();
            bytes.truncate(HEAD);
            bytes.extend(options);
            let _ = read(&bytes);
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}
