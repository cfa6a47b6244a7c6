//! CreditService's commands, against CreditService and IAM in this process.

use creditservice::{Config, Running, Sockets};
use photon_testkit::{InProcessIam, in_process_iam, poll::eventually};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{PATIENCE, json as document, lossy::Lossy, shell::Shell, text};

/// IAM, CreditService over the same store, and somebody's shell.
struct House {
    iam: InProcessIam,
    credit: Running,
    shell: Shell,
}

impl House {
    async fn dev() -> Self {
        let mut iam = Box::pin(in_process_iam()).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("creditservice.toml");
        let text = format!(
            "[store]\nendpoints = [\"{}\"]\n[rest]\naddress = \"127.0.0.1:0\"\n[grpc]\naddress = \"127.0.0.1:0\"\n",
            iam.chainfire().endpoint(),
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::load(Some(&file)).unwrap();
        let credit = Box::pin(creditservice::start(config, Sockets::default()))
            .await
            .unwrap();
        let shell = Shell {
            home,
            iam: iam.rest_url(),
            credit: format!("http://{}", credit.rest_address()),
            network: String::new(),
            compute: String::new(),
        };
        shell.ready().await;
        Self { iam, credit, shell }
    }

    async fn stop(self) {
        self.credit.stop().await;
        self.iam.stop().await;
    }
}

impl Shell {
    /// Every shard has an owner.
    async fn ready(&self) {
        eventually("creditservice is ready", PATIENCE, || async {
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let asked = http.get(format!("{}/readyz", self.credit)).send().await;
            asked.ok()?.status().is_success().then_some(())
        })
        .await
        .unwrap();
    }

    async fn figures(&self, project: &str) -> [i64; 3] {
        let wallet = self.shows(&format!("wallet get {project}")).await;
        ["balance", "reserved", "available"].map(|name| wallet[name].as_i64().unwrap())
    }
}

/// The lines of a table as their words.
fn cells(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect()
}

/// The value of a line that begins with this word.
fn value<'a>(printed: &'a str, name: &str) -> &'a str {
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {printed}"))
        .trim()
}

