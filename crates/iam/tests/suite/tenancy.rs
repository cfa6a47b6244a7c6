//! Enforce mode: nobody without a credential, strangers see nothing, tenants see their own, nobody gives what they do not
//! have.

use photon_testkit::{InProcessIam, enforcing_iam, in_process_iam};
use reqwest::Method;
use serde_json::json;

use crate::local::Caller;

/// Two tenants: acme with the project shop, other with the project lab.
async fn tenants(iam: &InProcessIam) -> Caller {
    let admin = Caller::admin(iam).await;
    admin.tenant("acme", "shop").await;
    admin.tenant("other", "lab").await;
    admin
}

/// Paths and bodies of every route of the resources.
fn routes() -> Vec<(Method, String, Option<serde_json::Value>)> {
    let mut routes = Vec::new();
    for (plural, id, body) in [
        ("orgs", "acme", json!({ "name": "x" })),
        ("projects", "shop", json!({ "name": "x", "org_id": "acme" })),
        ("users", "victim", json!({ "name": "x" })),
        ("groups", "ops", json!({ "org_id": "acme" })),
        (
            "service-accounts",
            "robot",
            json!({ "name": "x", "project_id": "shop" }),
        ),
        (
            "roles",
            "starter",
            json!({ "id": "r2", "permissions": ["a.b.c"] }),
        ),
        (
            "bindings",
            "BINDING",
            json!({ "principal": "user:victim", "role": "viewer", "scope": "project:shop" }),
        ),
        (
            "deny-rules",
            "RULE",
            json!({ "permissions": ["a.b.c"], "scope": "project:shop" }),
        ),
    ] {
        let all = format!("/api/v1/{plural}");
        let one = format!("{all}/{id}");
        routes.push((Method::POST, all.clone(), Some(body)));
        routes.push((Method::GET, all, None));
        routes.push((Method::GET, one.clone(), None));
        if plural != "deny-rules" {
            routes.push((Method::PATCH, one.clone(), Some(json!({}))));
        }
        routes.push((Method::DELETE, one, None));
    }
    let member = "/api/v1/groups/ops/members/user/victim".to_owned();
    routes.push((Method::PUT, member.clone(), None));
    routes.push((Method::DELETE, member, None));
    routes
}

/// One of each, in acme; the routes with the ids that were made up.
async fn things(admin: &Caller) -> Vec<(Method, String, Option<serde_json::Value>)> {
    admin.user("victim").await;
    for (plural, body) in [
        (
            "groups",
            json!({ "id": "ops", "org_id": "acme", "members": ["user:victim"] }),
        ),
        (
            "service-accounts",
            json!({ "id": "robot", "name": "x", "project_id": "shop" }),
        ),
        (
            "roles",
            json!({ "id": "starter", "org_id": "acme", "permissions": ["a.b.c"] }),
        ),
    ] {
        admin.post(&format!("/api/v1/{plural}"), body).await.data();
    }
    let binding = admin.bind("user:victim", "starter", "project:shop").await;
    let rule = json!({ "permissions": ["x.y.z"], "scope": "project:shop" });
    let rule = admin.post("/api/v1/deny-rules", rule).await;
    let (binding, rule) = (&binding.data()["id"], &rule.data()["id"]);
    let named = |path: String| {
        path.replace("BINDING", binding.as_str().unwrap())
            .replace("RULE", rule.as_str().unwrap())
    };
    routes()
        .into_iter()
        .map(|(method, path, body)| (method, named(path), body))
        .collect()
}

