//! The sweep finds nothing in a service that is closed, and finds the holes of one that is not.

use photon_auth::{
    AuthOptions,
    sweep::{self, Sweep, Target, Tokens},
};
use photon_server::Mode;
use prost::Message as _;
use serde_json::json;

use crate::{service::Demo, world::World};

fn tokens(world: &World) -> Tokens {
    Tokens::from_stranger(&world.token("eve"))
        .unwrap()
        .signed_by(|header, claims| world.key.sign(header, claims))
        .confused_with(&world.key.point)
}

fn sweep(world: &World, demo: &Demo) -> Sweep {
    Sweep::new(tokens(world))
        .rest(&demo.rest, sweep::declared(&demo.declared))
        .grpc(&demo.grpc, sweep::methods(&demo.table))
        .path_value("project", "shop")
        .body(
            "POST /api/v1/projects/{project}/greetings",
            json!({ "text": "hi" }),
        )
        .message("demo.v1.Greeter/Greet", "shop".to_owned().encode_to_vec())
}

#[tokio::test]
async fn the_small_service_is_closed() {
    let world = World::new().await;
    let demo = Demo::start(&world, Mode::Enforce, AuthOptions::default()).await;
    let report = sweep(&world, &demo)
        .everybody("GET /api/v1/whoami")
        .run()
        .await
        .unwrap();
    report.assert_closed();
    // Every credential on each of five routes and two methods.
    let credentials = tokens(&world).into_credentials().len();
    assert_eq!(report.tried, credentials * 7);
}

#[tokio::test]
async fn holes_are_found() {
    let world = World::new().await;
    // Dev mode lets everybody in who has no credential, and every principal.
    let demo = Demo::start(&world, Mode::Dev, AuthOptions::default()).await;
    let report = sweep(&world, &demo).run().await.unwrap();
    let found = |target: &str, with: &str| {
        let mut found = report.let_in.iter();
        found.any(|finding| finding.target == target && finding.with == with)
    };
    for target in [
        "GET /api/v1/projects/{project}/greeting",
        "demo.v1.Greeter/Greet",
    ] {
        assert!(found(target, "no credential"), "{report}");
        assert!(found(target, "a stranger's token"), "{report}");
        assert!(!found(target, "an expired token"), "{report}");
    }
    assert!(!found("GET /api/v1/versions", "no credential"), "{report}");

    // A route that fails, a body that is refused first, and an open route that nobody declared open.
    let demo = Demo::start(&world, Mode::Enforce, AuthOptions::default()).await;
    let target = |name: &str, open| Target {
        name: name.to_owned(),
        open,
    };
    let report = Sweep::new(tokens(&world))
        .rest(
            &demo.rest,
            vec![
                target("GET /api/v1/forgetful", false),
                target("POST /api/v1/projects/{project}/greetings", false),
                target("GET /api/v1/versions", false),
            ],
        )
        .run()
        .await
        .unwrap();
    let names = |findings: &[sweep::Finding]| -> Vec<String> {
        findings
            .iter()
            .map(|finding| finding.target.clone())
            .collect()
    };
    assert_eq!(names(&report.broken), ["GET /api/v1/forgetful"], "{report}");
    assert_eq!(
        names(&report.unclear),
        ["POST /api/v1/projects/{project}/greetings"],
        "{report}"
    );
    assert!(
        names(&report.let_in)
            .iter()
            .all(|name| name == "GET /api/v1/versions")
    );
    assert!(!report.let_in.is_empty());
}
