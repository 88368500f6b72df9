//! Configuration on its way to real pods: how fast, and what it does not disturb.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use e2e::scenario;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::login::Logins;
use crate::path::SHOP;
use crate::stage::{READY, Stage, condition, is_current};

/// What the report of an edit may take here; the numbers of the summary are what to look at.
const EDIT: Duration = Duration::from_secs(1);

/// A page that shows the name of the realm.
pub(crate) fn sign_in(fleet: &Fleet) -> String {
    format!(
        "/oauth2/authorize?response_type=code&client_id={}-web&scope=openid&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
        fleet.namespace
    )
}

/// Gives the realm a new name and waits until that is reported as live; returns how long it took.
pub(crate) async fn rename(stage: &Stage, fleet: &Fleet, name: &str, patience: Duration) -> Result<Duration> {
    let path = fleet.path("realms", "people");
    let started = Instant::now();
    stage
        .merge(&path, &json!({"spec": {"branding": {"displayName": name}}}))
        .await?;
    stage.ready(&path, patience).await?;
    Ok(started.elapsed())
}

pub(crate) async fn an_edit_is_live_on_every_replica_and_reported_in_less_than_a_second(
    stage: &mut Stage,
) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let before = fleet.pods(stage).await?;
    let mut times = Vec::new();
    for edit in 0..11 {
        let name = format!("Renamed {edit}");
        times.push(rename(stage, &fleet, &name, READY).await?);
        let pages = fleet.answers(stage, &sign_in(&fleet)).await?;
        ensure!(
            pages.len() == 2 && pages.iter().all(|page| page.contains(&name)),
            "reported as live, but not served by every pod: {pages:#?}"
        );
        // Slower than the bucket of commits is filled again.
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    let realm = stage.get(&fleet.path("realms", "people")).await?;
    let (_, _, message) = condition(&realm, "Programmed").context("no condition Programmed")?;
    ensure!(
        message.contains("live on every ready replica since generation"),
        "Programmed says: {message}"
    );
    ensure!(fleet.pods(stage).await? == before, "a pod was restarted for an edit");
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    scenario("an edit of a Realm")
        .observed(format!(
            "served by both pods when reported; median {} ms, slowest {} ms of {}; no restart",
            median.as_millis(),
            times.last().copied().unwrap_or_default().as_millis(),
            times.len()
        ))
        .recovered_in(median)?;
    ensure!(median < EDIT, "the median of {times:?} is not below {EDIT:?}");
    Ok(())
}

pub(crate) async fn a_realm_added_to_a_running_fleet_restarts_nothing(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let before = fleet.pods(stage).await?;
    let issuer = "https://second.nauthera.test";
    stage.cluster.apply(&fleet.realm("second", issuer).to_string()).await?;
    let took = stage.ready(&fleet.path("realms", "second"), READY).await?;
    let deadline = Instant::now() + READY;
    loop {
        let document = format!("{issuer}/.well-known/openid-configuration");
        let output = stage
            .inside(&[
                "curl".into(),
                "--silent".into(),
                "--cacert".into(),
                stage.cluster.authority(),
                document.into(),
            ])?
            .output()?;
        let served: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if served.is_some_and(|served| served["issuer"] == issuer) {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "the new realm is not served through the ingress: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(fleet.pods(stage).await? == before, "a pod was restarted for a realm");
    scenario("a Realm added to a running fleet")
        .observed("served through the ingress; no pod restarted")
        .recovered_in(took)
}

pub(crate) async fn a_scale_up_changes_the_counts_of_the_fleet_and_no_other_status(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let server = fleet.path("authservers", "login");
    let others = [fleet.path("realms", "people"), fleet.path("clients", "web")];
    let mut before = Vec::new();
    for path in &others {
        before.push(stage.get(path).await?["metadata"]["resourceVersion"].clone());
    }
    let started = Instant::now();
    for replicas in [3, 2] {
        stage.merge(&server, &json!({"spec": {"replicas": replicas}})).await?;
        stage.until(&server, READY, counted(replicas)).await?;
    }
    let took = started.elapsed();
    for (path, before) in others.iter().zip(&before) {
        let after = stage.get(path).await?;
        ensure!(
            after["metadata"]["resourceVersion"] == *before,
            "{path} was written: {after}"
        );
    }
    scenario("scaled to three and back")
        .observed("the AuthServer counts 3/3/3 and 2/2/2; no other status written")
        .recovered_in(took)
}

/// Whether an AuthServer is Ready and counts so many pods that should be there, are ready, and serve.
pub(crate) fn counted(replicas: i64) -> impl Fn(&Value) -> Option<()> {
    move |object| {
        let counts = &object["status"]["replicas"];
        let all = ["desired", "ready", "programmed"]
            .iter()
            .all(|field| counts[*field] == replicas);
        (all && is_current(object, "Ready")).then_some(())
    }
}

pub(crate) async fn a_rotated_client_secret_loses_no_login(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    stage
        .cluster
        .apply(&fleet.client("rotating", json!({})).to_string())
        .await?;
    let path = fleet.path("clients", "rotating");
    stage.ready(&path, READY).await?;
    let secret = format!("/api/v1/namespaces/{SHOP}/secrets/rotating-oidc");
    let former = client_secret(&stage.get(&secret).await?).context("no client secret")?;
    // What a mounted Secret is to an application, without the minute that a kubelet takes.
    let folder = tempfile::tempdir()?;
    let mounted = folder.path().join("client-secret");
    write_atomically(&mounted, &former)?;
    let more = json!({"clientId": format!("{SHOP}-rotating"), "clientSecretFile": mounted});
    let mut logins = Logins::start(stage, &fleet, more).await?;
    stage.collect().await?;
    let rotate = json!({"metadata": {"annotations": {"auth.nauthera.io/rotate": "1"}}});
    stage.merge(&path, &rotate).await?;
    let changed = |object: &Value| client_secret(object).filter(|value| *value != former);
    let (fresh, took) = stage.until(&secret, READY, changed).await?;
    // The former one goes on for the overlap.
    logins.more(5).await?;
    write_atomically(&mounted, &fresh)?;
    logins.more(5).await?;
    let count = logins.none_lost()?;
    stage.ready(&path, READY).await?;
    scenario("a client secret rotated under logins")
        .observed(format!(
            "the former and the new one accepted; none of {count} logins lost"
        ))
        .recovered_in(took)
}

/// The client secret in a Secret.
pub(crate) fn client_secret(object: &Value) -> Option<String> {
    let encoded = object.pointer("/data/client-secret")?.as_str()?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok()
}

fn write_atomically(file: &Path, text: &str) -> Result<()> {
    let part = file.with_extension("part");
    std::fs::write(&part, text)?;
    Ok(std::fs::rename(part, file)?)
}
