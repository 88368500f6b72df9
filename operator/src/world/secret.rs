//! Secrets as they are kept: there are two for each Client, so what is seldom read is kept small.

use litemap::LiteMap;
use oidc::Secret;
use serde_json::{Map, Value};

/// Labels or annotations.
pub type Texts = LiteMap<String, String>;

/// Labels or annotations as they stand in a manifest.
pub fn manifest_of(texts: &Texts) -> Value {
    let fields = texts
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    Value::Object(fields.collect())
}

/// The content of a Secret, by key.
pub type Data = LiteMap<String, Secret<Vec<u8>>>;

/// A Kubernetes Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecretObject {
    /// `type`.
    pub kind: String,
    /// `metadata.labels`.
    pub labels: Texts,
    /// `metadata.annotations`.
    pub annotations: Texts,
    /// `data`, decoded.
    pub data: Data,
}

/// The metadata of a Secret with our label, apart from the labels and annotations that its [`SecretObject`] holds. As
/// JSON text, because a tree of it takes kilobytes more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretMetadata {
    uid: Box<str>,
    version: Box<str>,
    rest: Box<str>,
}

impl SecretMetadata {
    /// Of `metadata` as the API server shows it.
    pub fn new(mut metadata: Map<String, Value>) -> Self {
        let mut take = |name: &str| match metadata.remove(name) {
            Some(Value::String(text)) => text.into_boxed_str(),
            _ => Box::default(),
        };
        let (uid, version) = (take("uid"), take("resourceVersion"));
        for held in ["labels", "annotations"] {
            metadata.remove(held);
        }
        Self {
            uid,
            version,
            rest: Value::Object(metadata).to_string().into_boxed_str(),
        }
    }

    /// `uid`; empty where nobody gave one.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// `resourceVersion`; empty where nobody gave one.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The fields, without labels and annotations.
    pub fn fields(&self) -> Map<String, Value> {
        let mut fields: Map<String, Value> = serde_json::from_str(&self.rest).unwrap_or_default();
        for (name, text) in [("uid", &self.uid), ("resourceVersion", &self.version)] {
            if !text.is_empty() {
                fields.insert(name.to_owned(), Value::from(text.as_ref()));
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_labels_and_annotations_is_kept() {
        let metadata = serde_json::json!({
            "name": "a", "uid": "u", "resourceVersion": "7", "finalizers": ["example.com/f"],
            "labels": {"a": "b"}, "annotations": {"c": "d"}, "ownerReferences": [{"uid": "o", "controller": true}],
        });
        let Value::Object(metadata) = metadata else {
            unreachable!()
        };
        let kept = SecretMetadata::new(metadata.clone());
        assert_eq!((kept.uid(), kept.version()), ("u", "7"));
        let mut expected = metadata;
        expected.remove("labels");
        expected.remove("annotations");
        assert_eq!(kept.fields(), expected);
    }
}
