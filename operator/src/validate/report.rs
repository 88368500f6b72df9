//! What `validate` prints: a table and the mistakes for people, or JSON for pipelines.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crds::conditions::Reason;
use serde::Serialize;

use crate::table::Table;
use crate::world::ObjectId;
use crate::world::folder::Note;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub(super) objects: Vec<Judged>,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) notes: Vec<Note>,
}

/// An object with the number of its mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) object: ObjectId,
    pub(super) file: PathBuf,
    pub(super) line: u64,
    pub(super) mistakes: usize,
}

/// Something that has to be corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) object: Option<ObjectId>,
    pub(super) file: PathBuf,
    pub(super) line: u64,
    pub(super) field: String,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Report {
    /// Whether everything would be accepted.
    pub fn is_valid(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// Whether there was nothing to judge.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.mistakes.is_empty()
    }
}

fn place(file: &Path, line: u64) -> String {
    format!("{}:{line}", file.display())
}

/// The report for people.
pub fn text(report: &Report) -> String {
    let mut table = Table::new(["KIND", "NAMESPACE", "NAME", "VALID", "SOURCE"]);
    for judged in &report.objects {
        let valid = if judged.mistakes == 0 { "True" } else { "False" };
        let key = &judged.object.key;
        let source = place(&judged.file, judged.line);
        table.row([judged.object.kind.as_str(), &key.namespace, &key.name, valid, &source]);
    }
    let mut out = table.to_string();
    for mistake in &report.mistakes {
        let _ = write!(out, "\n{}: ", place(&mistake.file, mistake.line));
        if let Some(object) = &mistake.object {
            let _ = write!(out, "{object}: ");
        }
        let field = if mistake.field.is_empty() {
            String::new()
        } else {
            format!("{}: ", mistake.field)
        };
        let _ = writeln!(out, "{}\n  {field}{}", mistake.reason, mistake.message);
    }
    for note in &report.notes {
        let _ = writeln!(out, "\n{}: note: {}", place(&note.file, note.line), note.message);
    }
    let (objects, mistakes) = (report.objects.len(), report.mistakes.len());
    let s = |count: usize| if count == 1 { "" } else { "s" };
    let _ = match mistakes {
        _ if report.is_empty() => writeln!(out, "nothing to validate: no custom resource of {} found", crds::GROUP),
        0 => writeln!(out, "\n{objects} object{} valid", s(objects)),
        _ => writeln!(
            out,
            "\n{mistakes} mistake{} in {objects} object{}",
            s(mistakes),
            s(objects)
        ),
    };
    out
}

/// The report as one JSON object: `valid`, `objects`, `mistakes`, `notes`. Fields are only ever added.
pub fn json(report: &Report) -> Result<String, serde_json::Error> {
    let object = |id: &ObjectId| (id.kind.as_str(), id.key.namespace.clone(), id.key.name.clone());
    let objects = report.objects.iter().map(|judged| {
        let (kind, namespace, name) = object(&judged.object);
        JsonObject {
            kind,
            namespace,
            name,
            valid: judged.mistakes == 0,
            file: judged.file.display().to_string(),
            line: judged.line,
        }
    });
    let mistakes = report.mistakes.iter().map(|mistake| {
        let (kind, namespace, name) = match &mistake.object {
            Some(id) => (
                Some(id.kind.as_str()),
                Some(id.key.namespace.clone()),
                Some(id.key.name.clone()),
            ),
            None => (None, None, None),
        };
        JsonMistake {
            kind,
            namespace,
            name,
            file: mistake.file.display().to_string(),
            line: mistake.line,
            field: &mistake.field,
            reason: mistake.reason.as_str(),
            message: &mistake.message,
        }
    });
    let notes = report.notes.iter().map(|note| JsonNote {
        file: note.file.display().to_string(),
        line: note.line,
        message: &note.message,
    });
    serde_json::to_string_pretty(&JsonReport {
        valid: report.is_valid(),
        objects: objects.collect(),
        mistakes: mistakes.collect(),
        notes: notes.collect(),
    })
}

#[derive(Serialize)]
struct JsonReport<'a> {
    valid: bool,
    objects: Vec<JsonObject>,
    mistakes: Vec<JsonMistake<'a>>,
    notes: Vec<JsonNote<'a>>,
}

#[derive(Serialize)]
struct JsonObject {
    kind: &'static str,
    namespace: String,
    name: String,
    valid: bool,
    file: String,
    line: u64,
}

#[derive(Serialize)]
struct JsonMistake<'a> {
    kind: Option<&'static str>,
    namespace: Option<String>,
    name: Option<String>,
    file: String,
    line: u64,
    field: &'a str,
    reason: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct JsonNote<'a> {
    file: String,
    line: u64,
    message: &'a str,
}