#[tokio::test]
async fn a_wallet_from_its_first_credit_to_its_statement() {
    let house = House::dev().await;
    let shell = &house.shell;
    shell.says("org create acme").await;
    let project = "project create Webshop --org acme --id shop";
    shell.says(project).await;

    // IAM knows the org, and what people call the project.
    let made =
        shell.says("wallet create shop --balance 10000 --low-balance 500 --low-balance 1000");
    let made = made.await;
    for (name, expected) in [
        ("project_id", "shop"),
        ("project_name", "Webshop"),
        ("org_id", "acme"),
        ("status", "active"),
        ("balance", "10,000 JPY"),
        ("available", "10,000 JPY"),
        ("overdraft_limit", "0 JPY"),
    ] {
        assert_eq!(value(&made, name), expected, "{made}");
    }
    let (code, message) = shell.fails("wallet create shop").await;
    assert_eq!(code, 6);
    assert!(message.contains("WALLET_EXISTS"), "{message}");
    let (code, message) = shell.fails("wallet create nobody").await;
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("--org"), "{message}");
    shell.says("wallet create other --org acme").await;

    let topup = [
        "wallet",
        "topup",
        "shop",
        "5000",
        "--description",
        "Monthly credit purchase",
    ];
    let change = text(&shell.words(&topup).await);
    assert_eq!(value(&change, "amount"), "5,000 JPY");
    assert_eq!(value(&change, "balance"), "15,000 JPY");
    assert_eq!(value(&change, "type"), "deposit");

    let charge = "wallet charge shop 700 --resource-id vm-1 --sku vm.small";
    let charged = shell.says(&format!("{charge} -o name")).await;
    let charged = charged.trim();
    assert!(charged.starts_with("txn-"), "{charged}");
    let refund = shell
        .says(&format!("wallet refund shop {charged} 200"))
        .await;
    assert_eq!(value(&refund, "amount"), "200 JPY");
    let (code, message) = shell
        .fails(&format!("wallet refund shop {charged} 501"))
        .await;
    assert_eq!(code, 6);
    assert!(
        message.contains("500") && message.contains("REFUND_EXCEEDS_CHARGE"),
        "{message}"
    );
    let adjusted = shell.says("wallet adjust shop -300 --reason mistake").await;
    assert_eq!(value(&adjusted, "amount"), "-300 JPY");
    assert_eq!(shell.figures("shop").await, [14_200, 0, 14_200]);

    let table = shell.says("wallet list --org acme").await;
    let rows = cells(&table);
    assert_eq!(
        rows[0][..3],
        ["PROJECT_ID", "PROJECT_NAME", "ORG_ID"],
        "{table}"
    );
    assert_eq!(
        (rows[1][0], rows[2][0], rows[2][1]),
        ("other", "shop", "Webshop")
    );
    assert!(table.contains(" 14,200 JPY"), "{table}");
    assert_eq!(shell.says("wallet list -o name").await, "other\nshop\n");
    assert!(
        shell
            .says("wallet get shop -o yaml")
            .await
            .contains("available: 14200\n")
    );
    let page = shell.run("wallet list --limit 1").await;
    assert!(String::from_utf8_lossy(&page.stderr).contains("--page-token"));

    // Suspended, nothing is charged; with an overdraft more than there is.
    let updated = shell
        .shows("wallet update shop --status suspended --no-low-balance")
        .await;
    assert_eq!(
        (&updated["status"], &updated["low_balance"]),
        (&json!("suspended"), &json!([]))
    );
    let (code, message) = shell.fails(charge).await;
    assert_eq!(code, 6);
    assert!(message.contains("WALLET_SUSPENDED"), "{message}");
    shell
        .says("wallet update shop --status active --overdraft-limit 100 --allow-overage")
        .await;
    let (code, message) = shell.fails("wallet charge shop 14301").await;
    assert_eq!(code, 6);
    let said = "14301 is required, 14300 is available, 1 is missing (INSUFFICIENT_CREDIT)";
    assert!(message.contains(said), "{message}");
    assert_eq!(shell.fails("wallet update shop").await.0, 2);
    assert_eq!(shell.fails("wallet get nobody").await.0, 3);

    // The newest first, or the other way round.
    let rows = shell.says("transactions shop").await;
    let amounts: Vec<String> = cells(&rows)[1..]
        .iter()
        .map(|row| row[2].to_owned())
        .collect();
    assert_eq!(
        amounts,
        ["-300", "200", "-700", "5,000", "10,000"],
        "{rows}"
    );
    let oldest = shell
        .shows("transactions shop --oldest-first --limit 2 --types deposit,charge")
        .await;
    let rows = oldest["transactions"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["amount"]), (2, &json!(10_000)));
    let next = oldest["next_page_token"].as_str().unwrap();
    let line = format!(
        "transactions shop --oldest-first --limit 2 --types deposit,charge --page-token {next}"
    );
    assert_eq!(shell.shows(&line).await["transactions"][0]["amount"], -700);
    let of_one = shell
        .says("transactions shop --resource-id vm-1 -o name")
        .await;
    assert_eq!(of_one.trim(), charged);

    // This month's statement: a table that runs from what was there before to what is there now.
    let statement = shell.says("statement shop").await;
    assert_eq!(value(&statement, "opening"), "0 JPY");
    assert_eq!(value(&statement, "closing"), "14,200 JPY");
    let last = cells(&statement).last().unwrap().clone();
    assert_eq!(last[2..6], ["-300", "JPY", "14,200", "JPY"], "{statement}");
    let data = shell.shows("statement shop").await;
    let month = &data["from"].as_str().unwrap()[..7];
    assert_eq!(
        shell
            .shows(&format!("statement shop --month {month}"))
            .await["closing"],
        14_200
    );
    let csv = shell.says("statement shop -o csv").await;
    assert!(csv.starts_with("BillingAccountId,SubAccountId,"), "{csv}");
    assert_eq!(csv.lines().count(), 6, "{csv}");
    let earlier = "statement shop --from 2020-01-01T00:00:00Z --to 2020-02-01T00:00:00Z";
    assert_eq!(shell.shows(earlier).await["transactions"], json!([]));
    assert_eq!(shell.fails("wallet list -o csv").await.0, 2);
    house.stop().await;
}

