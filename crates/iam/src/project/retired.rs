//! Ids of deleted projects. A project's audit trail goes on when its id is used again; therefore only the org that had it
//! can do so: to another one the trail is a stranger's.

use jiff::Timestamp;
use photon_authz::Project;
use photon_core::{Code, Error, Name};
use photon_store::{Record, Transaction};
use serde::{Deserialize, Serialize};

use crate::{app::App, clock, contention::Lost};

/// Whose project had an id.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Retired {
    org: Name,
    /// When it was deleted last.
    deleted_at: Timestamp,
}

impl Record for Retired {
    const ROOT: &'static str = "/photon/iam/retired/project/";
}

/// Notes, in the transaction that deletes a project, whose it was.
pub(super) async fn note(
    app: &App,
    transaction: &mut Transaction,
    project: &Project,
) -> Result<(), Lost> {
    let notes = app.records::<Retired>();
    let note = Retired {
        org: project.org.clone(),
        deleted_at: clock::now(),
    };
    match notes.get(project.id.as_str()).await? {
        Some(mut before) => {
            before.value = note;
            transaction.replace(&notes, &before)?;
        }
        None => {
            transaction.create(&notes, project.id.as_str(), &note)?;
        }
    }
    Ok(())
}

/// Requires, in the transaction that makes a project, that its id was never that of another org's.
///
/// # Errors
/// 409 if it was; it does not tell whose.
pub(super) async fn require_own(
    app: &App,
    transaction: &mut Transaction,
    project: &Project,
) -> Result<(), Lost> {
    let notes = app.records::<Retired>();
    match notes.get(project.id.as_str()).await? {
        Some(before) if before.value.org != project.org => {
            let message = format!("the id {} is taken", project.id);
            return Err(Error::new(Code::ALREADY_EXISTS, message).into());
        }
        Some(before) => {
            transaction.unchanged(&notes, &before)?;
        }
        None => {
            transaction.absent(&format!("{}{}", Retired::ROOT, project.id))?;
        }
    }
    Ok(())
}
