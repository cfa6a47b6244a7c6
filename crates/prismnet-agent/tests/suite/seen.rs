//! What is known of a namespace's rules without listing them is what is there.

use std::collections::{BTreeMap, BTreeSet};

use photon_testkit::NetLab;
use prismnet_agent::{
    desired::desired,
    kernel::{
        Namespaces, nft,
        seen::{Scope, SeenRules},
    },
    network::Actual,
    plan::{Step, plan},
    records::{Known, Records},
    ruleset::{RuleChange, Ruleset},
    transfer::Transfers,
    way_out::{self, Told},
};
use prismnet_model::PortKind;

use crate::{lab::command, samples};

/// Something that happens to the records.
type Happens = Box<dyn Fn(&mut Records)>;

/// The changes of rules from what is found to what the records want.
fn changes(records: &Records, found: &Ruleset) -> Vec<Vec<RuleChange>> {
    let here = samples::here();
    let mut transfers = Transfers::default();
    transfers.give(&way_out::wanted(records, &here), &BTreeMap::new());
    let told = Told::of(records, &BTreeSet::new());
    let wanted = desired(records, &here, &transfers, &told);
    let mut actual = Actual {
        exists: true,
        ..Actual::default()
    };
    actual.network.rules = found.clone();
    let steps = wanted.values().flat_map(|wanted| plan(wanted, &actual));
    let changes = steps.filter_map(|step| match step {
        Step::Change(changes) => Some(changes),
        _ => None,
    });
    changes.collect()
}

async fn follow(mut seen: SeenRules) {
    let mut records = Records::default();
    let mut vpc = samples::vpc("10.0.0.0/16");
    let subnet = samples::subnet(&vpc, "10.0.1.0/24", 5001);
    let group = samples::group();
    records.put(Known::Vpc(Box::new(vpc.clone())));
    records.put(Known::Subnet(Box::new(subnet.clone())));
    for rule in samples::default_rules(group.id) {
        records.put(Known::Rule(Box::new(rule)));
    }
    assert_eq!(seen.look().await.unwrap(), Ruleset::default());
    let port = |address| samples::port(&subnet, address, PortKind::Service, &[group.id]);
    let ports = ["10.0.1.2", "10.0.1.3", "10.0.1.4"].map(port);
    let network = samples::external_network("198.51.100.0/24", &[("here", "eth1")]);
    let mut put: Vec<Happens> = Vec::new();
    for port in ports.clone() {
        put.push(Box::new(move |records| samples::put_port(records, &port)));
    }
    vpc.internet_access = true;
    put.push(Box::new(move |records| {
        records.put(Known::Vpc(Box::new(vpc.clone())));
    }));
    let floating = samples::floating_ip(&network, "198.51.100.7", &ports[0]);
    let route = samples::route(&subnet, "172.16.0.0/12", "10.0.1.3");
    let narrow = prismnet_model::Services::new(prismnet_model::Protocol::TCP, Some(80), Some(90));
    let rule = samples::rule(
        group.id,
        prismnet_model::Direction::Ingress,
        narrow.unwrap(),
        prismnet_model::Remote::Cidr("10.9.0.0/16".parse().unwrap()),
    );
    put.push(Box::new(move |records| {
        records.put(Known::ExternalNetwork(Box::new(network.clone())));
        records.put(Known::FloatingIp(Box::new(floating.clone())));
        records.put(Known::Route(Box::new(route.clone())));
        records.put(Known::Rule(Box::new(rule.clone())));
    }));
    for port in &ports[1..] {
        let key = format!("port/{}", port.key());
        put.push(Box::new(move |records| records.remove(&key)));
    }
    for change in &put {
        change(&mut records);
        let found = seen.look().await.unwrap();
        let changes = changes(&records, &found);
        assert!(!changes.is_empty());
        for change in changes {
            seen.change(&change).await.unwrap();
        }
        assert_eq!(seen.look().await.unwrap(), nft::list().await.unwrap());
    }
    assert_eq!(seen.listed(), 1, "what it did itself it does not look at");

    // Somebody else changes them.
    command(&["nft", "flush", "chain", "ip", "photon", "egress"]);
    assert_eq!(seen.look().await.unwrap(), nft::list().await.unwrap());
    assert_eq!(seen.listed(), 2);
    seen.look().await.unwrap();
    assert_eq!(seen.listed(), 2);
    // In between a look and a change of ours.
    command(&["nft", "flush", "ruleset"]);
    let table = RuleChange::Table(prismnet_agent::ruleset::Family::Ip);
    seen.change(&[table]).await.unwrap();
    assert_eq!(seen.look().await.unwrap(), Ruleset::default());
    assert_eq!(seen.listed(), 3);
    // At a resync, whatever the number says.
    seen.forget();
    seen.look().await.unwrap();
    assert_eq!(seen.listed(), 4);
}

#[test]
fn what_was_seen_and_done_is_what_is_there() {
    let test = "prismnet-agent::what_was_seen_and_done_is_what_is_there";
    let Some(net) = NetLab::or_skip(test, 1).unwrap() else {
        return;
    };
    let work = || {
        Namespaces::new("/run/netns")
            .enter(net.namespace(0))
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let seen = SeenRules::open(Scope::All).unwrap();
        runtime.block_on(follow(seen));
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap());
}
