//! IAM's commands, against IAM in this process.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use photon_testkit::{InProcessIam, enforcing_iam, in_process_iam};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{json as document, text};

/// Somebody's shell: a home of its own.
struct Shell {
    home: TempDir,
    iam: String,
}

impl Shell {
    fn of(iam: &InProcessIam) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            iam: iam.rest_url(),
        }
    }

    /// Runs photonctl with a line of words, and something on stdin.
    async fn typed(&self, line: &str, stdin: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_photonctl"))
            .args(line.split(' '))
            .env("XDG_CONFIG_HOME", self.home.path())
            .env("PHOTONCTL_IAM", &self.iam)
            .env_remove("PHOTONCTL_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // It may not read it.
        let _ = input.write_all(stdin.as_bytes()).await;
        drop(input);
        tokio::time::timeout(Duration::from_secs(60), child.wait_with_output())
            .await
            .unwrap()
            .unwrap()
    }

    async fn run(&self, line: &str) -> Output {
        self.typed(line, "").await
    }

    /// What a line that succeeds prints.
    async fn says(&self, line: &str) -> String {
        text(&self.run(line).await)
    }

    async fn shows(&self, line: &str) -> Value {
        document(&self.run(&format!("{line} -o json")).await)
    }

    /// The exit code and the message of a line that fails.
    async fn fails(&self, line: &str) -> (i32, String) {
        let output = self.run(line).await;
        let message = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), message)
    }

    fn contexts(&self) -> PathBuf {
        self.home.path().join("photon").join("contexts.toml")
    }
}

#[tokio::test]
async fn dev_mode_from_login_to_logout() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let shell = Shell::of(&iam);
    // Without a login: the operator.
    assert_eq!(shell.shows("whoami").await["principal"], "dev-operator");
    assert_eq!(shell.fails("token show").await.0, 2);

    let login = shell.says("login user-alice --scope project-prod").await;
    assert!(
        login.starts_with("user:user-alice at project-prod until "),
        "{login}"
    );
    let mode = std::fs::metadata(shell.contexts())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(shell.shows("whoami").await["principal"], "user:user-alice");
    let listed = shell.says("context list").await;
    assert!(
        listed.contains("user:user-alice") && !listed.contains("eyJ"),
        "{listed}"
    );

    let token = shell.says("token show").await;
    let said = shell.shows("token verify").await;
    assert_eq!(
        (&said["valid"], &said["principal_id"], &said["scope_id"]),
        (&json!(true), &json!("user-alice"), &json!("project-prod"))
    );
    assert_eq!(
        document(&shell.typed("token verify - -o json", &token).await),
        said
    );
    let other = shell
        .says("token issue service_account:build --scope project-prod --ttl 60")
        .await;
    assert!(other.starts_with("eyJ"), "{other}");
    let said = shell.shows(&format!("token verify {}", other.trim())).await;
    assert_eq!(said["principal_type"], "service_account");
    shell.says(&format!("token revoke {}", other.trim())).await;
    let (code, message) = shell.fails(&format!("token verify {}", other.trim())).await;
    assert_eq!(code, 5, "{message}");

    shell.says("logout").await;
    assert!(
        !std::fs::read_to_string(shell.contexts())
            .unwrap()
            .contains("eyJ")
    );
    // It was ended, not only forgotten.
    let (code, _) = shell.fails(&format!("token verify {}", token.trim())).await;
    assert_eq!(code, 5);
    assert_eq!(shell.fails("--context none whoami").await.0, 3);
    iam.stop().await;
}

