//! What a request must look like before anybody asks who it is from.
//!
//! In dev mode a request needs no credential, so a web page that the developer happens to visit could send
//! one. Browsers cannot be stopped from sending it, but they say what they are doing: `Origin` and
//! `Sec-Fetch-Site` name a foreign page, and after DNS rebinding `Host` still names the attacker's domain.

use std::net::IpAddr;

use http::{HeaderMap, Method, Version, header, request::Parts, uri::Authority};
use photon_core::{Code, Error};

/// Refuses what another site's page may have caused.
pub(super) fn refuse_browsers(parts: &Parts) -> Result<(), Error> {
    let host = host(parts)?;
    if let Some(host) = &host
        && !is_local(host.host())
    {
        return Err(Error::forbidden(format!(
            "in dev mode the Host must be a local name, not {host}"
        )));
    }
    if let Some(site) = text(&parts.headers, "sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return Err(Error::forbidden(
            "in dev mode requests from other sites' pages are refused",
        ));
    }
    match parts.headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(origin) if is_same_origin(origin.to_str().ok(), host.as_ref()) => Ok(()),
        Some(_) => Err(Error::forbidden(
            "in dev mode requests with a foreign Origin are refused",
        )),
    }
}

/// The authority the client believes it talks to. Only HTTP/1.0 may leave it out; browsers never do.
fn host(parts: &Parts) -> Result<Option<Authority>, Error> {
    if let Some(authority) = parts.uri.authority() {
        return Ok(Some(authority.clone()));
    }
    let mut values = parts.headers.get_all(header::HOST).iter();
    let invalid = || Error::validation("host", "format", "the Host header is not a host");
    match (values.next(), values.next()) {
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| invalid())?;
            text.parse().map(Some).map_err(|_| invalid())
        }
        (None, _) if parts.version == Version::HTTP_10 => Ok(None),
        (None, _) => Err(Error::required("host")),
        (Some(_), Some(_)) => Err(invalid()),
    }
}

fn is_local(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    let address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(&name);
    address
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback())
}

fn is_same_origin(origin: Option<&str>, host: Option<&Authority>) -> bool {
    let (Some(origin), Some(host)) = (origin, host) else {
        return false;
    };
    let rest = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    rest.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_str()))
}

/// A body must say that it is JSON; requests without one need say nothing.
pub(super) fn require_json(parts: &Parts) -> Result<(), Error> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let declared = text(&parts.headers, header::CONTENT_TYPE.as_str());
    if declared.is_some_and(is_json) {
        return Ok(());
    }
    Err(Error::new(
        Code::UNSUPPORTED_MEDIA_TYPE,
        "the body must be sent with Content-Type: application/json",
    ))
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn local_hosts_pass_and_others_do_not() {
        for good in [
            "localhost",
            "localhost:8081",
            "127.0.0.1:8081",
            "[::1]:8081",
            "LOCALHOST",
            "a.localhost",
            "127.8.8.8",
        ] {
            assert!(refuse_browsers(&parts(&[("host", good)])).is_ok(), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:8081",
            "localhost.evil.example",
            "192.168.1.1",
            "127.0.0.1.nip.io",
            "10.0.0.1:80",
        ] {
            let error = refuse_browsers(&parts(&[("host", bad)])).unwrap_err();
            assert_eq!(error.code(), Code::FORBIDDEN, "{bad}");
        }
        assert_eq!(
            refuse_browsers(&parts(&[])).unwrap_err().code(),
            Code::VALIDATION_ERROR
        );
        let twice = parts(&[("host", "localhost"), ("host", "evil.example")]);
        assert_eq!(
            refuse_browsers(&twice).unwrap_err().code(),
            Code::VALIDATION_ERROR
        );
    }

    #[test]
    fn origins_must_be_our_own() {
        let with = |origin| parts(&[("host", "localhost:8081"), ("origin", origin)]);
        assert!(refuse_browsers(&with("http://localhost:8081")).is_ok());
        for bad in [
            "http://localhost:3000",
            "https://evil.example",
            "null",
            "",
            "http://localhost:8081.evil.example",
        ] {
            assert_eq!(
                refuse_browsers(&with(bad)).unwrap_err().code(),
                Code::FORBIDDEN,
                "{bad}"
            );
        }
    }

    #[test]
    fn fetch_metadata_of_other_sites_is_refused() {
        let with = |site| parts(&[("host", "localhost"), ("sec-fetch-site", site)]);
        assert!(refuse_browsers(&with("none")).is_ok());
        assert!(refuse_browsers(&with("same-origin")).is_ok());
        for bad in ["cross-site", "same-site", "x"] {
            assert_eq!(
                refuse_browsers(&with(bad)).unwrap_err().code(),
                Code::FORBIDDEN,
                "{bad}"
            );
        }
    }

    #[test]
    fn media_types() {
        for good in [
            "application/json",
            "application/json; charset=utf-8",
            "Application/JSON",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "text/plain",
            "application/jsonx",
            "application/x-www-form-urlencoded",
            "",
            "application/json-patch+json",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
