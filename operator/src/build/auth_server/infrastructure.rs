//! What is to be said about the children of an AuthServer: the conditions `Infrastructure`, `ResolvedRefs`, `Degraded`
//! and `UpdateAvailable`, from live objects and from what could not be written.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::auth_server::{Database, Migrations};
use crds::conditions::{ConditionType, Finding, Reason, find};
use oidc::Timestamp;
use serde_json::Value;

use super::migration::{Outcome, is_about_schema, outcome};
use super::{BuildInputs, image, references, scaling};
use crate::apply::Failure;
use crate::apply::children::{some, unmade};
use crate::build::{Children, field, text};
use crate::resolve::is_paused;
use crate::world::{ChildId, ChildKind, SecretObject, Trouble};

/// How long a missing reference counts as not yet applied.
const REFERENCE_GRACE: Duration = Duration::from_mins(2);

/// The conditions that follow from the children. `failures` is what the last apply of them could not do.
pub fn infrastructure(
    inputs: &BuildInputs<'_>,
    children: &Children,
    failures: &BTreeMap<ChildId, Failure>,
) -> Vec<Finding> {
    let state = State {
        inputs,
        children,
        failures,
    };
    let mut findings: Vec<Finding> = state.refused_overlay().into_iter().collect();
    findings.extend(state.resolved_refs());
    findings.push(state.infrastructure());
    findings.extend(state.degraded());
    findings.extend(state.update());
    findings
}

/// Version of the servers, for the status.
pub fn version(inputs: &BuildInputs<'_>) -> Option<String> {
    let live = inputs.deployment()?;
    text(live, &["metadata", "annotations", image::VERSION_ANNOTATION]).map(str::to_owned)
}

struct State<'a> {
    inputs: &'a BuildInputs<'a>,
    children: &'a Children,
    failures: &'a BTreeMap<ChildId, Failure>,
}

fn not(reason: Reason, message: impl Into<String>) -> Finding {
    Finding::new(ConditionType::Infrastructure, false, reason, message)
}