#[tokio::test]
async fn every_kind_from_create_to_delete() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let shell = Shell::of(&iam);
    let made = shell.says("org create acme --name Acme").await;
    assert!(made.contains("id          acme\n"), "{made}");
    assert_eq!(shell.fails("org create acme").await.0, 6);
    let (code, message) = shell.fails("org create Acme").await;
    assert_eq!(code, 1);
    assert!(
        message.contains("VALIDATION_ERROR") && message.contains("id"),
        "{message}"
    );
    shell.says("project create shop --org acme --id shop").await;
    shell.says("project create lab --org acme --id lab").await;
    let table = shell.says("project list --org acme").await;
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("ID") && lines[0].contains("ORG_ID"),
        "{table}"
    );
    assert!(
        lines[1].starts_with("lab") && lines[2].starts_with("shop"),
        "{table}"
    );
    let page = shell.shows("project list --org acme --limit 1").await;
    let next = page["next_page_token"].as_str().unwrap();
    let line = format!("project list --org acme --limit 1 --page-token {next}");
    assert_eq!(shell.shows(&line).await["projects"][0]["id"], "shop");
    let yaml = shell.says("project get shop -o yaml").await;
    assert!(
        yaml.contains("id: shop\n") && yaml.contains("org_id: acme\n"),
        "{yaml}"
    );

    let revision = shell.shows("project get shop").await["revision"].clone();
    let update = format!("project update shop --name Webshop --if-revision {revision}");
    assert_eq!(shell.shows(&update).await["name"], "Webshop");
    assert_eq!(shell.fails(&update).await.0, 6);
    assert_eq!(shell.fails("project update shop").await.0, 2);

    shell
        .says("user create bob --name Bob --email bob@example.com --org acme")
        .await;
    assert_eq!(
        shell.shows("user update bob --disable").await["disabled"],
        true
    );
    assert_eq!(
        shell.shows("user update bob --enable").await["disabled"],
        false
    );
    let password = shell
        .typed("user password bob", "correct horse battery\n")
        .await;
    text(&password);
    let asked = "token issue bob --scope shop --password";
    let token = text(&shell.typed(asked, "correct horse battery\n").await);
    assert!(token.starts_with("eyJ"));
    assert_eq!(shell.typed(asked, "wrong\n").await.status.code(), Some(5));
    assert_eq!(shell.typed(asked, "").await.status.code(), Some(2));

    shell
        .says("group create ops --org acme --member user:bob")
        .await;
    let group = shell.shows("group add-member ops user:carol").await;
    assert_eq!(group["members"], json!(["user:bob", "user:carol"]));
    let group = shell.shows("group remove-member ops user:bob").await;
    assert_eq!(group["members"], json!(["user:carol"]));

    shell
        .says("serviceaccount create build --project shop")
        .await;
    assert_eq!(
        shell.shows("serviceaccount list --project shop").await["service_accounts"][0]["id"],
        "build"
    );
    let key = shell
        .shows("credential create service_account:build --label CI")
        .await;
    let secret = key["secret"].as_str().unwrap();
    assert!(secret.starts_with("phk_"));
    let issue = "token issue service_account:build --scope shop --api-key";
    text(&shell.typed(issue, &format!("{secret}\n")).await);
    let id = key["id"].as_str().unwrap();
    shell
        .says(&format!("credential update {id} --disable"))
        .await;
    let refused = shell.typed(issue, &format!("{secret}\n")).await;
    assert_eq!(refused.status.code(), Some(5));
    let file = shell.home.path().join("id.pub");
    std::fs::write(
        &file,
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDPdRTMlu+1umvgECjsUfXQvGJcVdYFDBZgdfJDFPCyi bob@home\n",
    )
    .unwrap();
    let create = format!(
        "credential create user:bob --kind ssh-public-key --file {}",
        file.display()
    );
    let public = shell.shows(&create).await;
    assert!(
        public["fingerprint"]
            .as_str()
            .unwrap()
            .starts_with("SHA256:")
    );
    shell.says(&format!("credential delete {id}")).await;

    shell
        .says("role create starter --org acme --permission plasmavmc.vms.start")
        .await;
    let check = "check plasmavmc.vms.start project:shop --principal user:carol";
    let (code, message) = shell.fails(check).await;
    assert_eq!(code, 5, "{message}");
    let given = "binding create group:ops starter project:shop --source-network 10.0.0.0/8";
    let binding = shell.shows(given).await;
    let (id, revision) = (binding["id"].as_str().unwrap(), &binding["revision"]);
    let here = format!("{check} --source 10.1.2.3 --min-revision {revision}");
    assert_eq!(shell.says(&here).await, "allowed\n");
    assert_eq!(
        shell.fails(&format!("{check} --source 192.0.2.1")).await.0,
        5
    );
    let ends = format!("binding update {id} --expires-at 2099-01-01T00:00:00Z");
    assert!(
        shell.shows(&ends).await["expires_at"]
            .as_str()
            .unwrap()
            .starts_with("2099-01-01")
    );
    let never = shell
        .shows(&format!("binding update {id} --never-expires"))
        .await;
    assert_eq!(never["expires_at"], Value::Null);
    let rule = shell
        .shows("deny create org:acme --permission plasmavmc.vms.start")
        .await;
    let line = format!(
        "{check} --source 10.1.2.3 --min-revision {}",
        rule["revision"]
    );
    assert_eq!(shell.fails(&line).await.0, 5);
    shell
        .says(&format!("deny delete {}", rule["id"].as_str().unwrap()))
        .await;
    assert_eq!(shell.fails("role delete starter").await.0, 6);
    shell.says(&format!("binding delete {id}")).await;
    for line in [
        "role delete starter",
        "serviceaccount delete build",
        "group delete ops",
        "user delete bob",
        "project delete shop",
        "project delete lab",
        "org delete acme",
    ] {
        let said = shell.says(line).await;
        assert!(said.ends_with(" deleted\n"), "{line}: {said}");
    }
    assert_eq!(shell.fails("org get acme").await.0, 3);

    let keys = shell.shows("key list").await["keys"]
        .as_array()
        .unwrap()
        .len();
    shell.says("key rotate").await;
    assert_eq!(
        shell.shows("key list").await["keys"]
            .as_array()
            .unwrap()
            .len(),
        keys + 1
    );
    iam.stop().await;
}