#[tokio::test]
async fn reservations_are_held_and_resolved() {
    let house = House::dev().await;
    let shell = &house.shell;
    shell
        .says("wallet create shop --org acme --balance 1000")
        .await;
    let create = "reservation create shop 600 --ttl 3600 --resource-type vm --resource-id vm-4";
    let held = shell.says(create).await;
    assert_eq!(
        (value(&held, "amount"), value(&held, "status")),
        ("600 JPY", "active")
    );
    let expires = value(&held, "expires_at");
    assert!(expires.contains("Z (in "), "{held}");
    let id = value(&held, "id").to_owned();

    let (code, message) = shell.fails("reservation create shop 600").await;
    assert_eq!(code, 6);
    let said = "600 is required, 400 is available, 200 is missing (INSUFFICIENT_CREDIT)";
    assert!(message.contains(said), "{message}");
    let (code, message) = shell
        .fails(&format!("reservation commit {id} --amount 601"))
        .await;
    assert_eq!(code, 6);
    assert!(message.contains("EXCEEDS_RESERVATION"), "{message}");

    let table = shell.says("reservation list shop").await;
    let rows = cells(&table);
    assert_eq!(rows[1][..3], [id.as_str(), "600", "JPY"], "{table}");
    assert!(table.contains("vm-4"), "{table}");
    assert_eq!(shell.says("reservation list shop -o name").await.trim(), id);

    let longer = shell
        .shows(&format!("reservation extend {id} --ttl 7200"))
        .await;
    assert!(longer["expires_at"].as_str().unwrap() > expires.split(' ').next().unwrap());
    let done = shell
        .says(&format!("reservation commit {id} --amount 450"))
        .await;
    assert_eq!(value(&done, "status"), "committed");
    assert_eq!(value(&done, "actual_amount"), "450 JPY");
    assert!(!done.contains("expires_at"), "{done}");
    assert_eq!(shell.figures("shop").await, [550, 0, 550]);
    let (code, message) = shell.fails(&format!("reservation release {id}")).await;
    assert_eq!(code, 6);
    // When it was is said, too.
    assert!(
        message.contains("; at 20") && message.contains("RESERVATION_COMMITTED"),
        "{message}"
    );

    let other = shell.says("reservation create shop 100 -o name").await;
    let other = other.trim();
    let released = shell
        .says(&format!("reservation release {other} --reason failed"))
        .await;
    assert_eq!(value(&released, "status"), "released");
    assert_eq!(
        shell.shows(&format!("reservation get {other}")).await["status"],
        "released"
    );
    assert_eq!(
        shell.shows("reservation list shop").await["reservations"],
        json!([])
    );
    let none = "rsv-00000000-0000-7000-8000-000000000000";
    assert_eq!(shell.fails(&format!("reservation get {none}")).await.0, 3);
    assert_eq!(shell.fails("reservation get ..").await.0, 2);
    let (code, message) = shell.fails("reservation create nobody 1").await;
    assert_eq!(code, 1);
    assert!(
        message.contains("VALIDATION_ERROR") && message.contains("project_id"),
        "{message}"
    );
    house.stop().await;
}

