//! The program on a host of its own: its own directory, its own libvirt within it, and a store. Guests are real.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use photon_core::Name;
use photon_store::{Expected, Options, Record, Store};
use photon_testkit::{
    InProcessChainfire, eventually, in_process_chainfire,
    process::{Process, Spec},
    scratch::Scratch,
    skip,
};
use plasmavmc_model::{
    Boot, DesiredBlob, DesiredVm, GoneDone, GoneOrder, ObservedAgent, ObservedState, ObservedVm,
    Power, VmId, desired, observed,
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixStream, unix::OwnedWriteHalf},
    task::JoinHandle,
};

/// Guests are emulated, on a machine that others use, too.
pub(crate) const SOON: Duration = Duration::from_secs(100);

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_plasmavmc-agent");
const BUILDERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/guest");

pub(crate) struct Lab {
    pub(crate) store: Store,
    pub(crate) chainfire: InProcessChainfire,
    pub(crate) state: PathBuf,
    pub(crate) host: Name,
    agent: Option<Process>,
    directory: Scratch,
}

impl Lab {
    /// With photon-mini on it and the agent running, or `None` after saying that it is skipped.
    pub(crate) async fn or_skip(test: &str) -> Option<Self> {
        let name = format!("plasmavmc-agent::{test}");
        if let Some(reason) = missing() {
            skip::report(&name, &reason);
            return None;
        }
        let mini = match photon_mini() {
            Ok(mini) => mini,
            Err(reason) => {
                skip::report(&name, &format!("photon-mini cannot be built: {reason}"));
                return None;
            }
        };
        let chainfire = Box::pin(in_process_chainfire()).await.unwrap();
        let store = Store::connect(Options::new([chainfire.endpoint()]))
            .await
            .unwrap();
        let directory = Scratch::new("vm").unwrap();
        let mut lab = Self {
            store,
            state: directory.path().join("state"),
            host: Name::new("here").unwrap(),
            chainfire,
            agent: None,
            directory,
        };
        lab.configure();
        let added = lab.command(&["image", "add", &mini.display().to_string()]);
        assert!(added.status.success(), "{}", said(&added));
        lab.start();
        Some(lab)
    }

    fn configure(&self) {
        // Whatever happens sooner happens because somebody told. KVM has tests of its own: a machine on which it hangs costs 15 s.
        let text = format!(
            "host = \"{}\"\nstate_directory = {:?}\nresync_seconds = 3600\n\
             [store]\nendpoints = [\"{}\"]\n[hypervisor]\nkvm = false\n\
             [door]\nlisten = \"127.0.0.1:0\"\n\
             [[pools]]\nname = \"fast\"\npath = {:?}\n\
             [log]\nlevel = \"info,plasmavmc_agent=debug\"\n",
            self.host,
            self.state,
            self.chainfire.endpoint(),
            self.pool(),
        );
        fs::create_dir_all(self.pool()).unwrap();
        fs::write(self.file(), text).unwrap();
    }

    /// Where the pool `fast` is.
    pub(crate) fn pool(&self) -> PathBuf {
        self.directory.path().join("pool")
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("agent.toml")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("agent.log")
    }

