//! The migration Job, and whether the servers may roll out.
//!
//! Servers never alter the schema. With `migrations: Auto` a Job of the image that is to come does it first, and the
//! Deployment is left as it is until the Job has succeeded. The Job is named by its content, for Jobs cannot be changed.
//! A failed one is made anew after a while, or as soon as the Secrets of the database are other ones, and one that succeeded too when a server reports an old schema afterwards (a
//! database restored from a backup).

use std::time::Duration;

use crds::auth_server::{Database, Migrations};
use oidc::Timestamp;
use serde_json::{Value, json};

use super::image::Choice;
use super::overlay::Extent;
use super::pod::{self, MIGRATE};
use super::{BuildInputs, references, settings};
use crate::build::{Desired, MANAGED_BY, field, hash, set, text};
use crate::world::{ChildKind, Trouble};

/// Annotation of the Deployment: which migration it was rolled out after.
pub(super) const MIGRATED_ANNOTATION: &str = "auth.nauthera.io/migrated";
/// Annotation of a Job: which versions of the database's Secrets it was made with. Tells nothing of what is in them.
const SECRETS_ANNOTATION: &str = "auth.nauthera.io/database-secrets";
/// Exit code of a server whose database schema does not fit.
pub(super) const SCHEMA_EXIT_CODE: i32 = 3;
/// How long a failed Job is left to be looked at before it is made anew.
const RETRY_AFTER: Duration = Duration::from_mins(5);

/// What is to be done about the schema.
pub(super) struct Plan {
    /// The Job that should be there.
    pub(super) job: Option<Desired>,
    /// Whether the servers may roll out.
    pub(super) is_open: bool,
    /// What the Deployment says it was rolled out after.
    pub(super) key: Option<String>,
    /// When to look again.
    pub(super) again_after: Option<Duration>,
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Not yet.
    Running,
    /// Well, at this time.
    Succeeded(Option<Timestamp>),
    /// Badly, at this time, with what the Job controller says.
    Failed(Option<Timestamp>, String),
}

pub(super) fn plan(inputs: &BuildInputs<'_>, choice: &Choice) -> Plan {
    let spec = &inputs.server.spec;
    let Database::Postgres(postgres) = &spec.database else {
        return Plan::none();
    };
    if spec.migrations == Migrations::Manual {
        return Plan::none();
    }
    let key = hash(&json!([choice.image, postgres.secret_ref, postgres.ca_secret_ref]), 16);
    let job = build(inputs, choice);
    let live = inputs.live(ChildKind::Job, &job.id.key.name);
    let outcome = live.map(outcome);
    let applied = inputs
        .deployment()
        .and_then(|live| text(live, &["metadata", "annotations", MIGRATED_ANNOTATION]));
    let is_open = applied == Some(key.as_str()) || matches!(outcome, Some(Outcome::Succeeded(_)));
    let (mut wanted, mut again_after) = (Some(job), None);
    match &outcome {
        Some(Outcome::Failed(..)) if live.and_then(made_with).is_some_and(|made| made != secrets(inputs)) => {
            wanted = None;
        }
        Some(Outcome::Failed(Some(at), _)) => match RETRY_AFTER.checked_sub(inputs.now.since(*at)) {
            Some(left) if !left.is_zero() => again_after = Some(left),
            _ => wanted = None,
        },
        Some(Outcome::Succeeded(Some(at))) if complaint(inputs).is_some_and(|since| since > *at) => wanted = None,
        _ => {}
    }
    Plan {
        job: wanted,
        is_open,
        key: Some(key),
        again_after,
    }
}

impl Plan {
    fn none() -> Self {
        Self {
            job: None,
            is_open: true,
            key: None,
            again_after: None,
        }
    }
}

/// When a server last refused the schema.
pub(super) fn complaint(inputs: &BuildInputs<'_>) -> Option<Timestamp> {
    let troubles = inputs.cluster.troubles.get(inputs.key)?;
    troubles
        .iter()
        .filter(|trouble| is_about_schema(trouble))
        .filter_map(|trouble| trouble.ended_at)
        .max()
}

/// Whether a server ended because the schema does not fit.
pub(super) fn is_about_schema(trouble: &Trouble) -> bool {
    trouble.exit_code == Some(SCHEMA_EXIT_CODE) && trouble.container == pod::CONTAINER
}

fn build(inputs: &BuildInputs<'_>, choice: &Choice) -> Desired {
    let (volumes, mounts) = pod::mount(pod::database(inputs));
    let mut spec = pod::spec(inputs);
    set(&mut spec, &["restartPolicy"], json!("Never"));
    set(&mut spec, &["volumes"], json!(volumes));
    set(&mut spec, &["containers"], json!([container(inputs, choice, &mounts)]));
    // Not the labels that the Service selects by.
    let template = json!({
        "metadata": {"labels": {
            "app.kubernetes.io/name": "nauthera",
            "app.kubernetes.io/component": "migration",
            "app.kubernetes.io/instance": inputs.key.name,
            MANAGED_BY.0: MANAGED_BY.1,
        }},
        "spec": spec,
    });
    let template = pod::overlaid(inputs, template, Extent::Job);
    let job = json!({"backoffLimit": 3, "template": template});
    // Room for the suffix that the pods get: their names are labels too.
    let cut = inputs.key.name.get(..40).unwrap_or(&inputs.key.name);
    let name = format!("{cut}-migrate-{}", hash(&job, 10));
    let mut body = json!({"spec": job});
    let made = match inputs.live(ChildKind::Job, &name) {
        Some(live) => made_with(live).map(str::to_owned),
        None => Some(secrets(inputs)),
    };
    if let Some(made) = made {
        set(&mut body, &["metadata", "annotations", SECRETS_ANNOTATION], json!(made));
    }
    inputs.child(ChildKind::Job, name, body)
}

/// Which versions of the database's Secrets a live Job was made with.
fn made_with(live: &Value) -> Option<&str> {
    text(live, &["metadata", "annotations", SECRETS_ANNOTATION])
}

/// The versions that there are of the database's Secrets.
fn secrets(inputs: &BuildInputs<'_>) -> String {
    let mut versions = json!({});
    for (field, key) in references(inputs.key, inputs.server) {
        if field.starts_with("spec.database.") {
            set(&mut versions, &[field], json!(inputs.cluster.secret_version(&key)));
        }
    }
    hash(&versions, 16)
}

/// The container that migrates.
pub(super) fn container(inputs: &BuildInputs<'_>, choice: &Choice, mounts: &[Value]) -> Value {
    json!({
        "name": MIGRATE,
        "image": choice.image,
        "args": ["migrate"],
        "env": pod::environment(&settings::database(inputs)),
        "resources": pod::resources(inputs),
        "securityContext": pod::container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    })
}

/// How a live Job stands.
pub(super) fn outcome(live: &Value) -> Outcome {
    let conditions = field(live, &["status", "conditions"]).and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        if text(condition, &["status"]) != Some("True") {
            continue;
        }
        let at = text(condition, &["lastTransitionTime"]).and_then(timestamp);
        match text(condition, &["type"]) {
            Some("Complete") => return Outcome::Succeeded(at),
            Some("Failed") => {
                let message = text(condition, &["message"]).unwrap_or_default().to_owned();
                return Outcome::Failed(at, message);
            }
            _ => {}
        }
    }
    Outcome::Running
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let parsed: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_unix_millis(parsed.as_millisecond()))
}
