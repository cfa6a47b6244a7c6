//! libvirt within this process: `qemu:///embed?root=DIR`, with everything that it keeps below DIR. One process has it open at a time;
//! the machines are processes of their own and go on without it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use photon_agent::memory::replace;

const SCHEME: &str = "qemu:///embed?root=";
/// What sockets below it have room for.
pub const LONGEST_ROOT: usize = 60;
/// The kernel's name for this run of the machine.
const THIS_RUN: &str = "/proc/sys/kernel/random/boot_id";

/// How machines are run: as root, as the agent, without a log daemon, which there need not be; nothing of theirs is given to another user.
/// libvirt looks for what qemu can do anew at every start if another user could not open /dev/kvm.
const SETTINGS: &str = "# Written by plasmavmc-agent at every start.
user = \"root\"
group = \"root\"
security_driver = \"none\"
stdio_handler = \"file\"
remember_owner = 0
namespaces = []
cgroup_controllers = []
";

/// The address for what is kept there.
#[must_use]
pub fn uri(root: &Path) -> String {
    format!("{SCHEME}{}", root.display())
}

/// Whether it is of this kind.
#[must_use]
pub fn is_embedded(uri: &str) -> bool {
    root(uri).is_some()
}

/// The directory, if it is of this kind.
#[must_use]
pub fn root(uri: &str) -> Option<PathBuf> {
    uri.strip_prefix(SCHEME).map(PathBuf::from)
}

/// Makes a directory ready to be opened.
///
/// # Errors
/// What cannot be written.
pub fn prepare(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root.join("etc"))?;
    replace(&root.join("etc/qemu.conf"), SETTINGS.as_bytes())?;
    forget_former_run(root)
}

/// What ran before the machine was restarted runs no more, but libvirt would look for it by the numbers of processes that are others'
/// by now. Where libvirt is a service, /run is empty then.
fn forget_former_run(root: &Path) -> io::Result<()> {
    let now = fs::read_to_string(THIS_RUN)?;
    let kept = root.join("of-boot.json");
    match fs::read_to_string(&kept) {
        Ok(before) if before == now => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let run = root.join("run/qemu");
    let entries = match fs::read_dir(&run) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry.path();
        let is_state = path
            .extension()
            .is_some_and(|extension| extension == "xml" || extension == "pid");
        if is_state {
            fs::remove_file(&path)?;
        }
    }
    replace(&kept, now.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_root_is_read_from_the_address() {
        let root_of = |uri: &str| root(uri);
        assert_eq!(root_of(&uri(Path::new("/a/b"))), Some("/a/b".into()));
        assert_eq!(root_of("qemu:///system"), None);
    }

    #[test]
    fn what_another_run_of_the_machine_left_is_forgotten_once() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let state = root.join("run/qemu/vm-1.xml");
        fs::create_dir_all(state.parent().unwrap()).unwrap();
        prepare(root).unwrap();
        assert!(root.join("etc/qemu.conf").exists());
        fs::write(&state, "").unwrap();
        prepare(root).unwrap();
        assert!(state.exists(), "of this run");
        fs::write(root.join("of-boot.json"), "another").unwrap();
        prepare(root).unwrap();
        assert!(!state.exists());
    }
}