    pub(crate) fn start(&mut self) {
        let spec = Spec::new("plasmavmc-agent", AGENT, self.log());
        let spec = spec.argument("--config").argument(self.file());
        self.agent = Some(Process::start(spec).unwrap());
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
        }
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            assert!(agent.terminate(SOON).await.unwrap().success());
        }
    }

    /// The program with another command, to its end.
    pub(crate) fn command(&self, words: &[&str]) -> Output {
        let mut command = Command::new(AGENT);
        let command = command.arg("--config").arg(self.file()).args(words);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What the agent says of itself.
    pub(crate) async fn told_agent(&self) -> ObservedAgent {
        let all = self.store.collection::<ObservedAgent>();
        let key = observed::agent_key(&self.host);
        let told = || async { all.get(&key).await.unwrap() };
        let told = eventually("the agent tells of itself", SOON, told).await;
        told.unwrap_or_else(|error| self.fail(&error)).value
    }

    /// A VM that boots photon-mini, with more words on its command line.
    pub(crate) async fn vm(&self, words: &str) -> DesiredVm {
        let agent = self.told_agent().await;
        let image = agent.images.first().expect("photon-mini");
        DesiredVm {
            snapshots: Vec::new(),
            revert: None,
            id: VmId::generate(),
            // None of it may matter.
            name: "<name>'\"&../../etc; $(reboot)\u{7f}".to_owned(),
            org: Name::new("acme").unwrap(),
            project: Name::new("shop").unwrap(),
            generation: 1,
            power: Power::Running,
            boot: 1,
            grace_seconds: 60,
            vcpus: 1,
            memory_mib: 128,
            hardware: agent.hardware.clone(),
            hypervisor: None,
            boots_from: Boot::Kernel {
                kernel: image.kernel,
                initramfs: image.initramfs,
                cmdline: format!("{} {words}", image.cmdline),
            },
            disks: Vec::new(),
            ports: Vec::new(),
            guest: None,
        }
    }

    /// Tells the host, as the controller does.
    pub(crate) async fn want(&self, vm: &DesiredVm) {
        self.put(&desired::vm_key(&self.host, vm.id), vm.clone())
            .await;
    }

    /// Tells it of content that it is to have.
    pub(crate) async fn want_blob(&self, blob: &DesiredBlob) {
        self.put(&desired::blob_key(&self.host, blob.digest), blob.clone())
            .await;
    }

    pub(crate) async fn put<T: Record>(&self, key: &str, value: T) {
        let all = self.store.collection::<T>();
        match all.get(key).await.unwrap() {
            Some(mut stored) => {
                stored.value = value;
                all.replace(stored).await.unwrap();
            }
            None => drop(all.create(key, value).await.unwrap()),
        }
    }

    pub(crate) async fn remove<T: Record>(&self, key: &str) {
        let all = self.store.collection::<T>();
        all.delete(key, Expected::Any).await.unwrap();
    }

    /// Orders it away, as the controller does.
    pub(crate) async fn order_away(&self, vm: VmId) {
        let order = GoneOrder {
            id: vm,
            at: jiff::Timestamp::now(),
        };
        self.put(&desired::gone_key(&self.host, vm), order).await;
        let key = desired::vm_key(&self.host, vm);
        let all = self.store.collection::<DesiredVm>();
        if all.get(&key).await.unwrap().is_some() {
            self.remove::<DesiredVm>(&key).await;
        }
    }

    pub(crate) async fn told(&self, vm: VmId) -> Option<ObservedVm> {
        let all = self.store.collection::<ObservedVm>();
        let key = observed::vm_key(&self.host, vm);
        all.get(&key).await.unwrap().map(|stored| stored.value)
    }

    pub(crate) async fn until(
        &self,
        what: &str,
        vm: VmId,
        is: impl Fn(&ObservedVm) -> bool,
    ) -> ObservedVm {
        let told = || async { self.told(vm).await.filter(&is) };
        match eventually(what, SOON, told).await {
            Ok(told) => told,
            Err(error) => {
                let told = self.told(vm).await;
                self.fail(&anyhow::anyhow!("{error}; told: {told:?}"))
            }
        }
    }

    pub(crate) async fn until_state(&self, vm: &DesiredVm, state: ObservedState) -> ObservedVm {
        let is = |told: &ObservedVm| told.state == state && told.generation == vm.generation;
        self.until(&format!("it is {state:?}"), vm.id, is).await
    }

    pub(crate) async fn until_gone(&self, vm: VmId) {
        let all = self.store.collection::<GoneDone>();
        let key = observed::gone_key(&self.host, vm);
        let done = || async { all.get(&key).await.unwrap() };
        if let Err(error) = eventually("nothing of it is left", SOON, done).await {
            self.fail(&error);
        }
        assert_eq!(self.told(vm).await, None);
    }

    pub(crate) fn console(&self, vm: VmId) -> String {
        let path = self
            .state
            .join("vm")
            .join(vm.to_string())
            .join("console.log");
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    /// Somebody who types to its console.
    pub(crate) async fn typist(&self, vm: VmId) -> Typist {
        let socket = self.state.join("vm").join(vm.to_string()).join("console");
        let stream = UnixStream::connect(socket).await.unwrap();
        let (mut reading, writing) = stream.into_split();
        // What nobody reads, the guest waits for.
        let reads = async move {
            let mut room = vec![0; 4096];
            while reading.read(&mut room).await.is_ok_and(|read| read > 0) {}
        };
        Typist {
            writing,
            reads: tokio::spawn(reads),
        }
    }

    /// What a guest that counts has counted to, each time.
    pub(crate) fn ticks(&self, vm: VmId) -> Vec<u32> {
        let console = self.console(vm);
        let lines = console.lines().filter(|line| !line.contains('$'));
        let words = lines.filter_map(|line| line.rsplit_once("tick-"));
        words
            .filter_map(|(_, number)| number.trim().parse().ok())
            .collect()
    }

    /// Waits until what it has counted is as it should be.
    pub(crate) async fn until_ticks(
        &self,
        vm: VmId,
        what: &str,
        are: impl Fn(&[u32]) -> bool,
    ) -> Vec<u32> {
        let ticks = || async { Some(self.ticks(vm)).filter(|ticks| are(ticks)) };
        match eventually(what, SOON, ticks).await {
            Ok(ticks) => ticks,
            Err(error) => self.fail(&anyhow::anyhow!("{error}; it said: {}", self.console(vm))),
        }
    }

    /// A file of a VM's.
    pub(crate) fn path(&self, vm: VmId, file: &str) -> PathBuf {
        self.state.join("vm").join(vm.to_string()).join(file)
    }

    /// Waits until the guest has said it so many times.
    pub(crate) async fn until_said(&self, vm: VmId, word: &str, times: usize) {
        let is_said = || async { (self.console(vm).matches(word).count() >= times).then_some(()) };
        let what = format!("the guest says {word} {times} times");
        if let Err(error) = eventually(&what, SOON, is_said).await {
            self.fail(&anyhow::anyhow!("{error}; it said: {}", self.console(vm)));
        }
    }

    /// The processes of this host's machines, by the VM that they say.
    pub(crate) fn machines(&self) -> BTreeMap<Pid, String> {
        machines(self.directory.path())
    }

    /// The one process of a VM.
    pub(crate) fn machine(&self, vm: VmId) -> Pid {
        let name = vm.to_string();
        let all = self.machines();
        let mut of = all.iter().filter(|(_, guest)| **guest == name);
        match (of.next(), of.next()) {
            (Some((pid, _)), None) => *pid,
            found => panic!("{found:?} of {all:?}"),
        }
    }

    pub(crate) fn has_files(&self, vm: VmId) -> bool {
        self.state.join("vm").join(vm.to_string()).exists()
    }

    /// The files by which its guest is told of itself.
    pub(crate) fn seeds(&self, vm: VmId) -> Vec<String> {
        let entries = fs::read_dir(self.state.join("vm").join(vm.to_string())).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("seed-")).collect()
    }

    /// Who may do what with a file of its.
    pub(crate) fn mode(&self, vm: VmId, file: &str) -> u32 {
        let path = self.state.join("vm").join(vm.to_string()).join(file);
        fs::metadata(path).unwrap().permissions().mode()
    }

    /// Whether libvirt keeps anything of it.
    pub(crate) fn is_defined(&self, vm: VmId) -> bool {
        let definition = format!("libvirt/etc/qemu/{vm}.xml");
        self.state.join(definition).exists()
    }

    pub(crate) fn fail(&self, error: &anyhow::Error) -> ! {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(60).collect();
        let log: Vec<&str> = lines.into_iter().rev().collect();
        panic!("{error:#}\n{}\n{}", self.kept(), log.join("\n"));
    }

    /// What libvirt keeps of machines that run, and how much these have run.
    fn kept(&self) -> String {
        let mut kept = String::new();
        for pid in self.machines().into_keys() {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            kept += &format!("process: {stat}\n");
        }
        let run = self.state.join("libvirt/run/qemu");
        for entry in fs::read_dir(run).into_iter().flatten().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let first: Vec<&str> = text.lines().take(12).collect();
            kept += &format!("{}: {}\n", entry.path().display(), first.join("\n"));
        }
        kept
    }
}

