//! `etcdserverpb.Cluster`. Member ids are node ids; URLs are `scheme://host:port`.

use std::sync::Arc;

use chainfire_engine::EtcdError;
use photon_proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse, cluster_server::Cluster,
};
use tonic::{Request, Response, Status};

use super::enter::{enter, refuse};
use crate::app::{Address, App, NewMember};

pub(super) struct ClusterDoor(pub(super) Arc<App>);

impl ClusterDoor {
    fn render(&self, member: photon_raft::Member) -> Member {
        let config = self.0.config();
        let clients = member.client_addresses.iter();
        Member {
            id: member.node_id,
            name: member.name.clone(),
            peer_ur_ls: vec![url(config.peer_scheme(), &member.peer_address)],
            client_ur_ls: clients
                .map(|address| url(config.client_scheme(), address))
                .collect(),
            is_learner: member.learner,
        }
    }

    fn members(&self) -> Vec<Member> {
        let members = self.0.members().into_iter();
        members.map(|member| self.render(member)).collect()
    }
}

#[tonic::async_trait]
impl Cluster for ClusterDoor {
    async fn member_add(
        &self,
        request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        let new = NewMember {
            address: Address::Peer(only_address(&request.peer_ur_ls).map_err(refuse)?),
            node_id: None,
            stays_learner: request.is_learner,
        };
        let member = self.0.member_add(&caller, new).await.map_err(refuse)?;
        Ok(Response::new(MemberAddResponse {
            header: Some(self.0.response_header()),
            member: Some(self.render(member)),
            members: self.members(),
        }))
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        let (caller, MemberRemoveRequest { id }) = enter(&self.0, request).await?;
        self.0.member_remove(&caller, id).await.map_err(refuse)?;
        Ok(Response::new(MemberRemoveResponse {
            header: Some(self.0.response_header()),
            members: self.members(),
        }))
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        // Unlike with an addition, etcd looks at rights before URLs.
        self.0.require_root(&caller).map_err(refuse)?;
        let address = only_address(&request.peer_ur_ls).map_err(refuse)?;
        self.0
            .member_update(&caller, request.id, address)
            .await
            .map_err(refuse)?;
        Ok(Response::new(MemberUpdateResponse {
            header: Some(self.0.response_header()),
            members: self.members(),
        }))
    }

    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        let (caller, MemberListRequest { linearizable }) = enter(&self.0, request).await?;
        let members = self
            .0
            .member_list(&caller, linearizable)
            .await
            .map_err(refuse)?;
        Ok(Response::new(MemberListResponse {
            header: Some(self.0.response_header()),
            members: members
                .into_iter()
                .map(|member| self.render(member))
                .collect(),
        }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        let (caller, MemberPromoteRequest { id }) = enter(&self.0, request).await?;
        self.0.member_promote(&caller, id).await.map_err(refuse)?;
        Ok(Response::new(MemberPromoteResponse {
            header: Some(self.0.response_header()),
            members: self.members(),
        }))
    }
}

fn url(scheme: &str, address: &str) -> String {
    format!("{scheme}://{address}")
}

/// A member has one peer address.
fn only_address(urls: &[String]) -> Result<String, EtcdError> {
    match urls {
        [url] => address(url).ok_or(EtcdError::MEMBER_BAD_URLS),
        _ => Err(EtcdError::MEMBER_BAD_URLS),
    }
}

/// `host:port` of `http(s)://host:port`, with nothing behind it.
fn address(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?;
    let authority = uri.authority()?;
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    (matches!(scheme, "http" | "https")
        && bare
        && authority.port_u16().is_some()
        && !authority.as_str().contains('@'))
    .then(|| authority.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_urls_with_a_port_are_members() {
        assert_eq!(
            address("http://10.0.0.1:2380").as_deref(),
            Some("10.0.0.1:2380")
        );
        assert_eq!(
            address("https://[::1]:2380/").as_deref(),
            Some("[::1]:2380")
        );
        for bad in [
            "",
            "10.0.0.1:2380",
            "http://host",
            "unix://x:1",
            "http://a:1/p",
            "http://u@a:1",
        ] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
