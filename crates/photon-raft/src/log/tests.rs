//! What a log must survive, and what it must refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use futures::executor::block_on;
use openraft::{
    EntryPayload,
    storage::{RaftLogStorage, RaftLogStorageExt},
};
use proptest::prelude::*;

use super::{LogStore, Outline, examine, frame};
use crate::{
    Error,
    types::{Commands, Entry, LogId, Vote, log_id},
};

/// The frames at the beginning of a file.
pub(super) fn frames(file: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Ok((_, body)) = frame::read(file, at) {
        found.push(at..body.end);
        at = body.end;
    }
    found
}

/// The log's files, oldest first.
pub(super) fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    files.sort();
    files
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let byte = u8::try_from(index % 255).unwrap() + 1;
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(Commands::one(vec![byte; bytes].into())),
    }
}

fn append(log: &LogStore, entries: impl IntoIterator<Item = Entry>) {
    let entries: Vec<Entry> = entries.into_iter().collect();
    block_on(log.clone().blocking_append(entries)).unwrap();
}

fn truncate(log: &LogStore, last: LogId) {
    block_on(log.clone().truncate_after(Some(last))).unwrap();
}

fn purge(log: &LogStore, upto: LogId) {
    block_on(log.clone().purge(upto)).unwrap();
}

fn vote(log: &LogStore, term: u64) {
    block_on(log.clone().save_vote(&Vote::new(term, 1))).unwrap();
}

fn entries(log: &LogStore) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let next = all.last().map_or(0, |entry| entry.log_id.index + 1);
        let slice = log.slice(next, u64::MAX).unwrap();
        if slice.is_empty() {
            return all;
        }
        all.extend(slice);
    }
}

fn open(dir: &Path) -> LogStore {
    LogStore::open(dir, 1, 64 << 10, 0).unwrap()
}

fn refused(dir: &Path) -> String {
    let Err(Error::Storage(text)) = LogStore::open(dir, 1, 64 << 10, 0).map(drop) else {
        panic!("it was opened");
    };
    assert!(text.contains("join again"), "{text}");
    text
}

/// A directory with what is in the files of the one in `dir`, as after a kill.
fn copy_of(dir: &Path) -> tempfile::TempDir {
    loop {
        let copy = tempfile::tempdir().unwrap();
        let copied = segment_files(dir).iter().try_for_each(|file| {
            fs::copy(file, copy.path().join(file.file_name().unwrap())).map(drop)
        });
        match copied {
            Ok(()) => return copy,
            // Purged files go after the purge was acknowledged: this one did just now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A log with a frame for each entry 0 to `count - 1`; its only file, and where the frames are.
fn one_file(count: u64, bytes: usize) -> (tempfile::TempDir, PathBuf, Vec<u8>, Vec<Range<usize>>) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    for index in 0..count {
        append(&log, [entry(1, index, bytes)]);
    }
    log.close();
    let file = segment_files(dir.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let frames = frames(&whole);
    assert_eq!(frames.len() as u64, count);
    (dir, file, whole, frames)
}

#[test]
fn a_torn_tail_is_cut_off_at_every_byte() {
    let (dir, file, whole, frames) = one_file(6, 100);
    let last = frames[5].clone();
    for at in last.clone() {
        let mut torn = whole.clone();
        torn[at..last.end].fill(0);
        fs::write(&file, &torn).unwrap();
        let log = open(dir.path());
        assert_eq!(entries(&log).len(), 5, "torn at {at}");
        // And it goes on, as if nothing had been there.
        append(&log, [entry(2, 5, 7)]);
        log.close();
        let log = open(dir.path());
        assert_eq!(entries(&log)[5], entry(2, 5, 7));
    }
}

#[test]
fn a_file_that_lost_its_end_is_refused_and_left_alone() {
    let (dir, file, whole, frames) = one_file(6, 100);
    let ends = frames.iter().map(|frame| frame.end);
    let within = frames[0].clone().chain(frames[4].clone()).step_by(7);
    for len in ends.chain(within).chain([whole.len() - 1]) {
        fs::write(&file, &whole[..len]).unwrap();
        let text = refused(dir.path());
        assert!(text.contains("has lost"), "cut at {len}: {text}");
        assert!(examine(dir.path()).is_err());
        assert!(fs::read(&file).unwrap() == whole[..len]);
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(entries(&open(dir.path())).len(), 6);

    // Also one that is not the last.
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), 1, 4096, 0).unwrap();
    for index in 0..10 {
        append(&log, [entry(1, index, 1000)]);
    }
    log.close();
    let first = &segment_files(dir.path())[0];
    let whole = fs::read(first).unwrap();
    let end = self::frames(&whole).last().unwrap().end;
    assert!(end < whole.len());
    fs::write(first, &whole[..end]).unwrap();
    refused(dir.path());
}

#[test]
fn a_file_that_was_being_made_is_no_file_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, [entry(1, 0, 10)]);
    log.close();
    let unfinished = dir.path().join("unfinished");
    fs::write(&unfinished, [0; 100]).unwrap();
    assert_eq!(examine(dir.path()).unwrap().files, 1);
    assert!(unfinished.exists());
    assert_eq!(entries(&open(dir.path())), [entry(1, 0, 10)]);
    assert!(!unfinished.exists());
}

