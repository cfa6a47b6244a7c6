//! The first start, and the way back in.
//!
//! `iam init` makes, in one transaction: the org `root`, the user `admin` with the role `admin` at the system, an API key
//! of it that lives for a day, and the first signing key. The key that wraps signing keys is made before, as a file. It is
//! refused when it was done before; when it was interrupted, it goes on.
//!
//! `iam recover-admin` makes another such API key, and sees to it that `admin` can use it: is enabled and has its role. It
//! is for whoever administers this machine: it needs the store's certificate of this service and the file with the
//! wrapping key, which only root and this service can read, and it is audited.
//!
//! There is no default password anywhere.

mod command;

use std::path::PathBuf;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use photon_authz::{
    ADMIN, Binding, BindingId, Org, Permission, PrincipalRef, PrincipalState, Role, Scope, built_in,
};
use photon_core::Name;
use photon_store::{Error as StoreError, Record, Store, Transaction};
use serde::{Deserialize, Serialize};

use crate::{
    audit::{Act, Actor, Audit},
    clock,
    config::Config,
    credential::{self, Credential, Secret},
    principal,
    signing::{self, Head, SigningKey, WrappingKey},
    user::User,
};

pub use self::command::Command;

/// The org of whoever runs the suite. It stays.
pub(crate) const ROOT_ORG: &str = "root";
/// The first user.
const ADMIN_USER: &str = "admin";
/// How long its one-time credential lives: long enough to log in and make a better one.
const KEY_LIVES: SignedDuration = SignedDuration::from_hours(24);
/// Attempts at a transaction that loses races against a running service.
const ATTEMPTS: usize = 20;

/// That it was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Initialized {
    at: Timestamp,
}

impl Record for Initialized {
    const ROOT: &'static str = "/photon/iam/initialized/";
}

const ONLY: &str = "only";

/// What is told once.
#[derive(Debug)]
pub struct OneTime {
    /// Whose it is.
    pub principal: PrincipalRef,
    /// The API key.
    pub api_key: Secret,
    /// Until when.
    pub expires_at: Timestamp,
    /// The file with the wrapping key.
    pub wrapping_key_file: PathBuf,
}

/// First start.
///
/// # Errors
/// When it was done before, and when the file or the store refuse.
pub async fn found(config: &Config, store: &Store) -> anyhow::Result<OneTime> {
    if store.collection::<Initialized>().get(ONLY).await?.is_some() {
        anyhow::bail!(
            "iam init was done before; for a new credential of the admin run `iam recover-admin`"
        );
    }
    let path = wrapping_key_file(config)?;
    let wrapping = WrappingKey::load_or_create(&path)?;
    let now = clock::now();
    let one_time = one_time(now, path)?;

    let mut transaction = store.transaction();
    let marker = Initialized { at: now };
    transaction.create(&store.collection::<Initialized>(), ONLY, &marker)?;
    let org = Org {
        id: Name::new(ROOT_ORG)?,
        name: "Root".to_owned(),
        implicit: false,
        disabled: false,
        created_at: now,
    };
    transaction.create(&store.collection::<Org>(), ROOT_ORG, &org)?;
    let user = User {
        id: Name::new(ADMIN_USER)?,
        name: "Administrator".to_owned(),
        email: String::new(),
        org: None,
        disabled: false,
        created_at: now,
        updated_at: now,
    };
    transaction.create(&store.collection::<User>(), ADMIN_USER, &user)?;
    let state = PrincipalState {
        principal: one_time.principal.clone(),
        home: None,
        disabled: false,
        epoch: 0,
    };
    transaction.create(
        &store.collection::<PrincipalState>(),
        &principal::key(&one_time.principal),
        &state,
    )?;
    bind(&mut transaction, store, &one_time.principal, now)?;
    let api_key = new_key(&mut transaction, store, &one_time, "iam init")?;
    signing::found(
        &mut transaction,
        store,
        &wrapping,
        Some(&config.issuer),
        now,
    )?;

    let entry = Act::new("system", "iam", Scope::System)
        .detail("org", ROOT_ORG)
        .detail("admin", one_time.principal.to_string())
        .by(Actor::local("iam-init"), permission("iam.orgs.create")?);
    match Audit::open(store.clone())
        .commit(&transaction, &entry)
        .await
    {
        Ok(_) => Ok(OneTime {
            api_key,
            ..one_time
        }),
        Err(StoreError::AlreadyExists { key }) => anyhow::bail!(
            "{key} is there already: iam init was done before, or this store was used in dev mode; for a new \
             credential of the admin run `iam recover-admin`"
        ),
        Err(error) => Err(error).context("iam init could not write to the store"),
    }
}

