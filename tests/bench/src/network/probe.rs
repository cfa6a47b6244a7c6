//! ICMP echoes (RFC 792) from the calling thread's namespace: to several addresses over and over, and to one in turns.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, socket,
};
use nix::sys::time::TimeSpec;

use crate::load::microseconds;

/// The most addresses that are asked together.
pub(crate) const MOST: usize = 1_000;
/// How long an echo or a datagram may take, one at a time.
const LOST: Duration = Duration::from_secs(1);
const ECHO: u8 = 8;
const REPLY: u8 = 0;
const HEAD: usize = 8;

/// A socket that sends echoes and hears their answers.
struct Echo {
    socket: OwnedFd,
    id: [u8; 2],
}

impl Echo {
    fn open() -> anyhow::Result<Self> {
        let socket = socket(
            AddressFamily::Inet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::Icmp,
        )?;
        Ok(Self {
            socket,
            id: rand::random(),
        })
    }

    /// Sends one. What cannot be sent now is lost like what is dropped on the way.
    fn send(&self, to: Ipv4Addr, sequence: u16) {
        let address = SockaddrIn::from(SocketAddrV4::new(to, 0));
        let message = echo(self.id, sequence);
        let _ = sendto(
            self.socket.as_raw_fd(),
            &message,
            &address,
            MsgFlags::empty(),
        );
    }

    /// The next answer, if there is one now.
    fn receive(&self) -> anyhow::Result<Option<(Ipv4Addr, u16)>> {
        let mut buffer = [0; 1500];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    let heard = answer(&buffer[..length], self.id);
                    if heard.is_some() {
                        return Ok(heard);
                    }
                }
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                // An error that a router or the own host told about an earlier echo.
                Err(Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::ECONNREFUSED) => {}
                Err(errno) => bail!("an answer cannot be received: {errno}"),
            }
        }
    }

    /// Waits until something comes or the time is there.
    fn wait(&self, until: Instant) -> anyhow::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        let mut watched = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        // Not poll(2), whose waits are whole milliseconds.
        match ppoll(&mut watched, Some(TimeSpec::from_duration(left)), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => bail!("ppoll: {errno}"),
        }
    }
}

/// An echo request without data.
fn echo(id: [u8; 2], sequence: u16) -> [u8; HEAD] {
    let [high, low] = sequence.to_be_bytes();
    let mut message = [ECHO, 0, 0, 0, id[0], id[1], high, low];
    let sum: u32 = message
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    // The lower half of what is folded twice is all of it.
    let [_, _, high, low] = (!fold(fold(sum))).to_be_bytes();
    message[2..4].copy_from_slice(&[high, low]);
    message
}

/// Who answered which of our echoes, out of an IP packet.
fn answer(packet: &[u8], id: [u8; 2]) -> Option<(Ipv4Addr, u16)> {
    let head = usize::from(packet.first()? & 0x0f) * 4;
    let from: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let icmp = packet.get(head..head + HEAD)?;
    let is_ours = icmp[0] == REPLY && icmp[4..6] == id;
    is_ours.then(|| (from.into(), u16::from_be_bytes([icmp[6], icmp[7]])))
}

/// Asks every address each `every`, until each has answered once, and returns when.
///
/// # Errors
/// Somebody has not answered within `patience`.
pub(crate) fn first_answers(
    addresses: &[Ipv4Addr],
    every: Duration,
    patience: Duration,
) -> anyhow::Result<BTreeMap<Ipv4Addr, Instant>> {
    let echo = Echo::open()?;
    let end = Instant::now() + patience;
    let mut answered = BTreeMap::new();
    let mut sequence = 0;
    while answered.len() < addresses.len() {
        ensure!(
            Instant::now() < end,
            "{} of {} answer within {patience:?}",
            answered.len(),
            addresses.len()
        );
        for address in addresses {
            if !answered.contains_key(address) {
                echo.send(*address, sequence);
            }
        }
        sequence = sequence.wrapping_add(1);
        hear(&echo, Instant::now() + every, |from, at| {
            if addresses.contains(&from) {
                answered.entry(from).or_insert(at);
            }
        })?;
    }
    Ok(answered)
}

/// Asks every address each `every`, until nobody has answered for `silence`, and returns when each answered last. Who never
/// did is not in it.
///
/// # Errors
/// They do not stop within `patience`.
pub(crate) fn last_answers(
    addresses: &[Ipv4Addr],
    every: Duration,
    silence: Duration,
    patience: Duration,
) -> anyhow::Result<BTreeMap<Ipv4Addr, Instant>> {
    let echo = Echo::open()?;
    let end = Instant::now() + patience;
    let mut quiet_since = Instant::now();
    let mut answered = BTreeMap::new();
    let mut sequence = 0;
    while quiet_since.elapsed() < silence {
        ensure!(Instant::now() < end, "they still answer after {patience:?}");
        for address in addresses {
            echo.send(*address, sequence);
        }
        sequence = sequence.wrapping_add(1);
        hear(&echo, Instant::now() + every, |from, at| {
            if addresses.contains(&from) {
                answered.insert(from, at);
                quiet_since = at;
            }
        })?;
    }
    Ok(answered)
}