#[tokio::test]
async fn quotas_and_prices_are_the_operators() {
    let house = House::dev().await;
    let shell = &house.shell;
    for (kind, limit) in [("gpu", "4"), ("tape", "unlimited")] {
        shell.says(&format!("quota limit set {kind} {limit}")).await;
    }
    let again = shell.says("quota limit set gpu 4").await;
    assert_eq!(
        (value(&again, "kind"), value(&again, "default")),
        ("gpu", "4")
    );
    let known = shell.says("quota limits -o name").await;
    assert!(
        known.contains("gpu\n") && known.contains("tape\n"),
        "{known}"
    );
    let table = shell.says("quota limits").await;
    assert!(
        cells(&table).contains(&vec!["tape", "unlimited"]),
        "{table}"
    );

    // Units and credit, all of it or nothing.
    shell
        .says("wallet create shop --org acme --balance 100")
        .await;
    let id = shell
        .says("reservation create shop 50 --units gpu=3,tape=1024 -o name")
        .await;
    let held = shell.says(&format!("reservation get {}", id.trim())).await;
    assert_eq!(value(&held, "units"), "gpu=3,tape=1024");
    let (code, message) = shell
        .fails("reservation create shop 10 --units gpu=2")
        .await;
    assert_eq!(code, 6, "{message}");
    assert!(
        message.contains("gpu") && message.contains("QUOTA_EXCEEDED"),
        "{message}"
    );
    assert_eq!(
        shell
            .fails("reservation create shop --units gpu=1,gpu=1")
            .await
            .0,
        2
    );
    shell.says("reservation create shop --units tape=1").await;
    assert_eq!(shell.figures("shop").await, [100, 50, 50]);

    let table = shell.says("quota get shop").await;
    let gpu = cells(&table)
        .into_iter()
        .find(|row| row[0] == "gpu")
        .unwrap();
    assert_eq!(gpu, ["gpu", "4", "0", "3", "1", "no"], "{table}");
    let set = shell.says("quota set shop gpu 8").await;
    assert_eq!((value(&set, "limit"), value(&set, "own")), ("8", "yes"));
    assert_eq!(shell.shows("quota get shop gpu").await["available"], 5);
    let unlimited = shell.shows("quota set shop gpu unlimited").await;
    assert_eq!(
        (&unlimited["limit"], &unlimited["available"]),
        (&json!("unlimited"), &Value::Null)
    );
    assert_eq!(shell.shows("quota unset shop gpu").await["limit"], 4);
    assert_eq!(shell.fails("quota get shop robots").await.0, 3);
    assert_eq!(shell.fails("quota set shop robots 1").await.0, 3);

    // Prices: exact, and for good.
    let from = "--effective-from 2026-01-01T00:00:00Z";
    for _ in 0..2 {
        shell
            .says(&format!("price publish vcpu 10 --per minute {from}"))
            .await;
    }
    let memory = "price publish memory_mib 0.05 --per hour --per-quantity 1024";
    let published = shell.says(memory).await;
    assert!(
        value(&published, "price").starts_with("0.05"),
        "{published}"
    );
    assert!(
        value(&published, "price").ends_with(" per 1024 units and hour"),
        "{published}"
    );
    assert_eq!(value(&published, "effective_from"), "always");
    let stored = shell.shows("price list memory_mib").await;
    assert_eq!(stored["prices"][0]["nanos"], 50_000_000);
    let table = shell.says("price list").await;
    assert!(table.contains(" per minute"), "{table}");
    assert_eq!(shell.says("price list -o name").await, "memory_mib\nvcpu\n");
    let (code, message) = shell
        .fails(&format!("price publish vcpu 11 --per minute {from}"))
        .await;
    assert_eq!(code, 6);
    assert!(message.contains("PRICE_FIXED"), "{message}");
    let (code, message) = shell.fails("price publish disk 1 --per-quantity 3").await;
    assert_eq!(code, 1);
    assert!(message.contains("per_quantity"), "{message}");
    assert_eq!(shell.fails("price list gpu").await.0, 3);
    house.stop().await;
}

