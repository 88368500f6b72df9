//! A folder of YAML files as a source of the [`World`]: what `validate` and `dev` read instead of a cluster.
//!
//! Every file that ends in `.yaml` or `.yml` is read, in folders below as well; hidden ones and kustomization files
//! are not. Objects of other groups are noted and left out. What the schema, its defaults and its CEL rules say about
//! an object is asked of [`crds::admission`], exactly as the API server would.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crds::admission::Admission;
use crds::manifests::Kind;
use k8s_openapi::api::core::v1 as core;
use oidc::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::{Document, NotYaml, documents};
use super::{Lines, ObjectId, ObjectKey, SecretObject, World, manifest_of};

/// Files larger than this are refused: an object in Kubernetes is at most 1.5 MiB.
const FILE_BYTES: u64 = 8 << 20;

/// Namespace of objects that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// What a folder holds.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// The objects.
    pub world: World,
    /// Where each object stands.
    pub sources: BTreeMap<ObjectId, Source>,
    /// What is wrong with objects before anything else is looked at: syntax, schema, CEL.
    pub faults: Vec<Fault>,
    /// What was left out, and why.
    pub notes: Vec<Note>,
    /// Files that cannot be read whole: which objects they hold is not known. See [`Folder::keep`].
    pub unreadable: BTreeSet<PathBuf>,
    /// Objects that may stand in them; see [`Folder::presume`].
    pub presumed: BTreeSet<ObjectId>,
    /// The file of each Secret.
    secret_files: BTreeMap<ObjectKey, PathBuf>,
}

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file, as it was reached from the folder that was named.
    pub file: PathBuf,
    /// Lines of its fields.
    pub lines: Lines,
}

/// A fault of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The object, when it is known which one it is.
    pub object: Option<ObjectId>,
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: u64,
    /// The column, counted from 1, of what is not YAML.
    pub column: Option<u64>,
    /// Path of the field (`spec.redirectUris[2]`); empty when the whole document is meant.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: u64,
    /// What, and why.
    pub message: String,
}

/// A file or folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}", path = .path.display())]
pub struct ReadError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Reads the YAML files of `roots` (folders or single files) in the order of their names.
pub fn read(roots: &[PathBuf], admission: &Admission) -> Result<Folder, ReadError> {
    let mut files = Vec::new();
    for root in roots {
        collect(root, &mut files)?;
    }
    let mut folder = Folder::default();
    for file in files {
        let failed = |source| ReadError {
            path: file.clone(),
            source,
        };
        let size = fs::metadata(&file).map_err(failed)?.len();
        if size > FILE_BYTES {
            let message = format!("the file has {size} bytes; the most that is read is {FILE_BYTES}");
            folder.note_unreadable(&file, 1, None, message);
            continue;
        }
        let bytes = fs::read(&file).map_err(failed)?;
        match String::from_utf8(bytes) {
            Ok(text) => folder.add_file(&file, &text, admission),
            Err(_) => folder.note_unreadable(&file, 1, None, "the file is not UTF-8 text".to_owned()),
        }
    }
    Ok(folder)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    let failed = |source| ReadError {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()
        .map_err(failed)?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        // An editor may remove its temporary file between listing and reading.
        let Ok(metadata) = fs::metadata(&entry) else { continue };
        if name.starts_with('.') {
            continue;
        }
        if metadata.is_dir() {
            collect(&entry, files)?;
        } else if is_manifest(&name) {
            files.push(entry);
        }
    }
    Ok(())
}

/// Whether a file of this name is read.
pub fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().is_some_and(|e| e == "yaml" || e == "yml");
    let kustomization = ["kustomization.yaml", "kustomization.yml"].contains(&name);
    extension && !kustomization && !name.starts_with('.')
}

impl Folder {
    /// Adds the objects of one file.
    pub fn add_file(&mut self, file: &Path, text: &str, admission: &Admission) {
        for document in documents(text) {
            match document {
                Ok(document) => self.add(file, document, admission),
                Err(NotYaml { line, column, message }) => {
                    self.note_unreadable(file, line, Some(column), format!("not valid YAML: {message}"));
                }
            }
        }
    }