fn hear(
    echo: &Echo,
    until: Instant,
    mut heard: impl FnMut(Ipv4Addr, Instant),
) -> anyhow::Result<()> {
    loop {
        while let Some((from, _)) = echo.receive()? {
            heard(from, Instant::now());
        }
        if Instant::now() >= until {
            return Ok(());
        }
        echo.wait(until)?;
    }
}

/// Round trips of echoes, one at a time, in nanoseconds.
///
/// # Errors
/// One that is lost.
pub(crate) fn echo_round_trips(to: Ipv4Addr, during: Duration) -> anyhow::Result<Histogram<u64>> {
    let echo = Echo::open()?;
    let mut sequence = 0;
    round_trips(during, || {
        sequence = u16::wrapping_add(sequence, 1);
        echo.send(to, sequence);
        let end = Instant::now() + LOST;
        loop {
            if let Some(heard) = echo.receive()?
                && heard == (to, sequence)
            {
                return Ok(());
            }
            ensure!(Instant::now() < end, "an echo to {to} is lost");
            echo.wait(end)?;
        }
    })
}

/// Answers every datagram at the address, until none came for `silence`.
///
/// # Errors
/// What the socket says.
pub(crate) fn answer_datagrams(socket: &UdpSocket, silence: Duration) -> anyhow::Result<()> {
    let mut buffer = [0; 1500];
    socket.set_read_timeout(Some(silence))?;
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        socket.send_to(&buffer[..length], from)?;
    }
    Ok(())
}

/// Round trips of datagrams of 64 bytes, one at a time, in nanoseconds.
///
/// # Errors
/// One that is lost.
pub(crate) fn datagram_round_trips(
    to: SocketAddrV4,
    during: Duration,
) -> anyhow::Result<Histogram<u64>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(LOST))?;
    let mut number = 0_u64;
    round_trips(during, || {
        number += 1;
        let mut datagram = [0; 64];
        datagram[..8].copy_from_slice(&number.to_be_bytes());
        socket.send(&datagram)?;
        let mut buffer = [0; 64];
        let length = socket
            .recv(&mut buffer)
            .with_context(|| format!("a datagram to {to} is lost"))?;
        ensure!(buffer[..length] == datagram, "another datagram came back");
        Ok(())
    })
}

fn round_trips(
    during: Duration,
    mut one: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Histogram<u64>> {
    let mut latency = Histogram::new(3)?;
    let end = Instant::now() + during;
    // The first one may have to find out where it goes.
    one()?;
    while Instant::now() < end {
        let began = Instant::now();
        one()?;
        // Microseconds would be coarse where a round trip is thirty of them.
        latency.record(nanoseconds(began.elapsed()))?;
    }
    Ok(latency)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Latencies in microseconds.
///
/// # Errors
/// None that can be: every duration fits.
pub(crate) fn histogram(of: impl IntoIterator<Item = Duration>) -> anyhow::Result<Histogram<u64>> {
    let mut latency = Histogram::new(3)?;
    for one in of {
        latency.record(microseconds(one))?;
    }
    Ok(latency)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// The words of a message with its checksum add up to all ones (RFC 1071).
    #[test]
    fn the_checksum_is_right() {
        for (id, sequence) in [
            ([0, 0], 0),
            ([0xff, 0xff], 0xffff),
            ([0xf8, 0x00], 0xffff),
            ([0x12, 0xfe], 0x8001),
        ] {
            let sum: u32 = echo(id, sequence)
                .chunks(2)
                .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
                .sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        }
    }

    #[test]
    fn only_our_answers_are_heard() {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&[10, 0, 0, 7]);
        packet.extend([REPLY, 0, 0, 0, 1, 2, 0, 9]);
        assert_eq!(
            answer(&packet, [1, 2]),
            Some((Ipv4Addr::new(10, 0, 0, 7), 9))
        );
        assert_eq!(answer(&packet, [1, 3]), None);
        packet[20] = ECHO;
        assert_eq!(answer(&packet, [1, 2]), None);
        assert_eq!(answer(&packet[..24], [1, 2]), None);
        assert_eq!(answer(&[], [1, 2]), None);
    }

    #[test]
    fn datagrams_come_back() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let std::net::SocketAddr::V4(to) = socket.local_addr().unwrap() else {
            panic!("IPv4 was bound");
        };
        let answering =
            std::thread::spawn(move || answer_datagrams(&socket, Duration::from_millis(500)));
        let latency = datagram_round_trips(to, Duration::from_millis(50)).unwrap();
        assert!(!latency.is_empty());
        answering.join().unwrap().unwrap();
    }
}
