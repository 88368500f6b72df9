//! The reference page of the custom resources, made from their schemas.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::cel::ONE_OF;
use crate::conditions::{ConditionType, Prognosis, Reason};
use crate::manifests::{Kind, ManifestError};

const HEAD: &str = "\
<!-- Generated from the types in crds/src by `make generate`; do not edit. -->
# Custom resources

Group `auth.nauthera.io`, version `v1alpha1`. `kubectl get nauthera` lists the objects of every kind.
`kubectl explain client.spec.tokens` shows the same texts in a terminal.

A field without default may be left out unless it is marked as required. Durations are written in
hours, minutes and seconds: `90s`, `15m`, `1h30m`, `720h`.
";

/// The reference page, as Markdown.
pub fn reference_page() -> Result<String, ManifestError> {
    let mut page = HEAD.to_owned();
    for kind in Kind::ALL {
        let definition = kind.definition()?;
        let short = definition
            .pointer("/spec/names/shortNames/0")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let schema = kind.schema()?;
        let _ = write!(
            page,
            "\n## {} (`{short}`)\n\n{}\n",
            kind.as_str(),
            text(&schema, "description")
        );
        for part in ["spec", "status"] {
            let Some(part_schema) = schema.get("properties").and_then(|properties| properties.get(part)) else {
                continue;
            };
            page.push_str("\n| field | type | default | description |\n|---|---|---|---|\n");
            fields(&mut page, part_schema, part);
            let mut found = Vec::new();
            rules(part_schema, part, &mut found);
            if !found.is_empty() {
                let _ = write!(page, "\nRules:\n\n{}\n", found.join("\n"));
            }
        }
    }
    page.push_str(&conditions());
    Ok(page)
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn fields(page: &mut String, schema: &Value, path: &str) {
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    for (name, field) in properties {
        let path = format!("{path}.{name}");
        if name == "conditions" {
            let _ = writeln!(page, "| `{path}[]` | list | | See [Conditions](#conditions). |");
            continue;
        }
        let default = match field.get("default") {
            Some(default) if field.get("properties").is_none() => format!("`{}`", plain(default)),
            Some(Value::Object(union)) if is_union(field) => format!("`{}`", plain_keys(union)),
            _ if required.iter().any(|required| required == name) => "required".to_owned(),
            _ => String::new(),
        };
        let description = text(field, "description").replace('|', "\\|");
        let _ = writeln!(page, "| `{path}` | {} | {default} | {description} |", shape(field));
        fields(page, field, &path);
        if let Some(items) = field.get("items") {
            fields(page, items, &format!("{path}[]"));
        }
    }
}

/// Type and bounds in a few words.
fn shape(schema: &Value) -> String {
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return "quantity".to_owned();
    }
    let bounds = |min: &str, max: &str| match (schema.get(min), schema.get(max)) {
        (Some(min), Some(max)) if min == max => format!(" of {max}"),
        (Some(min), Some(max)) => format!(", {min} to {max}"),
        (None, Some(max)) => format!(", up to {max}"),
        (Some(min), None) => format!(", at least {min}"),
        (None, None) => String::new(),
    };
    if let Some(choices) = schema.get("enum") {
        return format!("one of {}", plain(choices).replace(", ", " / "));
    }
    match text(schema, "type") {
        "array" => {
            let items = schema.get("items").map(shape).unwrap_or_default();
            let items = items.split(',').next().unwrap_or_default();
            format!("list of {items}{}", bounds("minItems", "maxItems"))
        }
        "object" => match schema.get("additionalProperties") {
            Some(inner) => {
                let inner = shape(inner);
                format!(
                    "map of {}{}",
                    inner.split(',').next().unwrap_or_default(),
                    bounds("minProperties", "maxProperties")
                )
            }
            None => "object".to_owned(),
        },
        "string" if text(schema, "format") == "date-time" => "time".to_owned(),
        "string" if text(schema, "pattern").contains("[0-9]+h") => "duration".to_owned(),
        "string" => format!("string{}", bounds("minLength", "maxLength")),
        other => format!("{other}{}", bounds("minimum", "maximum")),
    }
}

/// Whether exactly one of the members of the object is set.
fn is_union(schema: &Value) -> bool {
    let first = schema
        .pointer("/x-kubernetes-validations/0/message")
        .and_then(Value::as_str);
    first.is_some_and(|message| message.starts_with(ONE_OF))
}

fn plain_keys(map: &Map<String, Value>) -> String {
    map.keys().cloned().collect::<Vec<_>>().join(", ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn rules(schema: &Value, path: &str, found: &mut Vec<String>) {
    let here = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    found.extend(here.iter().map(|rule| format!("- `{path}`: {}", text(rule, "message"))));
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, field) in properties {
            rules(field, &format!("{path}.{name}"), found);
        }
    }
    if let Some(items) = schema.get("items") {
        rules(items, &format!("{path}[]"), found);
    }
}

fn conditions() -> String {
    let mut page = "\n## Conditions\n\nTypes:\n\n| type | meaning when `True` |\n|---|---|\n".to_owned();
    for kind in ConditionType::ALL {
        let _ = writeln!(page, "| `{kind}` | {} |", kind.description().trim());
    }
    page.push_str("\nReasons, and what an object that is not ready for this reason does:\n\n| reason | meaning | then |\n|---|---|---|\n");
    for reason in Reason::ALL {
        let then = match reason.prognosis() {
            Prognosis::Good => "",
            Prognosis::Progressing => "waits (`Reconciling`)",
            Prognosis::Terminal => "needs somebody (`Stalled`)",
        };
        let _ = writeln!(page, "| `{reason}` | {} | {then} |", reason.description().trim());
    }
    page
}
