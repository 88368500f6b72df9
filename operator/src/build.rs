//! Child objects as they should be: pure builders, one room for each kind of custom resource.
//!
//! They take the world and what [`crate::resolve`] decided, and return plain objects; comparing them with what exists and
//! writing the difference is `apply`'s. Every object says whose it is, so that it is found again after a restore that
//! lost owner references and UIDs.

pub mod artefact;
pub mod auth_server;
pub mod client;
pub mod peers;
pub(crate) mod placeholder;
pub mod realm;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crds::manifests::Kind;
use serde_json::{Value, json};
use snapshot::Hash;

use crate::world::{ChildId, ChildKind, ObjectKey, Texts};

/// Annotation with the hash of what was last applied: a field that is not wanted any more shows by it.
pub const APPLIED_ANNOTATION: &str = "auth.nauthera.io/applied";

/// Annotation with the object that a child belongs to: `<Kind>/<namespace>/<name>`.
pub const OWNER_ANNOTATION: &str = "auth.nauthera.io/owner";

/// Annotation with the UID of that object.
pub const OWNER_UID_ANNOTATION: &str = "auth.nauthera.io/owner-uid";

/// Label that every object of ours has, and its value.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "nauthera-operator");

/// Field manager of child objects.
pub const MANAGER: &str = "nauthera-operator";

/// The custom resource that a child belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: String,
}

impl Owner {
    /// The value of [`OWNER_ANNOTATION`].
    pub fn annotation(&self) -> String {
        format!("{}/{}/{}", self.kind.as_str(), self.key.namespace, self.key.name)
    }

    /// Labels of every object of this owner.
    pub fn labels(&self) -> Texts {
        let component = match self.kind {
            Kind::AuthServer => "auth-server",
            Kind::Realm => "realm",
            Kind::Client => "client",
        };
        let labels = [
            MANAGED_BY,
            ("app.kubernetes.io/name", "nauthera"),
            ("app.kubernetes.io/component", component),
            ("app.kubernetes.io/instance", label_value(&self.key.name)),
        ];
        labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// Annotations by which an object of this owner is recognised when UIDs are lost.
    pub fn annotations(&self) -> Texts {
        Texts::from_iter([
            (OWNER_ANNOTATION.to_owned(), self.annotation()),
            (OWNER_UID_ANNOTATION.to_owned(), self.uid.clone()),
        ])
    }

    /// The owner reference that makes an object end with its owner.
    pub fn reference(&self) -> Value {
        json!({
            "apiVersion": format!("{}/{}", crds::GROUP, crds::VERSION),
            "kind": self.kind.as_str(),
            "name": self.key.name,
            "uid": self.uid,
            "controller": true,
            "blockOwnerDeletion": false,
        })
    }
}

/// A label value has 63 characters at most.
fn label_value(name: &str) -> &str {
    let cut = name.get(..63).unwrap_or(name);
    cut.trim_end_matches(['-', '.', '_'])
}

/// A child object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Which object.
    pub id: ChildId,
    /// The fields that we own, `apiVersion`, `kind`, `metadata` with our label and owner reference among them.
    pub object: Value,
    /// The field manager that applies it.
    pub manager: &'static str,
}

impl Desired {
    /// A child of `owner` that ends with it. `body` holds what is its own: `spec`, `data`, and labels and annotations
    /// below `metadata`, over which ours win.
    pub fn owned(id: ChildId, owner: &Owner, body: Value) -> Self {
        let mut object = body;
        set(
            &mut object,
            &["metadata", "ownerReferences"],
            json!([owner.reference()]),
        );
        Self::unowned(id, owner, object)
    }

    /// A child of `owner` that outlives it, because people's data is in it.
    pub fn unowned(id: ChildId, owner: &Owner, body: Value) -> Self {
        let mut object = body;
        set(&mut object, &["apiVersion"], json!(id.kind.api_version()));
        set(&mut object, &["kind"], json!(id.kind.as_str()));
        set(&mut object, &["metadata", "name"], json!(id.key.name));
        set(&mut object, &["metadata", "namespace"], json!(id.key.namespace));
        for (key, value) in owner.labels() {
            set(&mut object, &["metadata", "labels", &key], json!(value));
        }
        for (key, value) in owner.annotations() {
            set(&mut object, &["metadata", "annotations", &key], json!(value));
        }
        let applied = hash(&object, 16);
        set(
            &mut object,
            &["metadata", "annotations", APPLIED_ANNOTATION],
            json!(applied),
        );
        Self {
            id,
            object,
            manager: MANAGER,
        }
    }
}

/// The children of one owner, as they should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Children {
    /// Whose they are.
    pub owner: Owner,
    /// What should be there, in the order of writing.
    pub desired: Vec<Desired>,
    /// What stays as it is for now.
    pub kept: BTreeSet<ChildId>,
    /// When to build them again, although nothing may have changed until then.
    pub again_after: Option<Duration>,
}

impl Children {
    /// The desired child of that kind and name.
    pub fn get(&self, kind: ChildKind, name: &str) -> Option<&Desired> {
        self.desired
            .iter()
            .find(|desired| desired.manager == MANAGER && desired.id.kind == kind && desired.id.key.name == name)
    }
}

/// Sets a field, and makes the objects above it.
pub(crate) fn set(object: &mut Value, path: &[&str], value: Value) {
    let mut at = object;
    for step in path {
        if !at.is_object() {
            *at = json!({});
        }
        let Value::Object(fields) = at else { return };
        at = fields.entry(*step).or_insert(Value::Null);
    }
    *at = value;
}

/// The first digits of the hash of a value; the order of fields does not count.
pub(crate) fn hash(value: &Value, digits: usize) -> String {
    let mut text = String::new();
    write_sorted(value, &mut text);
    Hash::of(text.as_bytes()).to_string().chars().take(digits).collect()
}

fn write_sorted(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            out.push('{');
            for (name, value) in sorted {
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_sorted(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_sorted(item, out);
                out.push(',');
            }
            out.push(']');
        }
        value => out.push_str(&value.to_string()),
    }
}

/// The text at a path of keys.
pub(crate) fn text<'a>(object: &'a Value, path: &[&str]) -> Option<&'a str> {
    field(object, path)?.as_str()
}

/// The value at a path of keys.
pub(crate) fn field<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |at, step| at.get(*step))
}
