//! `photonctl services`: which processes there are, by the store's registry.

use photon_store::{
    Collection, PageRequest, Store, Stored,
    registry::{Process, TTL},
};
use serde_json::json;

use crate::{
    cli::Connection,
    failure::Failure,
    output::{self, Format},
};

/// Lists the processes of a service, or of all.
pub(crate) async fn run(
    connection: &Connection,
    format: Format,
    service: Option<String>,
) -> Result<(), Failure> {
    let store = Store::connect(connection.store_options()?).await?;
    let all: Collection<Process> = store.collection();
    let request = PageRequest {
        prefix: service.map_or_else(String::new, |service| format!("{service}/")),
        ..PageRequest::default()
    };
    let page = all.list(&request).await?;
    // One that a newer version wrote must not hide the others.
    for unreadable in &page.unreadable {
        eprintln!("{} cannot be read: {}", unreadable.key, unreadable.reason);
    }
    match format {
        Format::Human => table(&page.items),
        Format::Data(notation) => {
            let items: Vec<&Process> = page.items.iter().map(|stored| &stored.value).collect();
            output::data(
                notation,
                &json!({ "items": items, "listed_for_seconds": TTL.as_secs() }),
            )
        }
    }
}

fn table(processes: &[Stored<Process>]) -> Result<(), Failure> {
    let rows = processes.iter().map(|stored| {
        let process = &stored.value;
        let addresses: Vec<&str> = process.addresses.values().map(String::as_str).collect();
        vec![
            process.service.clone(),
            process.version.clone(),
            process.host.clone(),
            addresses.join(" "),
            process
                .started_at
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
            process.instance.to_string(),
        ]
    });
    let columns = [
        "SERVICE",
        "VERSION",
        "HOST",
        "ADDRESSES",
        "SINCE",
        "INSTANCE",
    ];
    output::table(&columns, &rows.collect::<Vec<_>>())
}
