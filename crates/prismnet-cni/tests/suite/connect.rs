//! Containers on a real host: the plugin, the agent, the kernel.

use std::{fs, net::Ipv4Addr, path::PathBuf};

use photon_testkit::{eventually, poll::eventually_true};
use prismnet_agent::kernel::Namespaces;
use prismnet_model::{Port, PortKind, device};
use serde_json::{Value, json};

use crate::{
    lab::{Host, Lab, SOON, command, ping},
    plugin::{Answer, Call},
    samples,
    tenant::Tenant,
};

/// Namespaces as a container runtime makes them; gone with the test.
struct Containers {
    namespaces: Namespaces,
    directory: PathBuf,
}

impl Containers {
    fn new(host: &Host) -> Self {
        let directory = host.config.namespace_directory.with_file_name("containers");
        let namespaces = Namespaces::new(&directory);
        namespaces.prepare().unwrap();
        Self {
            namespaces,
            directory,
        }
    }

    fn make(&self, name: &str) {
        std::thread::scope(|scope| {
            scope
                .spawn(|| self.namespaces.make(name).unwrap())
                .join()
                .unwrap();
        });
    }

    fn path(&self, name: &str) -> String {
        self.namespaces.path(name).display().to_string()
    }

    fn inside<T: Send>(&self, name: &str, what: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let work = || {
                self.namespaces.enter(name).unwrap();
                what()
            };
            scope.spawn(work).join().unwrap()
        })
    }

    /// At once; but on a busy machine an answer may come later than it is waited for.
    fn pings(&self, from: &str, to: Ipv4Addr) -> bool {
        self.inside(from, || (0..10).any(|_| ping(to)))
    }

    fn run(&self, name: &str, words: &[&str]) -> String {
        self.inside(name, || command(words))
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for name in self.namespaces.list().unwrap_or_default() {
            let _ = self.namespaces.remove(&name);
        }
        let _ = nix::mount::umount2(&self.directory, nix::mount::MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A call about a container and its port.
fn call(verb: &str, host: &Host, containers: &Containers, container: &str, port: &Port) -> Call {
    Call::new(verb, &host.config.socket)
        .with("CNI_CONTAINERID", container)
        .with("CNI_NETNS", &containers.path(container))
        .with(
            "CNI_ARGS",
            &format!("IgnoreUnknown=1;PHOTON_PORT={}", port.id),
        )
}

fn ok(answer: Answer) -> Value {
    assert!(answer.ok, "{answer:?}");
    answer.said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_connected_and_stays_so() {
    let name = "prismnet-cni::a_container_is_connected_and_stays_so";
    let Some(mut lab) = Lab::or_skip(name, 1).await else {
        return;
    };
    let containers = Containers::new(&lab.hosts[0]);
    let tenant = Tenant::put(&lab, 5001).await;
    let other = tenant.port(&lab, "10.0.1.2").await;
    let pod = tenant.port_of(&lab, "10.0.1.3", PortKind::Pod).await;
    containers.make("one");
    containers.make("two");
    let about = |lab: &Lab, verb: &str, container: &str| {
        call(verb, &lab.hosts[0], &containers, container, &pod)
    };
    lab.until_active(&other).await;
    eventually("the agent is ready", SOON, || async {
        about(&lab, "STATUS", "one").run().ok.then_some(())
    })
    .await
    .unwrap();

    // What is answered, is so.
    let added = ok(about(&lab, "ADD", "one").run());
    assert!(
        containers.pings("one", other.ip_address),
        "{}",
        lab.hosts[0].everything()
    );
    let gateway = tenant.subnet.gateway_ip;
    assert_eq!(
        added,
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": device::veth(pod.id)},
                {"name": "eth0", "mac": pod.mac_address.to_string(), "sandbox": containers.path("one"), "mtu": 1450},
            ],
            "ips": [{"address": "10.0.1.3/24", "gateway": gateway, "interface": 1}],
            "routes": [
                {"dst": "169.254.169.254/32", "gw": gateway}, {"dst": "0.0.0.0/0", "gw": gateway},
            ],
            "dns": {"nameservers": ["192.0.2.53"]},
        })
    );
    let link = || containers.run("one", &["ip", "-o", "link", "show", "eth0"]);
    let before = link();
    assert!(
        before.contains("mtu 1450") && before.contains(&pod.mac_address.to_string()),
        "{before}"
    );
    lab.hosts[0].until_pings(other.id, pod.ip_address).await;

    // Again changes nothing; in an older version and behind another plugin it says the same in their words.
    assert_eq!(ok(about(&lab, "ADD", "one").run()), added);
    let chained = json!({"cniVersion": "0.4.0", "interfaces": [{"name": "lo"}], "sandboxed": true});
    let chained = about(&lab, "ADD", "one")
        .configured("cniVersion", json!("0.4.0"))
        .configured("prevResult", chained);
    let chained = ok(chained.run());
    assert_eq!(
        chained["ips"],
        json!([{"version": "4", "address": "10.0.1.3/24", "gateway": gateway, "interface": 2}])
    );
    assert_eq!(chained["interfaces"][0], json!({"name": "lo"}));
    assert_eq!(chained["sandboxed"], true);
    assert_eq!(link(), before);

    // Drift in the container is told, and what was put there is put again.
    let check = |lab: &Lab| {
        about(lab, "CHECK", "one")
            .configured("prevResult", added.clone())
            .run()
    };
    check(&lab).is_empty_success();
    for broken in [
        &["ip", "addr", "flush", "dev", "eth0"][..],
        &["ip", "route", "del", "default"],
        &["ip", "link", "set", "eth0", "down"],
        &["ip", "link", "set", "eth0", "mtu", "1000"],
    ] {
        containers.run("one", broken);
        check(&lab).is_failure(103);
        ok(about(&lab, "ADD", "one").run());
        check(&lab).is_empty_success();
    }
    let elsewhere = json!({"ips": [{"address": "10.0.1.9/24"}]});
    about(&lab, "CHECK", "one")
        .configured("prevResult", elsewhere)
        .run()
        .is_failure(103);
    about(&lab, "CHECK", "two")
        .configured("prevResult", added.clone())
        .run()
        .is_failure(103);

    // Without the agent it stays as it is; another one finds it again.
    lab.hosts[0].stop();
    assert!(containers.pings("one", other.ip_address));
    about(&lab, "STATUS", "one").run().is_failure(50);
    about(&lab, "ADD", "one").run().is_failure(11);
    about(&lab, "DEL", "one").run().is_failure(11);
    lab.hosts[0].start();
    eventually("it is as it was", SOON, || async {
        check(&lab).ok.then_some(())
    })
    .await
    .unwrap();
    assert_eq!(link(), before);
    assert!(containers.pings("one", other.ip_address));

    // Who takes the VPC's end away, does not take it for long.
    let veth = device::veth(pod.id);
    lab.hosts[0].run(&tenant.namespace(), &["ip", "link", "delete", &veth]);
    eventually_true("it is connected again", SOON, || async {
        containers.pings("one", other.ip_address)
    })
    .await
    .unwrap();
    eventually("it is as it was", SOON, || async {
        check(&lab).ok.then_some(())
    })
    .await
    .unwrap();

    // Nobody else gets the port, and nobody else takes it away.
    about(&lab, "ADD", "two").run().is_failure(101);
    about(&lab, "DEL", "two").run().is_empty_success();
    assert!(containers.pings("one", other.ip_address));
    for _ in 0..2 {
        about(&lab, "DEL", "one").run().is_empty_success();
        assert!(
            !containers
                .run("one", &["ip", "-o", "link"])
                .contains("eth0")
        );
    }
    check(&lab).is_failure(103);
    ok(about(&lab, "ADD", "two").run());
    eventually_true("the other one has it", SOON, || async {
        containers.pings("two", other.ip_address)
    })
    .await
    .unwrap();
    // A late farewell of the first.
    about(&lab, "DEL", "one").run().is_empty_success();
    assert!(containers.pings("two", other.ip_address));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_pods_or_not_here_is_refused() {
    let name = "prismnet-cni::what_is_not_a_pods_or_not_here_is_refused";
    let Some(lab) = Lab::or_skip(name, 1).await else {
        return;
    };
    let host = &lab.hosts[0];
    let containers = Containers::new(host);
    let tenant = Tenant::put(&lab, 5001).await;
    containers.make("one");
    let pod = tenant.port_of(&lab, "10.0.1.2", PortKind::Pod).await;
    let guest = tenant.port_of(&lab, "10.0.1.3", PortKind::Guest).await;
    let service = tenant.port(&lab, "10.0.1.4").await;
    let mut far = samples::port(
        &tenant.subnet,
        "10.0.1.5",
        PortKind::Pod,
        &[tenant.group.id],
    );
    far.host = Some(samples::name("elsewhere"));
    lab.put_port(&far).await;
    lab.until_active(&service).await;
    let unknown = samples::port(&tenant.subnet, "10.0.1.6", PortKind::Pod, &[]);
    let add = |port: &Port| call("ADD", host, &containers, "one", port);
    for port in [&guest, &service] {
        add(port).run().is_failure(101);
    }
    // The namespaces that are not a container's.
    let vpc = host
        .namespaces
        .path(&tenant.namespace())
        .display()
        .to_string();
    let inside = host
        .namespaces
        .path(&device::port_namespace(service.id))
        .display()
        .to_string();
    let own = lab.net.namespace(0);
    let own = format!("/run/netns/{own}");
    for place in [
        "/nowhere/netns",
        "/proc/self/ns/mnt",
        "/dev/null",
        &vpc,
        &inside,
        &own,
    ] {
        let answer = add(&pod).with("CNI_NETNS", place).run();
        eprintln!("{place}: {answer:?}");
        answer.is_failure(101);
    }
    // A device that is there already is not replaced.
    containers.run("one", &["ip", "link", "add", "eth0", "type", "bridge"]);
    add(&pod).run().is_failure(101);
    containers.run("one", &["ip", "link", "delete", "eth0"]);
    ok(add(&pod).run());

    // Those that may still come are waited for.
    let waits = [(add(&far), 101), (add(&unknown), 100)];
    let waits = waits.map(|(call, code)| tokio::task::spawn_blocking(move || (call.run(), code)));
    for wait in waits {
        let (answer, code) = wait.await.unwrap();
        answer.is_failure(code);
    }
    // One that comes while it is waited for is connected.
    let late = tokio::task::spawn_blocking({
        let call = add(&unknown).with("CNI_IFNAME", "eth1");
        move || call.run()
    });
    lab.put_port(&unknown).await;
    ok(late.await.unwrap());
    assert!(
        containers
            .run("one", &["ip", "-o", "addr"])
            .contains("10.0.1.6/24")
    );
}
