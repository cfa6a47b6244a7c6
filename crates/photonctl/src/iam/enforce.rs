//! `photonctl enforce --check`: what would change if dev mode became enforce.
//!
//! Two things stand in the way: orgs and projects that nobody made (dev mode did, on first use), which policies may not
//! mean; and requests that were let through although no binding allows them, which every service counts in its metrics.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    cli::Enforce,
    resource::{self, Kind},
};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{
        Session,
        client::{Call, Service},
    },
};

/// The end of the name of each service's counter of what enforce would have refused.
const WOULD_REFUSE: &str = "_would_refuse_total";

/// Requests that enforce would have refused.
#[derive(Debug, PartialEq, Eq)]
struct Refusals {
    labels: BTreeMap<String, String>,
    count: u64,
}

pub(crate) async fn run(session: &Session, format: Format, asked: Enforce) -> Result<(), Failure> {
    if !asked.check {
        return Err(Failure::usage(
            "only --check is done here; a service enforces when its configuration says auth.mode = \"enforce\"",
        ));
    }
    let iam = session.iam()?;
    let orgs = implicit(&iam, &super::kinds::ORG).await?;
    let projects = implicit(&iam, &super::kinds::PROJECT).await?;
    let mut refusals = rows(&iam).await?;
    for address in asked.services {
        refusals.extend(rows(&session.other(address)?).await?);
    }
    let found = orgs.len() + projects.len() + refusals.len();
    match format {
        Format::Human => {
            section("implicit orgs", super::kinds::ORG.columns, &orgs)?;
            section(
                "implicit projects",
                super::kinds::PROJECT.columns,
                &projects,
            )?;
            let columns = ["service", "count", "what"];
            section("enforce would have refused", &columns, &refusals)?;
            if found == 0 {
                output::line("nothing stands in the way of enforce")?;
            }
        }
        Format::Data(notation) => output::data(
            notation,
            &json!({ "orgs": orgs, "projects": projects, "refusals": refusals }),
        )?,
    }
    if found == 0 {
        return Ok(());
    }
    Err(Failure::refused("this is not ready for enforce"))
}

async fn implicit(iam: &Service, kind: &Kind) -> Result<Vec<Value>, Failure> {
    let mut all = resource::all(iam, kind).await?;
    all.retain(|row| row["implicit"] == true);
    Ok(all)
}

/// What one service says in its metrics.
async fn rows(service: &Service) -> Result<Vec<Value>, Failure> {
    let metrics = service.text(Call::get(&["metrics"])).await?;
    let row = |refusals: Refusals| {
        let what: Vec<&str> = refusals.labels.values().map(String::as_str).collect();
        json!({
            "service": service.address().as_str(),
            "count": refusals.count,
            "what": what.join(" "),
            "labels": refusals.labels,
        })
    };
    Ok(refusals(&metrics).into_iter().map(row).collect())
}

fn section(title: &str, columns: &[&str], rows: &[Value]) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    output::line(&format!("{title}:"))?;
    output::records(columns, rows)
}

/// The counters in a Prometheus text that are not at zero.
fn refusals(text: &str) -> Vec<Refusals> {
    let counter = |line: &str| {
        let (series, count) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let count = count.parse().ok().filter(|count| *count > 0)?;
        name.ends_with(WOULD_REFUSE).then(|| Refusals {
            labels: labels_of(labels),
            count,
        })
    };
    text.lines().filter_map(counter).collect()
}

/// `a="b",c="d"}` as pairs. What comes after something that is no label is left out.
fn labels_of(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, behind)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = behind.chars();
        loop {
            match characters.next() {
                Some('\\') => match characters.next() {
                    Some('n') => value.push('\n'),
                    Some(escaped) => value.push(escaped),
                    None => return labels,
                },
                Some('"') => break,
                Some(character) => value.push(character),
                None => return labels,
            }
        }
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = characters.as_str();
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_out_of_metrics() {
        let text = concat!(
            "# TYPE photon_iam_would_refuse counter\n",
            "photon_iam_would_refuse_total{permission=\"iam.users.list\",reason=\"a \\\"b\\\", c\"} 3\n",
            "photon_iam_would_refuse_total{permission=\"iam.users.get\"} 0\n",
            "photon_iam_other_total 9\n",
            "photon_vm_would_refuse_total 2\n",
            "# EOF\n",
        );
        let labels = BTreeMap::from([
            ("permission".to_owned(), "iam.users.list".to_owned()),
            ("reason".to_owned(), "a \"b\", c".to_owned()),
        ]);
        let of = |labels, count| Refusals { labels, count };
        assert_eq!(refusals(text), [of(labels, 3), of(BTreeMap::new(), 2)]);
        assert!(refusals("x_would_refuse_total\n\nx_would_refuse_total 1.5\n").is_empty());
    }
}
