//! From a request to a guest's shell: the control plane, the agent and a guest, all of them real.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _, stream::SplitSink, stream::SplitStream};
use photon_proto::photon::plasmavmc::v1::{self as pb, vms_client::VmsClient};
use photon_testkit::eventually;
use plasmavmc::{Config, Running, Sockets};
use reqwest::{Client, StatusCode, Upgraded, header};
use serde_json::{Value, json};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::lab::{Lab, SOON};

const PROTOCOL: &str = "photon.console.v1";

struct House {
    lab: Lab,
    running: Running,
    http: Client,
    base: String,
}

/// A console that somebody looks at.
struct Looking {
    sink: SplitSink<WebSocketStream<Upgraded>, Message>,
    source: SplitStream<WebSocketStream<Upgraded>>,
    seen: String,
}

impl Looking {
    /// Waits until the guest has written that, behind what was seen before.
    async fn until(&mut self, text: &str) {
        let look = async {
            while !self.seen.contains(text) {
                match self.source.next().await {
                    Some(Ok(Message::Binary(data))) => {
                        self.seen.push_str(&String::from_utf8_lossy(&data));
                    }
                    Some(Ok(Message::Ping(_))) => {}
                    other => panic!("{other:?} after {}", self.seen),
                }
            }
        };
        let looked = tokio::time::timeout(SOON, look).await;
        assert!(looked.is_ok(), "no {text:?} in {}", self.seen);
        let at = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..at);
    }

    async fn type_in(&mut self, text: &str) {
        let data = text.as_bytes().to_vec();
        self.sink.send(Message::Binary(data.into())).await.unwrap();
    }
}

