//! What resources say alike, kept once: nearly every realm has the standard scopes, and the clients of a realm ask for
//! much the same.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use super::{Client, ClientTokens, GrantType, Realm, Resource, Scope};

/// The values that resources have in common.
#[derive(Debug, Default)]
pub struct Shared {
    scopes: HashSet<Arc<BTreeMap<String, Scope>>>,
    lists: HashSet<Arc<[String]>>,
    grants: HashSet<Arc<[GrantType]>>,
    tokens: HashSet<Arc<ClientTokens>>,
}

impl Shared {
    /// Lets `resource` hold what another one has said before in place of a copy of its own.
    pub fn share(&mut self, resource: &mut Resource) {
        match resource {
            Resource::Realm(Realm {
                scopes,
                audiences,
                locales,
                ..
            }) => {
                share(&mut self.scopes, scopes);
                share(&mut self.lists, audiences);
                share(&mut self.lists, locales);
            }
            Resource::Client(Client {
                scopes,
                default_scopes,
                audiences,
                grant_types,
                tokens,
                ..
            }) => {
                share(&mut self.lists, scopes);
                share(&mut self.lists, default_scopes);
                share(&mut self.lists, audiences);
                share(&mut self.grants, grant_types);
                share(&mut self.tokens, tokens);
            }
            Resource::Keys(_) => {}
        }
    }

    /// Forgets what no resource holds any more.
    pub fn forget_unused(&mut self) {
        self.scopes.retain(|value| Arc::strong_count(value) > 1);
        self.lists.retain(|value| Arc::strong_count(value) > 1);
        self.grants.retain(|value| Arc::strong_count(value) > 1);
        self.tokens.retain(|value| Arc::strong_count(value) > 1);
    }
}

fn share<T: Eq + Hash + ?Sized>(known: &mut HashSet<Arc<T>>, value: &mut Arc<T>) {
    if let Some(same) = known.get(&*value) {
        *value = Arc::clone(same);
    } else {
        known.insert(Arc::clone(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn shared(known: &mut Shared, resource: &Resource) -> Resource {
        let mut shared = resource.clone();
        known.share(&mut shared);
        assert_eq!(shared, *resource);
        shared
    }

    #[test]
    fn realms_and_clients_hold_equal_values_once_and_what_nobody_holds_is_forgotten() {
        let mut known = Shared::default();
        let issuers = ["https://a.example", "https://b.example"];
        let realms = issuers.map(|issuer| shared(&mut known, &Resource::Realm(testing::realm_of(issuer))));
        let clients = ["app", "other"].map(|id| shared(&mut known, &Resource::Client(testing::client(id))));
        let [Resource::Realm(one), Resource::Realm(other)] = &realms else {
            panic!("realms")
        };
        assert!(Arc::ptr_eq(&one.scopes, &other.scopes) && Arc::ptr_eq(&one.locales, &other.locales));
        let [Resource::Client(one), Resource::Client(other)] = &clients else {
            panic!("clients")
        };
        assert!(Arc::ptr_eq(&one.scopes, &other.scopes) && !Arc::ptr_eq(&one.scopes, &one.default_scopes));
        assert!(Arc::ptr_eq(&one.grant_types, &other.grant_types) && Arc::ptr_eq(&one.tokens, &other.tokens));
        let asked_for = testing::client("app").scopes;
        assert!(known.lists.contains(&asked_for));
        drop(clients);
        known.forget_unused();
        assert_eq!((known.scopes.len(), known.lists.contains(&asked_for)), (1, false));
    }
}
