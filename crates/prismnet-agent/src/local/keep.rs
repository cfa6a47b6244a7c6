//! Keeps what was plugged as it was plugged, and forgets what is over.
//!
//! A worker repairs what is in its VPC, but cannot know where a pod's far end was, nor that a tap in the host's namespace was
//! opened while it was down, of which the kernel does not tell.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use prismnet_model::device;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{
    known::{Known, Local, StoreState},
    plugged::{Far, Plug},
    ports::{blocking, far_end, take_away},
    refusal::Refusal,
};
use crate::kernel::{
    Error,
    far::{self, Place},
    namespace::runtime,
    tap::{self, Tap},
};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// Until it is stopped.
pub async fn keep(local: Arc<Local>, stop: CancellationToken) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let look = async {
        loop {
            looks.tick().await;
            let known = local.now();
            if known.store != StoreState::Heard {
                continue;
            }
            for plug in local.plugged.all() {
                if let Err(error) = look_after(&local, &known, &plug).await {
                    tracing::warn!(port = %plug.port, %error, "what was plugged is not as it was");
                }
            }
            let over = local.metadata.all().into_keys();
            let over = over.filter(|port| known.away.contains(port)).collect();
            if let Err(error) = local.metadata.forget(&over) {
                tracing::warn!(%error, "who answered for ports that are gone is not forgotten");
            }
            if let Err(error) = close_purges(&local).await {
                tracing::warn!(%error, "what was purged is not forgotten");
            }
        }
    };
    stop.run_until_cancelled(look).await;
}

/// What was purged and is gone needs no verdict: whoever asked for it may have died before it could say so.
async fn close_purges(local: &Arc<Local>) -> Result<(), Refusal> {
    let mut over = BTreeSet::new();
    for (vpc, port) in local.verdicts.purged() {
        let namespaces = local.namespaces.clone();
        let is_there = blocking(move || {
            let is_there = |name: String| far::is_there(&namespaces, vpc, &name);
            Ok::<_, Error>(is_there(device::veth(port))? || is_there(device::tap(port))?)
        });
        if !is_there.await? {
            over.insert(port);
        }
    }
    Ok(local.verdicts.withdraw(&over)?)
}

async fn look_after(local: &Arc<Local>, known: &Known, plug: &Plug) -> Result<(), Refusal> {
    let port = plug.port;
    if known.away.contains(&port) {
        return forget(local, plug, "its port is not to be here any more").await;
    }
    if !waits(local, plug) {
        return Ok(());
    }
    match &plug.far {
        Some(far) if !far.inode.is_at(&far.namespace) => {
            forget(local, plug, "its namespace is gone").await
        }
        Some(far) => put_again(local, known, plug, far).await,
        None => wake_if_opened(local, plug).await,
    }
}

/// Whether only the device is missing.
fn waits(local: &Local, plug: &Plug) -> bool {
    let all = local.outcomes.all.lock();
    let outcome = all
        .get(&plug.vpc)
        .and_then(|outcome| outcome.ports.get(&plug.port));
    outcome.is_some_and(|outcome| outcome.waits)
}

async fn forget(local: &Arc<Local>, plug: &Plug, why: &str) -> Result<(), Refusal> {
    let _changing = local.changing.lock().await;
    // Somebody may have plugged it anew meanwhile.
    if local.plugged.get(plug.port).as_ref() != Some(plug) {
        return Ok(());
    }
    local.plugged.forget(plug.port)?;
    tracing::info!(port = %plug.port, why, "what was plugged is over");
    let (local, vpc, port) = (Arc::clone(local), plug.vpc, plug.port);
    blocking(move || take_away(&local, Some(vpc), port)).await
}

async fn put_again(
    local: &Arc<Local>,
    known: &Known,
    plug: &Plug,
    far: &Far,
) -> Result<(), Refusal> {
    let Some((vpc, port)) = known.here.get(&plug.port) else {
        return Ok(());
    };
    let _changing = local.changing.lock().await;
    if local.plugged.get(plug.port).as_ref() != Some(plug) {
        return Ok(());
    }
    let (local, vpc, id, far, end) = (
        Arc::clone(local),
        *vpc,
        plug.port,
        far.clone(),
        far_end(port),
    );
    let put = blocking(move || {
        let place = Place::open(&far.namespace, &local.namespaces)?;
        if place.inode() != far.inode {
            return Ok(false);
        }
        far::put(&local.namespaces, vpc, id, &place, &far.interface, &end)?;
        Ok::<_, Refusal>(true)
    });
    if put.await? {
        tracing::info!(port = %id, "its veth was gone and is there again");
    }
    Ok(())
}

async fn wake_if_opened(local: &Arc<Local>, plug: &Plug) -> Result<(), Refusal> {
    let (namespaces, vpc, port) = (local.namespaces.clone(), plug.vpc, plug.port);
    let find = blocking(move || {
        runtime()?.block_on(tap::find(&namespaces, &device::namespace(vpc), port))
    });
    if find.await? == (Tap::Outside { opened: true }) {
        local.outcomes.wake(vpc);
    }
    Ok(())
}
