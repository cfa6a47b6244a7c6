//! The engine as Raft's state machine.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use chainfire_engine::Engine;
use photon_proto::photon::chainfire::command::v1::Reply;
use photon_raft::StateMachine;
use prost::Message as _;

use super::LeaderDesk;

/// Applies committed commands to the engine and tells the leader's desk about leases.
#[derive(Debug)]
pub struct Machine {
    engine: Engine,
    desk: Arc<LeaderDesk>,
}

impl Machine {
    /// The machine over an open engine.
    pub fn new(engine: Engine, desk: Arc<LeaderDesk>) -> Self {
        Self { engine, desk }
    }
}

impl StateMachine for Machine {
    type Reply = Reply;

    fn encode_reply(&self, reply: &Reply) -> Bytes {
        reply.encode_to_vec().into()
    }

    fn decode_reply(&self, bytes: Bytes) -> io::Result<Reply> {
        Reply::decode(bytes).map_err(io::Error::other)
    }

    fn mark(&self) -> io::Result<Option<Bytes>> {
        Ok(self.engine.mark())
    }

    fn apply(&self, commands: &[Bytes], mark: Bytes) -> io::Result<Vec<Reply>> {
        let replies = self.engine.apply(commands, &mark)?;
        self.desk.applied(commands, &replies);
        Ok(replies)
    }

    fn is_quick(&self, commands: &[Bytes]) -> bool {
        self.engine.is_quick(commands)
    }

    fn flush(&self) -> io::Result<()> {
        self.engine.flush()
    }

    fn checkpoint(&self, dir: &Path) -> io::Result<Bytes> {
        self.engine.checkpoint(dir)
    }

    fn install(&self, dir: &Path) -> io::Result<()> {
        self.engine.install(dir)
    }
}