    /// Keeps what cannot be judged as it was read `before`: everything that an unreadable file held then, because a
    /// slip of the keyboard withdraws nothing, and an AuthServer that the API server would refuse, because all its
    /// realms hang on it. Returns the objects that were kept for the sake of unreadable files.
    pub fn keep(&mut self, before: &Self) -> BTreeSet<ObjectId> {
        let mut kept = BTreeSet::new();
        for (id, source) in &before.sources {
            let is_unseen = !self.sources.contains_key(id) && self.unreadable.contains(&source.file);
            let is_refused = id.kind == Kind::AuthServer && self.world.undecodable.contains_key(id);
            if is_unseen {
                kept.insert(id.clone());
                self.sources.insert(id.clone(), source.clone());
                if let Some(reason) = before.world.undecodable.get(id) {
                    self.world.undecodable.insert(id.clone(), reason.clone());
                }
            }
            if is_unseen || is_refused {
                self.keep_object(id, before);
            }
        }
        for (key, file) in &before.secret_files {
            if !self.secret_files.contains_key(key)
                && self.unreadable.contains(file)
                && let Some(secret) = before.world.secrets.get(key)
            {
                self.world.secrets.insert(key.clone(), Arc::clone(secret));
                self.secret_files.insert(key.clone(), file.clone());
            }
        }
        for (namespace, labels) in &before.world.namespaces {
            if !self.unreadable.is_empty() && !self.world.namespaces.contains_key(namespace) {
                self.world.namespaces.insert(namespace.clone(), labels.clone());
            }
        }
        kept
    }

    fn keep_object(&mut self, id: &ObjectId, before: &Self) {
        let (world, former, key) = (&mut self.world, &before.world, &id.key);
        let is_kept = match id.kind {
            Kind::AuthServer => copy(&mut world.auth_servers, &former.auth_servers, key),
            Kind::Realm => copy(&mut world.realms, &former.realms, key),
            Kind::Client => copy(&mut world.clients, &former.clients, key),
        };
        if is_kept {
            world.undecodable.remove(id);
        }
    }

    /// Names objects that were there in an earlier run and may stand in the files that cannot be read: what is served
    /// of them stays. Without unreadable files they are gone, and this does nothing.
    pub fn presume(&mut self, known: impl IntoIterator<Item = ObjectId>) {
        if self.unreadable.is_empty() {
            return;
        }
        for id in known {
            if !self.sources.contains_key(&id) {
                let reason = "its file is not valid YAML".to_owned();
                self.world.undecodable.entry(id.clone()).or_insert(reason);
                self.presumed.insert(id);
            }
        }
    }

    fn note_unreadable(&mut self, file: &Path, line: u64, column: Option<u64>, message: String) {
        self.unreadable.insert(file.to_owned());
        self.faults.push(Fault {
            object: None,
            file: file.to_owned(),
            line,
            column,
            field: String::new(),
            message,
        });
    }

    fn fault(&mut self, file: &Path, line: u64, message: String) {
        self.faults.push(Fault {
            object: None,
            file: file.to_owned(),
            line,
            column: None,
            field: String::new(),
            message,
        });
    }

    fn add(&mut self, file: &Path, document: Document, admission: &Admission) {
        let Document { value, lines } = document;
        let text = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        if kind == "List" && api_version == "v1" {
            return self.add_list(file, &value, &lines, admission);
        }
        if api_version.is_empty() || kind.is_empty() {
            return self.fault(
                file,
                lines.first(),
                "not a Kubernetes object: apiVersion or kind is missing".to_owned(),
            );
        }
        let namespace = match text("/metadata/namespace") {
            namespace if namespace.is_empty() => DEFAULT_NAMESPACE.to_owned(),
            namespace => namespace,
        };
        let key = ObjectKey {
            namespace,
            name: text("/metadata/name"),
        };
        let named = || (!key.name.is_empty()).then_some(());
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        match (group, Kind::parse(&kind)) {
            (crds::GROUP, Some(kind)) if named().is_some() => {
                self.add_custom(file, lines, ObjectId { kind, key }, value, admission);
            }
            (crds::GROUP, None) => {
                let kinds = Kind::ALL.map(Kind::as_str).join(", ");
                let message = format!("{kind} is not a kind of {}: there are {kinds}", crds::GROUP);
                self.fault(file, lines.of("kind"), message);
            }
            ("", None) if kind == "Secret" && named().is_some() => self.add_secret(file, &lines, key, value),
            ("", None) if kind == "Namespace" => {
                let labels = serde_json::from_value(value.pointer("/metadata/labels").cloned().unwrap_or_default());
                self.world.namespaces.insert(key.name, labels.unwrap_or_default());
            }
            (crds::GROUP, Some(_)) | ("", None) if kind == "Secret" || group == crds::GROUP => {
                self.fault(file, lines.of("metadata"), format!("{kind} without metadata.name"));
            }
            _ => self.notes.push(Note {
                file: file.to_owned(),
                line: lines.first(),
                message: format!("{kind} {key} ({api_version}) is not read"),
            }),
        }
    }

    fn add_list(&mut self, file: &Path, list: &Value, lines: &Lines, admission: &Admission) {
        let items = list
            .pointer("/items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for (index, value) in items.into_iter().enumerate() {
            let lines = lines.below(&format!("items[{index}]"));
            self.add(file, Document { value, lines }, admission);
        }
    }

