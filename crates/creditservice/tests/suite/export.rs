//! Old blocks go to files and leave the store: nothing else is any different, and whoever altered anything is found out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use creditservice::{Config, Running, Sockets, export::command::verify_journal};
use photon_store::{Scan, Store};
use photon_testkit::{InProcessChainfire, in_process_chainfire, poll::eventually};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::house::{Caller, PATIENCE, config};

/// More than a page: these are paged at once.
const MANY: usize = 300;

/// A store, and the directories that services over it export to.
struct Place {
    chainfire: InProcessChainfire,
    store: Store,
    dir: TempDir,
}

impl Place {
    async fn new() -> Self {
        let chainfire = Box::pin(in_process_chainfire()).await.unwrap();
        let options = photon_store::Options::new([chainfire.endpoint()]);
        Self {
            store: Store::connect(options).await.unwrap(),
            chainfire,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What exports all that is in a snapshot and in pages, however young.
    fn config(&self, name: &str) -> Config {
        let mut config = config(&self.chainfire.endpoint());
        config.shards.snapshot_entries = 20;
        config.export.directory = Some(self.directory(name));
        config.export.keep_days = 0;
        config.export.every_seconds = 1;
        config
    }

    async fn start(&self, name: &str) -> (Running, Caller) {
        self.start_with(self.config(name)).await
    }

    async fn start_with(&self, config: Config) -> (Running, Caller) {
        let running = Box::pin(creditservice::start(config, Sockets::default()))
            .await
            .unwrap();
        let operator = Caller::of(&running);
        operator.until_ready().await;
        (running, operator)
    }

    /// Writes ten blocks more, that no one exports.
    async fn add_kept(&self, projects: &[&str]) {
        let mut keeps = self.config("a");
        keeps.export.directory = None;
        let (running, operator) = self.start_with(keeps).await;
        for project in projects {
            top_up(&operator, project, 10).await;
        }
        running.stop().await;
    }

    async fn get(&self, key: &str) -> Option<Value> {
        let entry = self.store.get_raw(key).await.unwrap()?;
        Some(serde_json::from_slice(&entry.value).unwrap())
    }

    async fn put(&self, key: &str, value: impl AsRef<[u8]>) {
        let mut transaction = self.store.transaction();
        let value = value.as_ref().to_vec();
        transaction.put_raw(key, value, 0).unwrap();
        transaction.commit().await.unwrap();
    }

    async fn delete(&self, key: &str) {
        let mut transaction = self.store.transaction();
        transaction.delete_raw(key).unwrap();
        transaction.commit().await.unwrap();
    }

    /// The first block in the store.
    async fn first_block(&self, shard: u16) -> Value {
        let scan = Scan::below(format!("/photon/creditservice/journal/{shard}/"), 1);
        let entries = self.store.scan(&scan).await.unwrap().entries;
        serde_json::from_slice(&entries[0].value).unwrap()
    }

    /// Up to which block a shard was exported, once that is all that can be, and at least so far. Tests write one entry a
    /// block, so both have the same numbers.
    async fn exported(&self, shard: u16, at_least: u64) -> Value {
        let of_shard = |what: &str| format!("/photon/creditservice/{what}");
        let key = of_shard(&format!("shard/{shard}/exported"));
        let paged = of_shard(&format!("shard/{shard}/paged"));
        let snapshot = of_shard(&format!("snapshot/{shard}/current"));
        eventually("blocks are exported", PATIENCE, || async {
            let exported = self.get(&key).await?;
            let snapshot = self.get(&snapshot).await?["block"].as_u64()?;
            let can_be = snapshot.min(self.get(&paged).await?["seq"].as_u64()?);
            (can_be >= at_least && exported["block"] == can_be).then_some(exported)
        })
        .await
        .unwrap()
    }

    /// What `verify-journal` says: good or not, and the text.
    async fn verify(&self, name: &str, more: &[PathBuf]) -> (bool, String) {
        let mut out = Vec::new();
        let verified = verify_journal(&self.config(name), more, &mut out).await;
        let mut text = String::from_utf8(out).unwrap();
        if let Err(error) = &verified {
            text += &format!("{error:#}");
        }
        (verified.is_ok(), text)
    }

    #[track_caller]
    fn assert_intact(said: &(bool, String)) {
        assert!(said.0, "{}", said.1);
    }

    async fn stop(mut self) {
        self.chainfire.stop().await;
    }
}

/// The shard of a project, as it is documented.
fn shard_of(project: &str) -> u16 {
    let digest = Sha256::digest(project);
    let first = u64::from_be_bytes(digest[..8].try_into().unwrap());
    u16::try_from(first % 8).unwrap()
}

fn block_key(shard: u16, block: u64) -> String {
    format!("/photon/creditservice/journal/{shard}/{block:016x}")
}

fn sha256(line: &str) -> String {
    let digest = Sha256::digest(line);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn top_up(operator: &Caller, project: &str, times: usize) {
    let path = format!("/api/v1/wallets/{project}/topup");
    for n in 0..times {
        let body = json!({ "amount": 1, "description": format!("n{n}") });
        operator.post(&path, body).await.data();
    }
}

/// The files of a shard, oldest first.
fn files(directory: &Path, shard: u16) -> Vec<PathBuf> {
    let found = fs::read_dir(directory.join(shard.to_string())).unwrap();
    let mut files: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn lines(directory: &Path, shard: u16) -> Vec<String> {
    let texts = files(directory, shard)
        .into_iter()
        .map(|path| fs::read_to_string(path).unwrap());
    texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// As anybody can do it with sha256sum and jq: each line names the hash of the one before. The number and hash of the last.
fn follow(lines: &[String]) -> (u64, String) {
    let (mut block, mut hash) = (0, String::new());
    for line in lines {
        let read: Value = serde_json::from_str(line).unwrap();
        assert_eq!(read["block"], block + 1);
        assert_eq!(read["prev"], hash);
        (block, hash) = (block + 1, sha256(line));
    }
    (block, hash)
}

/// Changes one line of the only file of a shard; the whole text as it was.
fn edit(directory: &Path, shard: u16, change: impl FnOnce(&mut Vec<String>)) -> (PathBuf, String) {
    let path = files(directory, shard).remove(0);
    let was = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = was.lines().map(str::to_owned).collect();
    change(&mut lines);
    lines.push(String::new());
    fs::write(&path, lines.join("\n")).unwrap();
    (path, was)
}

#[tokio::test(flavor = "multi_thread")]
async fn exported_blocks_are_in_files_and_everything_goes_on() {
    let place = Place::new().await;
    let (directory, shard) = (place.directory("a"), shard_of("shop"));
    let (running, operator) = place.start("a").await;
    operator.wallet("shop", 1_000).await;
    let held = operator.reserve("shop", 70, 600).await.id();
    let key = json!({ "amount": 5 });
    let first = operator
        .keyed("k", "/api/v1/wallets/shop/topup", key.clone())
        .await;
    top_up(&operator, "shop", MANY).await;
    let history = operator.transactions("shop", "").await;
    assert_eq!(history.len(), MANY + 2);
    let exported = place.exported(shard, 200).await;
    assert_eq!(exported["v"], 1);
    // What is told meanwhile is the same, and the journal is whole.
    assert_eq!(operator.transactions("shop", "").await, history);
    let said = place.verify("a", &[]).await;
    Place::assert_intact(&said);
    running.stop().await;

    let (last, hash) = follow(&lines(&directory, shard));
    let exported = place.exported(shard, last).await;
    assert_eq!(
        (&exported["block"], &exported["hash"]),
        (&json!(last), &json!(hash))
    );
    let next = place.first_block(shard).await;
    assert_eq!(
        (&next["block"], &next["prev"]),
        (&json!(last + 1), &json!(hash))
    );
    // A shard that has no snapshot keeps its journal.
    assert!(!directory.join(shard_of("lab").to_string()).exists());

    // Who takes over finds everything; what was done before the exported blocks too.
    let (running, operator) = place.start("a").await;
    let balance = 1_005 + i64::try_from(MANY).unwrap();
    assert_eq!(operator.figures("shop").await, [balance, 70, balance - 70]);
    assert_eq!(operator.transactions("shop", "").await, history);
    let again = operator.keyed("k", "/api/v1/wallets/shop/topup", key).await;
    assert!(again.replayed);
    assert_eq!(again.data(), first.data());
    let release = format!("/api/v1/reservations/{held}/release");
    operator.post(&release, json!({})).await.data();
    top_up(&operator, "shop", MANY).await;
    place.exported(shard, last + 200).await;
    running.stop().await;
    let (longer, _) = follow(&lines(&directory, shard));
    assert!(longer >= last + 200);
    let said = place.verify("a", &[]).await;
    Place::assert_intact(&said);
    let expected = format!("shard {shard}: intact, ");
    assert!(said.1.contains(&expected), "{}", said.1);
    assert!(
        said.1.contains(&format!("({longer} from files)")),
        "{}",
        said.1
    );

    // Without a directory nothing more is exported, and nothing is missed.
    let mut keeps = place.config("a");
    keeps.export.directory = None;
    let (running, operator) = place.start_with(keeps).await;
    assert_eq!(operator.transactions("shop", "").await.len(), 2 * MANY + 2);
    running.stop().await;
    place.stop().await;
}

/// Blocks that were appended and not removed come again: they are filed once.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_append_and_removal_files_nothing_twice() {
    let place = Place::new().await;
    let (directory, shard) = (place.directory("a"), shard_of("shop"));
    let (running, operator) = place.start("a").await;
    operator.wallet("shop", 1_000).await;
    top_up(&operator, "shop", MANY).await;
    place.exported(shard, 200).await;
    running.stop().await;
    let filed = lines(&directory, shard);
    let (last, _) = follow(&filed);

    // As if the last removal had not happened.
    let before = last - 7;
    for (line, block) in filed.iter().zip(1..).skip(usize::try_from(before).unwrap()) {
        place.put(&block_key(shard, block), line).await;
    }
    let exported_key = format!("/photon/creditservice/shard/{shard}/exported");
    let hash = sha256(&filed[usize::try_from(before).unwrap() - 1]);
    let exported = json!({ "v": 1, "block": before, "hash": hash });
    place.put(&exported_key, exported.to_string()).await;
    let said = place.verify("a", &[]).await;
    Place::assert_intact(&said);
    let said_filed = format!("({before} from files)");
    assert!(said.1.contains(&said_filed), "{}", said.1);

    // A line half written is nothing.
    let path = files(&directory, shard).remove(0);
    let was = fs::read_to_string(&path).unwrap();
    let cut = was.trim_end().rfind('\n').unwrap() + 20;
    fs::write(&path, &was[..cut]).unwrap();
    Place::assert_intact(&place.verify("a", &[]).await);

    let (running, operator) = place.start("a").await;
    place.exported(shard, last).await;
    assert_eq!(operator.transactions("shop", "").await.len(), MANY + 1);
    running.stop().await;
    let now = lines(&directory, shard);
    follow(&now);
    assert_eq!(now[..filed.len()], filed);
    Place::assert_intact(&place.verify("a", &[]).await);
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_altered_is_found_with_its_shard_and_block() {
    let place = Place::new().await;
    let (directory, shard) = (place.directory("a"), shard_of("shop"));
    let (running, operator) = place.start("a").await;
    operator.wallet("shop", 1_000).await;
    operator.wallet("lab", 1_000).await;
    top_up(&operator, "shop", MANY).await;
    place.exported(shard, 200).await;
    running.stop().await;
    place.add_kept(&["shop"]).await;
    let (last, _) = follow(&lines(&directory, shard));
    let broken = async |block: u64, why: &str| {
        let (good, text) = place.verify("a", &[]).await;
        let expected = format!("shard {shard}: BROKEN: block {block}");
        assert!(
            !good && text.contains(&expected) && text.contains(why),
            "{text}"
        );
        // The others are looked at too.
        let other = format!("shard {}: intact", shard_of("lab"));
        assert!(text.contains(&other), "{text}");
    };

    // An amount in a file: the block behind it names another one. The entry alone would pass: it balances.
    let alter = |lines: &mut Vec<String>| {
        let line = lines[50].replace("n49", "n94");
        assert_ne!(line, lines[50]);
        lines[50] = line;
    };
    let (path, was) = edit(&directory, shard, alter);
    broken(52, "line 52").await;
    // Out of a file.
    fs::write(&path, &was).unwrap();
    edit(&directory, shard, |lines| drop(lines.remove(50)));
    broken(51, "in none of the files").await;
    // Off the end of a file.
    fs::write(&path, &was).unwrap();
    edit(&directory, shard, |lines| drop(lines.pop()));
    broken(last, "in none of the files").await;
    // The last one in a file: the store remembers its hash.
    fs::write(&path, &was).unwrap();
    edit(&directory, shard, |lines| {
        lines.last_mut().unwrap().push(' ')
    });
    broken(last, "another hash").await;
    // A line that is none.
    fs::write(&path, &was).unwrap();
    edit(&directory, shard, |lines| {
        "nonsense".clone_into(&mut lines[7])
    });
    let (good, text) = place.verify("a", &[]).await;
    assert!(!good && text.contains("line 8: no block"), "{text}");
    fs::write(&path, &was).unwrap();
    Place::assert_intact(&place.verify("a", &[]).await);

    // In the store.
    let stored = last + 2;
    let key = block_key(shard, stored);
    let was = place.store.get_raw(&key).await.unwrap().unwrap().value;
    let text = String::from_utf8(was.to_vec()).unwrap();
    place
        .put(&key, text.replace("\"epoch\":", "\"epoch\":1"))
        .await;
    broken(stored + 1, "does not follow").await;
    place.delete(&key).await;
    broken(stored, "missing in the store").await;
    place.put(&key, &was).await;
    // What was exported is back, or lies behind the end.
    place.put(&block_key(shard, last), &was).await;
    let (good, text) = place.verify("a", &[]).await;
    assert!(!good && text.contains("still there"), "{text}");
    place.delete(&block_key(shard, last)).await;
    place.put(&block_key(shard, 9_999), &was).await;
    let (good, text) = place.verify("a", &[]).await;
    assert!(!good && text.contains("behind the end"), "{text}");
    place.delete(&block_key(shard, 9_999)).await;
    Place::assert_intact(&place.verify("a", &[]).await);

    // The head, and the snapshot: somebody gave himself something and wrote it where an owner begins.
    let head_key = format!("/photon/creditservice/shard/{shard}/head");
    let head = place.get(&head_key).await.unwrap();
    let mut forged = head.clone();
    forged["seq"] = json!(head["seq"].as_u64().unwrap() + 1);
    place.put(&head_key, forged.to_string()).await;
    broken(head["block"].as_u64().unwrap(), "head").await;
    place.put(&head_key, head.to_string()).await;
    forge_snapshot(&place, shard).await;
    let (good, text) = place.verify("a", &[]).await;
    assert!(
        !good && text.contains("not what the journal comes to"),
        "{text}"
    );
    place.stop().await;
}

/// Lets the wallet spend more than it has, with a checksum that is right.
async fn forge_snapshot(place: &Place, shard: u16) {
    let scan = Scan::below(format!("/photon/creditservice/snapshot/{shard}/"), 10);
    let entries = place.store.scan(&scan).await.unwrap().entries;
    let chunk = entries.iter().find(|entry| !entry.key.ends_with("current"));
    let chunk = chunk.unwrap();
    let text = String::from_utf8(chunk.value.to_vec()).unwrap();
    let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
    rows.pop();
    let forged: Vec<String> = rows
        .iter()
        .map(|row| row.replace("\"allow_overage\":false", "\"allow_overage\":true"))
        .collect();
    assert_ne!(forged, rows, "{text}");
    let body: String = forged.iter().map(|row| format!("{row}\n")).collect();
    let end = json!({ "end": { "rows": forged.len(), "sha256": sha256(&body) } });
    place.put(&chunk.key, format!("{body}{end}\n")).await;
}

/// A journal that does not begin where its export ended is not served; nor one whose only beginning cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_beginning_a_shard_is_not_served() {
    let place = Place::new().await;
    let [shop, lab] = ["shop", "lab"].map(shard_of);
    let (running, operator) = place.start("a").await;
    let mut last = 0;
    for project in ["lab", "shop"] {
        operator.wallet(project, 1_000).await;
        top_up(&operator, project, MANY).await;
        let exported = place.exported(shard_of(project), 200).await;
        last = exported["block"].as_u64().unwrap();
    }
    running.stop().await;
    place.add_kept(&["shop", "lab"]).await;

    let first = block_key(shop, last + 1);
    let was = place.store.get_raw(&first).await.unwrap().unwrap().value;
    place.delete(&first).await;
    let scan = Scan::below(format!("/photon/creditservice/snapshot/{lab}/"), 10);
    let chunk = place.store.scan(&scan).await.unwrap().entries.remove(0);
    place.put(&chunk.key, "{}\n").await;
    let running = Box::pin(creditservice::start(place.config("a"), Sockets::default()))
        .await
        .unwrap();
    let anybody = Caller::of(&running);
    let (shop, lab) = tokio::join!(
        anybody.get("/api/v1/wallets/shop"),
        anybody.get("/api/v1/wallets/lab")
    );
    assert_eq!(shop.error(), (503, "UNAVAILABLE", ""));
    assert_eq!(lab.error(), (503, "UNAVAILABLE", ""));
    running.stop().await;

    place.put(&first, &was).await;
    place.put(&chunk.key, &chunk.value).await;
    let (running, operator) = place.start("a").await;
    let balance = 1_010 + i64::try_from(MANY).unwrap();
    for project in ["shop", "lab"] {
        assert_eq!(operator.figures(project).await[0], balance);
    }
    running.stop().await;
    place.stop().await;
}

/// A snapshot that cannot be read is nothing to remove blocks for.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_for_a_snapshot_that_cannot_be_read() {
    let place = Place::new().await;
    let shard = shard_of("shop");
    let mut keeps = place.config("a");
    keeps.export.directory = None;
    let (running, operator) = place.start_with(keeps).await;
    for project in ["shop", "lab"] {
        operator.wallet(project, 1_000).await;
        top_up(&operator, project, MANY).await;
        let paged = format!("/photon/creditservice/shard/{}/paged", shard_of(project));
        eventually("entries are in pages", PATIENCE, || async {
            (place.get(&paged).await?["seq"].as_u64()? >= 256).then_some(())
        })
        .await
        .unwrap();
    }
    let balance = operator.figures("shop").await[0];
    running.stop().await;
    let scan = Scan::below(format!("/photon/creditservice/snapshot/{shard}/"), 10);
    let chunk = place.store.scan(&scan).await.unwrap().entries.remove(0);
    place.put(&chunk.key, "{}\n").await;
    // Its journal is all there is: it stays, while others are exported.
    let mut exports = place.config("a");
    exports.shards.snapshot_entries = 1_000_000;
    let (running, operator) = place.start_with(exports).await;
    place.exported(shard_of("lab"), 200).await;
    assert_eq!(operator.figures("shop").await[0], balance);
    running.stop().await;
    assert_eq!(place.first_block(shard).await["block"], 1);
    assert!(!place.directory("a").join(shard.to_string()).exists());
    place.stop().await;
}

/// Each host files what it owns, in a directory of its own or a common one; together the files are whole.
#[tokio::test(flavor = "multi_thread")]
async fn several_hosts_file_what_they_own() {
    let place = Place::new().await;
    let (one, a) = place.start("a").await;
    a.wallet("shop", 0).await;
    top_up(&a, "shop", MANY).await;
    let shard = shard_of("shop");
    place.exported(shard, 200).await;
    one.stop().await;
    let (last, _) = follow(&lines(&place.directory("a"), shard));
    let (other, b) = place.start("b").await;
    top_up(&b, "shop", MANY).await;
    place.exported(shard, last + 200).await;
    other.stop().await;
    let more = [place.directory("a")];
    Place::assert_intact(&place.verify("b", &more).await);
    let (good, text) = place.verify("b", &[]).await;
    let expected = format!("shard {shard}: BROKEN: block 1: missing, and all up to {last}");
    assert!(!good && text.contains(&expected), "{text}");
    let (good, text) = place.verify("b", &[place.directory("c")]).await;
    assert!(!good && text.contains("not a directory"), "{text}");

    // Two that are there at once, with one directory.
    let (one, a) = place.start("b").await;
    let (other, b) = place.start("b").await;
    a.wallet("p1", 0).await;
    top_up(&b, "p1", MANY).await;
    place.exported(shard_of("p1"), 200).await;
    Place::assert_intact(&place.verify("b", &more).await);
    one.stop().await;
    other.stop().await;
    Place::assert_intact(&place.verify("b", &more).await);
    place.stop().await;
}

/// The command itself.
#[tokio::test(flavor = "multi_thread")]
async fn verify_journal_is_a_command() {
    let place = Place::new().await;
    let directory = place.directory("a");
    let text = format!(
        "[store]\nendpoints = [{:?}]\n[shards]\ncount = 8\n[export]\ndirectory = {directory:?}\n",
        place.chainfire.endpoint()
    );
    let path = place.dir.path().join("creditservice.toml");
    fs::write(&path, text).unwrap();
    let command = async |more: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_creditservice"));
        command.args(["verify-journal", "--config"]).arg(&path);
        command.args(more);
        let run = tokio::task::spawn_blocking(move || command.output());
        run.await.unwrap().unwrap()
    };
    let stderr = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let nothing = command(&[]).await;
    assert!(!nothing.status.success());
    assert!(
        stderr(&nothing).contains("no ledger"),
        "{}",
        stderr(&nothing)
    );

    let (running, operator) = place.start("a").await;
    operator.wallet("shop", 5).await;
    let good = command(&[]).await;
    assert!(good.status.success(), "{}", stderr(&good));
    let said = String::from_utf8(good.stdout).unwrap();
    assert!(
        said.contains("all 8 shards intact: 1 entries in 1 blocks"),
        "{said}"
    );
    running.stop().await;
    let none = command(&["--directory", "/nowhere"]).await;
    assert!(!none.status.success());
    assert!(stderr(&none).contains("/nowhere"), "{}", stderr(&none));

    let key = block_key(shard_of("shop"), 1);
    place.delete(&key).await;
    let bad = command(&[]).await;
    assert!(!bad.status.success());
    let said = String::from_utf8_lossy(&bad.stdout).into_owned();
    assert!(said.contains("BROKEN: block 1"), "{said}");
    assert!(
        stderr(&bad).contains("1 of 8 shards broken"),
        "{}",
        stderr(&bad)
    );
    place.stop().await;
}
