//! Consoles by gRPC: as the REST doors, in a stream each way.

use std::sync::Arc;

use bytes::Bytes;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use http::HeaderMap;
use photon_auth::Context;
use photon_core::Error;
use photon_proto::photon::plasmavmc::v1 as pb;
use photon_server::grpc::status;
use photon_service::scope::Owner;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use super::{MOST_BYTES, Screen, log, open, session::TAKE, token};
use crate::{app::App, grpc::fields::id, refusal};

/// Pieces that are on their way.
const PIECES: usize = 4;

/// A part of what a guest has written.
pub(crate) async fn read(
    app: &App,
    ctx: &Context,
    asked: pb::GetVmConsoleRequest,
) -> Result<pb::VmConsole, Error> {
    let vm = id("vm", &asked.id)?;
    let limit = match asked.limit {
        0 => u32::try_from(MOST_BYTES).unwrap_or(u32::MAX),
        limit if u64::from(limit) <= MOST_BYTES => limit,
        _ => return Err(refusal::range("limit", 1, MOST_BYTES)),
    };
    let part = log(app, ctx, vm, &Owner::default(), asked.offset, limit).await?;
    Ok(pb::VmConsole {
        offset: part.offset,
        data: part.data,
        first_offset: part.first,
        end_offset: part.end,
    })
}

/// A session: its first message says which VM's, and the call's headers by which token.
pub(crate) async fn attach(
    app: &Arc<App>,
    ctx: &Context,
    headers: &HeaderMap,
    mut inputs: Streaming<pb::VmConsoleInput>,
) -> Result<BoxStream<'static, Result<pb::VmConsoleOutput, Status>>, Error> {
    let broken = |status: Status| Error::unavailable("the stream broke").with_source(status);
    let first = inputs.message().await.map_err(broken)?;
    let first = first.ok_or_else(|| Error::required("id"))?;
    let vm = id("vm", &first.id)?;
    let token = token(ctx, headers)?;
    let session = open(app, ctx, token, vm, Owner::default(), first.offset).await?;
    let first_typed = stream::iter([first.data]);
    let typed = inputs
        .take_while(|input| std::future::ready(input.is_ok()))
        .filter_map(|input| std::future::ready(input.ok()))
        .map(|input| input.data);
    let typed = first_typed.chain(typed);
    // Whoever sends nothing more may look on: the end of the answer is the end.
    let typed = typed.chain(stream::pending());
    let (shown, pieces) = mpsc::channel(PIECES);
    let session = tokio::spawn(async move {
        let mut screen = Sender(shown);
        let end = session.run(typed, &mut screen).await;
        // Who has left hears it no more, and who takes nothing holds nothing up.
        let _ = timeout(TAKE, screen.0.send(Err(status(&end.into())))).await;
    });
    let session = AbortOnDropHandle::new(session);
    let output = stream::unfold((pieces, session), |(mut pieces, session)| async {
        let piece = pieces.recv().await?;
        Some((piece, (pieces, session)))
    });
    Ok(output.boxed())
}

struct Sender(mpsc::Sender<Result<pb::VmConsoleOutput, Status>>);

impl Screen for Sender {
    async fn show(&mut self, offset: u64, data: Bytes) -> bool {
        self.0
            .send(Ok(pb::VmConsoleOutput { offset, data }))
            .await
            .is_ok()
    }

    async fn ping(&mut self) -> bool {
        !self.0.is_closed()
    }
}
