//! Every resource from create to delete, in dev mode: what is answered, ETags, filters, pages.

use photon_testkit::in_process_iam;
use reqwest::Method;
use serde_json::{Value, json};

use crate::local::{Answer, Caller};

/// A resource, as these tests go through it.
struct Resource {
    path: &'static str,
    plural: &'static str,
    /// What to make; with an id of its own where callers choose them.
    new: Value,
    /// A change, if there is such a thing.
    change: Option<Value>,
    /// A filter that fits and one that does not.
    filters: Option<[&'static str; 2]>,
}

fn resources() -> Vec<Resource> {
    vec![
        Resource {
            path: "/api/v1/orgs",
            plural: "orgs",
            new: json!({ "id": "acme", "name": "Acme" }),
            change: Some(json!({ "name": "Acme Ltd" })),
            filters: None,
        },
        Resource {
            path: "/api/v1/projects",
            plural: "projects",
            new: json!({ "id": "shop", "name": "Shop", "org_id": "acme" }),
            change: Some(json!({ "name": "The shop" })),
            filters: Some(["org_id=acme", "org_id=other"]),
        },
        Resource {
            path: "/api/v1/users",
            plural: "users",
            new: json!({ "id": "alice", "name": "Alice", "email": "a@example.com", "org_id": "acme" }),
            change: Some(json!({ "email": "alice@example.com" })),
            filters: None,
        },
        Resource {
            path: "/api/v1/groups",
            plural: "groups",
            new: json!({ "id": "ops", "title": "Operators", "org_id": "acme", "members": ["user:alice"] }),
            change: Some(json!({ "title": "Those who operate" })),
            filters: Some(["org_id=acme", "org_id=other"]),
        },
        Resource {
            path: "/api/v1/service-accounts",
            plural: "service_accounts",
            new: json!({ "id": "robot", "name": "Robot", "project_id": "shop" }),
            change: Some(json!({ "disabled": true })),
            filters: Some(["project_id=shop", "project_id=other"]),
        },
        Resource {
            path: "/api/v1/roles",
            plural: "roles",
            new: json!({ "id": "starter", "title": "Starts", "org_id": "acme", "permissions": ["plasmavmc.vms.start"] }),
            change: Some(json!({ "permissions": ["plasmavmc.vms.*"] })),
            filters: Some(["org_id=acme", "org_id=other"]),
        },
        Resource {
            path: "/api/v1/bindings",
            plural: "bindings",
            new: json!({
                "principal": "user:alice", "role": "viewer", "scope": "project:shop",
                "condition": { "source_networks": ["10.0.0.0/8"] },
            }),
            change: Some(json!({ "expires_at": "2099-01-01T00:00:00Z" })),
            filters: Some(["principal=user:alice&role=viewer", "principal=user:bob"]),
        },
        Resource {
            path: "/api/v1/deny-rules",
            plural: "deny_rules",
            new: json!({ "permissions": ["*.*.delete"], "scope": "project:shop" }),
            change: None,
            filters: Some(["scope=project:shop", "scope=system"]),
        },
    ]
}

/// Everything of `wanted` is in `shown`.
fn assert_shows(shown: &Value, wanted: &Value) {
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{field} of {shown}");
    }
}

fn etag(answer: &Answer) -> String {
    let revision = answer.revision();
    assert_eq!(answer.etag, Some(format!("\"{revision}\"")), "{answer:?}");
    format!("\"{revision}\"")
}

