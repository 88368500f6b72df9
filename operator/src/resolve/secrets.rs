//! The generated secrets of all Clients: what is decided about each, and the Secrets that follow from it.

use std::collections::HashSet;

use crds::client::SecretSource;
use crds::conditions::{ConditionType, Reason};
use crds::manifests::Kind;
use oidc::config::{self, ClientAuthentication, SecretHash};
use oidc::id::RealmId;
use snapshot::{Acknowledgements, ClientSecrets, Head, ResourceId};

use super::former::Former;
use super::outcome::Origin;
use super::rotation::{Decision, Facts, Ledger, Served};
use super::{Clients, Inputs, Problem, Resolution, is_paused};
use crate::build::client as build;
use crate::world::{ObjectId, ObjectKey, SecretObject};

/// A client secret that has to be generated: the ledger that it is to be entered into.
#[derive(Clone, Debug, PartialEq)]
pub struct MissingClientSecret {
    /// The Secret that holds the ledger. Written with the `resourceVersion` that it was read with, or created.
    pub secret: ObjectKey,
    /// The fleet.
    pub fleet: ObjectKey,
    /// The Client.
    pub client: ObjectKey,
    pub(crate) ledger: Ledger,
}

/// What of the Secret beside a Client is ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    /// The Client.
    pub client: ObjectKey,
    /// Labels, annotations and data, as they should be. What else the Secret holds is somebody else's.
    pub secret: SecretObject,
}

/// What was decided about the secrets of one Client.
#[derive(Debug)]
pub(super) struct Secrets {
    fleet: ObjectKey,
    /// The Secret that holds the ledger.
    ledger: ObjectKey,
    /// `Err`: the Secret beside the Client belongs to somebody else.
    pub(super) decision: Result<Decision, Problem>,
}

/// Decides about the secrets of a Client; `None` when it has none that are generated.
pub(super) fn decide(
    inputs: &Inputs<'_>,
    fleet: &ObjectKey,
    realm: RealmId,
    key: &ObjectKey,
    client: &crds::Client,
) -> Option<Secrets> {
    if !client.spec.has_client_secret() || client.spec.secret.source != SecretSource::Generate {
        return None;
    }
    let world = inputs.world;
    let ledger_key = build::ledger_key(fleet, realm, key);
    let shown = match build::client_secret(world, key, client) {
        Ok(shown) => shown,
        Err(foreign) => {
            let fix = "rename it, or set spec.secret.name";
            let message = format!("Secret {} belongs to somebody else: {fix}", foreign.name);
            let problem = Problem::new(ConditionType::CredentialsReady, Reason::ResourceConflict, "", message);
            return Some(Secrets {
                fleet: fleet.clone(),
                ledger: ledger_key,
                decision: Err(Problem {
                    field: "spec.secret".to_owned(),
                    ..problem
                }),
            });
        }
    };
    let served = || {
        let id = ResourceId::Client(realm, super::client::client_id(key, client).as_str().into());
        served(inputs, fleet, &id, key)
    };
    let annotation = |name: &str| client.metadata.annotations.as_ref()?.get(name).map(String::as_str);
    let decision = Facts {
        rotation: client.spec.rotation.as_ref(),
        rotate: annotation(crds::ROTATE_ANNOTATION),
        revoke: annotation(crds::REVOKE_ANNOTATION),
        ledger: world.secrets.get(&ledger_key).and_then(|secret| Ledger::read(secret)),
        name: &build::secret_key(key, client).name,
        shown,
        served: &served,
        now: inputs.now,
    }
    .decide();
    Some(Secrets {
        fleet: fleet.clone(),
        ledger: ledger_key,
        decision: Ok(decision),
    })
}

/// The hashes that servers were last told to accept for this Client, and whether every ready replica does.
fn served(inputs: &Inputs<'_>, fleet: &ObjectKey, id: &ResourceId, key: &ObjectKey) -> Served {
    let Some(previous) = inputs.previous.get(fleet) else {
        return Served::default();
    };
    let entry = previous.entry(id);
    let secrets = entry.and_then(|entry| Some((entry, ClientSecrets::of(&entry.current)?)));
    let Some((entry, secrets)) = secrets.filter(|(_, secrets)| key.is(&secrets.name)) else {
        return Served::default();
    };
    let since = Head {
        generation: entry.since_generation,
        ..previous.head()
    };
    let none = Acknowledgements::default();
    let acknowledgements = inputs.acknowledgements.get(fleet).unwrap_or(&none);
    let answers = acknowledgements.answers();
    Served {
        is_everywhere: answers.accepted(id, entry.current.version(), since),
        hashes: secrets.accepted,
    }
}

