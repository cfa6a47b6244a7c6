//! The local socket: guests plugged, orphans decided about, who may ask, and what a restart keeps.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::fd::AsRawFd as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use photon_proto::photon::host::v1::{
    AdoptRequest, CheckRequest, ListOrphansRequest, PlugRequest, PlugResponse, PortStartedRequest,
    PurgeRequest, RegisterMetadataRequest, StatusRequest, UnplugRequest,
    orphans_client::OrphansClient, ports_client::PortsClient,
};
use photon_testkit::{Seed, eventually, poll::eventually_true};
use prismnet_agent::{
    kernel::Namespaces,
    local::{
        ask::{Decided, decide},
        verdicts::Verdict,
    },
};
use prismnet_model::{ObservedPort, Port, PortId, PortKind, PortState, device};
use rand::Rng as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    AGENT,
    lab::{Host, Lab, SOON, command, ping},
    samples,
    tenant::Tenant,
};

async fn channel(host: &Host) -> Channel {
    let socket = host.config.socket.display().to_string();
    let connect = || async {
        let endpoint = Endpoint::from_shared(format!("unix://{socket}")).unwrap();
        endpoint.connect().await.ok()
    };
    eventually("the agent serves its socket", SOON, connect)
        .await
        .unwrap()
}

async fn ports(host: &Host) -> PortsClient<Channel> {
    PortsClient::new(channel(host).await)
}

fn within<T>(time: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}

fn plug(port: PortId) -> PlugRequest {
    PlugRequest {
        port_id: port.to_string(),
        ..PlugRequest::default()
    }
}

async fn plugged(host: &Host, request: PlugRequest) -> PlugResponse {
    let answer = ports(host).await.plug(within(SOON, request)).await;
    answer
        .unwrap_or_else(|error| panic!("{error}: {}", host.everything()))
        .into_inner()
}

/// What a hypervisor does with a tap: somebody who has it open by its name.
struct FakeVm(Child);

impl FakeVm {
    /// In the host's namespace, where the tap is.
    fn start(lab: &Lab, tap: &str) -> Self {
        // The ioctl that opens a tap has no safe form in Rust; it is TUNSETIFF with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR.
        const OPEN: &str = "
import fcntl, os, struct, sys
tun = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', sys.argv[1].encode(), 0x5002))
print('open', flush=True)
sys.stdin.read()
";
        let mut child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", lab.net.namespace(0)))
            .args(["python3", "-c", OPEN, tap])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        child.stdout.take().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"open\n");
        Self(child)
    }
}

impl Drop for FakeVm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_plugged_started_and_started_again() {
    let Some(mut lab) = Lab::or_skip(
        "prismnet-agent::a_guest_is_plugged_started_and_started_again",
        1,
    )
    .await
    else {
        return;
    };
    let tenant = Tenant::put(&lab, 5001).await;
    let guest = tenant.port_of(&lab, "10.0.1.2", PortKind::Guest).await;
    let tap = device::tap(guest.id);
    let outside = |lab: &Lab| {
        let output = lab.net.run(0, &["ip", "-o", "-d", "link"]).unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines()
            .find(|line| line.contains(&tap))
            .map(str::to_owned)
    };
    let inside = |lab: &Lab| {
        let said = lab.hosts[0].run(&tenant.namespace(), &["ip", "-o", "-d", "link"]);
        said.lines()
            .find(|line| line.contains(&tap))
            .map(str::to_owned)
    };

