//! Which objects are ours, where several operators share a cluster: the AuthServers of our class, and what hangs on
//! them. What hangs on nothing is looked after by the operator of the default class.

use crds::AuthServerSpec;

use super::{ObjectKey, World};

impl World {
    /// Leaves out what belongs to operators of other classes.
    pub fn keep_class(&mut self, class: &str) {
        let is_default = class == AuthServerSpec::DEFAULT_OPERATOR_CLASS;
        let mut others: Vec<ObjectKey> = Vec::new();
        self.auth_servers.retain(|key, server| {
            let is_ours = server.spec.operator_class == class;
            if !is_ours {
                others.push(key.clone());
            }
            is_ours
        });
        if others.is_empty() && is_default {
            return;
        }
        let servers = &self.auth_servers;
        let is_ours =
            |known: bool, key: &ObjectKey, others: &[ObjectKey]| known || (is_default && !others.contains(key));
        let mut other_realms: Vec<ObjectKey> = Vec::new();
        self.realms.retain(|key, realm| {
            let reference = &realm.spec.server_ref;
            let namespace = reference
                .namespace
                .as_ref()
                .map_or(key.namespace.as_str(), |name| name.as_str());
            let server = ObjectKey::new(namespace, reference.name.as_str());
            let kept = is_ours(servers.contains_key(&server), &server, &others);
            if !kept {
                other_realms.push(key.clone());
            }
            kept
        });
        let realms = &self.realms;
        self.clients.retain(|key, client| {
            let reference = &client.spec.realm_ref;
            let namespace = reference
                .namespace
                .as_ref()
                .map_or(key.namespace.as_str(), |name| name.as_str());
            let realm = ObjectKey::new(namespace, reference.name.as_str());
            is_ours(realms.contains_key(&realm), &realm, &other_realms)
        });
    }
}
