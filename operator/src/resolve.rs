//! What shall be served, and what is to be said about each object: a pure function.
//!
//! It takes the world, the last committed configurations, what servers acknowledged, and the time. It mints nothing:
//! keys and client secrets that do not exist yet are named, whoever may write generates them, and the next world holds
//! them. It is total (an object that is wrong never keeps another from being served) and does not depend on the order
//! of anything.

mod admit;
mod client;
mod conflict;
mod defaults;
mod former;
pub mod keys;
mod problem;
mod realm;
mod scopes;
mod shrink;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use crds::client::EffectiveClient;
use crds::conditions::{ConditionType, Reason};
use crds::manifests::Kind;
use crds::realm::DeletionPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use oidc::Timestamp;
use oidc::config::{Issuer, Resource};
use oidc::id::RealmId;
use snapshot::{Acknowledgements, Artefact, Fleet, ResourceId, ServerVersion, Step};

pub use keys::MissingKey;
pub use problem::Problem;
pub(crate) use verdict::wanted_replicas;
pub use verdict::{Details, Verdict};

use crate::credentials;
use crate::world::{ObjectId, ObjectKey, SecretObject, World};
use conflict::Claim;
use former::Former;

/// What [`resolve`] decides from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What is currently known.
    pub world: &'a World,
    /// The last committed configuration of each fleet.
    pub previous: &'a BTreeMap<ObjectKey, Artefact>,
    /// What the servers of each fleet answered.
    pub acknowledgements: &'a BTreeMap<ObjectKey, Acknowledgements>,
    /// The time.
    pub now: Timestamp,
}

/// What follows.
#[derive(Debug, Default)]
pub struct Resolution {
    /// The next configuration of each fleet. Equal to the previous one when there is nothing to write.
    pub artefacts: BTreeMap<ObjectKey, Artefact>,
    /// Realms whose keys have to be generated.
    pub missing_keys: Vec<MissingKeys>,
    /// Clients whose client secret has to be generated.
    pub missing_client_secrets: Vec<MissingClientSecret>,
    /// The Secrets beside the Clients, as they should be.
    pub credentials: BTreeMap<ObjectKey, SecretObject>,
    /// What is to be said about each custom resource.
    pub verdicts: BTreeMap<ObjectId, Verdict>,
}

/// Keys that have to be generated into a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingKeys {
    /// The Secret.
    pub secret: ObjectKey,
    /// The Realm.
    pub realm: ObjectKey,
    /// Its issuer.
    pub issuer: Issuer,
    /// Which keys.
    pub keys: Vec<MissingKey>,
}

/// A client secret that has to be generated into a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingClientSecret {
    /// The Secret.
    pub secret: ObjectKey,
    /// The Client.
    pub client: ObjectKey,
}

/// Decides everything. Never fails: what is wrong is said in the verdict of the object that is wrong.
pub fn resolve(inputs: &Inputs<'_>) -> Resolution {
    let former = Former::new(inputs.previous);
    let mut realms = realms(inputs, &former);
    let mut resolution = Resolution::default();
    realm_keys(inputs, &mut realms, &mut resolution);
    let clients = clients(inputs, &realms, &former, &mut resolution);
    let steps = steps(inputs, &realms, &clients);
    resolution.verdicts = verdict::verdicts(inputs, &realms, &clients, &steps);
    resolution.artefacts = steps.into_iter().map(|(fleet, step)| (fleet, step.artefact)).collect();
    resolution
}

/// What came of one Realm.
#[derive(Debug, Default)]
struct RealmOutcome {
    /// The fleet that serves it.
    fleet: Option<ObjectKey>,
    /// What is served: compiled from its spec, or its former version.
    served: Option<oidc::config::Realm>,
    /// Whether `served` is the former version, because the spec cannot be used.
    is_former: bool,
    keys: Option<oidc::config::KeySet>,
    problems: Vec<Problem>,
}

/// What came of one Client.
#[derive(Debug, Default)]
struct ClientOutcome {
    fleet: Option<ObjectKey>,
    issuer: Option<String>,
    served: Option<oidc::config::Client>,
    effective: Option<EffectiveClient>,
    is_former: bool,
    problems: Vec<Problem>,
}

type Realms = BTreeMap<ObjectKey, RealmOutcome>;
type Clients = BTreeMap<ObjectKey, ClientOutcome>;

