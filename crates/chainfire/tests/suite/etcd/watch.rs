//! Watches: history, resume, compaction, progress, fragments.

use etcd_client::{EventType, WatchFilterType, WatchOptions};
use photon_proto::{
    etcdserverpb::{
        WatchCreateRequest, WatchRequest, WatchResponse, watch_client::WatchClient,
        watch_request::RequestUnion,
    },
    mvccpb::event::EventType as RawEventType,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{node::Node, soon};

#[tokio::test]
async fn a_watch_sees_history_and_then_what_happens() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.put("w/1", "old", None).await.unwrap();
    client.put("other", "", None).await.unwrap();
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(2)
        .with_prev_key();
    let mut watch = client.watch("w/", Some(options)).await.unwrap();
    let created = soon("created", watch.message()).await.unwrap().unwrap();
    assert!(created.created() && created.events().is_empty());
    let first = soon("history", watch.message()).await.unwrap().unwrap();
    assert_eq!(first.events()[0].kv().unwrap().value(), b"old");

    client.put("w/1", "new", None).await.unwrap();
    let second = soon("an event", watch.message()).await.unwrap().unwrap();
    let event = &second.events()[0];
    assert_eq!(event.kv().unwrap().mod_revision(), 4);
    assert_eq!(event.prev_kv().unwrap().value(), b"old");

    client.delete("w/1", None).await.unwrap();
    let third = soon("a delete", watch.message()).await.unwrap().unwrap();
    let event = &third.events()[0];
    assert_eq!(event.event_type(), EventType::Delete);
    assert_eq!(event.kv().unwrap().mod_revision(), 5);
    assert_eq!(event.prev_kv().unwrap().value(), b"new");

    watch.request_progress().await.unwrap();
    let progress = soon("progress", watch.message()).await.unwrap().unwrap();
    assert_eq!(progress.watch_id(), -1);
    assert!(progress.events().is_empty());
    assert_eq!(progress.header().unwrap().revision(), 5);

    watch.cancel(created.watch_id()).await.unwrap();
    let canceled = soon("canceled", watch.message()).await.unwrap().unwrap();
    assert!(canceled.canceled());
    node.stop().await;
}

#[tokio::test]
async fn a_watch_resumes_after_a_restart_without_loss_or_repeat() {
    let node = Node::start().await;
    let mut client = node.client().await;
    for i in 0..50 {
        client.put(format!("r/{i}"), "", None).await.unwrap();
    }
    let node = node.restart().await;
    let mut client = node.client().await;
    for i in 50..60 {
        client.put(format!("r/{i}"), "", None).await.unwrap();
    }
    let options = WatchOptions::new().with_prefix().with_start_revision(22);
    let mut watch = client.watch("r/", Some(options)).await.unwrap();
    let mut revisions = Vec::new();
    while revisions.len() < 40 {
        let message = soon("history", watch.message()).await.unwrap().unwrap();
        revisions.extend(
            message
                .events()
                .iter()
                .map(|e| e.kv().unwrap().mod_revision()),
        );
    }
    assert_eq!(revisions, (22..62).collect::<Vec<_>>());
    node.stop().await;
}

#[tokio::test]
async fn a_watch_from_a_compacted_revision_is_told_so() {
    let node = Node::start().await;
    let mut client = node.client().await;
    for _ in 0..5 {
        client.put("k", "", None).await.unwrap();
    }
    client.compact(4, None).await.unwrap();
    let from = |revision| Some(WatchOptions::new().with_start_revision(revision));
    let mut watch = client.watch("k", from(3)).await.unwrap();
    let created = soon("created", watch.message()).await.unwrap().unwrap();
    assert!(created.created());
    let canceled = soon("canceled", watch.message()).await.unwrap().unwrap();
    assert!(canceled.canceled());
    assert_eq!(
        (canceled.compact_revision(), canceled.cancel_reason()),
        (4, "")
    );
    watch.watch("k", from(4)).await.unwrap();
    let created = soon("created", watch.message()).await.unwrap().unwrap();
    assert!(created.created() && !created.canceled());
    let events = soon("events", watch.message()).await.unwrap().unwrap();
    assert_eq!(events.events()[0].kv().unwrap().mod_revision(), 4);
    node.stop().await;
}

