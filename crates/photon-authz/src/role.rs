//! Roles: those built in, and what a role allows once it is made ready for deciding.
//!
//! | role | allows |
//! |---|---|
//! | `viewer` | `get`, `list`, `watch` of everything but `iam.credentials` and every service's `secrets` |
//! | `editor` | what `viewer` does, and everything outside `iam` and `creditservice` |
//! | `admin` | everything |
//! | `billing-admin` | everything of `creditservice` |
//! | `service-<name>` | what that service calls in others; it holds it everywhere without a stored binding |
//!
//! What each `service-<name>` needs stands in [`SERVICES`]: a service not named there holds nothing by itself.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock},
};

use photon_core::{Error, Name};

use crate::{Permission, PermissionPattern, Role, records::MAX_TITLE};

/// The role that allows everything. Held at the system without a condition, it may always find and remove deny rules.
pub const ADMIN: &str = "admin";

/// The most patterns a custom role may have, and the most exceptions.
pub const MAX_PATTERNS: usize = 1_000;

/// What every service of the suite needs of IAM: whether the project is live, and what its callers may do.
const SERVICE_BASE: &[&str] = &[
    "iam.access.check",
    "iam.orgs.get",
    "iam.projects.get",
    "iam.tokens.verify",
];

/// What creates things that cost needs of CreditService.
const SPENDS: &[&str] = &[
    "creditservice.billing.get",
    "creditservice.limits.list",
    "creditservice.prices.list",
    "creditservice.quotas.get",
    "creditservice.reservations.commit",
    "creditservice.reservations.create",
    "creditservice.reservations.extend",
    "creditservice.reservations.get",
    "creditservice.reservations.release",
    "creditservice.usage.record",
    "creditservice.wallets.get",
];

/// The services of the suite and what each may do in others, beyond what all may. Runtime calls form a line
/// (IAM ← CreditService ← PrismNET ← PlasmaVMC, k8shost), and so do these.
pub const SERVICES: &[(&str, &[&[&str]])] = &[
    ("creditservice", &[&["iam.orgs.list", "iam.projects.list"]]),
    ("prismnet", &[SPENDS]),
    (
        "plasmavmc",
        &[
            SPENDS,
            &[
                "prismnet.ports.bind",
                "prismnet.ports.create",
                "prismnet.ports.delete",
                "prismnet.ports.get",
                "prismnet.ports.list",
                "prismnet.ports.update",
                "prismnet.security_groups.get",
                "prismnet.subnets.get",
                "prismnet.vpcs.get",
            ],
        ],
    ),
    (
        "k8shost",
        &[
            SPENDS,
            &[
                "prismnet.external_networks.get",
                "prismnet.external_networks.list",
                "prismnet.floating_ips.create",
                "prismnet.floating_ips.delete",
                "prismnet.floating_ips.get",
                "prismnet.floating_ips.list",
                "prismnet.floating_ips.update",
                "prismnet.ports.bind",
                "prismnet.ports.create",
                "prismnet.ports.delete",
                "prismnet.ports.get",
                "prismnet.ports.list",
                "prismnet.ports.update",
                "prismnet.security_groups.get",
                "prismnet.subnets.get",
                "prismnet.vpcs.get",
            ],
        ],
    ),
];

static BUILT_IN: LazyLock<Vec<Role>> = LazyLock::new(|| {
    let mut roles = vec![
        role(
            "viewer",
            "See everything but secrets",
            &["*.*.get", "*.*.list", "*.*.watch"],
            &["iam.credentials.*", "*.secrets.*"],
            &[],
        ),
        role(
            "editor",
            "Create, change and use everything but access and money",
            &["*.*.*"],
            &["iam.*.*", "creditservice.*.*"],
            &["viewer"],
        ),
        role(ADMIN, "Everything", &["*.*.*"], &[], &[]),
        role(
            "billing-admin",
            "Wallets, quotas and prices",
            &["creditservice.*.*"],
            &[],
            &[],
        ),
    ];
    for (service, parts) in SERVICES {
        let permissions: Vec<&str> = [SERVICE_BASE]
            .iter()
            .chain(*parts)
            .flat_map(|part| part.iter().copied())
            .collect();
        roles.push(role(
            &format!("service-{service}"),
            &format!("What the service {service} calls in others"),
            &permissions,
            &[],
            &[],
        ));
    }
    roles
});

#[expect(
    clippy::expect_used,
    reason = "only constants of this file come here, and a test builds them all"
)]
fn role(id: &str, title: &str, permissions: &[&str], except: &[&str], includes: &[&str]) -> Role {
    let patterns = |texts: &[&str]| -> Vec<PermissionPattern> {
        let parsed = texts.iter().map(|text| text.parse());
        parsed.collect::<Result<_, _>>().expect("a pattern")
    };
    let name = |text: &str| Name::new(text).expect("a name");
    Role {
        id: name(id),
        org: None,
        title: title.to_owned(),
        permissions: patterns(permissions),
        except: patterns(except),
        includes: includes.iter().map(|text| name(text)).collect(),
    }
}

