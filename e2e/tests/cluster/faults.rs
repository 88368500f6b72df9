//! What goes wrong around the operator, and that nothing is lost by it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::audit::{Log, Request};
use e2e::cluster::Part;
use e2e::postgres::Stop;
use e2e::scenario;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::delivery::{client_secret, rename};
use crate::fleet::{Exposure, Fleet};
use crate::login::Logins;
use crate::path::SHOP;
use crate::stage::{OPERATOR_NAMESPACE, READY, Stage, condition};

const OPERATOR: &str = "app.kubernetes.io/component=operator";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/nauthera-system/leases/nauthera-operator";

pub(crate) async fn an_api_server_that_is_killed_is_not_missed(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let servers = fleet.pods(stage).await?;
    let mut logins = Logins::start(stage, &fleet, json!({})).await?;
    let mut api_server = stage.cluster.part("kube-apiserver")?;
    api_server.kill()?;
    logins.more(10).await?;
    start_again(stage, &mut api_server).await?;
    let took = rename(stage, &fleet, "After the API server", READY).await?;
    ensure!(fleet.pods(stage).await? == servers, "a server was restarted");
    let count = logins.none_lost()?;
    scenario("API server killed and started again")
        .observed(format!(
            "none of {count} logins lost, no server restarted, an edit is live again"
        ))
        .recovered_in(took)
}

/// It answers before it has read the roles, and refuses then what they grant.
async fn start_again(stage: &mut Stage, api_server: &mut Part) -> Result<()> {
    let started = jiff::Timestamp::now();
    api_server.start_again()?;
    stage.cluster.wait_until_ready(api_server).await?;
    stage.without_rights.push((started, jiff::Timestamp::now()));
    Ok(())
}

/// The operators do not run while objects come and go, and what happened is compacted away before they go on.
pub(crate) async fn a_watch_gap_with_compaction_loses_nothing(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    for name in ["gap-deleted", "gap-kept"] {
        stage.cluster.apply(&fleet.client(name, json!({})).to_string()).await?;
        stage.ready(&fleet.path("clients", name), READY).await?;
    }
    let operators = stage.pods(OPERATOR_NAMESPACE, OPERATOR).await?;
    for (uid, _) in operators.values() {
        signal(uid, Signal::STOP)?;
    }
    stage.delete(&fleet.path("clients", "gap-deleted")).await?;
    stage
        .cluster
        .apply(&fleet.client("gap-added", json!({})).to_string())
        .await?;
    let mut api_server = stage.cluster.part("kube-apiserver")?;
    api_server.kill()?;
    stage.cluster.compact().await?;
    start_again(stage, &mut api_server).await?;
    for (uid, _) in operators.values() {
        signal(uid, Signal::CONT)?;
    }
    let took = stage.ready(&fleet.path("clients", "gap-added"), READY).await?;
    rename(stage, &fleet, "After the gap", READY).await?;
    for (name, is_known) in [("gap-deleted", false), ("gap-added", true), ("gap-kept", true)] {
        let known = is_known_client(stage, &fleet, name)?;
        ensure!(known == is_known, "{name}: served is {known}");
    }
    scenario("a watch gap with compaction")
        .observed("what came is served, what went is not, what stayed stayed")
        .recovered_in(took)
}

/// Whether the servers know a client: they answer its request with a page or a redirect, not with an error.
fn is_known_client(stage: &Stage, fleet: &Fleet, name: &str) -> Result<bool> {
    let url = format!(
        "{}/oauth2/authorize?response_type=code&client_id={SHOP}-{name}&scope=openid&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
        fleet.issuer()
    );
    let line = [
        "curl",
        "--silent",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        "--cacert",
    ];
    let mut line: Vec<std::path::PathBuf> = line.into_iter().map(Into::into).collect();
    line.extend([stage.cluster.authority(), url.into()]);
    let output = stage.inside(&line)?.output()?;
    Ok(String::from_utf8_lossy(&output.stdout).starts_with('2'))
}

fn signal(pod_uid: &str, signal: Signal) -> Result<()> {
    for process in Stage::processes(pod_uid)? {
        kill_process(Pid::from_raw(process).context("process 0")?, signal)?;
    }
    Ok(())
}

fn holder(lease: &Value) -> Option<String> {
    let holder = lease.pointer("/spec/holderIdentity")?.as_str()?;
    (!holder.is_empty()).then(|| holder.to_owned())
}

