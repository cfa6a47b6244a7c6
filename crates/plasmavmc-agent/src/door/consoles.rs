//! `photon.plasmavmc.agent.v1.Consoles`.

use std::{io, pin::Pin};

use futures::{Stream, StreamExt as _, stream};
use photon_core::{Code, Error};
use photon_proto::photon::plasmavmc::agent::v1::{self as pb, consoles_server};
use photon_server::grpc::status;
use plasmavmc_model::VmId;
use tonic::{Request, Response, Status, Streaming};

use super::caller::Keeper;
use crate::console::{Consoles, Keyboard, Refused, log};

/// The service.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) keeper: Keeper,
    pub(super) consoles: Consoles,
}

fn vm(text: &str) -> Result<VmId, Status> {
    let parsed = text.parse::<VmId>();
    parsed.map_err(|_| {
        status(&Error::validation(
            "vm_id",
            "pattern",
            "vm_id is no id of a VM",
        ))
    })
}

fn said(error: &io::Error) -> Status {
    let error = match error.kind() {
        io::ErrorKind::NotFound => Error::not_found("the vm on its host"),
        _ => Error::internal(format!("a console cannot be read: {error}")),
    };
    status(&error)
}

fn refused(refused: Refused) -> Status {
    let error = match refused {
        Refused::NotHere => Error::not_found("the vm on its host"),
        Refused::TooMany => Error::new(Code::RATE_LIMITED, refused.to_string()),
    };
    status(&error)
}

/// Types what comes, until nothing does.
async fn type_in(mut inputs: Streaming<pb::ConsoleInput>, keyboard: Keyboard) {
    while let Ok(Some(input)) = inputs.message().await {
        if !input.data.is_empty() {
            keyboard.type_in(input.data).await;
        }
    }
}

#[tonic::async_trait]
impl consoles_server::Consoles for Doors {
    async fn log(
        &self,
        request: Request<pb::ConsoleLogRequest>,
    ) -> Result<Response<pb::ConsoleLog>, Status> {
        self.keeper.control_plane(&request)?;
        let asked = request.into_inner();
        let (vm, consoles) = (vm(&asked.vm_id)?, self.consoles.clone());
        let limit = match usize::try_from(asked.limit) {
            Ok(0) | Err(_) => log::MOST,
            Ok(limit) => limit.min(log::MOST),
        };
        let read = move || consoles.read(vm, asked.offset, limit);
        let read = tokio::task::spawn_blocking(read).await;
        let part = read.map_err(io::Error::other).flatten();
        let part = part.map_err(|error| said(&error))?;
        Ok(Response::new(pb::ConsoleLog {
            offset: part.offset,
            data: part.data.into(),
            first: part.first,
            end: part.end,
        }))
    }

    type AttachStream = Pin<Box<dyn Stream<Item = Result<pb::ConsoleOutput, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<pb::ConsoleInput>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        self.keeper.control_plane(&request)?;
        let mut inputs = request.into_inner();
        let Some(first) = inputs.message().await? else {
            return Err(status(&Error::required("vm_id")));
        };
        let viewer = self.consoles.attach(vm(&first.vm_id)?, first.offset);
        let viewer = viewer.map_err(refused)?;
        // Ends with the stream; until then, with its viewer.
        let typing = tokio::spawn(type_in(inputs, viewer.keyboard()));
        let typing = tokio_util::task::AbortOnDropHandle::new(typing);
        let output = stream::try_unfold((viewer, typing), |(mut viewer, typing)| async {
            let (offset, data) = viewer.next().await.map_err(|error| said(&error))?;
            let piece = pb::ConsoleOutput { offset, data };
            Ok(Some((piece, (viewer, typing))))
        });
        Ok(Response::new(output.boxed()))
    }
}
