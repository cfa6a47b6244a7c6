//! What is shipped beside the binaries.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{path::PathBuf, process::Output, time::Duration};

use tokio::process::Command;

fn deploy() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// Runs `deploy/quickstart` where it finds nothing to install, build or start with.
async fn quickstart(tools: &tempfile::TempDir, arguments: &[&str]) -> Output {
    let run = Command::new("/bin/bash")
        .arg(deploy().join("quickstart"))
        .args(arguments)
        .current_dir(tools.path())
        .env("PATH", tools.path().join("bin"))
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(Duration::from_secs(60), run);
    run.await.unwrap().unwrap()
}

/// A directory with the few programs that reading a command line takes, in `bin`.
fn tools() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for tool in ["basename", "dirname", "ls", "realpath", "rm", "sed"] {
        let program = ["/usr/bin", "/bin"]
            .map(|place| PathBuf::from(place).join(tool))
            .into_iter()
            .find(|program| program.exists())
            .unwrap();
        std::os::unix::fs::symlink(program, bin.join(tool)).unwrap();
    }
    dir
}

#[tokio::test]
async fn quickstart_refuses_words_it_does_not_know() {
    let tools = tools();
    for (arguments, complaint) in [
        (&["bogus"][..], "unknown command 'bogus'"),
        (&["sotp"], "unknown command 'sotp'"),
        (&[""], "unknown command ''"),
        (&["--claen"], "unknown option --claen"),
        (&["start", "stop"], "more than one command"),
        (&["status", "./a", "./b"], "more than one directory"),
    ] {
        let output = quickstart(&tools, arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(complaint), "{arguments:?}: {said}");
        assert!(
            said.contains("deploy/quickstart stop [DIR]"),
            "{arguments:?}: {said}"
        );
    }
    // What is a path, or there, is a directory.
    std::fs::create_dir(tools.path().join("there")).unwrap();
    for directory in ["./new", "there", "bin/../new"] {
        let output = quickstart(&tools, &["status", directory]).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(3), "{directory}: {said}");
        assert!(said.contains("does not run"), "{directory}: {said}");
    }
}

/// `--clean` deletes what quickstart has made, so it must not make itself at home with others.
#[tokio::test]
async fn quickstart_starts_in_nobody_elses_directory() {
    let tools = tools();
    let theirs = tools.path().join("thesis");
    std::fs::create_dir(&theirs).unwrap();
    std::fs::write(theirs.join("chapter-1"), "mine").unwrap();
    for arguments in [
        &["./thesis"][..],
        &["--clean", "./thesis"],
        &["stop", "--clean", "./thesis"],
    ] {
        let output = quickstart(&tools, arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("not made by quickstart"), "{said}");
    }
    let kept: Vec<_> = std::fs::read_dir(&theirs).unwrap().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
}
