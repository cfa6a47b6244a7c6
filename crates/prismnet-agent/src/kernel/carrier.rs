//! Whether a device sends already.
//!
//! A veth that is up has a carrier from the moment its other end is up, too, but sends only once the kernel's link watch has seen
//! that: until then everything is dropped. A port whose first question by ARP is lost that way asks again after a second.

use std::time::Duration;

use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, State};

use super::{Error, Namespaces, namespace::run_in, netlink::Netlink};

/// How often a device is looked at, and for how long between. Since Linux 6.8 the first look makes the kernel see the carrier.
const LOOKS: u32 = 200;
const BETWEEN: Duration = Duration::from_millis(1);

/// Waits until a device of the namespace sends, if there are both. One that does not in time is no error: its cable may be out.
///
/// # Errors
/// What cannot be read.
pub(crate) fn wait(namespaces: &Namespaces, name: &str, device: &str) -> Result<(), Error> {
    if namespaces.identity(name).is_none() {
        return Ok(());
    }
    run_in(namespaces, name, || async {
        wait_here(&Netlink::open()?, device).await
    })
}

/// The same in the namespace that netlink is of.
pub(crate) async fn wait_here(netlink: &Netlink, device: &str) -> Result<(), Error> {
    for _ in 0..LOOKS {
        match netlink.link(device).await? {
            Some(link) if !sends(&link) => tokio::time::sleep(BETWEEN).await,
            _ => return Ok(()),
        }
    }
    Ok(())
}

fn sends(link: &LinkMessage) -> bool {
    let up = LinkAttribute::OperState(State::Up);
    link.attributes.contains(&up)
}
