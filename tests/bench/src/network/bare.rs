//! What a port's transaction is without the service: as many keys, with values as long, compared and written as the service
//! does it, by the same library. How many that are, one port tells that was made.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, ensure};
use etcd_client::GetOptions;
use photon_store::{Options, Store};
use rand::RngCore;
use serde_json::json;

use super::control::Control;
use crate::load::{Worker, connect_kv};
use crate::server::Daemon;

const PROJECT: &str = "template";
/// What the service keeps.
const ROOT: &str = "/photon/prismnet/";
/// Below this are the keys of the bare transactions.
const OURS: &str = "/photon/bench/";
/// What a port is compared with that is there: its subnet, its group, the head of the audit trail. The first two stay.
const COMPARED: [&str; 2] = ["/photon/bench-subnet", "/photon/bench-group"];

/// The keys and values that a port writes, by their lengths.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    entries: Vec<(usize, usize)>,
    /// The revision of what is compared.
    revision: i64,
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: usize = self.entries.iter().map(|(key, _)| key).sum();
        let values: usize = self.entries.iter().map(|(_, value)| value).sum();
        write!(
            f,
            "{} keys of {keys} bytes with values of {values} bytes, and {} that are compared",
            self.entries.len(),
            COMPARED.len()
        )
    }
}

/// Has the service make a port, and looks at what its transaction wrote.
///
/// # Errors
/// What is refused; a transaction that wrote nothing.
pub(crate) async fn template(service: &Daemon) -> anyhow::Result<Template> {
    let mut control = Control::connect(&service.rest).await?;
    let subnet = control.subnet(PROJECT).await?;
    let body = json!({"subnet_id": subnet});
    let made = control.ask("POST /api/v1/ports", &body).await?;
    let revision = made["revision"].as_i64().context("no revision")?;
    let mut kv = connect_kv(&service.store.endpoints()[0]).await?;
    let all = GetOptions::new().with_prefix();
    let answer = kv.get(ROOT, Some(all)).await?;
    let written = answer
        .kvs()
        .iter()
        .filter(|kv| kv.mod_revision() == revision);
    let entries: Vec<(usize, usize)> = written
        .map(|kv| (kv.key().len(), kv.value().len()))
        .collect();
    ensure!(!entries.is_empty(), "a port has written nothing");
    let store = connect(service).await?;
    let mut compared = store.transaction();
    for key in COMPARED {
        compared.absent(key)?.put_raw(key, "compared", 0)?;
    }
    Ok(Template {
        entries,
        revision: compared.commit().await?.revision,
    })
}

/// A connection to the service's store, as the service has one.
///
/// # Errors
/// When it does not answer.
pub(crate) async fn connect(service: &Daemon) -> anyhow::Result<Store> {
    Ok(Store::connect(Options::new(service.store.endpoints())).await?)
}

/// A client that does such transactions.
pub(crate) struct Bare {
    store: Store,
    template: Arc<Template>,
}

impl Bare {
    /// Over a connection that others may use, too.
    pub(crate) fn new(store: Store, template: &Arc<Template>) -> Self {
        Self {
            store,
            template: Arc::clone(template),
        }
    }
}

impl Worker for Bare {
    async fn step(&mut self) -> anyhow::Result<()> {
        let mut transaction = self.store.transaction();
        for key in COMPARED {
            transaction.at_revision(key, self.template.revision)?;
        }
        for (key, value) in &self.template.entries {
            let key = some_key(*key);
            transaction
                .absent(&key)?
                .put_raw(&key, some_value(*value), 0)?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// A new key of that length, or of as many bytes as it takes to be a new one.
fn some_key(length: usize) -> String {
    let mut key = format!("{OURS}{:032x}", rand::random::<u128>());
    while key.len() < length {
        key.push('0');
    }
    key
}

/// Text that compresses as badly as ids and digests do.
fn some_value(length: usize) -> String {
    let mut bytes = vec![0; length.div_ceil(2)];
    rand::rng().fill_bytes(&mut bytes);
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_as_long_as_asked() {
        assert_eq!(some_key(100).len(), 100);
        assert_ne!(some_key(100), some_key(100));
        for length in [0, 1, 37, 500] {
            assert_eq!(some_value(length).len(), length);
        }
    }
}