#[tokio::test]
async fn strangers_learn_nothing_and_change_nothing() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = tenants(&iam).await;
    let routes = things(&admin).await;
    let nobody = Caller::of(&iam);
    let forged = nobody.with("eyJhbGciOiJub25lIn0.e30.");
    // Somebody who has something, elsewhere.
    let stranger = admin.somebody("stranger", "admin", "project:lab").await;
    for (method, path, body) in routes {
        let ask =
            async |caller: &Caller| caller.call(method.clone(), &path, body.clone(), None).await;
        for unknown in [&nobody, &forged] {
            let answer = ask(unknown).await;
            assert_eq!(
                answer.error(),
                (401, "UNAUTHENTICATED", ""),
                "{method} {path}"
            );
        }
        let answer = ask(&stranger).await;
        if path.ends_with("/roles") && method == Method::GET {
            let seen = answer.ids("roles");
            assert!(seen.contains(&"viewer".to_owned()) && !seen.contains(&"starter".to_owned()));
        } else if answer.status == 200 {
            // A list, of what is the stranger's own.
            let data = serde_json::to_string(answer.data()).unwrap();
            for foreign in ["acme", "shop", "victim", "ops", "robot", "starter", "x.y.z"] {
                assert!(!data.contains(&format!("{foreign}\"")), "{path}: {data}");
            }
        } else {
            let (status, code, _) = answer.error();
            let hidden = [(404, "NOT_FOUND"), (403, "FORBIDDEN")].contains(&(status, code));
            assert!(hidden, "{method} {path}: {answer:?}");
            if method == Method::GET {
                assert_eq!(status, 404, "{path}");
            }
        }
    }
    // Whether it is there makes no difference.
    for plural in [
        "orgs/acme",
        "projects/shop",
        "users/victim",
        "groups/ops",
        "service-accounts/robot",
    ] {
        let (path, id) = plural.split_once('/').unwrap();
        let there = stranger.get(&format!("/api/v1/{plural}")).await;
        let not = stranger.get(&format!("/api/v1/{path}/no-such")).await;
        let said = |answer: &crate::local::Answer, id: &str| {
            answer.body["error"]["message"]
                .as_str()
                .unwrap()
                .replace(id, "…")
        };
        assert_eq!(said(&there, id), said(&not, "no-such"), "{plural}");
        assert_eq!(there.status, not.status);
    }
    iam.stop().await;
}