impl State<'_> {
    /// The overlay is not checked before it is written.
    fn refused_overlay(&self) -> Option<Finding> {
        self.inputs.server.spec.pod_template.as_ref()?;
        let refused = self.failures.iter().find_map(|(id, failure)| match failure {
            Failure::Invalid(message) if matches!(id.kind, ChildKind::Deployment | ChildKind::Job) => Some(message),
            _ => None,
        })?;
        let text = format!("spec.podTemplate: the API server refuses the pods: {refused}");
        Some(Finding::new(ConditionType::Accepted, false, Reason::Invalid, text))
    }

    fn resolved_refs(&self) -> Option<Finding> {
        let (inputs, kind) = (self.inputs, ConditionType::ResolvedRefs);
        let named = references(inputs.key, inputs.server);
        if named.is_empty() {
            return None;
        }
        for (field, key) in &named {
            let Some(secret) = inputs.secrets.get(key) else {
                let reason = if self.is_in_grace() {
                    Reason::WaitingForReference
                } else {
                    Reason::ReferenceNotFound
                };
                let text = format!("{field}: there is no Secret {key}: create it");
                return Some(Finding::new(kind, false, reason, text));
            };
            if let Some(wrong) = self.unusable(field, secret) {
                let text = format!("{field}: the Secret {key} {wrong}");
                return Some(Finding::new(kind, false, Reason::ReferenceInvalid, text));
            }
        }
        Some(Finding::new(kind, true, Reason::Resolved, "every reference is found"))
    }

    /// Counted from when the reference was first reported missing.
    fn is_in_grace(&self) -> bool {
        let status = self.inputs.server.status.as_ref();
        let conditions = status.map_or(&[][..], |status| &status.conditions);
        let since = find(conditions, ConditionType::ResolvedRefs)
            .filter(|condition| condition.status == "False")
            .map(|condition| Timestamp::from_unix_seconds(condition.last_transition_time.0.as_second()));
        since.is_none_or(|since| self.inputs.now.since(since) < REFERENCE_GRACE)
    }

    fn unusable(&self, field: &str, secret: &SecretObject) -> Option<String> {
        let has = |keys: &[&str]| keys.iter().any(|key| secret.data.contains_key(*key));
        match field {
            "spec.database.postgres.secretRef" => {
                let groups: [&[&str]; 4] = [&["host"], &["dbname", "database"], &["user", "username"], &["password"]];
                let missing: Vec<&str> = groups
                    .iter()
                    .filter(|keys| !has(keys))
                    .filter_map(|keys| keys.first().copied())
                    .collect();
                let is_whole = has(&["uri", "dsn", "url"]) || missing.is_empty();
                (!is_whole).then(|| format!("has neither the key uri nor {}: add it", missing.join(", ")))
            }
            "spec.database.postgres.caSecretRef" => {
                let Database::Postgres(postgres) = &self.inputs.server.spec.database else {
                    return None;
                };
                let key = postgres.ca_secret_ref.as_ref()?.key.as_str();
                (!has(&[key])).then(|| format!("has no key {key}: add it"))
            }
            _ => (!(has(&["tls.crt"]) && has(&["tls.key"]))).then(|| "has not both tls.crt and tls.key".to_owned()),
        }
    }

    fn infrastructure(&self) -> Finding {
        self.unwritten()
            .or_else(|| self.withheld())
            .or_else(|| self.migration())
            .unwrap_or_else(|| self.rollout())
    }

    /// What could not be written.
    fn unwritten(&self) -> Option<Finding> {
        let rank = |failure: &Failure| match failure {
            Failure::Foreign(_) => 0,
            Failure::Forbidden(_) => 1,
            Failure::NotInstalled => 2,
            Failure::Invalid(_) => 3,
            Failure::Terminating => 4,
            Failure::Unavailable(_) => 5,
            Failure::Contested(_) => 6,
        };
        let (id, failure) = self.failures.iter().min_by_key(|(_, failure)| rank(failure))?;
        match failure {
            Failure::Foreign(holder) => Some(not(
                Reason::ResourceConflict,
                format!("{id} is needed but belongs to {holder}: remove it, or give the AuthServer another name"),
            )),
            Failure::Forbidden(message) => Some(not(
                Reason::Forbidden,
                format!("{id} cannot be written: {message}; grant the operator's ServiceAccount the right"),
            )),
            Failure::NotInstalled => Some(not(
                Reason::ReferenceNotFound,
                format!(
                    "{id} is needed, but the cluster has no such kind: install it, or change spec.exposure or spec.tls"
                ),
            )),
            Failure::Invalid(message) => Some(not(Reason::Invalid, format!("the API server refuses {id}: {message}"))),
            Failure::Terminating => Some(not(
                Reason::Deploying,
                format!("{id} is being deleted and comes back afterwards"),
            )),
            Failure::Unavailable(message) => Some(not(
                Reason::Deploying,
                format!("{id} could not be written yet: {message}"),
            )),
            Failure::Contested(_) => None,
        }
    }

    /// What waits for the end of a pause.
    fn withheld(&self) -> Option<Finding> {
        let server = self.inputs.server;
        let child = is_paused(&server.metadata).then(|| unmade(self.children, self.inputs.cluster))??;
        let annotation = crds::PAUSED_ANNOTATION;
        let text = format!("{child} is not as the spec says until the annotation {annotation} is removed");
        Some(not(Reason::PausedByAnnotation, text))
    }

    fn migration(&self) -> Option<Finding> {
        let (inputs, spec) = (self.inputs, &self.inputs.server.spec);
        let complaint = self.troubles().find(|trouble| is_about_schema(trouble));
        if let (Some(trouble), Migrations::Manual) = (complaint, spec.migrations) {
            let text = format!(
                "run `nauthera-auth migrate` with the image of the servers, or set spec.migrations to Auto: {}",
                trouble.message
            );
            return Some(not(Reason::MigrationRequired, text));
        }
        let is_held = self.children.kept.iter().any(|id| id.kind == ChildKind::Deployment);
        let job = self
            .children
            .desired
            .iter()
            .find(|desired| desired.id.kind == ChildKind::Job);
        let live = job.and_then(|job| inputs.cluster.children.get(&job.id));
        match (job, live.map(|live| outcome(live))) {
            (Some(job), Some(Outcome::Failed(_, message))) => {
                let told = self.troubles().find(|trouble| trouble.container == super::pod::MIGRATE);
                let why = told.map_or(message, |trouble| trouble.message.clone());
                let text = format!(
                    "the migration failed: {why}; it is repeated every five minutes, within a minute when a Secret of the \
                     database changes, or at once when {} is deleted; see `kubectl logs job/{} -n {}`",
                    job.id, job.id.key.name, job.id.key.namespace
                );
                Some(not(Reason::MigrationFailed, text))
            }
            (Some(_), _) | (None, None) if is_held => {
                let told = self.troubles().find(|trouble| trouble.container == super::pod::MIGRATE);
                let why = told
                    .map(|trouble| format!(": {}", sentence(trouble)))
                    .unwrap_or_default();
                let text = format!("the database schema is being migrated before the servers roll out{why}");
                Some(not(Reason::Migrating, text))
            }
            _ => None,
        }
    }

    fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        self.inputs.cluster.troubles.get(self.inputs.key).into_iter().flatten()
    }

    fn server_trouble(&self) -> String {
        self.troubles()
            .find(|trouble| trouble.container != super::pod::MIGRATE)
            .map(|trouble| format!("; {}", sentence(trouble)))
            .unwrap_or_default()
    }

    fn rollout(&self) -> Finding {
        let Some(live) = self.inputs.deployment() else {
            return not(Reason::Deploying, "the Deployment is being created");
        };
        let pods = Pods::of(live, scaling::wanted(self.inputs));
        let Pods { wanted, available, .. } = pods;
        let counts = format!("{available} of {wanted} replicas available");
        if pods.is_past_deadline {
            let text = format!("the roll-out makes no progress: {counts}{}", self.server_trouble());
            return not(Reason::RolloutFailed, text);
        }
        // A pod that is lost later does not take `Ready` away; a spec that is new is ready with its last pod.
        let needed = if self.is_new_spec() { wanted } else { wanted.min(1) };
        if !pods.is_rolled_out || available < needed {
            return not(Reason::Deploying, format!("{counts}{}", self.server_trouble()));
        }
        let outage = if self.inputs.is_embedded() {
            "; the database is embedded: each roll-out interrupts service for a moment"
        } else {
            ""
        };
        let text = format!("{counts}{outage}");
        Finding::new(ConditionType::Infrastructure, true, Reason::Available, text)
    }

    /// Whether the spec was never reported as ready.
    fn is_new_spec(&self) -> bool {
        let server = self.inputs.server;
        let observed = server.status.as_ref().map(|status| status.observed_generation);
        observed != server.metadata.generation
    }

    fn degraded(&self) -> Option<Finding> {
        for (id, failure) in self.failures {
            if let Failure::Contested(fields) = failure {
                let text = format!(
                    "somebody keeps changing {} of {id}; the operator puts it back ever more slowly: find out who it is",
                    some(fields)
                );
                return Some(Finding::new(
                    ConditionType::Degraded,
                    true,
                    Reason::ResourceConflict,
                    text,
                ));
            }
        }
        let pods = Pods::of(self.inputs.deployment()?, scaling::wanted(self.inputs));
        let is_short =
            pods.is_rolled_out && !pods.is_past_deadline && 0 < pods.available && pods.available < pods.wanted;
        is_short.then(|| {
            let text = format!(
                "{} of {} replicas available{}",
                pods.available,
                pods.wanted,
                self.server_trouble()
            );
            Finding::new(ConditionType::Degraded, true, Reason::Deploying, text)
        })
    }

    fn update(&self) -> Option<Finding> {
        let choice = image::choose(self.inputs);
        let offered = image::offered(self.inputs, &choice)?;
        let runs = choice.version.as_deref().unwrap_or_default();
        let text = format!(
            "the servers run {runs}, the operator brings {offered}: set spec.version to {offered}, or spec.upgrade to \
             WithOperator"
        );
        Some(Finding::new(
            ConditionType::UpdateAvailable,
            true,
            Reason::NewerVersion,
            text,
        ))
    }
}

