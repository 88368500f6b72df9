//! The CustomResourceDefinitions, as the API server gets them.
//!
//! They are derived from the Rust types and finished here with what the derivation cannot say. The
//! committed files under `crds/manifests` are compared with this by a test.

use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::{AuthServer, Client, Realm};

/// A kind of custom resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `AuthServer`.
    AuthServer,
    /// `Realm`.
    Realm,
    /// `Client`.
    Client,
}

/// A definition could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// As JSON.
    #[error("custom resource definition cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// As YAML.
    #[error("custom resource definition cannot be written as YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

impl Kind {
    /// Every kind, in the order in which objects build upon each other.
    pub const ALL: [Self; 3] = [Self::AuthServer, Self::Realm, Self::Client];

    /// The kind, as it stands in `kind`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthServer => "AuthServer",
            Self::Realm => "Realm",
            Self::Client => "Client",
        }
    }

    /// The kind of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// File name of its manifest.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::AuthServer => "auth.nauthera.io_authservers.yaml",
            Self::Realm => "auth.nauthera.io_realms.yaml",
            Self::Client => "auth.nauthera.io_clients.yaml",
        }
    }

    /// Its CustomResourceDefinition, with the keys of every object sorted.
    pub fn definition(self) -> Result<Value, ManifestError> {
        let mut definition = serde_json::to_value(match self {
            Self::AuthServer => AuthServer::crd(),
            Self::Realm => Realm::crd(),
            Self::Client => Client::crd(),
        })?;
        if let Some(schema) = definition.pointer_mut(SCHEMA_POINTER) {
            finish(schema);
        }
        Ok(sorted(definition))
    }

    /// The OpenAPI schema of its objects.
    pub fn schema(self) -> Result<Value, ManifestError> {
        let mut definition = self.definition()?;
        Ok(definition
            .pointer_mut(SCHEMA_POINTER)
            .map(Value::take)
            .unwrap_or_default())
    }
}

const SCHEMA_POINTER: &str = "/spec/versions/0/schema/openAPIV3Schema";

/// File name and content of every CustomResourceDefinition, as YAML.
pub fn manifests() -> Result<Vec<(&'static str, String)>, ManifestError> {
    Kind::ALL
        .into_iter()
        .map(|kind| Ok((kind.file_name(), yaml(&kind.definition()?)?)))
        .collect()
}

fn yaml(definition: &Value) -> Result<String, ManifestError> {
    let body = serde_saphyr::to_string(definition)?;
    Ok(format!(
        "# Generated from the types in crds/src by `make generate`; do not edit.\n{body}"
    ))
}

/// Finishes the schema of a kind.
fn finish(schema: &mut Value) {
    visit(schema, &mut |node| {
        // The API server then treats `null` as absent, as it does for its own kinds.
        node.remove("nullable");
        // A union carries a CEL rule with a message for people; that of `oneOf` is for nobody.
        node.remove("oneOf");
        if let Some(Value::String(description)) = node.get_mut("description") {
            *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        for bound in ["minimum", "maximum"] {
            if let Some(value) = node.get_mut(bound) {
                *value = whole(value);
            }
        }
    });
    // An object that nobody has looked at yet has a status that says so. A default of the inner
    // field alone would give it none.
    if let Some(status) = schema.pointer_mut("/properties/status").and_then(Value::as_object_mut) {
        status.insert("default".to_owned(), json!({"observedGeneration": -1}));
        status.insert(
            "description".to_owned(),
            json!("What the operator knows about the object. Read-only."),
        );
    }
}

/// The same number without a fraction of zero; every bound of ours is whole.
fn whole(number: &Value) -> Value {
    let text = number.to_string();
    text.strip_suffix(".0")
        .and_then(|digits| digits.parse::<i64>().ok())
        .map_or(number.clone(), Value::from)
}

/// Calls `change` for every schema inside `schema`, itself included.
fn visit(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    let Some(node) = schema.as_object_mut() else { return };
    change(node);
    if let Some(properties) = node.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|property| visit(property, change));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = node.get_mut(key) {
            visit(inner, change);
        }
    }
}