fn realms(inputs: &Inputs<'_>, former: &Former<'_>) -> Realms {
    let world = inputs.world;
    let mut outcomes = Realms::new();
    let mut claims = Vec::new();
    for (key, realm) in &world.realms {
        let outcome = compile_realm(world, key, realm);
        if let (Some(fleet), Some(served)) = (&outcome.fleet, &outcome.served) {
            let created = realm.metadata.creation_timestamp.as_ref().map(|time| time.0);
            claims.push(Claim {
                name: (fleet.clone(), served.id),
                holder: key.clone(),
                created,
            });
        }
        outcomes.insert(key.clone(), outcome);
    }
    let undecodable = world
        .undecodable
        .keys()
        .filter(|id| id.kind == Kind::Realm)
        .map(|id| &id.key);
    for key in undecodable {
        outcomes.insert(key.clone(), RealmOutcome::default());
    }
    let paused = |key: &ObjectKey| world.realms.get(key).is_some_and(|r| is_paused(&r.metadata));
    let mut held = BTreeMap::new();
    for (key, outcome) in &mut outcomes {
        if (outcome.served.is_none() && keeps_former(&outcome.problems)) || paused(key) {
            let served = former
                .realm(key)
                .filter(|(fleet, _)| world.auth_servers.contains_key(fleet));
            outcome.served = None;
            outcome.is_former = true;
            if let Some((fleet, realm)) = served {
                held.insert((fleet.clone(), realm.id), key.clone());
                outcome.fleet = Some(fleet);
                outcome.served = Some(realm);
            }
        }
    }
    claims.retain(|claim| outcomes.get(&claim.holder).is_some_and(|outcome| !outcome.is_former));
    let incumbent = |(fleet, id): &(ObjectKey, RealmId)| former.holder(fleet, &ResourceId::Realm(*id));
    for (loser, winner) in conflict::losers(claims, &held, incumbent) {
        if let Some(outcome) = outcomes.get_mut(&loser) {
            outcome.served = None;
            let fix = "use another issuer, or delete the other one";
            outcome.problems.push(Problem::conflict(
                "spec.issuer",
                format!("Realm {winner} has it already: {fix}"),
            ));
        }
    }
    outcomes
}

fn compile_realm(world: &World, key: &ObjectKey, realm: &crds::Realm) -> RealmOutcome {
    let reference = &realm.spec.server_ref;
    let namespace = reference
        .namespace
        .as_ref()
        .map_or(key.namespace.as_str(), |namespace| namespace.as_str());
    let fleet_key = ObjectKey::new(namespace, reference.name.as_str());
    let failed = |problem| RealmOutcome {
        problems: vec![problem],
        ..RealmOutcome::default()
    };
    let Some(fleet) = world.auth_servers.get(&fleet_key) else {
        return failed(dangling(world, Kind::AuthServer, fleet_key, "spec.serverRef"));
    };
    let admit = &fleet.spec.realms.admit;
    let admission = admit::Admission {
        own_namespace: &fleet_key.namespace,
        from: admit.from,
        selector: admit.selector.as_ref(),
        names: &admit.names,
    };
    if !admission.admits(&key.namespace, &world.namespaces) {
        let fix = "its owner can change spec.realms.admit there";
        let message = format!(
            "AuthServer {fleet_key} admits no realms of namespace {}: {fix}",
            key.namespace
        );
        return failed(Problem::not_admitted("spec.serverRef", message));
    }
    match realm::compile(key, realm, fleet) {
        Ok(served) => RealmOutcome {
            fleet: Some(fleet_key),
            served: Some(served),
            ..RealmOutcome::default()
        },
        Err(problems) => RealmOutcome {
            problems,
            ..RealmOutcome::default()
        },
    }
}

/// A reference that leads nowhere, or to an object that cannot be used.
fn dangling(world: &World, kind: Kind, key: ObjectKey, field: &str) -> Problem {
    let name = format!("{} {key}", kind.as_str());
    if world.undecodable.contains_key(&ObjectId { kind, key }) {
        Problem::unusable(field, format!("{name} cannot be read: correct it"))
    } else {
        Problem::missing(
            format!("{field}.name"),
            format!("{name} does not exist: create it, or correct the reference"),
        )
    }
}

/// Whether an object with these problems keeps serving its last good version. What is not admitted or taken by another
/// is withdrawn.
fn keeps_former(problems: &[Problem]) -> bool {
    let withdraws = |problem: &Problem| matches!(problem.reason, Reason::NotAdmitted | Reason::Conflict);
    !problems.iter().any(withdraws)
}

fn is_paused(metadata: &ObjectMeta) -> bool {
    let value = metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(crds::PAUSED_ANNOTATION));
    value.is_some_and(|value| value == "true")
}

