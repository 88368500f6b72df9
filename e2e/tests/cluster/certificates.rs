//! Certificates that cert-manager issues, by its own controllers: those that people see at the ingress, and those that
//! servers show to operators. Each fleet has an authority of its own, as tenants have.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use e2e::scenario;
use serde_json::{Value, json};

use crate::delivery::rename;
use crate::fleet::{Exposure, Fleet};
use crate::stage::{OPERATOR_NAMESPACE, READY, Stage, condition};

/// Port of the configuration stream.
const CONFIG_PORT: u16 = 8443;

pub(crate) async fn cert_manager_issues_what_people_and_operators_are_shown(stage: &mut Stage) -> Result<()> {
    stage.cluster.start_cert_manager().await?;
    let fleet = prepare(stage, "issued-a").await?;
    let neighbour = prepare(stage, "issued-b").await?;
    let began = Instant::now();
    for object in with_issuers(fleet.objects(stage, 1, Exposure::Ingress)) {
        stage.cluster.apply(&object.to_string()).await?;
    }
    fleet.ready(stage, READY).await?;
    let took = began.elapsed();
    // Of the neighbour, only its name and its authority matter here.
    for object in with_issuers(neighbour.objects(stage, 1, Exposure::Ingress)) {
        if object["kind"] == "AuthServer" {
            stage.cluster.apply(&object.to_string()).await?;
        }
    }
    stage.ready(&neighbour.path("authservers", "login"), READY).await?;

    let folder = tempfile::tempdir()?;
    people_see_it(stage, &fleet, folder.path()).await?;
    let before = fleet.pods(stage).await?;
    rename(stage, &fleet, "Issued by a tenant's authority", READY).await?;
    a_tenant_cannot_sign_the_name_of_its_neighbour(stage, &fleet, &neighbour, folder.path()).await?;
    let renewed_in = the_renewed_certificate_is_shown(stage, &fleet).await?;
    ensure!(fleet.pods(stage).await? == before, "a server was restarted");
    what_is_not_asked_for_any_more_goes(stage, &fleet).await?;
    for fleet in [&fleet, &neighbour] {
        stage.delete(&format!("/api/v1/namespaces/{}", fleet.namespace)).await?;
    }
    scenario("certificates of cert-manager, for people and for the configuration stream")
        .observed(format!("Ready in {:.1} s", took.as_secs_f32()))
        .observed("a tenant's authority cannot sign its neighbour's name")
        .observed("edits go live through a new certificate of a new authority, no server restarted")
        .recovered_in(renewed_in)
}