#[tokio::test]
async fn the_admin_of_a_tenant_does_everything_in_it() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = tenants(&iam).await;
    let boss = admin.somebody("boss", "admin", "org:acme").await;
    let seen = async |plural: &str| boss.get(&format!("/api/v1/{plural}")).await.ids(plural);
    assert_eq!(seen("orgs").await, ["acme"]);
    assert_eq!(seen("projects").await, ["shop"]);
    assert_eq!(seen("users").await, ["boss"]);
    let made = json!({ "id": "web", "name": "Web", "org_id": "acme" });
    boss.post("/api/v1/projects", made).await.data();
    let made = json!({ "id": "al", "name": "Al", "org_id": "acme" });
    boss.post("/api/v1/users", made).await.data();
    boss.bind("user:al", "editor", "project:web").await.data();
    let made = json!({ "id": "bot", "name": "Bot", "project_id": "web" });
    boss.post("/api/v1/service-accounts", made).await.data();
    assert_eq!(seen("projects").await, ["shop", "web"]);
    assert_eq!(seen("users").await, ["al", "boss"]);

    // And nothing outside of it.
    let hidden = (404, "NOT_FOUND", "");
    assert_eq!(boss.get("/api/v1/projects/lab").await.error(), hidden);
    assert_eq!(boss.delete("/api/v1/projects/lab").await.error(), hidden);
    let made = json!({ "name": "x", "org_id": "other" });
    assert_eq!(boss.post("/api/v1/projects", made).await.error(), hidden);
    let made = json!({ "id": "evil", "name": "x" });
    assert_eq!(
        boss.post("/api/v1/users", made).await.error().1,
        "NOT_FOUND"
    );
    assert_eq!(
        boss.bind("user:boss", "viewer", "system").await.error().0,
        404
    );
    let unknown = json!({ "name": "x", "org_id": "nowhere" });
    assert_eq!(
        boss.post("/api/v1/projects", unknown.clone()).await.error(),
        hidden
    );
    assert_eq!(
        admin.post("/api/v1/projects", unknown).await.error(),
        hidden
    );
    iam.stop().await;
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_have() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = tenants(&iam).await;
    // Somebody who may write bindings, roles and groups in acme, and not much else.
    let role = json!({
        "id": "clerk", "org_id": "acme",
        "permissions": ["iam.bindings.*", "iam.roles.*", "iam.groups.*", "iam.users.get", "plasmavmc.vms.get"],
    });
    admin.post("/api/v1/roles", role).await.data();
    let clerk = admin.somebody("clerk", "clerk", "org:acme").await;
    admin.user("al").await;
    let refused = (403, "FORBIDDEN", "");
    for role in ["admin", "editor", "viewer", "billing-admin"] {
        let answer = clerk.bind("user:clerk", role, "org:acme").await;
        assert_eq!(answer.error(), refused, "{role}");
        let answer = clerk.bind("user:al", role, "project:shop").await;
        assert_eq!(answer.error(), refused, "{role}");
    }
    // What it has it may pass on, there and below.
    clerk.bind("user:al", "clerk", "project:shop").await.data();

    // Not by a role either, neither a new one nor one that others hold already.
    let role = |id: &str, permission: &str| json!({ "id": id, "org_id": "acme", "permissions": [permission] });
    let more = clerk
        .post("/api/v1/roles", role("more", "plasmavmc.vms.delete"))
        .await;
    assert_eq!(more.error(), refused);
    clerk
        .post("/api/v1/roles", role("same", "plasmavmc.vms.get"))
        .await
        .data();
    let wider = json!({ "permissions": ["plasmavmc.vms.*"] });
    assert_eq!(
        clerk.patch("/api/v1/roles/same", wider).await.error(),
        refused
    );
    let own = json!({ "permissions": ["*.*.*"] });
    assert_eq!(
        clerk.patch("/api/v1/roles/clerk", own).await.error(),
        refused
    );

    // Not by a group that has more, and not by a group within one.
    for id in ["bosses", "crew"] {
        let group = json!({ "id": id, "org_id": "acme" });
        clerk.post("/api/v1/groups", group).await.data();
    }
    admin.bind("group:bosses", "admin", "org:acme").await.data();
    let join = async |group: &str, member: &str| {
        clerk
            .put(&format!("/api/v1/groups/{group}/members/{member}"))
            .await
    };
    assert_eq!(join("bosses", "user/clerk").await.error(), refused);
    assert_eq!(join("bosses", "group/crew").await.error(), refused);
    join("crew", "user/clerk").await.data();

    // What ends is not made to last, and what lasts is not given by what ends.
    let ending = json!({
        "principal": "user:al", "role": "admin", "scope": "org:acme", "expires_at": "2099-01-01T00:00:00Z",
    });
    let ending = admin.post("/api/v1/bindings", ending).await;
    let id = ending.data()["id"].as_str().unwrap().to_owned();
    let al = admin.as_user("al", "org:acme").await;
    let lasting = json!({ "expires_at": null });
    let one = format!("/api/v1/bindings/{id}");
    assert_eq!(al.patch(&one, lasting.clone()).await.error(), refused);
    assert_eq!(
        al.bind("user:clerk", "viewer", "org:acme").await.error(),
        refused
    );
    let shorter = json!({ "expires_at": "2098-01-01T00:00:00Z" });
    al.patch(&one, shorter).await.data();
    admin.patch(&one, lasting).await.data();
    al.bind("user:clerk", "viewer", "org:acme").await.data();

    // A token for a project does not give what its principal has elsewhere.
    let narrow = admin.as_user("al", "project:shop").await;
    assert_eq!(
        narrow.bind("user:clerk", "editor", "org:acme").await.status,
        404
    );
    iam.stop().await;
}

#[tokio::test]
async fn things_are_given_only_to_what_is_there() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = tenants(&iam).await;
    for principal in ["user:nobody", "service_account:nobody", "group:nobody"] {
        let answer = admin.bind(principal, "viewer", "project:shop").await;
        assert_eq!(
            answer.error(),
            (400, "VALIDATION_ERROR", "principal"),
            "{principal}"
        );
    }
    let answer = admin.bind("user:admin", "viewer", "project:nowhere").await;
    assert_eq!(answer.error(), (404, "NOT_FOUND", ""));
    admin
        .post("/api/v1/groups", json!({ "id": "g" }))
        .await
        .data();
    let answer = admin.put("/api/v1/groups/g/members/user/nobody").await;
    assert_eq!(answer.error(), (400, "VALIDATION_ERROR", "member"));
    // A role of an org is given in it.
    let role = json!({ "id": "r", "org_id": "acme", "permissions": ["a.b.c"] });
    admin.post("/api/v1/roles", role).await.data();
    admin.bind("user:admin", "r", "project:shop").await.data();
    for scope in ["project:lab", "org:other", "system"] {
        let answer = admin.bind("user:admin", "r", scope).await;
        assert_eq!(answer.error(), (400, "VALIDATION_ERROR", "role"), "{scope}");
    }
    iam.stop().await;
}

