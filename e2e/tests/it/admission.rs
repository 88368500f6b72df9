//! The custom resource definitions on a real API server: it alone judges structural schemas and the
//! cost of CEL rules, and it has to say the same as the offline check about every object of the table.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use crds::Kind;
use crds::testing::{Case, cases};
use e2e::cluster::{Cluster, Mode};
use e2e::parts::checkout;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

/// Larger ones do not fit into the annotation of a client-side apply.
const MAX_MANIFEST_BYTES: usize = 200 * 1024;

/// Judged like a real request, and nothing is kept.
const DRY_RUN: &str = "dryRun=All&fieldValidation=Strict";

#[tokio::test]
async fn the_api_server_judges_every_object_as_the_offline_check_does() {
    let cluster = Cluster::start(Mode::ControlPlane).await.unwrap();
    for kind in Kind::ALL {
        define(&cluster, kind).await.unwrap();
    }
    let table = cases().unwrap();
    assert!(table.len() > 50, "{} cases", table.len());
    let mut wrong = Vec::new();
    for case in table {
        match judge(&cluster, &case).await {
            Ok(verdict) => wrong.extend(difference(&case, &verdict)),
            Err(error) => wrong.push(format!("{}: {error:#}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the API server said to a request.
struct Verdict {
    status: StatusCode,
    message: String,
}

/// Applies the committed manifest on the server's side, strictly, and waits until it is established.
pub(crate) async fn define(cluster: &Cluster, kind: Kind) -> Result<()> {
    let manifest = std::fs::read_to_string(checkout().join("crds/manifests").join(kind.file_name()))?;
    ensure!(
        manifest.len() <= MAX_MANIFEST_BYTES,
        "{}: {} bytes",
        kind.file_name(),
        manifest.len()
    );
    let name = format!("{}.{}", plural(kind), crds::GROUP);
    let url = format!(
        "{}/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}",
        cluster.url()
    );
    let applied = cluster
        .client()
        .patch(format!("{url}?fieldManager=tests&fieldValidation=Strict"))
        .header(CONTENT_TYPE, "application/apply-patch+yaml")
        .body(manifest)
        .send()
        .await?;
    let status = applied.status();
    let text = applied.text().await?;
    ensure!(status.is_success(), "{name}: {status}: {text}");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let definition: Value = cluster.client().get(&url).send().await?.json().await?;
        let served = cluster.client().get(collection(cluster, kind)).send().await?.status();
        if is_established(&definition) && served.is_success() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{name} is not established: {}",
            definition.pointer("/status").unwrap_or(&Value::Null)
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one["type"] == "Established" && one["status"] == "True")
    })
}

/// Creates the object, or updates the stored one to it, without keeping anything.
async fn judge(cluster: &Cluster, case: &Case) -> Result<Verdict> {
    let url = collection(cluster, case.kind);
    let Some(old) = &case.old else {
        return send(cluster.client().post(format!("{url}?{DRY_RUN}")), &case.object).await;
    };
    let stored = cluster
        .client()
        .post(format!("{url}?fieldValidation=Strict"))
        .json(old)
        .send()
        .await?;
    let status = stored.status();
    let mut stored: Value = stored.json().await?;
    ensure!(
        status.is_success(),
        "the stored object is refused: {}",
        message_of(&stored)
    );
    let name = case
        .object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .context("the object has no name")?;
    let of_name = format!("{url}/{name}");
    let mut object = case.object.clone();
    if let (Some(new), Some(version)) = (
        object.get_mut("metadata"),
        stored.pointer_mut("/metadata/resourceVersion"),
    ) {
        new["resourceVersion"] = version.take();
    }
    let update = cluster.client().put(format!("{of_name}?{DRY_RUN}"));
    let verdict = send(update, &object).await;
    let deleted = cluster.client().delete(&of_name).send().await?;
    ensure!(
        deleted.status().is_success(),
        "the stored object cannot be deleted: {}",
        deleted.status()
    );
    verdict
}

async fn send(request: reqwest::RequestBuilder, object: &Value) -> Result<Verdict> {
    let answer = request.json(object).send().await?;
    let status = answer.status();
    let body: Value = answer.json().await?;
    let message = message_of(&body).to_owned();
    if !status.is_success() && status != StatusCode::UNPROCESSABLE_ENTITY && status != StatusCode::BAD_REQUEST {
        bail!("{status}: {message}");
    }
    Ok(Verdict { status, message })
}

fn message_of(answer: &Value) -> &str {
    answer.get("message").and_then(Value::as_str).unwrap_or_default()
}

/// How the verdict differs from the table, if it does.
fn difference(case: &Case, verdict: &Verdict) -> Option<String> {
    let expected = case.refused.as_deref();
    let right = match expected {
        None => verdict.status.is_success(),
        // `path: message`; the server puts the refused value between the two, and words the
        // messages of the schema in its own way.
        Some(refused) => {
            let (path, message) = refused.split_once(": ").unwrap_or((refused, ""));
            let says = |part: &str| verdict.message.contains(part);
            verdict.status.is_client_error() && says(path) && (case.schema || says(message))
                || verdict.status.is_client_error() && says(refused)
        }
    };
    let said = || {
        format!(
            "{}: expected {expected:?}, got {}: {}",
            case.name, verdict.status, verdict.message
        )
    };
    (!right).then(said)
}

fn collection(cluster: &Cluster, kind: Kind) -> String {
    let (group, version) = (crds::GROUP, crds::VERSION);
    format!(
        "{}/apis/{group}/{version}/namespaces/default/{}",
        cluster.url(),
        plural(kind)
    )
}

fn plural(kind: Kind) -> String {
    format!("{}s", kind.as_str().to_lowercase())
}

#[test]
fn a_verdict_that_differs_is_reported() {
    let case = |refused: Option<&str>| Case {
        name: "case".to_owned(),
        kind: Kind::Realm,
        object: Value::Null,
        old: None,
        refused: refused.map(str::to_owned),
        schema: false,
    };
    let accepted = Verdict {
        status: StatusCode::CREATED,
        message: String::new(),
    };
    let refused = Verdict {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        message: r#"Realm "people" is invalid: spec.issuer: Invalid value: "x": must be https"#.to_owned(),
    };
    assert!(difference(&case(None), &accepted).is_none());
    assert!(difference(&case(None), &refused).is_some());
    assert!(difference(&case(Some("spec.issuer: must be https")), &refused).is_none());
    assert!(difference(&case(Some("spec.issuer: must be short")), &refused).is_some());
    assert!(difference(&case(Some("spec.name: must be https")), &refused).is_some());
    assert!(difference(&case(Some("spec.issuer: must be https")), &accepted).is_some());
}
