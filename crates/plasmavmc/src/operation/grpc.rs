//! `photon.plasmavmc.v1.Operations`.

use photon_proto::photon::plasmavmc::v1::{self as pb, operations_server::Operations};
use photon_service::scope::Owner;
use tonic::{Request, Response, Status};

use super::{VmOperation, service};
use crate::grpc::{
    Doors,
    fields::{id, shown_time},
};

fn message(operation: VmOperation) -> pb::Operation {
    pb::Operation {
        percent: operation.percent(),
        id: operation.id.to_string(),
        kind: operation.kind,
        target_id: operation.target,
        org_id: operation.org.into(),
        project_id: operation.project.into(),
        requested_by: operation.by,
        state: operation.state.as_str().to_owned(),
        waiting_for: operation.waiting_for,
        error: operation.error,
        steps: operation
            .steps
            .into_iter()
            .map(|step| pb::OperationStep {
                name: step.name,
                state: step.state.as_str().to_owned(),
            })
            .collect(),
        log: operation
            .log
            .into_iter()
            .map(|line| pb::OperationLogLine {
                at: Some(shown_time(line.at)),
                text: line.text,
            })
            .collect(),
        created_at: Some(shown_time(operation.created_at)),
        updated_at: Some(shown_time(operation.updated_at)),
        ended_at: operation.ended_at.map(shown_time),
    }
}

#[tonic::async_trait]
impl Operations for Doors {
    async fn get(
        &self,
        request: Request<pb::GetOperationRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("operation", &asked.id)?;
            let found = service::get(&app, &ctx, id, &Owner::default()).await?;
            Ok(message(found.value))
        })
        .await
    }
}
