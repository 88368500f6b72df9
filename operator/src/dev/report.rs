//! What `dev` prints: a table like `kubectl get`, and a line for each change.

use std::path::Path;

use crds::auth_server::ReplicaCounts;
use crds::conditions::{ConditionStatus, ConditionType};
use crds::manifests::Kind;

use super::Options;
use crate::resolve::{Details, Verdict};
use crate::table::Table;
use crate::world::ObjectId;
use crate::world::folder::Folder;

/// The table of all objects.
pub(super) fn table<'v>(verdicts: impl Iterator<Item = (&'v ObjectId, &'v Verdict)>) -> String {
    let mut table = Table::new(["KIND", "NAMESPACE", "NAME", "READY", "REASON", "MESSAGE"]);
    for (id, verdict) in verdicts {
        let Some(ready) = verdict.finding(ConditionType::Ready) else {
            continue;
        };
        let status = ready.status.as_str();
        let message = message(verdict, &ready.message);
        table.row([
            id.kind.as_str(),
            &id.key.namespace,
            &id.key.name,
            status,
            ready.reason.as_str(),
            &message,
        ]);
    }
    table.to_string()
}

/// The line for an object about which something else is to be said. `None`: it is gone.
pub(super) fn line(id: &ObjectId, verdict: Option<&Verdict>) -> String {
    let Some(ready) = verdict.and_then(|verdict| Some((verdict, verdict.finding(ConditionType::Ready)?))) else {
        return format!("{id}: deleted");
    };
    let (verdict, ready) = ready;
    let message = message(verdict, &ready.message);
    match ready.status {
        ConditionStatus::True => format!("{id}: {message}"),
        ConditionStatus::False | ConditionStatus::Unknown => format!("{id}: {}: {message}", ready.reason),
    }
}

fn message(verdict: &Verdict, text: &str) -> String {
    match &verdict.details {
        Details::AuthServer {
            replicas: ReplicaCounts { desired, ready, .. },
            ..
        } if ready < desired => {
            format!("{text} ({desired} wanted)")
        }
        Details::AuthServer { .. } | Details::Realm { .. } | Details::Client { .. } | Details::Undecodable => {
            text.to_owned()
        }
    }
}

/// A file as the person who started `dev` would name it.
pub(super) fn shown(file: &Path, options: &Options) -> String {
    let root = options.folder.parent().unwrap_or(Path::new(""));
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

/// How many objects there are of each kind.
pub(super) fn count(folder: &Folder) -> String {
    let count = |kind: Kind| {
        let number = folder.sources.keys().filter(|id| id.kind == kind).count();
        let plural = if number == 1 { "" } else { "s" };
        format!("{number} {}{plural}", kind.as_str())
    };
    Kind::ALL.map(count).join(", ")
}

/// What is wrong with files, one line each, as `file:line:column: object: field: message`.
pub(super) fn faults(folder: &Folder, options: &Options) -> Vec<String> {
    let line = |fault: &crate::world::folder::Fault| {
        let object = fault.object.as_ref().map(|id| format!("{id}: ")).unwrap_or_default();
        let field = if fault.field.is_empty() {
            String::new()
        } else {
            format!("{}: ", fault.field)
        };
        let column = fault.column.map(|column| format!(":{column}")).unwrap_or_default();
        let place = format!("{}:{}{column}", shown(&fault.file, options), fault.line);
        format!("{place}: {object}{field}{}", fault.message)
    };
    folder.faults.iter().map(line).collect()
}