#[tokio::test]
async fn filters_and_refusals() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let no_puts = WatchOptions::new().with_filters([WatchFilterType::NoPut]);
    let mut watch = client.watch("k", Some(no_puts)).await.unwrap();
    soon("created", watch.message()).await.unwrap();
    client.put("k", "", None).await.unwrap();
    client.delete("k", None).await.unwrap();
    let message = soon("the delete", watch.message()).await.unwrap().unwrap();
    assert_eq!(message.events().len(), 1);
    assert_eq!(message.events()[0].event_type(), EventType::Delete);

    let same_id = WatchOptions::new().with_watch_id(0).with_range("a");
    watch.watch("b", Some(same_id)).await.unwrap();
    let refused = soon("a refusal", watch.message()).await.unwrap().unwrap();
    assert!(refused.created() && refused.canceled());
    assert_eq!(refused.watch_id(), -1);
    assert_eq!(refused.cancel_reason(), "mvcc: watcher range is empty");
    node.stop().await;
}

/// A watch over the generated stubs, for what `etcd-client` hides.
async fn raw(
    node: &Node,
    create: WatchCreateRequest,
) -> (mpsc::Sender<WatchRequest>, Streaming<WatchResponse>) {
    let mut client = WatchClient::new(node.channel().await).max_decoding_message_size(64 << 20);
    let (requests, stream) = mpsc::channel(4);
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    requests.send(create).await.unwrap();
    let mut request = tonic::Request::new(ReceiverStream::new(stream));
    request
        .metadata_mut()
        .insert("hasleader", "true".parse().unwrap());
    let responses = client.watch(request).await.unwrap().into_inner();
    (requests, responses)
}

#[tokio::test]
async fn large_responses_come_in_fragments_to_those_who_can_join_them() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let value = vec![b'x'; 400 << 10];
    for i in 0..6 {
        client
            .put(format!("f/{i}"), value.clone(), None)
            .await
            .unwrap();
    }
    let lots = etcd_client::Txn::new().and_then([etcd_client::TxnOp::delete(
        "f/",
        Some(etcd_client::DeleteOptions::new().with_prefix()),
    )]);
    client.txn(lots).await.unwrap();

    // The deletes of one revision carry six previous values of 400 KiB.
    let create = |fragment| WatchCreateRequest {
        key: "f/".into(),
        range_end: "f0".into(),
        start_revision: 2,
        prev_kv: true,
        fragment,
        ..Default::default()
    };
    for fragment in [true, false] {
        let (_requests, mut responses) = raw(&node, create(fragment)).await;
        let (mut events, mut split, mut last) = (Vec::new(), 0, false);
        while events.len() < 12 || !last {
            let response = soon("a response", responses.message())
                .await
                .unwrap()
                .unwrap();
            split += usize::from(response.fragment);
            last = !response.fragment;
            let size: usize = response.events.len() * (400 << 10);
            assert!(!fragment || response.events.len() == 1 || size < 1536 << 10);
            events.extend(response.events);
        }
        let kinds: Vec<_> = events.iter().map(|event| event.r#type()).collect();
        assert_eq!(kinds[..6], [RawEventType::Put; 6]);
        assert_eq!(kinds[6..], [RawEventType::Delete; 6]);
        assert_eq!(split > 0, fragment, "{split} parts were not the last");
    }
    node.stop().await;
}

#[tokio::test]
async fn two_hundred_watchers_hear_everything_once() {
    let node = Node::start().await;
    let client = node.client().await;
    let mut watchers = tokio::task::JoinSet::new();
    let ready = std::sync::Arc::new(tokio::sync::Barrier::new(201));
    for _ in 0..200 {
        let mut client = client.clone();
        let ready = ready.clone();
        watchers.spawn(async move {
            let options = WatchOptions::new().with_prefix();
            let mut watch = client.watch("e/", Some(options)).await.unwrap();
            assert!(watch.message().await.unwrap().unwrap().created());
            ready.wait().await;
            let mut seen = Vec::new();
            while seen.len() < 20 {
                let message = watch.message().await.unwrap().unwrap();
                seen.extend(
                    message
                        .events()
                        .iter()
                        .map(|e| e.kv().unwrap().mod_revision()),
                );
            }
            seen
        });
    }
    soon("all watchers", ready.wait()).await;
    let mut writer = client.kv_client();
    for i in 0..20 {
        writer.put(format!("e/{i}"), "", None).await.unwrap();
    }
    for seen in soon("all events", watchers.join_all()).await {
        assert_eq!(seen, (2..22).collect::<Vec<_>>());
    }
    node.stop().await;
}

#[tokio::test]
async fn a_stopping_node_ends_its_streams() {
    let node = Node::start().await;
    let (_requests, mut responses) = raw(
        &node,
        WatchCreateRequest {
            key: "k".into(),
            ..Default::default()
        },
    )
    .await;
    assert!(
        soon("created", responses.message())
            .await
            .unwrap()
            .unwrap()
            .created
    );
    let stop = tokio::spawn(node.stop());
    let end = soon("the end", responses.message()).await.unwrap_err();
    assert_eq!(end.message(), "etcdserver: server stopped");
    soon("the stop", stop).await.unwrap();
}
