//! Status, snapshot, hashes, alarms, members.

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, PutOptions};
use sha2::{Digest as _, Sha256};
use tonic::Code;

use super::{node::Node, refused, soon};

#[tokio::test]
async fn status_speaks_as_a_3_6_member() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.put("a", "1", None).await.unwrap();
    let status = client.status().await.unwrap();
    assert!(status.version().starts_with("3.6."), "{}", status.version());
    assert_eq!(status.leader(), 1);
    assert!(status.db_size() > 0);
    assert!(status.raft_index() > 0);
    assert!(status.raft_term() > 0);
    assert!(!status.is_learner());
    assert!(status.errors().is_empty(), "{:?}", status.errors());
    let members = client.member_list().await.unwrap();
    let member = &members.members()[0];
    assert_eq!(
        (member.id(), member.name(), member.is_learner()),
        (1, "node-1", false)
    );
    assert_eq!(member.client_urls(), [node.url("")]);
    node.stop().await;
}

#[tokio::test]
async fn a_snapshot_is_a_tar_with_its_checksum_behind_it() {
    let node = Node::start().await;
    let mut client = node.client().await;
    for i in 0..200 {
        client
            .put(format!("s/{i}"), vec![b'v'; 1000], None)
            .await
            .unwrap();
    }
    let mut stream = client.snapshot().await.unwrap();
    let (mut blobs, mut remaining) = (Vec::new(), Vec::new());
    while let Some(message) = soon("a blob", stream.message()).await.unwrap() {
        remaining.push(message.remaining_bytes());
        blobs.push(message.blob().to_vec());
    }
    let checksum = blobs.pop().unwrap();
    let payload = blobs.concat();
    assert_eq!(payload.len() % 512, 0);
    assert!(blobs.iter().all(|blob| blob.len() <= 32 << 10));
    assert_eq!(Sha256::digest(&payload).as_slice(), checksum);
    assert!(remaining.is_sorted_by(|a, b| a >= b));
    assert_eq!(remaining.last(), Some(&0));
    let outgoing = node.running().app().config().snapshot_dir();
    assert_eq!(
        std::fs::read_dir(outgoing).unwrap().count(),
        0,
        "the checkpoint is gone"
    );

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot.tar");
    std::fs::write(&file, payload).unwrap();
    let mut tar = std::process::Command::new("tar");
    let tar = tar
        .arg("-xf")
        .arg(&file)
        .current_dir(dir.path())
        .status()
        .unwrap();
    assert!(tar.success());
    let manifest = std::fs::read(dir.path().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["revision"], 201);
    for file in manifest["files"].as_array().unwrap() {
        let bytes = std::fs::read(dir.path().join(file["name"].as_str().unwrap())).unwrap();
        let hex: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(file["sha256"], hex);
    }
    node.stop().await;
}

#[tokio::test]
async fn hashes_depend_on_the_data_alone() {
    let (one, other) = tokio::join!(Node::start(), Node::start());
    let (mut a, mut b) = (one.client().await, other.client().await);
    for client in [&mut a, &mut b] {
        client.put("k", "v", None).await.unwrap();
        client.put("k", "w", None).await.unwrap();
    }
    let (hash_a, hash_b) = (a.hash_kv(0).await.unwrap(), b.hash_kv(0).await.unwrap());
    assert_eq!(hash_a.hash(), hash_b.hash());
    b.put("k", "x", None).await.unwrap();
    assert_ne!(
        a.hash_kv(0).await.unwrap().hash(),
        b.hash_kv(0).await.unwrap().hash()
    );
    assert_eq!(hash_a.hash(), b.hash_kv(3).await.unwrap().hash());
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_full_store_refuses_writes_until_it_is_disarmed() {
    let node = Node::start_with(|config| config.quota_bytes = 1 << 20).await;
    let mut client = node.client().await;
    let lease = client.lease_grant(600, None).await.unwrap();
    let no_space = (
        Code::ResourceExhausted,
        "etcdserver: mvcc: database space exceeded".to_owned(),
    );
    let mut written = 0;
    let refusal = loop {
        match client
            .put(format!("q/{written}"), vec![b'v'; 64 << 10], None)
            .await
        {
            Ok(_) => written += 1,
            Err(error) => break refused::<()>(Err(error)),
        }
        assert!(written < 100, "the quota was never noticed");
    };
    assert_eq!(refusal, no_space);
    let alarms = client
        .alarm(AlarmAction::Get, AlarmType::None, None)
        .await
        .unwrap();
    assert_eq!(alarms.alarms().len(), 1);
    assert_eq!(refused(client.lease_grant(60, None).await), no_space);
    // Reading, deleting and compacting still work; they are the way out.
    assert_eq!(client.get("q/0", None).await.unwrap().kvs().len(), 1);
    let prefix = etcd_client::DeleteOptions::new().with_prefix();
    let deleted = client.delete("q/", Some(prefix)).await.unwrap();
    let revision = deleted.header().unwrap().revision();
    let physical = etcd_client::CompactionOptions::new().with_physical();
    client.compact(revision, Some(physical)).await.unwrap();
    client.lease_revoke(lease.id()).await.unwrap();
    client.defragment().await.unwrap();
    let mut raised_by_1 = AlarmOptions::new();
    raised_by_1.with_member(1);
    client
        .alarm(
            AlarmAction::Deactivate,
            AlarmType::Nospace,
            Some(raised_by_1),
        )
        .await
        .unwrap();
    client
        .put("q/0", "v", Some(PutOptions::new()))
        .await
        .unwrap();
    node.stop().await;
}

#[tokio::test]
async fn leadership_moves_only_to_voters() {
    let node = Node::start().await;
    let mut client = node.client().await;
    assert_eq!(
        refused(client.move_leader(9).await),
        (
            Code::FailedPrecondition,
            "etcdserver: bad leader transferee".to_owned()
        )
    );
    assert_eq!(
        refused(client.member_remove(9).await),
        (Code::NotFound, "etcdserver: member not found".to_owned())
    );
    assert_eq!(
        refused(client.member_add(["nonsense"], None).await),
        (
            Code::InvalidArgument,
            "etcdserver: given member URLs are invalid".to_owned()
        )
    );
    let (code, text) = refused(client.member_add(["http://127.0.0.1:1"], None).await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(
        text.contains("127.0.0.1:1") && text.contains("does not answer"),
        "{text}"
    );
    assert_eq!(client.member_list().await.unwrap().members().len(), 1);
    node.stop().await;
}