    fn add_custom(&mut self, file: &Path, lines: Lines, id: ObjectId, mut value: Value, admission: &Admission) {
        if self.sources.contains_key(&id) {
            let first = self
                .sources
                .get(&id)
                .map(|s| format!("{}:{}", s.file.display(), s.lines.first()));
            let message = format!("{id} is already defined at {}", first.unwrap_or_default());
            let line = lines.of("metadata.name");
            self.faults.push(Fault {
                object: None,
                file: file.to_owned(),
                line,
                column: None,
                field: "metadata.name".to_owned(),
                message,
            });
            return;
        }
        default_metadata(&mut value, &id.key);
        let mut faults: Vec<(String, String)> = admission
            .check(id.kind, &value, None)
            .into_iter()
            .map(|error| (error.path, error.message))
            .collect();
        value = admission.defaulted(id.kind, &value);
        self.world.namespaces.entry(id.key.namespace.clone()).or_default();
        if faults.is_empty() {
            let inserted = match id.kind {
                Kind::AuthServer => insert(&mut self.world.auth_servers, &id.key, value),
                Kind::Realm => insert(&mut self.world.realms, &id.key, value),
                Kind::Client => insert(&mut self.world.clients, &id.key, value),
            };
            if let Err(message) = inserted {
                faults.push((String::new(), message));
            }
        }
        if let Some((path, message)) = faults.first() {
            let reason = if path.is_empty() {
                message.clone()
            } else {
                format!("{path}: {message}")
            };
            self.world.undecodable.insert(id.clone(), reason);
        }
        self.faults.extend(faults.into_iter().map(|(field, message)| Fault {
            object: Some(id.clone()),
            file: file.to_owned(),
            line: lines.of(&field),
            column: None,
            field,
            message,
        }));
        self.sources.insert(
            id,
            Source {
                file: file.to_owned(),
                lines,
            },
        );
    }

    fn add_secret(&mut self, file: &Path, lines: &Lines, key: ObjectKey, value: Value) {
        // The text of a decoding error may quote the content, so it is not repeated.
        match serde_json::from_value::<core::Secret>(value).map(secret_object) {
            Ok(secret) => {
                self.secret_files.insert(key.clone(), file.to_owned());
                self.world.secrets.insert(key, Arc::new(secret));
            }
            Err(_) => self.faults.push(Fault {
                object: None,
                file: file.to_owned(),
                line: lines.first(),
                column: None,
                field: "data".to_owned(),
                message: format!("Secret {key} cannot be read: data must be base64, stringData plain text"),
            }),
        }
    }
}

/// What the API server would fill in.
fn default_metadata(value: &mut Value, key: &ObjectKey) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), key.namespace.clone().into());
        metadata.entry("generation").or_insert(1.into());
    }
    if let Some(object) = value.as_object_mut() {
        // Status belongs to the operator; what a file says about it (after an export) is not taken.
        object.remove("status");
    }
}

/// Copies an object; whether there was one.
fn copy<T>(into: &mut BTreeMap<ObjectKey, Arc<T>>, from: &BTreeMap<ObjectKey, Arc<T>>, key: &ObjectKey) -> bool {
    from.get(key)
        .map(|object| into.insert(key.clone(), Arc::clone(object)))
        .is_some()
}

fn insert<T: DeserializeOwned>(
    into: &mut BTreeMap<ObjectKey, Arc<T>>,
    key: &ObjectKey,
    value: Value,
) -> Result<(), String> {
    let object = serde_json::from_value::<T>(value).map_err(|error| error.to_string())?;
    into.insert(key.clone(), Arc::new(object));
    Ok(())
}

/// A Secret as the API server would keep it: `stringData` laid over `data`.
pub(crate) fn secret_object(secret: core::Secret) -> SecretObject {
    let data = secret
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.0));
    let plain = secret
        .string_data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.into_bytes()));
    SecretObject {
        kind: secret.type_.unwrap_or_else(|| "Opaque".to_owned()),
        labels: secret.metadata.labels.unwrap_or_default().into_iter().collect(),
        annotations: secret.metadata.annotations.unwrap_or_default().into_iter().collect(),
        data: data
            .chain(plain)
            .map(|(key, value)| (key, Secret::new(value)))
            .collect(),
    }
}

/// The Secret that [`secret_manifest`] wrote.
pub fn parse_secret(manifest: &[u8]) -> Option<(ObjectKey, SecretObject)> {
    let secret: core::Secret = serde_json::from_slice(manifest).ok()?;
    let key = ObjectKey::new(secret.metadata.namespace.clone()?, secret.metadata.name.clone()?);
    Some((key, secret_object(secret)))
}

/// A Secret as a manifest, for the folder that `dev` keeps its generated ones in.
pub fn secret_manifest(key: &ObjectKey, secret: &SecretObject) -> Value {
    let data: BTreeMap<&String, String> = secret
        .data
        .iter()
        .map(|(key, value)| (key, BASE64.encode(value.expose())))
        .collect();
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": manifest_of(&secret.labels),
            "annotations": manifest_of(&secret.annotations),
        },
        "type": secret.kind,
        "data": data,
    })
}
