//! The hosts and paths under which the realms of a fleet are reached, and how they are spread over objects.

use std::collections::{BTreeMap, BTreeSet};

use oidc::config::{Issuer, Resource};
use oidc::endpoint;
use snapshot::{Artefact, ResourceId};

/// Hosts in one object: certificates and routes are bounded.
pub(super) const GROUP: usize = 16;

/// By host, the paths of the realms there; the empty path is the whole host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(BTreeMap<String, BTreeSet<String>>);

impl Hosts {
    /// The hosts of the realms that a configuration serves: those that the fleet admitted.
    pub fn of(artefact: &Artefact) -> Self {
        let realms = artefact
            .entries()
            .into_keys()
            .filter(|id| matches!(id, ResourceId::Realm(_)));
        let mut hosts = Self::default();
        for resource in realms.filter_map(|id| artefact.resource(id)) {
            if let Resource::Realm(realm) = resource {
                hosts.add(&realm.issuer);
            }
        }
        hosts
    }

    /// Adds the host of an issuer. Addresses are left out: neither an Ingress nor an HTTPRoute takes them.
    pub fn add(&mut self, issuer: &Issuer) {
        let authority = issuer.authority();
        let host = authority.split(':').next().unwrap_or(authority);
        if host.is_empty() || host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() {
            return;
        }
        let paths = self.0.entry(host.to_owned()).or_default();
        paths.insert(issuer.path().to_owned());
    }

    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The path prefixes of a host that lead to the fleet. What a realm with a path does not use stays free for others.
    pub(super) fn prefixes(&self, host: &str) -> Vec<String> {
        let Some(paths) = self.0.get(host) else {
            return Vec::new();
        };
        if paths.contains("") {
            return vec!["/".to_owned()];
        }
        let metadata = paths
            .iter()
            .map(|path| format!("{}{path}", endpoint::OAUTH_AUTHORIZATION_SERVER));
        paths.iter().cloned().chain(metadata).collect()
    }
}

/// Spreads hosts over numbered groups. A host stays in the group where it is, for moving it would renew certificates.
pub(super) fn groups<'a>(
    hosts: &BTreeSet<&'a str>,
    live: &BTreeMap<usize, BTreeSet<&str>>,
) -> BTreeMap<usize, BTreeSet<&'a str>> {
    let mut groups: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    let mut placed = BTreeSet::new();
    for (number, present) in live {
        for host in hosts.iter().filter(|host| present.contains(**host)) {
            let group = groups.entry(*number).or_default();
            if group.len() < GROUP && placed.insert(*host) {
                group.insert(*host);
            }
        }
    }
    for host in hosts.iter().filter(|host| !placed.contains(*host)) {
        let number = (0..=hosts.len()).find(|number| groups.get(number).is_none_or(|group| group.len() < GROUP));
        groups.entry(number.unwrap_or_default()).or_default().insert(host);
    }
    groups.retain(|_, group| !group.is_empty());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_below_a_path_takes_only_its_path() {
        let mut hosts = Hosts::default();
        for issuer in [
            "https://login.example.com",
            "https://a.example.com/auth",
            "https://a.example.com/x",
            "https://127.0.0.1/y",
        ] {
            hosts.add(&Issuer::parse(issuer).unwrap());
        }
        assert_eq!(
            hosts.names().into_iter().collect::<Vec<_>>(),
            ["a.example.com", "login.example.com"]
        );
        assert_eq!(hosts.prefixes("login.example.com"), ["/"]);
        assert_eq!(
            hosts.prefixes("a.example.com"),
            [
                "/auth",
                "/x",
                "/.well-known/oauth-authorization-server/auth",
                "/.well-known/oauth-authorization-server/x",
            ]
        );
    }

    #[test]
    fn a_host_stays_in_its_group() {
        let names: Vec<String> = (0..20).map(|n| format!("h{n:02}")).collect();
        let hosts: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let first = groups(&hosts, &BTreeMap::new());
        assert_eq!(first.values().map(BTreeSet::len).collect::<Vec<_>>(), [16, 4]);
        let mut fewer = hosts.clone();
        fewer.remove("h00");
        let second = groups(&fewer, &first);
        assert_eq!(second.values().map(BTreeSet::len).collect::<Vec<_>>(), [15, 4]);
        fewer.insert("a-new-one");
        let third = groups(&fewer, &second);
        assert_eq!(third.values().map(BTreeSet::len).collect::<Vec<_>>(), [16, 4]);
        assert_eq!(third[&1], first[&1]);
    }
}
