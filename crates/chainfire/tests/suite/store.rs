//! photon-store's conformance suite against ChainFire: in this process, and as a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use photon_store::conformance::{self, Server};
use photon_testkit::scratch::Scratch;
use photon_testkit::{ChainfireProcess, ChainfireSpec, InProcessChainfire, in_process_chainfire};

struct InProcess(InProcessChainfire);

impl Server for InProcess {
    fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    async fn stop(&mut self) -> Result<(), String> {
        self.0.stop().await;
        Ok(())
    }

    async fn start(&mut self) -> Result<(), String> {
        Box::pin(self.0.start())
            .await
            .map_err(|error| format!("{error:#}"))
    }

    async fn replace_by_empty(&mut self) -> Result<(), String> {
        let replaced = Box::pin(self.0.replace_by_empty()).await;
        replaced.map_err(|error| format!("{error:#}"))
    }
}

struct Process {
    // Declared first: killed before its directory goes.
    node: ChainfireProcess,
    _dir: Scratch,
}

impl Server for Process {
    fn endpoint(&self) -> String {
        self.node.endpoint()
    }

    async fn stop(&mut self) -> Result<(), String> {
        self.node.kill().map_err(|error| format!("{error:#}"))
    }

    async fn start(&mut self) -> Result<(), String> {
        self.node
            .restart()
            .await
            .map_err(|error| format!("{error:#}"))
    }

    async fn replace_by_empty(&mut self) -> Result<(), String> {
        let replaced = self.node.replace_by_empty().await;
        replaced.map_err(|error| format!("{error:#}"))
    }
}

async fn in_process() -> InProcess {
    InProcess(Box::pin(in_process_chainfire()).await.unwrap())
}

async fn process() -> Process {
    let dir = Scratch::new("chainfire-store").unwrap();
    let spec = ChainfireSpec::single(env!("CARGO_BIN_EXE_chainfire"), dir.path()).unwrap();
    let node = ChainfireProcess::start(spec).await.unwrap();
    Process { node, _dir: dir }
}

mod in_this_process {
    use super::{conformance, in_process};

    #[tokio::test]
    async fn records() {
        conformance::records(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn indexes() {
        conformance::indexes(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn lists() {
        conformance::lists(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn transactions() {
        conformance::transactions(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn audits() {
        conformance::audits(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn audits_together() {
        conformance::audits_together(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn audits_of_processes() {
        conformance::audits_of_processes(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn audits_left_alone() {
        conformance::audits_left_alone(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn audits_over_an_outage() {
        conformance::audits_over_an_outage(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn idempotency() {
        conformance::idempotency(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn registry() {
        conformance::registry(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn versions() {
        conformance::versions(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn contention() {
        conformance::contention(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn watches() {
        conformance::watches(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn progress() {
        conformance::progress(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn watch_over_restarts() {
        conformance::watch_over_restarts(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn watch_after_compaction() {
        conformance::watch_after_compaction(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn leases() {
        conformance::leases(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn lease_without_server() {
        conformance::lease_without_server(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn elections() {
        conformance::elections(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn outages() {
        conformance::outages(&mut in_process().await).await;
    }

    #[tokio::test]
    async fn replaced_store() {
        conformance::replaced_store(&mut in_process().await).await;
    }
}

mod as_a_process {
    use super::{conformance, process};

    #[tokio::test]
    async fn records() {
        conformance::records(&mut process().await).await;
    }

    #[tokio::test]
    async fn indexes() {
        conformance::indexes(&mut process().await).await;
    }

    #[tokio::test]
    async fn lists() {
        conformance::lists(&mut process().await).await;
    }

    #[tokio::test]
    async fn transactions() {
        conformance::transactions(&mut process().await).await;
    }

    #[tokio::test]
    async fn audits() {
        conformance::audits(&mut process().await).await;
    }

    #[tokio::test]
    async fn audits_together() {
        conformance::audits_together(&mut process().await).await;
    }

    #[tokio::test]
    async fn audits_of_processes() {
        conformance::audits_of_processes(&mut process().await).await;
    }

    #[tokio::test]
    async fn audits_left_alone() {
        conformance::audits_left_alone(&mut process().await).await;
    }

    #[tokio::test]
    async fn audits_over_an_outage() {
        conformance::audits_over_an_outage(&mut process().await).await;
    }

    #[tokio::test]
    async fn idempotency() {
        conformance::idempotency(&mut process().await).await;
    }

    #[tokio::test]
    async fn registry() {
        conformance::registry(&mut process().await).await;
    }

    #[tokio::test]
    async fn versions() {
        conformance::versions(&mut process().await).await;
    }

    #[tokio::test]
    async fn contention() {
        conformance::contention(&mut process().await).await;
    }

    #[tokio::test]
    async fn watches() {
        conformance::watches(&mut process().await).await;
    }

    #[tokio::test]
    async fn progress() {
        conformance::progress(&mut process().await).await;
    }

    #[tokio::test]
    async fn watch_over_restarts() {
        conformance::watch_over_restarts(&mut process().await).await;
    }

    #[tokio::test]
    async fn watch_after_compaction() {
        conformance::watch_after_compaction(&mut process().await).await;
    }

    #[tokio::test]
    async fn leases() {
        conformance::leases(&mut process().await).await;
    }

    #[tokio::test]
    async fn lease_without_server() {
        conformance::lease_without_server(&mut process().await).await;
    }

    #[tokio::test]
    async fn elections() {
        conformance::elections(&mut process().await).await;
    }

    #[tokio::test]
    async fn outages() {
        conformance::outages(&mut process().await).await;
    }

    #[tokio::test]
    async fn replaced_store() {
        conformance::replaced_store(&mut process().await).await;
    }
}
