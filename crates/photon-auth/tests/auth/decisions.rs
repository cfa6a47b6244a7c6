//! May they.

use photon_auth::AuthOptions;
use photon_authz::{Permission, Scope};
use photon_core::Code;
use photon_server::{Metrics, Mode};

use crate::{
    callers::{caller_of, request},
    world::{World, binding, caught_up, name, shop, with},
};

fn permission(text: &str) -> Permission {
    Permission::new(text).unwrap()
}

#[tokio::test]
async fn enforce_refuses_what_dev_allows_and_counts() {
    let world = World::new().await;
    let create = permission("demo.greetings.create");
    for mode in [Mode::Enforce, Mode::Dev] {
        let metrics = Metrics::new("test");
        let options = AuthOptions {
            metrics: Some(metrics.clone()),
            ..AuthOptions::default()
        };
        let auth = world.auth_with(mode, options).await;
        let alice = caller_of(&auth, &world.token("alice")).await;
        let eve = caller_of(&auth, &world.token("eve")).await;
        auth.decide(&alice, &create, &shop()).unwrap();
        let nowhere = Scope::Project(name("nowhere"));
        let refused = [
            auth.decide(&eve, &create, &shop()),
            auth.decide(&alice, &create, &nowhere),
            // Not within the token's scope.
            auth.decide(&alice, &create, &Scope::System),
        ];
        let (forbidden, would_refuse) = match mode {
            Mode::Enforce => (3, 0),
            Mode::Dev => (0, 3),
        };
        let codes = refused
            .iter()
            .filter_map(|decided| decided.as_ref().err())
            .filter(|error| error.code() == Code::FORBIDDEN)
            .count();
        assert_eq!(codes, forbidden, "{mode:?}");
        let rehearsed = auth.would_refuse();
        assert_eq!(rehearsed.len(), would_refuse, "{rehearsed:?}");
        let text = metrics.encode();
        for (counter, times) in [("forbidden", forbidden), ("would_refuse", would_refuse)] {
            let line = format!(
                "photon_test_{counter}_total{{permission=\"demo.greetings.create\"}} {times}"
            );
            assert_eq!(
                text.contains(&line),
                times > 0,
                "{mode:?} {counter}\n{text}"
            );
        }
    }
}

#[tokio::test]
async fn the_operator_of_dev_mode_may_do_everything_there_only() {
    let world = World::new().await;
    let dev = world.auth(Mode::Dev).await;
    let operator = dev.caller(&request(&[]), None).await.unwrap().unwrap();
    let nowhere = Scope::Project(name("nowhere"));
    dev.decide(&operator, &permission("iam.keys.rotate"), &nowhere)
        .unwrap();
    let enforce = world.auth(Mode::Enforce).await;
    let refused = enforce.decide(&operator, &permission("iam.keys.rotate"), &shop());
    assert_eq!(refused.unwrap_err().code(), Code::FORBIDDEN);
}

#[tokio::test]
async fn a_tokens_scope_narrows_what_its_bearer_may() {
    let world = World::new().await;
    let auth = world.auth(Mode::Enforce).await;
    caught_up(
        &auth,
        world.create(binding("user:eve", "admin", "system")).await,
    )
    .await;
    let narrow = caller_of(&auth, &world.token("eve")).await;
    let wide = with(&crate::world::claims("eve"), "scope_id", "system");
    let wide = world.key.token(&with(&wide, "scope_type", "system"));
    let wide = caller_of(&auth, &wide).await;
    let list = permission("iam.users.list");
    auth.decide(&wide, &list, &Scope::System).unwrap();
    auth.decide(&wide, &list, &shop()).unwrap();
    auth.decide(&narrow, &list, &shop()).unwrap();
    for outside in [Scope::System, Scope::Org(name("acme"))] {
        let refused = auth.decide(&narrow, &list, &outside).unwrap_err();
        assert_eq!(refused.code(), Code::FORBIDDEN);
        assert_eq!(refused.details().unwrap()["permission"], "iam.users.list");
    }
}
