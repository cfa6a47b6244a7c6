//! What IAM knows of projects.

use super::client::{Call, Service};
use crate::failure::Failure;

/// The org of a project, which nobody has to know by heart.
///
/// # Errors
/// IAM does not say: then it has to be given.
pub(crate) async fn org_of(iam: &Service, project: &str) -> Result<String, Failure> {
    let path = ["api", "v1", "projects", project];
    let known = iam.call(Call::get(&path)).await;
    let org = known
        .as_ref()
        .ok()
        .and_then(|known| known["org_id"].as_str());
    match (org, known.as_ref().err()) {
        (Some(org), _) => Ok(org.to_owned()),
        (None, Some(refused)) => Err(Failure::usage(format!(
            "IAM does not say which org project {project} belongs to ({refused}): give --org"
        ))),
        (None, None) => Err(Failure::usage("give --org")),
    }
}
