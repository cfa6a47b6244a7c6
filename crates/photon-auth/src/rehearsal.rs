//! What dev mode let pass that enforce mode would refuse, for who wants to move from one to the other.

use std::collections::HashMap;

use jiff::Timestamp;
use parking_lot::Mutex;
use photon_authz::{Permission, PrincipalRef, Scope};
use serde::Serialize;

/// The most that is remembered; more of other kinds is only counted.
const MOST: usize = 1_000;

/// One kind of request that enforce mode would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WouldRefuse {
    /// Who asked.
    pub principal: PrincipalRef,
    /// For what.
    pub permission: Permission,
    /// Where; none for a list that would be empty.
    pub scope: Option<Scope>,
    /// How often since this process started.
    pub times: u64,
    /// When last.
    pub last: Timestamp,
}

type Kind = (PrincipalRef, Permission, Option<Scope>);

/// What was let pass since the process started.
#[derive(Debug, Default)]
pub(crate) struct Rehearsal(Mutex<HashMap<Kind, (u64, Timestamp)>>);

impl Rehearsal {
    pub(crate) fn note(
        &self,
        principal: &PrincipalRef,
        permission: &Permission,
        scope: Option<&Scope>,
        now: Timestamp,
    ) {
        let kind = (principal.clone(), permission.clone(), scope.cloned());
        let mut all = self.0.lock();
        if let Some((times, last)) = all.get_mut(&kind) {
            *times += 1;
            *last = now;
        } else if all.len() < MOST {
            all.insert(kind, (1, now));
        }
    }

    /// The most frequent first.
    pub(crate) fn all(&self) -> Vec<WouldRefuse> {
        let mut all: Vec<WouldRefuse> = self
            .0
            .lock()
            .iter()
            .map(
                |((principal, permission, scope), (times, last))| WouldRefuse {
                    principal: principal.clone(),
                    permission: permission.clone(),
                    scope: scope.clone(),
                    times: *times,
                    last: *last,
                },
            )
            .collect();
        all.sort_by(|a, b| {
            let order = |one: &WouldRefuse| {
                (
                    one.principal.clone(),
                    one.permission.clone(),
                    one.scope.clone(),
                )
            };
            b.times.cmp(&a.times).then_with(|| order(a).cmp(&order(b)))
        });
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn kinds_are_counted_and_bounded() {
        let rehearsal = Rehearsal::default();
        let permission = Permission::new("a.b.get").unwrap();
        let now = Timestamp::now();
        let user = |number: usize| format!("user:u{number}").parse().unwrap();
        for number in 0..MOST + 10 {
            rehearsal.note(&user(number), &permission, Some(&Scope::System), now);
        }
        rehearsal.note(&user(7), &permission, Some(&Scope::System), now);
        let all = rehearsal.all();
        assert_eq!(all.len(), MOST);
        assert_eq!((all[0].principal.clone(), all[0].times), (user(7), 2));
        assert_eq!(all[1].times, 1);
    }
}
