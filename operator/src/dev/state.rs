//! The state folder of `dev`: what a cluster would keep, in files beside nobody's YAML.
//!
//! Generated Secrets, the compiled configuration (what pods would mount), peer certificates, the database, logs, and
//! what a cluster knows about objects beside their text: generation, creation, status. Only its owner can read it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crds::conditions;
use crds::manifests::Kind;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::core::object::HasSpec;
use oidc::Timestamp;
use serde::{Deserialize, Serialize};
use snapshot::{Artefact, Hash};

use crate::resolve::Verdict;
use crate::world::folder::secret_manifest;
use crate::world::{ObjectId, ObjectKey, SecretObject, World};

/// The state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or folder in it cannot be read or written.
    #[error("state folder: {} cannot be used", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another `dev` uses it.
    #[error("another `nauthera-operator dev` uses the state folder {}: stop it, or choose another folder with --state-dir", .0.display())]
    Locked(PathBuf),
    /// A file in it is not what was written.
    #[error("state folder: {} is damaged; remove the folder to start afresh", .0.display())]
    Damaged(PathBuf),
    /// A file of it cannot be replaced.
    #[error(transparent)]
    Write(#[from] crate::pki::FolderError),
}

/// The state folder, locked for this process.
#[derive(Debug)]
pub struct State {
    root: PathBuf,
    records: BTreeMap<String, Record>,
    _lock: File,
}

/// What a cluster would know about an object beside its text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Record {
    /// Hash of its spec: a change counts the generation up.
    spec: String,
    generation: i64,
    created_seconds: i64,
    conditions: Vec<Condition>,
}

impl State {
    /// Opens or creates the folder and locks it.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(failed(root))?;
        let root = fs::canonicalize(root).map_err(failed(root))?;
        let path = root.join("lock");
        let lock = File::create(&path).map_err(failed(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StateError::Locked(root)),
            Err(fs::TryLockError::Error(source)) => return Err(StateError::Io { path, source }),
        }
        let path = root.join("objects.json");
        let records = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| StateError::Damaged(path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(StateError::Io { path, source }),
        };
        let state = Self {
            root,
            records,
            _lock: lock,
        };
        for part in ["secrets", "config", "servers"] {
            let path = state.root.join(part);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(failed(&path))?;
        }
        Ok(state)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The compiled configuration of a fleet, as its servers read it at start.
    pub fn config_folder(&self, fleet: &ObjectKey) -> PathBuf {
        self.root
            .join("config")
            .join(format!("{}.{}", fleet.namespace, fleet.name))
    }

    /// What belongs to one server process.
    pub fn server_folder(&self, slot: usize) -> PathBuf {
        self.root.join("servers").join(slot.to_string())
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.root.join("nauthera.sqlite")
    }

    /// The Secrets that were generated here.
    pub fn secrets(&self) -> Result<BTreeMap<ObjectKey, Arc<SecretObject>>, StateError> {
        let path = self.root.join("secrets");
        let failed = |source| StateError::Io {
            path: path.clone(),
            source,
        };
        let mut secrets = BTreeMap::new();
        for entry in fs::read_dir(&path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let bytes = fs::read(&file).map_err(failed)?;
            let (key, secret) = crate::world::folder::parse_secret(&bytes).ok_or(StateError::Damaged(file))?;
            secrets.insert(key, Arc::new(secret));
        }
        Ok(secrets)
    }

    /// Keeps a generated Secret.
    pub fn put_secret(&self, key: &ObjectKey, secret: &SecretObject) -> Result<(), StateError> {
        let name = format!("{}.{}.json", key.namespace, key.name);
        let manifest = secret_manifest(key, secret).to_string();
        Ok(crate::pki::write_folder(
            &self.root.join("secrets"),
            &[(name, manifest.into_bytes())],
        )?)
    }

