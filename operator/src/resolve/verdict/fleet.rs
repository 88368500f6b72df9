//! What the cluster, and not a spec, says about a fleet and what attaches to it.

use crds::conditions::{ConditionType, Finding, Reason};
use crds::manifests::Kind;
use crds::reference::ObjectRef;

use super::wanted_replicas;
use crate::world::{ChildId, ChildKind, ObjectId, ObjectKey, Unreadable, World};

/// How many servers there should be: what the AuthServer asks for, or what its autoscaler has decided.
pub(super) fn desired_replicas(world: &World, key: &ObjectKey, server: &crds::AuthServer) -> i32 {
    let wanted = wanted_replicas(server);
    if server.spec.autoscaling.is_none() {
        return wanted;
    }
    let id = ChildId {
        kind: ChildKind::Deployment,
        key: key.clone(),
    };
    let deployment = world.cluster.as_ref().and_then(|cluster| cluster.children.get(&id));
    let decided = deployment.and_then(|deployment| deployment.pointer("/spec/replicas")?.as_i64());
    decided.and_then(|number| i32::try_from(number).ok()).unwrap_or(wanted)
}

/// What is said while Realms or Clients cannot be read: nothing follows from it but that they stay as they are.
pub(super) fn frozen(world: &World) -> Option<Finding> {
    let cluster = world.cluster.as_ref()?;
    let sentences = [Kind::Realm, Kind::Client].into_iter().filter_map(|kind| {
        let kind = kind.as_str();
        let fix = match cluster.unreadable.get(kind)? {
            Unreadable::Forbidden => "grant the operator the right to list them",
            Unreadable::NotInstalled => "install their definition (chart nauthera-crds) again",
        };
        Some(format!("{kind}s cannot be read and stay served as they were: {fix}"))
    });
    let sentences: Vec<String> = sentences.collect();
    let text = sentences.join("; ");
    (!text.is_empty()).then(|| Finding::new(ConditionType::Degraded, true, Reason::Forbidden, text))
}

/// Whether what an object attaches to can be seen. Where that cannot be read, nothing is said about the object: that the
/// operator does not see is no fact about it.
pub(super) fn sees_its_surroundings(world: &World, id: &ObjectId) -> bool {
    let Some(cluster) = &world.cluster else {
        return true;
    };
    let is_hidden = |kind: Kind, is_there: bool| !is_there && cluster.unreadable.contains_key(kind.as_str());
    let server = |key: &ObjectKey| match world.realms.get(key) {
        Some(realm) => {
            let server = target(key, &realm.spec.server_ref);
            !is_hidden(Kind::AuthServer, world.auth_servers.contains_key(&server))
        }
        None => !is_hidden(Kind::Realm, false),
    };
    match id.kind {
        Kind::AuthServer => true,
        Kind::Realm => server(&id.key),
        Kind::Client => {
            let client = world.clients.get(&id.key);
            client.is_none_or(|client| server(&target(&id.key, &client.spec.realm_ref)))
        }
    }
}

/// What an object refers to, in its own namespace unless it says another.
fn target(own: &ObjectKey, reference: &ObjectRef) -> ObjectKey {
    let namespace = reference.namespace.as_ref();
    let namespace = namespace.map_or(own.namespace.as_str(), |namespace| namespace.as_str());
    ObjectKey::new(namespace, reference.name.as_str())
}
