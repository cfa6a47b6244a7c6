//! Forgetting connections: what was allowed by a rule that is gone is decided by the rules there are.
//!
//! netfilter's own netlink messages (linux/netfilter/nfnetlink_conntrack.h): all are listed, and each that concerns one of the
//! addresses is deleted by its original tuple, as it was listed.

use std::{collections::BTreeSet, io, net::Ipv4Addr};

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::Error;

/// `NFNL_SUBSYS_CTNETLINK << 8`, with `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Netlink's header, and netfilter's behind it.
const HEADER: usize = 16;
const FAMILY: usize = 4;
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`; inside `CTA_TUPLE_IP`; inside `CTA_IP_V4_SRC`, `CTA_IP_V4_DST`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
/// The bits of an attribute's kind that say what it is; the others say how it is written.
const KIND: u16 = 0x3fff;

/// Forgets the connections of these addresses in the calling thread's namespace.
///
/// # Errors
/// The kernel refuses.
pub fn forget(addresses: &BTreeSet<Ipv4Addr>) -> Result<(), Error> {
    let failed = |error| Error::system("forget connections", error);
    let socket = open().map_err(failed)?;
    let tuples = list(&socket, addresses).map_err(failed)?;
    for tuple in tuples {
        delete(&socket, &tuple).map_err(failed)?;
    }
    Ok(())
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // The kernel answers within the call that asks: there is nothing to wait for, and so no wait without an end.
    socket.set_non_blocking(true)?;
    Ok(socket)
}

fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = HEADER + FAMILY + attributes.len();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or_default().to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    message.extend(1u32.to_ne_bytes()); // sequence
    message.extend(0u32.to_ne_bytes()); // to the kernel
    message.extend([2, 0, 0, 0]); // AF_INET, version 0, no resource
    message.extend(attributes);
    message
}

/// The original tuples, as attributes, of connections that concern the addresses.
fn list(socket: &Socket, addresses: &BTreeSet<Ipv4Addr>) -> io::Result<Vec<Vec<u8>>> {
    socket.send(&message(GET, NLM_F_DUMP, &[]), 0)?;
    let mut found = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        for (kind, body) in messages(&bytes) {
            match kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => outcome(body)?,
                _ => found.extend(tuple_of(body, addresses)),
            }
        }
    }
}

fn delete(socket: &Socket, tuple: &[u8]) -> io::Result<()> {
    socket.send(&message(DELETE, NLM_F_ACK, tuple), 0)?;
    let (bytes, _) = socket.recv_from_full()?;
    let answer = messages(&bytes).find(|(kind, _)| *kind == NLMSG_ERROR);
    match outcome(answer.map(|(_, body)| body).unwrap_or_default()) {
        // It ended by itself meanwhile.
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// What an error message says; 0 is that all is well.
fn outcome(body: &[u8]) -> io::Result<()> {
    let code = body.get(..4).and_then(|bytes| bytes.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno.wrapping_neg())),
        None => Err(io::Error::other("an answer without a code")),
    }
}

/// Messages with their kinds; what is cut off is none.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.get(..HEADER)?;
        let length = usize::try_from(u32::from_ne_bytes(head[..4].try_into().ok()?)).ok()?;
        let kind = u16::from_ne_bytes(head[4..6].try_into().ok()?);
        let body = rest.get(HEADER..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Attributes with their kinds, contents, and all of their bytes.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.get(..4)?;
        let length = usize::from(u16::from_ne_bytes(head[..2].try_into().ok()?));
        let kind = u16::from_ne_bytes(head[2..].try_into().ok()?) & KIND;
        let whole = rest.get(..length)?;
        let content = whole.get(4..)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, content, whole))
    })
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// The original tuple of a connection, if it or its reply names one of the addresses.
fn tuple_of(body: &[u8], addresses: &BTreeSet<Ipv4Addr>) -> Option<Vec<u8>> {
    let body = body.get(FAMILY..)?;
    let mut original = None;
    let mut is_concerned = false;
    for (kind, content, whole) in attributes(body) {
        if kind == ORIGINAL {
            original = Some(whole.to_vec());
        }
        if kind == ORIGINAL || kind == REPLY {
            is_concerned |= names(content).any(|address| addresses.contains(&address));
        }
    }
    original.filter(|_| is_concerned)
}

/// The addresses of a tuple.
fn names(tuple: &[u8]) -> impl Iterator<Item = Ipv4Addr> {
    let ip = attributes(tuple).filter(|(kind, ..)| *kind == TUPLE_IP);
    let parts = ip.flat_map(|(_, content, _)| attributes(content));
    parts.filter_map(|(kind, content, _)| {
        let octets: [u8; 4] = content.try_into().ok()?;
        (kind == SOURCE || kind == DESTINATION).then(|| octets.into())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(4 + content.len()).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(content);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn tuple(kind: u16, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        // As the kernel writes it: nested attributes say so.
        const NESTED: u16 = 0x8000;
        let ip = [
            attribute(SOURCE, &source),
            attribute(DESTINATION, &destination),
        ]
        .concat();
        let protocol = attribute(2, &[6, 0, 0]);
        attribute(
            kind | NESTED,
            &[attribute(TUPLE_IP | NESTED, &ip), protocol].concat(),
        )
    }

    #[test]
    fn a_connection_is_told_by_either_end() {
        let original = tuple(ORIGINAL, [10, 0, 0, 2], [10, 0, 0, 3]);
        let reply = tuple(REPLY, [10, 0, 0, 9], [10, 0, 0, 2]);
        let body = [vec![2, 0, 0, 0], original.clone(), reply].concat();
        for (last, is_concerned) in [(2, true), (3, true), (9, true), (4, false)] {
            let address = BTreeSet::from([Ipv4Addr::new(10, 0, 0, last)]);
            assert_eq!(
                tuple_of(&body, &address),
                is_concerned.then(|| original.clone()),
                "{last}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_ends(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for (_, body) in messages(&bytes).take(100) {
                let _ = tuple_of(body, &BTreeSet::new());
            }
            prop_assert!(attributes(&bytes).take(1000).count() < 1000);
        }
    }
}
