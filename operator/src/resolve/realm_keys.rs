//! The keys of all realms: who may use them, what is missing, and what is said about it.
//!
//! Whoever has the keys of an issuer has its people. They outlive their Realm, so another Realm that claims the issuer
//! later gets them only when the owner of the fleet says so.

use std::convert::AsRef;

use crds::conditions::{ConditionType, Reason};
use oidc::config::Resource;
use oidc::id::RealmId;
use snapshot::{Answers, ResourceId};

use super::former::Former;
use super::outcome::Origin;
use super::{Inputs, MissingKeys, Problem, Realms, Resolution, keys};
use crate::world::{ObjectKey, SecretObject};

/// Decides the keys of each realm that is going to be served.
pub(super) fn decide(inputs: &Inputs<'_>, realms: &mut Realms, former_of: &Former<'_>, resolution: &mut Resolution) {
    let (answers, none) = (inputs.answers(), Answers::default());
    for (key, outcome) in realms {
        let (Some(fleet), Some(served)) = (&outcome.fleet, &outcome.served) else {
            continue;
        };
        let previous = inputs.previous.get(fleet);
        let former = previous.and_then(|previous| match previous.resource(&ResourceId::Keys(served.id)) {
            Some(Resource::Keys(keys)) => Some(keys),
            _ => None,
        });
        let Some(realm) = inputs.world.realms.get(key).filter(|_| outcome.origin == Origin::Spec) else {
            outcome.more = former;
            continue;
        };
        let name = keys::secret_key(fleet, served.id);
        let secret = inputs.world.secrets.get(&name);
        if let Some(problem) = not_the_holder(key, fleet, served.id, (&name, secret.map(AsRef::as_ref)), former_of) {
            outcome.served = None;
            outcome.problems.push(problem);
            continue;
        }
        if let (Some(former), None) = (&former, secret) {
            outcome.more = Some(former.clone());
            let message = format!("Secret {name} with the realm's keys is gone: restore it from a backup");
            outcome.problems.push(Problem::new(
                ConditionType::CredentialsReady,
                Reason::ReferenceNotFound,
                "",
                message,
            ));
            continue;
        }
        let decided = keys::keys(&keys::Inputs {
            realm: served.id,
            spec: &realm.spec.signing,
            secret: secret.map(AsRef::as_ref),
            previous,
            answers: answers.get(fleet).unwrap_or(&none),
            now: inputs.now,
        });
        if !decided.missing.is_empty() {
            resolution.missing_keys.push(MissingKeys {
                secret: name,
                realm: key.clone(),
                issuer: served.issuer.clone(),
                keys: decided.missing,
            });
        }
        outcome.more = decided.set.or(former);
        if outcome.more.is_none() {
            let message = "the realm's keys are being generated";
            outcome.problems.push(Problem::new(
                ConditionType::CredentialsReady,
                Reason::Progressing,
                "",
                message,
            ));
        }
    }
}

/// What is said to a Realm that claims the issuer of another one whose keys, or whose configuration, are there.
fn not_the_holder(
    key: &ObjectKey,
    fleet: &ObjectKey,
    id: RealmId,
    (name, secret): (&ObjectKey, Option<&SecretObject>),
    former: &Former<'_>,
) -> Option<Problem> {
    let own = key.to_string();
    let holder = match secret {
        Some(secret) => Some(keys::holder(secret).unwrap_or("another one").to_owned()),
        None => former
            .holder(fleet, &ResourceId::Realm(id))
            .map(|holder| holder.to_string()),
    };
    let holder = holder.filter(|holder| *holder != own)?;
    let annotation = crds::ADOPT_KEYS_ANNOTATION;
    let message = match secret {
        Some(_) => format!(
            "the keys and people of this issuer belong to Realm {holder}: if this one takes its place, the owner of the \
             fleet annotates Secret {name} with {annotation}={own}"
        ),
        None => format!("the people of this issuer belong to Realm {holder}: restore Secret {name} from a backup"),
    };
    let mut problem = Problem::new(ConditionType::CredentialsReady, Reason::Conflict, "", message);
    "spec.issuer".clone_into(&mut problem.field);
    Some(problem)
}
