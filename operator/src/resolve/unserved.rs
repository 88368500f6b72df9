//! Realms that are served no longer: which of them are gone, so that their rows may have to be deleted, and which only
//! wait for something.
//!
//! A Realm that is there is not gone, whatever keeps it from being served: it is not admitted, or a finalizer holds it.
//! Only the custom resource that the realm was served for counts, so that nobody keeps another's people from being
//! deleted by claiming their issuer.

use std::collections::{BTreeMap, BTreeSet};

use crds::manifests::Kind;
use crds::realm::DeletionPolicy;
use oidc::config::{Issuer, Resource};
use oidc::id::RealmId;
use snapshot::{Artefact, ResourceId, Standing};

use crate::world::{ObjectId, ObjectKey, World};

/// What is known of the realms that `previous` serves or remembers and that are not `desired`. Why those in `lost` went
/// is not known.
pub(super) fn standing(
    world: &World,
    previous: &Artefact,
    desired: &[Resource],
    lost: &BTreeSet<RealmId>,
) -> BTreeMap<RealmId, Standing> {
    let desired: BTreeSet<RealmId> = desired.iter().filter_map(realm_of).collect();
    let leaving = previous.realms().filter(|realm| !desired.contains(realm));
    let leaving = leaving.filter_map(|realm| match previous.resource(&ResourceId::Realm(realm))? {
        Resource::Realm(served) => Some((realm, served.name)),
        Resource::Keys(_) | Resource::Client(_) => None,
    });
    let gone = previous
        .tombstones()
        .filter(|(realm, _)| !desired.contains(realm))
        .map(|(realm, tombstone)| (realm, tombstone.name.clone()));
    let known = |(realm, name): (RealmId, String)| {
        let there = there(world, previous, realm, &name);
        let standing = there.or_else(|| lost.contains(&realm).then_some(Standing::Lost))?;
        Some((realm, standing))
    };
    gone.chain(leaving).filter_map(known).collect()
}

/// What a Realm that is there says.
pub(super) fn said(realm: &crds::Realm) -> Standing {
    Standing::There {
        erase: match realm.spec.deletion_policy {
            DeletionPolicy::Delete => true,
            DeletionPolicy::Retain => false,
        },
    }
}

/// What is known of the realm of a Realm that is there, or of which nobody can tell.
fn there(world: &World, previous: &Artefact, realm: RealmId, name: &str) -> Option<Standing> {
    let key = ObjectKey::parse(name)?;
    if let Some(found) = world.realms.get(&key)
        && Issuer::parse(&found.spec.issuer).is_ok_and(|issuer| RealmId::of_issuer(issuer.as_str()) == realm)
    {
        return Some(said(found));
    }
    let cluster = world.cluster.as_ref();
    let is_unreadable = cluster.is_some_and(|cluster| cluster.unreadable.contains_key(Kind::Realm.as_str()));
    let kind = Kind::Realm;
    let is_unknown = is_unreadable || world.undecodable.contains_key(&ObjectId { kind, key });
    is_unknown.then(|| Standing::There {
        erase: previous.erases(realm),
    })
}

/// The realm whose rules a resource is.
pub(super) fn realm_of(resource: &Resource) -> Option<RealmId> {
    match resource {
        Resource::Realm(realm) => Some(realm.id),
        Resource::Keys(_) | Resource::Client(_) => None,
    }
}