/// A way back in.
///
/// # Errors
/// When `iam init` was not done, when the wrapping key is not that of this IAM, and when file or store refuse.
pub async fn recover(config: &Config, store: &Store) -> anyhow::Result<OneTime> {
    if store.collection::<Initialized>().get(ONLY).await?.is_none() {
        anyhow::bail!("there is no admin to recover: run `iam init`");
    }
    let path = wrapping_key_file(config)?;
    let wrapping = WrappingKey::load(&path)?;
    prove(store, &wrapping).await?;
    for _ in 0..ATTEMPTS {
        let now = clock::now();
        let one_time = one_time(now, path.clone())?;
        let mut transaction = store.transaction();
        restore(&mut transaction, store, &one_time.principal, now).await?;
        let api_key = new_key(&mut transaction, store, &one_time, "iam recover-admin")?;
        let entry = Act::new("principal", &one_time.principal, Scope::System).by(
            Actor::local("recover-admin"),
            permission("iam.credentials.create")?,
        );
        match Audit::open(store.clone())
            .commit(&transaction, &entry)
            .await
        {
            Ok(_) => {
                return Ok(OneTime {
                    api_key,
                    ..one_time
                });
            }
            // Somebody changed the admin meanwhile.
            Err(
                StoreError::Conflict { .. }
                | StoreError::NotFound { .. }
                | StoreError::AlreadyExists { .. },
            ) => {}
            Err(error) => return Err(error).context("the store refused"),
        }
    }
    anyhow::bail!("the admin is being changed by others all the time; nothing was written")
}

fn wrapping_key_file(config: &Config) -> anyhow::Result<PathBuf> {
    config.signing.wrapping_key_file.clone().context(
        "signing.wrapping_key_file names no file: the key that wraps signing keys is kept there",
    )
}

/// What is made, but for the key itself.
fn one_time(now: Timestamp, wrapping_key_file: PathBuf) -> anyhow::Result<OneTime> {
    Ok(OneTime {
        principal: PrincipalRef::user(Name::new(ADMIN_USER)?),
        api_key: Secret::from(String::new()),
        expires_at: now.checked_add(KEY_LIVES)?,
        wrapping_key_file,
    })
}

fn new_key(
    transaction: &mut Transaction,
    store: &Store,
    one_time: &OneTime,
    by: &str,
) -> anyhow::Result<Secret> {
    let (credential, key) = credential::one_time_key(&one_time.principal, by, one_time.expires_at)?;
    transaction.create(
        &store.collection::<Credential>(),
        &credential.key(),
        &credential,
    )?;
    Ok(key)
}

fn bind(
    transaction: &mut Transaction,
    store: &Store,
    admin: &PrincipalRef,
    now: Timestamp,
) -> anyhow::Result<()> {
    let binding = Binding {
        id: BindingId::generate(),
        principal: admin.clone(),
        role: admin_role()?.id.clone(),
        scope: Scope::System,
        condition: None,
        expires_at: None,
        created_at: now,
        created_by: "iam".to_owned(),
    };
    transaction.create(
        &store.collection::<Binding>(),
        &binding.id.to_string(),
        &binding,
    )?;
    Ok(())
}

fn admin_role() -> anyhow::Result<&'static Role> {
    built_in(&Name::new(ADMIN)?).context("there is no role admin")
}

fn permission(text: &str) -> anyhow::Result<Permission> {
    Ok(text.parse()?)
}

/// That whoever asks may read the file that wraps this IAM's newest signing key.
async fn prove(store: &Store, wrapping: &WrappingKey) -> anyhow::Result<()> {
    let heads = store.collection::<Head>();
    let head = heads.get(Head::key(false)).await?;
    let head = head.context("there is no signing key: run `iam init`")?;
    let kid = head.value.newest;
    let private = store.collection::<SigningKey>().get(&kid).await?;
    let private = private.context("the newest signing key is not stored")?;
    wrapping
        .unwrap(&kid, &private.value.private)
        .context("this is not the wrapping key of this IAM")?;
    Ok(())
}

/// Makes the admin, or makes it usable.
async fn restore(
    transaction: &mut Transaction,
    store: &Store,
    admin: &PrincipalRef,
    now: Timestamp,
) -> anyhow::Result<()> {
    let users = store.collection::<User>();
    match users.get(ADMIN_USER).await? {
        Some(mut user) => {
            user.value.disabled = false;
            transaction.replace(&users, &user)?;
        }
        None => {
            let user = User {
                id: admin.id.clone(),
                name: "Administrator".to_owned(),
                email: String::new(),
                org: None,
                disabled: false,
                created_at: now,
                updated_at: now,
            };
            transaction.create(&users, ADMIN_USER, &user)?;
        }
    }
    let states = store.collection::<PrincipalState>();
    let key = principal::key(admin);
    match states.get(&key).await? {
        Some(mut state) => {
            state.value.disabled = false;
            transaction.replace(&states, &state)?;
        }
        None => {
            let state = PrincipalState {
                principal: admin.clone(),
                home: None,
                disabled: false,
                epoch: 0,
            };
            transaction.create(&states, &key, &state)?;
        }
    }
    let bindings = store.collection::<Binding>();
    let all = bindings.list(&photon_store::PageRequest::default()).await?;
    let role = &admin_role()?.id;
    let has_it = all.items.into_iter().find(|binding| {
        let binding = &binding.value;
        binding.principal == *admin
            && binding.role == *role
            && binding.scope == Scope::System
            && binding.condition.is_none()
    });
    match has_it {
        Some(mut binding) => {
            binding.value.expires_at = None;
            transaction.replace(&bindings, &binding)?;
        }
        None => bind(transaction, store, admin, now)?,
    }
    Ok(())
}