#[test]
fn damage_at_every_byte_is_refused_and_left_alone() {
    let (dir, file, whole, frames) = one_file(6, 100);
    // Also in the last one: nothing of it is missing, so it is not a torn one.
    for at in frames[2].clone().chain(frames[5].clone()) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&file, &damaged).unwrap();
        let text = refused(dir.path());
        assert!(text.contains(".seg at byte"), "{text}");
        assert!(examine(dir.path()).is_err());
        assert!(fs::read(&file).unwrap() == damaged);
    }
    // A frame that is gone altogether.
    let mut damaged = whole.clone();
    damaged[frames[2].clone()].fill(0);
    fs::write(&file, &damaged).unwrap();
    refused(dir.path());
    fs::write(&file, &whole).unwrap();
    assert_eq!(entries(&open(dir.path())).len(), 6);
}

#[test]
fn bytes_of_a_torn_frame_are_never_found_again() {
    let (dir, file, whole, frames) = one_file(3, 5000);
    // The first sector that is its own was not written; what follows was.
    let last = frames[2].clone();
    let sector = last.start.next_multiple_of(512);
    let mut torn = whole;
    torn[sector..sector + 512].fill(0);
    fs::write(&file, &torn).unwrap();
    assert!(examine(dir.path()).unwrap().torn_bytes > 4000);
    assert!(fs::read(&file).unwrap() == torn);
    let log = open(dir.path());
    assert_eq!(entries(&log).len(), 2);
    assert!(
        fs::read(&file).unwrap()[last.start..]
            .iter()
            .all(|byte| *byte == 0)
    );
    append(&log, [entry(1, 2, 10)]);
    log.close();
    assert_eq!(entries(&open(dir.path())).len(), 3);
}

#[test]
fn a_frame_within_a_value_is_not_taken_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, [entry(1, 0, 10)]);
    // What a client might guess: the right format and a later number.
    let mut inner = vec![0; frame::HEADER + 8];
    frame::seal(&mut inner, 0, 1000).unwrap();
    let mut value = vec![1; 2000];
    value.extend(&inner);
    value.extend([1; 8]);
    let mut tricky = entry(1, 1, 1);
    tricky.payload = EntryPayload::Normal(Commands::one(value.into()));
    append(&log, [tricky]);
    log.close();
    let file = segment_files(dir.path()).remove(0);
    let mut torn = fs::read(&file).unwrap();
    let last = frames(&torn)[1].clone();
    torn[last.start..last.start + 600].fill(0);
    fs::write(&file, &torn).unwrap();
    assert_eq!(entries(&open(dir.path())).len(), 1);
}

#[test]
fn files_follow_each_other_and_a_large_frame_gets_a_large_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), 1, 4096, 1 << 20).unwrap();
    let sizes = [100, 3000, 20_000, 3000, 500, 100];
    for (index, bytes) in (0..).zip(sizes) {
        append(&log, [entry(1, index, bytes)]);
    }
    let expected: Vec<Entry> = (0..)
        .zip(sizes)
        .map(|(index, bytes)| entry(1, index, bytes))
        .collect();
    assert_eq!(entries(&log), expected);
    log.close();
    let sizes: Vec<u64> = segment_files(dir.path())
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes[0] == 4096 && sizes[1] > 20_000 && sizes[2] == 4096);
    let examined = examine(dir.path()).unwrap();
    assert_eq!((examined.files, examined.first), (3, Some(0)));
    // All from disk, and then some more.
    let log = LogStore::open(dir.path(), 1, 4096, 0).unwrap();
    assert_eq!(entries(&log), expected);
    append(&log, [entry(1, 6, 30)]);
    assert_eq!(entries(&log).len(), 7);
}

