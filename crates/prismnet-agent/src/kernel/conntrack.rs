//! Forgetting connections: what was allowed by a rule that is gone is decided by the rules there are.
//!
//! By netfilter's own netlink messages (linux/netfilter/nfnetlink_conntrack.h): all are listed, and each that concerns one of the
//! addresses, and that nothing allows any more, is deleted by its original tuple, as it was listed.

use std::{collections::BTreeSet, io, net::Ipv4Addr};

use rtnetlink::sys::Socket;

use super::{
    Error,
    netfilter::{
        FAMILY, NLM_F_ACK, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, attributes, message, messages,
        open, outcome,
    },
};
use crate::allowed::{Allowed, Connection};

/// `NFNL_SUBSYS_CTNETLINK << 8`, with `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`; inside `CTA_TUPLE_IP`, `CTA_TUPLE_PROTO`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
/// `CTA_IP_V4_SRC`, `CTA_IP_V4_DST`.
const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
/// `CTA_PROTO_NUM`, `CTA_PROTO_DST_PORT`, `CTA_PROTO_ICMP_TYPE`, `CTA_PROTO_ICMP_CODE`.
const NUMBER: u16 = 1;
const DESTINATION_PORT: u16 = 3;
const ICMP_TYPE: u16 = 5;
const ICMP_CODE: u16 = 6;

/// Forgets the connections of these addresses in the calling thread's namespace that are not allowed any more.
///
/// # Errors
/// The kernel refuses.
pub fn forget(addresses: &BTreeSet<Ipv4Addr>, allowed: &Allowed) -> Result<(), Error> {
    let failed = |error| Error::system("forget connections", error);
    let socket = open().map_err(failed)?;
    let tuples = list(&socket, addresses, allowed).map_err(failed)?;
    for tuple in tuples {
        delete(&socket, &tuple).map_err(failed)?;
    }
    Ok(())
}

/// The original tuples, as attributes, of connections that concern the addresses and are not allowed.
fn list(
    socket: &Socket,
    addresses: &BTreeSet<Ipv4Addr>,
    allowed: &Allowed,
) -> io::Result<Vec<Vec<u8>>> {
    socket.send(&message(GET, NLM_F_DUMP, &[]), 0)?;
    let mut found = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        for (kind, body) in messages(&bytes) {
            match kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => outcome(body)?,
                _ => found.extend(tuple_of(body, addresses, allowed)),
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

/// The original tuple of a connection, if it or its reply names one of the addresses, and it is not allowed.
fn tuple_of(body: &[u8], addresses: &BTreeSet<Ipv4Addr>, allowed: &Allowed) -> Option<Vec<u8>> {
    let body = body.get(FAMILY..)?;
    let of = |wanted| attributes(body).find(|(kind, ..)| *kind == wanted);
    let (_, original, whole) = of(ORIGINAL)?;
    let (_, reply, _) = of(REPLY)?;
    let all = [original, reply];
    let mut named = all
        .into_iter()
        .flat_map(|tuple| [SOURCE, DESTINATION].map(|end| address(tuple, end)));
    if !named.any(|address| address.is_some_and(|address| addresses.contains(&address))) {
        return None;
    }
    // What cannot be read is not known to be allowed.
    let is_allowed = connection(original, reply).is_some_and(|known| allowed.allows(&known))
        && stands(original, reply, allowed).unwrap_or_default();
    (!is_allowed).then(|| whole.to_vec())
}

/// Whether it would be translated so again.
fn stands(original: &[u8], reply: &[u8], allowed: &Allowed) -> Option<bool> {
    let (source, asked) = (address(original, SOURCE)?, address(original, DESTINATION)?);
    let (reached, seen) = (address(reply, SOURCE)?, address(reply, DESTINATION)?);
    Some(allowed.translations.stand(asked, reached, source, seen))
}

/// What the rules are asked about: whoever answers is whom it reached.
fn connection(original: &[u8], reply: &[u8]) -> Option<Connection> {
    let part = |wanted| {
        let (_, protocol, _) = attributes(original).find(|(kind, ..)| *kind == TUPLE_PROTOCOL)?;
        let (_, content, _) = attributes(protocol).find(|(kind, ..)| *kind == wanted)?;
        Some(content)
    };
    let byte = |wanted| part(wanted).and_then(<[u8]>::first).copied();
    let port = part(DESTINATION_PORT).and_then(|bytes| bytes.try_into().ok());
    Some(Connection {
        source: address(original, SOURCE)?,
        destination: address(reply, SOURCE)?,
        protocol: byte(NUMBER)?,
        port: port.map(u16::from_be_bytes).unwrap_or_default(),
        icmp: (
            byte(ICMP_TYPE).unwrap_or_default(),
            byte(ICMP_CODE).unwrap_or_default(),
        ),
    })
}

/// One of the addresses of a tuple.
fn address(tuple: &[u8], end: u16) -> Option<Ipv4Addr> {
    let (_, ip, _) = attributes(tuple).find(|(kind, ..)| *kind == TUPLE_IP)?;
    let (_, content, _) = attributes(ip).find(|(kind, ..)| *kind == end)?;
    let octets: [u8; 4] = content.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::kernel::netfilter::aligned;

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
        let protocol = [
            attribute(NUMBER, &[6]),
            attribute(DESTINATION_PORT, &[0, 80]),
        ]
        .concat();
        let parts = [
            attribute(TUPLE_IP | NESTED, &ip),
            attribute(TUPLE_PROTOCOL | NESTED, &protocol),
        ];
        attribute(kind | NESTED, &parts.concat())
    }

    #[test]
    fn what_is_allowed_goes_on() {
        let original = tuple(ORIGINAL, [10, 0, 0, 2], [192, 0, 2, 3]);
        // Its destination was translated: another one answers.
        let reply = tuple(REPLY, [10, 0, 0, 9], [10, 0, 0, 2]);
        let body = [vec![2, 0, 0, 0], original.clone(), reply].concat();
        let concerned = BTreeSet::from([Ipv4Addr::new(10, 0, 0, 2)]);
        let mut open = Allowed::closed(&[[10, 0, 0, 3]]);
        assert_eq!(
            tuple_of(&body, &concerned, &open),
            Some(original.clone()),
            "it would not be translated so again"
        );
        let floating = ([192, 0, 2, 3].into(), [10, 0, 0, 9].into());
        open.translations.floating = [floating].into();
        assert_eq!(tuple_of(&body, &concerned, &open), None);
        let closed = Allowed::closed(&[[10, 0, 0, 9]]);
        assert_eq!(tuple_of(&body, &concerned, &closed), Some(original));
    }

    #[test]
    fn a_connection_is_told_by_either_end() {
        let original = tuple(ORIGINAL, [10, 0, 0, 2], [10, 0, 0, 3]);
        let reply = tuple(REPLY, [10, 0, 0, 9], [10, 0, 0, 2]);
        let body = [vec![2, 0, 0, 0], original.clone(), reply].concat();
        for (last, is_concerned) in [(2, true), (3, true), (9, true), (4, false)] {
            let address = BTreeSet::from([Ipv4Addr::new(10, 0, 0, last)]);
            assert_eq!(
                tuple_of(&body, &address, &Allowed::closed(&[[10, 0, 0, 2]])),
                is_concerned.then(|| original.clone()),
                "{last}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_ends(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for (_, body) in messages(&bytes).take(100) {
                let _ = tuple_of(body, &BTreeSet::new(), &Allowed::default());
            }
            prop_assert!(attributes(&bytes).take(1000).count() < 1000);
        }
    }
}
