//! What is left after a crash, and what a snapshot carries.

use std::{io, path::Path};

use bytes::Bytes;
use chainfire_engine::Engine;
use photon_proto::photon::chainfire::command::v1::Reply;

use crate::kit::{apply, compact, delete, encode, everything, open, options, put, wait_compacted};

/// A log of commands with what each batch answered, to be replayed like Raft does.
struct Log(Vec<(Vec<Bytes>, Vec<Reply>)>);

impl Log {
    fn written_to(engine: &Engine, batches: u8) -> Self {
        let mut log = Vec::new();
        for batch in 0..batches {
            let commands: Vec<Bytes> = (0..9u8)
                .map(|n| match n {
                    4 => encode(delete(&[n, batch % 3], b"")),
                    5 if batch % 4 == 3 => encode(compact(engine.revision() - 3)),
                    n => encode(put(&[n % 4, batch % 5], &[batch, n])),
                })
                .collect();
            let replies = engine.apply(&commands, &[batch]).unwrap();
            log.push((commands, replies));
        }
        Self(log)
    }

    /// Applies everything after a mark; the answers are what they were.
    fn replay(&self, engine: &Engine, after: Option<Bytes>) {
        let from = after.map_or(0, |mark| usize::from(mark[0]) + 1);
        for (number, (commands, replies)) in self.0.iter().enumerate().skip(from) {
            let mark = u8::try_from(number).unwrap();
            assert_eq!(
                &engine.apply(commands, &[mark]).unwrap(),
                replies,
                "batch {number}"
            );
        }
    }
}

#[test]
fn a_crash_is_replayed_from_the_mark() {
    let (dir, engine) = open();
    let first = Log::written_to(&engine, 12);
    engine.flush().unwrap();
    let state = dir.path().join("state");
    let lost = {
        let mut log = Log::written_to(&engine, 0);
        for batch in 12..30u8 {
            let commands = vec![
                encode(put(&[batch % 4], &[batch])),
                encode(delete(&[batch % 3], b"")),
            ];
            let replies = engine.apply(&commands, &[batch]).unwrap();
            log.0.push((commands, replies));
        }
        log
    };
    let (revision, expected) = (engine.revision(), everything(&engine, 0));
    // Copied as a crash leaves it: what was not flushed is in no file.
    let crashed = dir.path().join("crashed");
    copy(&state, &crashed);
    drop(engine);
    let engine = Engine::open(&crashed, options()).unwrap();
    let mark = engine.mark().unwrap();
    assert_eq!(mark, &[11][..], "the flushed mark, not a later one");
    let all = Log(first.0.into_iter().chain(lost.0).collect());
    all.replay(&engine, Some(mark));
    assert_eq!(
        (engine.revision(), everything(&engine, 0)),
        (revision, expected)
    );
}

#[test]
fn replaying_everything_over_and_over_gives_the_same_state() {
    let (_dir, engine) = open();
    let log = Log::written_to(&engine, 25);
    wait_compacted(&engine, engine.compacted());
    let (hash, state) = (engine.hash_kv(0).unwrap(), everything(&engine, 0));
    for flush_at in [0, 7, 24] {
        let dir = tempfile::tempdir().unwrap();
        let fresh = Engine::open(dir.path(), options()).unwrap();
        for (number, (commands, replies)) in log.0.iter().enumerate() {
            let mark = u8::try_from(number).unwrap();
            assert_eq!(&fresh.apply(commands, &[mark]).unwrap(), replies);
            if number == flush_at {
                fresh.flush().unwrap();
            }
        }
        assert_eq!(
            (fresh.hash_kv(0).unwrap(), everything(&fresh, 0)),
            (hash, state.clone())
        );
    }
}

/// Copies a directory whose owner is still at work: RocksDB removes what a flush has made superfluous a moment later, and a
/// copy that missed such a file is begun again.
fn copy(from: &Path, to: &Path) {
    for _ in 0..100 {
        std::fs::create_dir_all(to).unwrap();
        match try_copy(from, to) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::remove_dir_all(to).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("files keep vanishing from {}", from.display());
}

fn try_copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&target)?;
            try_copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[test]
