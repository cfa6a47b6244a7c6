//! The definition of a VM that was made, as libvirt keeps it on its host, and the same for another domain.
//!
//! What is another one's is its name, its files, its tap and its MAC; all else stays, addresses on buses included.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::process::Command;

/// A VM, by its definition.
#[derive(Clone, Debug)]
pub(super) struct Model {
    id: String,
    definition: String,
    /// Files of its own that the definition names.
    pub(super) files: Vec<PathBuf>,
    interface: Option<Interface>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Interface {
    tap: String,
    mac: String,
}

/// A domain that is to be like it.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) name: String,
    pub(super) uuid: String,
    /// Where its files are, by the names of the model's.
    pub(super) directory: PathBuf,
    pub(super) tap: String,
    pub(super) mac: String,
    /// What it is given for that MAC.
    pub(super) address: Ipv4Addr,
}

impl Model {
    /// Reads the definition of the VM with that id.
    ///
    /// # Errors
    /// It is not one of it; it has several interfaces.
    pub(super) fn parse(id: &str, text: &str) -> anyhow::Result<Self> {
        let at = text.find("<domain").context("it defines no domain")?;
        let definition = text[at..].to_owned();
        ensure!(
            definition.contains(&format!("<name>{id}</name>")),
            "it does not define {id}"
        );
        // libvirt quotes with apostrophes, and writes none anywhere else.
        let values = definition.split('\'').skip(1).step_by(2);
        let mut files: Vec<PathBuf> = values
            .filter(|value| value.starts_with('/') && value.contains(id))
            .map(PathBuf::from)
            .collect();
        files.sort();
        files.dedup();
        let mut interfaces = definition.split("<interface ").skip(1);
        let interface = match (interfaces.next(), interfaces.next()) {
            (None, _) => None,
            (Some(text), None) => Some(Interface {
                tap: between(text, "<target dev='")?.to_owned(),
                mac: between(text, "<mac address='")?.to_owned(),
            }),
            (Some(_), Some(_)) => anyhow::bail!("{id} has several interfaces"),
        };
        Ok(Self {
            id: id.to_owned(),
            definition,
            files,
            interface,
        })
    }

    /// The same for that domain.
    pub(super) fn define(&self, guest: &Guest) -> String {
        let mut text = self.definition.clone();
        let mut put = |from: &str, to: &str| {
            // As a whole: one may begin as another does.
            text = text.replace(&format!("'{from}'"), &format!("'{to}'"));
        };
        for file in &self.files {
            let own = guest.file(file);
            put(&file.display().to_string(), &own.display().to_string());
        }
        if let Some(Interface { tap, mac }) = &self.interface {
            put(tap, &guest.tap);
            put(mac, &guest.mac);
        }
        let uuid = self.id.split_once('-').map_or("", |(_, uuid)| uuid);
        text.replace(&self.id, &guest.name)
            .replace(uuid, &guest.uuid)
    }

    /// Its files that are disks to be made.
    pub(super) fn disks(&self) -> impl Iterator<Item = &Path> {
        self.files_where(|file| file.extension().is_some_and(|end| end == "qcow2"))
    }

    /// Its files that are only read: what tells the guest of itself.
    pub(super) fn seeds(&self) -> impl Iterator<Item = &Path> {
        self.files_where(|file| file.extension().is_some_and(|end| end == "img"))
    }

    fn files_where(&self, is: impl Fn(&Path) -> bool) -> impl Iterator<Item = &Path> {
        self.files
            .iter()
            .map(PathBuf::as_path)
            .filter(move |file| is(file))
    }
}

fn between<'a>(text: &'a str, before: &str) -> anyhow::Result<&'a str> {
    let rest = text.split_once(before).map(|(_, rest)| rest);
    let found = rest.and_then(|rest| rest.split_once('\''));
    Ok(found.with_context(|| format!("no {before}"))?.0)
}

impl Guest {
    /// Its file that is to it what that one is to the model.
    pub(super) fn file(&self, of_model: &Path) -> PathBuf {
        self.directory
            .join(of_model.file_name().unwrap_or_default())
    }
}

/// A disk in qcow2, as it is made.
#[derive(Clone, Debug)]
pub(super) struct Overlay {
    /// The model's.
    pub(super) file: PathBuf,
    bytes: u64,
    /// What it is over, and that one's format.
    base: Option<(String, String)>,
}

impl Overlay {
    /// What a disk is that is there, and may be in use.
    ///
    /// # Errors
    /// What qemu-img says.
    pub(super) async fn of(file: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("qemu-img");
        let command = command.args(["info", "-U", "--output=json"]).arg(file);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = output.await.context("cannot run qemu-img")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {said}", file.display());
        Self::read(file, &serde_json::from_slice(&output.stdout)?)
    }

    fn read(file: &Path, info: &Value) -> anyhow::Result<Self> {
        ensure!(info["format"] == "qcow2", "{}: {info}", file.display());
        let text = |field: &str| info[field].as_str().map(ToOwned::to_owned);
        let base = text("full-backing-filename").or_else(|| text("backing-filename"));
        Ok(Self {
            file: file.to_owned(),
            bytes: info["virtual-size"].as_u64().context("no size")?,
            base: base.zip(text("backing-filename-format")),
        })
    }