#[tokio::test]
async fn what_stands_between_dev_and_enforce() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let shell = Shell::of(&iam);
    assert_eq!(
        shell.says("enforce --check").await,
        "nothing stands in the way of enforce\n"
    );
    assert_eq!(shell.fails("enforce").await.0, 2);
    shell.says("login user-alice --scope project-prod").await;
    shell.says("org create acme").await;
    let found = shell.run("enforce --check -o json").await;
    assert_eq!(found.status.code(), Some(6));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found["projects"][0]["id"], "project-prod");
    let refusals = found["refusals"].as_array().unwrap();
    assert!(
        refusals.iter().any(|one| one["what"] == "iam.orgs.create"),
        "{found}"
    );
    let table = String::from_utf8(shell.run("enforce --check").await.stdout).unwrap();
    assert!(
        table.contains("implicit projects:") && table.contains("iam.orgs.create"),
        "{table}"
    );
    iam.stop().await;
}

#[tokio::test]
async fn the_first_admin_and_the_audit() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let shell = Shell::of(&iam);
    assert_eq!(shell.fails("org list").await.0, 5);
    let login = "login admin --scope system --api-key";
    assert_eq!(
        shell.typed(login, "phk_wrong\n").await.status.code(),
        Some(5)
    );
    let key = iam.admin_key().unwrap().to_owned();
    text(&shell.typed(login, &format!("{key}\n")).await);
    assert!(
        !std::fs::read_to_string(shell.contexts())
            .unwrap()
            .contains(&key)
    );
    assert_eq!(shell.shows("whoami").await["principal"], "user:admin");

    shell.says("org create acme").await;
    shell.says("project create shop --org acme --id shop").await;
    let audit = shell.shows("audit list --scope project:shop").await;
    let records = audit["records"].as_array().unwrap();
    assert!(
        records.iter().any(|record| record["actor"] == "user:admin"
            && record["action"] == "iam.projects.create"
            && record["resource"]["id"] == "shop"),
        "{audit}"
    );
    let table = shell.says("audit list --scope project:shop").await;
    assert!(
        table.starts_with("SEQ") && table.contains("KIND") && table.contains("shop"),
        "{table}"
    );
    let verdict = shell.shows("audit verify --scope project:shop").await;
    assert_eq!(
        (&verdict["intact"], &verdict["complete"]),
        (&json!(true), &json!(true))
    );
    assert!(verdict["records"].as_u64().unwrap() >= 1);

    let token = shell.shows("host token create node-1 --ttl 600").await;
    assert_eq!(token["host"], "node-1");
    assert!(token["token"].is_string() && token["expires_at"].is_string());
    assert_eq!(shell.fails("host token create Node/1").await.0, 1);
    iam.stop().await;
}

#[tokio::test]
async fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = crate::photonctl(&["completions", shell]).await;
        let script = text(&output);
        for command in ["serviceaccount", "add-member", "never-expires", "audit"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

#[tokio::test]
async fn services_are_listed() {
    let mut iam = Box::pin(in_process_iam()).await.unwrap();
    let endpoint = iam.chainfire().endpoint();
    let ctl = async |line: &str| {
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(["--endpoints", &endpoint]);
        crate::photonctl(&arguments).await
    };
    // It says so itself, just after it has begun to serve.
    let listed = photon_testkit::eventually("it is listed", Duration::from_secs(60), || async {
        let listed = document(&ctl("services -o json").await);
        (listed["items"] != json!([])).then_some(listed)
    });
    let listed = listed.await.unwrap();
    let item = &listed["items"][0];
    assert_eq!(
        (&item["service"], &item["addresses"]["rest"]),
        (&json!("iam"), &json!(iam.rest_url()))
    );
    let table = text(&ctl("services iam").await);
    assert!(table.starts_with("SERVICE"), "{table}");
    assert!(
        table.contains(item["instance"].as_str().unwrap()),
        "{table}"
    );
    assert!(table.contains(&iam.grpc_url()), "{table}");
    assert_eq!(
        document(&ctl("services prismnet --json").await)["items"],
        json!([])
    );
    iam.chainfire().stop().await;
    assert_eq!(ctl("services --timeout 2").await.status.code(), Some(4));
    iam.stop().await;
}