pub(crate) async fn a_frozen_leader_is_replaced_and_does_no_harm_afterwards(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let (leader, _) = stage.until(LEASE, READY, holder).await?;
    let operators = stage.pods(OPERATOR_NAMESPACE, OPERATOR).await?;
    let (pod, (uid, _)) = operators
        .iter()
        .find(|(name, _)| leader.contains(name.as_str()))
        .with_context(|| format!("no pod is the leader {leader}"))?;
    signal(uid, Signal::STOP)?;
    let frozen = Instant::now();
    let other = |lease: &Value| holder(lease).filter(|holder| *holder != leader);
    let taken = stage.until(LEASE, READY, other).await;
    let edited = rename(stage, &fleet, "Under another leader", READY).await;
    let took = frozen.elapsed();
    let thawed = jiff::Timestamp::now();
    signal(uid, Signal::CONT)?;
    let (successor, _) = taken?;
    edited?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let log = Log::read(&stage.cluster.audit_log())?;
    let user = Stage::operator().user();
    let writes = log.mutating_requests_between(thawed, jiff::Timestamp::now(), &user);
    // What the successor has begun it may finish.
    let (own, others): (Vec<_>, Vec<_>) = writes.into_iter().partition(|request| request.pod == *pod);
    ensure!(
        others.iter().any(|request| successor.contains(&request.pod)),
        "the audit log does not say which pod renewed the lease"
    );
    // It learns from the lease itself that it leads no more.
    let is_lease = |request: &&Request| {
        request
            .object
            .as_ref()
            .is_some_and(|object| object.resource == "leases")
    };
    let harm: Vec<String> = own
        .into_iter()
        .filter(|request| !is_lease(request))
        .map(ToString::to_string)
        .collect();
    ensure!(harm.is_empty(), "the former leader wrote when it went on: {harm:#?}");
    let now = holder(&stage.get(LEASE).await?);
    ensure!(
        now.as_deref() == Some(&*successor),
        "the lease went from {successor} to {now:?}"
    );
    scenario("the leader frozen, another takes over")
        .observed("an edit is live under the new leader; the former one writes nothing when it goes on")
        .recovered_in(took)
}

pub(crate) async fn a_client_secret_that_is_deleted_or_edited_comes_right(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let client = fleet.path("clients", "generated");
    stage
        .cluster
        .apply(&fleet.client("generated", json!({})).to_string())
        .await?;
    stage.ready(&client, READY).await?;
    let path = format!("/api/v1/namespaces/{SHOP}/secrets/generated-oidc");
    let before = stage.get(&path).await?;
    let former = client_secret(&before).context("no client secret")?;
    stage.collect().await?;
    let deleted = Instant::now();
    stage.delete(&path).await?;
    let fresh = |object: &Value| client_secret(object).filter(|value| *value != former);
    let (fresh, _) = stage.until(&path, READY, fresh).await?;
    let back = deleted.elapsed();
    let after = stage.get(&path).await?;
    ensure!(
        after["data"]["client-id"] == before["data"]["client-id"],
        "the client id changed: {after}"
    );
    for secret in [&former, &fresh] {
        let more = json!({"clientId": format!("{SHOP}-generated"), "clientSecret": secret});
        Logins::start(stage, &fleet, more).await?.none_lost()?;
    }
    let edit = json!({"data": {"client-id": "c29tZWJvZHk=", "issuer": null}});
    stage.merge(&path, &edit).await?;
    let right = |object: &Value| {
        ["client-id", "issuer", "client-secret"]
            .iter()
            .all(|key| object["data"][*key] == after["data"][*key])
            .then_some(())
    };
    let ((), put_back) = stage.until(&path, READY, right).await?;
    stage.ready(&client, READY).await?;
    scenario("a client's Secret deleted, then edited by hand")
        .observed(format!(
            "back with the same client id, old and new value sign in; the edit is put back after {} ms",
            put_back.as_millis()
        ))
        .recovered_in(back)
}

