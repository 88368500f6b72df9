//! The audit log of an API server (JSON lines, level Metadata), and what it says about one ServiceAccount: what it
//! changed within a time, and how its requests compare with the rules it was given ([`rbac`]).
//!
//! Pure: texts and objects in, findings out.

pub mod rbac;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// What the API server adds to a user whose token is bound to a pod.
const POD: &str = "authentication.kubernetes.io/pod-name";

/// The requests of a log, each once, in the order in which they were answered.
#[derive(Debug, Default)]
pub struct Log {
    requests: Vec<Request>,
}

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asked: `system:serviceaccount:<namespace>:<name>` for a pod.
    pub user: String,
    /// The pod that it asked from; empty where its token is bound to none.
    pub pod: String,
    /// Verb as rules spell it.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// What it was about; none for a path such as `/version`.
    pub object: Option<Object>,
    /// HTTP status.
    pub code: u16,
    /// What the server said to a request that it refused.
    pub message: String,
    /// When it came.
    pub at: Timestamp,
    /// Whether it was refused because its namespace is going away.
    is_namespace_terminating: bool,
}

/// What a request was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// API group; empty for the core group.
    pub group: String,
    /// Resource, with its subresource after a slash.
    pub resource: String,
    /// Namespace, when one was named.
    pub namespace: Option<String>,
    /// Name, when one was named: in the path, in a field selector, or in the body of a new object.
    pub name: Option<String>,
}

impl Log {
    /// Reads the file that `--audit-log-path` names.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text)
    }

    /// Reads the lines of a log. A last line without an end is still being written and left out.
    pub fn parse(text: &str) -> Result<Self> {
        let mut seen = BTreeSet::new();
        let mut requests = Vec::new();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let entry: Entry = serde_json::from_str(line).with_context(|| line.trim_end().to_owned())?;
            // A watch is answered when it begins and again when it ends.
            if entry.stage != "RequestReceived" && seen.insert(entry.audit_id.clone()) {
                requests.push(entry.into());
            }
        }
        Ok(Self { requests })
    }

    /// The same without what came in these periods, from the first moment until before the last.
    #[must_use]
    pub fn without(mut self, periods: &[(Timestamp, Timestamp)]) -> Self {
        self.requests
            .retain(|request| !periods.iter().any(|(from, to)| (*from..*to).contains(&request.at)));
        self
    }

    /// Everything in it.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// What this user asked for.
    pub fn by(&self, user: &str) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(move |request| request.user == user)
    }

    /// What this user sent to change something from `from` until before `to`, whether it was granted or not.
    pub fn mutating_requests_between(&self, from: Timestamp, to: Timestamp, user: &str) -> Vec<&Request> {
        self.by(user)
            .filter(|request| request.is_mutating() && (from..to).contains(&request.at))
            .collect()
    }
}

impl Request {
    /// Whether it asked to change something.
    pub fn is_mutating(&self) -> bool {
        !matches!(
            self.verb.as_str(),
            "get" | "list" | "watch" | "head" | "options" | "connect"
        )
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb, uri, code, at, ..
        } = self;
        write!(f, "{at} {verb} {uri} -> {code}")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Option<ObjectRef>,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    api_group: String,
}

#[derive(Deserialize, Default)]
struct ResponseStatus {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Details,
}

#[derive(Deserialize, Default)]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    reason: String,
}

impl From<Entry> for Request {
    fn from(entry: Entry) -> Self {
        let ResponseStatus { code, message, details } = entry.response_status;
        let User { username, extra } = entry.user;
        let pod = extra.get(POD).and_then(|names| names.first());
        Self {
            pod: pod.cloned().unwrap_or_default(),
            user: username,
            verb: entry.verb,
            uri: entry.request_uri,
            object: entry.object_ref.map(Object::from),
            code,
            message,
            at: entry.request_received_timestamp,
            is_namespace_terminating: details
                .causes
                .iter()
                .any(|cause| cause.reason == "NamespaceTerminating"),
        }
    }
}

impl From<ObjectRef> for Object {
    fn from(object: ObjectRef) -> Self {
        let resource = match &object.subresource {
            Some(subresource) => format!("{}/{subresource}", object.resource),
            None => object.resource,
        };
        Self {
            group: object.api_group,
            resource,
            namespace: object.namespace.filter(|namespace| !namespace.is_empty()),
            name: object.name.filter(|name| !name.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests of one ServiceAccount to a real API server.
    pub(super) const SAMPLE: &str = include_str!("audit/sample.jsonl");
    pub(super) const OPERATOR: &str = "system:serviceaccount:nauthera-system:nauthera-operator";

    #[test]
    fn each_request_counts_once_whatever_its_stages() {
        let log = Log::parse(SAMPLE).unwrap();
        assert_eq!(
            log.requests().len(),
            SAMPLE.lines().count() - 1,
            "the watch has two lines"
        );
        assert_eq!(log.by(OPERATOR).filter(|request| request.verb == "watch").count(), 1);
        assert_eq!(log.by("somebody else").count(), 0);
    }

    #[test]
    fn a_line_that_is_being_written_is_left_out_and_a_broken_one_is_reported() {
        let half = SAMPLE.get(..SAMPLE.len() - 20).unwrap();
        assert_eq!(
            Log::parse(half).unwrap().requests().len() + 1,
            Log::parse(SAMPLE).unwrap().requests().len()
        );
        assert!(Log::parse("{\"kind\":\"Event\"}\n").is_err());
    }

    #[test]
    fn requests_that_change_something_are_found_by_time_and_user() {
        let log = Log::parse(SAMPLE).unwrap();
        let between = |from: &str, to: &str, user: &str| -> Vec<String> {
            log.mutating_requests_between(from.parse().unwrap(), to.parse().unwrap(), user)
                .iter()
                .map(|request| format!("{} {}", request.verb, request.code))
                .collect()
        };
        let (before, after) = ("2026-11-22T22:07:00Z", "2026-11-22T22:08:00Z");
        assert_eq!(
            between(before, after, OPERATOR),
            [
                "patch 201",
                "patch 200",
                "patch 201",
                "patch 403",
                "create 201",
                "update 422",
                "create 201",
                "deletecollection 403",
                "patch 403",
                "patch 403",
            ]
        );
        // From the moment of one on, until before the moment of the other.
        assert_eq!(
            between("2026-11-22T22:07:20.557507Z", "2026-11-22T22:07:20.602970Z", OPERATOR),
            ["patch 200"]
        );
        assert!(between(before, after, "system:admin").is_empty());
        let (before, after) = (before.parse().unwrap(), after.parse().unwrap());
        assert!(log.without(&[(before, after)]).requests().is_empty());
    }
}
