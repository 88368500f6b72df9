//! The children of an AuthServer: what a fleet needs in the cluster, one file for each kind of object.
//!
//! The pod template follows from the spec and the version of the servers only: configuration reaches running pods, so a
//! Realm that is added restarts nothing. Which image runs, who owns the number of replicas and which migration is done
//! is recorded on the live Deployment, so that a restarted or upgraded operator decides the same.

mod account;
mod deployment;
mod exposure;
mod hosts;
mod image;
pub mod infrastructure;
mod migration;
mod network;
mod overlay;
mod peer;
mod pod;
mod scaling;
mod service;
mod settings;
#[cfg(test)]
mod tests;
mod trouble;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::auth_server::{Database, Tls};
use crds::manifests::Kind;
use oidc::Timestamp;
use serde_json::Value;

use super::{Children, Desired, Owner};
use crate::world::{ChildId, ChildKind, Cluster, ObjectKey, SecretObject};

pub use hosts::Hosts;
pub use trouble::of_pod as trouble_of_pod;

/// What the operator knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its version, which is that of the servers it brings.
    pub version: String,
    /// Image of those servers.
    pub server_image: String,
    /// Where pods dial it: `host:port`.
    pub config_address: String,
}

/// What the children of one AuthServer are built from.
#[derive(Clone, Copy, Debug)]
pub struct BuildInputs<'a> {
    /// Namespace and name of the AuthServer.
    pub key: &'a ObjectKey,
    /// The AuthServer.
    pub server: &'a crds::AuthServer,
    /// Hosts and paths of the realms that it serves.
    pub hosts: &'a Hosts,
    /// What there is.
    pub cluster: &'a Cluster,
    /// Secrets, those of [`references`] among them.
    pub secrets: &'a BTreeMap<ObjectKey, Arc<SecretObject>>,
    /// The operator.
    pub operator: &'a Operator,
    /// The time.
    pub now: Timestamp,
}

impl<'a> BuildInputs<'a> {
    fn id(&self, kind: ChildKind, name: impl Into<String>) -> ChildId {
        ChildId::new(kind, self.key.namespace.clone(), name)
    }

    fn live(&self, kind: ChildKind, name: &str) -> Option<&'a Value> {
        self.cluster.children.get(&self.id(kind, name)).map(Arc::as_ref)
    }

    fn deployment(&self) -> Option<&'a Value> {
        self.live(ChildKind::Deployment, &self.key.name)
    }

    fn owner(&self) -> Owner {
        Owner {
            kind: Kind::AuthServer,
            key: self.key.clone(),
            uid: self.server.metadata.uid.clone().unwrap_or_default(),
        }
    }

    /// A child that ends with the AuthServer.
    fn child(&self, kind: ChildKind, name: impl Into<String>, body: Value) -> Desired {
        Desired::owned(self.id(kind, name), &self.owner(), body)
    }

    fn is_embedded(&self) -> bool {
        matches!(self.server.spec.database, Database::Embedded(_))
    }
}

/// The Secrets that the spec of an AuthServer names, by field.
pub fn references(key: &ObjectKey, server: &crds::AuthServer) -> BTreeMap<&'static str, ObjectKey> {
    let at = |name: &str| ObjectKey::new(key.namespace.clone(), name);
    let mut named = BTreeMap::new();
    if let Database::Postgres(postgres) = &server.spec.database {
        named.insert(
            "spec.database.postgres.secretRef",
            at(postgres.secret_ref.name.as_str()),
        );
        if let Some(ca) = &postgres.ca_secret_ref {
            named.insert("spec.database.postgres.caSecretRef", at(ca.name.as_str()));
        }
    }
    if let Some(Tls::SecretRef(secret)) = &server.spec.tls {
        named.insert("spec.tls.secretRef", at(secret.name.as_str()));
    }
    named
}

/// Everything that should be there for an AuthServer, in the order of writing.
pub fn children(inputs: &BuildInputs<'_>) -> Children {
    let choice = image::choose(inputs);
    let migration = migration::plan(inputs, &choice);
    let mut desired = vec![account::build(inputs), settings::build(inputs), service::build(inputs)];
    desired.extend(volume::build(inputs));
    desired.extend(peer::build(inputs));
    desired.extend(network::build(inputs));
    desired.extend(migration.job);
    let mut kept = BTreeSet::new();
    if migration.is_open {
        desired.extend(scaling::hand_over(inputs));
        desired.push(deployment::build(inputs, &choice, migration.key.as_deref()));
    } else {
        kept.insert(inputs.id(ChildKind::Deployment, &inputs.key.name));
    }
    desired.extend(scaling::build(inputs));
    desired.extend(exposure::build(inputs));
    Children {
        owner: inputs.owner(),
        desired,
        kept,
        again_after: migration.again_after,
    }
}
