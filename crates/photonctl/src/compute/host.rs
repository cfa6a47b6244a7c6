//! `photonctl host list`: machines, as PlasmaVMC sees them.

use serde_json::Value;

use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{Session, list},
};

const COLUMNS: &[&str] = &[
    "ID",
    "STATE",
    "RUNS_BY",
    "VMS",
    "CPUS",
    "MEMORY_MB",
    "DISK_GB",
    "ORPHANS",
    "PROBLEMS",
];

/// Lists the hosts that have an agent of PlasmaVMC.
pub(crate) async fn list(session: &Session, format: Format) -> Result<(), Failure> {
    let path = ["api", "v1", "hosts"];
    let service = session.compute()?;
    let found = list::whole(&service, &path, "hosts").await?;
    if let Some(found) = list::for_people(format, "hosts", found)? {
        let rows: Vec<Vec<String>> = found.rows.iter().map(row).collect();
        output::table(COLUMNS, &rows)?;
    }
    Ok(())
}

/// What is given out is told before what there is: `6/8`.
fn row(host: &Value) -> Vec<String> {
    let (used, agent) = (&host["used"], &host["agent"]);
    let share = |used: &Value, all: &Value| format!("{}/{}", number(used), number(all));
    let all = |list: &Value| -> Vec<String> {
        let texts = list.as_array().into_iter().flatten().map(output::cell);
        texts.collect()
    };
    vec![
        output::cell(&host["id"]),
        output::cell(&host["state"]),
        runs_by(agent).to_owned(),
        number(&used["vms"]),
        share(&used["vcpus"], &agent["cpus"]),
        share(&used["memory_mb"], &agent["memory_mb"]),
        share(&used["disk_size_gb"], &agent["disk_size_gb"]),
        all(&agent["orphans"]).len().to_string(),
        all(&agent["problems"]).join("; "),
    ]
}

fn number(value: &Value) -> String {
    value
        .as_u64()
        .map_or_else(|| "?".to_owned(), |number| number.to_string())
}

/// The best that a host has, as its agent's probe has shown.
fn runs_by(agent: &Value) -> &'static str {
    match (agent["kvm"].as_bool(), agent["emulation"].as_bool()) {
        (Some(true), _) => "kvm",
        (_, Some(true)) => "emulation",
        (Some(false), _) => "nothing",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_host_is_told_in_a_line() {
        let host = json!({
            "id": "host-1", "state": "up",
            "agent": {
                "kvm": false, "emulation": true, "cpus": 8, "memory_mb": 16384, "disk_size_gb": 100,
                "problems": ["one", "two"], "orphans": ["vm-1"],
            },
            "used": {"vms": 2, "vcpus": 6, "memory_mb": 4096, "disk_size_gb": 20},
        });
        let columns = "host-1 up emulation 2 6/8 4096/16384 20/100 1";
        let [all @ .., problems] = &row(&host)[..] else {
            panic!("no columns");
        };
        assert_eq!(all.join(" "), columns);
        assert_eq!(problems, "one; two");
        assert_eq!(all.len() + 1, COLUMNS.len());
        // One whose agent has said nothing yet.
        let silent = json!({"id": "host-2", "state": "silent", "agent": null, "used": {"vms": 1}});
        assert_eq!(row(&silent)[..5], ["host-2", "silent", "?", "1", "?/?"]);
    }
}