    for _ in 0..2 {
        let answer = plugged(&lab.hosts[0], plug(guest.id)).await;
        assert_eq!(answer.device, tap);
        assert_eq!(answer.mac_address, guest.mac_address.to_string());
        assert_eq!(
            (&*answer.ip_address, answer.prefix_length),
            ("10.0.1.2", 24)
        );
        assert_eq!((&*answer.gateway, answer.mtu), ("10.0.1.1", 1450));
        assert_eq!(answer.dns, ["192.0.2.53"]);
    }
    let made = outside(&lab).expect("the tap");
    // Only root opens it, and nothing of it is up here.
    assert!(
        made.contains("mtu 1450") && made.contains("user root") && made.contains("state DOWN"),
        "{made}"
    );
    assert!(
        made.contains("type tap") && made.contains(&guest.id.to_string()),
        "{made}"
    );
    // Its rules are there before it.
    let rules = lab.hosts[0].run(&tenant.namespace(), &["nft", "list", "ruleset"]);
    assert!(rules.contains(&tap), "{rules}");

    // Nobody has opened it.
    let started = || PortStartedRequest {
        port_id: guest.id.to_string(),
    };
    let early = ports(&lab.hosts[0])
        .await
        .port_started(within(Duration::from_millis(500), started()))
        .await;
    assert_eq!(early.unwrap_err().code(), Code::FailedPrecondition);

    let vm = FakeVm::start(&lab, &tap);
    for _ in 0..2 {
        ports(&lab.hosts[0])
            .await
            .port_started(within(SOON, started()))
            .await
            .unwrap();
        let there = inside(&lab).expect("the tap");
        assert!(
            there.contains(&format!("master {}", device::bridge(tenant.subnet.vni))),
            "{there}"
        );
        assert_eq!(outside(&lab), None);
        // While somebody has it open, it stays where it is.
        plugged(&lab.hosts[0], plug(guest.id)).await;
    }

    // Another agent leaves it alone.
    let index = |line: &str| line.split(':').next().unwrap().to_owned();
    let before = index(&inside(&lab).unwrap());
    lab.hosts[0].stop();
    lab.hosts[0].start();
    ports(&lab.hosts[0])
        .await
        .port_started(within(SOON, started()))
        .await
        .unwrap();
    assert_eq!(index(&inside(&lab).unwrap()), before);

    // The guest ends and is started again: the tap is where it can be opened.
    drop(vm);
    plugged(&lab.hosts[0], plug(guest.id)).await;
    assert!(outside(&lab).is_some(), "{}", lab.hosts[0].everything());
    assert_eq!(inside(&lab), None);
    // Nobody says that it started: it is taken in nevertheless.
    let _vm = FakeVm::start(&lab, &tap);
    eventually_true("it is taken in", SOON, || async { inside(&lab).is_some() })
        .await
        .unwrap();