fn sentence(trouble: &Trouble) -> String {
    if trouble.message.is_empty() {
        format!("pod {}: {}", trouble.pod, trouble.reason)
    } else {
        format!("pod {}: {}: {}", trouble.pod, trouble.reason, trouble.message)
    }
}

/// How far a Deployment is.
struct Pods {
    wanted: i64,
    available: i64,
    /// The newest template runs everywhere, or did so once.
    is_rolled_out: bool,
    is_past_deadline: bool,
}

impl Pods {
    fn of(live: &Value, wanted: i32) -> Self {
        let number = |path: &[&str]| field(live, path).and_then(Value::as_i64);
        let status = |name| number(&["status", name]).unwrap_or(0);
        let condition = |kind: &str| {
            let all = field(live, &["status", "conditions"]).and_then(Value::as_array);
            all.into_iter()
                .flatten()
                .find(|condition| text(condition, &["type"]) == Some(kind))
                .map(|condition| (text(condition, &["status"]), text(condition, &["reason"])))
        };
        let is_seen = number(&["metadata", "generation"]).unwrap_or(0) <= status("observedGeneration");
        let wanted = number(&["spec", "replicas"]).unwrap_or(i64::from(wanted));
        let progress = condition("Progressing");
        let replaced = status("updatedReplicas") >= status("replicas");
        Self {
            wanted,
            available: status("availableReplicas").min(wanted),
            is_rolled_out: is_seen
                && (wanted == 0 || (replaced && progress == Some((Some("True"), Some("NewReplicaSetAvailable"))))),
            is_past_deadline: is_seen && progress == Some((Some("False"), Some("ProgressDeadlineExceeded"))),
        }
    }
}
