//! Which way this kernel can keep state about what crosses a bridge.

use std::fmt;

/// What the kernel offers, and with it how security groups are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// The bridge family knows connections (`CONFIG_NF_CONNTRACK_BRIDGE`).
    pub bridge_ct: bool,
    /// What crosses a bridge can be shown to the ip family (`br_netfilter`).
    pub br_netfilter: bool,
}

impl Mode {
    /// Whether groups can be enforced at all.
    #[must_use]
    pub fn is_enough(self) -> bool {
        self.bridge_ct || self.br_netfilter
    }

    /// Whether the settings of `br_netfilter` are there.
    #[must_use]
    pub fn has_br_netfilter(self) -> bool {
        self.br_netfilter
    }

    /// Whether what crosses a bridge is shown to the ip family.
    #[must_use]
    pub fn bridges_through_ip(self) -> bool {
        !self.bridge_ct && self.br_netfilter
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.bridge_ct, self.br_netfilter) {
            (true, _) => "bridge-ct",
            (false, true) => "ip-forward",
            (false, false) => "none",
        })
    }
}
