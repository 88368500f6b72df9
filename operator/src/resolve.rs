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
mod outcome;
mod problem;
mod realm;
mod realm_keys;
mod rotation;
mod scopes;
mod secrets;
mod shrink;
mod unserved;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use crds::client::EffectiveClient;
use crds::conditions::{ConditionType, Reason};
use crds::manifests::Kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use oidc::Timestamp;
use oidc::config::{Issuer, Resource};
use oidc::id::RealmId;
use snapshot::{Acknowledgements, Answers, Artefact, Fleet, ResourceId, ServerVersion, Standing, Step};

pub use keys::MissingKey;
pub use problem::Problem;
pub(crate) use rotation::Ledger;
pub use secrets::{Credentials, MissingClientSecret};
pub(crate) use verdict::wanted_replicas;
pub use verdict::{Details, Verdict};

use crate::world::{ObjectId, ObjectKey, SecretObject, World};
use former::Former;
use outcome::{Attachment, Contested, Origin, Outcome};

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

impl<'a> Inputs<'a> {
    /// What servers answered, to be asked about every resource of a fleet.
    fn answers(&self) -> BTreeMap<&'a ObjectKey, Answers<'a>> {
        let fleets = self.acknowledgements.iter();
        fleets.map(|(fleet, answers)| (fleet, answers.answers())).collect()
    }
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
    /// Secrets that the operator keeps for itself and that have to be replaced: the bookkeeping of client secrets.
    /// Each is written with the `resourceVersion` that it was read with, or created when there is none.
    pub ledgers: BTreeMap<ObjectKey, SecretObject>,
    /// The Secrets beside the Clients: what of them is ours, as it should be.
    pub credentials: BTreeMap<ObjectKey, Credentials>,
    /// Secrets that the operator kept for itself and that nobody needs any more.
    pub spent: Vec<ObjectKey>,
    /// When time alone changes something about client secrets.
    pub wake: Option<Timestamp>,
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

/// Decides everything. Never fails: what is wrong is said in the verdict of the object that is wrong.
pub fn resolve(inputs: &Inputs<'_>) -> Resolution {
    let former = Former::new(inputs.previous);
    let mut realms = realms(inputs, &former);
    let mut resolution = Resolution::default();
    realm_keys::decide(inputs, &mut realms, &former, &mut resolution);
    let clients = clients(inputs, &realms, &former, &mut resolution);
    let steps = steps(inputs, &realms, &clients);
    resolution.verdicts = verdict::verdicts(inputs, &realms, &clients, &steps);
    resolution.artefacts = steps.into_iter().map(|(fleet, step)| (fleet, step.artefact)).collect();
    resolution
}

type RealmOutcome = Outcome<oidc::config::Realm, Option<oidc::config::KeySet>>;
type ClientOutcome = Outcome<oidc::config::Client, Context>;

/// What a Client shows of its surroundings.
#[derive(Debug, Default)]
struct Context {
    issuer: Option<Issuer>,
    effective: Option<EffectiveClient>,
    secrets: Option<secrets::Secrets>,
}

type Realms = BTreeMap<ObjectKey, RealmOutcome>;
type Clients = BTreeMap<ObjectKey, ClientOutcome>;

fn realms(inputs: &Inputs<'_>, former: &Former<'_>) -> Realms {
    let world = inputs.world;
    let compiled = world.realms.iter();
    let mut outcomes: Realms = compiled
        .map(|(key, realm)| (key.clone(), compile_realm(world, key, realm)))
        .collect();
    let metadata = |key: &ObjectKey| Some(&world.realms.get(key)?.metadata);
    let rules = RealmRules { world, former };
    outcome::settle(&mut outcomes, undecodable(world, Kind::Realm), metadata, &rules);
    outcomes
}

/// An issuer belongs to one Realm of a fleet.
struct RealmRules<'a> {
    world: &'a World,
    former: &'a Former<'a>,
}

