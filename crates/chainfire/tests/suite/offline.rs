//! Backup, restore, recovery and checking, with the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    ffi::OsStr,
    os::unix::fs::{MetadataExt as _, lchown},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use etcd_client::{Client, GetOptions, MemberAddOptions, WatchOptions};
use photon_testkit::{
    ChainfireProcess, ChainfireSpec,
    poll::{eventually, eventually_true},
    scratch::Scratch,
    skip,
};

const PATIENCE: Duration = Duration::from_secs(60);
const BUMP: i64 = 1_000_000_000;
const IDENTITY: &str = "/photon/chainfire/public/incarnation";

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_chainfire")
}

/// Runs it to its end. Should it start a node, that has ports of its own and is ended at the deadline.
async fn chainfire<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    let mut command = tokio::process::Command::new(binary());
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    for listener in ["REST", "GRPC", "PEER"] {
        command.env(format!("CHAINFIRE__{listener}__ADDRESS"), "127.0.0.1:0");
    }
    tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("it ends")
        .unwrap()
}

/// Its report; it must succeed.
async fn good<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> String {
    let output = chainfire(args).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Its complaint; it must fail.
async fn bad<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> String {
    let output = chainfire(args).await;
    assert!(
        !output.status.success(),
        "it succeeded: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    String::from_utf8(output.stderr).unwrap()
}

fn words<'a>(line: &'a str, paths: &'a [(&'a str, &'a Path)]) -> Vec<&'a OsStr> {
    line.split(' ')
        .map(|word| match paths.iter().find(|(name, _)| *name == word) {
            Some((_, path)) => path.as_os_str(),
            None => OsStr::new(word),
        })
        .collect()
}

async fn client(node: &ChainfireProcess) -> Client {
    Client::connect([node.endpoint()], None).await.unwrap()
}

async fn value(client: &mut Client, key: &str) -> Option<String> {
    let found = client.get(key, None).await.unwrap();
    let kv = found.kvs().first()?;
    Some(kv.value_str().unwrap().to_owned())
}

/// Fewer entries in the log than usual, so that state and log both hold something.
fn spec(scratch: &Scratch, node_id: u64) -> ChainfireSpec {
    let dir = scratch.path().join(format!("node-{node_id}"));
    let mut spec = ChainfireSpec::single(binary(), dir).unwrap();
    spec.node_id = node_id;
    spec.join = node_id > 1;
    spec
}

fn data_of(node: &ChainfireProcess) -> PathBuf {
    node.data()
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 0x04;
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_saved_verified_and_restored() {
    let scratch = Scratch::new("offline-snapshot").unwrap();
    let mut node = ChainfireProcess::start(spec(&scratch, 1)).await.unwrap();
    let mut etcd = client(&node).await;
    etcd.put(IDENTITY, "the-first", None).await.unwrap();
    let lease = etcd.lease_grant(3600, None).await.unwrap().id();
    etcd.put(
        "leased",
        "x",
        Some(etcd_client::PutOptions::new().with_lease(lease)),
    )
    .await
    .unwrap();
    for n in 0..200 {
        etcd.put(format!("k/{n:03}"), n.to_string(), None)
            .await
            .unwrap();
    }
    // Writes go on while it is saved.
    let writer = {
        let mut etcd = client(&node).await;
        tokio::spawn(async move {
            let mut n = 0;
            while etcd.put(format!("during/{n}"), "x", None).await.is_ok() {
                n += 1;
            }
            n
        })
    };
    let file = scratch.path().join("backup");
    let endpoint = node.endpoint();
    let save = ["snapshot", "save"].map(OsStr::new);
    let save: Vec<&OsStr> = save
        .into_iter()
        .chain([
            file.as_os_str(),
            OsStr::new("--endpoint"),
            OsStr::new(&endpoint),
        ])
        .collect();
    let saved = good(save.clone()).await;
    assert!(saved.contains("revision"), "{saved}");
    let again = bad(save).await;
    assert!(again.contains("exists"), "{again}");
    assert!(!scratch.path().join("backup.partial").exists());
    let before = etcd.status().await.unwrap();
    let old_cluster = before.header().unwrap().cluster_id();
    let old_revision = etcd
        .get("leased", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision();
    node.kill().unwrap();
    assert!(writer.await.unwrap() > 0);

    let paths = [("FILE", file.as_path())];
    let verified = good(words("snapshot verify FILE", &paths)).await;
    for what in ["cluster", "revision", "keys", "hash", "checksums"] {
        assert!(verified.contains(what), "{what} in {verified}");
    }
    assert!(verified.contains(&old_cluster.to_string()), "{verified}");
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        2,
        "nothing is left beside the file"
    );

    // Any flipped bit is found, wherever it is.
    let damaged = scratch.path().join("damaged");
    let size = usize::try_from(std::fs::metadata(&file).unwrap().len()).unwrap();
    for at in [10, 600, size / 3, size / 2, size - 600, size - 3] {
        std::fs::copy(&file, &damaged).unwrap();
        flip(&damaged, at);
        let paths = [("FILE", damaged.as_path())];
        let complaint = bad(words("snapshot verify FILE", &paths)).await;
        assert!(complaint.contains("damaged"), "at {at}: {complaint}");
    }
    // Cut short at a block, where no checksum stands behind it.
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&damaged, &whole[..(size / 1024) * 512]).unwrap();
    let target = scratch.path().join("node-9/data");
    let paths = [("FILE", damaged.as_path()), ("DIR", target.as_path())];
    let complaint = bad(words("snapshot restore FILE --data-dir DIR", &paths)).await;
    assert!(complaint.contains("damaged"), "{complaint}");
    // What is left of that does not start, and is no place to restore into.
    let complaint = bad(words("--data-dir DIR", &paths)).await;
    assert!(complaint.contains("restore again"), "{complaint}");
    let paths = [("FILE", file.as_path()), ("DIR", target.as_path())];
    let complaint = bad(words("snapshot restore FILE --data-dir DIR", &paths)).await;
    assert!(complaint.contains("not empty"), "{complaint}");

    let mut restored = spec(&scratch, 1);
    restored.dir = scratch.path().join("restored");
    // A restored node is what it is, whatever its configuration calls an empty directory.
    restored.join = true;
    let peer = restored.peer.to_string();
    let data = restored.dir.join("data");
    let paths = [
        ("FILE", file.as_path()),
        ("DIR", data.as_path()),
        ("PEER", Path::new(&peer)),
    ];
    let line = "snapshot restore FILE --data-dir DIR --peer-address PEER";
    let said = good(words(line, &paths)).await;
    assert!(said.contains("incarnation"), "{said}");
    let checked = good(words("check --data-dir DIR", &paths)).await;
    assert!(checked.contains("is good"), "{checked}");

    let mut node = ChainfireProcess::start(restored).await.unwrap();
    let mut etcd = client(&node).await;
    for n in 0..200 {
        let found = value(&mut etcd, &format!("k/{n:03}")).await;
        assert_eq!(found, Some(n.to_string()));
    }
    let found = etcd.get("leased", None).await.unwrap();
    let header = found.header().unwrap();
    assert_ne!(header.cluster_id(), old_cluster);
    assert!(header.revision() > old_revision + BUMP / 2, "{header:?}");
    assert_eq!(found.kvs()[0].lease(), lease);
    let left = etcd.lease_time_to_live(lease, None).await.unwrap().ttl();
    assert!((1..=3600).contains(&left), "{left}");
    assert_ne!(
        value(&mut etcd, IDENTITY).await.as_deref(),
        Some("the-first")
    );
    let at_old = GetOptions::new().with_revision(old_revision);
    let refusal = etcd.get("leased", Some(at_old)).await.unwrap_err();
    assert!(refusal.to_string().contains("compacted"), "{refusal}");
    let from_old = WatchOptions::new().with_start_revision(old_revision);
    let mut watch = etcd.watch("leased", Some(from_old)).await.unwrap();
    let compacted = eventually_message(&mut watch).await;
    assert!(compacted > old_revision, "{compacted}");
    let written = etcd.put("new", "x", None).await.unwrap();
    assert!(written.header().unwrap().revision() > header.revision());
    // It is a node like any other: it starts again from its own log.
    node.restart().await.unwrap();
    let mut etcd = client(&node).await;
    assert_eq!(value(&mut etcd, "new").await.as_deref(), Some("x"));
    assert_eq!(etcd.member_list().await.unwrap().members().len(), 1);
}

/// The compacted revision that ends a watch.
async fn eventually_message(watch: &mut etcd_client::WatchStream) -> i64 {
    loop {
        let message = tokio::time::timeout(PATIENCE, watch.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        if message.compact_revision() > 0 {
            return message.compact_revision();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_may_die_at_any_moment() {
    let scratch = Scratch::new("offline-crash").unwrap();
    let mut node = ChainfireProcess::start(spec(&scratch, 1)).await.unwrap();
    client(&node).await.put("k", "v", None).await.unwrap();
    let file = scratch.path().join("backup");
    let endpoint = node.endpoint();
    let paths = [("FILE", file.as_path()), ("URL", Path::new(&endpoint))];
    good(words("snapshot save FILE --endpoint URL", &paths)).await;
    node.kill().unwrap();
    let mut interrupted = 0;
    for milliseconds in (0..200).step_by(10) {
        let dir = scratch.path().join(format!("d{milliseconds}"));
        let paths = [("FILE", file.as_path()), ("DIR", dir.as_path())];
        let mut child = Command::new(binary())
            .args(words("snapshot restore FILE --data-dir DIR", &paths))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        child.kill().unwrap();
        let finished = child.wait().unwrap().success();
        let output = chainfire(words("check --data-dir DIR", &paths)).await;
        if finished {
            assert!(output.status.success());
            break;
        }
        // Either it had come to its end just before, or nothing starts.
        if !output.status.success() && dir.exists() {
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            let unborn = complaint.contains("no FORMAT file");
            assert!(
                unborn || complaint.contains("restore again"),
                "after {milliseconds} ms: {complaint}"
            );
            if !unborn {
                let complaint = bad(words("--data-dir DIR", &paths)).await;
                assert!(complaint.contains("restore again"), "{complaint}");
                interrupted += 1;
            }
        }
    }
    assert!(interrupted > 0, "no restore was interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_survivor_of_a_lost_quorum_goes_on_and_grows_again() {
    let scratch = Scratch::new("offline-recover").unwrap();
    let mut nodes = vec![ChainfireProcess::start(spec(&scratch, 1)).await.unwrap()];
    let mut etcd = client(&nodes[0]).await;
    for node_id in 2..=3 {
        nodes.push(join(&scratch, node_id, &mut etcd).await);
    }
    etcd.put(IDENTITY, "the-first", None).await.unwrap();
    let mut acknowledged = Vec::new();
    for n in 0..100 {
        let key = format!("k/{n}");
        // Through the one that will survive: what it answered it has.
        client(&nodes[2])
            .await
            .put(key.clone(), "v", None)
            .await
            .unwrap();
        acknowledged.push(key);
    }
    let status = etcd.status().await.unwrap();
    let old_cluster = status.header().unwrap().cluster_id();
    let old_revision = status.header().unwrap().revision();

    let survivor_data = data_of(&nodes[2]);
    let paths = [("DIR", survivor_data.as_path())];
    let line = "recover --force-new-cluster --data-dir DIR --yes";
    let complaint = bad(words(line, &paths)).await;
    assert!(complaint.contains("in use"), "{complaint}");
    for node in &mut nodes {
        node.kill().unwrap();
    }
    for lost in &nodes[..2] {
        std::fs::remove_dir_all(data_of(lost)).unwrap();
    }
    let unasked = "recover --force-new-cluster --data-dir DIR";
    let complaint = bad(words(unasked, &paths)).await;
    assert!(complaint.contains("--yes"), "{complaint}");
    assert!(
        complaint.contains("Lost:") && complaint.contains("node-1") && complaint.contains("node-2"),
        "{complaint}"
    );
    good(words("check --data-dir DIR", &paths)).await;

    // It may die on the way: then nothing starts, and the same command goes on.
    for milliseconds in (0..120).step_by(15) {
        let mut child = Command::new(binary())
            .args(words(line, &paths))
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        if survivor_data.join("LOCK.UNFINISHED").exists() {
            for refused in ["check --data-dir DIR", "--data-dir DIR"] {
                let complaint = bad(words(refused, &paths)).await;
                assert!(complaint.contains("run it again"), "{complaint}");
            }
        }
    }
    let output = chainfire(words(line, &paths)).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() || said.contains("only member already"),
        "{said}"
    );
    // A second time there is nothing to do.
    let complaint = bad(words(line, &paths)).await;
    assert!(complaint.contains("only member already"), "{complaint}");

    let survivor = &mut nodes[2];
    survivor.restart().await.unwrap();
    let mut etcd = client(survivor).await;
    for key in &acknowledged {
        assert_eq!(value(&mut etcd, key).await.as_deref(), Some("v"), "{key}");
    }
    let found = etcd.get("k/0", None).await.unwrap();
    let header = found.header().unwrap();
    assert_ne!(header.cluster_id(), old_cluster);
    assert!(header.revision() >= old_revision + BUMP);
    let at_old = GetOptions::new().with_revision(old_revision);
    let refusal = etcd.get("k/0", Some(at_old)).await.unwrap_err();
    assert!(refusal.to_string().contains("compacted"), "{refusal}");
    assert_ne!(
        value(&mut etcd, IDENTITY).await.as_deref(),
        Some("the-first")
    );

    let grown = [
        join(&scratch, 4, &mut etcd).await,
        join(&scratch, 5, &mut etcd).await,
    ];
    etcd.put("after", "x", None).await.unwrap();
    let revision = etcd
        .get("after", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision();
    let hash = etcd.hash_kv(revision).await.unwrap().hash();
    for node in &grown {
        let mut etcd = client(node).await;
        assert_eq!(value(&mut etcd, "k/99").await.as_deref(), Some("v"));
        assert_eq!(value(&mut etcd, "after").await.as_deref(), Some("x"));
        assert_eq!(etcd.hash_kv(revision).await.unwrap().hash(), hash);
    }
    // Three again: it stands the loss of one.
    nodes[2].kill().unwrap();
    Box::pin(eventually_true("the others serve", PATIENCE, || async {
        let mut etcd = client(&grown[0]).await;
        etcd.put("without", "it", None).await.is_ok()
    }))
    .await
    .unwrap();
}

/// Root works on a service's directory, and the service has to be able to open what comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_root_makes_belongs_to_the_directorys_owner() {
    if !skip::is_root() {
        skip::report(
            "what_root_makes_belongs_to_the_directorys_owner",
            "only root can give files away",
        );
        return;
    }
    const SERVICE: (u32, u32) = (54_321, 54_322);
    let own = |path: &Path| lchown(path, Some(SERVICE.0), Some(SERVICE.1)).unwrap();
    let scratch = Scratch::new("offline-owner").unwrap();
    let mut node = ChainfireProcess::start(spec(&scratch, 1)).await.unwrap();
    client(&node).await.put("k", "v", None).await.unwrap();
    let (file, endpoint) = (scratch.path().join("backup"), node.endpoint());
    let paths = [("FILE", file.as_path()), ("URL", Path::new(&endpoint))];
    good(words("snapshot save FILE --endpoint URL", &paths)).await;
    node.kill().unwrap();

    let restored = scratch.path().join("restored");
    std::fs::create_dir(&restored).unwrap();
    own(&restored);
    let paths = [("FILE", file.as_path()), ("DIR", restored.as_path())];
    good(words("snapshot restore FILE --data-dir DIR", &paths)).await;
    let made = everything_below(&restored);
    assert!(made.len() > 5, "{made:?}");
    assert_eq!(not_owned_by(SERVICE, &made), Vec::<&PathBuf>::new());

    let survivor = data_of(&node);
    own(&survivor);
    everything_below(&survivor)
        .iter()
        .for_each(|path| own(path));
    // As if it had begun already: a node that is alone has nothing else to recover from.
    std::fs::write(survivor.join("LOCK.UNFINISHED"), "interrupted").unwrap();
    let paths = [("DIR", survivor.as_path())];
    good(words(
        "recover --force-new-cluster --data-dir DIR --yes",
        &paths,
    ))
    .await;
    std::fs::remove_file(survivor.join("LOCK")).unwrap();
    good(words("check --data-dir DIR", &paths)).await;
    let made = everything_below(&survivor);
    assert_eq!(not_owned_by(SERVICE, &made), Vec::<&PathBuf>::new());
}

fn everything_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(everything_below(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

fn not_owned_by(owner: (u32, u32), paths: &[PathBuf]) -> Vec<&PathBuf> {
    let owned = |path: &PathBuf| {
        let metadata = std::fs::symlink_metadata(path).unwrap();
        (metadata.uid(), metadata.gid()) == owner
    };
    paths.iter().filter(|path| !owned(path)).collect()
}

/// Starts an empty node, adds it, and waits until it votes.
async fn join(scratch: &Scratch, node_id: u64, etcd: &mut Client) -> ChainfireProcess {
    let mut node = ChainfireProcess::launch(spec(scratch, node_id)).unwrap();
    let url = format!("http://{}", node.peer_address());
    eventually("the node is added", PATIENCE, || {
        let (mut etcd, url) = (etcd.clone(), url.clone());
        async move {
            let learner = MemberAddOptions::new().with_is_learner();
            etcd.member_add([url], Some(learner)).await.ok()
        }
    })
    .await
    .unwrap();
    eventually("it votes", PATIENCE, || {
        let mut etcd = etcd.clone();
        async move {
            let promoted = etcd.member_promote(node_id).await;
            let members = etcd.member_list().await.ok()?;
            let votes = members
                .members()
                .iter()
                .any(|member| member.id() == node_id && !member.is_learner());
            (promoted.is_ok() || votes).then_some(())
        }
    })
    .await
    .unwrap();
    node.wait().await.unwrap();
    node
}

/// A stopped node with keys in its state and in its log.
async fn stopped(scratch: &Scratch) -> PathBuf {
    let mut node = ChainfireProcess::start(spec(scratch, 1)).await.unwrap();
    let mut etcd = client(&node).await;
    for n in 0..50 {
        etcd.put(format!("k/{n}"), "v".repeat(500), None)
            .await
            .unwrap();
    }
    // Flushes the state.
    etcd.defragment().await.unwrap();
    for n in 50..100 {
        etcd.put(format!("k/{n}"), "v".repeat(500), None)
            .await
            .unwrap();
    }
    node.kill().unwrap();
    data_of(&node)
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

/// Both the check and the start refuse, and say what to do.
async fn refused(data: &Path, what: &str) {
    let paths = [("DIR", data)];
    for line in ["check --data-dir DIR", "--data-dir DIR"] {
        let complaint = bad(words(line, &paths)).await;
        assert!(
            complaint.contains("snapshot") || complaint.contains("join again"),
            "{what}, {line}: {complaint}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_data_directory_is_refused_with_advice() {
    let scratch = Scratch::new("offline-damage").unwrap();
    let data = stopped(&scratch).await;
    let paths = [("DIR", data.as_path())];
    let checked = good(words("check --data-dir DIR", &paths)).await;
    assert!(checked.contains("is good"), "{checked}");
    let checked = good(words("--check --data-dir DIR", &paths)).await;
    assert!(
        checked.contains("the configuration is good")
            && checked.contains("the data directory is good"),
        "{checked}"
    );

    // Of nothing but a file, which says too little.
    let empty = scratch.path().join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    let complaint = bad(words("--check --config FILE", &[("FILE", &empty)])).await;
    assert!(complaint.contains("data_dir: is required"), "{complaint}");

    // In the middle of the log.
    // A hundred entries of 500 bytes each: this is among them, far from the last.
    let log = files(&data.join("raft"), "seg").remove(0);
    let middle = 20_000;
    flip(&log, middle);
    refused(&data, "the log").await;
    flip(&log, middle);

    // The pointer to the live database.
    let live = data.join("state/LIVE");
    for at in [0, 3] {
        flip(&live, at);
        refused(&data, "LIVE").await;
        flip(&live, at);
    }

    // Every table of the database: the check finds each of them.
    let database = data
        .join("state")
        .join(std::fs::read_to_string(&live).unwrap().trim());
    let tables = files(&database, "sst");
    assert!(tables.len() >= 4, "{tables:?}");
    for table in &tables {
        flip(table, 12);
        let complaint = bad(words("check --data-dir DIR", &paths)).await;
        assert!(complaint.contains("snapshot"), "{complaint}");
        flip(table, 12);
    }
    for table in &tables {
        flip(table, 12);
    }
    refused(&data, "the tables").await;
    for table in &tables {
        flip(table, 12);
    }

    // A log that is gone has taken the node's votes with it.
    let raft = data.join("raft");
    let aside = scratch.path().join("raft");
    std::fs::rename(&raft, &aside).unwrap();
    refused(&data, "no log").await;
    refused(&data, "an empty log").await;
    std::fs::remove_dir_all(&raft).unwrap();
    std::fs::rename(&aside, &raft).unwrap();

    // Another format, and a directory that is not a node's.
    std::fs::write(data.join("FORMAT"), "chainfire 99\n").unwrap();
    refused(&data, "the format").await;
    std::fs::write(data.join("FORMAT"), "chainfire 1\n").unwrap();
    let complaint = bad(words("check --data-dir DIR", &[("DIR", scratch.path())])).await;
    assert!(complaint.contains("no FORMAT"), "{complaint}");

    // All of that left it as it was.
    good(words("check --data-dir DIR", &paths)).await;
    let mut again = spec(&scratch, 1);
    again.dir = data.parent().unwrap().to_owned();
    let mut node = ChainfireProcess::start(again).await.unwrap();
    let mut etcd = client(&node).await;
    for n in [0, 49, 50, 99] {
        assert!(value(&mut etcd, &format!("k/{n}")).await.is_some());
    }
    // A node that runs is not looked into.
    let complaint = bad(words("check --data-dir DIR", &paths)).await;
    assert!(complaint.contains("in use"), "{complaint}");
    node.kill().unwrap();
}
