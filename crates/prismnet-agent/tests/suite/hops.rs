//! Ports that routes lead to: what is behind them is reached, as their groups allow.

use std::net::Ipv4Addr;

use photon_testkit::poll::eventually_true;
use prismnet_model::{Block, Direction, PortKind, Protocol, Remote, Services};

use crate::{
    lab::{Lab, SOON, command},
    samples,
    tenant::Tenant,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_behind_a_hop_is_reached_as_its_groups_allow() {
    let test = "prismnet-agent::what_is_behind_a_hop_is_reached_as_its_groups_allow";
    let Some(lab) = Lab::or_skip(test, 2).await else {
        return;
    };
    lab.put_hosts().await;
    let tenant = Tenant::put(&lab, 5001).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let mut far = samples::port(
        &tenant.subnet,
        "10.0.1.3",
        PortKind::Service,
        &[tenant.group.id],
    );
    far.host = Some(samples::name("host-1"));
    lab.put_port(&far).await;
    // The hop's own group decides what gets to whoever is behind it.
    let group = samples::group();
    lab.put_group(&group, samples::default_rules(group.id))
        .await;
    let hop = samples::port(&tenant.subnet, "10.0.1.9", PortKind::Service, &[group.id]);
    lab.put_port(&hop).await;
    for port in [&a, &far, &hop] {
        lab.until_active(port).await;
    }
    let behind: Ipv4Addr = "172.20.0.7".parse().unwrap();
    lab.hosts[0].in_port(hop.id, || {
        command(&["ip", "addr", "add", "172.20.0.7/32", "dev", "lo"]);
    });

    let route = samples::route(&tenant.subnet, "172.20.0.0/16", "10.0.1.9");
    lab.put_route(&route).await;
    let planned = || async { lab.survey(0).await.plan_lines().is_empty() };
    eventually_true("the route is there", SOON, planned)
        .await
        .unwrap();
    // Nobody is let in yet.
    assert!(!lab.hosts[0].pings(a.id, behind));
    assert!(!lab.hosts[1].pings(far.id, behind));

    let all = Services::All(Protocol::Any);
    let open = samples::rule(group.id, Direction::Ingress, all, Remote::Cidr(Block::ANY));
    lab.put_rule(&open).await;
    lab.hosts[0].until_pings(a.id, behind).await;
    lab.hosts[1].until_pings(far.id, behind).await;
    // From behind it, too, and only from the route's addresses.
    let from = |source: &'static str| {
        lab.hosts[0].in_port(hop.id, || {
            if source != "172.20.0.7" {
                command(&["ip", "addr", "add", &format!("{source}/32"), "dev", "lo"]);
            }
            let socket = std::net::UdpSocket::bind((source, 0)).unwrap();
            socket.send_to(b"hello", ("10.0.1.2", 9000)).unwrap();
        });
    };
    let opened = samples::rule(
        tenant.group.id,
        Direction::Ingress,
        all,
        Remote::Cidr(Block::ANY),
    );
    lab.put_rule(&opened).await;
    eventually_true("the rule is there", SOON, planned)
        .await
        .unwrap();
    let socket = lab.hosts[0].in_port(a.id, || crate::lab::udp(Ipv4Addr::UNSPECIFIED, 9000));
    for foreign in ["172.21.0.7", "10.0.1.3"] {
        from(foreign);
    }
    from("172.20.0.7");
    let (_, source) = socket.recv_from(&mut [0; 16]).unwrap();
    assert_eq!(source.ip(), behind);
    socket
        .recv_from(&mut [0; 16])
        .expect_err("it said it was somebody else");

    // The route goes, and with it what it allowed.
    lab.remove::<prismnet_model::Route>(&route.key()).await;
    lab.hosts[1].until_silent(far.id, behind).await;
}
