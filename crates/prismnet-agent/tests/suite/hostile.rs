//! What a port must not get from another one, however that sends it.

use std::{net::Ipv4Addr, os::fd::AsRawFd as _};

use nix::{
    ifaddrs::getifaddrs,
    sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket},
};
use prismnet_model::{Port, PortKind};

use crate::{
    lab::{Host, Lab, command, udp},
    samples,
    tenant::Tenant,
};

const LISTENED: u16 = 9000;

/// A UDP packet, with what stands before it.
struct Frame {
    to: [u8; 6],
    from: [u8; 6],
    /// Between the MACs and the type.
    tag: Vec<u8>,
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
    says: &'static [u8],
}

impl Frame {
    /// From one port to the other's own address.
    fn between(from: &Port, to: &Port) -> Self {
        Self {
            to: to.mac_address.bytes(),
            from: from.mac_address.bytes(),
            tag: Vec::new(),
            source: (from.ip_address, 5000),
            destination: (to.ip_address, LISTENED),
            says: b"hostile",
        }
    }

    /// The bytes (RFC 791; RFC 768, without a checksum).
    fn bytes(&self) -> Vec<u8> {
        let udp_length = u16::try_from(8 + self.says.len()).unwrap();
        let mut ip = vec![0x45, 0];
        ip.extend((20 + udp_length).to_be_bytes());
        ip.extend([0, 1, 0, 0, 64, 17, 0, 0]);
        ip.extend(self.source.0.octets());
        ip.extend(self.destination.0.octets());
        let words = ip
            .chunks(2)
            .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
        let sum: u32 = words.sum();
        let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        ip[10..12].copy_from_slice(&folded.to_be_bytes());
        let mut frame = [&self.to[..], &self.from, &self.tag, &[0x08, 0x00], &ip].concat();
        frame.extend(self.source.1.to_be_bytes());
        frame.extend(self.destination.1.to_be_bytes());
        frame.extend(udp_length.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(self.says);
        frame
    }

    /// By `eth0` of the calling thread's namespace.
    fn send(&self) {
        let raw = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        let frame = self.bytes();
        let sent = sendto(raw.as_raw_fd(), &frame, &eth0(), MsgFlags::empty()).unwrap();
        assert_eq!(sent, frame.len());
    }
}

fn eth0() -> LinkAddr {
    let mut all = getifaddrs()
        .unwrap()
        .filter(|one| one.interface_name == "eth0");
    all.find_map(|one| one.address?.as_link_addr().copied())
        .unwrap()
}

/// What the port hears at `LISTENED` of what is sent meanwhile, until it is silent.
fn heard(host: &Host, port: &Port, meanwhile: impl FnOnce()) -> Vec<Vec<u8>> {
    let socket = host.in_port(port.id, || udp(Ipv4Addr::UNSPECIFIED, LISTENED));
    meanwhile();
    let mut all = Vec::new();
    let mut buffer = [0; 64];
    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
        all.push(buffer[..length].to_vec());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_for_a_ports_own_address_does_not_reach_it() {
    let test = "prismnet-agent::what_is_not_for_a_ports_own_address_does_not_reach_it";
    let Some(lab) = Lab::or_skip(test, 2).await else {
        return;
    };
    lab.put_hosts().await;
    let tenant = Tenant::put(&lab, 5001).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let friend = tenant.port(&lab, "10.0.1.3").await;
    // Open to nobody: one beside it, one on the other host.
    let closed = samples::port(&tenant.subnet, "10.0.1.4", PortKind::Service, &[]);
    let mut far = samples::port(&tenant.subnet, "10.0.1.5", PortKind::Service, &[]);
    far.host = Some(samples::name("host-1"));
    let mut far_friend = samples::port(
        &tenant.subnet,
        "10.0.1.6",
        PortKind::Service,
        &[tenant.group.id],
    );
    far_friend.host.clone_from(&far.host);
    for port in [&closed, &far, &far_friend] {
        lab.put_port(port).await;
    }
    for port in [&a, &friend, &closed, &far, &far_friend] {
        lab.until_active(port).await;
    }
    let here = &lab.hosts[0];
    here.until_pings(a.id, friend.ip_address).await;
    here.until_pings(a.id, far_friend.ip_address).await;

    // The frames are such that they reach who is open to them.
    for (open, host) in [(&friend, here), (&far_friend, &lab.hosts[1])] {
        let honest = Frame::between(&a, open);
        let got = heard(host, open, || here.in_port(a.id, || honest.send()));
        assert_eq!(got, [b"hostile".to_vec()]);
    }

    for (victim, host) in [(&closed, &lab.hosts[0]), (&far, &lab.hosts[1])] {
        let plain = || Frame::between(&a, victim);
        let tagged = |tag: [u8; 4]| Frame {
            tag: tag.to_vec(),
            ..plain()
        };
        let to = |address: [u8; 4]| Frame {
            destination: (address.into(), LISTENED),
            ..plain()
        };
        let frames = [
            plain(),
            tagged([0x81, 0, 0, 0]),
            tagged([0x81, 0, 0, 5]),
            tagged([0x88, 0xa8, 0, 0]),
            Frame {
                tag: [0x81, 0, 0, 0, 0x81, 0, 0, 0].to_vec(),
                ..plain()
            },
            to([10, 0, 1, 255]),
            to([255, 255, 255, 255]),
            to([224, 0, 0, 251]),
            Frame {
                to: [0xff; 6],
                ..to([255, 255, 255, 255])
            },
            to([10, 0, 1, 99]),
            to([10, 99, 0, 1]),
        ];
        // Whatever it is for, the victim would take it.
        host.in_port(victim.id, || {
            for own in ["10.0.1.99/32", "10.99.0.1/32"] {
                command(&["ip", "addr", "add", own, "dev", "eth0"]);
            }
        });
        let got = heard(host, victim, || {
            here.in_port(a.id, || frames.iter().for_each(Frame::send));
        });
        assert_eq!(got, Vec::<Vec<u8>>::new(), "{}", victim.ip_address);
    }

    // A port is no DHCP server by way of the gateway either, not even to a friend.
    let server = Frame {
        to: tenant.subnet.vni.gateway_mac(),
        source: (a.ip_address, 67),
        destination: (friend.ip_address, 68),
        ..Frame::between(&a, &friend)
    };
    let offered = here.in_port(friend.id, || udp(Ipv4Addr::UNSPECIFIED, 68));
    here.in_port(a.id, || server.send());
    offered
        .recv_from(&mut [0; 16])
        .expect_err("a port gave an address");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_nobody_has_are_not_looked_for() {
    let test = "prismnet-agent::addresses_that_nobody_has_are_not_looked_for";
    let Some(lab) = Lab::or_skip(test, 1).await else {
        return;
    };
    let tenant = Tenant::put(&lab, 5001).await;
    let other = samples::subnet(&tenant.vpc, "10.0.2.0/24", 5002);
    lab.put(&other.key(), other.clone()).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let b = samples::port(&other, "10.0.2.2", PortKind::Service, &[tenant.group.id]);
    lab.put_port(&b).await;
    lab.until_active(&a).await;
    lab.until_active(&b).await;
    let host = &lab.hosts[0];
    host.until_pings(a.id, b.ip_address).await;
    // Another subnet's, by way of the gateway.
    host.in_port(a.id, || {
        let socket = udp(a.ip_address, 0);
        for last in 3..100 {
            socket
                .send_to(b"who", (Ipv4Addr::new(10, 0, 2, last), 9))
                .unwrap();
        }
    });
    let neighbours = host.inside(&tenant.namespace(), || {
        command(&["ip", "neigh", "show", "nud", "all"])
    });
    for state in ["INCOMPLETE", "FAILED"] {
        assert!(!neighbours.contains(state), "{neighbours}");
    }
    assert!(host.pings(a.id, b.ip_address));
}