/// Decides the keys of each realm that is going to be served.
fn realm_keys(inputs: &Inputs<'_>, realms: &mut Realms, resolution: &mut Resolution) {
    let none = Acknowledgements::default();
    for (key, outcome) in realms {
        let (Some(fleet), Some(served)) = (&outcome.fleet, &outcome.served) else {
            continue;
        };
        let previous = inputs.previous.get(fleet);
        let former = previous.and_then(|previous| match previous.resource(&ResourceId::Keys(served.id)) {
            Some(Resource::Keys(keys)) => Some(keys),
            _ => None,
        });
        let Some(realm) = inputs.world.realms.get(key).filter(|_| !outcome.is_former) else {
            outcome.keys = former;
            continue;
        };
        let name = keys::secret_key(fleet, served.id);
        let secret = inputs.world.secrets.get(&name);
        if let (Some(former), None) = (&former, secret) {
            outcome.keys = Some(former.clone());
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
            secret: secret.map(std::convert::AsRef::as_ref),
            previous,
            acknowledgements: inputs.acknowledgements.get(fleet).unwrap_or(&none),
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
        outcome.keys = decided.set.or(former);
        if outcome.keys.is_none() {
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

fn clients(inputs: &Inputs<'_>, realms: &Realms, former: &Former<'_>, resolution: &mut Resolution) -> Clients {
    let world = inputs.world;
    let mut outcomes = Clients::new();
    let mut claims = Vec::new();
    for (key, client) in &world.clients {
        let outcome = compile_client(world, key, client, realms);
        if let (Some(fleet), Some(served)) = (&outcome.fleet, &outcome.served) {
            let created = client.metadata.creation_timestamp.as_ref().map(|time| time.0);
            let name = (fleet.clone(), served.realm, served.client_id.clone());
            claims.push(Claim {
                name,
                holder: key.clone(),
                created,
            });
        }
        outcomes.insert(key.clone(), outcome);
    }
    let undecodable = world
        .undecodable
        .keys()
        .filter(|id| id.kind == Kind::Client)
        .map(|id| &id.key);
    for key in undecodable {
        outcomes.insert(key.clone(), ClientOutcome::default());
    }
    let served_realms: BTreeSet<(&ObjectKey, RealmId)> = realms
        .values()
        .filter_map(|o| Some((o.fleet.as_ref()?, o.served.as_ref()?.id)))
        .collect();
    let paused = |key: &ObjectKey| world.clients.get(key).is_some_and(|c| is_paused(&c.metadata));
    let mut held = BTreeMap::new();
    for (key, outcome) in &mut outcomes {
        if (outcome.served.is_none() && keeps_former(&outcome.problems)) || paused(key) {
            let served = former
                .client(key)
                .filter(|(fleet, c)| served_realms.contains(&(fleet, c.realm)));
            outcome.served = None;
            outcome.is_former = true;
            if let Some((fleet, client)) = served {
                held.insert((fleet.clone(), client.realm, client.client_id.clone()), key.clone());
                outcome.fleet = Some(fleet);
                outcome.served = Some(client);
            }
        }
    }
    claims.retain(|claim| outcomes.get(&claim.holder).is_some_and(|outcome| !outcome.is_former));
    let incumbent = |(fleet, realm, id): &(ObjectKey, RealmId, String)| {
        former.holder(fleet, &ResourceId::Client(*realm, id.as_str().into()))
    };
    for (loser, winner) in conflict::losers(claims, &held, incumbent) {
        if let Some(outcome) = outcomes.get_mut(&loser) {
            outcome.served = None;
            let message = format!("Client {winner} has this id in the realm already: set another spec.clientId");
            outcome.problems.push(Problem::conflict("spec.clientId", message));
        }
    }
    client_credentials(inputs, &outcomes, resolution);
    outcomes
}

fn compile_client(world: &World, key: &ObjectKey, client: &crds::Client, realms: &Realms) -> ClientOutcome {
    let reference = &client.spec.realm_ref;
    let namespace = reference
        .namespace
        .as_ref()
        .map_or(key.namespace.as_str(), |namespace| namespace.as_str());
    let realm_key = ObjectKey::new(namespace, reference.name.as_str());
    let failed = |problem| ClientOutcome {
        problems: vec![problem],
        ..ClientOutcome::default()
    };
    let Some(realm) = world.realms.get(&realm_key) else {
        return failed(dangling(world, Kind::Realm, realm_key, "spec.realmRef"));
    };
    let admit = &realm.spec.clients.admit;
    let admission = admit::Admission {
        own_namespace: &realm_key.namespace,
        from: admit.from,
        selector: admit.selector.as_ref(),
        names: &admit.names,
    };
    if !admission.admits(&key.namespace, &world.namespaces) {
        let fix = "its owner can change spec.clients.admit there";
        let message = format!(
            "Realm {realm_key} admits no clients of namespace {}: {fix}",
            key.namespace
        );
        return failed(Problem::not_admitted("spec.realmRef", message));
    }
    let outcome = realms.get(&realm_key);
    let Some((outcome, compiled)) = outcome
        .and_then(|o| Some((o, o.served.as_ref()?)))
        .filter(|(o, _)| !o.is_former)
    else {
        let message = format!("Realm {realm_key} is not accepted: see its status");
        return failed(Problem::unusable("spec.realmRef", message));
    };
    let issuer = Some(compiled.issuer.as_str().to_owned());
    match client::compile(
        key,
        client,
        &client::Context {
            world,
            realm,
            realm_key: &realm_key,
            compiled,
        },
    ) {
        Ok(client::Compiled {
            client,
            effective,
            problems,
        }) => ClientOutcome {
            fleet: outcome.fleet.clone(),
            issuer,
            served: Some(client),
            effective: Some(effective),
            is_former: false,
            problems,
        },
        Err(problems) => ClientOutcome {
            issuer,
            problems,
            ..ClientOutcome::default()
        },
    }
}

/// The Secrets beside the Clients: what they should hold, and which client secrets are missing.
fn client_credentials(inputs: &Inputs<'_>, outcomes: &Clients, resolution: &mut Resolution) {
    let generating = |problem: &Problem| {
        problem.condition == ConditionType::CredentialsReady && problem.reason == Reason::Progressing
    };
    for (key, outcome) in outcomes {
        let Some(client) = inputs.world.clients.get(key) else {
            continue;
        };
        if outcome.problems.iter().any(generating) && !is_paused(&client.metadata) {
            let secret = credentials::secret_key(key, client);
            resolution.missing_client_secrets.push(MissingClientSecret {
                secret,
                client: key.clone(),
            });
        }
        let issuer = outcome.issuer.as_deref().and_then(|issuer| Issuer::parse(issuer).ok());
        let (Some(served), Some(issuer), false) = (&outcome.served, issuer, outcome.is_former) else {
            continue;
        };
        resolution.credentials.extend(credentials::desired(
            inputs.world,
            key,
            client,
            &served.client_id,
            &issuer,
        ));
    }
}

/// The next configuration of each fleet.
fn steps(inputs: &Inputs<'_>, realms: &Realms, clients: &Clients) -> BTreeMap<ObjectKey, Step> {
    let mut desired: BTreeMap<&ObjectKey, Vec<Resource>> = BTreeMap::new();
    let mut erase: BTreeMap<&ObjectKey, BTreeSet<RealmId>> = BTreeMap::new();
    let mut complete: BTreeSet<(&ObjectKey, RealmId)> = BTreeSet::new();
    for (key, outcome) in realms {
        let (Some(fleet), Some(realm), Some(keys)) = (&outcome.fleet, &outcome.served, &outcome.keys) else {
            continue;
        };
        let delete = |realm: &crds::Realm| realm.spec.deletion_policy == DeletionPolicy::Delete;
        if inputs.world.realms.get(key).is_some_and(|realm| delete(realm)) {
            erase.entry(fleet).or_default().insert(realm.id);
        }
        complete.insert((fleet, realm.id));
        desired
            .entry(fleet)
            .or_default()
            .extend([Resource::Realm(realm.clone()), Resource::Keys(keys.clone())]);
    }
    for outcome in clients.values() {
        let (Some(fleet), Some(client)) = (&outcome.fleet, &outcome.served) else {
            continue;
        };
        if complete.contains(&(fleet, client.realm)) {
            desired.entry(fleet).or_default().push(Resource::Client(client.clone()));
        }
    }
    let mut steps = BTreeMap::new();
    for key in inputs.world.auth_servers.keys() {
        let Ok(fleet) = Fleet::new(&key.namespace, &key.name) else {
            continue;
        };
        let mut desired = desired.remove(key).unwrap_or_default();
        let guarded = inputs.previous.get(key).map(|previous| {
            let guard = shrink::Guard {
                world: inputs.world,
                fleet: key,
                previous,
                desired: desired.iter().map(ResourceId::of).collect(),
                now: inputs.now,
            };
            guard.judge()
        });
        let shrink::Guarded { held, shrink, recent } = guarded.unwrap_or_default();
        desired.extend(held);
        let next = snapshot::Inputs {
            fleet,
            minimum_server: ServerVersion::current(),
            desired,
            erase: erase.remove(key).unwrap_or_default(),
            acknowledgements: inputs.acknowledgements.get(key).cloned().unwrap_or_default(),
            shrink,
            recent,
            now: inputs.now,
        };
        steps.insert(key.clone(), Artefact::next(inputs.previous.get(key), next));
    }
    steps
}

#[cfg(test)]
mod tests;
