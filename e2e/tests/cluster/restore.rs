//! What a backup holds is enough: everything of a namespace is deleted and comes back from exported manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use e2e::scenario;
use serde_json::{Value, json};

use crate::delivery::{client_secret, rename};
use crate::fleet::{Exposure, Fleet};
use crate::login::Logins;
use crate::stage::{READY, Stage};

const NAMESPACE: &str = "restored";

/// Kinds that a backup of the namespace has, in the order in which they are put back.
const EXPORTED: &str = "secrets,authservers.auth.nauthera.io,realms.auth.nauthera.io,clients.auth.nauthera.io";

/// Kinds of children, which must not be there twice afterwards.
const CHILDREN: &str = "secrets,configmaps,serviceaccounts,services,deployments,poddisruptionbudgets,ingresses";

pub(crate) async fn what_a_backup_holds_comes_back_with_the_same_keys_secrets_and_people(
    stage: &mut Stage,
) -> Result<()> {
    let fleet = Fleet::create(stage, NAMESPACE, 1, Exposure::Ingress).await?;
    let generated = fleet.client("generated", json!({})).to_string();
    stage.cluster.apply(&generated).await?;
    stage.ready(&fleet.path("clients", "generated"), READY).await?;
    let secret = format!("/api/v1/namespaces/{NAMESPACE}/secrets/generated-oidc");
    let before = stage.get(&secret).await?;
    let keys = fleet.answers(stage, "/oauth2/jwks").await?;
    let children = owned(stage).await?;
    let backup = stage.cluster.json(&["-n", NAMESPACE, "get", EXPORTED]).await?;
    stage.collect().await?;

    let namespace = format!("/api/v1/namespaces/{NAMESPACE}");
    stage.delete(&namespace).await?;
    let deleted = Instant::now();
    while stage.get(&namespace).await.is_ok() {
        ensure!(deleted.elapsed() < READY, "the namespace does not go away");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let started = Instant::now();
    stage.namespace(NAMESPACE).await?;
    stage.cluster.apply(&restorable(backup).to_string()).await?;
    fleet.ready(stage, READY).await?;
    stage.ready(&fleet.path("clients", "generated"), READY).await?;
    let took = started.elapsed();

    let served = fleet.answers(stage, "/oauth2/jwks").await?;
    ensure!(served == keys, "the keys are others: {served:?} after {keys:?}");
    let after = stage.get(&secret).await?;
    ensure!(
        client_secret(&after).is_some() && client_secret(&after) == client_secret(&before),
        "the generated client secret is another one"
    );
    let client = stage.get(&fleet.path("clients", "generated")).await?;
    ensure!(
        after.pointer("/metadata/ownerReferences/0/uid") == Some(&client["metadata"]["uid"]),
        "the Secret of the client is not adopted: {}",
        after["metadata"]
    );
    let again = owned(stage).await?;
    let names = |of: &BTreeMap<String, Value>| of.keys().cloned().collect::<BTreeSet<_>>();
    ensure!(
        names(&again) == names(&children),
        "other children than before: {:?}",
        names(&again).symmetric_difference(&names(&children))
    );
    let owner = stage.get(&fleet.path("authservers", "login")).await?;
    for (name, references) in &again {
        let uid = references.pointer("/0/uid");
        let expected = children.get(name).context("a new child")?;
        ensure!(
            expected.pointer("/0/kind") == references.pointer("/0/kind")
                && (expected.pointer("/0/kind") != Some(&json!("AuthServer"))
                    || uid == Some(&owner["metadata"]["uid"])),
            "{name} is not adopted: {references}"
        );
    }
    Logins::start(stage, &fleet, json!({})).await?.none_lost()?;
    let more = json!({"clientId": format!("{NAMESPACE}-generated"), "clientSecret": client_secret(&before)});
    Logins::start(stage, &fleet, more).await?.none_lost()?;
    rename(stage, &fleet, "After the restore", READY).await?;
    stage.delete(&namespace).await?;
    scenario("a namespace restored from a backup")
        .observed(format!(
            "same keys, same client secrets, people sign in; {} children adopted, none twice",
            again.len()
        ))
        .recovered_in(took)
}

/// The owner references of what the operator made here, by kind and name.
async fn owned(stage: &Stage) -> Result<BTreeMap<String, Value>> {
    let ours = "--selector=app.kubernetes.io/managed-by=nauthera-operator";
    let list = stage.cluster.json(&["-n", NAMESPACE, "get", CHILDREN, ours]).await?;
    let items = list["items"].as_array().context("no list")?;
    let named = |item: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = format!("{}/{}", text(&item["kind"]), text(&item["metadata"]["name"]));
        (name, item["metadata"]["ownerReferences"].clone())
    };
    // Shards come and go with what the configuration holds and are told from each other by number only.
    Ok(items
        .iter()
        .map(named)
        .filter(|(name, _)| !name.contains("-config-"))
        .collect())
}

/// What a backup tool applies: nothing that another cluster would not know.
fn restorable(mut list: Value) -> Value {
    for item in list["items"].as_array_mut().into_iter().flatten() {
        if let Some(object) = item.as_object_mut() {
            object.remove("status");
        }
        if let Some(metadata) = item["metadata"].as_object_mut() {
            for field in [
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "generation",
                "managedFields",
                "ownerReferences",
                "finalizers",
            ] {
                metadata.remove(field);
            }
        }
    }
    list
}
