//! Users and bindings by the thousand: one of each is made over REST, and what it left in the store is written again
//! under other ids. So what is in the store is what IAM writes, without this program knowing its form.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use etcd_client::{GetOptions, Txn, TxnOp};
use serde_json::json;

use super::service::Iam;
use crate::load::{connect_kv, finish};

const PROJECTS: u64 = 1_000;
const ORGS: u64 = 100;
/// Users in one transaction; each is some four keys, and the store takes 128 operations.
const BATCH: u64 = 25;
const CLIENTS: usize = 8;
const FILLING: Duration = Duration::from_secs(30 * 60);

/// What IAM keeps.
const PREFIX: &str = "/photon/iam/";
const USER: &str = "user-template";
const PROJECT: &str = "project-template";
/// A binding's id is random; the template's is whatever it got.
const BINDING_PREFIX: &str = "bnd-";

/// The keys and values of one user and its binding.
#[derive(Debug)]
pub(crate) struct Template {
    entries: Vec<(String, String)>,
    binding: String,
}

/// The id of a user.
pub(crate) fn user(index: u64) -> String {
    format!("user-{index:06}")
}

/// The project at which a user has a binding.
pub(crate) fn project_of(user: u64) -> String {
    format!("project-{:04}", user % PROJECTS)
}

/// Makes orgs, projects, and the template.
///
/// # Errors
/// What was refused.
pub(crate) async fn furnish(iam: &mut Iam) -> anyhow::Result<Template> {
    for index in 0..ORGS {
        let id = format!("org-{index:03}");
        iam.post("/api/v1/orgs", &json!({"id": id, "name": id}))
            .await?;
    }
    let projects = (0..PROJECTS).map(|index| (project_of(index), index));
    for (id, index) in projects.chain([(PROJECT.to_owned(), 0)]) {
        let org = format!("org-{:03}", index % ORGS);
        let body = json!({"id": id, "name": id, "org_id": org});
        iam.post("/api/v1/projects", &body).await?;
    }
    let body = json!({"id": USER, "name": USER, "email": format!("{USER}@example.com"), "org_id": "org-000"});
    iam.post("/api/v1/users", &body).await?;
    let body = json!({
        "principal": format!("user:{USER}"), "role": "editor", "scope": format!("project:{PROJECT}"),
    });
    let made = iam.post("/api/v1/bindings", &body).await?;
    let binding = made["id"]
        .as_str()
        .context("a binding without id")?
        .to_owned();
    read(iam, binding).await
}

/// What the template left in the store.
async fn read(iam: &Iam, binding: String) -> anyhow::Result<Template> {
    let mut client = connect_kv(&iam.store.endpoint()).await?;
    let options = GetOptions::new().with_prefix();
    let answer = client.get(PREFIX, Some(options)).await?;
    let mut entries = Vec::new();
    for entry in answer.kvs() {
        let (Ok(key), Ok(value)) = (entry.key_str(), entry.value_str()) else {
            continue;
        };
        // The user's and the binding's own keys, and the index that leads to the binding.
        let own = key.contains(USER) || key.contains(&binding);
        let leads = value.contains(&binding) && !key.contains("audit");
        if (own || leads) && !key.contains(PROJECT) {
            entries.push((key.to_owned(), value.to_owned()));
        }
    }
    let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    ensure!(
        keys.iter().any(|key| key.contains(&binding)) && keys.iter().any(|key| key.contains(USER)),
        "neither a user nor a binding is found in the store: {keys:?}"
    );
    println!("one user and one binding are {keys:#?}");
    Ok(Template { entries, binding })
}

impl Template {
    /// The same for another user.
    fn of(&self, index: u64) -> Vec<(String, String)> {
        let (user, project) = (user(index), project_of(index));
        let binding = format!("{BINDING_PREFIX}01980000-0000-7000-8000-{index:012x}");
        let other = |text: &str| {
            text.replace(USER, &user)
                .replace(PROJECT, &project)
                .replace(&self.binding, &binding)
        };
        let entries = self.entries.iter().map(|(key, value)| {
            let mut written = other(key);
            if written == *key {
                // An index by hash: only that there are as many matters here.
                let hash = key.rfind('/').map_or(0, |at| at + 1);
                written.replace_range(hash.., &format!("{index:064x}"));
            }
            (written, other(value))
        });
        entries.collect()
    }
}

/// Writes users and their bindings, and says how long it took. IAM must not be running: it would follow all of it.
///
/// # Errors
/// A failed write, or the deadline.
pub(crate) async fn add(
    iam: &Iam,
    template: &Template,
    users: Range<u64>,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(users.start));
    let template = Arc::new(Template {
        entries: template.entries.clone(),
        binding: template.binding.clone(),
    });
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = connect_kv(&iam.store.endpoint()).await?;
        let (next, template, end) = (Arc::clone(&next), Arc::clone(&template), users.end);
        tasks.push(move || async move {
            loop {
                let from = next.fetch_add(BATCH, Ordering::Relaxed);
                if from >= end {
                    return Ok(());
                }
                let puts: Vec<TxnOp> = (from..end.min(from + BATCH))
                    .flat_map(|index| template.of(index))
                    .map(|(key, value)| TxnOp::put(key, value, None))
                    .collect();
                client.txn(Txn::new().and_then(puts)).await?;
            }
        });
    }
    finish(tasks, FILLING).await?;
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::Template;

    #[test]
    fn a_template_is_written_under_other_ids() {
        let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let template = Template {
            entries: vec![
                entry("/i/user/user-template", r#"{"id":"user-template"}"#),
                entry(
                    "/i/binding/bnd-1",
                    r#"{"id":"bnd-1","scope":"project:project-template"}"#,
                ),
                entry("/i/name/binding/abc", "bnd-1"),
            ],
            binding: "bnd-1".to_owned(),
        };
        let id = "bnd-01980000-0000-7000-8000-0000000003e9";
        let written = [
            entry("/i/user/user-001001", r#"{"id":"user-001001"}"#),
            entry(
                &format!("/i/binding/{id}"),
                &format!(r#"{{"id":"{id}","scope":"project:project-0001"}}"#),
            ),
            entry(&format!("/i/name/binding/{:064x}", 1001), id),
        ];
        assert_eq!(template.of(1001), written);
    }
}
