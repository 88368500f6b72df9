//! Where a request came from and which host it was sent to, through proxies that are believed.
//!
//! Forwarded headers count only when the connection itself comes from a configured network: anybody can write them.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::{IpAddr, Ipv6Addr};

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::http::uri::Authority;
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The host a browser asked for, and the address it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestOrigin<'r> {
    /// Host with port as in `Host`, in lower case, without a default port; empty when there is none.
    pub(crate) authority: Cow<'r, str>,
    address: Option<IpAddr>,
    source: OnceCell<String>,
}

impl RequestOrigin<'_> {
    /// Address of the nearest party that no configured proxy speaks for. Of an IPv6 address only the /64 network: every
    /// subscriber has all of its addresses, and would have as many attempts. Only people's requests are asked for it.
    pub(crate) fn source(&self) -> &str {
        self.source
            .get_or_init(|| self.address.map(source_of).unwrap_or_default())
    }
}

/// Reads both from `request`.
pub(crate) fn of<'r>(request: &'r HttpRequest, trusted: &[IpNet]) -> RequestOrigin<'r> {
    let peer = request.peer_addr().map(|address| address.ip().to_canonical());
    let host = request.uri().authority().map(Authority::as_str);
    let host = host.or_else(|| single(request.headers(), &header::HOST));
    resolve(request.headers(), peer, host, trusted)
}

fn resolve<'r>(
    headers: &'r HeaderMap,
    peer: Option<IpAddr>,
    host: Option<&'r str>,
    trusted: &[IpNet],
) -> RequestOrigin<'r> {
    let believed = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut address = peer;
    let mut authority = host;
    if peer.is_some_and(believed) {
        let chain = headers
            .get_all(&X_FORWARDED_FOR)
            .filter_map(|value| value.to_str().ok())
            .collect::<Vec<_>>()
            .join(",");
        for hop in chain.rsplit(',').map(str::trim) {
            let Ok(hop) = hop.parse::<IpAddr>() else { break };
            address = Some(hop.to_canonical());
            if !believed(hop.to_canonical()) {
                break;
            }
        }
        if let Some(forwarded) = single(headers, &X_FORWARDED_HOST) {
            authority = Some(forwarded);
        }
    }
    RequestOrigin {
        authority: normal_authority(authority.unwrap_or_default()),
        address,
        source: OnceCell::new(),
    }
}

fn source_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(_) => address.to_string(),
        IpAddr::V6(address) => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

/// The only value of a header that may occur once; `None` when absent, repeated or not text.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let first = values.next()?;
    if values.next().is_some() {
        return None;
    }
    first.to_str().ok()
}

fn normal_authority(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    let text = text
        .strip_suffix(":443")
        .or_else(|| text.strip_suffix(":80"))
        .unwrap_or(text);
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn check(peer: &str, headers: &[(&'static str, &'static str)], authority: &str, source: &str) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let origin = resolve(&map, Some(peer.parse().unwrap()), Some("Inner.Example:80"), &trusted);
        assert_eq!((&*origin.authority, origin.source()), (authority, source));
    }

    #[test]
    fn forwarded_headers_of_strangers_are_ignored() {
        let lies = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-host", "evil.example")];
        check("203.0.113.9", &lies, "inner.example", "203.0.113.9");
    }

    #[test]
    fn a_trusted_proxy_speaks_for_the_nearest_stranger() {
        check(
            "10.1.1.1",
            &[("x-forwarded-for", "6.6.6.6, 198.51.100.7, 10.2.2.2")],
            "inner.example",
            "198.51.100.7",
        );
        check(
            "10.1.1.1",
            &[("x-forwarded-host", "Login.Example:443")],
            "login.example",
            "10.1.1.1",
        );
        check(
            "10.1.1.1",
            &[("x-forwarded-for", "garbage")],
            "inner.example",
            "10.1.1.1",
        );
        check(
            "10.1.1.1",
            &[("x-forwarded-host", "a.example"), ("x-forwarded-host", "b.example")],
            "inner.example",
            "10.1.1.1",
        );
    }

    #[test]
    fn all_addresses_of_an_ipv6_subscriber_are_one_source() {
        for peer in ["2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"] {
            check(peer, &[], "inner.example", "2001:db8:1:2::/64");
        }
        check("2001:db8:1:3::1", &[], "inner.example", "2001:db8:1:3::/64");
        check(
            "10.1.1.1",
            &[("x-forwarded-for", "::ffff:192.0.2.1")],
            "inner.example",
            "192.0.2.1",
        );
    }
}
