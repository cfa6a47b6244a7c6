//! `photonctl audit`: what was changed, and whether the records of it are whole.

use super::{
    cli::Audit,
    resource::{Kind, On},
};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{Session, client::Call},
};

const AUDIT: Kind = Kind {
    path: "audit",
    plural: "records",
    columns: &[
        "seq",
        "at",
        "actor",
        "action",
        "resource.kind",
        "resource.id",
        "source",
    ],
};

pub(crate) async fn run(session: &Session, format: Format, command: Audit) -> Result<(), Failure> {
    match command {
        Audit::List {
            scope,
            from,
            to,
            page,
        } => {
            let filters = [
                ("scope", Some(scope)),
                ("from", from.map(|time| time.to_string())),
                ("to", to.map(|time| time.to_string())),
            ];
            On::new(session, format, &AUDIT).list(&filters, page).await
        }
        Audit::Verify { scope } => verify(session, format, &scope).await,
    }
}

/// IAM checks a long trail in parts.
async fn verify(session: &Session, format: Format, scope: &str) -> Result<(), Failure> {
    let iam = session.iam()?;
    let path = ["api", "v1", AUDIT.path, "verify"];
    let (mut from, mut records) = (None, 0);
    let mut answer = loop {
        let call = Call::get(&path)
            .query("scope", Some(scope.to_owned()))
            .query("from_seq", from.map(|seq: u64| seq.to_string()));
        let answer = iam.call(call).await?;
        records += answer["records"].as_u64().unwrap_or_default();
        let next = answer["next_seq"].as_u64();
        let on = answer["intact"] == true && answer["complete"] == false && next > from;
        if !on {
            break answer;
        }
        from = next;
    };
    answer["records"] = records.into();
    match format {
        Format::Human => output::fields(&answer)?,
        Format::Data(notation) => output::data(notation, &answer)?,
    }
    if answer["intact"] == true && answer["complete"] == true {
        return Ok(());
    }
    let broken = format!("the audit of {scope} is not as it was written");
    Err(Failure::other(anyhow::anyhow!(broken)))
}
