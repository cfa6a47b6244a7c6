//! What guests are told, and their consoles: real ones under the real program.

use plasmavmc_model::{
    DesiredGuest, Guest, GuestData, Hostname, ObservedState, Power, SshKey, UserData,
};

use crate::lab::Lab;

const READY: &str = "PHOTON-GUEST-READY";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS \"'</domain>: $(reboot)";

pub(crate) fn guest(hostname: &str, user_data: &str) -> Option<DesiredGuest> {
    let data = GuestData {
        ssh_keys: vec![SshKey::try_from(KEY.to_owned()).unwrap(); 2],
        user_data: UserData::new(user_data.as_bytes().to_vec()).unwrap(),
    };
    Some(DesiredGuest {
        guest: Guest {
            hostname: Hostname::try_from(hostname.to_owned()).unwrap(),
            data: Some(data.digest()),
        },
        content: Some(data),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_told_who_it_is_and_runs_what_it_is_given() {
    let Some(mut lab) = Lab::or_skip("a_guest_is_told_who_it_is_and_runs_what_it_is_given").await
    else {
        return;
    };
    let mut vm = lab.vm("").await;
    // Texts that are something to XML, a shell, YAML or a path; and a script that runs as it is.
    vm.guest = guest(
        "one.example",
        "#!/bin/sh\n# </disk><disk type='block'> ../../ $(reboot) - {a: [\n\
         echo \"RAN-AS $(hostname) of $((6 * 7))\"\nexit 3\n",
    );
    lab.want(&vm).await;
    let told = format!("PHOTON-GUEST-CIDATA {} one.example keys=2", vm.id);
    lab.until_said(vm.id, &told, 1).await;
    lab.until_said(vm.id, "RAN-AS one.example of 42", 1).await;
    lab.until_said(vm.id, "PHOTON-GUEST-USERDATA 3", 1).await;
    let seeds = lab.seeds(vm.id);
    assert_eq!(seeds.len(), 1);

    // Another word for a guest that runs waits for its next boot, and another agent.
    lab.stop().await;
    vm.generation += 1;
    vm.guest = guest("two", "no script: <&>\n");
    lab.want(&vm).await;
    lab.start();
    let running = lab.until_state(&vm, ObservedState::Running).await;
    assert_eq!((running.boot, lab.seeds(vm.id)), (1, seeds.clone()));
    vm.generation += 1;
    vm.boot = 2;
    vm.grace_seconds = 0;
    lab.want(&vm).await;
    let told = format!("PHOTON-GUEST-CIDATA {} two keys=2", vm.id);
    lab.until_said(vm.id, &told, 1).await;
    lab.until_said(vm.id, READY, 2).await;
    let after = lab.seeds(vm.id);
    assert!(after.len() == 1 && after != seeds, "{after:?}");
    assert!(
        !lab.console(vm.id)[lab.console(vm.id).rfind("PHOTON-GUEST-UP").unwrap()..]
            .contains("USERDATA")
    );
    // What a tenant keeps secret is nobody else's to read.
    for file in ["desired.json", &after[0]] {
        assert_eq!(lab.mode(vm.id, file) & 0o077, 0, "{file}");
    }

    vm.generation += 1;
    vm.power = Power::Stopped;
    lab.want(&vm).await;
    lab.until_state(&vm, ObservedState::Stopped).await;
    lab.order_away(vm.id).await;
    lab.until_gone(vm.id).await;
    assert!(!lab.has_files(vm.id));
}
