//! What was served last, found by the name of its custom resource. Built only when something needs it.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use oidc::config::{Client, Realm, Resource};
use snapshot::{Artefact, ResourceId};

use crate::world::ObjectKey;

pub(crate) struct Former<'a> {
    previous: &'a BTreeMap<ObjectKey, Artefact>,
    names: OnceCell<Names>,
}

#[derive(Default)]
struct Names {
    realms: BTreeMap<ObjectKey, (ObjectKey, Realm)>,
    clients: BTreeMap<ObjectKey, (ObjectKey, Client)>,
}

impl<'a> Former<'a> {
    pub(crate) fn new(previous: &'a BTreeMap<ObjectKey, Artefact>) -> Self {
        Self {
            previous,
            names: OnceCell::new(),
        }
    }

    /// The fleet and the served version of a Realm.
    pub(crate) fn realm(&self, key: &ObjectKey) -> Option<(ObjectKey, Realm)> {
        self.names().realms.get(key).cloned()
    }

    /// The fleet and the served version of a Client.
    pub(crate) fn client(&self, key: &ObjectKey) -> Option<(ObjectKey, Client)> {
        self.names().clients.get(key).cloned()
    }

    /// The custom resource that a resource of a fleet came from.
    pub(crate) fn holder(&self, fleet: &ObjectKey, id: &ResourceId) -> Option<ObjectKey> {
        match self.previous.get(fleet)?.resource(id)? {
            Resource::Realm(realm) => ObjectKey::parse(&realm.name),
            Resource::Client(client) => ObjectKey::parse(&client.name),
            Resource::Keys(_) => None,
        }
    }

    fn names(&self) -> &Names {
        self.names.get_or_init(|| {
            let mut names = Names::default();
            for (fleet, artefact) in self.previous {
                for id in artefact.entries().into_keys() {
                    match artefact.resource(id) {
                        Some(Resource::Realm(realm)) => {
                            if let Some(key) = ObjectKey::parse(&realm.name) {
                                names.realms.insert(key, (fleet.clone(), realm));
                            }
                        }
                        Some(Resource::Client(client)) => {
                            if let Some(key) = ObjectKey::parse(&client.name) {
                                names.clients.insert(key, (fleet.clone(), client));
                            }
                        }
                        Some(Resource::Keys(_)) | None => {}
                    }
                }
            }
            names
        })
    }
}