fn a_checkpoint_moves_to_another_member() {
    let (dir, source) = open();
    Log::written_to(&source, 20);
    let snapshot = dir.path().join("snapshot");
    let mark = source.checkpoint(&snapshot).unwrap();
    assert_eq!(mark, &[19][..]);
    let (hash, state, revision) = (
        source.hash_kv(0).unwrap(),
        everything(&source, 0),
        source.revision(),
    );
    apply(&source, [put(b"later", b"")]);

    let (target_dir, target) = open();
    apply(&target, [put(b"own", b"1"), put(b"own", b"2")]);
    let reading = target.clone();
    target.install(&snapshot).unwrap();
    assert_eq!(
        (target.hash_kv(0).unwrap(), everything(&target, 0)),
        (hash, state.clone())
    );
    assert_eq!(
        (target.revision(), target.mark().unwrap()),
        (revision, mark.clone())
    );
    assert_eq!(everything(&reading, 0), state, "every handle has moved");
    apply(&target, [put(b"after", b"")]);
    let expected = everything(&target, 0);
    target.flush().unwrap();
    drop((target, reading));
    let state_dir = target_dir.path().join("state");
    let target = Engine::open(&state_dir, options()).unwrap();
    assert_eq!(everything(&target, 0), expected);
    let databases = std::fs::read_dir(&state_dir).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("db-")
    });
    assert_eq!(databases.count(), 1, "the old state is gone");
}

#[test]
fn snapshots_can_follow_each_other_and_bad_ones_are_refused() {
    let (dir, source) = open();
    let (_target_dir, target) = open();
    for round in 0..4u8 {
        apply(&source, [put(&[round], &[round])]);
        let snapshot = dir.path().join(format!("snapshot-{round}"));
        source.checkpoint(&snapshot).unwrap();
        target.install(&snapshot).unwrap();
        assert_eq!(everything(&target, 0), everything(&source, 0));
    }
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(target.install(&empty).is_err());
    assert_eq!(
        everything(&target, 0),
        everything(&source, 0),
        "the old state stays"
    );
    apply(&target, [put(b"still", b"alive")]);
}

#[test]
fn a_checkpoint_is_whole_while_writes_go_on() {
    let (dir, engine) = open();
    let writer = {
        let engine = engine.clone();
        std::thread::spawn(move || {
            for n in 0..300u32 {
                let mark = n.to_be_bytes();
                let commands = [encode(put(b"n", &mark)), encode(put(b"m", &mark))];
                engine.apply(&commands, &mark).unwrap();
            }
        })
    };
    let mut round = 0;
    while !writer.is_finished() && round < 6 {
        let snapshot = dir.path().join(format!("snapshot-{round}"));
        let mark = engine.checkpoint(&snapshot).unwrap();
        let (_target_dir, target) = open();
        target.install(&snapshot).unwrap();
        let state = everything(&target, 0);
        for kv in &state.kvs {
            assert_eq!(kv.value, mark, "data and mark belong together");
        }
        round += 1;
    }
    writer.join().unwrap();
}

#[test]
fn a_format_from_the_future_is_refused() {
    let (dir, engine) = open();
    engine.flush().unwrap();
    drop(engine);
    let state = dir.path().join("state");
    {
        let mut db_options = rocksdb::Options::default();
        db_options.set_atomic_flush(true);
        let names = ["rev", "ver", "cur", "lease", "auth", "meta"];
        let db = rocksdb::DB::open_cf(&db_options, state.join("db-1"), names).unwrap();
        db.put_cf(db.cf_handle("meta").unwrap(), b"format", 9i64.to_be_bytes())
            .unwrap();
    }
    let error = Engine::open(&state, options()).unwrap_err().to_string();
    assert!(error.contains("format 9"), "{error}");
}

#[test]
fn damaged_files_are_refused_with_advice() {
    let (dir, engine) = open();
    Log::written_to(&engine, 20);
    engine.flush().unwrap();
    drop(engine);
    let database = dir.path().join("state/db-1");
    for entry in std::fs::read_dir(&database).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            let length = std::fs::metadata(&path).unwrap().len();
            std::fs::File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(length / 2)
                .unwrap();
        }
    }
    let error = Engine::open(&dir.path().join("state"), options())
        .unwrap_err()
        .to_string();
    assert!(error.contains("restore"), "{error}");
}
