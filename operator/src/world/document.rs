//! YAML documents as JSON values that remember on which line each field stands.
//!
//! A file holds many documents; each is parsed on its own, so that a broken one does not take the others with it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// One YAML document of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// Its content.
    pub(super) value: Value,
    /// Lines of its fields.
    pub(super) lines: Lines,
}

/// On which line of the file each field of a document stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    first: u64,
    by_path: BTreeMap<String, u64>,
}

impl Lines {
    /// The line on which the document begins, counted from 1.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The lines of the part at `path`, by paths relative to it.
    #[must_use]
    pub fn below(&self, path: &str) -> Self {
        let by_path = self
            .by_path
            .iter()
            .filter_map(|(full, line)| {
                let rest = full.strip_prefix(path)?.strip_prefix('.')?;
                Some((rest.to_owned(), *line))
            })
            .collect();
        Self {
            first: self.of(path),
            by_path,
        }
    }

    /// The line of the field at `path` (`spec.redirectUris[2]`), or of the nearest field around it that the document
    /// holds.
    pub fn of(&self, path: &str) -> u64 {
        let mut path = path;
        loop {
            if let Some(line) = self.by_path.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return self.first,
            }
        }
    }
}

/// A document that is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct NotYaml {
    /// The line of the file, counted from 1.
    pub(super) line: u64,
    /// The column of that line, counted from 1.
    pub(super) column: u64,
    /// What the parser says.
    pub(super) message: String,
}

/// The documents of a file, in order. Empty documents are left out.
pub(super) fn documents(text: &str) -> Vec<Result<Document, NotYaml>> {
    split(text)
        .into_iter()
        .filter_map(|(offset, part)| parse(offset, &part).transpose())
        .collect()
}

/// Cuts at the lines that begin with `---` (YAML 1.2.2 §9.1.2: at the first column they are a marker wherever they
/// stand). With each part comes the number of lines before it.
fn split(text: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let (mut offset, mut part) = (0, String::new());
    for (number, line) in (0_u64..).zip(text.lines()) {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if marker {
            parts.push((offset, std::mem::take(&mut part)));
            offset = number;
            // What follows the marker belongs to the document; blanks keep its column.
            part.push_str("   ");
            part.push_str(line.get(3..).unwrap_or_default());
        } else {
            part.push_str(line);
        }
        part.push('\n');
    }
    parts.push((offset, part));
    parts
}

fn parse(offset: u64, text: &str) -> Result<Option<Document>, NotYaml> {
    let content = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let Some(before) = text.lines().position(|line| content(&line)) else {
        return Ok(None);
    };
    let first = offset + u64::try_from(before).unwrap_or(0) + 1;
    let node: Node = serde_saphyr::from_str(text).map_err(|error| NotYaml {
        line: offset + error.location().map_or(1, |location| location.line()),
        column: error.location().map_or(1, |location| location.column()),
        message: plain(&error),
    })?;
    let mut lines = Lines {
        first,
        by_path: BTreeMap::new(),
    };
    let value = node.unwind(offset, "", &mut lines.by_path);
    Ok((!value.is_null()).then_some(Document { value, lines }))
}

/// The first line of the parser's message, without its excerpt of the source and its own count of lines, which begins
/// at the document.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let own_place = line.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
    own_place.map_or(line, |(_, message)| message).to_owned()
}

/// A YAML node with the place where it stands.
struct Node(Spanned<Shape>);

enum Shape {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl Node {
    fn unwind(self, offset: u64, path: &str, lines: &mut BTreeMap<String, u64>) -> Value {
        match self.0.value {
            Shape::Scalar(value) => value,
            Shape::List(items) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| {
                    let path = format!("{path}[{index}]");
                    lines.insert(path.clone(), offset + item.0.referenced.line());
                    item.unwind(offset, &path, lines)
                })
                .collect(),
            Shape::Map(fields) => {
                let mut map = Map::new();
                for (key, node) in fields {
                    let path = if path.is_empty() {
                        key.value.clone()
                    } else {
                        format!("{path}.{}", key.value)
                    };
                    lines.insert(path.clone(), offset + key.referenced.line());
                    map.insert(key.value, node.unwind(offset, &path, lines));
                }
                Value::Object(map)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::<Shape>::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Scalar(Value::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Scalar(Value::Number(value.into())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Shape, E> {
        Number::from_f64(value)
            .map(|number| Shape::Scalar(Value::Number(number)))
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Scalar(Value::String(value.to_owned())))
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar(Value::Null))
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Shape::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Shape, A::Error> {
        let mut map = Vec::new();
        while let Some(field) = fields.next_entry()? {
            map.push(field);
        }
        Ok(Shape::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_remembers_its_line() {
        let text = "# head\n---\nkind: Client\nspec:\n  redirectUris:\n  - https://a.example\n  - https://b.example\n--- # two\nkind: Realm\n";
        let found: Vec<Document> = documents(text).into_iter().map(Result::unwrap).collect();
        assert_eq!(found.len(), 2);
        let lines = &found[0].lines;
        assert_eq!(
            [
                lines.first(),
                lines.of("kind"),
                lines.of("spec.redirectUris[1]"),
                lines.of("spec.redirectUris[7].x")
            ],
            [3, 3, 7, 5]
        );
        assert_eq!(found[0].value["spec"]["redirectUris"][1], "https://b.example");
        assert_eq!(found[1].lines.of("kind"), 9);
    }

    #[test]
    fn a_broken_document_leaves_the_others_alone() {
        let text = "kind: A\n---\nkind: [\n---\nkind: B\n";
        let found = documents(text);
        assert_eq!(found.len(), 3);
        assert!(found[0].is_ok() && found[2].is_ok());
        let error = found[1].as_ref().unwrap_err();
        assert!((2..=4).contains(&error.line), "{error:?}");
    }

    #[test]
    fn scalars_keep_their_kind() {
        let text = "a: 1\nb: true\nc: '1'\nd: null\ne: 1.5\nf: |\n  text\n";
        let document = documents(text).remove(0).unwrap();
        assert_eq!(
            document.value,
            serde_json::json!({"a": 1, "b": true, "c": "1", "d": null, "e": 1.5, "f": "text\n"})
        );
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        assert!(documents("a: 1\na: 2\n")[0].is_err());
    }
}
