//! The clients of one realm, and the web origins that they allow together.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use crate::config::Client;

/// The clients of a realm by `client_id`.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    by_id: HashSet<ById>,
    /// The origins that any of them allows, collected on first use.
    origins: OnceLock<BTreeSet<String>>,
}

/// A client that is found by the `client_id` in it.
#[derive(Clone, Debug)]
struct ById(Arc<Client>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        &self.0.client_id
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.client_id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.client_id == other.0.client_id
    }
}

impl Eq for ById {}

impl Clients {
    /// The client of that id.
    pub fn get(&self, client_id: &str) -> Option<&Arc<Client>> {
        self.by_id.get(client_id).map(|ById(client)| client)
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.by_id.iter().map(|ById(client)| client)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether one of them allows `origin`.
    pub fn allow(&self, origin: &str) -> bool {
        let origins = || self.all().flat_map(|client| &client.allowed_origins).cloned().collect();
        self.origins.get_or_init(origins).contains(origin)
    }

    /// Adds a client, in place of a former one of its id.
    pub(super) fn put(&mut self, client: Client) {
        self.by_id.replace(ById(Arc::new(client)));
        self.origins.take();
    }

    /// Removes the client of that id.
    pub(super) fn remove(&mut self, client_id: &str) {
        self.by_id.remove(client_id);
        self.origins.take();
    }
}

impl FromIterator<Arc<Client>> for Clients {
    fn from_iter<I: IntoIterator<Item = Arc<Client>>>(clients: I) -> Self {
        Self {
            by_id: clients.into_iter().map(ById).collect(),
            origins: OnceLock::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_client_is_found_by_its_id_as_it_was_put_last() {
        let mut clients = Clients::default();
        for name in ["Former", "Latter"] {
            clients.put(Client {
                display_name: name.to_owned(),
                ..testing::client("app")
            });
        }
        assert_eq!(clients.get("app").map(|client| &*client.display_name), Some("Latter"));
        assert_eq!((clients.all().count(), clients.get("other")), (1, None));
        clients.remove("app");
        assert!(clients.is_empty());
    }

    #[test]
    fn the_allowed_origins_are_those_of_the_clients_of_now() {
        let mut clients = Clients::default();
        let origin = "https://app.example";
        assert!(!clients.allow(origin));
        clients.put(testing::client("app"));
        assert!(clients.allow(origin));
        clients.remove("app");
        assert!(!clients.allow(origin));
    }
}