impl Contested<oidc::config::Realm, (ObjectKey, RealmId)> for RealmRules<'_> {
    fn name(&self, fleet: &ObjectKey, served: &oidc::config::Realm) -> (ObjectKey, RealmId) {
        (fleet.clone(), served.id)
    }

    fn former(&self, key: &ObjectKey) -> Option<(ObjectKey, oidc::config::Realm)> {
        let former = self.former.realm(key);
        former.filter(|(fleet, _)| self.world.auth_servers.contains_key(fleet))
    }

    fn is_same(&self, compiled: &oidc::config::Realm, former: &oidc::config::Realm) -> bool {
        compiled == former
    }

    /// Whoever has the keys, for nobody else could be served.
    fn incumbent(&self, (fleet, id): &(ObjectKey, RealmId)) -> Option<ObjectKey> {
        let secret = self.world.secrets.get(&keys::secret_key(fleet, *id));
        match secret.and_then(|secret| keys::holder(secret)) {
            Some(holder) => ObjectKey::parse(holder),
            None => self.former.holder(fleet, &ResourceId::Realm(*id)),
        }
    }

    fn lost(&self, winner: &ObjectKey) -> Problem {
        let fix = "use another issuer, or delete the other one";
        Problem::conflict("spec.issuer", format!("Realm {winner} has it already: {fix}"))
    }
}

/// The objects of a kind that do not parse.
fn undecodable(world: &World, kind: Kind) -> BTreeSet<&ObjectKey> {
    let ids = world.undecodable.keys();
    ids.filter(|id| id.kind == kind).map(|id| &id.key).collect()
}

fn compile_realm(world: &World, key: &ObjectKey, realm: &crds::Realm) -> RealmOutcome {
    if let Some(problem) = deleting(&realm.metadata) {
        return RealmOutcome::of(vec![problem], None);
    }
    let attachment = Attachment {
        from: key,
        reference: &realm.spec.server_ref,
        field: "spec.serverRef",
        kind: Kind::AuthServer,
        admits: ("spec.realms.admit", "realms"),
    };
    let compiled = match attachment.resolve(world, &world.auth_servers, |fleet| {
        admit::realms(&fleet.spec.realms.admit)
    }) {
        Ok((fleet, server)) => realm::compile(key, realm, server).map(|served| (fleet, served)),
        Err(problem) => Err(vec![problem]),
    };
    match compiled {
        Ok((fleet, served)) => RealmOutcome {
            fleet: Some(fleet),
            served: Some(served),
            ..RealmOutcome::default()
        },
        Err(problems) => RealmOutcome::of(problems, None),
    }
}

/// An object that only somebody's finalizer keeps is withdrawn.
fn deleting(metadata: &ObjectMeta) -> Option<Problem> {
    metadata.deletion_timestamp.as_ref()?;
    let message = "it is being deleted";
    Some(Problem::new(ConditionType::Accepted, Reason::Deleting, "", message))
}

/// Whether somebody has frozen the object.
pub(crate) fn is_paused(metadata: &ObjectMeta) -> bool {
    let value = metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(crds::PAUSED_ANNOTATION));
    value.is_some_and(|value| value == "true")
}

fn clients(inputs: &Inputs<'_>, realms: &Realms, former: &Former<'_>, resolution: &mut Resolution) -> Clients {
    let world = inputs.world;
    let compiled = world.clients.iter();
    let mut outcomes: Clients = compiled
        .map(|(key, client)| (key.clone(), compile_client(inputs, key, client, realms)))
        .collect();
    let served = realms.values();
    let realms = served.filter_map(|o| Some((o.fleet.as_ref()?, o.served.as_ref()?.id)));
    let rules = ClientRules {
        realms: realms.collect(),
        former,
    };
    let metadata = |key: &ObjectKey| Some(&world.clients.get(key)?.metadata);
    outcome::settle(&mut outcomes, undecodable(world, Kind::Client), metadata, &rules);
    secrets::write(inputs, &mut outcomes, former, resolution);
    outcomes
}

/// A `client_id` belongs to one Client of a realm.
struct ClientRules<'a> {
    /// The realms that are served.
    realms: BTreeSet<(&'a ObjectKey, RealmId)>,
    former: &'a Former<'a>,
}

impl Contested<oidc::config::Client, (ObjectKey, RealmId, String)> for ClientRules<'_> {
    fn name(&self, fleet: &ObjectKey, served: &oidc::config::Client) -> (ObjectKey, RealmId, String) {
        (fleet.clone(), served.realm, served.client_id.clone())
    }

    fn former(&self, key: &ObjectKey) -> Option<(ObjectKey, oidc::config::Client)> {
        let former = self.former.client(key);
        former.filter(|(fleet, client)| self.realms.contains(&(fleet, client.realm)))
    }

    fn is_same(&self, compiled: &oidc::config::Client, former: &oidc::config::Client) -> bool {
        secrets::are_same_apart_from_hashes(compiled, former)
    }

    fn incumbent(&self, (fleet, realm, id): &(ObjectKey, RealmId, String)) -> Option<ObjectKey> {
        let id = ResourceId::Client(*realm, id.as_str().into());
        self.former.holder(fleet, &id)
    }

    fn lost(&self, winner: &ObjectKey) -> Problem {
        let message = format!("Client {winner} has this id in the realm already: set another spec.clientId");
        Problem::conflict("spec.clientId", message)
    }
}