#[test]
fn purging_removes_whole_files_once_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), 1, 4096, 0).unwrap();
    vote(&log, 3);
    for index in 0..40 {
        append(&log, [entry(1, index, 500)]);
    }
    let before = segment_files(dir.path()).len();
    assert!(before >= 5, "{before}");
    purge(&log, log_id(1, 1));
    vote(&log, 4);
    assert_eq!(segment_files(dir.path()).len(), before);
    purge(&log, log_id(1, 29));
    vote(&log, 5);
    vote(&log, 6);
    let left = segment_files(dir.path());
    assert!(left.len() < before, "{left:?}");
    assert!(
        fs::read(&left[0])
            .unwrap()
            .windows(500)
            .any(|window| window == [31; 500])
    );

    // Killed now.
    let copy = copy_of(dir.path());
    let copied = open(copy.path());
    assert_eq!(copied.outline().unwrap(), log.outline().unwrap());
    assert_eq!(
        entries(&copied),
        (30..40)
            .map(|index| entry(1, index, 500))
            .collect::<Vec<_>>()
    );
    copied.close();

    log.purge_all().unwrap();
    vote(&log, 7);
    assert_eq!(segment_files(dir.path()).len(), 1);
    append(&log, [entry(8, 40, 10)]);
    log.close();
    let log = open(dir.path());
    assert_eq!(log.outline().unwrap().vote, Some(Vote::new(7, 1)));
    assert_eq!(entries(&log), [entry(8, 40, 10)]);
}

#[test]
fn files_that_a_kill_left_behind_a_purge_are_removed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), 1, 4096, 0).unwrap();
    for index in 0..40 {
        append(&log, [entry(1, index, 500)]);
    }
    let aside = copy_of(dir.path());
    purge(&log, log_id(1, 29));
    vote(&log, 5);
    log.close();
    let removed: Vec<PathBuf> = segment_files(aside.path())
        .into_iter()
        .map(|file| dir.path().join(file.file_name().unwrap()))
        .filter(|file| !file.exists())
        .collect();
    assert!(removed.len() >= 3);
    for file in &removed {
        fs::copy(aside.path().join(file.file_name().unwrap()), file).unwrap();
    }
    let log = open(dir.path());
    assert_eq!(entries(&log).len(), 10);
    assert!(removed.iter().all(|file| !file.exists()));
}

#[test]
fn missing_files_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), 1, 4096, 0).unwrap();
    for index in 0..40 {
        append(&log, [entry(1, index, 500)]);
    }
    log.close();
    for missing in [0, 1, 3] {
        let copy = copy_of(dir.path());
        fs::remove_file(&segment_files(copy.path())[missing]).unwrap();
        let text = refused(copy.path());
        assert!(text.contains("missing"), "{text}");
    }
    // One of another log in its place.
    let other = tempfile::tempdir().unwrap();
    let log = LogStore::open(other.path(), 1, 4096, 0).unwrap();
    for index in 0..40 {
        append(&log, [entry(1, index, 500)]);
    }
    log.close();
    let copy = copy_of(dir.path());
    let (mine, others) = (segment_files(copy.path()), segment_files(other.path()));
    assert_eq!(mine[2].file_name(), others[2].file_name());
    fs::copy(&others[2], &mine[2]).unwrap();
    let text = refused(copy.path());
    assert!(text.contains("another log"), "{text}");
}

#[test]
fn what_was_cut_off_stays_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), 1, 4096, 0).unwrap();
    append(&log, (0..20).map(|index| entry(1, index, 300)));
    truncate(&log, log_id(1, 4));
    // Not waited for, and still in order.
    append(&log, (5..8).map(|index| entry(2, index, 300)));
    let expected: Vec<Entry> = (0..5)
        .map(|index| entry(1, index, 300))
        .chain((5..8).map(|index| entry(2, index, 300)))
        .collect();
    assert_eq!(entries(&log), expected);
    log.close();
    let log = open(dir.path());
    assert_eq!(entries(&log), expected);
    truncate(&log, log_id(1, 2));
    log.close();
    let log = open(dir.path());
    assert_eq!(entries(&log), expected[..3]);
    assert_eq!(log.outline().unwrap().last, Some(log_id(1, 2)));
}