#[tokio::test]
async fn a_disabled_user_and_a_disabled_project_end_their_tokens() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = tenants(&iam).await;
    let al = admin.somebody("al", "admin", "project:shop").await;
    al.get("/api/v1/projects/shop").await.data();
    let disabled = json!({ "disabled": true });
    admin
        .patch("/api/v1/users/al", disabled.clone())
        .await
        .data();
    assert_eq!(al.get("/api/v1/projects/shop").await.error().0, 401);
    admin
        .patch("/api/v1/users/al", json!({ "disabled": false }))
        .await
        .data();
    // For good.
    assert_eq!(al.get("/api/v1/projects/shop").await.error().0, 401);
    let al = admin.as_user("al", "project:shop").await;
    al.get("/api/v1/projects/shop").await.data();
    admin.patch("/api/v1/projects/shop", disabled).await.data();
    assert_eq!(al.get("/api/v1/projects/shop").await.error().0, 401);
    iam.stop().await;
}

#[tokio::test]
async fn a_deleted_project_takes_what_hung_on_it() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = tenants(&iam).await;
    let al = admin.somebody("al", "admin", "project:shop").await;
    let bot = json!({ "id": "bot", "name": "Bot", "project_id": "shop" });
    admin
        .post("/api/v1/service-accounts", bot.clone())
        .await
        .data();
    let bound = admin
        .bind("service_account:bot", "viewer", "project:lab")
        .await;
    let elsewhere = bound.data()["id"].as_str().unwrap().to_owned();
    let group = json!({ "id": "bots", "members": ["service_account:bot"] });
    admin.post("/api/v1/groups", group).await.data();
    let key = json!({ "principal": "service_account:bot", "kind": "api_key" });
    let key = admin.post("/api/v1/credentials", key).await;
    let secret = key.data()["secret"].as_str().unwrap().to_owned();
    let rule = json!({ "permissions": ["a.b.c"], "scope": "project:shop" });
    let rule = admin.post("/api/v1/deny-rules", rule).await.data()["id"].clone();

    admin.delete("/api/v1/projects/shop").await.data();
    assert_eq!(al.get("/api/v1/projects/shop").await.error().0, 401);
    let ask = json!({ "principal_id": "bot", "principal_type": "service_account", "scope_id": "lab", "api_key": secret });
    let refused = Caller::of(&iam)
        .post("/api/v1/auth/token", ask.clone())
        .await;
    assert_eq!(refused.error().0, 401);
    for gone in [
        "projects/shop".to_owned(),
        "service-accounts/bot".to_owned(),
        format!("bindings/{elsewhere}"),
        format!("deny-rules/{}", rule.as_str().unwrap()),
    ] {
        let answer = admin.get(&format!("/api/v1/{gone}")).await;
        assert_eq!(answer.error(), (404, "NOT_FOUND", ""), "{gone}");
    }
    let members = admin.get("/api/v1/groups/bots").await;
    assert_eq!(members.data()["members"], json!([]));
    let left = admin.get("/api/v1/bindings?scope=project:shop").await;
    assert!(left.ids("bindings").is_empty());

    // Made again, it is another one: tokens, keys and bindings of the first do not open it.
    let made = json!({ "id": "shop", "name": "Shop", "org_id": "acme" });
    admin.post("/api/v1/projects", made).await.data();
    admin.post("/api/v1/service-accounts", bot).await.data();
    assert_eq!(al.get("/api/v1/projects/shop").await.error().0, 401);
    assert_eq!(
        Caller::of(&iam)
            .post("/api/v1/auth/token", ask)
            .await
            .error()
            .0,
        401
    );
    let asked = json!({ "principal_id": "al", "scope_id": "shop" });
    assert_eq!(admin.post("/api/v1/auth/token", asked).await.error().0, 403);
    iam.stop().await;
}