impl House {
    async fn or_skip(test: &str) -> Option<Self> {
        let lab = Lab::or_skip(test).await?;
        let mut config = Config::default();
        config.store.endpoints = vec![lab.chainfire.endpoint()];
        config.rest.address.set_port(0);
        config.grpc.address.set_port(0);
        let running = Box::pin(plasmavmc::start(config, Sockets::default()));
        let running = running.await.unwrap();
        let house = Self {
            base: format!("http://{}/api/v1/vms", running.rest_address()),
            http: Client::builder().no_proxy().build().unwrap(),
            lab,
            running,
        };
        Some(house)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let answer = self
            .http
            .get(format!("{}/{path}", self.base))
            .send()
            .await
            .unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn make(&self, body: &Value) -> String {
        let made = || async {
            let answer = self.http.post(&self.base).json(body).send().await.unwrap();
            let (status, body): (_, Value) = (answer.status(), answer.json().await.unwrap());
            // Until its host is known.
            (status == StatusCode::CREATED).then(|| body["data"]["id"].as_str().unwrap().to_owned())
        };
        eventually("a VM is taken", SOON, made).await.unwrap()
    }

    async fn look(&self, vm: &str, query: &str) -> Looking {
        let looks = || self.try_look(vm, query);
        eventually("a console is there", SOON, looks).await.unwrap()
    }

    /// None before its host has begun with the VM.
    async fn try_look(&self, vm: &str, query: &str) -> Option<Looking> {
        let asked = self
            .http
            .get(format!("{}/{vm}/console/ws{query}", self.base));
        let asked = asked
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
            .header(
                header::SEC_WEBSOCKET_PROTOCOL,
                format!("{PROTOCOL}, photon.x"),
            );
        let answer = asked.send().await.unwrap();
        if answer.status() == StatusCode::CONFLICT {
            return None;
        }
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()[header::SEC_WEBSOCKET_PROTOCOL], PROTOCOL);
        let stream = answer.upgrade().await.unwrap();
        let socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let (sink, source) = socket.split();
        Some(Looking {
            sink,
            source,
            seen: String::new(),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_types_to_a_guest_and_reads_what_it_wrote() {
    let test = "somebody_types_to_a_guest_and_reads_what_it_wrote";
    let Some(mut house) = House::or_skip(test).await else {
        return;
    };
    let script = "#!/bin/sh\necho RAN-AS $(hostname)\n";
    let vm = house
        .make(&json!({
            "name": "web", "org_id": "acme", "project_id": "shop", "vcpus": 1, "memory_mib": 128,
            "user_data": script, "start": true,
        }))
        .await;
    // From its first byte on, before it has written any.
    let mut one = house.look(&vm, "?offset=0").await;
    one.until("RAN-AS web").await;
    one.until("PHOTON-GUEST-READY").await;
    let mut two = house.look(&vm, "").await;
    two.until("PHOTON-GUEST-READY").await;
    // What one types, and what comes of it, both see.
    one.type_in("echo sum-$((40 + 2))\r").await;
    one.until("sum-42").await;
    two.until("sum-42").await;
    two.type_in("echo sum-$((40 + 3))\r").await;
    one.until("sum-43").await;

    // By gRPC it is the same.
    let address = format!("http://{}", house.running.grpc_address());
    let mut vms = VmsClient::connect(address).await.unwrap();
    let first = pb::VmConsoleInput {
        id: vm.clone(),
        offset: Some(0),
        data: Vec::from("echo sum-$((40 + 4))\r").into(),
    };
    let inputs = futures::stream::iter([first]).chain(futures::stream::pending());
    let mut output = vms.console(inputs).await.unwrap().into_inner();
    let mut seen = String::new();
    while !seen.contains("sum-44") {
        let piece = tokio::time::timeout(SOON, output.message()).await.unwrap();
        let piece = piece.unwrap().unwrap();
        assert_eq!(piece.offset, seen.len() as u64);
        seen.push_str(std::str::from_utf8(&piece.data).unwrap());
    }
    assert!(seen.contains("PHOTON-GUEST-UP"));
    drop(output);
    let asked = pb::GetVmConsoleRequest {
        id: vm.clone(),
        offset: Some(0),
        limit: 100,
    };
    let part = vms.get_console(asked).await.unwrap().into_inner();
    assert_eq!(part.data, seen.as_bytes()[..100]);

    // The agent goes, and comes back: whoever looks, looks on.
    house.lab.kill();
    house.lab.start();
    let (_, log) = eventually("the log is there again", SOON, || async {
        Some(house.get(&format!("{vm}/console?offset=0")).await)
            .filter(|(status, _)| status.is_success())
    })
    .await
    .unwrap();
    let log = &log["data"];
    let text = log["data"].as_str().unwrap();
    assert!(
        text.contains("PHOTON-GUEST-UP") && text.contains("sum-43"),
        "{text}"
    );
    assert_eq!(log["next_offset"], log["end_offset"]);
    assert_eq!(log["first_offset"], 0);
    for looking in [&mut one, &mut two] {
        let again = async {
            // What is typed while nobody listens is lost, as it is said.
            for number in 0.. {
                looking
                    .type_in(&format!("echo again-$((1000 + {number}))\r"))
                    .await;
                let seen = looking.until("again-1");
                if tokio::time::timeout(Duration::from_secs(2), seen)
                    .await
                    .is_ok()
                {
                    return;
                }
            }
        };
        tokio::time::timeout(SOON, again).await.unwrap();
    }

    // More than a hundred KiB, which both read at their own pace.
    let flood = "i=0; while [ $i -lt 3000 ]; do echo \"$i 0123456789012345678901234567890123456789\"; i=$((i+1)); done; echo END-$((1 + 1))\r";
    two.type_in(flood).await;
    two.until("END-2").await;
    one.until("END-2").await;

    // A part of the log, and the rest of it.
    let (_, part) = house.get(&format!("{vm}/console?offset=5&limit=7")).await;
    let part = &part["data"];
    assert_eq!(
        (&part["offset"], &part["next_offset"]),
        (&json!(5), &json!(12))
    );
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=524289", "limit"),
        ("offset=-1", "offset"),
        ("x=1", "x"),
    ] {
        let (status, body) = house.get(&format!("{vm}/console?{query}")).await;
        assert_eq!(
            (status.as_u16(), &body["error"]["details"]["field"]),
            (400, &json!(field)),
            "{query}"
        );
    }
    let (status, body) = house.get(&format!("{vm}/console/ws")).await;
    assert_eq!(
        (status.as_u16(), &body["error"]["details"]["field"]),
        (400, &json!("upgrade"))
    );

    // Of one that does not run there is history; who looks on hears of its next boot.
    let stop = house.http.post(format!("{}/{vm}/stop", house.base));
    stop.json(&json!({ "force": true })).send().await.unwrap();
    eventually("it is stopped", SOON, || async {
        let (_, shown) = house.get(&vm).await;
        (shown["data"]["state"] == "Stopped").then_some(())
    })
    .await
    .unwrap();
    let (_, log) = house.get(&format!("{vm}/console?limit=100000")).await;
    assert!(log["data"]["data"].as_str().unwrap().contains("END-2"));
    let start = house.http.post(format!("{}/{vm}/start", house.base));
    start.json(&json!({})).send().await.unwrap();
    one.until("PHOTON-GUEST-READY").await;

    // With the VM goes whoever looks.
    let delete = house.http.delete(format!("{}/{vm}", house.base));
    assert!(delete.send().await.unwrap().status().is_success());
    let closed = async {
        loop {
            match one.source.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.reason.to_string(),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let reason = tokio::time::timeout(SOON, closed).await.unwrap();
    assert!(reason.contains("not found"), "{reason}");
    house.running.stop().await;
}
