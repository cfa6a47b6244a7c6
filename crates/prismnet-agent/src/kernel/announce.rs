//! Telling neighbours that an address is here: gratuitous ARP (RFC 5227, "ARP announcement").

use std::{net::Ipv4Addr, os::fd::AsRawFd as _, time::Duration};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, sendto, socket,
    },
};
use tokio::task::JoinHandle;

use super::Error;

/// When it is said again: the first may be lost, or come before the one that another host says.
const AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(750)];

/// What is still to be said. Ends with its drop: who does not have the address any more must not say so.
#[derive(Debug)]
pub struct Announcement(JoinHandle<()>);

impl Drop for Announcement {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Says it once on that device of the calling thread's namespace, and twice more later, on its runtime.
///
/// # Errors
/// No such device, or one without a MAC; no right to.
pub fn announce(device: &str, address: Ipv4Addr) -> Result<Announcement, Error> {
    say(device, address)?;
    let device = device.to_owned();
    let again = tokio::spawn(async move {
        for pause in AGAIN {
            tokio::time::sleep(pause).await;
            if let Err(error) = say(&device, address) {
                tracing::debug!(%error, device, "not announced again");
                return;
            }
        }
    });
    Ok(Announcement(again))
}

fn say(device: &str, address: Ipv4Addr) -> Result<(), Error> {
    let failed = |errno| Error::system(format!("announce on {device}"), errno);
    let link = link_of(device).map_err(failed)?;
    let mac = link.addr().ok_or_else(|| failed(nix::Error::EINVAL))?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None).map_err(failed)?;
    let frame = frame(mac, address);
    let sent = sendto(socket.as_raw_fd(), &frame, &link, MsgFlags::empty());
    sent.map(drop).map_err(failed)
}

/// The device as packet sockets name it: its number and its MAC.
fn link_of(device: &str) -> Result<LinkAddr, nix::Error> {
    let mut all = getifaddrs()?;
    let link = all.find_map(|one| {
        let address = one.address.filter(|_| one.interface_name == device)?;
        (address.family() == Some(AddressFamily::Packet)).then_some(())?;
        address.as_link_addr().copied()
    });
    link.ok_or(nix::Error::ENODEV)
}

/// A question of the address for itself, to everybody (RFC 826): 42 bytes, filled up to the least that Ethernet carries.
fn frame(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    const ETHERNET: usize = 60;
    let mut frame = Vec::with_capacity(ETHERNET);
    frame.extend([0xff; 6]);
    frame.extend(mac);
    frame.extend([0x08, 0x06]); // ARP
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, 1]); // Ethernet, IPv4, their lengths, request
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.resize(ETHERNET, 0);
    frame
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn it_is_asked_for_by_whoever_has_it() {
        let mac = [6, 1, 2, 3, 4, 5];
        let frame = frame(mac, Ipv4Addr::new(198, 51, 100, 7));
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[..6], [0xff; 6], "to everybody");
        assert_eq!((&frame[6..12], &frame[22..28]), (&mac[..], &mac[..]));
        assert_eq!(frame[12..14], [8, 6]);
        assert_eq!(
            (&frame[28..32], &frame[38..42]),
            (&[198, 51, 100, 7][..], &[198, 51, 100, 7][..])
        );
    }
}