    // Unplugged, it is gone; again, too.
    for _ in 0..2 {
        let unplug = UnplugRequest {
            port_id: guest.id.to_string(),
            ..UnplugRequest::default()
        };
        ports(&lab.hosts[0]).await.unplug(unplug).await.unwrap();
        assert_eq!((inside(&lab), outside(&lab)), (None, None));
    }
    // One that was never opened goes with its port.
    plugged(&lab.hosts[0], plug(guest.id)).await;
    lab.delete_port(&guest).await;
    eventually_true("the tap is gone", SOON, || async {
        outside(&lab).is_none()
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_plugged_is_told() {
    let Some(lab) = Lab::or_skip("prismnet-agent::what_cannot_be_plugged_is_told", 1).await else {
        return;
    };
    let host = &lab.hosts[0];
    let tenant = Tenant::put(&lab, 5001).await;
    let pod = tenant.port_of(&lab, "10.0.1.2", PortKind::Pod).await;
    let service = tenant.port(&lab, "10.0.1.3").await;
    let unknown = PortId::generate();
    lab.until_active(&service).await;
    let fails = async |request: PlugRequest| -> Status {
        let asked = ports(host)
            .await
            .plug(within(Duration::from_millis(700), request))
            .await;
        asked.unwrap_err()
    };
    let into = |namespace: &str, interface: &str| PlugRequest {
        network_namespace: namespace.to_owned(),
        interface: interface.to_owned(),
        ..plug(pod.id)
    };
    for (what, request, code) in [
        ("no id", PlugRequest::default(), Code::InvalidArgument),
        (
            "another's id",
            PlugRequest {
                port_id: tenant.vpc.id.to_string(),
                ..PlugRequest::default()
            },
            Code::InvalidArgument,
        ),
        ("nobody's", plug(unknown), Code::NotFound),
        (
            "a pod without a namespace",
            plug(pod.id),
            Code::InvalidArgument,
        ),
        (
            "a name that is a path",
            into("/proc/self/ns/net", "../a"),
            Code::InvalidArgument,
        ),
        (
            "the loopback",
            into("/proc/self/ns/net", "lo"),
            Code::InvalidArgument,
        ),
        (
            "a relative path",
            into("netns", ""),
            Code::FailedPrecondition,
        ),
        ("a newline", into("/a\nb", ""), Code::InvalidArgument),
        (
            "a long path",
            into(&"/a".repeat(3000), ""),
            Code::InvalidArgument,
        ),
        (
            "a service in a namespace",
            PlugRequest {
                network_namespace: "/proc/self/ns/net".to_owned(),
                ..plug(service.id)
            },
            Code::FailedPrecondition,
        ),
    ] {
        let status = fails(request).await;
        assert_eq!(status.code(), code, "{what}: {status}");
        assert!(!status.message().is_empty(), "{what}");
    }
    // A service's port is told where it is.
    let answer = plugged(host, plug(service.id)).await;
    let path = host.namespaces.path(&device::port_namespace(service.id));
    assert_eq!(
        (answer.network_namespace, &*answer.interface),
        (path.display().to_string(), "eth0")
    );
    let status = ports(host)
        .await
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(status.ready && status.reason.is_empty(), "{status:?}");
    assert_eq!((&*status.host, status.ports, status.active), ("here", 2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_root_and_those_of_the_configuration_may_ask() {
    let Some(mut lab) = Lab::or_skip(
        "prismnet-agent::only_root_and_those_of_the_configuration_may_ask",
        1,
    )
    .await
    else {
        return;
    };
    drop(channel(&lab.hosts[0]).await);
    let socket = lab.hosts[0].config.socket.clone();
    // So that not the way there is what keeps them out.
    for directory in socket.ancestors().skip(1).take(2) {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mode = || fs::metadata(&socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    assert_eq!(status_as(4711, &socket), "refused by the kernel");
    assert_eq!(status_as(0, &socket), "ok");

    lab.hosts[0].stop();
    lab.hosts[0].config.socket_uids = vec![4711];
    lab.hosts[0].start();
    drop(channel(&lab.hosts[0]).await);
    assert_eq!(mode(), 0o666);
    assert_eq!(status_as(4711, &socket), "ok");
    assert_eq!(status_as(0, &socket), "ok");
    assert_eq!(status_as(4712, &socket), "refused by the agent");
}

/// `Ports/Status`, asked by another user: with curl, which speaks HTTP/2 over a unix socket.
fn status_as(uid: u32, socket: &Path) -> String {
    // An answer that does not wait for the request's end may be followed by a reset, which this curl sometimes reports instead.
    let mut tries = std::iter::repeat_with(|| try_status_as(uid, socket)).take(20);
    tries.find_map(|word| word).expect("an answer")
}

fn try_status_as(uid: u32, socket: &Path) -> Option<String> {
    let mut child = Command::new("setpriv")
        .args([
            &format!("--reuid={uid}"),
            &format!("--regid={uid}"),
            "--clear-groups",
        ])
        .args([
            "curl",
            "-sS",
            "--max-time",
            "20",
            "--http2-prior-knowledge",
            "--unix-socket",
        ])
        .arg(socket)
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
        .args(["--data-binary", "@-", "-D", "-", "-o", "/dev/null"])
        .arg("http://localhost/photon.host.v1.Ports/Status")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A message of no bytes.
    child.stdin.take().unwrap().write_all(&[0; 5]).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).to_lowercase();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let status = said
        .lines()
        .find_map(|line| line.strip_prefix("grpc-status: "));
    match (output.status.code(), status.map(str::trim)) {
        (Some(0), Some("0")) => Some("ok".to_owned()),
        (Some(0), Some("7")) => Some("refused by the agent".to_owned()),
        // "Couldn't connect to server."
        (Some(7), None) => Some("refused by the kernel".to_owned()),
        // "Stream error in the HTTP/2 framing layer."
        (Some(92), _) => None,
        other => panic!("{other:?}: {said}{complaint}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_decides_about_what_nobody_knows() {
    let Some(mut lab) = Lab::or_skip(
        "prismnet-agent::a_person_decides_about_what_nobody_knows",
        1,
    )
    .await
    else {
        return;
    };
    let program = lab.program(AGENT, 0).await;
    let mut agent = program.start();
    let tenant = Tenant::put(&lab, 5001).await;
    let known = tenant.port(&lab, "10.0.1.2").await;
    let kept = tenant.port(&lab, "10.0.1.3").await;
    let gone = tenant.port(&lab, "10.0.1.4").await;
    let third = tenant.port(&lab, "10.0.1.5").await;
    for port in [&known, &kept, &gone, &third] {
        lab.until_active(port).await;
    }
    // The records are lost; nobody has ordered anything away.
    for port in [&kept, &gone, &third] {
        lab.remove::<Port>(&port.key()).await;
    }
    let channel = channel(&lab.hosts[0]).await;
    let listed = async || -> Vec<String> {
        let answer = OrphansClient::new(channel.clone())
            .list(ListOrphansRequest {})
            .await
            .unwrap();
        let mut ids: Vec<String> = answer
            .into_inner()
            .orphans
            .into_iter()
            .map(|one| one.port_id)
            .collect();
        ids.sort();
        ids
    };
    let sorted = |ports: &[&Port]| {
        let mut ids: Vec<String> = ports.iter().map(|port| port.id.to_string()).collect();
        ids.sort();
        ids
    };
    let all = sorted(&[&kept, &gone, &third]);
    eventually_true("they are listed", SOON, || async { listed().await == all })
        .await
        .unwrap();

    // What is known is not to be decided about, nor what is not here.
    for (port, code) in [
        (known.id, Code::FailedPrecondition),
        (PortId::generate(), Code::NotFound),
    ] {
        let port_id = port.to_string();
        let mut orphans = OrphansClient::new(channel.clone());
        let purged = orphans
            .purge(PurgeRequest {
                port_id: port_id.clone(),
            })
            .await
            .unwrap_err();
        let adopted = orphans.adopt(AdoptRequest { port_id }).await.unwrap_err();
        assert_eq!((purged.code(), adopted.code()), (code, code));
    }

    // Adopted: it works as before and is no longer listed, also after a restart.
    let host = &lab.hosts[0];
    for _ in 0..2 {
        assert!(
            program
                .say(&["adopt", &kept.id.to_string()])
                .contains("stays")
        );
        assert_eq!(listed().await, sorted(&[&gone, &third]));
    }
    host.until_pings(kept.id, gone.ip_address).await;

    // Purged: it alone is gone, with its rules.
    assert!(
        program
            .say(&["purge", &gone.id.to_string()])
            .contains("is gone")
    );
    assert_eq!(listed().await, sorted(&[&third]));
    let short = device::short(gone.id);
    let whole = || async {
        let rules = host.run(&tenant.namespace(), &["nft", "list", "ruleset"]);
        let devices = host.run(&tenant.namespace(), &["ip", "-o", "link"]);
        !rules.contains(&short)
            && !devices.contains(&short)
            && program.say(&["--dry-run"]).is_empty()
    };
    eventually_true("nothing is left of it", SOON, whole)
        .await
        .unwrap();
    let namespaces = host.namespaces.list().unwrap();
    assert!(
        !namespaces.contains(&device::port_namespace(gone.id)),
        "{namespaces:?}"
    );
    for port in [&known, &kept, &third] {
        assert!(
            namespaces.contains(&device::port_namespace(port.id)),
            "{namespaces:?}"
        );
    }
    host.until_pings(kept.id, third.ip_address).await;
    host.until_pings(third.id, known.ip_address).await;

    agent.kill().unwrap();
    let mut agent = program.start();
    let status = || -> serde_json::Value {
        serde_json::from_str(&program.say(&["status", "--json"])).unwrap()
    };
    let status = status();
    let vpc = &status["vpcs"][0];
    assert_eq!(vpc["adopted"][0]["port"], kept.id.to_string());
    assert_eq!(vpc["orphans"].as_array().unwrap().len(), 1, "{vpc}");
    assert_eq!(vpc["orphans"][0]["port"], third.id.to_string());
    host.until_pings(kept.id, third.ip_address).await;

    // The record is back: it counts, and with it what is ordered later.
    lab.put_port(&kept).await;
    lab.until_active(&kept).await;
    lab.delete_port(&kept).await;
    let left = || async {
        !host
            .namespaces
            .list()
            .unwrap()
            .contains(&device::port_namespace(kept.id))
    };
    eventually_true("the order is followed", SOON, left)
        .await
        .unwrap();
    assert!(agent.terminate(SOON).await.unwrap().success());
}

/// A namespace as a container runtime makes it; gone with the test.
struct Container(Namespaces);

impl Container {
    fn make(host: &Host) -> Self {
        let namespaces =
            Namespaces::new(host.config.namespace_directory.with_file_name("containers"));
        namespaces.prepare().unwrap();
        let make = || namespaces.make("one").unwrap();
        std::thread::scope(|scope| scope.spawn(make).join().unwrap());
        Self(namespaces)
    }

    fn path(&self) -> String {
        self.0.path("one").display().to_string()
    }

    fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let work = || {
                self.0.enter("one").unwrap();
                what()
            };
            scope.spawn(work).join().unwrap()
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.remove("one");
        let directory = self.0.path("");
        let _ = nix::mount::umount2(&directory, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_plugs_it_plugs_again() {
    const TEST: &str = "prismnet-agent::killed_while_it_plugs_it_plugs_again";
    let Some(mut lab) = Lab::or_skip(TEST, 1).await else {
        return;
    };
    let mut rng = Seed::for_test(TEST).rng(0);
    let program = lab.program(AGENT, 0).await;
    let container = Container::make(&lab.hosts[0]);
    let tenant = Tenant::put(&lab, 5001).await;
    let other = tenant.port(&lab, "10.0.1.2").await;
    let mut agent = program.start();
    lab.until_active(&other).await;
    let pods: Vec<Port> = {
        let mut pods = Vec::new();
        for round in 0..8u8 {
            pods.push(
                tenant
                    .port_of(&lab, &format!("10.0.1.{}", 10 + round), PortKind::Pod)
                    .await,
            );
        }
        pods
    };
    let into = |pod: &Port, at: usize| PlugRequest {
        network_namespace: container.path(),
        interface: format!("eth{at}"),
        holder: format!("sandbox-{at}"),
        ..plug(pod.id)
    };
    for (at, pod) in pods.iter().enumerate() {
        let mut client = ports(&lab.hosts[0]).await;
        let request = within(SOON, into(pod, at));
        let asked = tokio::spawn(async move { client.plug(request).await.map(drop) });
        // Somewhere between the question and the answer.
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..60))).await;
        agent.kill().unwrap();
        let _ = asked.await;
        agent = program.start();
        // The runtime asks again, and gets it.
        plugged(&lab.hosts[0], into(pod, at)).await;
        let check = CheckRequest {
            port_id: pod.id.to_string(),
            network_namespace: container.path(),
            interface: format!("eth{at}"),
        };
        let whole = async || {
            let answer = ports(&lab.hosts[0])
                .await
                .check(within(SOON, check.clone()))
                .await;
            answer.unwrap().into_inner().problems
        };
        // Every pod here leads to the same subnet: only one of them has the routes.
        let mine = |problems: Vec<String>| {
            problems
                .into_iter()
                .filter(|one| !one.contains("route"))
                .collect::<Vec<_>>()
        };
        eventually_true("it is as it should be", SOON, || async {
            mine(whole().await).is_empty()
        })
        .await
        .unwrap();
    }
    let links = container.inside(|| command(&["ip", "-o", "link"]));
    assert_eq!(
        links
            .lines()
            .filter(|line| line.contains("eth"))
            .filter(|line| line.contains("state UP"))
            .count(),
        pods.len(),
        "{links}"
    );
    let reaches = || async { container.inside(|| ping(other.ip_address)) };
    eventually_true("it reaches another port", SOON, reaches)
        .await
        .unwrap();
    assert_eq!(program.say(&["--dry-run"]), "");
    agent.terminate(SOON).await.unwrap();
}

/// Who answers for ports: says who asked and for what.
fn answer_at(path: &Path) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = vec![0; 4096];
                let mut length = 0;
                while !asked[..length].ends_with(b"\r\n\r\n") {
                    match stream.read(&mut asked[length..]).await {
                        Ok(read) if read > 0 => length += read,
                        _ => return,
                    }
                }
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/x-asked\r\nset-cookie: no\r\nconnection: close\r\n";
                let answer = format!("{head}content-length: {}\r\n\r\n{asked}", asked.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    })
}

/// An HTTP request in the namespace of a port: its status and what came back, headers first.
fn http(host: &Host, port: PortId, words: &[&str]) -> (u16, String) {
    let mut all = vec!["curl", "-sS", "-i", "--max-time", "10"];
    all.extend(words);
    let said = host.in_port(port, || command(&all));
    let status = said.split(' ').nth(1).unwrap().parse().unwrap();
    (status, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_learns_about_itself_and_only_itself() {
    let Some(mut lab) = Lab::or_skip(
        "prismnet-agent::a_port_learns_about_itself_and_only_itself",
        1,
    )
    .await
    else {
        return;
    };
    const TOKEN: &str = "http://169.254.169.254/latest/api/token";
    const NAME: &str = "http://169.254.169.254/latest/meta-data/hostname?a=b";
    const HOLDS: &str = "X-aws-ec2-metadata-token-ttl-seconds: 600";
    let tenant = Tenant::put(&lab, 5001).await;
    let same = Tenant::put(&lab, 5002).await;
    let a = tenant.port(&lab, "10.0.1.2").await;
    let b = tenant.port(&lab, "10.0.1.3").await;
    // The same address in another VPC is somebody else.
    let twin = same.port(&lab, "10.0.1.2").await;
    for port in [&a, &b, &twin] {
        lab.until_active(port).await;
    }
    let token = |lab: &Lab, port: PortId| {
        let (status, said) = http(&lab.hosts[0], port, &["-X", "PUT", "-H", HOLDS, TOKEN]);
        assert_eq!(status, 200, "{said}");
        said.rsplit("\r\n\r\n").next().unwrap().to_owned()
    };
    let get = |lab: &Lab, port: PortId, token: &str| {
        http(
            &lab.hosts[0],
            port,
            &["-H", &format!("X-aws-ec2-metadata-token: {token}"), NAME],
        )
    };
    let tokens = [&a, &b, &twin].map(|port| token(&lab, port.id));

    // Nobody answers for it yet.
    assert_eq!(get(&lab, a.id, &tokens[0]).0, 404);
    let socket = lab.hosts[0].config.socket.with_file_name("metadata.sock");
    let register = async |lab: &Lab, port: PortId, socket: &Path| {
        let request = RegisterMetadataRequest {
            port_id: port.to_string(),
            socket: socket.display().to_string(),
        };
        ports(&lab.hosts[0])
            .await
            .register_metadata(within(SOON, request))
            .await
            .map(drop)
    };
    register(&lab, a.id, &socket).await.unwrap();
    register(&lab, twin.id, &socket).await.unwrap();
    let file = socket.with_extension("txt");
    fs::write(&file, "").unwrap();
    let refused = register(&lab, a.id, &file).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert_eq!(
        register(&lab, a.id, Path::new("metadata.sock"))
            .await
            .unwrap_err()
            .code(),
        Code::InvalidArgument
    );
    assert_eq!(get(&lab, a.id, &tokens[0]).0, 503);
    let answers = answer_at(&socket);

    let (status, said) = get(&lab, a.id, &tokens[0]);
    assert_eq!(status, 200, "{said}");
    assert!(
        said.contains("GET /latest/meta-data/hostname?a=b HTTP/1.1"),
        "{said}"
    );
    assert!(said.contains(&format!("x-photon-port: {}", a.id)), "{said}");
    assert!(
        said.contains("text/x-asked") && !said.contains("set-cookie"),
        "{said}"
    );
    assert!(!said.contains(&tokens[0]), "the token goes no further");
    let (_, said) = get(&lab, twin.id, &tokens[2]);
    assert!(
        said.contains(&format!("x-photon-port: {}", twin.id)),
        "{said}"
    );
    // Whatever it says of itself.
    let lie = format!("x-photon-port: {}", b.id);
    let with = format!("X-photon-metadata-token: {}", tokens[0]);
    let (_, said) = http(&lab.hosts[0], a.id, &["-H", &lie, "-H", &with, NAME]);
    assert!(
        said.contains(&a.id.to_string()) && !said.contains(&b.id.to_string()),
        "{said}"
    );

    // Without a token, or with somebody else's, nothing is said.
    let host = &lab.hosts[0];
    let (stolen, rubbish) = (
        format!("X-aws-ec2-metadata-token: {}", tokens[2]),
        "X-aws-ec2-metadata-token: x",
    );
    for (words, status) in [
        (vec![NAME], 401),
        (vec!["-H", rubbish, NAME], 401),
        (vec!["-H", &stolen, NAME], 401),
        (vec!["-X", "PUT", TOKEN], 400),
        (
            vec![
                "-X",
                "PUT",
                "-H",
                "X-aws-ec2-metadata-token-ttl-seconds: 0",
                TOKEN,
            ],
            400,
        ),
        (
            vec![
                "-X",
                "PUT",
                "-H",
                "X-aws-ec2-metadata-token-ttl-seconds: 21601",
                TOKEN,
            ],
            400,
        ),
        (
            vec![
                "-X",
                "PUT",
                "-H",
                HOLDS,
                "-H",
                "X-Forwarded-For: 10.0.1.2",
                TOKEN,
            ],
            403,
        ),
        (vec![TOKEN], 405),
        (vec!["-X", "DELETE", "-H", &with, NAME], 405),
        (vec!["-X", "POST", "-d", "x", "-H", &with, NAME], 405),
    ] {
        let (found, said) = http(host, a.id, &words);
        assert_eq!(found, status, "{words:?}: {said}");
    }

    // No router passes it on: what comes back has one hop to go.
    assert_eq!(host.in_port(a.id, ttls), BTreeSet::from([1]));
    // Other doors of the gateway are shut.
    let shut = host.in_port(a.id, || {
        let words = ["-sS", "--max-time", "1", "http://169.254.169.254:8080/"];
        Command::new("curl")
            .args(words)
            .output()
            .unwrap()
            .status
            .code()
    });
    assert_eq!(shut, Some(28), "no answer at all");

    // The address is put back, and a token outlives the agent.
    host.run(&tenant.namespace(), &["ip", "addr", "flush", "dev", "lo"]);
    let again = || async { host.in_port(a.id, connects).then_some(()) };
    eventually("the address is back", SOON, again)
        .await
        .unwrap();
    lab.hosts[0].stop();
    lab.hosts[0].start();
    let host = &lab.hosts[0];
    let again = || async { host.in_port(a.id, connects).then_some(()) };
    eventually("it answers again", SOON, again).await.unwrap();
    assert_eq!(get(&lab, a.id, &tokens[0]).0, 200);
    // Nobody answers for it any more.
    register(&lab, a.id, Path::new("")).await.unwrap();
    assert_eq!(get(&lab, a.id, &tokens[0]).0, 404);
    answers.abort();
}

fn connects() -> bool {
    let to = "169.254.169.254:80".parse().unwrap();
    TcpStream::connect_timeout(&to, Duration::from_millis(500)).is_ok()
}

/// The TTLs of packets that come back from the metadata address, as a raw socket in the calling thread's namespace sees them.
fn ttls() -> BTreeSet<u8> {
    let raw = socket(
        AddressFamily::Inet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::Tcp,
    )
    .unwrap();
    let mut stream = TcpStream::connect("169.254.169.254:80").unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    // Everything up to the end of the connection has arrived by now.
    let mut seen = BTreeSet::new();
    let mut packet = [0; 65_536];
    while let Ok(length) = recv(raw.as_raw_fd(), &mut packet, MsgFlags::empty()) {
        if length > 20 && packet[12..16] == [169, 254, 169, 254] {
            seen.insert(packet[8]);
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphans_address_is_free_when_it_is_purged() {
    let test = "prismnet-agent::an_orphans_address_is_free_when_it_is_purged";
    let Some(lab) = Lab::or_skip(test, 1).await else {
        return;
    };
    let host = &lab.hosts[0];
    let tenant = Tenant::put(&lab, 5001).await;
    let orphan = tenant.port(&lab, "10.0.1.2").await;
    let other = tenant.port(&lab, "10.0.1.3").await;
    for port in [&orphan, &other] {
        lab.until_active(port).await;
    }
    // The store went back, and gave the address out again.
    lab.remove::<Port>(&orphan.key()).await;
    let mut next = samples::port(
        &tenant.subnet,
        "10.0.1.2",
        PortKind::Service,
        &[tenant.group.id],
    );
    next.mac_address = prismnet_model::Mac::ours(77);
    lab.put_port(&next).await;
    lab.until(&next, PortState::Error).await;
    let key = prismnet_model::observed::port_key(next.host.as_ref().unwrap(), next.id);
    let told = lab.store.collection::<ObservedPort>().get(&key).await;
    let reason = told.unwrap().unwrap().value.reason;
    assert!(reason.contains(&orphan.id.to_string()), "{reason}");
    let agent = prismnet_model::observed::agent_key(&samples::name("here"));
    let agents = lab.store.collection::<prismnet_model::ObservedAgent>();
    let told = || async {
        let told = agents.get(&agent).await.unwrap()?.value.orphans;
        let ours = told.into_iter().find(|one| one.port == orphan.id)?;
        Some((ours.address, ours.subnet))
    };
    assert_eq!(
        eventually("the store is told", SOON, told).await.unwrap(),
        (Some(orphan.ip_address), Some(tenant.subnet.id))
    );
    // What runs, runs.
    assert!(host.pings(orphan.id, other.ip_address));
    assert!(host.pings(other.id, orphan.ip_address));
    let refused = ports(host).await.plug(within(SOON, plug(next.id))).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");

    decide(
        &host.config.socket,
        Decided::Port(orphan.id),
        Verdict::Purged,
    )
    .await
    .unwrap();
    lab.until_active(&next).await;
    host.until_pings(next.id, other.ip_address).await;
    host.until_pings(other.id, next.ip_address).await;
}