#[tokio::test]
async fn nobody_lifts_a_rule_that_binds_them() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = tenants(&iam).await;
    let boss = admin.somebody("boss", "admin", "org:acme").await;
    let al = admin.somebody("al", "admin", "project:shop").await;
    let stranger = admin.somebody("stranger", "admin", "org:other").await;
    let everywhere = json!({ "id": "warden", "permissions": ["iam.deny_rules.*"] });
    admin.post("/api/v1/roles", everywhere).await.data();
    let warden = admin.somebody("warden", "warden", "system").await;
    let refused = (403, "FORBIDDEN", "");
    let hidden = (404, "NOT_FOUND", "");
    let make = async |caller: &Caller, at: &str| {
        let rule = json!({ "permissions": ["plasmavmc.vms.delete"], "scope": at });
        caller.post("/api/v1/deny-rules", rule).await
    };
    let one = |made: &crate::local::Answer| {
        format!("/api/v1/deny-rules/{}", made.data()["id"].as_str().unwrap())
    };

    // At a project its org decides; whoever may look there sees it.
    assert_eq!(make(&al, "project:shop").await.error(), refused);
    assert_eq!(make(&stranger, "project:shop").await.error(), hidden);
    let rule = one(&make(&boss, "project:shop").await);
    al.get(&rule).await.data();
    assert_eq!(
        al.get("/api/v1/deny-rules").await.ids("deny_rules").len(),
        1
    );
    assert_eq!(al.delete(&rule).await.error(), refused);
    assert_eq!(stranger.delete(&rule).await.error(), hidden);
    boss.delete(&rule).await.data();
    assert_eq!(boss.delete(&rule).await.error(), hidden);

    // At an org, whoever may write them at the system.
    assert_eq!(make(&boss, "org:acme").await.error(), refused);
    assert_eq!(make(&stranger, "org:acme").await.error(), hidden);
    let rule = one(&make(&warden, "org:acme").await);
    boss.get(&rule).await.data();
    assert_eq!(boss.delete(&rule).await.error(), refused);
    warden.delete(&rule).await.data();

    // At the system, its admin, and nobody who only may write them.
    assert_eq!(make(&warden, "system").await.error(), refused);
    let rule = one(&make(&admin, "system").await);
    warden.get(&rule).await.data();
    assert_eq!(warden.delete(&rule).await.error(), refused);
    assert_eq!(boss.delete(&rule).await.error(), hidden);
    admin.delete(&rule).await.data();
    // A scope there is not is nobody's.
    assert_eq!(make(&boss, "project:nowhere").await.error(), hidden);
    assert_eq!(make(&admin, "project:nowhere").await.error(), hidden);
    iam.stop().await;
}

#[tokio::test]
async fn the_id_of_a_deleted_project_stays_with_its_org() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = tenants(&iam).await;
    let boss = admin.somebody("boss", "admin", "org:acme").await;
    let rival = admin.somebody("rival", "admin", "org:other").await;
    let shop = |org: &str| json!({ "id": "shop", "name": "Anew", "org_id": org });
    // Twice: what is noted the first time holds the second time, too.
    for _ in 0..2 {
        boss.delete("/api/v1/projects/shop").await.data();
        for caller in [&rival, &admin] {
            let taken = caller.post("/api/v1/projects", shop("other")).await;
            assert_eq!(taken.error(), (409, "ALREADY_EXISTS", ""));
            let said = taken.body["error"].to_string();
            assert!(said.contains("the id shop is taken"), "{said}");
            assert!(!said.contains("acme"), "{said}");
        }
        let trail = "/api/v1/audit?scope=project:shop";
        assert_eq!(rival.get(trail).await.error(), (403, "FORBIDDEN", ""));
        boss.post("/api/v1/projects", shop("acme")).await.data();
        assert_eq!(rival.get(trail).await.error(), (403, "FORBIDDEN", ""));
        let records = boss.get(trail).await;
        assert!(records.data()["records"].as_array().unwrap().len() > 1);
    }
    iam.stop().await;
}

