//! Agents on real namespaces: what ports can do, and what they cannot.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    time::Duration,
};

use dhcproto::{
    Decodable as _, Encodable as _,
    v4::{DhcpOption, Flags, Message, MessageType, OptionCode},
};
use nix::sys::socket::{setsockopt, sockopt};
use photon_testkit::{Seed, eventually, poll::eventually_true};
use prismnet_model::{Direction, Port, PortKind, PortState, Protocol, Remote, Services, device};
use rand::Rng as _;

use crate::{
    AGENT,
    lab::{Lab, SOON, command, ping, udp},
    samples,
    tenant::Tenant,
};

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_reach_each_other_and_their_gateway() {
    let Some(lab) = Lab::or_skip(
        "prismnet-agent::ports_reach_each_other_and_their_gateway",
        1,
    )
    .await
    else {
        return;
    };
    let host = &lab.hosts[0];
    let tenant = Tenant::put(&lab, 5001).await;
    let other = samples::subnet(&tenant.vpc, "10.0.2.0/24", 5002);
    lab.put(&other.key(), other.clone()).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let b = tenant.port(&lab, "10.0.1.3").await;
    let routed = samples::port(&other, "10.0.2.2", PortKind::Service, &[tenant.group.id]);
    lab.put_port(&routed).await;
    for port in [&a, &b, &routed] {
        lab.until_active(port).await;
    }
    // Active means that it works.
    assert!(host.pings(a.id, b.ip_address), "{}", host.everything());
    assert!(
        host.pings(a.id, tenant.subnet.gateway_ip),
        "{}",
        host.everything()
    );
    assert!(host.pings(b.id, routed.ip_address), "{}", host.everything());
    assert!(!host.pings(a.id, address("10.0.1.77")), "nobody has it");

    let link = host.in_port(a.id, || command(&["ip", "link", "show", "eth0"]));
    assert!(
        link.contains("mtu 1450") && link.contains(&a.mac_address.to_string()),
        "{link}"
    );
    let survey = lab.survey(0).await;
    assert_eq!(survey.plan_lines(), Vec::<String>::new());
    assert!(survey.to_string().contains("attached"), "{survey}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_believed_to_be_somebody_else() {
    let Some(lab) = Lab::or_skip("prismnet-agent::nobody_is_believed_to_be_somebody_else", 1).await
    else {
        return;
    };
    let host = &lab.hosts[0];
    let tenant = Tenant::put(&lab, 5001).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let b = tenant.port(&lab, "10.0.1.3").await;
    lab.until_active(&a).await;
    lab.until_active(&b).await;
    host.until_pings(a.id, b.ip_address).await;

    // From another address: it takes the address of nobody, then one of another port.
    let heard = host.in_port(b.id, || udp(b.ip_address, 9000));
    for stolen in ["10.0.1.99", "10.0.1.4"] {
        let said = host.in_port(a.id, || {
            command(&["ip", "addr", "add", &format!("{stolen}/24"), "dev", "eth0"]);
            let false_one = UdpSocket::bind((address(stolen), 0)).unwrap();
            false_one.send_to(b"false", (b.ip_address, 9000)).unwrap();
            let honest = UdpSocket::bind((a.ip_address, 0)).unwrap();
            honest.send_to(b"honest", (b.ip_address, 9000)).unwrap()
        });
        assert_eq!(said, 6);
        let mut buffer = [0; 16];
        let (length, from) = heard.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..length], from.ip()),
            (&b"honest"[..], a.ip_address.into())
        );
        heard
            .recv_from(&mut buffer)
            .expect_err("the false one came late");
    }

    // From another MAC.
    let mac = a.mac_address.to_string();
    let answered = host.in_port(a.id, || {
        command(&["ip", "link", "set", "eth0", "address", "06:00:00:00:00:99"]);
        let answered = ping(b.ip_address);
        command(&["ip", "link", "set", "eth0", "address", &mac]);
        answered
    });
    assert!(!answered);
    host.until_pings(a.id, b.ip_address).await;

    // By ARP: it says it has an address of another port, and B must not believe it.
    host.in_port(a.id, || {
        command(&["ip", "neigh", "flush", "dev", "eth0"]);
        // A question asked from the other address says who has that one.
        std::fs::write("/proc/sys/net/ipv4/conf/all/arp_announce", "0").unwrap();
        let asking = UdpSocket::bind((address("10.0.1.4"), 0)).unwrap();
        asking.send_to(b"who", (b.ip_address, 9000)).unwrap();
    });
    let known = host.in_port(b.id, || command(&["ip", "neigh", "show", "10.0.1.4"]));
    assert!(!known.contains(&mac), "{known}");

    // A rogue DHCP server is not heard, and no port hears who asks.
    let asked = host.in_port(b.id, || udp(Ipv4Addr::UNSPECIFIED, 67));
    let offered = host.in_port(b.id, || udp(Ipv4Addr::UNSPECIFIED, 68));
    host.in_port(a.id, || {
        let client = UdpSocket::bind((a.ip_address, 68)).unwrap();
        client.set_broadcast(true).unwrap();
        client
            .send_to(b"discover", (Ipv4Addr::BROADCAST, 67))
            .unwrap();
        client.send_to(b"discover", (b.ip_address, 67)).unwrap();
        let server = UdpSocket::bind((a.ip_address, 67)).unwrap();
        server.send_to(b"offer", (b.ip_address, 68)).unwrap();
    });
    asked
        .recv_from(&mut [0; 16])
        .expect_err("a port was asked for an address");
    offered
        .recv_from(&mut [0; 16])
        .expect_err("a port gave an address");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_block_in_another_vpc_is_another_place() {
    let Some(lab) = Lab::or_skip(
        "prismnet-agent::the_same_block_in_another_vpc_is_another_place",
        1,
    )
    .await
    else {
        return;
    };
    let host = &lab.hosts[0];
    let one = Tenant::put(&lab, 5001).await;
    let two = Tenant::put(&lab, 5002).await;
    let here = one.port(&lab, "10.0.1.2").await;
    let friend = one.port(&lab, "10.0.1.3").await;
    let same = two.port(&lab, "10.0.1.2").await;
    let lonely = two.port(&lab, "10.0.1.4").await;
    for port in [&here, &friend, &same, &lonely] {
        lab.until_active(port).await;
    }
    assert!(
        host.pings(here.id, friend.ip_address),
        "{}",
        host.everything()
    );
    assert!(
        host.pings(lonely.id, same.ip_address),
        "{}",
        host.everything()
    );
    assert!(
        !host.pings(lonely.id, friend.ip_address),
        "it is in another VPC"
    );
    assert!(
        !host.pings(here.id, lonely.ip_address),
        "it is in another VPC"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_breaks_is_repaired() {
    let Some(lab) = Lab::or_skip("prismnet-agent::what_somebody_breaks_is_repaired", 1).await
    else {
        return;
    };
    let host = &lab.hosts[0];
    let tenant = Tenant::put(&lab, 5001).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let b = tenant.port(&lab, "10.0.1.3").await;
    lab.until_active(&a).await;
    lab.until_active(&b).await;
    let namespace = tenant.namespace();
    let bridge = tenant.bridge();
    let whole = || async { lab.survey(0).await.plan_lines().is_empty() };

    for broken in [
        &["ip", "link", "delete", &bridge][..],
        &["nft", "flush", "ruleset"],
        &["nft", "delete", "table", "bridge", "photon"],
        &["nft", "flush", "chain", "ip", "photon", "egress"],
        &["ip", "addr", "flush", "dev", &bridge],
        &["ip", "link", "set", &bridge, "down"],
        &["ip", "link", "set", &device::veth(a.id), "nomaster"],
        &["ip", "link", "delete", &device::veth(b.id)],
    ] {
        host.run(&namespace, broken);
        eventually_true(&format!("{broken:?} is repaired"), SOON, whole)
            .await
            .unwrap();
        assert!(
            host.pings(a.id, b.ip_address),
            "{broken:?}: {}",
            host.everything()
        );
        assert!(
            host.pings(a.id, tenant.subnet.gateway_ip),
            "{broken:?}: {}",
            host.everything()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_gone_is_made_anew() {
    let Some(mut lab) =
        Lab::or_skip("prismnet-agent::a_namespace_that_is_gone_is_made_anew", 1).await
    else {
        return;
    };
    // Nobody tells that a name is gone.
    lab.hosts[0].stop();
    lab.hosts[0].config.resync_seconds = 1;
    lab.hosts[0].start();
    let tenant = Tenant::put(&lab, 5001).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let b = tenant.port(&lab, "10.0.1.3").await;
    lab.until_active(&a).await;
    lab.until_active(&b).await;
    let host = &lab.hosts[0];
    let namespace = tenant.namespace();
    let whole = || async { lab.survey(0).await.plan_lines().is_empty() };
    host.namespaces.remove(&namespace).unwrap();
    eventually_true("the namespace is back", SOON, whole)
        .await
        .unwrap();
    host.until_pings(a.id, b.ip_address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_leaves_running_traffic_alone() {
    let Some(mut lab) =
        Lab::or_skip("prismnet-agent::a_restart_leaves_running_traffic_alone", 1).await
    else {
        return;
    };
    let tenant = Tenant::put(&lab, 5001).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let b = tenant.port(&lab, "10.0.1.3").await;
    lab.until_active(&a).await;
    lab.until_active(&b).await;
    let host = &lab.hosts[0];
    let listener = host.in_port(b.id, || TcpListener::bind((b.ip_address, 7000)).unwrap());
    let mut near = host.in_port(a.id, || TcpStream::connect((b.ip_address, 7000)).unwrap());
    let (mut far, _) = listener.accept().unwrap();
    let patience = Some(Duration::from_secs(10));
    far.set_read_timeout(patience).unwrap();
    near.set_read_timeout(patience).unwrap();
    let mut talk = || {
        let mut heard = [0; 4];
        near.write_all(b"ping").unwrap();
        far.read_exact(&mut heard).unwrap();
        far.write_all(b"pong").unwrap();
        near.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"pong");
    };
    talk();
    let indexes = |lab: &Lab| lab.hosts[0].run(&tenant.namespace(), &["ip", "-o", "link"]);
    let before = indexes(&lab);
    // With their numbers; a rule that is made anew has another.
    let rules = |lab: &Lab| {
        let listing = lab.hosts[0].run(&tenant.namespace(), &["nft", "-a", "list", "ruleset"]);
        let numbered = listing.lines().filter(|line| line.contains("# handle"));
        numbered.map(str::to_owned).collect::<Vec<_>>()
    };
    let rules_before = rules(&lab);
    lab.hosts[0].stop();
    talk();
    assert_eq!(indexes(&lab), before, "stopping takes nothing down");
    lab.hosts[0].start();
    // It is at work again when it makes another port.
    let c = tenant.port(&lab, "10.0.1.4").await;
    lab.until_active(&c).await;
    talk();
    lab.delete_port(&c).await;
    let gone = || async { indexes(&lab) == before };
    eventually_true("the other port is gone again", SOON, gone)
        .await
        .unwrap();
    talk();
    // Not one rule was made anew.
    let same = || async { rules(&lab) == rules_before };
    eventually_true("the other port's rules are gone, too", SOON, same)
        .await
        .unwrap();
    talk();
}

#[tokio::test(flavor = "multi_thread")]
async fn absence_takes_nothing_down_and_an_order_does() {
    let Some(lab) = Lab::or_skip(
        "prismnet-agent::absence_takes_nothing_down_and_an_order_does",
        1,
    )
    .await
    else {
        return;
    };
    let host = &lab.hosts[0];
    let tenant = Tenant::put(&lab, 5001).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let b = tenant.port(&lab, "10.0.1.3").await;
    lab.until_active(&a).await;
    lab.until_active(&b).await;

    lab.remove::<Port>(&a.key()).await;
    let listed = || async {
        let survey = lab.survey(0).await;
        let orphans: Vec<_> = survey.vpcs.iter().flat_map(|vpc| &vpc.orphans).collect();
        orphans.iter().any(|orphan| orphan.port == a.id)
    };
    eventually_true("it is listed as an orphan", SOON, listed)
        .await
        .unwrap();
    assert!(host.pings(a.id, b.ip_address), "{}", host.everything());
    let key = prismnet_model::observed::agent_key(&samples::name("here"));
    let agents = lab.store.collection::<prismnet_model::ObservedAgent>();
    let told = || async {
        let told = agents.get(&key).await.unwrap()?.value.orphans;
        told.iter().any(|orphan| orphan.port == a.id).then_some(())
    };
    eventually("the store is told", SOON, told).await.unwrap();

    // It is back, and then it is deleted as the control plane does it.
    lab.put_port(&a).await;
    lab.until_active(&a).await;
    lab.delete_port(&a).await;
    let namespace = device::port_namespace(a.id);
    let is_gone = || async { host.namespaces.identity(&namespace).is_none() };
    eventually_true("it is taken down", SOON, is_gone)
        .await
        .unwrap();
    assert!(
        host.pings(b.id, tenant.subnet.gateway_ip),
        "the other one stays"
    );
    lab.delete_port(&b).await;
    let is_gone = || async { host.namespaces.list().unwrap().is_empty() };
    eventually_true("nothing is left", SOON, is_gone)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_store_is_not_believed() {
    let Some(mut lab) = Lab::or_skip("prismnet-agent::another_store_is_not_believed", 1).await
    else {
        return;
    };
    let tenant = Tenant::put(&lab, 5001).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let b = tenant.port(&lab, "10.0.1.3").await;
    lab.until_active(&a).await;
    lab.until_active(&b).await;
    Box::pin(lab.chainfire.replace_by_empty()).await.unwrap();
    let refused = || async { lab.survey(0).await.store_changed.is_some() };
    eventually_true("the store is another one", SOON, refused)
        .await
        .unwrap();
    assert!(lab.hosts[0].pings(a.id, b.ip_address));
    // Also not after a restart.
    lab.hosts[0].stop();
    lab.hosts[0].start();
    assert!(lab.survey(0).await.store_changed.is_some());
    assert!(lab.hosts[0].pings(a.id, b.ip_address));
    // A person accepts it: still nothing is ordered away.
    prismnet_agent::run::accept_store(&lab.hosts[0].config)
        .await
        .unwrap();
    let orphans = || async {
        let survey = lab.survey(0).await;
        survey
            .vpcs
            .iter()
            .map(|vpc| vpc.orphans.len())
            .sum::<usize>()
            == 2
    };
    eventually_true("both are orphans", SOON, orphans)
        .await
        .unwrap();
    assert!(lab.hosts[0].pings(a.id, b.ip_address));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_allow_and_what_they_allow_no_longer_ends() {
    let Some(lab) = Lab::or_skip(
        "prismnet-agent::groups_allow_and_what_they_allow_no_longer_ends",
        1,
    )
    .await
    else {
        return;
    };
    let host = &lab.hosts[0];
    let tenant = Tenant::put(&lab, 5001).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let web = samples::group();
    let out = samples::rule(
        web.id,
        Direction::Egress,
        Services::All(Protocol::Any),
        Remote::Cidr(prismnet_model::Block::ANY),
    );
    lab.put_group(&web, [out]).await;
    let b = samples::port(&tenant.subnet, "10.0.1.3", PortKind::Service, &[web.id]);
    lab.put_port(&b).await;
    let shut = samples::port(&tenant.subnet, "10.0.1.4", PortKind::Service, &[]);
    lab.put_port(&shut).await;
    for port in [&a, &b, &shut] {
        lab.until_active(port).await;
    }
    assert!(!host.pings(a.id, b.ip_address), "nothing lets it in");
    assert!(host.pings(b.id, tenant.subnet.gateway_ip));
    assert!(!host.pings(shut.id, a.ip_address), "nothing lets it out");

    // ICMP echo from the other group.
    let echo = Services::new(Protocol::ICMP, Some(8), None).unwrap();
    let rule = samples::rule(
        web.id,
        Direction::Ingress,
        echo,
        Remote::Group(tenant.group.id),
    );
    lab.put_rule(&rule).await;
    host.until_pings(a.id, b.ip_address).await;
    assert!(!host.pings(shut.id, b.ip_address));

    // TCP to one port, and not to another.
    let some = Services::new(Protocol::TCP, Some(8000), Some(8010)).unwrap();
    let tcp = samples::rule(
        web.id,
        Direction::Ingress,
        some,
        Remote::Cidr("10.0.1.2/32".parse().unwrap()),
    );
    lab.put_rule(&tcp).await;
    let listener = host.in_port(b.id, || TcpListener::bind((b.ip_address, 8005)).unwrap());
    let _other = host.in_port(b.id, || TcpListener::bind((b.ip_address, 8011)).unwrap());
    let connect = |port: u16| {
        let to = (b.ip_address, port).into();
        host.in_port(a.id, || {
            TcpStream::connect_timeout(&to, Duration::from_millis(500))
        })
    };
    let near = eventually("the port is open", SOON, || async { connect(8005).ok() })
        .await
        .unwrap();
    assert!(connect(8011).is_err(), "no rule opens it");
    let (mut far, _) = listener.accept().unwrap();
    let mut near = near;
    near.write_all(b"1").unwrap();
    far.read_exact(&mut [0]).unwrap();

    // Another rule goes: what lives by this one goes on, also from the end that nothing would let begin.
    lab.remove::<prismnet_model::Rule>(&rule.key()).await;
    host.until_silent(a.id, b.ip_address).await;
    near.set_read_timeout(Some(SOON)).unwrap();
    far.write_all(b"still here").unwrap();
    near.read_exact(&mut [0; 10]).unwrap();
    lab.put_rule(&rule).await;
    host.until_pings(a.id, b.ip_address).await;

    // The rule goes, and with it the connection that lived by it.
    lab.remove::<prismnet_model::Rule>(&tcp.key()).await;
    eventually("the port is shut", SOON, || async { connect(8005).err() })
        .await
        .unwrap();
    far.set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    near.write_all(b"2").unwrap();
    far.read_exact(&mut [0])
        .expect_err("the connection lives on");

    // A leaves its group, and with it what members may.
    let mut alone = a.clone();
    alone.security_groups = vec![web.id];
    lab.put_port(&alone).await;
    host.until_silent(a.id, b.ip_address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_given_its_address() {
    let Some(lab) = Lab::or_skip("prismnet-agent::a_client_is_given_its_address", 1).await else {
        return;
    };
    let host = &lab.hosts[0];
    let tenant = Tenant::put(&lab, 5001).await;
    lab.put_route(&samples::route(
        &tenant.subnet,
        "172.16.0.0/12",
        "10.0.1.250",
    ))
    .await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let b = tenant.port(&lab, "10.0.1.3").await;
    lab.until_active(&a).await;
    lab.until_active(&b).await;
    let client = host.in_port(a.id, || {
        // As a machine that has just started.
        command(&["ip", "addr", "flush", "dev", "eth0"]);
        let client = udp(Ipv4Addr::UNSPECIFIED, 68);
        client.set_broadcast(true).unwrap();
        setsockopt(&client, sockopt::BindToDevice, &"eth0".into()).unwrap();
        assert!(client.as_raw_fd() > 0);
        client
    });
    let ask = |kind: MessageType, asked: Option<Ipv4Addr>, mac: [u8; 6]| {
        let zero = Ipv4Addr::UNSPECIFIED;
        let mut request = Message::new(zero, zero, zero, zero, &mac);
        request.set_flags(Flags::default().set_broadcast());
        request.opts_mut().insert(DhcpOption::MessageType(kind));
        if let Some(asked) = asked {
            request
                .opts_mut()
                .insert(DhcpOption::RequestedIpAddress(asked));
        }
        client
            .send_to(&request.to_vec().unwrap(), (Ipv4Addr::BROADCAST, 67))
            .unwrap();
        let mut buffer = [0; 1500];
        let (length, from) = client.recv_from(&mut buffer).ok()?;
        let answer = Message::from_bytes(&buffer[..length]).unwrap();
        assert_eq!(
            (answer.xid(), from.ip()),
            (request.xid(), tenant.subnet.gateway_ip.into())
        );
        Some(answer)
    };
    let mac = a.mac_address.bytes();
    let kind = |answer: &Message| match answer.opts().get(OptionCode::MessageType) {
        Some(DhcpOption::MessageType(kind)) => *kind,
        other => panic!("{other:?}"),
    };
    // The responder's socket may open a moment after the port is active.
    let offer = eventually("an offer", SOON, || async {
        ask(MessageType::Discover, None, mac)
    })
    .await;
    let offer = offer.unwrap_or_else(|error| panic!("{error}: {}", host.everything()));
    assert_eq!(
        (kind(&offer), offer.yiaddr()),
        (MessageType::Offer, a.ip_address)
    );
    let given = ask(MessageType::Request, Some(a.ip_address), mac).unwrap();
    assert_eq!(
        (kind(&given), given.yiaddr()),
        (MessageType::Ack, a.ip_address)
    );
    let option = |code| given.opts().get(code).cloned();
    assert_eq!(
        option(OptionCode::InterfaceMtu),
        Some(DhcpOption::InterfaceMtu(1450))
    );
    assert_eq!(
        option(OptionCode::Router),
        Some(DhcpOption::Router(vec![tenant.subnet.gateway_ip]))
    );
    assert_eq!(
        option(OptionCode::DomainNameServer),
        Some(DhcpOption::DomainNameServer(vec![address("192.0.2.53")]))
    );
    let routes = vec![
        ("172.16.0.0/12".parse().unwrap(), tenant.subnet.gateway_ip),
        (
            "169.254.169.254/32".parse().unwrap(),
            tenant.subnet.gateway_ip,
        ),
        ("0.0.0.0/0".parse().unwrap(), tenant.subnet.gateway_ip),
    ];
    assert_eq!(
        option(OptionCode::ClasslessStaticRoute),
        Some(DhcpOption::ClasslessStaticRoute(routes))
    );
    let refused = ask(MessageType::Request, Some(b.ip_address), mac).unwrap();
    assert_eq!(kind(&refused), MessageType::Nak);
    // Whom nobody knows, nobody answers.
    assert!(ask(MessageType::Discover, None, [0x06, 0, 0, 0, 0, 0x77]).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_taken_in_when_its_device_comes() {
    let Some(lab) = Lab::or_skip(
        "prismnet-agent::a_guest_is_taken_in_when_its_device_comes",
        1,
    )
    .await
    else {
        return;
    };
    let host = &lab.hosts[0];
    let tenant = Tenant::put(&lab, 5001).await;
    let guest = samples::port(
        &tenant.subnet,
        "10.0.1.2",
        PortKind::Guest,
        &[tenant.group.id],
    );
    lab.put_port(&guest).await;
    lab.until(&guest, PortState::Building).await;
    // A device with its name and somebody at the other end; a hypervisor would have opened a tap.
    let tap = device::tap(guest.id);
    lab.net
        .run(
            0,
            &[
                "ip", "link", "add", &tap, "type", "veth", "peer", "name", "far",
            ],
        )
        .unwrap();
    lab.net.run(0, &["ip", "link", "set", "far", "up"]).unwrap();
    lab.net.run(0, &["ip", "link", "set", &tap, "up"]).unwrap();
    lab.until_active(&guest).await;
    let link = host.run(&tenant.namespace(), &["ip", "-d", "link", "show", &tap]);
    assert!(
        link.contains(&format!("master {}", tenant.bridge())),
        "{link}"
    );
    assert!(link.contains(&guest.id.to_string()), "{link}");

    // A device of its own that says it is something else is not touched.
    let theirs = tenant.port(&lab, "10.0.1.3").await;
    lab.until_active(&theirs).await;
    let veth = device::veth(theirs.id);
    host.run(
        &tenant.namespace(),
        &["ip", "link", "set", &veth, "alias", "mine"],
    );
    lab.put_port(&Port {
        name: "again".to_owned(),
        ..theirs.clone()
    })
    .await;
    lab.until(&theirs, PortState::Error).await;
    let link = host.run(&tenant.namespace(), &["ip", "link", "show", &veth]);
    assert!(link.contains("alias mine"), "{link}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_reach_each_other_and_a_port_moves() {
    let Some(mut lab) =
        Lab::or_skip("prismnet-agent::hosts_reach_each_other_and_a_port_moves", 2).await
    else {
        return;
    };
    lab.put_hosts().await;
    let tenant = Tenant::put(&lab, 5001).await;
    let other = Tenant::put(&lab, 5002).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let mut b = samples::port(
        &tenant.subnet,
        "10.0.1.3",
        PortKind::Service,
        &[tenant.group.id],
    );
    b.host = Some(samples::name("host-1"));
    lab.put_port(&b).await;
    let same = other.port(&lab, "10.0.1.2").await;
    for port in [&a, &b, &same] {
        lab.until_active(port).await;
    }
    lab.hosts[0].until_pings(a.id, b.ip_address).await;
    lab.hosts[1].until_pings(b.id, a.ip_address).await;
    assert!(
        !lab.hosts[0].pings(same.id, b.ip_address),
        "it is in another VPC"
    );

    // B comes here.
    b.host = Some(samples::name("here"));
    lab.put_port(&b).await;
    lab.until_active(&b).await;
    assert!(
        lab.hosts[0].pings(a.id, b.ip_address),
        "{}",
        lab.hosts[0].everything()
    );
    let empty = || async { lab.hosts[1].namespaces.list().unwrap().is_empty() };
    eventually_true("nothing is left where it was", SOON, empty)
        .await
        .unwrap();
    lab.hosts[1].stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_goes_on_where_it_was() {
    const TEST: &str = "prismnet-agent::killed_at_any_moment_it_goes_on_where_it_was";
    let Some(mut lab) = Lab::or_skip(TEST, 1).await else {
        return;
    };
    let mut rng = Seed::for_test(TEST).rng(0);
    let program = lab.program(AGENT, 0).await;
    let tenant = Tenant::put(&lab, 5001).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let mut others: Vec<Port> = Vec::new();
    for round in 0..12u8 {
        let mut agent = program.start();
        if rng.random_bool(0.7) {
            others.push(tenant.port(&lab, &format!("10.0.1.{}", 10 + round)).await);
        } else if let Some(port) = others.pop() {
            lab.delete_port(&port).await;
        }
        // Somewhere between its start and the end of its work.
        let moment = Duration::from_millis(rng.random_range(20..400));
        tokio::time::sleep(moment).await;
        agent.kill().unwrap();
    }
    let mut agent = program.start();
    lab.until_active(&a).await;
    for port in &others {
        lab.until_active(port).await;
        lab.hosts[0].until_pings(a.id, port.ip_address).await;
    }
    let namespaces = || lab.hosts[0].namespaces.list().unwrap().len();
    let only_those = || async { namespaces() == 2 + others.len() };
    eventually_true("nothing else is left", SOON, only_those)
        .await
        .unwrap();
    assert_eq!(program.say(&["--dry-run"]), "");
    let status: serde_json::Value =
        serde_json::from_str(&program.say(&["status", "--json"])).unwrap();
    assert_eq!(
        status["vpcs"][0]["ports"].as_array().unwrap().len(),
        1 + others.len()
    );
    assert_eq!(status["vpcs"][0]["orphans"], serde_json::json!([]));
    // In order, too.
    assert!(agent.terminate(SOON).await.unwrap().success());
    let alive = prismnet_model::observed::alive_key(&samples::name("here"));
    let alive = lab
        .store
        .collection::<prismnet_model::Alive>()
        .get(&alive)
        .await
        .unwrap();
    assert!(alive.is_none(), "it says that it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_ports_on_one_host() {
    let Some(lab) = Lab::or_skip("prismnet-agent::two_hundred_ports_on_one_host", 1).await else {
        return;
    };
    let tenant = Tenant::put(&lab, 5001).await;
    let mut ports = Vec::new();
    for at in 2..202 {
        ports.push(tenant.port(&lab, &format!("10.0.1.{at}")).await);
    }
    for port in &ports {
        lab.until_active(port).await;
    }
    let host = &lab.hosts[0];
    let (first, last) = (&ports[0], &ports[199]);
    assert!(host.pings(first.id, last.ip_address));
    assert!(host.pings(last.id, ports[100].ip_address));
    assert_eq!(lab.survey(0).await.plan_lines(), Vec::<String>::new());

    // One more does not wait for a look at all of them again and again.
    let began = std::time::Instant::now();
    let more = tenant.port(&lab, "10.0.1.250").await;
    lab.until_active(&more).await;
    eprintln!("one more beside 200: {:?}", began.elapsed());
}

/// A VXLAN packet from a socket that may be anybody's: a UDP datagram from one port to another, of that network.
fn tunnelled(vni: u32, from: &Port, to: &Port, port: u16, said: &[u8]) -> Vec<u8> {
    let mut packet = vec![8, 0, 0, 0];
    packet.extend((vni << 8).to_be_bytes());
    packet.extend(to.mac_address.bytes());
    packet.extend(from.mac_address.bytes());
    packet.extend([8, 0]);
    let length = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let mut header = vec![0x45, 0];
    header.extend(length(28 + said.len()));
    header.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    header.extend(from.ip_address.octets());
    header.extend(to.ip_address.octets());
    let sum: u32 = header
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&folded.to_be_bytes());
    packet.extend(header);
    packet.extend(4000u16.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend(length(8 + said.len()));
    // Without a checksum, as UDP may be over IPv4.
    packet.extend([0, 0]);
    packet.extend(said);
    packet
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_are_fed_by_hosts_of_ours_only() {
    const TEST: &str = "prismnet-agent::tunnels_are_fed_by_hosts_of_ours_only";
    let Some(lab) = Lab::or_skip_beside(TEST, 2, 1).await else {
        return;
    };
    lab.put_hosts().await;
    let tenant = Tenant::put(&lab, 5001).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let mut b = samples::port(
        &tenant.subnet,
        "10.0.1.3",
        PortKind::Service,
        &[tenant.group.id],
    );
    b.host = Some(samples::name("host-1"));
    lab.put_port(&b).await;
    for port in [&a, &b] {
        lab.until_active(port).await;
    }
    lab.hosts[1].until_pings(b.id, a.ip_address).await;
    let whole = || async { lab.survey(0).await.plan_lines().is_empty() };
    eventually_true("nothing is left to do", SOON, whole)
        .await
        .unwrap();

    // Somebody else's tunnel, by the same UDP port.
    let [here, stranger] = [0, 2].map(|node| lab.net.address(node).to_string());
    for (node, local, remote, at) in [
        (0, &here, &stranger, "172.31.9.1/24"),
        (2, &stranger, &here, "172.31.9.2/24"),
    ] {
        let made = [
            "ip", "link", "add", "theirs", "type", "vxlan", "id", "99", "dstport", "4789", "local",
            local, "remote", remote,
        ];
        lab.net.run(node, &made).unwrap();
        lab.net
            .run(node, &["ip", "addr", "add", at, "dev", "theirs"])
            .unwrap();
        lab.net
            .run(node, &["ip", "link", "set", "theirs", "up"])
            .unwrap();
    }
    let inside = |node: usize, what: &(dyn Fn() -> bool + Sync)| {
        let namespace = lab.net.namespace(node).to_owned();
        std::thread::scope(|scope| {
            let work = || {
                prismnet_agent::kernel::Namespaces::new("/run/netns")
                    .enter(&namespace)
                    .unwrap();
                what()
            };
            scope.spawn(work).join().unwrap()
        })
    };
    let theirs = || async { inside(2, &|| ping(address("172.31.9.1"))) };
    eventually_true("somebody else's tunnel works", SOON, theirs)
        .await
        .unwrap();

    // The same packet from the host that has the port, and from one that is none of ours.
    let socket = lab.hosts[0].in_port(a.id, || udp(a.ip_address, 7000));
    let vtep = lab.net.address(0);
    let hears = |node: usize, said: &[u8]| {
        let packet = tunnelled(5001, &b, &a, 7000, said);
        inside(node, &|| {
            let from = UdpSocket::bind((lab.net.address(node), 0)).unwrap();
            from.send_to(&packet, (vtep, 4789)).unwrap() == packet.len()
        });
        let mut heard = [0; 100];
        let length = socket.recv(&mut heard);
        length.is_ok_and(|length| &heard[..length] == said)
    };
    assert!(hears(1, b"ours"), "{}", lab.hosts[0].everything());
    assert!(!hears(2, b"forged"));
    let counted = lab
        .net
        .run(0, &["nft", "list", "chain", "ip", "photon", "tunnels"])
        .unwrap();
    let counted = String::from_utf8(counted.stdout).unwrap();
    assert!(
        counted.contains("packets 1 "),
        "what is dropped is counted: {counted}"
    );
    // A host of ours from now on.
    let record = samples::host("third", &stranger);
    lab.put(&record.key(), record.clone()).await;
    let believed = || async { hears(2, b"third") };
    eventually_true("it is believed", SOON, believed)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hosts_reach_each_other_while_ports_go_round() {
    const TEST: &str = "prismnet-agent::three_hosts_reach_each_other_while_ports_go_round";
    let Some(lab) = Lab::or_skip(TEST, 3).await else {
        return;
    };
    lab.put_hosts().await;
    let tenant = Tenant::put(&lab, 5001).await;
    let group = &[tenant.group.id];
    let mut ports = ["10.0.1.2", "10.0.1.3", "10.0.1.4"]
        .map(|address| samples::port(&tenant.subnet, address, PortKind::Service, group));
    for round in 0..3 {
        for (at, port) in ports.iter_mut().enumerate() {
            let host = &lab.hosts[(at + round) % 3].name;
            port.host = Some(samples::name(host));
            lab.put_port(port).await;
        }
        for port in &ports {
            lab.until_active(port).await;
        }
        for (at, port) in ports.iter().enumerate() {
            let host = &lab.hosts[(at + round) % 3];
            for other in &ports {
                if other.id != port.id {
                    host.until_pings(port.id, other.ip_address).await;
                }
            }
        }
    }
    // Each host has its own port and nothing of the others'.
    for host in &lab.hosts {
        let only_its_own = || async { host.namespaces.list().unwrap().len() == 2 };
        eventually_true("nothing of the others is left", SOON, only_its_own)
            .await
            .unwrap();
    }
}
