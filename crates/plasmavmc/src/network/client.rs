//! PrismNET over gRPC, as this service, and for whoever asked.

use std::time::Duration;

use photon_auth::{ON_BEHALF_OF, ON_BEHALF_PROJECT};
use photon_core::Name;
use photon_proto::photon::prismnet::v1::{
    CreatePortRequest, DeletePortRequest, GetPortRequest, GetSecurityGroupRequest,
    GetSubnetRequest, ListPortsRequest, Port, SecurityGroup, Subnet, UpdatePortRequest,
    ports_client::PortsClient, security_groups_client::SecurityGroupsClient,
    subnets_client::SubnetsClient,
};
use photon_service::peer::{Peer, Refused};
use photon_store::TlsFiles;
use plasmavmc_model::{GroupId, PortId, SubnetId, VmId};
use tokio::time::Instant;
use tonic::{Request, metadata::AsciiMetadataValue};

/// What PrismNET is given for a call.
const CALL: Duration = Duration::from_secs(5);
/// What is waited for its answer: longer, so that whatever it has done in its time is heard.
const WAIT: Duration = Duration::from_secs(8);
/// Ports of a page.
const PAGE: i64 = 500;

/// The seam to PrismNET.
#[derive(Debug)]
pub(crate) struct Prismnet(Peer);

/// For whom it is asked: whoever began it, in words of a principal, and the project.
#[derive(Clone, Copy, Debug)]
pub(crate) struct For<'a> {
    pub(crate) by: &'a str,
    pub(crate) project: &'a Name,
}

impl Prismnet {
    /// At a URL, with certificates if it is `https`.
    ///
    /// # Errors
    /// What cannot be used.
    pub(crate) fn new(url: &str, tls: Option<TlsFiles>) -> anyhow::Result<Self> {
        Ok(Self(Peer::new("prismnet.endpoint", url, tls)?))
    }

    pub(crate) async fn subnet(&self, id: SubnetId) -> Result<Subnet, Refused> {
        let request = request(GetSubnetRequest { id: id.to_string() });
        let call = async move |channel| SubnetsClient::new(channel).get(request).await;
        self.0.call(soon(), call).await
    }

    pub(crate) async fn group(&self, id: GroupId) -> Result<SecurityGroup, Refused> {
        let request = request(GetSecurityGroupRequest { id: id.to_string() });
        let call = async move |channel| SecurityGroupsClient::new(channel).get(request).await;
        self.0.call(soon(), call).await
    }

    pub(crate) async fn port(&self, id: &str) -> Result<Port, Refused> {
        let request = request(GetPortRequest { id: id.to_owned() });
        let call = async move |channel| PortsClient::new(channel).get(request).await;
        self.0.call(soon(), call).await
    }

    /// Makes a port, once for each key.
    pub(super) async fn create_port(
        &self,
        asked: CreatePortRequest,
        key: &str,
        whom: For<'_>,
    ) -> Result<Port, Refused> {
        let mut request = on_behalf(request(asked), whom);
        if let Ok(key) = AsciiMetadataValue::try_from(key) {
            request.metadata_mut().insert("idempotency-key", key);
        }
        let call = async move |channel| PortsClient::new(channel).create(request).await;
        self.0.call(soon(), call).await
    }

    pub(super) async fn update_port(
        &self,
        change: UpdatePortRequest,
        whom: Option<For<'_>>,
    ) -> Result<Port, Refused> {
        let request = request(change);
        let request = match whom {
            Some(whom) => on_behalf(request, whom),
            None => request,
        };
        let call = async move |channel| PortsClient::new(channel).update(request).await;
        self.0.call(soon(), call).await
    }

    pub(super) async fn delete_port(&self, id: PortId) -> Result<(), Refused> {
        let request = request(DeletePortRequest {
            id: id.to_string(),
            revision: None,
        });
        let call = async move |channel| PortsClient::new(channel).delete(request).await;
        self.0.call(soon(), call).await.map(drop)
    }

    /// All ports of a project that say that they are a VM's.
    pub(super) async fn ports_of(
        &self,
        org: &Name,
        project: &Name,
        vm: VmId,
    ) -> Result<Vec<Port>, Refused> {
        let mut all = Vec::new();
        let mut asked = ListPortsRequest {
            org_id: org.to_string(),
            project_id: project.to_string(),
            device_id: vm.to_string(),
            limit: PAGE,
            ..ListPortsRequest::default()
        };
        loop {
            let request = request(asked.clone());
            let call = async move |channel| PortsClient::new(channel).list(request).await;
            let page = self.0.call(soon(), call).await?;
            all.extend(page.ports);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            asked.page_token = page.next_page_token;
        }
    }
}

fn soon() -> Instant {
    Instant::now() + WAIT
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}

/// Says for whom, if it is a principal: the operator of dev mode is none.
fn on_behalf<T>(mut request: Request<T>, whom: For<'_>) -> Request<T> {
    let by = AsciiMetadataValue::try_from(whom.by);
    let project = AsciiMetadataValue::try_from(whom.project.as_str());
    if let (true, Ok(by), Ok(project)) = (whom.by.contains(':'), by, project) {
        let metadata = request.metadata_mut();
        metadata.insert(ON_BEHALF_OF, by);
        metadata.insert(ON_BEHALF_PROJECT, project);
    }
    request
}
