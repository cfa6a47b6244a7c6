//! Where things lie in the store. All of it is below [`ROOT`], the prefix that the store grants to this service.

use creditservice_ledger::Shard;
use photon_core::Name;

/// The service's prefix.
pub(crate) const ROOT: &str = "/photon/creditservice";
/// What says into how many shards projects are spread. Never changed after the first start.
pub(crate) const SHARDS: &str = "/photon/creditservice/shards";
/// Below it: who is there, and who owns what. All processes follow it.
pub(crate) const CLUSTER: &str = "/photon/creditservice/cluster/";
/// Below it: the processes, under their leases.
pub(crate) const PROCESSES: &str = "/photon/creditservice/cluster/process/";
/// Below it: the owners of shards, under the leases of their processes.
pub(crate) const OWNERS: &str = "/photon/creditservice/cluster/owner/";
/// Below it: what others may read of wallets.
pub(crate) const PUBLIC_WALLETS: &str = "/photon/creditservice/public/wallets/";

/// Who owns a shard.
pub(crate) fn owner(shard: Shard) -> String {
    format!("{OWNERS}{}", shard.number())
}

/// A process of this service.
pub(crate) fn process(instance: &str) -> String {
    format!("{PROCESSES}{instance}")
}

/// The number of a shard's owners so far.
pub(crate) fn epoch(shard: Shard) -> String {
    format!("{ROOT}/shard/{}/epoch", shard.number())
}

/// The last block of a shard's journal.
pub(crate) fn head(shard: Shard) -> String {
    format!("{ROOT}/shard/{}/head", shard.number())
}

/// Up to which entry everything is in pages.
pub(crate) fn paged(shard: Shard) -> String {
    format!("{ROOT}/shard/{}/paged", shard.number())
}

/// Up to which block the journal was exported.
pub(crate) fn exported(shard: Shard) -> String {
    format!("{ROOT}/shard/{}/exported", shard.number())
}

/// Below it: a shard's blocks.
pub(crate) fn journal(shard: Shard) -> String {
    format!("{ROOT}/journal/{}/", shard.number())
}

/// A block.
pub(crate) fn block(shard: Shard, number: u64) -> String {
    format!("{}{number:016x}", journal(shard))
}

/// Below it: a shard's snapshots, by block, and behind them which one is current.
pub(crate) fn snapshots(shard: Shard) -> String {
    format!("{ROOT}/snapshot/{}/", shard.number())
}

/// Below it: the chunks of a snapshot of the state after a block.
pub(crate) fn snapshot(shard: Shard, block: u64) -> String {
    format!("{}{block:016x}/", snapshots(shard))
}

/// A chunk of a snapshot.
pub(crate) fn chunk(shard: Shard, block: u64, number: u32) -> String {
    format!("{}{number:08x}", snapshot(shard, block))
}

/// Which snapshot to begin with.
pub(crate) fn current_snapshot(shard: Shard) -> String {
    format!("{}current", snapshots(shard))
}

/// Below it: a project's pages.
pub(crate) fn history(project: &Name) -> String {
    format!("{ROOT}/history/{project}/")
}

/// A page, by its first entry.
pub(crate) fn page(project: &Name, first: u64) -> String {
    format!("{}{first:016x}", history(project))
}

/// What others may read of a wallet.
pub(crate) fn public_wallet(project: &Name) -> String {
    format!("{PUBLIC_WALLETS}{project}")
}
