//! What the operator cannot judge and servers refuse: a key of a realm that has the right name and does not sign.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::kstatus::{Status, judge_one};
use e2e::scenario;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::login::Logins;
use crate::path::SHOP;
use crate::stage::{API, READY, Stage, condition};

pub(crate) async fn what_servers_refuse_keeps_its_former_version_also_in_pods_started_afterwards(
    stage: &mut Stage,
) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let realm = fleet.path("realms", "people");
    let (secret, name, good) = signing_key(stage).await?;
    let mut logins = Logins::start(stage, &fleet, json!({})).await?;
    let others = statuses(stage).await?;

    let bad = STANDARD.encode("no key at all");
    stage.merge(&secret, &json!({"data": {&name: bad}})).await?;
    let refused = |object: &Value| {
        let (status, reason, message) = condition(object, "Programmed")?;
        (status == "False" && reason == "RejectedByServer").then(|| message.to_owned())
    };
    let (message, told) = stage.until(&realm, READY, refused).await?;
    ensure!(
        message.contains("private key") && message.ends_with("the former version stays live"),
        "Programmed says: {message}"
    );
    let verdict = judge_one(&stage.get(&realm).await?)?;
    ensure!(verdict.status == Status::Failed, "kstatus says {verdict:?}");
    let after = statuses(stage).await?;
    ensure!(
        after == others,
        "other statuses were written: {others:#?} is now {after:#?}"
    );
    logins.more(5).await?;

    // Every server is one that was started afterwards.
    let victims = fleet.pods(stage).await?;
    for victim in victims.keys() {
        stage
            .delete(&format!("/api/v1/namespaces/{SHOP}/pods/{victim}"))
            .await?;
        fleet.until_replaced(stage, victim, victims.len()).await?;
        logins.more(5).await?;
    }
    let (message, _) = stage.until(&realm, READY, refused).await?;
    ensure!(message.contains("private key"), "Programmed says: {message}");
    ensure!(statuses(stage).await? == others, "other statuses were written");

    let healed = Instant::now();
    stage.merge(&secret, &json!({"data": {&name: good}})).await?;
    stage.ready(&realm, READY).await?;
    let took = healed.elapsed();
    logins.more(5).await?;
    let count = logins.none_lost()?;
    scenario("a signing key that only the servers refuse")
        .observed(format!(
            "reported on its Realm alone after {} ms; the former key signs, also in pods started afterwards; none of {count} \
             logins lost",
            told.as_millis()
        ))
        .recovered_in(took)
}

/// The Secret with the keys of the realm, and the ES256 key in it that clients are signed for by: name and value.
async fn signing_key(stage: &Stage) -> Result<(String, String, String)> {
    let list = format!("/api/v1/namespaces/{SHOP}/secrets?labelSelector=auth.nauthera.io/realm-id");
    let list = stage.get(&list).await?;
    let is_own = |secret: &&Value| {
        secret.pointer("/metadata/annotations/auth.nauthera.io~1realm") == Some(&json!(format!("{SHOP}/people")))
    };
    let secrets = list["items"].as_array().context("a list")?;
    let secret = secrets.iter().find(is_own).context("no keys of the realm")?;
    let data = secret["data"].as_object().context("no data")?;
    let is_signing = |(name, _): &(&String, &Value)| {
        name.strip_suffix(".pkcs8")
            .is_some_and(|name| name.starts_with("signing.ES256."))
    };
    let (name, value) = data.iter().find(is_signing).context("no ES256 key")?;
    let path = secret["metadata"]["name"].as_str().context("no name")?;
    Ok((
        format!("/api/v1/namespaces/{SHOP}/secrets/{path}"),
        name.clone(),
        value.as_str().unwrap_or_default().to_owned(),
    ))
}

/// The versions of all Clients, and of the Realms but the one that is refused.
async fn statuses(stage: &Stage) -> Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    for plural in ["realms", "clients"] {
        let list = stage.get(&format!("{API}/{plural}")).await?;
        for object in list["items"].as_array().into_iter().flatten() {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let key = format!("{plural}/{}/{}", text("namespace"), text("name"));
            versions.insert(key, text("resourceVersion"));
        }
    }
    versions.remove(&format!("realms/{SHOP}/people"));
    Ok(versions)
}