/// The same value with sorted keys, whatever features of `serde_json` the build has.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            entries.into_iter().map(|(key, value)| (key, sorted(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::Value;

    use super::{Kind, visit};

    fn columns(kind: Kind) -> String {
        let definition = kind.definition().unwrap();
        let columns = definition
            .pointer("/spec/versions/0/additionalPrinterColumns")
            .unwrap()
            .as_array()
            .unwrap();
        let line = |column: &Value| {
            let wide = if column.get("priority").is_some() {
                " (wide)"
            } else {
                ""
            };
            format!(
                "{}{wide}: {}",
                column["name"].as_str().unwrap(),
                column["jsonPath"].as_str().unwrap()
            )
        };
        columns.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_columns_answer_whether_it_is_live_and_if_not_why() {
        assert_snapshot!(columns(Kind::AuthServer), @r#"
        Ready: .status.conditions[?(@.type=="Ready")].status
        Replicas: .status.replicas.summary
        Realms: .status.realms
        Clients: .status.clients
        Version (wide): .status.version
        Reason: .status.conditions[?(@.type=="Ready")].reason
        Message: .status.conditions[?(@.type=="Ready")].message
        Age: .metadata.creationTimestamp
        "#);
        assert_snapshot!(columns(Kind::Realm), @r#"
        Issuer: .spec.issuer
        Ready: .status.conditions[?(@.type=="Ready")].status
        Server (wide): .spec.serverRef.name
        Reason: .status.conditions[?(@.type=="Ready")].reason
        Message: .status.conditions[?(@.type=="Ready")].message
        Age: .metadata.creationTimestamp
        "#);
        assert_snapshot!(columns(Kind::Client), @r#"
        Realm: .spec.realmRef.name
        Ready: .status.conditions[?(@.type=="Ready")].status
        Client ID (wide): .status.clientId
        Secret (wide): .status.secret.name
        Reason: .status.conditions[?(@.type=="Ready")].reason
        Message: .status.conditions[?(@.type=="Ready")].message
        Age: .metadata.creationTimestamp
        "#);
    }

    #[test]
    fn every_string_list_and_map_is_bounded() {
        for kind in Kind::ALL {
            let mut schema = kind.schema().unwrap();
            let mut unbounded = Vec::new();
            visit(&mut schema, &mut |node| {
                let has = |key: &str| node.contains_key(key);
                let bounded = match node.get("type").and_then(Value::as_str) {
                    Some("string") => has("maxLength") || has("enum") || has("format"),
                    Some("array") => has("maxItems") && has("x-kubernetes-list-type"),
                    Some("object") => has("maxProperties") || !has("additionalProperties"),
                    Some("integer") => has("minimum") || has("format"),
                    Some("boolean") => true,
                    Some(_) => false,
                    None => has("x-kubernetes-int-or-string"),
                };
                if !bounded {
                    unbounded.push(Value::Object(node.clone()));
                }
            });
            // `metadata`, `apiVersion` and `kind` belong to the API server.
            assert!(unbounded.is_empty(), "{kind:?}: {unbounded:#?}");
        }
    }

    #[test]
    fn every_field_is_documented() {
        for kind in Kind::ALL {
            let mut schema = kind.schema().unwrap();
            visit(&mut schema, &mut |node| {
                let Some(Value::Object(properties)) = node.get("properties") else {
                    return;
                };
                for (name, property) in properties {
                    let metadata = name == "metadata" && property.get("properties").is_none();
                    assert!(metadata || property.get("description").is_some(), "{kind:?}: {name}");
                }
            });
        }
    }

    #[test]
    fn a_fresh_object_has_a_status_that_says_nobody_looked_at_it() {
        for kind in Kind::ALL {
            let schema = kind.schema().unwrap();
            assert_eq!(
                schema.pointer("/properties/status/default/observedGeneration"),
                Some(&Value::from(-1))
            );
        }
    }
}
