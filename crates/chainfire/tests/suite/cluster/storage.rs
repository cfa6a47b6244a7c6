//! Disks that fill up and logs that are torn.

use std::process::Command;

use anyhow::ensure;

use super::harness::{Cluster, HEALING, PATIENCE, Settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing() -> anyhow::Result<()> {
    let name = "a_full_disk_loses_nothing";
    let Some(mut cluster) = Cluster::start(name, 3, 3, &Settings::default()).await? else {
        return Ok(());
    };
    let leader = cluster.leader().await?;
    for victim in [(leader + 1) % 3, leader] {
        // Move the victim's data onto a small file system of its own.
        cluster.kill(victim)?;
        let disk = SmallDisk::under(&cluster.data(victim))?;
        cluster.launch(victim)?;
        cluster.all_serving(PATIENCE).await?;
        let mut acknowledged = 0;
        let other = (victim + 1) % 3;
        let mut client = cluster.client(other).await?;
        for n in 0..200 {
            let value = vec![b'x'; 256 << 10];
            if client
                .put(format!("full/{victim}/{n}"), value, None)
                .await
                .is_ok()
            {
                acknowledged = n + 1;
            } else {
                client = cluster.client(other).await?;
            }
        }
        // The two others go on, whatever the victim does.
        ensure!(
            acknowledged == 200,
            "only {acknowledged} writes were served"
        );
        cluster.serving(other, HEALING).await?;
        // With space again it catches up.
        cluster.kill(victim)?;
        disk.grow()?;
        cluster.launch(victim)?;
        cluster.all_serving(PATIENCE).await?;
        cluster.hashes_agree(&[0, 1, 2]).await?;
        cluster.kill(victim)?;
        disk.remove()?;
        cluster.launch(victim)?;
        cluster.all_serving(PATIENCE).await?;
    }
    Ok(())
}

/// A tmpfs over a data directory, with what the directory held.
struct SmallDisk {
    at: std::path::PathBuf,
    aside: std::path::PathBuf,
}

fn run(words: &[&std::ffi::OsStr]) -> anyhow::Result<()> {
    let output = Command::new(words[0]).args(&words[1..]).output()?;
    ensure!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

impl SmallDisk {
    fn under(data: &std::path::Path) -> anyhow::Result<Self> {
        let aside = data.with_extension("aside");
        std::fs::rename(data, &aside)?;
        std::fs::create_dir(data)?;
        let disk = Self {
            at: data.to_owned(),
            aside,
        };
        // Room for what is there and a little more.
        let used = Command::new("du").arg("-sm").arg(&disk.aside).output()?;
        let used = String::from_utf8(used.stdout)?;
        let used: u64 = used.split_whitespace().next().unwrap_or("0").parse()?;
        let size = format!("size={}m", used + 24);
        run(&[
            "mount".as_ref(),
            "-t".as_ref(),
            "tmpfs".as_ref(),
            "-o".as_ref(),
            size.as_ref(),
            "tmpfs".as_ref(),
            data.as_ref(),
        ])?;
        run(&[
            "cp".as_ref(),
            "-a".as_ref(),
            disk.aside.join(".").as_ref(),
            data.as_ref(),
        ])?;
        Ok(disk)
    }

    fn grow(&self) -> anyhow::Result<()> {
        run(&[
            "mount".as_ref(),
            "-o".as_ref(),
            "remount,size=2g".as_ref(),
            self.at.as_ref(),
        ])
    }

    /// Puts the data back where it was before.
    fn remove(self) -> anyhow::Result<()> {
        std::fs::remove_dir_all(&self.aside)?;
        run(&[
            "cp".as_ref(),
            "-a".as_ref(),
            self.at.as_ref(),
            self.aside.as_ref(),
        ])?;
        run(&["umount".as_ref(), self.at.as_ref()])?;
        std::fs::remove_dir(&self.at)?;
        std::fs::rename(&self.aside, &self.at)?;
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also after a failed assertion; nothing is mounted any more when `remove` ran.
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}
