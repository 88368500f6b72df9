//! Fleets of many realms and clients as values, and what their callers send.

use anyhow::{Context as _, Result};
use oidc::config::{Resource, SignatureAlgorithm};
use oidc::endpoint;

use crate::fleet;
use crate::sources::{basic, get, post};

/// How many realms, and how many clients spread over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) realms: usize,
    pub(super) clients: usize,
}

/// A client and where it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) issuer: String,
    pub(super) client_id: String,
}

/// Every other realm has a host of its own; the others share one host and have a path each.
fn issuer(number: usize) -> String {
    if number.is_multiple_of(2) {
        format!("https://realm-{number}.id.example")
    } else {
        format!("https://id.example/realm-{number}")
    }
}

/// All resources of a fleet of that size. Each realm has an ES256 key of its own, which signs, and, as realms have by
/// default, an RS256 key beside it; that one is the same in all of them, because thousands would take an hour to make.
pub(super) fn resources(size: Size) -> Result<Vec<Resource>> {
    let rsa = fleet::signing_keys(&[SignatureAlgorithm::Rs256])?;
    let mut resources = Vec::with_capacity(size.realms * 2 + size.clients);
    for number in 0..size.realms {
        let issuer = issuer(number);
        let mut signing = fleet::signing_keys(&[SignatureAlgorithm::Es256])?;
        signing.extend(rsa.iter().cloned());
        resources.push(Resource::Realm(fleet::realm(
            &issuer,
            &format!("bench/realm-{number}"),
        )?));
        resources.push(Resource::Keys(fleet::key_set(&issuer, signing)));
    }
    for caller in callers(size) {
        resources.push(Resource::Client(fleet::client(&caller.issuer, &caller.client_id)?));
    }
    Ok(resources)
}

/// The clients, spread evenly over the realms.
pub(super) fn callers(size: Size) -> Vec<Caller> {
    let caller = |number: usize| Caller {
        issuer: issuer(number % size.realms.max(1)),
        client_id: format!("client-{number}"),
    };
    (0..size.clients).map(caller).collect()
}

impl Caller {
    /// Host and path of the issuer.
    fn host_and_path(&self) -> Result<(&str, &str)> {
        let rest = self.issuer.split_once("://").context("an issuer is a URL")?.1;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Ok((host, path))
    }

    /// A request for a token in the client's own name (RFC 6749 §4.4).
    pub(super) fn token_request(&self) -> Result<Vec<u8>> {
        let (host, path) = self.host_and_path()?;
        let path = format!("{path}{}", endpoint::TOKEN);
        let form = [("grant_type", "client_credentials"), ("scope", "orders:read")];
        Ok(post(host, &path, &[("authorization", &basic(&self.client_id))], &form))
    }

    /// A request for a document below the issuer.
    pub(super) fn document_request(&self, document: &str) -> Result<Vec<u8>> {
        let (host, path) = self.host_and_path()?;
        Ok(get(host, &format!("{path}{document}"), &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_spread_over_hosts_and_paths() {
        let size = Size { realms: 2, clients: 3 };
        let places: Vec<String> = callers(size).into_iter().map(|caller| caller.issuer).collect();
        let (host, path) = ("https://realm-0.id.example", "https://id.example/realm-1");
        assert_eq!(places, [host, path, host]);
        let resources = resources(size).unwrap();
        assert_eq!(resources.len(), 2 * 2 + 3);
        let folder = tempfile::tempdir().unwrap();
        assert!(fleet::write(folder.path(), resources).unwrap() > 0);
    }

    #[test]
    fn requests_name_host_and_path_apart() {
        let callers = callers(Size { realms: 2, clients: 2 });
        let requests: Vec<String> = callers
            .iter()
            .map(|caller| String::from_utf8(caller.token_request().unwrap()).unwrap())
            .collect();
        assert!(requests[0].starts_with("POST /oauth2/token HTTP/1.1\r\nhost: realm-0.id.example\r\n"));
        assert!(requests[1].starts_with("POST /realm-1/oauth2/token HTTP/1.1\r\nhost: id.example\r\n"));
        assert!(requests[1].ends_with("content-length: 49\r\n\r\ngrant_type=client_credentials&scope=orders%3Aread"));
    }
}