/// The roles that are there without being stored.
#[must_use]
pub fn built_in_roles() -> &'static [Role] {
    &BUILT_IN
}

/// The built-in role of that id.
#[must_use]
pub fn built_in(id: &Name) -> Option<&'static Role> {
    BUILT_IN.iter().find(|role| role.id == *id)
}

static COMPILED: LazyLock<HashMap<Name, Arc<Compiled>>> = LazyLock::new(|| {
    let compiled = |role: &Role| (role.id.clone(), Arc::new(Compiled::new(role)));
    BUILT_IN.iter().map(compiled).collect()
});

/// The built-in role of that id, ready for deciding.
pub(crate) fn compiled_built_in(id: &Name) -> Option<&'static Arc<Compiled>> {
    COMPILED.get(id)
}

/// The role that the service of that name holds everywhere without a stored binding.
pub(crate) fn compiled_of_service(service: &Name) -> Option<&'static Arc<Compiled>> {
    let named = |role: &&Role| role.id.as_str().strip_prefix("service-") == Some(service.as_str());
    compiled_built_in(&BUILT_IN.iter().find(named)?.id)
}

impl Role {
    /// Checks a custom role before it is written; errors name the field.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |field: &str, constraint: &str, what: &str| -> Result<(), Error> {
            Err(Error::validation(
                field,
                constraint,
                format!("{field} {what}"),
            ))
        };
        if built_in(&self.id).is_some() || self.id.as_str().starts_with("service-") {
            return refuse("id", "reserved", "is the id of a built-in role");
        }
        if self.title.len() > MAX_TITLE {
            return refuse("title", "length", "must be at most 200 bytes");
        }
        if self.permissions.is_empty() && self.includes.is_empty() {
            return refuse("permissions", "required", "must not be empty");
        }
        for (field, patterns) in [("permissions", &self.permissions), ("except", &self.except)] {
            if patterns.len() > MAX_PATTERNS {
                return refuse(field, "length", "must have at most 1000 entries");
            }
        }
        if self.includes.len() > built_in_roles().len() {
            return refuse("includes", "length", "must name each role at most once");
        }
        if let Some(unknown) = self.includes.iter().find(|id| built_in(id).is_none()) {
            return refuse(
                "includes",
                "built_in",
                &format!("may name only built-in roles, not {unknown}"),
            );
        }
        Ok(())
    }

    /// Whether the role allows it, wherever it is held.
    #[must_use]
    pub fn allows(&self, permission: &Permission) -> bool {
        let own = |role: &Self| {
            role.permissions.iter().any(|p| p.matches(permission))
                && !role.except.iter().any(|p| p.matches(permission))
        };
        self.parts().into_iter().any(own)
    }

    /// The role itself and the built-in roles it includes, each of which counts with its own exceptions.
    pub(crate) fn parts(&self) -> Vec<&Self> {
        let mut parts = vec![self];
        let mut next = 0;
        while let Some(role) = parts.get(next).copied() {
            for included in role.includes.iter().filter_map(built_in) {
                if !parts.iter().any(|known| std::ptr::eq(*known, included)) {
                    parts.push(included);
                }
            }
            next += 1;
        }
        parts
    }
}

/// A role made ready for deciding: cost does not grow with the number of permissions without a star.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) role: Role,
    pub(crate) parts: Vec<Part>,
}

/// What some patterns mean, less what others mean.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) exact: HashSet<Permission>,
    pub(crate) wild: Vec<PermissionPattern>,
    pub(crate) except: Vec<PermissionPattern>,
}

impl Compiled {
    pub(crate) fn new(role: &Role) -> Self {
        let parts = role.parts().into_iter().map(|part| {
            let (exact, wild): (Vec<_>, Vec<_>) = part
                .permissions
                .iter()
                .cloned()
                .partition(PermissionPattern::is_exact);
            Part {
                exact: exact
                    .into_iter()
                    .filter_map(|pattern| Permission::new(pattern.as_str()).ok())
                    .collect(),
                wild,
                except: part.except.clone(),
            }
        });
        Self {
            parts: parts.collect(),
            role: role.clone(),
        }
    }

    pub(crate) fn allows(&self, permission: &Permission) -> bool {
        self.parts.iter().any(|part| part.allows(permission))
    }
}

impl Part {
    fn allows(&self, permission: &Permission) -> bool {
        (self.exact.contains(permission) || self.wild.iter().any(|p| p.matches(permission)))
            && !self.except.iter().any(|p| p.matches(permission))
    }

    /// Whether all that `wanted` means, less what `less` means, is in here. Never wrongly yes; a yes that only several
    /// patterns together would justify is not found.
    pub(crate) fn covers(&self, wanted: &PermissionPattern, less: &[PermissionPattern]) -> bool {
        let reached = self.wild.iter().any(|p| p.covers(wanted))
            || (wanted.is_exact()
                && Permission::new(wanted.as_str()).is_ok_and(|p| self.exact.contains(&p)));
        reached
            && self.except.iter().all(|missing| {
                missing
                    .intersection(wanted)
                    .is_none_or(|gap| less.iter().any(|p| p.covers(&gap)))
            })
    }
}
