//! `photonctl member`.

use chainfire_client::{
    Member as Listed, MemberAddRequest, MemberListRequest, MemberPromoteRequest,
    MemberRemoveRequest, TransferLeadershipRequest,
};
use serde_json::{Value, json};

use crate::{
    cli::{Connection, Member},
    failure::Failure,
    output::{self, Format},
};

pub(crate) async fn run(
    connection: &Connection,
    format: Format,
    command: Member,
) -> Result<(), Failure> {
    let mut client = connection.connect().await?;
    let members = match command {
        Member::List => {
            client
                .member_list(MemberListRequest {})
                .await?
                .into_inner()
                .members
        }
        Member::Add { node_id, address } => {
            let added = client
                .member_add(MemberAddRequest { node_id, address })
                .await?
                .into_inner();
            added.member.into_iter().collect()
        }
        Member::Promote { node_id } => {
            client
                .member_promote(MemberPromoteRequest { node_id })
                .await?
                .into_inner()
                .members
        }
        Member::Remove { node_id } => {
            client
                .member_remove(MemberRemoveRequest { node_id })
                .await?
                .into_inner()
                .members
        }
        Member::Transfer { node_id } => {
            let request = TransferLeadershipRequest { node_id };
            let leader = client
                .transfer_leadership(request)
                .await?
                .into_inner()
                .leader_id;
            return match format {
                Format::Human => output::line(&format!("member {leader} leads")),
                Format::Data(notation) => output::data(notation, &json!({ "leader_id": leader })),
            };
        }
    };
    match format {
        Format::Human => output::table(
            &["NODE", "NAME", "ROLE", "PEER ADDRESS", "CLIENT ADDRESSES"],
            &members.iter().map(row).collect::<Vec<_>>(),
        ),
        Format::Data(notation) => output::data(
            notation,
            &json!({ "items": members.iter().map(shown).collect::<Vec<_>>() }),
        ),
    }
}

fn row(member: &Listed) -> Vec<String> {
    vec![
        member.node_id.to_string(),
        member.name.clone(),
        role(member).to_owned(),
        member.peer_address.clone(),
        member.client_addresses.join(","),
    ]
}

fn role(member: &Listed) -> &'static str {
    match (member.learner, member.leader) {
        (true, _) => "learner",
        (false, true) => "leader",
        (false, false) => "voter",
    }
}

fn shown(member: &Listed) -> Value {
    json!({
        "node_id": member.node_id,
        "name": member.name,
        "peer_address": member.peer_address,
        "client_addresses": member.client_addresses,
        "is_learner": member.learner,
        "is_leader": member.leader,
    })
}