#[test]
fn a_next_file_without_a_frame_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), 1, 4096, 0).unwrap();
    append(&log, [entry(1, 0, 100)]);
    append(&log, [entry(1, 1, 100)]);
    log.close();
    let header = frames(&fs::read(&segment_files(dir.path())[0]).unwrap())[0].clone();
    let first = fs::read(&segment_files(dir.path())[0]).unwrap()[header].to_vec();
    let zeros = vec![0; 4096];
    let torn = |len: usize| {
        let mut file = zeros.clone();
        file[..len].copy_from_slice(&first[..len]);
        file
    };
    for content in [&zeros[..100], &zeros, &torn(first.len() - 1), &torn(20)] {
        let copy = copy_of(dir.path());
        let next = copy.path().join(format!("log-{:020}.seg", 3));
        fs::write(&next, content).unwrap();
        assert_eq!(
            examine(copy.path()).unwrap().outline.last,
            Some(log_id(1, 1))
        );
        let log = LogStore::open(copy.path(), 1, 4096, 0).unwrap();
        for index in 2..5 {
            append(&log, [entry(1, index, 500)]);
        }
        log.close();
        assert_eq!(entries(&open(copy.path())).len(), 5);
        assert_eq!(segment_files(copy.path()).len(), 2);
    }
    // A file has its length before it has its name.
    let copy = copy_of(dir.path());
    fs::write(copy.path().join(format!("log-{:020}.seg", 3)), []).unwrap();
    let text = refused(copy.path());
    assert!(text.contains("has lost everything"), "{text}");
    // One that is not the next: something is missing.
    let copy = copy_of(dir.path());
    fs::write(copy.path().join(format!("log-{:020}.seg", 4)), &zeros).unwrap();
    refused(copy.path());
}

#[test]
fn a_first_frame_that_was_never_finished_is_a_new_log() {
    let (dir, file, mut whole, frames) = one_file(1, 2000);
    whole[frames[0].end - 1] = 0;
    fs::write(&file, &whole).unwrap();
    let log = open(dir.path());
    assert_eq!(log.outline().unwrap().last, None);
    append(&log, [entry(1, 0, 10)]);
    log.close();
    assert_eq!(entries(&open(dir.path())), [entry(1, 0, 10)]);
}

#[test]
fn files_of_another_format_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("r-00_000.wal"), "x").unwrap();
    let text = refused(dir.path());
    assert!(text.contains("earlier development version"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("log-5.seg"), "x").unwrap();
    refused(dir.path());
}

#[test]
fn a_closed_log_says_so_and_one_process_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let text = refused(dir.path());
    assert!(text.contains("in use"), "{text}");
    assert!(examine(dir.path()).is_err());
    log.close();
    assert!(log.slice(0, 1).is_err() && log.outline().is_err());
    assert!(block_on(log.clone().blocking_append([entry(1, 0, 1)])).is_err());
    drop(open(dir.path()));
    // Dropping it closes it as well.
    examine(dir.path()).unwrap();
}

#[test]
fn a_hole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, [entry(1, 5, 1)]);
    for wrong in [4, 5, 7] {
        assert!(block_on(log.clone().blocking_append([entry(1, wrong, 1)])).is_err());
    }
    append(&log, [entry(1, 6, 1)]);
    assert_eq!(entries(&log).len(), 2);
}

const DIRECTORY: &str = "PHOTON_RAFT_TEST_FULL_DISK";

/// The process that `no_room_for_the_next_file_ends_the_process` starts; by itself it does nothing.
#[test]
fn child_that_runs_out_of_room() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let log = LogStore::open(Path::new(&dir), 1, 1 << 20, 0).unwrap();
    eprintln!("opened");
    append(&log, [entry(1, 1, 5000)]);
    eprintln!("acknowledged");
}

#[test]
fn no_room_for_the_next_file_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(dir.path(), 1, 4096, 0).unwrap();
    append(&log, [entry(1, 0, 100)]);
    log.close();
    // A limit on the size of files stands for a full disk, which nobody else would like.
    let output = std::process::Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 64; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args([
            "log::tests::child_that_runs_out_of_room",
            "--exact",
            "--nocapture",
        ])
        .env(DIRECTORY, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("opened") && !said.contains("acknowledged"),
        "{said}"
    );
    assert!(
        said.contains("making room for the raft log failed; ending the process"),
        "{said}"
    );
    assert_eq!(segment_files(dir.path()).len(), 1, "room is given back");
    // Nothing is lost, and with room it goes on.
    let log = LogStore::open(dir.path(), 1, 4096, 0).unwrap();
    assert_eq!(entries(&log), [entry(1, 0, 100)]);
    append(&log, [entry(1, 1, 5000)]);
}