#[tokio::test]
async fn a_change_is_made_once() {
    let house = House::dev().await;
    let shell = &house.shell;
    shell.says("wallet create shop --org acme").await;
    let line = "wallet topup shop 100 --idempotency-key monday";
    let first = shell.run(&format!("{line} -o json")).await;
    let again = shell.run(&format!("{line} -o json")).await;
    assert_eq!(document(&first)["id"], document(&again)["id"]);
    assert!(first.stderr.is_empty());
    let note = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(note.contains("done before"), "{note}");
    let (code, message) = shell
        .fails("wallet topup shop 101 --idempotency-key monday")
        .await;
    assert_eq!(code, 1, "{message}");
    assert!(message.contains("Idempotency-Key"), "{message}");
    // Without a key of one's own each is another change.
    shell.says("wallet topup shop 1").await;
    shell.says("wallet topup shop 1").await;
    assert_eq!(shell.figures("shop").await, [102, 0, 102]);

    // The answer is lost on the way back: it is asked for again, and made once.
    let lossy = Lossy::before(&house.shell.credit).await;
    let through = Shell {
        home: tempfile::tempdir().unwrap(),
        iam: house.shell.iam.clone(),
        credit: lossy.address.clone(),
        network: String::new(),
        compute: String::new(),
    };
    let made = through.shows("wallet topup shop 50").await;
    assert_eq!(made["balance"], 152);
    assert_eq!(lossy.lost(), 1);
    assert_eq!(shell.figures("shop").await, [152, 0, 152]);

    // Nobody there: nothing was done, and that is what is said.
    house.credit.stop().await;
    let (code, message) = house.shell.fails("wallet topup shop 1 --timeout 2").await;
    assert_eq!(code, 4);
    assert!(
        message.contains("CreditService at ") && !message.contains("not known"),
        "{message}"
    );
    house.iam.stop().await;
}

#[tokio::test]
async fn a_context_knows_where_credit_is() {
    let house = House::dev().await;
    let shell = &house.shell;
    shell
        .says("wallet create project-prod --org acme --balance 7")
        .await;
    shell.says("login user-alice --scope project-prod").await;
    let kept = shell.home.path().join("photon").join("contexts.toml");
    let kept = std::fs::read_to_string(kept).unwrap();
    assert!(
        kept.contains(&format!("credit = \"{}/\"", shell.credit)),
        "{kept}"
    );
    let without = Command::new(env!("CARGO_BIN_EXE_photonctl"))
        .args(["wallet", "get", "project-prod", "-o", "json"])
        .env("XDG_CONFIG_HOME", shell.home.path())
        .env_remove("PHOTONCTL_IAM")
        .env_remove("PHOTONCTL_CREDIT")
        .env_remove("PHOTONCTL_TOKEN")
        .output();
    assert_eq!(document(&without.await.unwrap())["balance"], 7);
    // A token that is no good is refused in dev mode too: so it is shown that it is sent.
    let output = Command::new(env!("CARGO_BIN_EXE_photonctl"))
        .args(["wallet", "get", "project-prod"])
        .env("XDG_CONFIG_HOME", shell.home.path())
        .env("PHOTONCTL_TOKEN", "nonsense")
        .output();
    assert_eq!(output.await.unwrap().status.code(), Some(5));
    let (code, message) = shell
        .fails("--credit http://credit.example:8086 wallet list")
        .await;
    assert_eq!(code, 2);
    assert!(message.contains("in clear"), "{message}");
    house.stop().await;
}

#[tokio::test]
async fn credit_is_listed_among_the_services() {
    let mut house = House::dev().await;
    let endpoint = house.iam.chainfire().endpoint();
    let listed = crate::listed(&endpoint, "creditservice").await;
    let item = &listed["items"][0];
    assert_eq!(
        (&item["service"], &item["addresses"]["rest"]),
        (&json!("creditservice"), &json!(house.shell.credit))
    );
    house.stop().await;
}