/// The definition is loosened for a moment, as a newer release would, and an object uses it.
pub(crate) async fn one_undecodable_object_blocks_no_other(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clients.auth.nauthera.io";
    let committed = stage.get(definition).await?;
    let mut loosened = committed["spec"]["versions"].clone();
    let kind = loosened
        .pointer_mut("/0/schema/openAPIV3Schema/properties/spec/properties/type/enum")
        .and_then(Value::as_array_mut)
        .context("Client.spec.type is no enumeration")?;
    kind.push(json!("FromTheFuture"));
    stage
        .merge(definition, &json!({"spec": {"versions": loosened}}))
        .await?;
    let path = fleet.path("clients", "future");
    let client = fleet.client("future", json!({"type": "FromTheFuture"})).to_string();
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = stage.cluster.apply(&client).await {
        ensure!(Instant::now() < deadline, "{error:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let undecodable = |object: &Value| {
        condition(object, "Accepted")
            .and_then(|(status, reason, _)| (status == "False" && reason == "Undecodable").then_some(()))
    };
    let reported = stage.until(&path, READY, undecodable).await;
    let edited = rename(stage, &fleet, "Beside an undecodable object", READY).await;
    stage.delete(&path).await?;
    stage
        .merge(
            definition,
            &json!({"spec": {"versions": committed["spec"]["versions"]}}),
        )
        .await?;
    let ((), took) = reported?;
    edited?;
    rename(stage, &fleet, "After an undecodable object", READY).await?;
    scenario("one undecodable object among others")
        .observed("it says Undecodable; an edit beside it is live")
        .recovered_in(took)
}

pub(crate) async fn a_restarted_database_is_found_again(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let servers = fleet.pods(stage).await?;
    let mut logins = Logins::start(stage, &fleet, json!({})).await?;
    stage.postgres.stop(Stop::Immediate)?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    stage.postgres.start_again()?;
    let back = Instant::now();
    logins.more(1).await?;
    let took = back.elapsed();
    let lost = logins.so_far().1.len();
    logins.more(5).await?;
    let (_, all) = logins.stop()?;
    ensure!(
        all == lost,
        "{} logins failed after the first that succeeded again",
        all - lost
    );
    ensure!(fleet.pods(stage).await? == servers, "a server was restarted");
    scenario("the database killed for five seconds")
        .observed("logins fail meanwhile and succeed again; no server restarted")
        .recovered_in(took)
}

pub(crate) async fn a_realm_that_is_applied_again_finds_its_keys_and_people(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let before = fleet.answers(stage, "/oauth2/jwks").await?;
    let path = fleet.path("realms", "people");
    stage.delete(&path).await?;
    let deadline = Instant::now() + READY;
    while fleet
        .answers(stage, "/oauth2/jwks")
        .await?
        .iter()
        .any(|answer| answer.contains("\"keys\""))
    {
        ensure!(Instant::now() < deadline, "a deleted realm is served");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let started = Instant::now();
    stage
        .cluster
        .apply(&fleet.realm("people", &fleet.issuer()).to_string())
        .await?;
    fleet.ready(stage, READY).await?;
    let took = started.elapsed();
    ensure!(
        fleet.answers(stage, "/oauth2/jwks").await? == before,
        "the keys are others"
    );
    Logins::start(stage, &fleet, json!({})).await?.none_lost()?;
    scenario("a Realm deleted and applied again")
        .observed("not served meanwhile; the same keys and people afterwards")
        .recovered_in(took)
}

pub(crate) async fn a_namespace_deleted_first_takes_its_objects_along(stage: &mut Stage) -> Result<()> {
    let shop = Fleet::obtain(stage, SHOP).await?;
    let servers = shop.pods(stage).await?;
    Fleet::create(stage, "doomed", 1, Exposure::Ingress).await?;
    let operators = stage.pods(OPERATOR_NAMESPACE, OPERATOR).await?;
    let started = Instant::now();
    let path = "/api/v1/namespaces/doomed";
    stage.delete(path).await?;
    while stage.get(path).await.is_ok() {
        ensure!(started.elapsed() < READY, "the namespace does not go away");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = started.elapsed();
    rename(stage, &shop, "After the other namespace", READY).await?;
    ensure!(
        shop.pods(stage).await? == servers,
        "a server of another fleet was restarted"
    );
    ensure!(
        stage.pods(OPERATOR_NAMESPACE, OPERATOR).await? == operators,
        "an operator was restarted"
    );
    scenario("a namespace deleted with everything in it")
        .observed("gone; other fleets go on")
        .recovered_in(took)
}

pub(crate) async fn a_restarted_node_loses_nothing(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::obtain(stage, SHOP).await?;
    let servers = fleet.pods(stage).await?;
    let mut logins = Logins::start(stage, &fleet, json!({})).await?;
    for name in ["kubelet", "kube-proxy", "containerd"] {
        stage.cluster.part(name)?.kill()?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let started = Instant::now();
    stage.cluster.start_node_again()?;
    let node = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array()?;
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
        (ready["status"] == "True").then_some(())
    };
    stage.until("/api/v1/nodes/n1", READY, node).await?;
    fleet.ready(stage, READY).await?;
    rename(stage, &fleet, "After the node", READY).await?;
    let took = started.elapsed();
    ensure!(fleet.pods(stage).await? == servers, "a server was restarted");
    // A kubelet that begins calls no pod ready until it has asked it, and an ingress controller without an endpoint
    // answers 404; nothing else may be lost, and nothing afterwards.
    logins.more(3).await?;
    let (_, lost) = logins.so_far();
    ensure!(lost.iter().all(|line| line.contains(" 404")), "lost: {lost:#?}");
    logins.more(5).await?;
    let (count, failed) = logins.stop()?;
    ensure!(failed == lost.len(), "logins are lost after the node is back");
    // Only a node that works again starts another pod.
    let victim = servers.keys().next().context("a pod")?;
    let path = format!("/api/v1/namespaces/{SHOP}/pods/{victim}");
    stage.delete(&path).await?;
    let deadline = Instant::now() + READY;
    while stage.get(&path).await.is_ok() || fleet.answers(stage, "/").await?.len() < 2 {
        ensure!(Instant::now() < deadline, "the node starts no pod");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fleet.ready(stage, READY).await?;
    scenario("kubelet, kube-proxy and containerd killed")
        .observed(format!(
            "no server restarted; {failed} of {} logins met an ingress without endpoints; pods start again",
            count + failed
        ))
        .recovered_in(took)
}