/// The namespace of a fleet with an authority of its own, and a second one to change to.
async fn prepare(stage: &Stage, namespace: &str) -> Result<Fleet> {
    let fleet = Fleet::prepare(stage, namespace).await?;
    let object = |kind: &str, name: &str, spec: Value| {
        json!({"apiVersion": "cert-manager.io/v1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace}, "spec": spec})
    };
    let authority = |name: &str| {
        object(
            "Certificate",
            name,
            json!({"isCA": true, "commonName": format!("{namespace} {name}"), "secretName": name,
                "privateKey": {"algorithm": "ECDSA", "size": 256}, "issuerRef": {"name": "itself"}}),
        )
    };
    for object in [
        object("Issuer", "itself", json!({"selfSigned": {}})),
        authority("first"),
        authority("second"),
        object("Issuer", "tenant", json!({"ca": {"secretName": "first"}})),
    ] {
        stage.cluster.apply(&object.to_string()).await?;
    }
    Ok(fleet)
}

/// The same objects, with certificates of the tenant's issuer.
fn with_issuers(mut objects: Vec<Value>) -> Vec<Value> {
    let issuer = json!({"certManager": {"issuerRef": {"name": "tenant"}}});
    for object in &mut objects {
        if object["kind"] == "AuthServer" {
            object["spec"]["tls"] = issuer.clone();
            object["spec"]["peerTls"] = issuer.clone();
        }
    }
    objects
}

async fn people_see_it(stage: &Stage, fleet: &Fleet, folder: &Path) -> Result<()> {
    let authority = write(stage, fleet, "first", "ca.crt", folder).await?;
    let document = format!("{}/.well-known/openid-configuration", fleet.issuer());
    let began = Instant::now();
    loop {
        let output = stage
            .cluster
            .command(Path::new("curl"))?
            .args(["--silent", "--show-error", "--max-time", "5", "--cacert"])
            .arg(&authority)
            .arg(&document)
            .output()?;
        let served: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if served.is_some_and(|served| served["issuer"] == fleet.issuer()) {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            began.elapsed() < READY,
            "{document} is not served with the tenant's certificate: {complaint}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The tenant lets its authority sign a certificate that names its neighbour, and shows it to an operator.
async fn a_tenant_cannot_sign_the_name_of_its_neighbour(
    stage: &Stage,
    fleet: &Fleet,
    neighbour: &Fleet,
    folder: &Path,
) -> Result<()> {
    let own = peer_certificate(fleet);
    let others = peer_certificate(neighbour);
    let mut spec = stage.get(&own).await?["spec"].take();
    let name = stage.get(&others).await?["spec"]["uris"].take();
    ensure!(
        name.is_array() && spec["uris"] != name,
        "both fleets have the name {name}"
    );
    spec["uris"] = name;
    spec["secretName"] = json!("usurped");
    let usurped = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"name": "usurped", "namespace": fleet.namespace}, "spec": spec});
    stage.cluster.apply(&usurped.to_string()).await?;
    let path = format!("/api/v1/namespaces/{}/secrets/usurped", fleet.namespace);
    stage
        .until(&path, READY, |secret| secret["data"]["tls.crt"].as_str().map(drop))
        .await?;

    let operators = stage
        .pods(OPERATOR_NAMESPACE, "app.kubernetes.io/component=operator")
        .await?;
    let operator = operators.keys().next().context("no operator")?;
    let pod = stage
        .get(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{operator}"))
        .await?;
    let address = pod["status"]["podIP"]
        .as_str()
        .context("an operator without an address")?;
    let address = format!("{address}:{CONFIG_PORT}");
    let accepted = handshake(
        stage,
        &address,
        &identity(stage, fleet, "login-peer-tls", folder).await?,
    )?;
    ensure!(
        accepted.is_none(),
        "the fleet's own certificate is refused: {accepted:?}"
    );
    let refused = handshake(stage, &address, &identity(stage, fleet, "usurped", folder).await?)?;
    ensure!(
        refused.is_some(),
        "a tenant's authority signed the name of another fleet, and an operator accepts it"
    );
    Ok(())
}

/// The path of the Certificate that a fleet's servers show to operators.
fn peer_certificate(fleet: &Fleet) -> String {
    format!(
        "/apis/cert-manager.io/v1/namespaces/{}/certificates/login-peer",
        fleet.namespace
    )
}

/// The files of a certificate and its key.
async fn identity(stage: &Stage, fleet: &Fleet, secret: &str, folder: &Path) -> Result<(PathBuf, PathBuf)> {
    Ok((
        write(stage, fleet, secret, "tls.crt", folder).await?,
        write(stage, fleet, secret, "tls.key", folder).await?,
    ))
}

/// Writes a value of a Secret into a file.
async fn write(stage: &Stage, fleet: &Fleet, secret: &str, key: &str, folder: &Path) -> Result<PathBuf> {
    let path = format!("/api/v1/namespaces/{}/secrets/{secret}", fleet.namespace);
    let value = |secret: &Value| secret["data"][key].as_str().map(str::to_owned);
    let (value, _) = stage.until(&path, READY, value).await?;
    let file = folder.join(format!("{secret}-{key}"));
    fs::write(&file, base64::engine::general_purpose::STANDARD.decode(value)?)?;
    Ok(file)
}

/// Shows a certificate to an operator; returns the alert of a refusal. With TLS 1.3 that follows the handshake, so
/// what is waited for is either the alert or the first bytes of HTTP/2.
fn handshake(stage: &Stage, address: &str, (certificate, key): &(PathBuf, PathBuf)) -> Result<Option<String>> {
    // The preface and an empty SETTINGS frame (RFC 9113 §3.4): whoever is accepted is answered.
    const CLIENT: &str = r"printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\000\000\000\004\000\000\000\000\000'; sleep 2";
    let script = format!(
        "({CLIENT}) | timeout 10 openssl s_client -quiet -tls1_3 -alpn h2 -connect \"$0\" -cert \"$1\" -key \"$2\""
    );
    let output = stage
        .cluster
        .command(Path::new("sh"))?
        .arg("-c")
        .arg(script)
        .arg(address)
        .args([certificate, key])
        .output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    if let Some(alert) = complaint.lines().find(|line| line.contains("alert")) {
        return Ok(Some(alert.to_owned()));
    }
    ensure!(
        !output.stdout.is_empty(),
        "neither an answer nor a refusal: {complaint}"
    );
    Ok(None)
}

/// The issuer changes to another authority and issues anew. From then on operators believe the new one alone; every
/// connection is made again, and servers show what they find in their volume.
async fn the_renewed_certificate_is_shown(stage: &Stage, fleet: &Fleet) -> Result<Duration> {
    let secret_path = format!("/api/v1/namespaces/{}/secrets/login-peer-tls", fleet.namespace);
    let certificate = |secret: &Value| secret["data"]["tls.crt"].as_str().map(str::to_owned);
    let (before, _) = stage.until(&secret_path, READY, certificate).await?;
    let authority = format!("/apis/cert-manager.io/v1/namespaces/{}/issuers/tenant", fleet.namespace);
    stage
        .merge(&authority, &json!({"spec": {"ca": {"secretName": "second"}}}))
        .await?;
    let path = peer_certificate(fleet);
    let began = Instant::now();
    // What `cmctl renew` does.
    let mut conditions = stage.get(&path).await?["status"]["conditions"].take();
    let renew = json!({"type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
        "message": "renewed by hand", "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()});
    conditions.as_array_mut().context("no conditions")?.push(renew);
    stage
        .merge(
            &format!("{path}/status"),
            &json!({"status": {"conditions": conditions}}),
        )
        .await?;
    let is_new = |secret: &Value| certificate(secret).filter(|now| *now != before);
    stage.until(&secret_path, READY, is_new).await?;
    stage.operators(0).await?;
    stage.operators(2).await?;
    // A kubelet looks after a volume once a minute, and at once when its pod changes.
    for pod in fleet.pods(stage).await?.keys() {
        let pod = format!("/api/v1/namespaces/{}/pods/{pod}", fleet.namespace);
        stage
            .merge(&pod, &json!({"metadata": {"annotations": {"tests/look": "now"}}}))
            .await?;
    }
    rename(stage, fleet, "Issued by another authority", READY).await?;
    Ok(began.elapsed())
}

/// Back to the built-in authority and to a Secret for the ingress: the Certificates are removed, nothing else changes.
async fn what_is_not_asked_for_any_more_goes(stage: &Stage, fleet: &Fleet) -> Result<()> {
    let server = fleet.path("authservers", "login");
    let back = json!({"spec": {
        "peerTls": {"certManager": null, "builtIn": {}},
        "tls": {"certManager": null, "secretRef": {"name": "tls"}},
    }});
    stage.merge(&server, &back).await?;
    let certificates = format!("/apis/cert-manager.io/v1/namespaces/{}/certificates", fleet.namespace);
    let gone = |list: &Value| {
        let mut names = list["items"].as_array()?.iter().map(|one| &one["metadata"]["name"]);
        names
            .all(|name| name != "login-peer" && name != "login-tls")
            .then_some(())
    };
    stage.until(&certificates, READY, gone).await?;
    stage.ready(&server, READY).await?;
    let object = stage.get(&server).await?;
    let (status, _, message) = condition(&object, "Infrastructure").context("no condition Infrastructure")?;
    ensure!(status == "True", "Infrastructure says: {message}");
    Ok(())
}