#[tokio::test]
async fn each_is_made_seen_changed_and_deleted() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    let mut paths = Vec::new();
    for resource in resources() {
        let Resource { path, plural, .. } = resource;
        let made = operator.post(path, resource.new.clone()).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert_shows(made.data(), &resource.new);
        let id = made.data()["id"].as_str().unwrap().to_owned();
        let one = format!("{path}/{id}");
        let seen = operator.get(&one).await;
        assert_eq!(seen.data(), made.data());
        let first = etag(&seen);
        assert!(operator.get(path).await.ids(plural).contains(&id));
        if let Some([fits, does_not]) = resource.filters {
            let of =
                async |filter: &str| operator.get(&format!("{path}?{filter}")).await.ids(plural);
            assert_eq!(of(fits).await, [id.as_str()], "{plural}");
            assert!(!of(does_not).await.contains(&id), "{plural}");
        }
        if let Some(change) = resource.change {
            let call = async |if_match: &str| {
                operator
                    .call(Method::PATCH, &one, Some(change.clone()), Some(if_match))
                    .await
            };
            let changed = call(&first).await;
            assert_shows(changed.data(), &change);
            assert_ne!(etag(&changed), first);
            assert_eq!(operator.get(&one).await.data(), changed.data());
            // Somebody who has seen what was before does not overwrite it, and does not delete it.
            assert_eq!(call(&first).await.error(), (409, "CONFLICT", ""), "{one}");
            let stale = operator
                .call(Method::DELETE, &one, None, Some(&first))
                .await;
            assert_eq!(stale.error(), (409, "CONFLICT", ""), "{one}");
            // A change that changes nothing is none.
            let again = operator.patch(&one, change.clone()).await;
            assert_eq!(again.revision(), changed.revision(), "{one}");
        } else {
            let refused = operator.patch(&one, json!({})).await;
            assert_eq!(refused.error(), (405, "METHOD_NOT_ALLOWED", ""));
        }
        paths.push((one, id));
    }
    for (one, id) in paths.into_iter().rev() {
        let gone = operator.delete(&one).await;
        assert_eq!(gone.data()["id"], id.as_str());
        assert_eq!(gone.data()["deleted"], true);
        assert_eq!(operator.get(&one).await.error().1, "NOT_FOUND", "{one}");
        assert_eq!(operator.delete(&one).await.error().1, "NOT_FOUND", "{one}");
        let changed = operator.patch(&one, json!({})).await.status;
        assert!([404, 405].contains(&changed), "{one}");
    }
    iam.stop().await;
}

#[tokio::test]
async fn the_same_twice_is_refused() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    for resource in resources() {
        operator
            .post(resource.path, resource.new.clone())
            .await
            .data();
        if resource.plural == "deny_rules" {
            continue; // two may say the same
        }
        let again = operator.post(resource.path, resource.new).await;
        assert_eq!(
            again.error(),
            (409, "ALREADY_EXISTS", ""),
            "{}",
            resource.path
        );
    }
    // Orgs and projects share their ids; projects of an org do not share names.
    for (path, body) in [
        ("/api/v1/orgs", json!({ "id": "shop", "name": "x" })),
        (
            "/api/v1/projects",
            json!({ "id": "acme", "name": "x", "org_id": "acme" }),
        ),
        (
            "/api/v1/projects",
            json!({ "name": "Shop", "org_id": "acme" }),
        ),
    ] {
        let taken = operator.post(path, body.clone()).await;
        assert_eq!(taken.error(), (409, "ALREADY_EXISTS", ""), "{body}");
    }
    let elsewhere = json!({ "name": "Shop", "org_id": "other" });
    operator.post("/api/v1/projects", elsewhere).await.data();
    iam.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    for n in 0..7 {
        operator.user(&format!("user-{n}")).await;
    }
    let mut found = Vec::new();
    let mut path = "/api/v1/users?limit=3".to_owned();
    let mut pages = 0;
    loop {
        let page = operator.get(&path).await;
        let ids = page.ids("users");
        assert!(ids.len() <= 3);
        found.extend(ids);
        pages += 1;
        match page.data().get("next_page_token") {
            Some(token) => {
                path = format!(
                    "/api/v1/users?limit=3&page_token={}",
                    token.as_str().unwrap()
                )
            }
            None => break,
        }
    }
    let all: Vec<String> = (0..7).map(|n| format!("user-{n}")).collect();
    assert_eq!((found, pages), (all, 3));
    assert!(
        operator
            .get("/api/v1/users")
            .await
            .data()
            .get("next_page_token")
            .is_none()
    );

    // Roles that are not stored come first, and are paged with the others.
    let made = json!({ "id": "a-role", "permissions": ["a.b.c"] });
    operator.post("/api/v1/roles", made).await.data();
    let all = operator.get("/api/v1/roles").await.ids("roles");
    assert_eq!(all.last().unwrap(), "a-role");
    assert!(all.contains(&"admin".to_owned()) && all.contains(&"viewer".to_owned()));
    for limit in 1..=all.len() {
        let mut found = Vec::new();
        let mut path = format!("/api/v1/roles?limit={limit}");
        loop {
            let page = operator.get(&path).await;
            found.extend(page.ids("roles"));
            match page.data().get("next_page_token") {
                Some(token) => {
                    path = format!(
                        "/api/v1/roles?limit={limit}&page_token={}",
                        token.as_str().unwrap()
                    );
                }
                None => break,
            }
        }
        assert_eq!(found, all, "by {limit}");
    }
    iam.stop().await;
}