/// Somebody who types to a console.
pub(crate) struct Typist {
    writing: OwnedWriteHalf,
    reads: JoinHandle<()>,
}

impl Typist {
    pub(crate) async fn type_in(&mut self, text: &str) {
        self.writing.write_all(text.as_bytes()).await.unwrap();
        self.writing.write_all(b"\r").await.unwrap();
    }

    /// Has the guest count, ten times a second.
    pub(crate) async fn count(&mut self) {
        let count = "i=0; while :; do i=$((i+1)); echo tick-$i; usleep 100000; done &";
        self.type_in(count).await;
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        self.reads.abort();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ = agent.kill();
        }
        // What an agent starts outlives it.
        for pid in self.machines().into_keys() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// The processes of machines whose files are below a directory, by the VM that they say.
pub(crate) fn machines(below: &Path) -> BTreeMap<Pid, String> {
    let root = below.display().to_string();
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<String> = words
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let is_machine = words[0].contains("qemu-system");
        let guest = words.iter().find_map(|word| word.strip_prefix("guest="));
        if is_machine
            && words.iter().any(|word| word.contains(&root))
            && let Some(guest) = guest
        {
            let name = guest.split(',').next().unwrap_or_default();
            all.insert(Pid::from_raw(pid), name.to_owned());
        }
    }
    all
}

pub(crate) fn said(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&said).into_owned()
}

pub(crate) fn missing() -> Option<String> {
    if !skip::is_root() {
        return Some("machines are started as root".to_owned());
    }
    let absent = |program: &&str| {
        let found = Command::new(program).arg("--version").output();
        !found.is_ok_and(|found| found.status.success())
    };
    let absent = ["qemu-system-x86_64", "qemu-img"].into_iter().find(absent);
    absent.map(|program| format!("{program} is not installed"))
}

pub(crate) fn photon_mini() -> Result<PathBuf, String> {
    built("photon-mini")
}

/// An image of ours, built once as long as nothing of its builder changes.
pub(crate) fn built(name: &str) -> Result<PathBuf, String> {
    let builder = Path::new(BUILDERS).join(name);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = cache.or_else(home).ok_or("no directory for caches")?;
    let mut hash = Sha256::new();
    let mut files: Vec<PathBuf> = fs::read_dir(&builder)
        .map_err(|error| error.to_string())?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    for file in files {
        hash.update(fs::read(file).map_err(|error| error.to_string())?);
    }
    let digest: String = hash.finalize()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let built = cache.join(format!("photoncloud/{name}-{digest}"));
    if built.join("manifest.json").exists() {
        return Ok(built);
    }
    let beside = built.with_extension(std::process::id().to_string());
    let output = Command::new(builder.join("build"))
        .arg(&beside)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(said(&output));
    }
    // Another test may have built it meanwhile: the same.
    if fs::rename(&beside, &built).is_err() {
        let _ = fs::remove_dir_all(&beside);
    }
    Ok(built)
}
