//! Which URLs images may be fetched from, and which addresses may be asked for them. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use photon_core::Error;
use reqwest::Url;

/// The operators' list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed(Vec<Url>);

impl Allowed {
    /// Of URLs, which stand for all that are below them, and of hosts, which stand for all of theirs by https.
    ///
    /// # Errors
    /// The entry that is neither.
    pub(crate) fn parse(entries: &[String]) -> Result<Self, String> {
        let parsed = entries.iter().map(|entry| {
            let url = match entry.contains("://") {
                true => Url::parse(entry),
                false => Url::parse(&format!("https://{entry}/")),
            };
            let url = url.map_err(|error| format!("{entry:?}: {error}"))?;
            let is_plain =
                url.query().is_none() && url.fragment().is_none() && has_plain_origin(&url);
            let is_host = entry.contains("://") || !entry.contains('/');
            match is_plain && is_host {
                true => Ok(url),
                false => Err(format!("{entry:?} must be a host, or an http or https URL")),
            }
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// The URL, if it is on the list.
    ///
    /// # Errors
    /// 400 naming `url`.
    pub(crate) fn check(&self, text: &str) -> Result<Url, Error> {
        let refused = |constraint, why: &str| Error::validation("url", constraint, why);
        let url = Url::parse(text).map_err(|error| {
            Error::validation("url", "pattern", format!("url is not valid: {error}"))
        })?;
        if !has_plain_origin(&url) {
            let why = "url must be http or https, without a user and a password";
            return Err(refused("pattern", why));
        }
        if self.0.is_empty() {
            let why =
                "url: nothing is fetched here, images.url_allow is empty; upload the image instead";
            return Err(refused("allowed", why));
        }
        if !self.0.iter().any(|entry| is_below(&url, entry)) {
            let why = "url is not below any that images may be fetched from";
            return Err(refused("allowed", why));
        }
        let address = url.host_str().and_then(|host| {
            host.trim_start_matches('[')
                .trim_end_matches(']')
                .parse::<IpAddr>()
                .ok()
        });
        match address {
            Some(address) if !is_public(address) => Err(refused(
                "address",
                "url leads to an address that is not public",
            )),
            _ => Ok(url),
        }
    }
}

fn has_plain_origin(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
}

/// The parser has removed what would lead up again.
fn is_below(url: &Url, entry: &Url) -> bool {
    let path = entry.path().trim_end_matches('/');
    let rest = url.path().strip_prefix(path);
    url.scheme() == entry.scheme()
        && url.host_str() == entry.host_str()
        && url.port_or_known_default() == entry.port_or_known_default()
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether an address is one of the public internet: not of this machine, of its network, or of anybody's private one.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || a >= 224
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // What is given out; without documentation, and without what carries IPv4 addresses in it.
    a & 0xe000 == 0x2000 && a != 0x2002 && !(a == 0x2001 && (b == 0 || b == 0xdb8))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn allowed(entries: &[&str]) -> Allowed {
        let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
        Allowed::parse(&entries).unwrap()
    }

    #[test]
    fn only_what_is_listed_is_fetched() {
        let list = allowed(&[
            "images.example.org",
            "http://mirror.example.org:8080/cloud/",
        ]);
        for good in [
            "https://images.example.org/a/b.qcow2?x=1",
            "https://images.example.org:443/a",
            "http://mirror.example.org:8080/cloud/a",
            "http://mirror.example.org:8080/x/../cloud/a",
        ] {
            list.check(good).unwrap();
        }
        for bad in [
            "",
            "images.example.org/a",
            "http://images.example.org/a",
            "https://images.example.org.evil.org/a",
            "https://images.example.org@evil.org/a",
            "https://user@images.example.org/a",
            "https://images.example.org:8443/a",
            "http://mirror.example.org:8080/cloudy/a",
            "http://mirror.example.org:8080/cloud/../etc",
            "http://mirror.example.org:8080/cloud/%2e%2e/etc",
            "file:///etc/passwd",
            "ftp://images.example.org/a",
        ] {
            let error = list.check(bad).unwrap_err();
            assert_eq!(error.details().unwrap()["field"], "url", "{bad}");
        }
        let none = allowed(&[])
            .check("https://images.example.org/a")
            .unwrap_err();
        assert!(
            none.message().contains("images.url_allow is empty"),
            "{none}"
        );
        for bad in ["", "ftp://a", "a b", "a/b", "https://u@a/", "https://a/?q"] {
            Allowed::parse(&[bad.to_owned()]).unwrap_err();
        }
    }

    #[test]
    fn addresses_of_this_house_are_not_asked() {
        for bad in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(bad.parse().unwrap()), "{bad}");
        }
        for good in ["1.1.1.1", "151.101.2.132", "2a04:4e42::644", "2001:41d0::1"] {
            assert!(is_public(good.parse().unwrap()), "{good}");
        }
        let list = allowed(&["http://127.0.0.1:1/", "http://[::1]:1/"]);
        for bad in [
            "http://127.0.0.1:1/a",
            "http://[::1]:1/a",
            "http://2130706433:1/a",
        ] {
            let error = list.check(bad).unwrap_err();
            assert_eq!(error.details().unwrap()["constraint"], "address", "{bad}");
        }
    }
}