    /// Forgets a Secret that was kept here.
    pub fn remove_secret(&self, key: &ObjectKey) -> Result<(), StateError> {
        let name = format!("{}.{}.json", key.namespace, key.name);
        let path = self.root.join("secrets").join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StateError::Io { path, source }),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The last committed configuration of a fleet. One that cannot be read counts as none: it is compiled again.
    pub fn artefact(&self, fleet: &ObjectKey) -> Option<Artefact> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(self.config_folder(fleet)).ok()?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            files.insert(name, fs::read(entry.path()).ok()?);
        }
        Artefact::from_files(&files).ok()
    }

    /// Commits a configuration: shards first, the manifest last, then what is no longer named goes.
    pub fn put_artefact(&self, fleet: &ObjectKey, artefact: &Artefact) -> Result<(), StateError> {
        let folder = self.config_folder(fleet);
        let files = artefact.to_files();
        crate::pki::write_folder(&folder, &files)?;
        let failed = |source| StateError::Io {
            path: folder.clone(),
            source,
        };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if !files.iter().any(|(file, _)| name == file.as_str()) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Whether nothing was kept in it yet.
    pub fn is_new(&self) -> bool {
        self.records.is_empty()
    }

    /// The objects that the last run knew.
    pub fn known(&self) -> Vec<ObjectId> {
        let parse = |text: &String| {
            let (kind, key) = text.split_once(' ')?;
            let (kind, key) = (Kind::parse(kind)?, ObjectKey::parse(key)?);
            Some(ObjectId { kind, key })
        };
        self.records.keys().filter_map(parse).collect()
    }

    /// Gives the objects what a cluster would have added: generation, creation, status. New objects get a record.
    pub fn annotate(&mut self, world: &mut World, now: Timestamp) {
        self.annotate_kind(Kind::AuthServer, &mut world.auth_servers, now);
        self.annotate_kind(Kind::Realm, &mut world.realms, now);
        self.annotate_kind(Kind::Client, &mut world.clients, now);
    }

    fn annotate_kind<T: Recorded>(&mut self, kind: Kind, objects: &mut BTreeMap<ObjectKey, Arc<T>>, now: Timestamp) {
        for (key, object) in objects {
            let object = Arc::make_mut(object);
            let record = self.record(kind, key, object.spec(), now);
            record.apply(object.meta_mut());
            object.conditions().clone_from(&record.conditions);
        }
    }

    fn record(&mut self, kind: Kind, key: &ObjectKey, spec: &impl Serialize, now: Timestamp) -> &Record {
        let spec = Hash::of(&serde_json::to_vec(spec).unwrap_or_default()).to_string();
        let id = ObjectId { kind, key: key.clone() }.to_string();
        let record = self.records.entry(id).or_insert_with(|| Record {
            created_seconds: now.unix_seconds(),
            ..Record::default()
        });
        if record.spec != spec {
            record.spec = spec;
            record.generation += 1;
        }
        record
    }

    /// Keeps what is said about each object; what is gone from the world is forgotten.
    pub fn put_verdicts(&mut self, verdicts: &BTreeMap<ObjectId, Verdict>, now: Timestamp) -> Result<(), StateError> {
        let moment = jiff::Timestamp::from_second(now.unix_seconds()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        for (id, verdict) in verdicts {
            if let Some(record) = self.records.get_mut(&id.to_string()) {
                conditions::replace(
                    &mut record.conditions,
                    verdict.findings.clone(),
                    verdict.generation,
                    moment,
                );
            }
        }
        let known: Vec<String> = verdicts.keys().map(ToString::to_string).collect();
        self.records.retain(|id, _| known.contains(id));
        let json = serde_json::to_vec_pretty(&self.records).unwrap_or_default();
        Ok(crate::pki::write_folder(
            &self.root,
            &[("objects.json".to_owned(), json)],
        )?)
    }
}

impl Record {
    fn apply(&self, metadata: &mut ObjectMeta) {
        metadata.generation = Some(self.generation);
        metadata.creation_timestamp = jiff::Timestamp::from_second(self.created_seconds).ok().map(Time);
    }
}

/// A custom resource whose metadata and status live in a record.
trait Recorded: Clone + HasSpec<Spec: Serialize> + kube::Resource {
    /// `status.conditions`.
    fn conditions(&mut self) -> &mut Vec<Condition>;
}

macro_rules! recorded {
    ($($kind:ty),+) => {
        $(impl Recorded for $kind {
            fn conditions(&mut self) -> &mut Vec<Condition> {
                &mut self.status.get_or_insert_default().conditions
            }
        })+
    };
}

recorded!(crds::AuthServer, crds::Realm, crds::Client);
