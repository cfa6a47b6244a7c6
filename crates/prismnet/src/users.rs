//! Who uses a thing: what keeps it from being deleted.

use photon_core::Error;
use photon_store::Scan;

use crate::{
    app::App,
    contention::Lost,
    refusal::{self, User},
};

/// Why a thing was not deleted below which, at these prefixes, something was found. If nothing uses it any more, the next
/// attempt may win.
pub(crate) async fn of(app: &App, what: &str, prefixes: &[String]) -> Result<Lost, Error> {
    let mut users = Vec::new();
    for prefix in prefixes {
        let most = u32::try_from(refusal::NAMED).unwrap_or(u32::MAX) + 1;
        let found = app.store.scan(&Scan::below(prefix, most)).await?;
        users.extend(found.entries.iter().filter_map(|entry| user(&entry.value)));
    }
    Ok(in_use(what, users))
}

/// That they use it, up to ten by name; a race if they are none.
pub(crate) fn in_use(what: &str, mut users: Vec<User>) -> Lost {
    if users.is_empty() {
        return Lost::Race;
    }
    let more = users.len() > refusal::NAMED;
    users.truncate(refusal::NAMED);
    refusal::in_use(what, &users, more).into()
}

/// What an index key leads to: the id ends the record's key, its kind begins the id.
pub(crate) fn user(leads_to: &[u8]) -> Option<User> {
    let path = std::str::from_utf8(leads_to).ok()?;
    let (_, id) = path.rsplit_once('/')?;
    let kind = match id.split_once('-')?.0 {
        "port" => "port",
        "route" => "route",
        "rule" => "rule",
        "fip" => "floating_ip",
        _ => return None,
    };
    Some(User {
        kind,
        id: id.to_owned(),
    })
}
