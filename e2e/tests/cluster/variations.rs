//! What an AuthServer may ask for beside the usual, switched on and off on a running fleet: nothing is left behind.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::scenario;
use serde_json::{Value, json};

use crate::fleet::{Exposure, Fleet};
use crate::stage::{API, READY, Stage};

pub(crate) async fn what_is_switched_off_is_removed(stage: &mut Stage) -> Result<()> {
    let fleet = Fleet::create(stage, "variants", 2, Exposure::Ingress).await?;
    let server = fleet.path("authservers", "login");
    let began = Instant::now();
    let [budget, policy, scaler, ingress, route] = [
        "/apis/policy/v1/namespaces/variants/poddisruptionbudgets/login",
        "/apis/networking.k8s.io/v1/namespaces/variants/networkpolicies/login",
        "/apis/autoscaling/v2/namespaces/variants/horizontalpodautoscalers/login",
        "/apis/networking.k8s.io/v1/namespaces/variants/ingresses",
        "/apis/gateway.networking.k8s.io/v1/namespaces/variants/httproutes",
    ];
    let count = |object: &Value| object["items"].as_array().map(Vec::len);
    let off = json!({"spec": {
        "replicas": null,
        "autoscaling": {"minReplicas": 2, "maxReplicas": 3},
        "networkPolicy": "Disabled",
        "podDisruptionBudget": {"mode": "Disabled"},
        "exposure": {"ingress": null, "gateway": {"parentRefs": [
            {"name": "traefik", "namespace": "kube-system", "sectionName": "websecure"},
        ]}},
        "tls": {"secretRef": null, "edge": {"trustedProxies": ["10.244.0.0/24"]}},
    }});
    stage.merge(&server, &off).await?;
    gone(stage, budget).await?;
    gone(stage, policy).await?;
    stage.until(scaler, READY, |_| Some(())).await?;
    stage
        .until(route, READY, |list| (count(list)? == 1).then_some(()))
        .await?;
    stage
        .until(ingress, READY, |list| (count(list)? == 0).then_some(()))
        .await?;
    stage.ready(&server, READY).await?;
    let on = json!({"spec": {
        "replicas": 2,
        "autoscaling": null,
        "networkPolicy": "Managed",
        "podDisruptionBudget": {"mode": "Managed"},
        "exposure": {"gateway": null, "ingress": {"className": "traefik"}},
        "tls": {"edge": null, "secretRef": {"name": "tls"}},
    }});
    stage.merge(&server, &on).await?;
    gone(stage, scaler).await?;
    stage.until(budget, READY, |_| Some(())).await?;
    stage.until(policy, READY, |_| Some(())).await?;
    stage
        .until(route, READY, |list| (count(list)? == 0).then_some(()))
        .await?;
    stage
        .until(ingress, READY, |list| (count(list)? == 1).then_some(()))
        .await?;
    stage.ready(&server, READY).await?;
    scenario("autoscaler, policies and routes switched on and off")
        .observed("every object came and went, the fleet is Ready as before")
        .recovered_in(began.elapsed())
}

pub(crate) async fn a_volume_outlives_the_fleet_that_asked_for_it(stage: &mut Stage) -> Result<()> {
    stage.namespace("variants").await?;
    let server = json!({
        "apiVersion": "auth.nauthera.io/v1alpha1", "kind": "AuthServer",
        "metadata": {"name": "small", "namespace": "variants"}, "spec": {"database": {"embedded": {}}},
    });
    stage.cluster.apply(&server.to_string()).await?;
    let path = "/api/v1/namespaces/variants/persistentvolumeclaims/small-data";
    let began = Instant::now();
    let (uid, _) = stage
        .until(path, READY, |claim| {
            claim["metadata"]["uid"].as_str().map(str::to_owned)
        })
        .await?;
    // A label taken away by hand comes back, and the claim stays the same one.
    let label = json!({"metadata": {"labels": {"app.kubernetes.io/component": null}}});
    stage.merge(path, &label).await?;
    let labelled = |claim: &Value| {
        claim["metadata"]["labels"]["app.kubernetes.io/component"]
            .as_str()
            .map(drop)
    };
    stage.until(path, READY, labelled).await?;
    let took = began.elapsed();
    stage
        .delete(&format!("{API}/namespaces/variants/authservers/small"))
        .await?;
    gone(stage, "/apis/apps/v1/namespaces/variants/deployments/small").await?;
    let claim = stage.get(path).await?;
    ensure!(claim["metadata"]["uid"] == uid.as_str(), "the claim is another one");
    scenario("an embedded fleet deleted")
        .observed("its volume claim stays, the same one")
        .recovered_in(took)
}

/// Waits until nothing is at a path.
async fn gone(stage: &Stage, path: &str) -> Result<()> {
    let began = Instant::now();
    while stage.get(path).await.is_ok() {
        ensure!(began.elapsed() < READY, "{path} is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
