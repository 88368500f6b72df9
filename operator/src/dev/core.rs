//! The compile cycle of `dev`, without processes and sockets: folder in, committed configuration and verdicts out.
//!
//! What a leader does in a cluster: resolve, generate what is missing, resolve again, commit, report.

use std::collections::BTreeMap;
use std::sync::Arc;

use oidc::Timestamp;
use oidc::key_generation::KeyGenerationError;
use snapshot::{Acknowledgements, Artefact};

use super::state::{State, StateError};
use crate::build;
use crate::resolve::keys::{self, ISSUER_ANNOTATION};
use crate::resolve::{Inputs, Resolution, Verdict, resolve};
use crate::world::folder::Folder;
use crate::world::{ObjectId, ObjectKey, SecretObject, World};

/// Generating and resolving alternate at most so often; two rounds are what it takes.
const ROUNDS: usize = 4;

/// The cycle cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// No key could be made.
    #[error(transparent)]
    Keys(#[from] KeyGenerationError),
}

/// What is known between two rounds.
#[derive(Debug)]
pub struct Core {
    state: State,
    folder: Folder,
    secrets: BTreeMap<ObjectKey, Arc<SecretObject>>,
    artefacts: BTreeMap<ObjectKey, Artefact>,
    verdicts: BTreeMap<ObjectId, Verdict>,
}

/// What a round changed.
#[derive(Debug, Default)]
pub struct Changes {
    /// Fleets whose configuration was committed anew.
    pub committed: Vec<ObjectKey>,
    /// Objects about which something else is to be said than before, the gone ones included.
    pub verdicts: Vec<ObjectId>,
}

impl Core {
    /// Begins where the state folder left off.
    pub fn new(state: State, folder: Folder) -> Result<Self, CycleError> {
        let secrets = state.secrets()?;
        let artefacts = folder.world.auth_servers.keys();
        let artefacts = artefacts
            .filter_map(|fleet| Some((fleet.clone(), state.artefact(fleet)?)))
            .collect();
        Ok(Self {
            state,
            folder,
            secrets,
            artefacts,
            verdicts: BTreeMap::new(),
        })
    }

    /// Takes what the folder holds now.
    pub fn set_folder(&mut self, folder: Folder) {
        for fleet in folder.world.auth_servers.keys() {
            if !self.artefacts.contains_key(fleet) {
                self.artefacts
                    .extend(self.state.artefact(fleet).map(|artefact| (fleet.clone(), artefact)));
            }
        }
        self.folder = folder;
    }

    /// What the folder holds.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The state folder.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The committed configuration of a fleet.
    pub fn artefact(&self, fleet: &ObjectKey) -> Option<&Artefact> {
        self.artefacts.get(fleet)
    }

    /// What was last said about each object.
    pub fn verdicts(&self) -> &BTreeMap<ObjectId, Verdict> {
        &self.verdicts
    }

    /// A Secret, from the folder or generated.
    pub fn secret(&self, key: &ObjectKey) -> Option<&SecretObject> {
        let secret = self.folder.world.secrets.get(key).or_else(|| self.secrets.get(key));
        secret.map(std::convert::AsRef::as_ref)
    }

    /// One round.
    pub fn step(
        &mut self,
        acknowledgements: &BTreeMap<ObjectKey, Acknowledgements>,
        now: Timestamp,
    ) -> Result<Changes, CycleError> {
        let mut resolution = Resolution::default();
        for _ in 0..ROUNDS {
            let world = self.world(now);
            let inputs = Inputs {
                world: &world,
                previous: &self.artefacts,
                acknowledgements,
                now,
            };
            resolution = resolve(&inputs);
            if !self.generate(&resolution, now)? {
                break;
            }
        }
        let mut changes = Changes::default();
        for (fleet, artefact) in resolution.artefacts {
            if self.artefacts.get(&fleet) != Some(&artefact) {
                self.state.put_artefact(&fleet, &artefact)?;
                self.artefacts.insert(fleet.clone(), artefact);
                changes.committed.push(fleet);
            }
        }
        let gone = self.verdicts.keys().filter(|id| !resolution.verdicts.contains_key(id));
        let differs = |(id, verdict): &(&ObjectId, &Verdict)| self.verdicts.get(id) != Some(verdict);
        let new = resolution.verdicts.iter().filter(differs).map(|(id, _)| id);
        changes.verdicts = gone.chain(new).cloned().collect();
        if !changes.verdicts.is_empty() {
            self.state.put_verdicts(&resolution.verdicts, now)?;
            self.verdicts = resolution.verdicts;
        }
        Ok(changes)
    }

    /// The folder with what a cluster would add to it. A Secret of the folder wins over a generated one.
    fn world(&mut self, now: Timestamp) -> World {
        let mut world = self.folder.world.clone();
        for (key, secret) in &self.secrets {
            world.secrets.entry(key.clone()).or_insert_with(|| Arc::clone(secret));
        }
        hand_over_keys(&mut world);
        self.state.annotate(&mut world, now);
        world
    }

    /// Generates what is missing and writes the Secrets beside the Clients. Whether the world is another one now.
    fn generate(&mut self, resolution: &Resolution, now: Timestamp) -> Result<bool, CycleError> {
        let mut written = BTreeMap::new();
        for missing in &resolution.missing_keys {
            let secret = build::realm::new_keys(missing, self.secret(&missing.secret), now)?;
            written.insert(missing.secret.clone(), secret);
        }
        for missing in &resolution.missing_client_secrets {
            written.insert(missing.secret.clone(), build::client::new_secret(missing, now));
        }
        let credentials = resolution.credentials.iter();
        let merged = credentials.map(|(key, ours)| {
            let live = self.secret(key);
            (key, build::client::merged(live, ours.secret.clone()))
        });
        let ledgers = resolution.ledgers.iter().map(|(key, ledger)| (key, ledger.clone()));
        for (key, secret) in ledgers.chain(merged) {
            if self.secret(key) != Some(&secret) {
                written.insert(key.clone(), secret);
            }
        }
        let found = !written.is_empty() || !resolution.spent.is_empty();
        for key in &resolution.spent {
            self.state.remove_secret(key)?;
            self.secrets.remove(key);
        }
        for (key, secret) in written {
            self.state.put_secret(&key, &secret)?;
            self.secrets.insert(key, Arc::new(secret));
        }
        Ok(found)
    }
}

/// Who edits the folder owns the fleet: a Realm that is renamed keeps its keys and people.
fn hand_over_keys(world: &mut World) {
    let World { realms, secrets, .. } = world;
    for (key, realm) in realms.iter() {
        let is_its = |secret: &&mut Arc<SecretObject>| {
            secret.annotations.get(ISSUER_ANNOTATION) == Some(&realm.spec.issuer)
                && keys::holder(secret)
                    .and_then(ObjectKey::parse)
                    .is_some_and(|holder| !realms.contains_key(&holder))
        };
        if let Some(secret) = secrets.values_mut().find(is_its) {
            let adopt = (crds::ADOPT_KEYS_ANNOTATION.to_owned(), key.to_string());
            Arc::make_mut(secret).annotations.extend([adopt]);
        }
    }
}
