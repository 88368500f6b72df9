//! `nauthera-operator validate`: judges folders of YAML files as the API server and then the operator would.
//!
//! The check for a pipeline: schema, defaults and CEL rules, then [`crate::resolve`] over everything together, so that
//! references, admission and conflicts are seen before anything is applied. Generated keys and secrets count as there.

mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crds::admission::Admission;
use crds::conditions::{ConditionType, Reason};
use oidc::Timestamp;

use report::{Judged, Mistake};
pub use report::{Report, json, text};

use crate::build::placeholder;
use crate::resolve::{Inputs, Problem, Resolution, Verdict, resolve};
use crate::world::folder::{self, Folder, ReadError};
use crate::world::{ObjectId, World};

/// Judges everything that the files and folders hold, together.
pub fn validate(paths: &[PathBuf], admission: &Admission, now: Timestamp) -> Result<Report, ReadError> {
    Ok(judge(folder::read(paths, admission)?, now))
}

/// Judges what was read.
pub fn judge(mut folder: Folder, now: Timestamp) -> Report {
    let first = resolve_alone(&folder.world, now);
    placeholder::fill(&mut folder.world, &first);
    let resolution = resolve_alone(&folder.world, now);
    let mut mistakes: Vec<Mistake> = folder
        .faults
        .iter()
        .map(|fault| Mistake {
            object: fault.object.clone(),
            file: fault.file.clone(),
            line: fault.line,
            field: fault.field.clone(),
            reason: if fault.object.is_some() {
                Reason::Invalid
            } else {
                Reason::Undecodable
            },
            message: fault.message.clone(),
        })
        .collect();
    for (id, verdict) in &resolution.verdicts {
        if !folder.world.undecodable.contains_key(id) {
            mistakes.extend(problems(verdict).map(|problem| mistake(&folder, id, problem)));
        }
    }
    mistakes.sort_by(|a, b| (&a.file, a.line, &a.field).cmp(&(&b.file, b.line, &b.field)));
    mistakes.dedup();
    let objects = folder.sources.iter().map(|(id, source)| Judged {
        object: id.clone(),
        file: source.file.clone(),
        line: source.lines.first(),
        mistakes: mistakes
            .iter()
            .filter(|mistake| mistake.object.as_ref() == Some(id))
            .count(),
    });
    Report {
        objects: objects.collect(),
        mistakes,
        notes: folder.notes,
    }
}

fn resolve_alone(world: &World, now: Timestamp) -> Resolution {
    let (previous, acknowledgements) = (BTreeMap::new(), BTreeMap::new());
    resolve(&Inputs {
        world,
        previous: &previous,
        acknowledgements: &acknowledgements,
        now,
    })
}

/// What is wrong with the files. That no server runs is not.
fn problems(verdict: &Verdict) -> impl Iterator<Item = Problem> {
    let own = verdict
        .problems
        .iter()
        .filter(|problem| problem.reason != Reason::Progressing)
        .cloned();
    let delivery = verdict
        .finding(ConditionType::Programmed)
        .filter(|finding| verdict.problems.is_empty() && matches!(finding.reason, Reason::FleetFull | Reason::Invalid))
        .map(|finding| Problem {
            condition: finding.kind,
            reason: finding.reason,
            field: String::new(),
            message: finding.message.clone(),
        });
    own.chain(delivery)
}

fn mistake(folder: &Folder, id: &ObjectId, problem: Problem) -> Mistake {
    let source = folder.sources.get(id);
    let line = source.map_or(1, |source| {
        if problem.field.is_empty() {
            source.lines.first()
        } else {
            source.lines.of(&problem.field)
        }
    });
    Mistake {
        object: Some(id.clone()),
        file: source.map(|source| source.file.clone()).unwrap_or_default(),
        line,
        field: problem.field,
        reason: problem.reason,
        message: problem.message,
    }
}