    /// Makes the same somewhere else, as one does by hand.
    ///
    /// # Errors
    /// What qemu-img says.
    pub(super) async fn make(&self, to: &Path) -> anyhow::Result<()> {
        let mut command = Command::new("qemu-img");
        command.args(["create", "-q", "-f", "qcow2"]);
        if let Some((base, format)) = &self.base {
            command.args(["-b", base, "-F", format]);
        }
        command.arg(to).arg(self.bytes.to_string());
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = output.await.context("cannot run qemu-img")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {said}", to.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    const ID: &str = "vm-019ac8e5-3c00-7001-8c00-000000000001";
    /// As libvirt keeps it, shortened.
    const KEPT: &str = r#"<!--
  virsh edit vm-019ac8e5-3c00-7001-8c00-000000000001
-->

<domain type='qemu'>
  <name>vm-019ac8e5-3c00-7001-8c00-000000000001</name>
  <uuid>019ac8e5-3c00-7001-8c00-000000000001</uuid>
  <metadata>
    <photon:vm xmlns:photon="urn:x" id="vm-019ac8e5-3c00-7001-8c00-000000000001" boot="1"/>
  </metadata>
  <os><kernel>/s/images/files/aa</kernel><cmdline>console=ttyS0</cmdline></os>
  <devices>
    <disk type='file'>
      <source file='/s/vm/vm-019ac8e5-3c00-7001-8c00-000000000001/root.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file'>
      <source file='/s/vm/vm-019ac8e5-3c00-7001-8c00-000000000001/seed-1.img'/>
      <target dev='vdb' bus='virtio'/>
    </disk>
    <interface type='ethernet'>
      <mac address='06:5a:00:00:00:01'/>
      <target dev='ptap1' managed='no'/>
    </interface>
    <serial type='unix'>
      <source mode='bind' path='/s/vm/vm-019ac8e5-3c00-7001-8c00-000000000001/console'/>
      <log file='/s/vm/vm-019ac8e5-3c00-7001-8c00-000000000001/console.log' append='on'/>
    </serial>
    <console type='unix'>
      <source mode='bind' path='/s/vm/vm-019ac8e5-3c00-7001-8c00-000000000001/console'/>
    </console>
  </devices>
</domain>
"#;

    fn guest() -> Guest {
        Guest {
            name: "hand-0".to_owned(),
            uuid: "00000000-0000-4000-8000-000000000000".to_owned(),
            directory: PathBuf::from("/p/hand-0"),
            tap: "tap0".to_owned(),
            mac: "52:54:00:14:01:02".to_owned(),
            address: Ipv4Addr::new(10, 20, 1, 2),
        }
    }

    #[test]
    fn another_domain_is_the_same_but_for_what_is_its_own() {
        let model = Model::parse(ID, KEPT).unwrap();
        let names: Vec<_> = model.files.iter().map(|file| guest().file(file)).collect();
        let expected = ["console", "console.log", "root.qcow2", "seed-1.img"];
        assert_eq!(
            names,
            expected.map(|name| PathBuf::from("/p/hand-0").join(name))
        );
        assert_eq!((model.disks().count(), model.seeds().count()), (1, 1));
        let text = model.define(&guest());
        assert!(text.starts_with("<domain"));
        assert!(
            !text.contains("019ac8e5") && !text.contains("/s/vm"),
            "{text}"
        );
        assert!(!text.contains("ptap1") && !text.contains("06:5a"), "{text}");
        for kept in [
            "<name>hand-0</name>",
            "<uuid>00000000-0000-4000-8000-000000000000</uuid>",
            "file='/p/hand-0/root.qcow2'",
            "path='/p/hand-0/console'",
            "file='/p/hand-0/console.log'",
            "<target dev='tap0' managed='no'/>",
            "<mac address='52:54:00:14:01:02'/>",
            "<target dev='vda' bus='virtio'/>",
            "<kernel>/s/images/files/aa</kernel>",
        ] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }

    #[test]
    fn one_without_an_interface_has_none() {
        let begin = KEPT.find("<interface").unwrap();
        let end = KEPT.find("<serial").unwrap();
        let text = format!("{}{}", &KEPT[..begin], &KEPT[end..]);
        let model = Model::parse(ID, &text).unwrap();
        assert_eq!(model.interface, None);
        assert!(!model.define(&guest()).contains("tap0"));
        Model::parse("vm-019ac8e5-3c00-7001-8c00-000000000002", KEPT).unwrap_err();
        Model::parse(ID, "").unwrap_err();
    }

    #[test]
    fn a_disk_is_what_qemu_img_says() {
        let file = Path::new("/s/root.qcow2");
        let info = json!({
            "format": "qcow2", "virtual-size": 1024, "backing-filename": "b",
            "full-backing-filename": "/s/b", "backing-filename-format": "raw",
        });
        let disk = Overlay::read(file, &info).unwrap();
        assert_eq!(disk.base, Some(("/s/b".to_owned(), "raw".to_owned())));
        let empty = json!({"format": "qcow2", "virtual-size": 1024});
        assert_eq!(Overlay::read(file, &empty).unwrap().base, None);
        Overlay::read(file, &json!({"format": "raw", "virtual-size": 1})).unwrap_err();
    }
}