/// Names what has to be generated, and the Secrets as they should be.
pub(super) fn write(inputs: &Inputs<'_>, outcomes: &mut Clients, former: &Former<'_>, resolution: &mut Resolution) {
    let mut wanted = HashSet::new();
    for (key, outcome) in outcomes {
        let Some(client) = inputs.world.clients.get(key) else {
            continue;
        };
        let secrets = outcome.more.secrets.as_ref();
        wanted.extend(secrets.map(|secrets| secrets.ledger.clone()));
        if is_paused(&client.metadata) {
            continue;
        }
        let decided = secrets.and_then(|secrets| Some((secrets, secrets.decision.as_ref().ok()?)));
        if let Some((secrets, decision)) = decided {
            keep_ledger(secrets, key, decision, resolution);
            // What secrets are valid is not a matter of the spec: a former version follows too.
            if let (Some(served), Origin::Former) = (&mut outcome.served, outcome.origin) {
                replace_hashes(served, decision.accepted());
            }
        }
        let (Some(served), Some(issuer)) = (&outcome.served, &outcome.more.issuer) else {
            continue;
        };
        let show = decided.and_then(|(_, decision)| decision.show.as_ref());
        if decided.is_some() && show.is_none() || secrets.is_some() && decided.is_none() {
            continue;
        }
        let credentials = build::desired(inputs.world, key, client, &served.client_id, issuer, show);
        resolution.credentials.extend(credentials.map(|(name, secret)| {
            (
                name,
                Credentials {
                    client: key.clone(),
                    secret,
                },
            )
        }));
    }
    resolution.spent = spent(inputs, &wanted, former);
}

fn keep_ledger(
    Secrets { fleet, ledger, .. }: &Secrets,
    client: &ObjectKey,
    decision: &Decision,
    resolution: &mut Resolution,
) {
    resolution.wake = resolution.wake.into_iter().chain(decision.wake()).min();
    if decision.is_missing {
        resolution.missing_client_secrets.push(MissingClientSecret {
            secret: ledger.clone(),
            fleet: fleet.clone(),
            client: client.clone(),
            ledger: decision.ledger.clone(),
        });
        return;
    }
    if decision.is_changed {
        let object = build::ledger(fleet, client, &decision.ledger);
        resolution.ledgers.insert(ledger.clone(), object);
    }
}

/// Whether two versions of a Client say the same but for the secrets that are valid just now.
pub(super) fn are_same_apart_from_hashes(one: &config::Client, other: &config::Client) -> bool {
    let bare = |client: &config::Client| {
        let mut bare = client.clone();
        match &mut bare.authentication {
            ClientAuthentication::SecretBasic(hashes) | ClientAuthentication::SecretPost(hashes) => hashes.clear(),
            ClientAuthentication::PrivateKeyJwt { .. } | ClientAuthentication::None => {}
        }
        bare
    };
    bare(one) == bare(other)
}

fn replace_hashes(client: &mut config::Client, accepted: Vec<SecretHash>) {
    match &mut client.authentication {
        ClientAuthentication::SecretBasic(hashes) | ClientAuthentication::SecretPost(hashes) => {
            if !accepted.is_empty() {
                *hashes = accepted;
            }
        }
        ClientAuthentication::PrivateKeyJwt { .. } | ClientAuthentication::None => {}
    }
}

/// Ledgers of Clients of our fleets that are gone and not served any more. Where Clients cannot be read, none.
fn spent(inputs: &Inputs<'_>, wanted: &HashSet<ObjectKey>, former: &Former<'_>) -> Vec<ObjectKey> {
    let world = inputs.world;
    let is_unreadable = |kind: &String| kind.eq_ignore_ascii_case(Kind::Client.as_str()) || kind == "clients";
    let cluster = world.cluster.as_ref();
    if cluster.is_some_and(|cluster| cluster.unreadable.keys().any(is_unreadable)) {
        return Vec::new();
    }
    let is_spent = |(key, secret): &(&ObjectKey, &std::sync::Arc<SecretObject>)| {
        let Some((fleet, client)) = build::ledger_owner(secret) else {
            return false;
        };
        let is_ours = |server: &ObjectKey| server.namespace == key.namespace && build::is_instance(server, fleet);
        if !world.auth_servers.keys().any(is_ours) {
            return false;
        }
        let kind = Kind::Client;
        let is_there = world.clients.contains_key(&client)
            || world.undecodable.contains_key(&ObjectId {
                kind,
                key: client.clone(),
            });
        !is_there && former.client(&client).is_none()
    };
    world
        .secrets
        .iter()
        .filter(|(key, _)| !wanted.contains(*key))
        .filter(is_spent)
        .map(|(key, _)| key.clone())
        .collect()
}
