//! The configuration as it is served: one immutable value per generation, found by host and path.
//!
//! It is built from resources; what did not change keeps its `Arc`, so that signers and documents that were built on
//! first use survive the swap.

mod clients;
mod issuers;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

pub use self::clients::Clients;
use self::issuers::Issuers;
use crate::config::{Client, Realm, Resource};
use crate::discovery;
use crate::document::Document;
use crate::id::RealmId;
use crate::keys::Keys;

/// Everything a fleet serves.
#[derive(Clone, Debug, Default)]
pub struct Served {
    issuers: Issuers,
    realms: HashMap<RealmId, Arc<ServedRealm>>,
    /// What is known of realms that cannot be served yet: rules, keys or clients that wait for the rest.
    waiting: HashMap<RealmId, Parts>,
}

/// A realm with its keys and clients, ready to serve.
#[derive(Clone, Debug)]
pub struct ServedRealm {
    /// The realm's rules.
    pub realm: Arc<Realm>,
    /// The realm's keys, with what was made of them so far.
    pub keys: Arc<Keys>,
    /// The realm's clients.
    pub clients: Arc<Clients>,
    discovery: Arc<OnceLock<Document>>,
}

impl ServedRealm {
    /// A realm ready to serve. Documents are made on first use.
    pub fn new(realm: Arc<Realm>, keys: Arc<Keys>, clients: Arc<Clients>) -> Self {
        Self {
            realm,
            keys,
            clients,
            discovery: Arc::default(),
        }
    }

    /// The realm's metadata (OpenID Connect Discovery 1.0 §3, RFC 8414 §2).
    pub fn discovery(&self) -> &Document {
        self.discovery
            .get_or_init(|| discovery::document(&self.realm, &self.keys))
    }

    /// The realm's JWK Set (RFC 7517 §5).
    pub fn jwks(&self) -> &Document {
        self.keys.jwks()
    }

    /// The client of that id.
    pub fn client(&self, client_id: &str) -> Option<&Arc<Client>> {
        self.clients.get(client_id)
    }
}

impl Served {
    /// The realm whose issuer matches `authority` and is the longest prefix of `path`, with the rest of the path
    /// (`/oauth2/token`). A prefix ends at a slash: `/auth` does not serve `/authority`.
    pub fn find<'s, 'p>(&'s self, authority: &str, path: &'p str) -> Option<(&'s Arc<ServedRealm>, &'p str)> {
        self.issuers.find(authority, path)
    }

    /// The realm of that id.
    pub fn realm(&self, id: RealmId) -> Option<&Arc<ServedRealm>> {
        self.realms.get(&id)
    }

    /// Whether anything of that realm is here, although it may not be possible to serve it.
    pub fn knows(&self, id: RealmId) -> bool {
        self.realms.contains_key(&id) || self.waiting.contains_key(&id)
    }

    /// All realms, in no order.
    pub fn realms(&self) -> impl Iterator<Item = &Arc<ServedRealm>> {
        self.realms.values()
    }

    /// This configuration with `changes` applied: resources to put, and what to remove by kind and key. Realms that
    /// nothing touches keep their `Arc`.
    #[must_use]
    pub fn with(&self, changes: Vec<Change>) -> Self {
        let mut realms = self.realms.clone();
        let mut waiting = self.waiting.clone();
        let mut touched: HashMap<RealmId, Parts> = HashMap::new();
        for change in changes {
            let id = change.realm();
            touched
                .entry(id)
                .or_insert_with(|| {
                    realms
                        .remove(&id)
                        .map(|served| Parts::of(&served))
                        .or(waiting.remove(&id))
                        .unwrap_or_default()
                })
                .apply(change);
        }
        let mut issuers = self.issuers.clone();
        for (id, parts) in touched {
            if let Some(before) = self.realms.get(&id) {
                issuers.remove(before);
            }
            match parts {
                Parts {
                    realm: Some(realm),
                    keys: Some(keys),
                    clients,
                    discovery,
                } => {
                    let served = Arc::new(ServedRealm {
                        realm,
                        keys,
                        clients,
                        discovery,
                    });
                    issuers.put(&served);
                    realms.insert(id, served);
                }
                parts if parts.is_empty() => {}
                parts => {
                    waiting.insert(id, parts);
                }
            }
        }
        Self {
            issuers,
            realms,
            waiting,
        }
    }
}

/// One change of the served configuration.
#[derive(Clone, Debug)]
pub enum Change {
    /// Add or replace.
    Put(Box<Resource>),
    /// Remove a realm's rules: it is no longer served.
    RemoveRealm(RealmId),
    /// Remove a realm's keys: it is no longer served.
    RemoveKeys(RealmId),
    /// Remove a client.
    RemoveClient(RealmId, String),
}

