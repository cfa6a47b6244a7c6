//! A host without a hypervisor that has the real agent's door, and copies content from other hosts as the real one does.

use std::{sync::Arc, time::Duration};

use photon_store::{PageRequest, Store};
use photon_testkit::{
    eventually,
    fake_host::{FakeHost, agent},
};
use plasmavmc_agent::{
    blobs::Blobs, console::Consoles, copies::Copies, door, files::Files, images::Images,
};
use plasmavmc_door::Doors;
use plasmavmc_model::{DesiredBlob, ObservedAgent, desired, observed};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::house::{House, PATIENCE};

const LOOK: Duration = Duration::from_millis(15);

pub(crate) struct DoorHost {
    pub(crate) host: FakeHost,
    directory: tempfile::TempDir,
    working: JoinHandle<()>,
    stop: CancellationToken,
}

impl Drop for DoorHost {
    fn drop(&mut self) {
        self.stop.cancel();
        self.working.abort();
    }
}

impl DoorHost {
    pub(crate) async fn start(house: &House, name: &str) -> Self {
        let host = house.host(name).await;
        let directory = tempfile::tempdir().unwrap();
        let mut config = plasmavmc_agent::Config::new(host.name.clone());
        config.state_directory = directory.path().to_owned();
        config.door.listen.set_port(0);
        let stop = CancellationToken::new();
        let images = Arc::new(Images::new(directory.path()));
        let blobs = Arc::new(Blobs::new(directory.path(), Arc::clone(&images)));
        let consoles = Consoles::new(Files::new(directory.path()));
        let opened = door::open(&config, Arc::clone(&blobs), consoles, stop.clone()).await;
        let url = opened.unwrap().unwrap().url;
        let copies = Copies::new(host.name.clone(), blobs, Doors::new(None), stop.clone());
        let store = house.store().await;
        let key = observed::agent_key(&host.name);
        let told = move || ObservedAgent {
            blobs: images.blobs().unwrap(),
            door: Some(url.clone()),
            ..agent()
        };
        tell(&store, &key, told()).await;
        let prefix = desired::blob_prefix(&host.name);
        let working = tokio::spawn(async move {
            loop {
                tell(&store, &key, told()).await;
                let request = PageRequest {
                    prefix: prefix.clone(),
                    ..PageRequest::default()
                };
                let wanted = store.collection::<DesiredBlob>().list(&request).await;
                let wanted = wanted.unwrap().items.into_iter();
                let wanted = wanted.map(|wish| (wish.value.digest, wish.value));
                copies.update(&wanted.collect());
                tokio::time::sleep(LOOK).await;
            }
        });
        let open = eventually("the door is heard of", PATIENCE, || async {
            let hosts = house.operator.get("/api/v1/hosts").await;
            let hosts = hosts.data()["hosts"].as_array().unwrap().clone();
            let found = hosts.into_iter().find(|one| one["id"] == name)?;
            (!found["agent"]["door"].is_null()).then_some(())
        });
        open.await.unwrap();
        Self {
            host,
            directory,
            working,
            stop,
        }
    }

    /// The content that it has, if it has it.
    pub(crate) fn content(&self, digest: &str) -> Option<Vec<u8>> {
        let files = self.directory.path().join("images/files");
        std::fs::read(files.join(digest.trim_start_matches("sha256:"))).ok()
    }

    /// What a VM's guest has written to its console.
    pub(crate) fn has_written(&self, vm: &str, text: &str) {
        let directory = self.directory.path().join("vm").join(vm);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("console.log"), text).unwrap();
    }

    /// How many files there are of uploads.
    pub(crate) fn uploads(&self) -> usize {
        let uploads = self.directory.path().join("images/uploads");
        std::fs::read_dir(uploads).unwrap().count()
    }
}

async fn tell(store: &Store, key: &str, told: ObservedAgent) {
    let all = store.collection::<ObservedAgent>();
    let mut found = all.get(key).await.unwrap().unwrap();
    if found.value != told {
        found.value = told;
        all.replace(found).await.unwrap();
    }
}
