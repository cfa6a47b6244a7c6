//! The doors, each with one way to say who asks.

mod etcd;
mod gateway;
mod native;
mod rest;

pub(super) use self::gateway::Gateway;
use self::{etcd::Etcd, native::Native, rest::Rest};
use super::{
    ask::{Ask, Verdict},
    guarded::{Guarded, PASSWORD},
};

/// One door, one caller.
pub(super) struct Door {
    pub(super) name: &'static str,
    kind: Kind,
}

enum Kind {
    Rest(Rest),
    Native(Native),
    Etcd(Etcd),
    Gateway(Gateway),
}

impl Door {
    /// Every door at which a certificate says who asks; nobody's shows none.
    pub(super) fn by_certificate(node: &Guarded, who: Option<&str>) -> Vec<Self> {
        let rest = Rest::new(node, node.http(who), None);
        let native = Native::new(node.channel(who), None);
        let etcd = Etcd::new(node.channel(who), None);
        vec![
            Self::new("REST by certificate", Kind::Rest(rest)),
            Self::new("native by certificate", Kind::Native(native)),
            Self::new("etcd by certificate", Kind::Etcd(etcd)),
        ]
    }

    /// Every door with a token; the connection shows the certificate of `shown`, or none.
    pub(super) fn by_token(node: &Guarded, token: &str, shown: Option<&str>) -> Vec<Self> {
        let rest = Rest::new(node, node.http(shown), Some(token));
        let native = Native::new(node.channel(shown), Some(token));
        let etcd = Etcd::new(node.channel(shown), Some(token));
        let gateway = Gateway::new(node, node.http(shown), Some(token));
        vec![
            Self::new("REST by token", Kind::Rest(rest)),
            Self::new("native by token", Kind::Native(native)),
            Self::new("etcd by token", Kind::Etcd(etcd)),
            Self::new("gateway by token", Kind::Gateway(gateway)),
        ]
    }

    /// The gateway with nothing but a certificate.
    pub(super) fn gateway_by_certificate(node: &Guarded, who: Option<&str>) -> Self {
        let gateway = Gateway::new(node, node.http(who), None);
        Self::new("gateway by certificate", Kind::Gateway(gateway))
    }

    /// All doors through which `user` may come.
    pub(super) async fn of(node: &Guarded, user: &str) -> Vec<Self> {
        let token = node.login(user, PASSWORD).await.unwrap();
        let mut doors = Self::by_certificate(node, Some(user));
        doors.extend(Self::by_token(node, &token, None));
        doors
    }

    fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind }
    }

    /// The door's verdict; none for what it does not offer.
    pub(super) async fn ask(&self, ask: Ask) -> Option<Verdict> {
        match &self.kind {
            Kind::Rest(door) => door.ask(ask).await,
            Kind::Native(door) => door.ask(ask).await,
            Kind::Etcd(door) => Some(door.ask(ask).await),
            Kind::Gateway(door) => Some(door.ask(ask).await),
        }
    }
}