impl Change {
    fn realm(&self) -> RealmId {
        match self {
            Self::Put(resource) => resource.realm(),
            Self::RemoveRealm(realm) | Self::RemoveKeys(realm) | Self::RemoveClient(realm, _) => *realm,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Parts {
    realm: Option<Arc<Realm>>,
    keys: Option<Arc<Keys>>,
    clients: Arc<Clients>,
    /// Made from rules and keys, so kept while only clients change.
    discovery: Arc<OnceLock<Document>>,
}

impl Parts {
    fn of(served: &ServedRealm) -> Self {
        let ServedRealm {
            realm,
            keys,
            clients,
            discovery,
        } = served;
        Self {
            realm: Some(Arc::clone(realm)),
            keys: Some(Arc::clone(keys)),
            clients: Arc::clone(clients),
            discovery: Arc::clone(discovery),
        }
    }

    fn is_empty(&self) -> bool {
        self.realm.is_none() && self.keys.is_none() && self.clients.is_empty()
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put(resource) => self.put(*resource),
            Change::RemoveRealm(_) => self.realm = None,
            Change::RemoveKeys(_) => self.keys = None,
            Change::RemoveClient(_, client_id) => {
                Arc::make_mut(&mut self.clients).remove(&client_id);
            }
        }
    }

    fn put(&mut self, resource: Resource) {
        match resource {
            Resource::Realm(realm) => {
                self.realm = Some(Arc::new(realm));
                self.discovery = Arc::default();
            }
            Resource::Keys(keys) => {
                self.keys = Some(Arc::new(Keys::new(keys)));
                self.discovery = Arc::default();
            }
            Resource::Client(client) => Arc::make_mut(&mut self.clients).put(client),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn put(issuer: &str) -> [Change; 2] {
        [
            Change::Put(Resource::Realm(testing::realm_of(issuer)).into()),
            Change::Put(Resource::Keys(testing::key_set(issuer)).into()),
        ]
    }

    fn found<'s, 'p>(served: &'s Served, authority: &str, path: &'p str) -> Option<(&'s str, &'p str)> {
        let (realm, rest) = served.find(authority, path)?;
        Some((realm.realm.issuer.as_str(), rest))
    }

    #[test]
    fn the_longest_issuer_is_found_and_a_prefix_ends_at_a_slash() {
        let issuers = [
            "https://a.example",
            "https://a.example/auth",
            "https://a.example/auth/deep",
            "https://b.example/b",
        ];
        let served = Served::default().with(issuers.into_iter().flat_map(put).collect());
        assert_eq!(found(&served, "a.example", "/login"), Some((issuers[0], "/login")));
        assert_eq!(found(&served, "a.example", "/auth"), Some((issuers[1], "")));
        assert_eq!(found(&served, "a.example", "/auth/deep/x"), Some((issuers[2], "/x")));
        assert_eq!(
            found(&served, "a.example", "/authority"),
            Some((issuers[0], "/authority"))
        );
        assert_eq!(found(&served, "b.example", "/b/"), Some((issuers[3], "/")));
        assert_eq!(found(&served, "b.example", "/"), None);
        assert_eq!(found(&served, "c.example", "/"), None);
    }

    #[test]
    fn a_realm_that_is_removed_is_found_no_more_and_its_neighbours_are() {
        let issuers = ["https://a.example", "https://a.example/auth"];
        let served = Served::default().with(issuers.into_iter().flat_map(put).collect());
        let without = served.with(vec![Change::RemoveRealm(RealmId::of_issuer(issuers[1]))]);
        assert_eq!(found(&without, "a.example", "/auth/x"), Some((issuers[0], "/auth/x")));
        let without = without.with(vec![Change::RemoveKeys(RealmId::of_issuer(issuers[0]))]);
        assert_eq!(found(&without, "a.example", "/"), None);
        assert!(without.knows(RealmId::of_issuer(issuers[0])), "its rules wait for keys");
        let again = without.with(put(issuers[0]).to_vec());
        assert_eq!(found(&again, "a.example", "/"), Some((issuers[0], "/")));
    }

    #[test]
    fn a_place_is_of_the_realm_that_came_last_and_only_that_one_gives_it_up() {
        let issuers = ["https://localhost:8443/auth", "http://localhost:8443/auth"];
        let served = Served::default()
            .with(put(issuers[0]).to_vec())
            .with(put(issuers[1]).to_vec());
        assert_eq!(found(&served, "localhost:8443", "/auth"), Some((issuers[1], "")));
        let still = served.with(vec![Change::RemoveRealm(RealmId::of_issuer(issuers[0]))]);
        assert_eq!(found(&still, "localhost:8443", "/auth"), Some((issuers[1], "")));
        let gone = still.with(vec![Change::RemoveRealm(RealmId::of_issuer(issuers[1]))]);
        assert_eq!(found(&gone, "localhost:8443", "/auth"), None);
    }

    #[test]
    fn realms_of_one_path_on_many_hosts_do_not_stand_for_each_other() {
        let hosts: Vec<String> = (0..200).map(|number| format!("host-{number}.example")).collect();
        let issuers: Vec<String> = hosts.iter().map(|host| format!("https://{host}/auth")).collect();
        let served = Served::default().with(issuers.iter().flat_map(|issuer| put(issuer)).collect());
        for (host, issuer) in hosts.iter().zip(&issuers) {
            assert_eq!(found(&served, host, "/auth/login"), Some((issuer.as_str(), "/login")));
            assert_eq!(found(&served, host, "/login"), None);
        }
    }

    proptest! {
        #[test]
        fn lookup_agrees_with_comparing_every_issuer(
            paths in proptest::collection::btree_set("(/[ab]{1,2}){0,3}", 1..6),
            path in "(/[ab]{1,2}){0,4}/?",
        ) {
            let issuers: Vec<String> = paths.iter().map(|path| format!("https://a.example{path}")).collect();
            let served = Served::default().with(issuers.iter().flat_map(|issuer| put(issuer)).collect());
            let expected = paths
                .iter()
                .filter_map(|issuer_path| Some((issuer_path.len(), path.strip_prefix(issuer_path.as_str())?)))
                .filter(|(_, rest)| rest.is_empty() || rest.starts_with('/'))
                .max();
            let found = served.find("a.example", &path);
            prop_assert_eq!(found.map(|(realm, rest)| (realm.realm.issuer.path().len(), rest)), expected);
        }
    }
}
