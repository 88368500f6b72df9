//! What the API server does to an object before it is stored, without a cluster: defaults, schema,
//! CEL rules.
//!
//! It reads the same generated schema that the API server gets, so there is one source of truth.
//! Not here: admission policies, quotas and everything that needs another object.

use std::collections::BTreeMap;
use std::fmt;

use kube::core::cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use regex::Regex;
use serde_json::{Map, Value};

use crate::manifests::{Kind, ManifestError};
use crate::{GROUP, VERSION};

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field, such as `spec.redirectUris[2]`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// The check could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// There is no schema.
    #[error("no schema to check against")]
    Manifest(#[from] ManifestError),
    /// A pattern of the schema is not a regular expression.
    #[error("pattern in the schema is not a regular expression")]
    Pattern(#[from] regex::Error),
}

/// The rules of every kind, compiled once.
pub struct Admission {
    auth_server: Rules,
    realm: Rules,
    client: Rules,
}

struct Rules {
    schema: Value,
    cel: CompiledSchema,
    patterns: BTreeMap<String, Regex>,
}

impl Admission {
    /// Compiles the rules.
    pub fn new() -> Result<Self, AdmissionError> {
        Ok(Self {
            auth_server: Rules::new(Kind::AuthServer)?,
            realm: Rules::new(Kind::Realm)?,
            client: Rules::new(Kind::Client)?,
        })
    }

    fn rules(&self, kind: Kind) -> &Rules {
        match kind {
            Kind::AuthServer => &self.auth_server,
            Kind::Realm => &self.realm,
            Kind::Client => &self.client,
        }
    }

    /// The object with the defaults of its kind, as it would be stored.
    pub fn defaulted(&self, kind: Kind, object: &Value) -> Value {
        let mut object = object.clone();
        set_defaults(&self.rules(kind).schema, &mut object);
        object
    }

    /// Everything that the API server would refuse about the object; with `old`, about the change
    /// from `old` to it. Sorted by path; empty when it would be stored. Defaults are set first, in
    /// both.
    pub fn check(&self, kind: Kind, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let rules = self.rules(kind);
        let object = self.defaulted(kind, object);
        let old = old.map(|old| self.defaulted(kind, old));
        let mut walk = Walk {
            rules,
            errors: Vec::new(),
            malformed: false,
        };
        walk.envelope(kind, &object);
        walk.value(&rules.schema, &object, "");
        let Walk {
            mut errors, malformed, ..
        } = walk;
        if !malformed {
            errors.extend(rules.cel(&object, old.as_ref(), errors.is_empty()));
        }
        errors.sort_by(|a, b| a.path.cmp(&b.path));
        errors
    }
}

impl Rules {
    fn new(kind: Kind) -> Result<Self, AdmissionError> {
        let schema = kind.schema()?;
        let mut patterns = BTreeMap::new();
        collect_patterns(&schema, &mut patterns)?;
        Ok(Self {
            cel: compile_schema(&schema),
            schema,
            patterns,
        })
    }

    /// What the CEL rules say. A rule that cannot be evaluated is passed over when the schema has
    /// already refused a value (`duration('soon')`), and an error otherwise.
    fn cel(&self, object: &Value, old: Option<&Value>, schema_holds: bool) -> Vec<FieldError> {
        let Err(errors) = Validator::new().validate_compiled(&self.cel, object, old) else {
            return Vec::new();
        };
        errors
            .into_iter()
            .filter(|error| schema_holds || error.kind == ErrorKind::ValidationFailure)
            .map(|error| FieldError {
                path: error.field_path,
                message: error.message,
            })
            .collect()
    }
}

fn collect_patterns(schema: &Value, patterns: &mut BTreeMap<String, Regex>) -> Result<(), regex::Error> {
    match schema {
        Value::Object(node) => {
            if let Some(Value::String(pattern)) = node.get("pattern") {
                patterns.insert(pattern.clone(), Regex::new(pattern)?);
            }
            node.values().try_for_each(|inner| collect_patterns(inner, patterns))
        }
        Value::Array(items) => items.iter().try_for_each(|inner| collect_patterns(inner, patterns)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Drops what is `null` (no field of ours is nullable) and fills in what is missing.
fn set_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if open(schema) {
                return;
            }
            if let Some(Value::Object(properties)) = schema.get("properties") {
                fields.retain(|name, field| !field.is_null() || !properties.contains_key(name));
                for (name, property) in properties {
                    if let (None, Some(default)) = (fields.get(name), property.get("default")) {
                        fields.insert(name.clone(), default.clone());
                    }
                    if let Some(field) = fields.get_mut(name) {
                        set_defaults(property, field);
                    }
                }
            }
            if let Some(inner) = schema.get("additionalProperties") {
                fields.values_mut().for_each(|field| set_defaults(inner, field));
            }
        }
        Value::Array(items) => {
            if let Some(inner) = schema.get("items") {
                for item in items {
                    set_defaults(inner, item);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn open(schema: &Value) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
}

/// One pass of an object against its schema.
struct Walk<'a> {
    rules: &'a Rules,
    errors: Vec<FieldError>,
    /// The object does not have the shape that the CEL rules count on.
    malformed: bool,
}

impl Walk<'_> {
    fn refuse(&mut self, path: &str, message: impl Into<String>) {
        self.errors.push(FieldError {
            path: path.to_owned(),
            message: message.into(),
        });
    }

    fn malformed(&mut self, path: &str, message: impl Into<String>) {
        self.malformed = true;
        self.refuse(path, message);
    }

    /// What stands around `spec`, which no schema describes.
    fn envelope(&mut self, kind: Kind, object: &Value) {
        let expected = format!("{GROUP}/{VERSION}");
        if object.get("apiVersion").and_then(Value::as_str) != Some(&expected) {
            self.refuse("apiVersion", format!("must be {expected}"));
        }
        if object.get("kind").and_then(Value::as_str) != Some(kind.as_str()) {
            self.refuse("kind", format!("must be {}", kind.as_str()));
        }
        match object.pointer("/metadata/name").and_then(Value::as_str) {
            Some(name) if !is_subdomain(name) => {
                self.refuse(
                    "metadata.name",
                    "must consist of lower-case letters, digits, - and . and begin and end with a letter or digit",
                );
            }
            Some(_) => {}
            None => self.refuse("metadata.name", "is required"),
        }
    }

    fn value(&mut self, schema: &Value, value: &Value, path: &str) {
        if !self.has_type(schema, value, path) {
            return;
        }
        if let Some(Value::Array(allowed)) = schema.get("enum")
            && !allowed.contains(value)
        {
            let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            self.refuse(path, format!("must be one of {}", allowed.join(", ")));
        }
        match value {
            Value::Object(fields) => self.object(schema, fields, path),
            Value::Array(items) => self.array(schema, items, path),
            Value::String(text) => self.string(schema, text, path),
            Value::Number(number) => self.number(schema, number, path),
            Value::Bool(_) | Value::Null => {}
        }
    }

    fn has_type(&mut self, schema: &Value, value: &Value, path: &str) -> bool {
        let expected = if schema.get("x-kubernetes-int-or-string").is_some() {
            "integer or string"
        } else {
            schema.get("type").and_then(Value::as_str).unwrap_or("object")
        };
        let fits = match value {
            Value::Object(_) => expected == "object",
            Value::Array(_) => expected == "array",
            Value::String(_) => expected.ends_with("string"),
            Value::Bool(_) => expected == "boolean",
            Value::Number(number) => expected == "number" || expected.starts_with("integer") && number.is_i64(),
            Value::Null => false,
        };
        if !fits {
            self.malformed(path, format!("must be of type {expected}, not {}", type_name(value)));
        }
        fits
    }

    fn object(&mut self, schema: &Value, fields: &Map<String, Value>, path: &str) {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let required = schema
            .get("required")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        for name in required.iter().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                self.malformed(&join(path, name), "is required");
            }
        }
        if let Some(max) = bound(schema, "maxProperties")
            && fields.len() > max
        {
            self.malformed(path, format!("must have at most {max} entries, not {}", fields.len()));
        }
        for (name, field) in fields {
            let path = join(path, name);
            if let Some(property) = properties.get(name) {
                self.value(property, field, &path);
            } else if let Some(inner) = schema.get("additionalProperties") {
                self.value(inner, field, &path);
            } else if !open(schema) && !is_envelope(&path) {
                self.refuse(&path, "unknown field");
            }
        }
    }

    fn array(&mut self, schema: &Value, items: &[Value], path: &str) {
        if let Some(max) = bound(schema, "maxItems")
            && items.len() > max
        {
            self.malformed(path, format!("must have at most {max} items, not {}", items.len()));
        }
        if let Some(min) = bound(schema, "minItems")
            && items.len() < min
        {
            self.refuse(path, format!("must have at least {min} items, or be left out"));
        }
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if let Some(inner) = schema.get("items") {
                self.value(inner, item, &path);
            }
            if items.iter().take(index).any(|former| same_entry(schema, former, item)) {
                self.refuse(&path, "duplicate value");
            }
        }
    }

    fn string(&mut self, schema: &Value, text: &str, path: &str) {
        let chars = text.chars().count();
        if let Some(max) = bound(schema, "maxLength")
            && chars > max
        {
            self.malformed(path, format!("must have at most {max} characters, not {chars}"));
        }
        if let Some(min) = bound(schema, "minLength")
            && chars < min
        {
            self.refuse(path, format!("must have at least {min} characters, not {chars}"));
        }
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && self
                .rules
                .patterns
                .get(pattern)
                .is_some_and(|regex| !regex.is_match(text))
        {
            self.refuse(path, format!("must match {pattern}"));
        }
        if schema.get("format").and_then(Value::as_str) == Some("date-time") && text.parse::<jiff::Timestamp>().is_err()
        {
            self.malformed(path, "must be a time such as 2026-01-31T12:00:00Z");
        }
    }

    fn number(&mut self, schema: &Value, number: &serde_json::Number, path: &str) {
        let Some(value) = number.as_i64() else { return };
        if let Some(min) = schema.get("minimum").and_then(Value::as_i64)
            && value < min
        {
            self.refuse(path, format!("must be at least {min}"));
        }
        if let Some(max) = schema.get("maximum").and_then(Value::as_i64)
            && value > max
        {
            self.refuse(path, format!("must be at most {max}"));
        }
    }
}

