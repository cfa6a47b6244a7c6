//! Rights, checked again when a command is applied.

use bytes::Bytes;
use chainfire_engine::{Engine, EtcdError, Request};
use photon_proto::{
    authpb::{Permission, permission},
    etcdserverpb::{
        AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
        AuthUserGrantRoleRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, request_op,
    },
    photon::chainfire::command::v1::{Caller, Command, Failure, command::Op, reply},
};
use prost::Message;

use crate::kit::{
    apply, compact, delete_request, op, open, options, put_request, range_request, txn,
};

/// `root`, and `ann`, who may read and write `a…`.
fn with_users(engine: &Engine) {
    let role = |name: &str| {
        Op::RoleAdd(AuthRoleAddRequest {
            name: name.to_owned(),
        })
    };
    let user = |name: &str| {
        Op::UserAdd(AuthUserAddRequest {
            name: name.to_owned(),
            hashed_password: "hash".to_owned(),
            ..AuthUserAddRequest::default()
        })
    };
    let has = |user: &str, role: &str| {
        Op::UserGrantRole(AuthUserGrantRoleRequest {
            user: user.to_owned(),
            role: role.to_owned(),
        })
    };
    let grant = Op::RoleGrantPermission(AuthRoleGrantPermissionRequest {
        name: "letters".to_owned(),
        perm: Some(Permission {
            perm_type: permission::Type::Readwrite.into(),
            key: Bytes::from_static(b"a"),
            range_end: Bytes::from_static(b"b"),
        }),
    });
    let ops = [
        role("root"),
        user("root"),
        has("root", "root"),
        role("letters"),
        grant,
        user("ann"),
        has("ann", "letters"),
        Op::AuthEnable(AuthEnableRequest {}),
    ];
    for reply in apply(engine, ops) {
        assert!(
            matches!(reply.result, Some(reply::Result::Done(_))),
            "{reply:?}"
        );
    }
}

fn caller(engine: &Engine, user: &str) -> Caller {
    Caller {
        user: user.to_owned(),
        auth_revision: engine.auth().status().revision,
    }
}

fn as_user(engine: &Engine, user: &str, op: Op) -> Option<Failure> {
    let command = Command {
        caller: Some(caller(engine, user)),
        op: Some(op),
    };
    let replies = engine
        .apply(&[command.encode_to_vec().into()], b"m")
        .unwrap();
    match replies.into_iter().next().unwrap().result.unwrap() {
        reply::Result::Failure(failure) => Some(failure),
        _ => None,
    }
}

fn denied(failure: Option<Failure>) -> bool {
    failure.is_some_and(|failure| failure.message == EtcdError::PERMISSION_DENIED.message)
}

#[test]
fn a_command_is_refused_where_its_caller_has_no_right() {
    let (dir, engine) = open();
    with_users(&engine);
    engine.flush().unwrap();
    drop(engine);
    let engine = Engine::open(&dir.path().join("state"), options()).unwrap();
    assert!(engine.auth().status().enabled, "users outlive a restart");
    let ann = |op| as_user(&engine, "ann", op);
    assert_eq!(ann(Op::Put(put_request(b"a1", b""))), None);
    assert!(denied(ann(Op::Put(put_request(b"b1", b"")))));
    assert!(denied(ann(Op::DeleteRange(delete_request(b"a", b"c")))));
    assert!(denied(ann(compact(2))));
    // Rights are looked for in every branch and at every depth, not only where the transaction will go.
    let hidden = txn(vec![op(request_op::Request::RequestTxn(txn(vec![op(
        request_op::Request::RequestPut(put_request(b"b1", b"")),
    )])))]);
    assert!(denied(ann(Op::Txn(hidden))));
    assert_eq!(
        as_user(&engine, "root", Op::Put(put_request(b"b1", b""))),
        None
    );
    assert_eq!(engine.revision(), 3);
}

#[test]
fn a_lease_is_as_protected_as_its_keys() {
    let (_dir, engine) = open();
    with_users(&engine);
    apply(
        &engine,
        [Op::LeaseGrant(LeaseGrantRequest { id: 1, ttl: 9 })],
    );
    let on_lease = |key: &[u8]| {
        Op::Put(PutRequest {
            lease: 1,
            ..put_request(key, b"")
        })
    };
    assert_eq!(as_user(&engine, "ann", on_lease(b"a1")), None);
    assert_eq!(as_user(&engine, "root", on_lease(b"z")), None);
    assert!(denied(as_user(&engine, "ann", on_lease(b"a2"))));
    let revoke = Op::LeaseRevoke(LeaseRevokeRequest { id: 1 });
    assert!(denied(as_user(&engine, "ann", revoke.clone())));
    assert_eq!(as_user(&engine, "root", revoke), None);
}

#[test]
fn readers_are_checked_by_the_same_rules() {
    let (_dir, engine) = open();
    with_users(&engine);
    let ann = caller(&engine, "ann");
    let check = |request: Request<'_>| engine.authorize(Some(&ann), request).is_ok();
    assert!(check(Request::Range(&range_request(b"a", b"b", 0))));
    assert!(!check(Request::Range(&range_request(b"a", b"\0", 0))));
    assert!(!check(Request::Watch {
        key: b"a",
        range_end: b"c"
    }));
    assert!(!check(Request::Root));
    assert!(
        engine.authorize(None, Request::Root).is_ok(),
        "ChainFire itself"
    );
    let old = Caller {
        auth_revision: ann.auth_revision - 1,
        ..ann.clone()
    };
    let refused = engine.authorize(Some(&old), Request::Range(&range_request(b"a", b"", 0)));
    assert_eq!(refused, Err(EtcdError::AUTH_OLD_REVISION));
}
