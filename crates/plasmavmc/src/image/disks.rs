//! Content on hosts' disks, by their agents' doors.

use bytes::Bytes;
use futures::stream::BoxStream;
use photon_core::{Code, Error, Name};
use plasmavmc_door::{
    At, Doors,
    blobs::{Blob, Should},
};
use plasmavmc_model::{Digest, Holder};

use super::blobs::Blobs;
use crate::door::HostDoors;

/// Hosts' disks.
#[derive(Debug)]
pub(crate) struct HostDisks(pub(crate) HostDoors);

impl HostDisks {
    /// Hosts that can be asked, those with the largest disks first.
    fn by_room(&self) -> Vec<At> {
        let mut all = self.0.open();
        all.sort_by_key(|(_, agent)| {
            let held: u64 = agent.blobs.iter().map(|blob| blob.bytes >> 20).sum();
            std::cmp::Reverse((agent.capacity.disk_gib << 10).saturating_sub(held))
        });
        all.into_iter().map(|(at, _)| at).collect()
    }

    fn doors(&self) -> &Doors {
        &self.0.doors
    }
}

#[tonic::async_trait]
impl Blobs for HostDisks {
    async fn begin(
        &self,
        upload: &Name,
        bytes: u64,
        before: Option<&Name>,
    ) -> Result<(Name, u64), Error> {
        if let Some(host) = before {
            let offset = self.doors().begin(&self.0.at(host)?, upload, bytes).await?;
            return Ok((host.clone(), offset));
        }
        let nobody = "no host that reports takes images: start plasmavmc-agent on one, with a door";
        let mut refused = Error::new(Code::NO_CAPACITY, nobody);
        for at in self.by_room() {
            match self.doors().begin(&at, upload, bytes).await {
                Ok(offset) => return Ok((at.host, offset)),
                Err(error) => {
                    tracing::info!(host = %at.host, %error, "an upload is not begun there");
                    refused = error;
                }
            }
        }
        Err(refused)
    }

    async fn append(
        &self,
        upload: &Name,
        at: &Name,
        offset: u64,
        data: BoxStream<'static, Bytes>,
    ) -> Result<u64, Error> {
        self.doors()
            .write(&self.0.at(at)?, upload, offset, data)
            .await
    }

    async fn finish(&self, upload: &Name, at: &Name, should: &Should) -> Result<Blob, Error> {
        self.doors().finish(&self.0.at(at)?, upload, should).await
    }

    async fn abandon(&self, upload: &Name, at: &Name) -> Result<(), Error> {
        self.doors().abandon(&self.0.at(at)?, upload).await
    }

    fn holders(&self, digest: Digest) -> Vec<Holder> {
        let reachable = self.0.open().into_iter();
        let holders = reachable.filter(|(_, agent)| agent.holds(digest));
        let holders = holders.map(|(at, _)| Holder {
            host: at.host,
            door: at.url,
        });
        holders.collect()
    }

    async fn delete(&self, digest: Digest) -> Result<(), Error> {
        let mut refused = Ok(());
        for holder in self.holders(digest) {
            let at = At {
                host: holder.host,
                url: holder.door,
            };
            if let Err(error) = self.doors().delete(&at, digest).await {
                refused = refused.and(Err(error));
            }
        }
        refused
    }
}