/// Whether two items of a list exclude each other: by their keys in a map-list, as a whole in a set.
fn same_entry(schema: &Value, a: &Value, b: &Value) -> bool {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => a == b,
        Some("map") => {
            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            keys.is_some_and(|keys| {
                keys.iter()
                    .filter_map(Value::as_str)
                    .all(|key| a.get(key) == b.get(key))
            })
        }
        _ => false,
    }
}

fn bound(schema: &Value, name: &str) -> Option<usize> {
    schema
        .get(name)
        .and_then(Value::as_u64)
        .and_then(|bound| usize::try_from(bound).ok())
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn is_envelope(path: &str) -> bool {
    matches!(path, "apiVersion" | "kind" | "metadata") || path.starts_with("metadata.")
}

fn is_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    use super::Admission;
    use crate::manifests::Kind;

    fn client(spec: &Value) -> Value {
        json!({
            "apiVersion": "auth.nauthera.io/v1alpha1", "kind": "Client",
            "metadata": {"name": "shop", "labels": {"any": "thing"}}, "spec": spec,
        })
    }

    fn check(spec: &Value) -> String {
        let errors = Admission::new().unwrap().check(Kind::Client, &client(spec), None);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn defaults_are_set_at_every_depth_and_null_counts_as_absent() {
        let given = client(
            &json!({"type": "Service", "realmRef": {"name": "r"}, "pkce": null, "tokens": {"format": "Opaque"}}),
        );
        let stored = Admission::new().unwrap().defaulted(Kind::Client, &given);
        assert_eq!(stored["spec"]["pkce"], json!("Required"));
        assert_eq!(
            stored["spec"]["tokens"],
            json!({"format": "Opaque", "refreshRotation": "Always"})
        );
        assert_eq!(stored["status"], json!({"observedGeneration": -1}));
        let client: crate::Client = serde_json::from_value(stored).unwrap();
        assert_eq!(client.spec.scopes, crate::client::ClientScopes::default());
    }

    #[test]
    fn every_mistake_is_reported_at_its_field() {
        assert_snapshot!(check(&json!({
            "type": "Confidentail",
            "realmRef": {"namespace": "-"},
            "redirectUris": ["https://a.example/cb", "https://a.example/cb", "http://a.example/cb"],
            "tokens": {"accessTokenLifetime": "soon", "lifetime": "1h"},
            "displayName": "x".repeat(65),
            "secret": {"keys": {"ID": "client-uid"}},
            "consent": 1,
        })), @r"
        spec.consent: must be of type string, not integer
        spec.displayName: must have at most 64 characters, not 65
        spec.realmRef.name: is required
        spec.realmRef.namespace: must match ^[a-z0-9]([a-z0-9-]*[a-z0-9])?$
        spec.redirectUris[1]: duplicate value
        spec.secret.keys.ID: must be one of client-id, client-secret, issuer, discovery-url, authorization-endpoint, token-endpoint, userinfo-endpoint, jwks-uri, end-session-endpoint
        spec.tokens.accessTokenLifetime: must match ^([0-9]+h)?([0-9]+m)?([0-9]+s)?$
        spec.tokens.lifetime: unknown field
        spec.type: must be one of Confidential, Public, Service
        ");
    }

    #[test]
    fn a_malformed_duration_is_refused_by_its_pattern_alone() {
        assert_snapshot!(check(&json!({
            "type": "Service", "realmRef": {"name": "r"}, "tokens": {"accessTokenLifetime": "soon"},
        })), @"spec.tokens.accessTokenLifetime: must match ^([0-9]+h)?([0-9]+m)?([0-9]+s)?$");
    }

    #[test]
    fn what_stands_around_the_spec_is_checked_too() {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "A"}, "data": {}});
        let errors = Admission::new().unwrap().check(Kind::Realm, &object, None);
        let errors = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert_snapshot!(errors, @r"
        apiVersion: must be auth.nauthera.io/v1alpha1
        data: unknown field
        kind: must be Realm
        metadata.name: must consist of lower-case letters, digits, - and . and begin and end with a letter or digit
        spec: is required
        ");
    }

    #[test]
    fn every_rule_compiles() {
        let admission = Admission::new().unwrap();
        for kind in Kind::ALL {
            assert!(
                !admission.rules(kind).cel.has_errors(),
                "{:?}",
                admission.rules(kind).cel.compilation_errors()
            );
        }
    }
}
