//! Addresses for guests by hand: a responder that gives each the address that its MAC says (RFC 2131).

use std::ffi::OsString;
use std::net::{Ipv4Addr, UdpSocket as StdSocket};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::sys::socket::sockopt::{BindToDevice, Broadcast, ReuseAddr};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::network::inside;

const SERVER: u16 = 67;
const CLIENT: u16 = 68;
/// The fixed fields, with the magic that options follow.
const HEAD: usize = 240;
/// The least length of a message (RFC 1542).
const SHORTEST: usize = 300;
const KIND: u8 = 53;
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const END: u8 = 255;

/// Which addresses are given, and by whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    /// Who answers; the others are those of its /16.
    pub(super) server: Ipv4Addr,
    /// By the MAC.
    pub(super) of: fn([u8; 6]) -> Option<Ipv4Addr>,
}

/// A responder that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Responder(JoinHandle<()>);

impl Drop for Responder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts one on a device of a namespace.
///
/// # Errors
/// What the socket says.
pub(super) async fn start(
    namespace: &Path,
    device: &'static str,
    addresses: Addresses,
) -> anyhow::Result<Responder> {
    let socket = UdpSocket::from_std(inside::run(namespace, move || open(device)).await?)?;
    Ok(Responder(tokio::spawn(serve(socket, addresses))))
}

fn open(device: &str) -> anyhow::Result<StdSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    setsockopt(&socket, Broadcast, &true)?;
    setsockopt(&socket, BindToDevice, &OsString::from(device))?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, SERVER))?;
    Ok(StdSocket::from(socket))
}

async fn serve(socket: UdpSocket, addresses: Addresses) {
    let mut buffer = [0; 1500];
    while let Ok((length, _)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = answer(&buffer[..length], addresses) {
            // Who got no answer asks again.
            let _ = socket.send_to(&answer, (Ipv4Addr::BROADCAST, CLIENT)).await;
        }
    }
}

/// What a request is answered; `None` for what is none.
fn answer(request: &[u8], addresses: Addresses) -> Option<Vec<u8>> {
    let kind = match option(request.get(HEAD..)?, KIND)? {
        [DISCOVER] => OFFER,
        [REQUEST] => ACK,
        _ => return None,
    };
    let mac: [u8; 6] = request.get(28..34)?.try_into().ok()?;
    let address = (addresses.of)(mac)?;
    let mut answer = request.get(..HEAD)?.to_vec();
    // A reply, with `yiaddr`; the transaction, the client and the magic stay.
    answer[0] = 2;
    answer[16..20].copy_from_slice(&address.octets());
    answer.extend([KIND, 1, kind, 54, 4]);
    answer.extend(addresses.server.octets());
    // A day; a /16.
    answer.extend([51, 4, 0, 1, 0x51, 0x80, 1, 4, 255, 255, 0, 0, END]);
    answer.resize(answer.len().max(SHORTEST), 0);
    Some(answer)
}

fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match *options.first()? {
            END => return None,
            0 => options = &options[1..],
            code => {
                let length = usize::from(*options.get(1)?);
                let value = options.get(2..2 + length)?;
                if code == wanted {
                    return Some(value);
                }
                options = &options[2 + length..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const ADDRESSES: Addresses = Addresses {
        server: Ipv4Addr::new(10, 20, 0, 1),
        of: |mac| (mac[0] == 2).then(|| Ipv4Addr::new(10, 20, 1, mac[5])),
    };

    fn asks(kind: u8, mac: [u8; 6]) -> Vec<u8> {
        let mut request = vec![0; HEAD];
        request[..3].copy_from_slice(&[1, 1, 6]);
        request[4..8].copy_from_slice(&[9, 8, 7, 6]);
        request[28..34].copy_from_slice(&mac);
        request.extend([0, 12, 2, b'a', b'b', KIND, 1, kind, END]);
        request
    }

    #[test]
    fn each_gets_the_address_of_its_mac() {
        let mac = [2, 0, 0, 0, 0, 7];
        for (asked, answered) in [(DISCOVER, OFFER), (REQUEST, ACK)] {
            let answer = answer(&asks(asked, mac), ADDRESSES).unwrap();
            assert_eq!(answer[0], 2);
            assert_eq!(answer[4..8], [9, 8, 7, 6]);
            assert_eq!(answer[16..20], [10, 20, 1, 7]);
            assert_eq!(option(&answer[HEAD..], KIND), Some(&[answered][..]));
            assert_eq!(option(&answer[HEAD..], 54), Some(&[10, 20, 0, 1][..]));
            assert!(answer.len() >= SHORTEST);
        }
    }

    #[test]
    fn nobody_else_is_answered() {
        assert!(answer(&asks(DISCOVER, [4, 0, 0, 0, 0, 7]), ADDRESSES).is_none());
        assert!(answer(&asks(7, [2, 0, 0, 0, 0, 7]), ADDRESSES).is_none());
        assert!(answer(&asks(DISCOVER, [2; 6])[..HEAD + 4], ADDRESSES).is_none());
        assert!(answer(b"", ADDRESSES).is_none());
    }
}