#[tokio::test]
async fn an_implicit_project_does_not_take_a_deleted_ones_id() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    operator.tenant("acme", "shop").await;
    operator.delete("/api/v1/projects/shop").await.data();
    let taken = (409, "ALREADY_EXISTS", "");
    let account = |project: &str| json!({ "name": "x", "project_id": project });
    let answer = operator
        .post("/api/v1/service-accounts", account("shop"))
        .await;
    assert_eq!(answer.error(), taken);
    // One that was implicit stays where dev mode had made it.
    operator
        .post("/api/v1/service-accounts", account("lab"))
        .await
        .data();
    operator.delete("/api/v1/projects/lab").await.data();
    let lab = |org: &str| json!({ "id": "lab", "name": "Lab", "org_id": org });
    let answer = operator.post("/api/v1/projects", lab("acme")).await;
    assert_eq!(answer.error(), taken);
    operator
        .post("/api/v1/service-accounts", account("lab"))
        .await
        .data();
    let answer = operator.post("/api/v1/projects", lab("acme")).await;
    assert_eq!(answer.error(), taken);
    operator
        .post("/api/v1/projects", lab("default"))
        .await
        .data();
    iam.stop().await;
}

#[tokio::test]
async fn enabling_somebody_gives_what_they_hold() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = tenants(&iam).await;
    let role = json!({
        "id": "clerk", "org_id": "acme", "permissions": ["iam.users.*", "iam.service_accounts.*"],
    });
    admin.post("/api/v1/roles", role).await.data();
    let clerk = admin.somebody("clerk", "clerk", "org:acme").await;
    let user = json!({ "id": "al", "name": "Al", "org_id": "acme" });
    clerk.post("/api/v1/users", user).await.data();
    let account = json!({ "id": "bot", "name": "Bot", "project_id": "shop" });
    clerk.post("/api/v1/service-accounts", account).await.data();
    let all = [
        ("/api/v1/users/al", "user:al"),
        ("/api/v1/service-accounts/bot", "service_account:bot"),
    ];
    for (one, principal) in all {
        let set = async |caller: &Caller, disabled: bool| {
            caller.patch(one, json!({ "disabled": disabled })).await
        };
        // Who holds nothing is enabled by whoever may change it.
        set(&clerk, true).await.data();
        set(&clerk, false).await.data();
        admin.bind(principal, "editor", "project:shop").await.data();
        set(&clerk, true).await.data();
        assert_eq!(
            set(&clerk, false).await.error(),
            (403, "FORBIDDEN", ""),
            "{principal}"
        );
        assert_eq!(clerk.get(one).await.data()["disabled"], true);
        set(&admin, false).await.data();
    }
    iam.stop().await;
}

#[tokio::test]
async fn the_root_org_stays() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = tenants(&iam).await;
    let refused = admin.delete("/api/v1/orgs/root").await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    assert_eq!(
        admin.get("/api/v1/orgs/root").await.data()["disabled"],
        false
    );
    iam.stop().await;
}

#[tokio::test]
async fn nobody_learns_by_credentials_or_tokens_who_there_is() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = tenants(&iam).await;
    let made = json!({ "id": "foreign", "name": "x", "org_id": "other" });
    admin.post("/api/v1/users", made).await.data();
    let boss = admin.somebody("boss", "admin", "org:acme").await;
    let ask = async |id: &str| {
        let key = json!({ "principal": format!("user:{id}"), "kind": "api_key" });
        let token = json!({ "principal_id": id, "scope_id": "shop" });
        let answers = [
            boss.post("/api/v1/credentials", key).await,
            boss.get(&format!("/api/v1/credentials?principal=user:{id}"))
                .await,
            boss.post("/api/v1/auth/token", token).await,
            boss.post("/api/v1/auth/revoke", json!({ "principal_id": id }))
                .await,
        ];
        answers.map(|answer| {
            let said = answer.body["error"].to_string().replace(id, "…");
            (answer.status, said)
        })
    };
    let (there, not) = (ask("foreign").await, ask("nobody").await);
    assert_eq!(there, not);
    assert!(
        there.iter().all(|(status, _)| [403, 404].contains(status)),
        "{there:?}"
    );
    iam.stop().await;
}

/// What is left to do after it could not be done any more, and the last admin would lock everybody out.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_disables_or_deletes_itself() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = Caller::admin(&iam).await;
    let path = "/api/v1/users/admin";
    let disable = admin.patch(path, json!({ "disabled": true })).await;
    assert_eq!(disable.error().1, "FAILED_PRECONDITION");
    let delete = admin.delete(path).await;
    assert_eq!(delete.error().1, "FAILED_PRECONDITION");
    assert_eq!(admin.get(path).await.data()["disabled"], false);
    iam.stop().await;
}
