//! The use cases of hosts.

use photon_auth::Context;
use photon_authz::Scope;
use photon_core::Error;
use photon_store::PageRequest;
use plasmavmc_model::HostUse;

use super::Shown;
use crate::{
    app::App,
    pool::{Given, Slot, told},
};

/// Lists all hosts that have ever reported, with what their VMs, and disks of pools that are theirs alone, were given.
pub(crate) async fn list(app: &App, ctx: &Context) -> Result<Vec<(Shown, HostUse)>, Error> {
    ctx.allow(&Scope::System)?;
    let given = app
        .records::<HostUse>()
        .list(&PageRequest::default())
        .await?;
    let pools = Given::read(app).await?;
    let used = |shown: &Shown| {
        let key = HostUse::key(&shown.host);
        let found = given.items.iter().find(|given| given.key == key);
        let mut used = found.map_or_else(HostUse::default, |found| found.value);
        let own = shown
            .agent
            .iter()
            .flat_map(told)
            .filter(|pool| !pool.shared);
        let disks = own.map(|pool| pools.of(&Slot::of(&pool, &shown.host)).gib);
        used.disk_gib = used.disk_gib.saturating_add(disks.sum());
        used
    };
    let all = app.hosts.all().into_iter();
    Ok(all
        .map(|shown| (used(&shown), shown))
        .map(|(used, shown)| (shown, used))
        .collect())
}
