//! netfilter's own netlink messages (linux/netfilter/nfnetlink.h), as far as conntrack and nftables are asked by them.

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

pub(super) const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
/// Netlink's header, and netfilter's behind it.
const HEADER: usize = 16;
pub(super) const FAMILY: usize = 4;
/// The bits of an attribute's kind that say what it is; the others say how it is written.
const KIND: u16 = 0x3fff;

/// A socket to netfilter of the calling thread's namespace.
pub(super) fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // The kernel answers within the call that asks: there is nothing to wait for, and so no wait without an end.
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// A request of that kind with these attributes.
pub(super) fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
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

/// What an error message says; 0 is that all is well.
pub(super) fn outcome(body: &[u8]) -> io::Result<()> {
    let code = body.get(..4).and_then(|bytes| bytes.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno.wrapping_neg())),
        None => Err(io::Error::other("an answer without a code")),
    }
}

/// Messages with their kinds; what is cut off is none.
pub(super) fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
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
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8], &[u8])> {
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

pub(super) fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}
