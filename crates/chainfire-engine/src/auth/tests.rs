#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;

use bytes::Bytes;
use photon_proto::{authpb::UserAddOptions, etcdserverpb::*};
use proptest::prelude::*;

use super::*;

/// A store and the records a data directory would have.
#[derive(Default)]
struct Fixture {
    store: AuthStore,
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Fixture {
    fn apply(&mut self, op: Op) -> Result<(), EtcdError> {
        let mut changes = Vec::new();
        let result = self
            .store
            .apply(&op, &mut changes)
            .expect("an auth command");
        if result.is_err() {
            assert!(
                changes.is_empty(),
                "a refused command writes nothing: {op:?}"
            );
        }
        for (key, value) in changes {
            match value {
                Some(value) => self.disk.insert(key, value),
                None => self.disk.remove(&key),
            };
        }
        result
    }

    /// What a member that starts from these records knows.
    fn reopened(&self) -> AuthStore {
        let store = AuthStore::new();
        let records = self.disk.iter();
        store
            .load(records.map(|(k, v)| (k.clone().into(), v.clone().into())))
            .unwrap();
        store
    }

    fn user(&mut self, name: &str) {
        self.apply(user_add(name)).unwrap();
    }

    fn role(&mut self, name: &str) {
        self.apply(role_add(name)).unwrap();
    }

    fn enabled() -> Self {
        let mut fixture = Self::default();
        fixture.user("root");
        fixture.apply(grant("root", "root")).unwrap();
        fixture.apply(enable()).unwrap();
        fixture
    }

    fn now(&self, user: &str) -> Caller {
        Caller {
            user: user.to_owned(),
            auth_revision: self.store.status().revision,
        }
    }
}

fn enable() -> Op {
    Op::AuthEnable(AuthEnableRequest {})
}
fn disable() -> Op {
    Op::AuthDisable(AuthDisableRequest {})
}
fn user_add(name: &str) -> Op {
    Op::UserAdd(AuthUserAddRequest {
        name: name.to_owned(),
        hashed_password: "$argon2id$of-a-test".to_owned(),
        ..Default::default()
    })
}
fn user_delete(name: &str) -> Op {
    Op::UserDelete(AuthUserDeleteRequest {
        name: name.to_owned(),
    })
}
fn change_password(name: &str, hash: &str) -> Op {
    Op::UserChangePassword(AuthUserChangePasswordRequest {
        name: name.to_owned(),
        hashed_password: hash.to_owned(),
        ..Default::default()
    })
}
fn grant(user: &str, role: &str) -> Op {
    Op::UserGrantRole(AuthUserGrantRoleRequest {
        user: user.to_owned(),
        role: role.to_owned(),
    })
}
fn revoke(name: &str, role: &str) -> Op {
    Op::UserRevokeRole(AuthUserRevokeRoleRequest {
        name: name.to_owned(),
        role: role.to_owned(),
    })
}
fn role_add(name: &str) -> Op {
    Op::RoleAdd(AuthRoleAddRequest {
        name: name.to_owned(),
    })
}
fn role_delete(role: &str) -> Op {
    Op::RoleDelete(AuthRoleDeleteRequest {
        role: role.to_owned(),
    })
}
fn permit(role: &str, kind: Type, key: &'static [u8], range_end: &'static [u8]) -> Op {
    Op::RoleGrantPermission(AuthRoleGrantPermissionRequest {
        name: role.to_owned(),
        perm: Some(Permission {
            perm_type: kind.into(),
            key: Bytes::from_static(key),
            range_end: Bytes::from_static(range_end),
        }),
    })
}
fn forbid(role: &str, key: &'static [u8], range_end: &'static [u8]) -> Op {
    Op::RoleRevokePermission(AuthRoleRevokePermissionRequest {
        role: role.to_owned(),
        key: Bytes::from_static(key),
        range_end: Bytes::from_static(range_end),
    })
}
fn log_in(name: &str, token: &NewToken, auth_revision: u64) -> Op {
    Op::Authenticate(Authenticate {
        name: name.to_owned(),
        token_digest: token.digest().into(),
        auth_revision,
    })
}
fn read(key: &'static [u8]) -> Access<'static> {
    Access::Read {
        key,
        range_end: b"",
    }
}
fn write(key: &'static [u8]) -> Access<'static> {
    Access::Write {
        key,
        range_end: b"",
    }
}

#[test]
fn every_refusal_is_etcds() {
    let mut f = Fixture::default();
    assert_eq!(f.apply(enable()), Err(EtcdError::ROOT_USER_NOT_EXIST));
    f.user("root");
    assert_eq!(f.apply(enable()), Err(EtcdError::ROOT_ROLE_NOT_EXIST));
    f.apply(grant("root", "root")).unwrap();
    f.role("root");
    f.role("r");
    f.user("u");
    f.apply(enable()).unwrap();

    let table = [
        (user_add(""), EtcdError::USER_EMPTY),
        (user_add("u"), EtcdError::USER_ALREADY_EXIST),
        (user_delete("nobody"), EtcdError::USER_NOT_FOUND),
        (user_delete("root"), EtcdError::INVALID_AUTH_MGMT),
        (change_password("nobody", "h"), EtcdError::USER_NOT_FOUND),
        (change_password("u", ""), EtcdError::INVALID_AUTH_MGMT),
        (grant("nobody", "r"), EtcdError::USER_NOT_FOUND),
        (grant("u", "nothing"), EtcdError::ROLE_NOT_FOUND),
        (revoke("nobody", "r"), EtcdError::USER_NOT_FOUND),
        (revoke("u", "r"), EtcdError::ROLE_NOT_GRANTED),
        (revoke("root", "root"), EtcdError::INVALID_AUTH_MGMT),
        (role_add(""), EtcdError::ROLE_EMPTY),
        (role_add("r"), EtcdError::ROLE_ALREADY_EXIST),
        (role_delete("nothing"), EtcdError::ROLE_NOT_FOUND),
        (role_delete("root"), EtcdError::INVALID_AUTH_MGMT),
        (
            permit("nothing", Type::Read, b"a", b""),
            EtcdError::ROLE_NOT_FOUND,
        ),
        (
            permit("r", Type::Read, b"b", b"a"),
            EtcdError::INVALID_AUTH_MGMT,
        ),
        (
            permit("r", Type::Read, b"", b""),
            EtcdError::INVALID_AUTH_MGMT,
        ),
        (
            Op::RoleGrantPermission(AuthRoleGrantPermissionRequest {
                name: "r".to_owned(),
                perm: None,
            }),
            EtcdError::PERMISSION_NOT_GIVEN,
        ),
        (forbid("nothing", b"a", b""), EtcdError::ROLE_NOT_FOUND),
        (forbid("r", b"a", b""), EtcdError::PERMISSION_NOT_GRANTED),
    ];
    let before = (f.store.status(), f.disk.clone());
    for (op, error) in table {
        let text = format!("{op:?}");
        assert_eq!(f.apply(op), Err(error), "{text}");
    }
    assert_eq!(
        (f.store.status(), f.disk),
        before,
        "refusals change nothing"
    );
}

#[test]
fn every_change_but_enabling_raises_the_auth_revision() {
    let mut f = Fixture::default();
    let raised = |f: &mut Fixture, op: Op| {
        let before = f.store.status().revision;
        f.apply(op).unwrap();
        f.store.status().revision - before
    };
    assert_eq!(f.store.status().revision, 1);
    assert_eq!(raised(&mut f, user_add("root")), 1);
    assert_eq!(raised(&mut f, grant("root", "root")), 1);
    assert_eq!(
        raised(&mut f, grant("root", "root")),
        0,
        "it has it already"
    );
    assert_eq!(raised(&mut f, enable()), 0);
    assert_eq!(raised(&mut f, enable()), 0);
    assert_eq!(raised(&mut f, role_add("r")), 1);
    assert_eq!(raised(&mut f, permit("r", Type::Read, b"a", b"")), 1);
    assert_eq!(raised(&mut f, forbid("r", b"a", b"")), 1);
    assert_eq!(raised(&mut f, change_password("root", "h")), 1);
    assert_eq!(raised(&mut f, disable()), 1);
    assert_eq!(raised(&mut f, disable()), 0);
    assert_eq!(raised(&mut f, user_delete("root")), 1);
}

#[test]
fn rights_follow_roles_and_end_with_them() {
    let mut f = Fixture::enabled();
    f.user("ann");
    f.role("reader");
    f.role("writer");
    f.apply(permit("reader", Type::Read, b"a", b"m")).unwrap();
    f.apply(permit("writer", Type::Readwrite, b"m", b"z"))
        .unwrap();
    let check = |f: &Fixture, access| f.store.check(Some(&f.now("ann")), access);
    let denied = Err(EtcdError::PERMISSION_DENIED);
    assert_eq!(check(&f, read(b"b")), denied);
    f.apply(grant("ann", "reader")).unwrap();
    assert_eq!(check(&f, read(b"b")), Ok(()));
    assert_eq!(check(&f, write(b"b")), denied);
    f.apply(grant("ann", "writer")).unwrap();
    let whole = Access::Read {
        key: b"a",
        range_end: b"z",
    };
    assert_eq!(check(&f, whole), Ok(()), "two roles side by side");
    assert_eq!(check(&f, write(b"n")), Ok(()));
    // The same range again replaces the kind.
    f.apply(permit("writer", Type::Read, b"m", b"z")).unwrap();
    assert_eq!(check(&f, write(b"n")), denied);
    f.apply(role_delete("reader")).unwrap();
    assert_eq!(check(&f, read(b"b")), denied);
    assert_eq!(f.store.user_roles("ann").unwrap(), ["writer"]);
    f.apply(revoke("ann", "writer")).unwrap();
    assert_eq!(check(&f, read(b"n")), denied);
    assert_eq!(f.store.check(Some(&f.now("root")), write(b"n")), Ok(()));
    assert_eq!(f.store.check(Some(&f.now("nobody")), read(b"n")), denied);
}

#[test]
fn who_is_not_known_or_was_known_before_a_change_is_refused() {
    let mut f = Fixture::default();
    let unknown = f.store.caller(Some("whatever.1"), Some("cn")).unwrap();
    assert_eq!(
        unknown,
        Caller::default(),
        "nobody is asked while it is off"
    );
    assert_eq!(f.store.check(Some(&unknown), write(b"k")), Ok(()));
    assert_eq!(f.store.check_root(Some(&unknown)), Ok(()));
    f.user("root");
    f.apply(grant("root", "root")).unwrap();
    f.apply(enable()).unwrap();
    // The same caller, whose command was under way when it was enabled.
    assert_eq!(
        f.store.check(Some(&unknown), write(b"k")),
        Err(EtcdError::USER_EMPTY)
    );
    assert_eq!(
        f.store.check_root(Some(&unknown)),
        Err(EtcdError::USER_EMPTY)
    );
    assert_eq!(f.store.check(None, write(b"k")), Ok(()), "ChainFire itself");

    let root = f.now("root");
    f.user("ann");
    assert_eq!(
        f.store.check(Some(&root), read(b"k")),
        Err(EtcdError::AUTH_OLD_REVISION)
    );
    assert_eq!(
        f.store.check_root(Some(&root)),
        Ok(()),
        "administrators do not collide"
    );
    assert_eq!(
        f.store.check_root(Some(&f.now("ann"))),
        Err(EtcdError::PERMISSION_DENIED)
    );
    assert_eq!(
        f.store.check_root(Some(&f.now("bob"))),
        Err(EtcdError::USER_NOT_FOUND)
    );
}

#[test]
fn everybody_sees_themselves_and_their_roles() {
    let mut f = Fixture::enabled();
    f.user("ann");
    f.role("mine");
    f.role("other");
    f.apply(grant("ann", "mine")).unwrap();
    let ann = f.now("ann");
    assert_eq!(f.store.check_see_user(Some(&ann), "ann"), Ok(()));
    assert_eq!(
        f.store.check_see_user(Some(&ann), "root"),
        Err(EtcdError::PERMISSION_DENIED)
    );
    assert_eq!(f.store.check_see_role(Some(&ann), "mine"), Ok(()));
    assert_eq!(
        f.store.check_see_role(Some(&ann), "other"),
        Err(EtcdError::PERMISSION_DENIED)
    );
    assert_eq!(f.store.check_see_user(Some(&f.now("root")), "ann"), Ok(()));
    assert_eq!(
        f.store.check_see_user(Some(&Caller::default()), ""),
        Err(EtcdError::USER_EMPTY)
    );
}

#[test]
fn a_token_is_good_on_every_member_until_its_user_changes() {
    let mut f = Fixture::enabled();
    f.user("ann");
    let credentials = f.store.credentials("ann").unwrap();
    assert!(credentials.hash.is_some());
    assert!(f.store.credentials("nobody").unwrap().hash.is_none());
    let token = NewToken::generate().unwrap();
    let op = log_in("ann", &token, credentials.auth_revision);
    f.apply(op.clone()).unwrap();
    let other_member = f.reopened();
    other_member.apply(&op, &mut Vec::new()).unwrap().unwrap();
    let token = token.issue(17);
    for member in [&f.store, &other_member] {
        assert_eq!(member.caller(Some(&token), Some("cn")).unwrap().user, "ann");
    }
    assert_eq!(f.store.caller(None, Some("cn")).unwrap().user, "cn");
    assert_eq!(f.store.caller(None, Some("")).unwrap(), Caller::default());
    assert_eq!(
        f.store.caller(Some("wrong.17"), None),
        Err(EtcdError::INVALID_AUTH_TOKEN)
    );

    // A change elsewhere leaves the token alone but is seen in the revision.
    f.user("bob");
    assert_eq!(f.store.caller(Some(&token), None).unwrap(), f.now("ann"));
    f.apply(change_password("ann", "other")).unwrap();
    assert_eq!(
        f.store.caller(Some(&token), None),
        Err(EtcdError::INVALID_AUTH_TOKEN)
    );
}

#[test]
fn a_login_is_refused_if_anything_changed_since_the_password_was_checked() {
    let mut f = Fixture::enabled();
    f.user("ann");
    let token = NewToken::generate().unwrap();
    let old = f.store.credentials("ann").unwrap().auth_revision;
    f.apply(change_password("ann", "other")).unwrap();
    assert_eq!(
        f.apply(log_in("ann", &token, old)),
        Err(EtcdError::AUTH_OLD_REVISION)
    );
    let now = f.store.status().revision;
    assert_eq!(
        f.apply(log_in("nobody", &token, now)),
        Err(EtcdError::AUTH_FAILED)
    );
    f.apply(log_in("ann", &token, now)).unwrap();
    f.apply(disable()).unwrap();
    assert!(matches!(f.store.credentials("ann"), Err(e) if e == EtcdError::AUTH_NOT_ENABLED));
    let now = f.store.status().revision;
    assert_eq!(
        f.apply(log_in("ann", &token, now)),
        Err(EtcdError::AUTH_NOT_ENABLED)
    );
    f.apply(enable()).unwrap();
    assert_eq!(
        f.store.caller(Some(&token.issue(1)), None),
        Err(EtcdError::INVALID_AUTH_TOKEN),
        "tokens do not survive that it was off"
    );
}

#[test]
fn a_user_without_a_password_cannot_log_in_with_one() {
    let mut f = Fixture::enabled();
    f.apply(Op::UserAdd(AuthUserAddRequest {
        name: "cert".to_owned(),
        options: Some(UserAddOptions { no_password: true }),
        ..Default::default()
    }))
    .unwrap();
    f.apply(change_password("cert", "ignored")).unwrap();
    assert!(matches!(f.store.credentials("cert"), Err(e) if e == NO_PASSWORD_USER));
    let token = NewToken::generate().unwrap();
    let now = f.store.status().revision;
    assert_eq!(
        f.apply(log_in("cert", &token, now)),
        Err(EtcdError::AUTH_FAILED)
    );
    assert_eq!(f.store.caller(None, Some("cert")).unwrap(), f.now("cert"));
}

#[test]
fn nothing_printable_holds_a_hash() {
    let mut f = Fixture::enabled();
    f.user("ann");
    let printed = format!("{:?} {:?}", f.store, f.store.credentials("ann"));
    assert!(!printed.contains("argon2"), "{printed}");
}

#[test]
fn a_damaged_record_is_refused_and_what_was_known_stays() {
    let f = Fixture::enabled();
    for (key, value) in [("u!", "\u{7f}\u{7f}"), ("s", "x"), ("zebra", "")] {
        let record = (Box::from(key.as_bytes()), Box::from(value.as_bytes()));
        let error = f.store.load(std::iter::once(record)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
    assert!(f.store.status().enabled);
}

fn any_op() -> impl Strategy<Value = Op> {
    let user = || prop::sample::select(vec!["root", "u", "v"]);
    let role = || prop::sample::select(vec!["root", "r", "s"]);
    let key = || prop::sample::select(vec![&b"a"[..], b"b", b"c"]);
    let end = || prop::sample::select(vec![&b""[..], b"\0", b"b", b"d"]);
    let kind = || prop::sample::select(vec![Type::Read, Type::Write, Type::Readwrite]);
    prop_oneof![
        Just(enable()),
        Just(disable()),
        user().prop_map(user_add),
        user().prop_map(user_delete),
        user().prop_map(|u| change_password(u, "changed")),
        (user(), role()).prop_map(|(u, r)| grant(u, r)),
        (user(), role()).prop_map(|(u, r)| revoke(u, r)),
        role().prop_map(role_add),
        role().prop_map(role_delete),
        (role(), kind(), key(), end()).prop_map(|(r, t, k, e)| permit(r, t, k, e)),
        (role(), key(), end()).prop_map(|(r, k, e)| forbid(r, k, e)),
    ]
}

proptest! {
    /// What is on disk is what is in memory, after every command.
    #[test]
    fn records_hold_the_whole_state(ops in prop::collection::vec(any_op(), 1..60)) {
        let mut f = Fixture::default();
        for op in ops {
            let _refused_or_not = f.apply(op);
            let again = f.reopened();
            prop_assert_eq!(f.store.status(), again.status());
            prop_assert_eq!(f.store.users(), again.users());
            prop_assert_eq!(f.store.roles(), again.roles());
            for role in f.store.roles() {
                prop_assert_eq!(f.store.role_permissions(&role), again.role_permissions(&role));
            }
            for user in f.store.users() {
                prop_assert_eq!(f.store.user_roles(&user), again.user_roles(&user));
                let caller = f.now(&user);
                for key in [&b"a"[..], b"b", b"c", b"dd"] {
                    // The one may answer from what it has worked out before, the other cannot.
                    for access in [Access::Read { key, range_end: b"" }, Access::Write { key, range_end: b"\0" }] {
                        prop_assert_eq!(f.store.check(Some(&caller), access), again.check(Some(&caller), access));
                    }
                }
            }
        }
    }
}
