//! What each method needs. Start fails when one of the proto's is missing here.

use photon_auth::grpc::Guard;

/// Methods for everybody.
const OPEN: &[&str] = &["Tokens/Issue"];

/// Other methods and the permission each is decided by: those of the REST routes to the same use cases.
const NEEDS: &[(&str, &str)] = &[
    ("Tokens/Verify", "iam.tokens.verify"),
    ("Tokens/Revoke", "iam.tokens.revoke"),
    ("Orgs/Get", "iam.orgs.get"),
    ("Orgs/List", "iam.orgs.list"),
    ("Orgs/Update", "iam.orgs.update"),
    ("Orgs/Delete", "iam.orgs.delete"),
    ("Projects/Get", "iam.projects.get"),
    ("Projects/List", "iam.projects.list"),
    ("Projects/Update", "iam.projects.update"),
    ("Projects/Delete", "iam.projects.delete"),
    ("Users/Get", "iam.users.get"),
    ("Users/List", "iam.users.list"),
    ("Users/Update", "iam.users.update"),
    ("Users/Delete", "iam.users.delete"),
    ("Users/SetPassword", "iam.credentials.update"),
    ("Groups/Get", "iam.groups.get"),
    ("Groups/List", "iam.groups.list"),
    ("Groups/Update", "iam.groups.update"),
    ("Groups/Delete", "iam.groups.delete"),
    ("Groups/AddMember", "iam.groups.update"),
    ("Groups/RemoveMember", "iam.groups.update"),
    ("ServiceAccounts/Get", "iam.service_accounts.get"),
    ("ServiceAccounts/List", "iam.service_accounts.list"),
    ("ServiceAccounts/Update", "iam.service_accounts.update"),
    ("ServiceAccounts/Delete", "iam.service_accounts.delete"),
    ("Credentials/Get", "iam.credentials.get"),
    ("Credentials/List", "iam.credentials.list"),
    ("Credentials/Update", "iam.credentials.update"),
    ("Credentials/Delete", "iam.credentials.delete"),
    ("Roles/Get", "iam.roles.get"),
    ("Roles/List", "iam.roles.list"),
    ("Roles/Update", "iam.roles.update"),
    ("Roles/Delete", "iam.roles.delete"),
    ("Bindings/Get", "iam.bindings.get"),
    ("Bindings/List", "iam.bindings.list"),
    ("Bindings/Update", "iam.bindings.update"),
    ("Bindings/Delete", "iam.bindings.delete"),
    ("DenyRules/Get", "iam.deny_rules.get"),
    ("DenyRules/List", "iam.deny_rules.list"),
    ("DenyRules/Delete", "iam.deny_rules.delete"),
    ("Access/Check", "iam.access.check"),
    ("Access/BatchCheck", "iam.access.check"),
    ("Keys/List", "iam.keys.list"),
    ("Keys/End", "iam.keys.end"),
];

/// Methods that make something, each once for an idempotency key, and the permission.
const CREATES: &[(&str, &str)] = &[
    ("Orgs/Create", "iam.orgs.create"),
    ("Projects/Create", "iam.projects.create"),
    ("Users/Create", "iam.users.create"),
    ("Groups/Create", "iam.groups.create"),
    ("ServiceAccounts/Create", "iam.service_accounts.create"),
    ("Credentials/Create", "iam.credentials.create"),
    ("Roles/Create", "iam.roles.create"),
    ("Bindings/Create", "iam.bindings.create"),
    ("DenyRules/Create", "iam.deny_rules.create"),
    ("Keys/Rotate", "iam.keys.rotate"),
];

/// The table, to be put around the services that `descriptors` describe.
pub(super) fn guard(descriptors: &[u8]) -> Guard {
    let full = |method: &str| format!("photon.iam.v1.{method}");
    let guard = OPEN.iter().fold(Guard::of(descriptors), |guard, method| {
        guard.open(&full(method))
    });
    let guard = CREATES.iter().fold(guard, |guard, (method, permission)| {
        guard.create(&full(method), permission)
    });
    NEEDS.iter().fold(guard, |guard, (method, permission)| {
        guard.rpc(&full(method), permission)
    })
}
