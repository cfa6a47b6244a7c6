//! What may be found on disk after a crash.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use photon_raft::Error;

use crate::cluster::{Cluster, soon, start};

fn log_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir.join("raft"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Small files: these tests copy them often.
fn small(config: &mut photon_raft::Config) {
    config.log_file_bytes = 64 << 10;
}

/// How much of a log file is in use: the rest are zeros.
fn used(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0);
    last.map_or(0, |at| at as u64 + 1)
}

/// A node's files after it has written `commands` and stopped, and where the last one's record begins.
async fn written(commands: usize) -> (Cluster, PathBuf, u64) {
    let mut cluster = Cluster::one(small).await;
    for n in 0..commands - 1 {
        cluster.node(1).propose(format!("c{n}")).await.unwrap();
    }
    let dir = cluster.node(1).dir.clone();
    let before = used(log_files(&dir).last().unwrap());
    cluster
        .node(1)
        .propose(format!("c{}", commands - 1))
        .await
        .unwrap();
    cluster.kill(1).await;
    (cluster, dir, before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_cut_off_at_every_byte() {
    let (_cluster, dir, before) = written(10).await;
    let name = log_files(&dir)
        .pop()
        .unwrap()
        .file_name()
        .unwrap()
        .to_owned();
    let whole = used(&dir.join("raft").join(&name));
    assert!(whole > before);
    let scratch = tempfile::tempdir().unwrap();
    for len in before..=whole {
        let torn = scratch.path().join(len.to_string());
        copy(&dir, &torn);
        let mut file = OpenOptions::new()
            .write(true)
            .open(torn.join("raft").join(&name))
            .unwrap();
        file.seek(SeekFrom::Start(len)).unwrap();
        file.write_all(&vec![0; usize::try_from(whole - len).unwrap()])
            .unwrap();
        let node = start(1, &torn, "127.0.0.1:0", small).await.unwrap();
        node.group.read_index(soon()).await.unwrap();
        let commands = node.records.commands();
        assert!(
            (9..=10).contains(&commands.len()),
            "cut at {len} of {whole}: {commands:?}"
        );
        assert_eq!(
            commands[..9],
            (0..9).map(|n| format!("c{n}")).collect::<Vec<_>>()
        );
        // And it goes on.
        node.propose("more").await.unwrap();
        node.group.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_before_the_tail_is_refused_with_advice() {
    let (_cluster, dir, before) = written(40).await;
    let path = log_files(&dir).pop().unwrap();
    let mut whole = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut whole).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let middle = usize::try_from(before / 2).unwrap();
    for (offset, byte) in whole.into_iter().enumerate().skip(middle).take(60) {
        let damaged = scratch.path().join(offset.to_string());
        copy(&dir, &damaged);
        let mut file = OpenOptions::new()
            .write(true)
            .open(damaged.join("raft").join(path.file_name().unwrap()))
            .unwrap();
        file.seek(SeekFrom::Start(offset as u64)).unwrap();
        file.write_all(&[byte ^ 0x10]).unwrap();
        let Err(error) = start(1, &damaged, "127.0.0.1:0", small).await else {
            panic!("byte {offset} was damaged and nobody noticed");
        };
        assert!(
            matches!(&error, Error::Storage(text) if text.contains("remove this member")),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_nodes_files_are_refused() {
    let (_cluster, dir, _) = written(3).await;
    let error = start(2, &dir, "127.0.0.1:0", |_| {}).await.err().unwrap();
    assert!(
        matches!(&error, Error::Storage(text) if text.contains("belongs to node 1")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_serves_one_process() {
    let cluster = Cluster::one(|_| {}).await;
    let error = start(1, &cluster.node(1).dir, "127.0.0.1:0", |_| {})
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::Storage(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_happens_once() {
    let mut cluster = Cluster::one(|_| {}).await;
    cluster.node(1).propose("kept").await.unwrap();
    cluster.node(1).group.bootstrap().await.unwrap();
    let files = cluster.kill(1).await;
    cluster.revive(1, files).await;
    cluster.node(1).group.bootstrap().await.unwrap();
    assert_eq!(cluster.agreed().await, ["kept"]);
}
