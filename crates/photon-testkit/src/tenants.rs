//! An IAM that enforces, with two tenants, and people in them.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    in_process_iam::{InProcessIam, enforcing_iam},
    rest::Caller,
};

/// IAM with the orgs `acme` and `other`, and their projects `shop` and `lab`.
#[derive(Debug)]
pub struct Tenants {
    /// The service.
    pub iam: InProcessIam,
    /// Its first admin, at IAM.
    pub admin: Caller,
    /// The admin's token for the whole system.
    pub system: String,
}

/// Founds them.
///
/// # Errors
/// What ChainFire and IAM say.
pub async fn tenants() -> anyhow::Result<Tenants> {
    let iam = Box::pin(enforcing_iam()).await?;
    let anybody = Caller::at(&iam.rest_url());
    let asked = json!({
        "principal_id": "admin", "scope_id": "system", "api_key": iam.admin_key()?,
    });
    let system = token(&anybody, asked).await;
    let admin = anybody.with(&system);
    for (org, project) in [("acme", "shop"), ("other", "lab")] {
        let body = json!({ "id": org, "name": org });
        made(&admin, "/api/v1/orgs", body).await?;
        let body = json!({ "id": project, "name": project, "org_id": org });
        made(&admin, "/api/v1/projects", body).await?;
    }
    Ok(Tenants { iam, admin, system })
}

async fn made(admin: &Caller, path: &str, body: Value) -> anyhow::Result<()> {
    let answer = admin.post(path, body).await;
    let is_made = (answer.status == 201).then_some(());
    is_made.with_context(|| format!("{path}: {answer:?}"))
}

/// A token of IAM.
async fn token(iam: &Caller, body: Value) -> String {
    iam.post("/api/v1/auth/token", body).await.text("token")
}

/// A new user with a role at a scope, and its token for that scope.
pub async fn somebody(admin: &Caller, id: &str, role: &str, scope: &str) -> String {
    let user = json!({ "id": id, "name": id });
    admin.post("/api/v1/users", user).await.data();
    let binding = json!({ "principal": format!("user:{id}"), "role": role, "scope": scope });
    admin.post("/api/v1/bindings", binding).await.data();
    let bare = scope.split_once(':').map_or(scope, |(_, id)| id);
    token(admin, json!({ "principal_id": id, "scope_id": bare })).await
}
