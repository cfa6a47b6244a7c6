//! What each method needs. Start fails when one of the proto's is missing here.

use photon_auth::grpc::Guard;

/// Methods for everybody.
const OPEN: &[&str] = &["Tokens/Issue"];

/// Methods and the permission each is decided by: those of the REST routes to the same use cases.
const NEEDS: &[(&str, &str)] = &[
    ("Tokens/Verify", "iam.tokens.verify"),
    ("Tokens/Revoke", "iam.tokens.revoke"),
    ("Orgs/Create", "iam.orgs.create"),
    ("Orgs/Get", "iam.orgs.get"),
    ("Orgs/List", "iam.orgs.list"),
    ("Orgs/Update", "iam.orgs.update"),
    ("Orgs/Delete", "iam.orgs.delete"),
    ("Projects/Create", "iam.projects.create"),
    ("Projects/Get", "iam.projects.get"),
    ("Projects/List", "iam.projects.list"),
    ("Projects/Update", "iam.projects.update"),
    ("Projects/Delete", "iam.projects.delete"),
    ("Users/Create", "iam.users.create"),
    ("Users/Get", "iam.users.get"),
    ("Users/List", "iam.users.list"),
    ("Users/Update", "iam.users.update"),
    ("Users/Delete", "iam.users.delete"),
    ("Users/SetPassword", "iam.credentials.update"),
    ("Groups/Create", "iam.groups.create"),
    ("Groups/Get", "iam.groups.get"),
    ("Groups/List", "iam.groups.list"),
    ("Groups/Update", "iam.groups.update"),
    ("Groups/Delete", "iam.groups.delete"),
    ("Groups/AddMember", "iam.groups.update"),
    ("Groups/RemoveMember", "iam.groups.update"),
    ("ServiceAccounts/Create", "iam.service_accounts.create"),
    ("ServiceAccounts/Get", "iam.service_accounts.get"),
    ("ServiceAccounts/List", "iam.service_accounts.list"),
    ("ServiceAccounts/Update", "iam.service_accounts.update"),
    ("ServiceAccounts/Delete", "iam.service_accounts.delete"),
    ("Credentials/Create", "iam.credentials.create"),
    ("Credentials/Get", "iam.credentials.get"),
    ("Credentials/List", "iam.credentials.list"),
    ("Credentials/Update", "iam.credentials.update"),
    ("Credentials/Delete", "iam.credentials.delete"),
    ("Roles/Create", "iam.roles.create"),
    ("Roles/Get", "iam.roles.get"),
    ("Roles/List", "iam.roles.list"),
    ("Roles/Update", "iam.roles.update"),
    ("Roles/Delete", "iam.roles.delete"),
    ("Bindings/Create", "iam.bindings.create"),
    ("Bindings/Get", "iam.bindings.get"),
    ("Bindings/List", "iam.bindings.list"),
    ("Bindings/Update", "iam.bindings.update"),
    ("Bindings/Delete", "iam.bindings.delete"),
    ("DenyRules/Create", "iam.deny_rules.create"),
    ("DenyRules/Get", "iam.deny_rules.get"),
    ("DenyRules/List", "iam.deny_rules.list"),
    ("DenyRules/Delete", "iam.deny_rules.delete"),
    ("Access/Check", "iam.access.check"),
    ("Access/BatchCheck", "iam.access.check"),
    ("Keys/List", "iam.keys.list"),
    ("Keys/Rotate", "iam.keys.rotate"),
];

/// The table, to be put around the services that `descriptors` describe.
pub(super) fn guard(descriptors: &[u8]) -> Guard {
    let full = |method: &str| format!("photon.iam.v1.{method}");
    let guard = OPEN.iter().fold(Guard::of(descriptors), |guard, method| {
        guard.open(&full(method))
    });
    NEEDS.iter().fold(guard, |guard, (method, permission)| {
        guard.rpc(&full(method), permission)
    })
}