/// One thing that openraft may ask for.
#[derive(Debug, Clone)]
enum Step {
    Append { count: u64, bytes: usize },
    Truncate { back: u64 },
    Purge { ahead: u64 },
    PurgeBeyond { by: u64 },
    Vote,
    Committed { back: u64 },
    Reopen,
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..6u64, 0..3000usize).prop_map(|(count, bytes)| Step::Append { count, bytes }),
        2 => (0..8u64).prop_map(|back| Step::Truncate { back }),
        2 => (0..8u64).prop_map(|ahead| Step::Purge { ahead }),
        1 => (1..4u64).prop_map(|by| Step::PurgeBeyond { by }),
        1 => Just(Step::Vote),
        2 => (0..5u64).prop_map(|back| Step::Committed { back }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 1..60)
}

/// What the log should hold.
#[derive(Default)]
struct Model {
    outline: Outline,
    entries: Vec<Entry>,
}

impl Model {
    fn purge(&mut self, upto: LogId) {
        self.outline.purged = Some(upto);
        self.outline.last = self.outline.last.max(Some(upto));
        self.entries.retain(|entry| entry.log_id.index > upto.index);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever is asked for, the log holds what it should, also after a restart or a kill.
    #[test]
    fn a_log_holds_what_it_was_given(steps in steps(), cache in 0..6000usize) {
        let mut dirs = vec![tempfile::tempdir().unwrap()];
        let open = |dir: &tempfile::TempDir| LogStore::open(dir.path(), 1, 8192, cache).unwrap();
        let mut log = open(&dirs[0]);
        let mut model = Model::default();
        model.outline.owner = Some(1);
        for (term, step) in (1..).zip(steps) {
            let next = model.outline.last.map_or(0, |last| last.index + 1);
            match step {
                Step::Append { count, bytes } => {
                    let new: Vec<Entry> = (next..next + count).map(|index| entry(term, index, bytes)).collect();
                    model.outline.last = Some(new[new.len() - 1].log_id);
                    model.entries.extend(new.clone());
                    append(&log, new);
                }
                Step::Truncate { back } => {
                    let keep = model.entries.len().saturating_sub(usize::try_from(back).unwrap());
                    model.entries.truncate(keep);
                    let last = model.entries.last().map(|entry| entry.log_id).or(model.outline.purged);
                    model.outline.last = last;
                    block_on(log.clone().truncate_after(last)).unwrap();
                }
                Step::Purge { ahead } => {
                    let at = usize::try_from(ahead).unwrap();
                    if let Some(entry) = model.entries.get(at) {
                        let upto = entry.log_id;
                        model.purge(upto);
                        purge(&log, upto);
                    }
                }
                Step::PurgeBeyond { by } => {
                    let upto = log_id(term, next + by);
                    model.purge(upto);
                    purge(&log, upto);
                }
                Step::Vote => {
                    model.outline.vote = Some(Vote::new(term, 1));
                    vote(&log, term);
                }
                Step::Committed { back } => {
                    let committed = model.entries.iter().rev().nth(usize::try_from(back).unwrap()).map(|entry| entry.log_id);
                    model.outline.committed = model.outline.committed.max(committed);
                    block_on(log.clone().save_committed(committed)).unwrap();
                }
                Step::Reopen => {
                    log.close();
                    let examined = examine(dirs[dirs.len() - 1].path()).unwrap();
                    prop_assert_eq!(examined.outline, model.outline);
                    prop_assert_eq!(examined.first, model.entries.first().map(|entry| entry.log_id.index));
                    log = open(&dirs[dirs.len() - 1]);
                }
                Step::Kill => {
                    // Whatever was accepted before this is on disk.
                    model.outline.vote = Some(Vote::new(term, 1));
                    vote(&log, term);
                    let copy = copy_of(dirs[dirs.len() - 1].path());
                    dirs.push(copy);
                    log = open(&dirs[dirs.len() - 1]);
                }
            }
            prop_assert_eq!(log.outline().unwrap(), model.outline);
            prop_assert_eq!(&entries(&log), &model.entries);
        }
    }
}