#[tokio::test]
async fn ids_are_made_up_where_none_is_given() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    for (path, body, prefix) in [
        ("/api/v1/orgs", json!({ "name": "x" }), "org-"),
        (
            "/api/v1/projects",
            json!({ "name": "x", "org_id": "o" }),
            "prj-",
        ),
        ("/api/v1/users", json!({ "name": "x" }), "usr-"),
        ("/api/v1/groups", json!({}), "grp-"),
        (
            "/api/v1/service-accounts",
            json!({ "name": "x", "project_id": "p" }),
            "sa-",
        ),
    ] {
        let made = operator.post(path, body).await;
        let id = made.data()["id"].as_str().unwrap();
        assert!(id.starts_with(prefix), "{id}");
        operator.get(&format!("{path}/{id}")).await.data();
    }
    iam.stop().await;
}

/// What dev mode makes by itself is marked, and becomes somebody's when somebody makes it.
#[tokio::test]
async fn unknown_orgs_and_projects_are_made_on_first_use() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    operator
        .bind("user:nobody-yet", "viewer", "project:later")
        .await
        .data();
    let project = operator.get("/api/v1/projects/later").await;
    assert_shows(
        project.data(),
        &json!({ "implicit": true, "org_id": "default", "name": "later" }),
    );
    let org = operator.get("/api/v1/orgs/default").await;
    assert_eq!(org.data()["implicit"], true);
    let token = operator.as_user("nobody-yet", "project:later").await;

    let made = json!({ "id": "later", "name": "Later", "org_id": "acme" });
    let made = operator.post("/api/v1/projects", made).await;
    assert_eq!(made.status, 201);
    assert_shows(made.data(), &json!({ "implicit": false, "org_id": "acme" }));
    // Its tokens are in use.
    token.get("/api/v1/whoami").await.data();
    assert_eq!(
        operator.get("/api/v1/orgs/acme").await.data()["implicit"],
        true
    );
    let named = json!({ "id": "acme", "name": "Acme" });
    assert_eq!(
        operator.post("/api/v1/orgs", named).await.data()["implicit"],
        false
    );
    iam.stop().await;
}

#[tokio::test]
async fn users_are_listed_by_scope() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    operator.tenant("acme", "shop").await;
    operator.tenant("other", "lab").await;
    for user in [
        "free",
        "of-org",
        "of-shop",
        "of-lab",
        "of-group",
        "everywhere",
    ] {
        operator.user(user).await;
    }
    let group = json!({ "id": "ops", "members": ["user:of-group"] });
    operator.post("/api/v1/groups", group).await.data();
    for (who, scope) in [
        ("user:of-org", "org:acme"),
        ("user:of-shop", "project:shop"),
        ("user:of-lab", "project:lab"),
        ("group:ops", "project:shop"),
        ("user:everywhere", "system"),
    ] {
        operator.bind(who, "viewer", scope).await.data();
    }
    for (scope, expected) in [
        (
            "shop",
            &["everywhere", "free", "of-group", "of-org", "of-shop"][..],
        ),
        ("lab", &["everywhere", "free", "of-lab"]),
        (
            "acme",
            &["everywhere", "free", "of-group", "of-org", "of-shop"],
        ),
        ("unheard-of", &["everywhere", "free"]),
    ] {
        let listed = operator
            .get(&format!("/api/v1/users?scope_id={scope}"))
            .await;
        assert_eq!(listed.ids("users"), expected, "{scope}");
    }
    iam.stop().await;
}

#[tokio::test]
async fn what_is_in_use_stays() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    operator.tenant("acme", "shop").await;
    let role = json!({ "id": "starter", "permissions": ["plasmavmc.vms.start"] });
    operator.post("/api/v1/roles", role).await.data();
    let binding = operator.bind("user:alice", "starter", "org:acme").await;
    for one in ["/api/v1/orgs/acme", "/api/v1/roles/starter"] {
        let refused = operator.delete(one).await;
        assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""), "{one}");
    }
    // The org that could not be deleted is as it was.
    assert_eq!(
        operator.get("/api/v1/orgs/acme").await.data()["disabled"],
        false
    );
    let refused = operator.delete("/api/v1/roles/viewer").await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    let refused = operator
        .patch("/api/v1/roles/viewer", json!({ "title": "x" }))
        .await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));

    let id = binding.data()["id"].as_str().unwrap();
    operator
        .delete(&format!("/api/v1/bindings/{id}"))
        .await
        .data();
    operator.delete("/api/v1/roles/starter").await.data();
    operator.delete("/api/v1/projects/shop").await.data();
    operator.delete("/api/v1/orgs/acme").await.data();
    iam.stop().await;
}
