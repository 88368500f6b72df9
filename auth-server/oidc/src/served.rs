//! The configuration as it is served: one immutable value per generation, found by host and path.
//!
//! It is built from resources; what did not change keeps its `Arc`, so that signers and documents that were built on
//! first use survive the swap.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::config::{Client, Realm, Resource};
use crate::discovery;
use crate::document::Document;
use crate::id::RealmId;
use crate::keys::Keys;

/// Everything a fleet serves.
#[derive(Clone, Debug, Default)]
pub struct Served {
    by_authority: HashMap<Box<str>, Vec<Arc<ServedRealm>>>,
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
    /// The realm's clients by `client_id`.
    pub clients: Arc<HashMap<Box<str>, Arc<Client>>>,
    discovery: Arc<OnceLock<Document>>,
}

impl ServedRealm {
    /// A realm ready to serve. Documents are made on first use.
    pub fn new(realm: Arc<Realm>, keys: Arc<Keys>, clients: Arc<HashMap<Box<str>, Arc<Client>>>) -> Self {
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
        let candidates = self.by_authority.get(authority)?;
        candidates.iter().find_map(|served| {
            let rest = path.strip_prefix(served.realm.issuer.path())?;
            (rest.is_empty() || rest.starts_with('/')).then_some((served, rest))
        })
    }

    /// The realm of that id.
    pub fn realm(&self, id: RealmId) -> Option<&Arc<ServedRealm>> {
        self.realms.get(&id)
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
        for (id, parts) in touched {
            match parts {
                Parts {
                    realm: Some(realm),
                    keys: Some(keys),
                    clients,
                    discovery,
                } => {
                    realms.insert(
                        id,
                        Arc::new(ServedRealm {
                            realm,
                            keys,
                            clients,
                            discovery,
                        }),
                    );
                }
                parts if parts.is_empty() => {}
                parts => {
                    waiting.insert(id, parts);
                }
            }
        }
        let mut by_authority: HashMap<Box<str>, Vec<Arc<ServedRealm>>> = HashMap::with_capacity(realms.len());
        for served in realms.values() {
            by_authority
                .entry(served.realm.issuer.authority().into())
                .or_default()
                .push(Arc::clone(served));
        }
        for candidates in by_authority.values_mut() {
            candidates.sort_by_key(|served| std::cmp::Reverse(served.realm.issuer.path().len()));
        }
        Self {
            by_authority,
            realms,
            waiting,
        }
    }
}

/// One change of the served configuration.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "changes are moved once, from the feed into the configuration"
)]
pub enum Change {
    /// Add or replace.
    Put(Resource),
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
            Self::Put(Resource::Realm(realm)) => realm.id,
            Self::Put(Resource::Keys(keys)) => keys.realm,
            Self::Put(Resource::Client(client)) => client.realm,
            Self::RemoveRealm(realm) | Self::RemoveKeys(realm) | Self::RemoveClient(realm, _) => *realm,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Parts {
    realm: Option<Arc<Realm>>,
    keys: Option<Arc<Keys>>,
    clients: Arc<HashMap<Box<str>, Arc<Client>>>,
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
            Change::Put(Resource::Realm(realm)) => {
                self.realm = Some(Arc::new(realm));
                self.discovery = Arc::default();
            }
            Change::Put(Resource::Keys(keys)) => {
                self.keys = Some(Arc::new(Keys::new(keys)));
                self.discovery = Arc::default();
            }
            Change::Put(Resource::Client(client)) => {
                Arc::make_mut(&mut self.clients).insert(client.client_id.clone().into(), Arc::new(client));
            }
            Change::RemoveRealm(_) => self.realm = None,
            Change::RemoveKeys(_) => self.keys = None,
            Change::RemoveClient(_, client_id) => {
                Arc::make_mut(&mut self.clients).remove(client_id.as_str());
            }
        }
    }
}
