//! What guests are told at their first boot: as it is asked for, as it is kept, and as it is shown to who may change it.

use photon_auth::Context;
use photon_core::Error;
use photon_service::scope::Owner;
use photon_store::Transaction;
use plasmavmc_model::{
    Guest, GuestData, Hostname, SshKey, UserData, Vm, VmId, VmName, guest::MOST_SSH_KEYS,
};

use super::service;
use crate::app::App;

/// What the guest of a new VM is to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewGuest {
    /// None: made from the VM's name.
    hostname: Option<Hostname>,
    data: GuestData,
}

/// What changes of what a guest is told; what is absent stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuestChange {
    hostname: Option<Hostname>,
    ssh_keys: Option<Vec<SshKey>>,
    user_data: Option<UserData>,
}

fn invalid(field: &str, problem: &str) -> Error {
    Error::validation(field, "value", format!("{field} {problem}"))
}

fn keys(texts: Vec<String>) -> Result<Vec<SshKey>, Error> {
    if texts.len() > MOST_SSH_KEYS {
        let problem = format!("must be at most {MOST_SSH_KEYS}");
        return Err(invalid("ssh_keys", &problem));
    }
    let parse = |(number, text): (usize, String)| {
        let key = SshKey::try_from(text);
        key.map_err(|problem| invalid(&format!("ssh_keys[{number}]"), problem))
    };
    texts.into_iter().enumerate().map(parse).collect()
}

impl GuestChange {
    /// Of texts as they came.
    ///
    /// # Errors
    /// 400 naming the one that cannot be.
    pub(crate) fn new(
        hostname: Option<String>,
        ssh_keys: Option<Vec<String>>,
        user_data: Option<Vec<u8>>,
    ) -> Result<Self, Error> {
        let hostname = hostname.map(Hostname::try_from).transpose();
        let user_data = user_data.map(UserData::new).transpose();
        Ok(Self {
            hostname: hostname.map_err(|problem| invalid("hostname", problem))?,
            ssh_keys: ssh_keys.map(keys).transpose()?,
            user_data: user_data.map_err(|problem| invalid("user_data", problem))?,
        })
    }
}

impl From<GuestChange> for NewGuest {
    fn from(given: GuestChange) -> Self {
        Self {
            hostname: given.hostname,
            data: GuestData {
                ssh_keys: given.ssh_keys.unwrap_or_default(),
                user_data: given.user_data.unwrap_or_default(),
            },
        }
    }
}

impl NewGuest {
    /// Of that VM: what is kept with it, and what beside it.
    pub(crate) fn of(self, vm: VmId, name: &VmName) -> (Guest, Option<GuestData>) {
        let (data, digest) = kept(self.data);
        let hostname = self.hostname.unwrap_or_else(|| Hostname::of(name, vm));
        let guest = Guest {
            hostname,
            data: digest,
        };
        (guest, data)
    }
}

/// What is kept beside a VM, and what it is known by; nothing of what is empty.
fn kept(data: GuestData) -> (Option<GuestData>, Option<plasmavmc_model::Digest>) {
    if data.is_empty() {
        return (None, None);
    }
    let digest = data.digest();
    (Some(data), Some(digest))
}

/// What the guest of a VM is told, for those who may change it: user-data may hold secrets.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: VmId,
    owner: &Owner,
) -> Result<(Option<Hostname>, GuestData), Error> {
    let vm = service::get(app, ctx, id, owner).await?.value;
    let data = app.records::<GuestData>().get(&vm.key()).await?;
    let data = data.map(|found| found.value).unwrap_or_default();
    Ok((vm.guest.map(|guest| guest.hostname), data))
}

/// Changes what the guest of a VM is told from its next boot on, with its record beside the VM.
pub(super) async fn change(
    app: &App,
    vm: &mut Vm,
    change: &GuestChange,
    transaction: &mut Transaction,
) -> Result<(), Error> {
    let before = vm.guest.clone();
    let (id, name) = (vm.id, &vm.name);
    let guest = before.clone().unwrap_or_else(|| Guest {
        hostname: Hostname::of(name, id),
        data: None,
    });
    let mut guest = Guest {
        hostname: change.hostname.clone().unwrap_or(guest.hostname),
        data: guest.data,
    };
    if change.ssh_keys.is_some() || change.user_data.is_some() {
        let all = app.records::<GuestData>();
        let found = all.get(&vm.key()).await?;
        let mut data = found
            .as_ref()
            .map(|found| found.value.clone())
            .unwrap_or_default();
        if let Some(keys) = &change.ssh_keys {
            data.ssh_keys.clone_from(keys);
        }
        if let Some(user_data) = &change.user_data {
            data.user_data.clone_from(user_data);
        }
        let (data, digest) = kept(data);
        guest.data = digest;
        match (found, data) {
            (Some(mut found), Some(data)) => {
                found.value = data;
                transaction.replace(&all, &found)?;
            }
            (None, Some(data)) => drop(transaction.create(&all, &vm.key(), &data)?),
            (Some(found), None) => drop(transaction.delete(&all, &found)?),
            (None, None) => {}
        }
    } else if change.hostname.is_none() {
        return Ok(());
    }
    vm.guest = Some(guest);
    if vm.guest != before {
        // Its host makes the seed anew before the next boot.
        vm.wanted.generation += 1;
    }
    Ok(())
}
