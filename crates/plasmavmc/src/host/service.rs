//! The use cases of hosts.

use photon_auth::Context;
use photon_authz::Scope;
use photon_core::Error;
use photon_store::PageRequest;
use plasmavmc_model::HostUse;

use super::Shown;
use crate::app::App;

/// Lists all hosts that have ever reported, with what their VMs were given.
pub(crate) async fn list(app: &App, ctx: &Context) -> Result<Vec<(Shown, HostUse)>, Error> {
    ctx.allow(&Scope::System)?;
    let given = app
        .records::<HostUse>()
        .list(&PageRequest::default())
        .await?;
    let used = |shown: &Shown| {
        let key = HostUse::key(&shown.host);
        let found = given.items.iter().find(|given| given.key == key);
        found.map_or_else(HostUse::default, |found| found.value)
    };
    let all = app.hosts.all().into_iter();
    Ok(all
        .map(|shown| (used(&shown), shown))
        .map(|(used, shown)| (shown, used))
        .collect())
}