fn compile_client(inputs: &Inputs<'_>, key: &ObjectKey, client: &crds::Client, realms: &Realms) -> ClientOutcome {
    let world = inputs.world;
    if let Some(problem) = deleting(&client.metadata) {
        return ClientOutcome::of(vec![problem], Context::default());
    }
    let attachment = Attachment {
        from: key,
        reference: &client.spec.realm_ref,
        field: "spec.realmRef",
        kind: Kind::Realm,
        admits: ("spec.clients.admit", "clients"),
    };
    let (realm_key, realm) =
        match attachment.resolve(world, &world.realms, |realm| admit::clients(&realm.spec.clients.admit)) {
            Ok(found) => found,
            Err(problem) => return ClientOutcome::of(vec![problem], Context::default()),
        };
    let outcome = realms.get(&realm_key);
    let Some((outcome, compiled)) = outcome
        .and_then(|o| Some((o, o.served.as_ref()?)))
        .filter(|(o, _)| o.origin.is_current())
    else {
        let why = match outcome.map(|outcome| outcome.origin) {
            Some(Origin::Withheld) => "is frozen with an edit that waits",
            Some(Origin::Spec | Origin::Former | Origin::Frozen) | None => "is not accepted",
        };
        let message = format!("Realm {realm_key} {why}: see its status");
        let problem = Problem::unusable("spec.realmRef", message);
        return ClientOutcome::of(vec![problem], Context::default());
    };
    let secrets = outcome
        .fleet
        .as_ref()
        .and_then(|fleet| secrets::decide(inputs, fleet, compiled.id, key, client));
    let mut context = Context {
        issuer: Some(compiled.issuer.clone()),
        ..Context::default()
    };
    let surroundings = client::Context {
        world,
        realm,
        realm_key: &realm_key,
        compiled,
        secrets: secrets.as_ref().map(|secrets| &secrets.decision),
    };
    let compiled = client::compile(key, client, &surroundings);
    context.secrets = secrets;
    match compiled {
        Ok(compiled) => {
            context.effective = Some(compiled.effective);
            ClientOutcome {
                fleet: outcome.fleet.clone(),
                served: Some(compiled.client),
                origin: Origin::Spec,
                problems: compiled.problems,
                more: context,
            }
        }
        Err(problems) => ClientOutcome::of(problems, context),
    }
}

/// The next configuration of each fleet.
fn steps(inputs: &Inputs<'_>, realms: &Realms, clients: &Clients) -> BTreeMap<ObjectKey, Step> {
    let mut desired: BTreeMap<&ObjectKey, Vec<Resource>> = BTreeMap::new();
    let mut standing: BTreeMap<&ObjectKey, BTreeMap<RealmId, Standing>> = BTreeMap::new();
    let mut complete: BTreeSet<(&ObjectKey, RealmId)> = BTreeSet::new();
    for (key, outcome) in realms {
        let (Some(fleet), Some(realm), Some(keys)) = (&outcome.fleet, &outcome.served, &outcome.more) else {
            continue;
        };
        let found = inputs.world.realms.get(key);
        let said = found.map(|found| (realm.id, unserved::said(found)));
        standing.entry(fleet).or_default().extend(said);
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
        let previous = inputs.previous.get(key);
        let guarded = previous.map(|previous| {
            let guard = shrink::Guard {
                world: inputs.world,
                fleet: key,
                previous,
                desired: desired.iter().map(ResourceId::of).collect(),
                now: inputs.now,
            };
            guard.judge()
        });
        let shrink::Guarded {
            held,
            lost,
            shrink,
            recent,
        } = guarded.unwrap_or_default();
        desired.extend(held);
        let mut standing = standing.remove(key).unwrap_or_default();
        if let Some(previous) = previous {
            standing.extend(unserved::standing(inputs.world, previous, &desired, &lost));
        }
        let next = snapshot::Inputs {
            fleet,
            minimum_server: ServerVersion::current(),
            desired,
            standing,
            acknowledgements: inputs.acknowledgements.get(key).cloned().unwrap_or_default(),
            shrink,
            recent,
            now: inputs.now,
        };
        steps.insert(key.clone(), Artefact::next(previous, next));
    }
    steps
}

#[cfg(test)]
mod tests;
