//! Serial consoles of guests on a host.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use photon_core::Error;
use photon_proto::photon::plasmavmc::agent::v1::{
    ConsoleInput, ConsoleLogRequest, consoles_client::ConsolesClient,
};
use plasmavmc_model::VmId;
use tokio::sync::mpsc;
use tonic::transport::Channel;

use crate::{At, Doors, request};

/// For what is done at once.
const SOON: Duration = Duration::from_secs(10);
/// The longest that anybody looks at a console.
pub const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// The most bytes that are typed at once.
pub const TYPED: usize = 16 << 10;
/// Pieces that are typed and not yet taken by the host.
const WAITING: usize = 4;
/// Larger than any part that a host sends.
const LARGEST: usize = 2 << 20;

/// A part of what a guest has written to its console, over all its boots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Where it begins, counted from the first byte that was ever written.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
    /// The first byte that is kept.
    pub first: u64,
    /// How many were ever written.
    pub end: u64,
}

/// Types to a console. When it is dropped, nothing more is typed.
#[derive(Clone, Debug)]
pub struct Keyboard(mpsc::Sender<ConsoleInput>);

impl Keyboard {
    /// Types; waits as long as the guest does not take it. Answers whether anybody still listens.
    pub async fn type_in(&self, mut data: Bytes) -> bool {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(TYPED));
            let input = ConsoleInput {
                data: piece,
                ..ConsoleInput::default()
            };
            if self.0.send(input).await.is_err() {
                return false;
            }
        }
        true
    }
}

impl Doors {
    fn consoles(&self, at: &At) -> Result<ConsolesClient<Channel>, Error> {
        let client = ConsolesClient::new(self.channel(at)?);
        Ok(client.max_decoding_message_size(LARGEST))
    }

    /// What a VM has written to its console from an offset on; without one, the end of it.
    ///
    /// # Errors
    /// `NOT_FOUND`: the host does not have the VM.
    pub async fn console_log(
        &self,
        at: &At,
        vm: VmId,
        offset: Option<u64>,
        limit: u32,
    ) -> Result<Part, Error> {
        let mut consoles = self.consoles(at)?;
        let message = ConsoleLogRequest {
            vm_id: vm.to_string(),
            offset,
            limit,
        };
        let call = consoles.log(request(message, SOON));
        let log = self.answer(at, SOON, call).await?;
        Ok(Part {
            offset: log.offset,
            data: log.data,
            first: log.first,
            end: log.end,
        })
    }

    /// Looks at a VM's console, from an offset on; without one, from shortly before its end. What comes is told with the offset that it
    /// begins at.
    ///
    /// # Errors
    /// `NOT_FOUND`: the host does not have the VM; `RATE_LIMITED`: too many look already.
    pub async fn console(
        &self,
        at: &At,
        vm: VmId,
        offset: Option<u64>,
    ) -> Result<(Keyboard, BoxStream<'static, Result<(u64, Bytes), Error>>), Error> {
        let mut consoles = self.consoles(at)?;
        let (typing, typed) = mpsc::channel(WAITING);
        let first = ConsoleInput {
            vm_id: vm.to_string(),
            offset,
            data: Bytes::new(),
        };
        let rest = futures::stream::unfold(typed, |mut typed| async {
            let input = typed.recv().await?;
            Some((input, typed))
        });
        let inputs = futures::stream::iter([first]).chain(rest);
        let call = consoles.attach(request(inputs, LONGEST));
        let output = self.answer(at, SOON, call).await?;
        let host = at.host.clone();
        let output = output.map(move |piece| match piece {
            Ok(piece) => Ok((piece.offset, piece.data)),
            Err(status) => Err(crate::said(&host, &status)),
        });
        Ok((Keyboard(typing), output.boxed()))
    }
}
