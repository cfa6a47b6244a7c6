//! What a request is answered. Pure.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};

use crate::desired::Lease;

/// What all ports of the host are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Seconds.
    pub lease_seconds: u32,
}

/// An answer, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What.
    pub message: Message,
    /// To whom, at the client's port.
    pub to: Ipv4Addr,
}

/// The answer to whoever has this lease; `None` if there is none to give.
#[must_use]
pub fn answer(request: &Message, lease: &Lease, network: &Network) -> Option<Answer> {
    if request.opcode() != Opcode::BootRequest || request.chaddr() != lease.mac.bytes() {
        return None;
    }
    let kind = match request.opts().get(OptionCode::MessageType)? {
        DhcpOption::MessageType(kind) => *kind,
        _ => return None,
    };
    if let Some(DhcpOption::ServerIdentifier(server)) =
        request.opts().get(OptionCode::ServerIdentifier)
        && *server != lease.gateway
    {
        // It has chosen another one: there is none here, but it may not know.
        return None;
    }
    match kind {
        MessageType::Discover => Some(offer(request, lease, network, MessageType::Offer)),
        MessageType::Request if asked_for(request) == Some(lease.address) => {
            Some(offer(request, lease, network, MessageType::Ack))
        }
        MessageType::Request => Some(refusal(request, lease)),
        MessageType::Inform => Some(information(request, lease, network)),
        _ => None,
    }
}

/// The address that a request is about: the one it asks for, else the one it has.
fn asked_for(request: &Message) -> Option<Ipv4Addr> {
    match request.opts().get(OptionCode::RequestedIpAddress) {
        Some(DhcpOption::RequestedIpAddress(address)) => Some(*address),
        _ => Some(request.ciaddr()).filter(|address| !address.is_unspecified()),
    }
}

fn reply(request: &Message, kind: MessageType, lease: &Lease) -> Message {
    let mut reply = Message::new_with_id(
        request.xid(),
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::UNSPECIFIED,
        request.giaddr(),
        request.chaddr(),
    );
    reply
        .set_opcode(Opcode::BootReply)
        .set_flags(request.flags());
    reply.opts_mut().insert(DhcpOption::MessageType(kind));
    reply
        .opts_mut()
        .insert(DhcpOption::ServerIdentifier(lease.gateway));
    reply
}

fn offer(request: &Message, lease: &Lease, network: &Network, kind: MessageType) -> Answer {
    let mut message = reply(request, kind, lease);
    message
        .set_yiaddr(lease.address)
        .set_ciaddr(request.ciaddr());
    let seconds = network.lease_seconds;
    let options = message.opts_mut();
    options.insert(DhcpOption::AddressLeaseTime(seconds));
    options.insert(DhcpOption::Renewal(seconds / 2));
    options.insert(DhcpOption::Rebinding(seconds / 8 * 7));
    put_options(&mut message, lease, network);
    let to = if !request.ciaddr().is_unspecified() {
        request.ciaddr()
    } else if request.flags().broadcast() {
        Ipv4Addr::BROADCAST
    } else {
        // Its neighbour entry says where it is: nobody has to be asked.
        lease.address
    };
    Answer { message, to }
}

/// To one that has its address already.
fn information(request: &Message, lease: &Lease, network: &Network) -> Answer {
    let mut message = reply(request, MessageType::Ack, lease);
    message.set_ciaddr(request.ciaddr());
    put_options(&mut message, lease, network);
    Answer {
        message,
        to: lease.address,
    }
}

fn refusal(request: &Message, lease: &Lease) -> Answer {
    Answer {
        message: reply(request, MessageType::Nak, lease),
        to: Ipv4Addr::BROADCAST,
    }
}

