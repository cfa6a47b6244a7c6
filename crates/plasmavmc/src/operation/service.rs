//! The use cases of operations.

use photon_auth::Context;
use photon_core::Error;
use photon_service::{
    scope::{self, Home, Owner},
    versioned::Versioned,
};
use photon_store::Stored;
use plasmavmc_model::OperationId;

use super::{VmOperation, index};
use crate::app::App;

/// Reads an operation.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: OperationId,
    owner: &Owner,
) -> Result<Versioned<VmOperation>, Error> {
    let what = format!("operation {id}");
    let found = app
        .records::<VmOperation>()
        .get_by_index(&index(id))
        .await?;
    let home = |found: &Stored<VmOperation>| Home {
        org: found.value.org.clone(),
        project: found.value.project.clone(),
    };
    let found = scope::allow_found(ctx, found, home, &what)?;
    if !owner.is(&found.value.org, &found.value.project) {
        return Err(Error::not_found(what));
    }
    Ok(found.into())
}
