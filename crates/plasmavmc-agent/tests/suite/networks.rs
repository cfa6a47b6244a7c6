//! The whole way: a VM is asked for by REST, and answers within its VPC. Everything is real: both control planes, both agents, guests.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{sys::signal, unistd::Pid};
use photon_testkit::{
    eventually,
    network::lab as network,
    process::{Process, Spec},
    rest::Caller,
    scratch::Scratch,
    skip,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::lab::{AGENT, SOON, machines, missing, photon_mini};

const VMS: &str = "/api/v1/vms";

/// A host with both agents in it, and the services that tell them.
struct Cloud {
    net: network::Lab,
    prismnet: Option<prismnet::Running>,
    plasmavmc: Option<plasmavmc::Running>,
    networks: Caller,
    compute: Caller,
    config: PathBuf,
    state: PathBuf,
    agent: Option<Process>,
    store: JoinHandle<()>,
    directory: Scratch,
}

impl Cloud {
    /// With an image `photon-mini` whose guests ask these addresses; or `None` after saying that it is skipped.
    async fn or_skip(test: &str, asks: &str) -> Option<Self> {
        if let Some(reason) = missing() {
            skip::report(test, &reason);
            return None;
        }
        let mini = match photon_mini() {
            Ok(mini) => mini,
            Err(reason) => {
                skip::report(test, &format!("photon-mini cannot be built: {reason}"));
                return None;
            }
        };
        let net = network::Lab::or_skip(test, 1).await?;
        let at = net.chainfire.endpoint();
        let mut config = prismnet::Config::default();
        config.store.endpoints = vec![at.clone()];
        config.rest.address.set_port(0);
        config.grpc.address.set_port(0);
        let prismnet = Box::pin(prismnet::start(config, prismnet::Sockets::default()));
        let prismnet = prismnet.await.unwrap();
        let mut config = plasmavmc::Config::default();
        config.store.endpoints = vec![at];
        config.rest.address.set_port(0);
        config.grpc.address.set_port(0);
        config.prismnet.endpoint = Some(format!("http://{}", prismnet.grpc_address()));
        let plasmavmc = Box::pin(plasmavmc::start(config, plasmavmc::Sockets::default()));
        let plasmavmc = plasmavmc.await.unwrap();
        let networks = Caller::at(&format!("http://{}", prismnet.rest_address()));
        let compute = Caller::at(&format!("http://{}", plasmavmc.rest_address()));

        let directory = Scratch::new("vm").unwrap();
        let (file, state) = (
            directory.path().join("agent.toml"),
            directory.path().join("state"),
        );
        let (store, endpoint) = net.loopback_store(0);
        let text = format!(
            "host = \"here\"\nstate_directory = {state:?}\nresync_seconds = 3600\n\
             [store]\nendpoints = [\"{endpoint}\"]\n[hypervisor]\nkvm = false\n\
             [ports]\nsocket = {:?}\n[log]\nlevel = \"info,plasmavmc_agent=debug\"\n",
            net.hosts[0].config.socket
        );
        fs::write(&file, text).unwrap();
        let mut cloud = Self {
            net,
            prismnet: Some(prismnet),
            plasmavmc: Some(plasmavmc),
            networks,
            compute,
            config: file,
            state,
            agent: None,
            store,
            directory,
        };
        let image = cloud.image(&mini, asks);
        let added = cloud.words(&["image", "add", &image.display().to_string()]);
        let words: Vec<&str> = added.iter().map(String::as_str).collect();
        network::command(&words);
        cloud.start_agent();
        let ready = || async {
            let images = cloud.compute.get("/api/v1/images").await;
            let images = images.body["data"]["images"].as_array()?.len();
            (images == 1).then_some(())
        };
        let ready = eventually("the host has told of itself", SOON, ready).await;
        ready.unwrap_or_else(|error| cloud.fail(&error));
        Some(cloud)
    }

    /// photon-mini with another command line.
    fn image(&self, mini: &Path, asks: &str) -> PathBuf {
        let image = self.directory.path().join("image");
        fs::create_dir(&image).unwrap();
        for file in ["vmlinuz", "initrd"] {
            fs::copy(mini.join(file), image.join(file)).unwrap();
        }
        let manifest = fs::read(mini.join("manifest.json")).unwrap();
        let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let cmdline = manifest["cmdline"].as_str().unwrap();
        manifest["cmdline"] = format!("{cmdline} photon.reach={asks}").into();
        fs::write(image.join("manifest.json"), manifest.to_string()).unwrap();
        image
    }

    /// The program, on the host.
    fn words(&self, more: &[&str]) -> Vec<String> {
        let namespace = format!("--net=/run/netns/{}", self.net.net.namespace(0));
        let config = self.config.display().to_string();
        let words = ["nsenter", &namespace, AGENT, "--config", &config];
        words.iter().chain(more).map(ToString::to_string).collect()
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("agent.log")
    }

    fn start_agent(&mut self) {
        let words = self.words(&[]);
        let spec = Spec::new("plasmavmc-agent", &words[0], self.log());
        let spec = words[1..].iter().fold(spec, Spec::argument);
        self.agent = Some(Process::start(spec).unwrap());
    }

    fn kill_agent(&mut self) {
        self.agent.take().unwrap().kill().unwrap();
    }

    /// A VPC with a subnet, always of the same block: VPC and subnet.
    async fn network(&self) -> (String, String) {
        let vpc = json!({
            "name": "net", "org_id": "acme", "project_id": "shop", "cidr_block": "10.0.0.0/16",
        });
        let vpc = self.networks.post("/api/v1/vpcs", vpc).await.id();
        let subnet = json!({ "name": "net", "vpc_id": vpc, "cidr_block": "10.0.1.0/24" });
        let subnet = self.networks.post("/api/v1/subnets", subnet).await.id();
        (vpc, subnet)
    }

    async fn port(&self, body: Value) -> String {
        self.networks.post("/api/v1/ports", body).await.id()
    }

    /// A VM that is to run: its id.
    async fn vm(&self, network: Value) -> String {
        let body = json!({
            "name": "web", "org_id": "acme", "project_id": "shop", "vcpus": 1, "memory_mib": 128,
            "start": true, "networks": [network],
        });
        self.compute.post(VMS, body).await.id()
    }

    async fn get(&self, vm: &str) -> Value {
        self.compute
            .get(&format!("{VMS}/{vm}"))
            .await
            .data()
            .clone()
    }

    async fn ask(&self, vm: &str, what: &str, body: Value) {
        let path = format!("{VMS}/{vm}/{what}");
        self.compute.post(&path, body).await.data();
    }

    async fn until(&self, vm: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let found = || async { Some(self.get(vm).await).filter(&is) };
        let found = eventually(&format!("{vm} is {what}"), SOON, found).await;
        match found {
            Ok(found) => found,
            Err(error) => {
                let found = self.get(vm).await;
                self.fail(&anyhow::anyhow!("{error}; {found}"))
            }
        }
    }

    async fn until_state(&self, vm: &str, state: &str) -> Value {
        self.until(vm, state, |vm| vm["state"] == state).await
    }

    fn console(&self, vm: &str) -> String {
        let path = self.state.join("vm").join(vm).join("console.log");
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    async fn until_said(&self, vm: &str, word: &str, times: usize) {
        let is_said = || async { (self.console(vm).matches(word).count() >= times).then_some(()) };
        let what = format!("the guest says {word:?} {times} times");
        if let Err(error) = eventually(&what, SOON, is_said).await {
            let (said, vm) = (self.console(vm), self.get(vm).await);
            self.fail(&anyhow::anyhow!(
                "{error}; it said: {said}; {vm}; {}",
                self.net.hosts[0].everything()
            ));
        }
    }

    /// Waits until HTTP at an address is answered to a port of a process on the host.
    async fn until_answers(&self, from: &str, at: Ipv4Addr) {
        let from = from.parse().unwrap();
        let answers = || async {
            let said = self.net.hosts[0].in_port(from, || http(at));
            said.filter(|said| said.contains("hostname")).map(drop)
        };
        if let Err(error) = eventually("the guest answers", SOON, answers).await {
            self.fail(&anyhow::anyhow!(
                "{error}: {}",
                self.net.hosts[0].everything()
            ));
        }
    }

    /// Processes of machines of this host.
    fn machines(&self) -> Vec<Pid> {
        machines(self.directory.path()).into_keys().collect()
    }

    /// Devices in a namespace, whether of the host's or of a VPC's.
    fn has_taps(&self) -> bool {
        let outside = self.net.net.run(0, &["ip", "-o", "-d", "link"]).unwrap();
        let outside = String::from_utf8_lossy(&outside.stdout).into_owned();
        let host = &self.net.hosts[0];
        let inside = host.namespaces.list().unwrap();
        let inside = inside
            .iter()
            .map(|name| host.run(name, &["ip", "-o", "-d", "link"]));
        inside
            .chain([outside])
            .any(|links| links.contains("type tap"))
    }

    fn fail(&self, error: &anyhow::Error) -> ! {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(60).collect();
        let log: Vec<&str> = lines.into_iter().rev().collect();
        panic!("{error:#}\n{}", log.join("\n"));
    }

    async fn stop(mut self) {
        if let Some(mut agent) = self.agent.take() {
            assert!(agent.terminate(SOON).await.unwrap().success());
        }
        self.plasmavmc.take().unwrap().stop().await;
        self.prismnet.take().unwrap().stop().await;
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ = agent.kill();
        }
        for pid in self.machines() {
            let _ = signal::kill(pid, signal::Signal::SIGKILL);
        }
        self.store.abort();
    }
}

/// The page at an address, in the calling thread's namespace.
fn http(at: Ipv4Addr) -> Option<String> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((at, 80)), patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said)
}