fn put_options(message: &mut Message, lease: &Lease, network: &Network) {
    let mask = u32::MAX
        .checked_shl(32 - u32::from(lease.prefix_length))
        .unwrap_or(0);
    let options = message.opts_mut();
    options.insert(DhcpOption::SubnetMask(Ipv4Addr::from_bits(mask)));
    options.insert(DhcpOption::Router(vec![lease.gateway]));
    if !network.dns.is_empty() {
        options.insert(DhcpOption::DomainNameServer(network.dns.clone()));
    }
    if let Ok(mtu) = u16::try_from(lease.mtu) {
        options.insert(DhcpOption::InterfaceMtu(mtu));
    }
    options.insert(DhcpOption::Hostname(lease.hostname.clone()));
    options.insert(DhcpOption::ClasslessStaticRoute(lease.routes.clone()));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use dhcproto::{Decodable as _, Encodable as _, v4::Flags};
    use prismnet_model::Mac;

    use super::*;

    fn lease() -> Lease {
        Lease {
            mac: Mac::ours(7),
            bridge: "pnb5001".to_owned(),
            address: "10.0.1.7".parse().unwrap(),
            prefix_length: 24,
            gateway: "10.0.1.1".parse().unwrap(),
            mtu: 1450,
            routes: vec![
                (
                    "172.16.0.0/12".parse().unwrap(),
                    "10.0.1.1".parse().unwrap(),
                ),
                ("0.0.0.0/0".parse().unwrap(), "10.0.1.1".parse().unwrap()),
            ],
            hostname: "ip-10-0-1-7".to_owned(),
        }
    }

    fn network() -> Network {
        Network {
            dns: vec!["192.0.2.53".parse().unwrap()],
            lease_seconds: 3600,
        }
    }

    fn request(kind: MessageType, options: Vec<DhcpOption>) -> Message {
        let zero = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new(zero, zero, zero, zero, &lease().mac.bytes());
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        for option in options {
            message.opts_mut().insert(option);
        }
        message
    }

    fn kind(answer: &Answer) -> MessageType {
        match answer.message.opts().get(OptionCode::MessageType) {
            Some(DhcpOption::MessageType(kind)) => *kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_port_is_told_its_own_address() {
        let given = answer(
            &request(MessageType::Discover, vec![]),
            &lease(),
            &network(),
        )
        .unwrap();
        assert_eq!(
            (kind(&given), given.to),
            (MessageType::Offer, lease().address)
        );
        // As it goes over the wire.
        let bytes = given.message.to_vec().unwrap();
        let read = Message::from_bytes(&bytes).unwrap();
        assert_eq!(read.yiaddr(), lease().address);
        let option = |code| read.opts().get(code).unwrap().clone();
        assert_eq!(
            option(OptionCode::InterfaceMtu),
            DhcpOption::InterfaceMtu(1450)
        );
        assert_eq!(
            option(OptionCode::SubnetMask),
            DhcpOption::SubnetMask("255.255.255.0".parse().unwrap())
        );
        assert_eq!(
            option(OptionCode::ClasslessStaticRoute),
            DhcpOption::ClasslessStaticRoute(lease().routes)
        );
    }

    #[test]
    fn another_address_is_refused() {
        let asks = |address: &str| {
            let asked = DhcpOption::RequestedIpAddress(address.parse().unwrap());
            answer(
                &request(MessageType::Request, vec![asked]),
                &lease(),
                &network(),
            )
            .unwrap()
        };
        assert_eq!(kind(&asks("10.0.1.7")), MessageType::Ack);
        let refused = asks("10.0.1.8");
        assert_eq!(
            (kind(&refused), refused.to),
            (MessageType::Nak, Ipv4Addr::BROADCAST)
        );
        assert!(refused.message.yiaddr().is_unspecified());
    }

    #[test]
    fn whoever_asks_another_server_or_for_another_mac_is_not_answered() {
        let other = DhcpOption::ServerIdentifier("10.0.1.9".parse().unwrap());
        assert_eq!(
            answer(
                &request(MessageType::Request, vec![other]),
                &lease(),
                &network()
            ),
            None
        );
        let mut theirs = request(MessageType::Discover, vec![]);
        theirs.set_chaddr(&Mac::ours(8).bytes());
        assert_eq!(answer(&theirs, &lease(), &network()), None);
        assert_eq!(
            answer(&request(MessageType::Release, vec![]), &lease(), &network()),
            None
        );
    }

    #[test]
    fn one_that_cannot_hear_yet_is_told_by_broadcast() {
        let mut deaf = request(MessageType::Discover, vec![]);
        deaf.set_flags(Flags::default().set_broadcast());
        let given = answer(&deaf, &lease(), &network()).unwrap();
        assert_eq!(given.to, Ipv4Addr::BROADCAST);
    }
}