fn address(vm: &Value) -> Ipv4Addr {
    let address = vm["networks"][0]["ip_address"].as_str();
    address.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn vms_answer_within_their_vpc_and_nowhere_else_and_leave_nothing() {
    // What the first guest of each VPC gets, and what is given to one guest of one.
    let asks = "10.0.1.2,10.0.1.77";
    let test = "plasmavmc-agent::vms_answer_within_their_vpc_and_nowhere_else_and_leave_nothing";
    let Some(mut cloud) = Cloud::or_skip(test, asks).await else {
        return;
    };
    let ((_, subnet), (_, other)) = (cloud.network().await, cloud.network().await);
    let named = json!({ "subnet_id": subnet, "ip_address": "10.0.1.77" });
    let named = cloud.port(named).await;
    let web = cloud.vm(json!({ "subnet_id": subnet })).await;
    let db = cloud.vm(json!({ "port_id": named })).await;
    let stranger = cloud.vm(json!({ "subnet_id": other })).await;
    let first = cloud.until(&web, "given an address", |vm| {
        !vm["networks"][0]["ip_address"].is_null()
    });
    let first = first.await;
    assert_eq!(address(&first), Ipv4Addr::new(10, 0, 1, 2));
    let process = json!({ "subnet_id": subnet, "kind": "service", "host_id": "here" });
    let process = cloud.port(process).await;

    // By DHCP, and among each other; the same addresses elsewhere are others'.
    for (vm, own) in [
        (&web, "10.0.1.2"),
        (&db, "10.0.1.77"),
        (&stranger, "10.0.1.2"),
    ] {
        cloud
            .until_said(vm, &format!("PHOTON-GUEST-IP {own}/24"), 1)
            .await;
    }
    // Each is told of itself alone, by its disk and at the metadata address.
    for vm in [&web, &db, &stranger] {
        for at in ["CIDATA", "METADATA"] {
            cloud
                .until_said(vm, &format!("PHOTON-GUEST-{at} {vm}"), 1)
                .await;
        }
    }
    cloud
        .until_said(&web, "PHOTON-GUEST-REACHES 10.0.1.77", 1)
        .await;
    cloud
        .until_said(&db, "PHOTON-GUEST-REACHES 10.0.1.2", 1)
        .await;
    cloud
        .until_said(&stranger, "PHOTON-GUEST-MISSES 10.0.1.77", 1)
        .await;
    let running = cloud.until_state(&web, "Running").await;
    cloud.until_answers(&process, address(&running)).await;

    // The agents come and go; what runs is not touched.
    cloud.kill_agent();
    cloud.net.hosts[0].stop();
    cloud.net.hosts[0].start();
    cloud.start_agent();
    cloud.until_answers(&process, address(&running)).await;

    // It stops as asked, and comes back as who it was.
    cloud.ask(&web, "stop", json!({})).await;
    let stopped = cloud.until_state(&web, "Stopped").await;
    assert_eq!(stopped["state_reason"], "");
    assert!(cloud.console(&web).contains("PHOTON-GUEST-POWEROFF"));
    cloud.ask(&stranger, "stop", json!({ "force": true })).await;
    cloud.until_state(&stranger, "Stopped").await;

    // Without prismnet-agent a start waits, and says for what; a stop does not.
    cloud.net.hosts[0].stop();
    cloud.ask(&web, "start", json!({})).await;
    let waits = |vm: &Value| {
        let reason = vm["state_reason"].as_str().unwrap();
        vm["state"] == "Starting" && reason.contains("prismnet-agent does not serve")
    };
    cloud.until(&web, "waiting for prismnet-agent", waits).await;
    cloud.ask(&db, "stop", json!({ "force": true })).await;
    cloud.until_state(&db, "Stopped").await;
    cloud.net.hosts[0].start();
    let again = cloud.until_state(&web, "Running").await;
    assert_eq!(again["networks"], first["networks"]);
    cloud
        .until_said(&web, "PHOTON-GUEST-IP 10.0.1.2/24", 2)
        .await;
    cloud.until_answers(&process, address(&again)).await;

    for vm in [&web, &db, &stranger] {
        cloud.compute.delete(&format!("{VMS}/{vm}")).await.data();
    }
    for vm in [&web, &db, &stranger] {
        let gone = || async {
            let answer = cloud.compute.get(&format!("{VMS}/{vm}")).await;
            (answer.status == 404).then_some(())
        };
        if let Err(error) = eventually("it is gone", SOON, gone).await {
            let left = cloud.get(vm).await;
            cloud.fail(&anyhow::anyhow!("{error}: {left}"));
        }
        assert!(!cloud.state.join("vm").join(vm).exists());
        let definition = format!("libvirt/etc/qemu/{vm}.xml");
        assert!(!cloud.state.join(definition).exists());
    }
    assert!(cloud.machines().is_empty());
    let mut left = cloud.networks.all("/api/v1/ports", "ports", "id").await;
    left.sort();
    let mut expected = [named.clone(), process];
    expected.sort();
    assert_eq!(left, expected);
    let port = cloud.networks.get(&format!("/api/v1/ports/{named}")).await;
    assert_eq!(port.data()["device_id"], json!(null));
    let no_taps = || async { (!cloud.has_taps()).then_some(()) };
    if let Err(error) = eventually("no tap is left", SOON, no_taps).await {
        cloud.fail(&anyhow::anyhow!(
            "{error}: {}",
            cloud.net.hosts[0].everything()
        ));
    }
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_reached_by_each_of_its_interfaces() {
    let test = "plasmavmc-agent::a_guest_is_reached_by_each_of_its_interfaces";
    let Some(cloud) = Cloud::or_skip(test, "10.0.1.1").await else {
        return;
    };
    let (vpc, first) = cloud.network().await;
    let second = json!({ "name": "more", "vpc_id": vpc, "cidr_block": "10.0.2.0/24" });
    let second = cloud.networks.post("/api/v1/subnets", second).await.id();
    let mut asking = Vec::new();
    for subnet in [&first, &second] {
        let asks = json!({ "subnet_id": subnet, "kind": "service", "host_id": "here" });
        asking.push(cloud.port(asks).await);
    }
    let body = json!({
        "name": "web", "org_id": "acme", "project_id": "shop", "vcpus": 1, "memory_mib": 128, "start": true,
        "networks": [{ "subnet_id": first }, { "subnet_id": second }],
    });
    let vm = cloud.compute.post(VMS, body).await.id();
    let known = cloud.until(&vm, "given its addresses", |vm| {
        !vm["networks"][1]["ip_address"].is_null()
    });
    let known = known.await;
    for (number, asks) in asking.iter().enumerate() {
        let at = known["networks"][number]["ip_address"].as_str();
        let at: Ipv4Addr = at.unwrap().parse().unwrap();
        cloud
            .until_said(&vm, &format!("PHOTON-GUEST-IP {at}/24"), 1)
            .await;
        cloud.until_answers(asks, at).await;
    }
    cloud.ask(&vm, "stop", json!({ "force": true })).await;
    cloud.until_state(&vm, "Stopped").await;
    cloud.stop().await;
}
