//! The children of an AuthServer on a real API server: it alone judges their schemas, defaults them, and knows who owns
//! which field.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails panics")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crds::Kind;
use e2e::cluster::{Cluster, Mode};
use oidc::Timestamp;
use oidc::config::Issuer;
use operator::apply::{Applied, Applier, Call, Change, Failure, Fence};
use operator::build::auth_server::{BuildInputs, Hosts, Operator, children};
use operator::world::{self, ChildId, ChildKind, ObjectKey, Unreadable};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::admission::define;

const NAMESPACE: &str = "login";

/// An AuthServer on an API server, and the writer of its children.
struct Fleet {
    cluster: Cluster,
    applier: Applier,
    writes: Arc<AtomicUsize>,
    log: Arc<Mutex<Vec<String>>>,
    server: Value,
}

impl Fleet {
    async fn new(spec: Value) -> Self {
        let cluster = Cluster::start(Mode::ControlPlane).await.unwrap();
        define(&cluster, Kind::AuthServer).await.unwrap();
        let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let fence = Fence::closed();
        fence.open_until(Instant::now() + Duration::from_mins(30));
        let (writes, log) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (counted, logged) = (Arc::clone(&writes), Arc::clone(&log));
        let observe = move |call: Call<'_>| {
            if call.verb != "get" {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            logged.lock().unwrap().push(format!("{} {}", call.verb, call.resource));
        };
        let mut fleet = Self {
            cluster,
            applier: Applier::new(client, fence, Arc::new(observe)),
            writes,
            log,
            server: Value::Null,
        };
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}});
        fleet.send("POST", "/api/v1/namespaces", &namespace).await;
        fleet.create_server(spec).await;
        fleet
    }

    async fn create_server(&mut self, spec: Value) {
        let server = json!({
            "apiVersion": "auth.nauthera.io/v1alpha1", "kind": "AuthServer",
            "metadata": {"name": "main", "namespace": NAMESPACE}, "spec": spec,
        });
        self.server = self.send("POST", SERVERS, &server).await;
    }

    /// Changes the spec, here only: who asks for the change does not matter.
    fn respec(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.server["spec"]);
    }

    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.cluster.url());
        let mut request = self.cluster.client().request(method.parse().unwrap(), url);
        if let Some(body) = body {
            let kind = if method == "PATCH" {
                "application/merge-patch+json"
            } else {
                "application/json"
            };
            request = request.header(CONTENT_TYPE, kind).body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, Some(body)).await;
        assert!(status.is_success(), "{method} {path}: {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, None).await;
        assert!(status.is_success(), "GET {path}: {answer}");
        answer
    }

    /// What a watch would have shown by now.
    async fn observed(&self) -> world::Cluster {
        let mut seen = world::Cluster::default();
        for kind in ChildKind::ALL {
            if matches!(kind, ChildKind::HttpRoute | ChildKind::Certificate) {
                seen.unreadable
                    .insert(kind.as_str().to_owned(), Unreadable::NotInstalled);
                continue;
            }
            let list = format!(
                "{}?labelSelector=app.kubernetes.io/managed-by=nauthera-operator",
                collection(kind)
            );
            for item in self.get(&list).await["items"].as_array().unwrap() {
                let mut object = item.clone();
                object["metadata"].as_object_mut().unwrap().remove("managedFields");
                let id = ChildId::new(kind, NAMESPACE, object["metadata"]["name"].as_str().unwrap());
                seen.children.insert(id, Arc::new(object));
            }
        }
        seen
    }

    /// One round of the operator.
    async fn round(&self) -> Applied {
        let cluster = self.observed().await;
        let server: crds::AuthServer = serde_json::from_value(self.server.clone()).unwrap();
        let mut hosts = Hosts::default();
        hosts.add(&Issuer::parse("https://login.example.com").unwrap());
        let operator = Operator {
            version: "0.1.0".into(),
            server_image: "localhost/nauthera-auth:dev".into(),
            config_address: "nauthera-operator-config.nauthera-system.svc:8443".into(),
        };
        let wanted = children(&BuildInputs {
            key: &ObjectKey::new(NAMESPACE, "main"),
            server: &server,
            hosts: &hosts,
            cluster: &cluster,
            secrets: &BTreeMap::new(),
            operator: &operator,
            now: Timestamp::from_unix_seconds(1_800_000_000),
        });
        self.applier.children(&wanted, &cluster).await.unwrap()
    }

    /// A round that must change nothing and send nothing that writes.
    async fn rests(&self) {
        let before = self.writes.load(Ordering::Relaxed);
        let applied = self.round().await;
        assert_eq!(applied, Applied::default(), "{:?}", self.log.lock().unwrap());
        assert_eq!(self.writes.load(Ordering::Relaxed), before);
    }
}

const SERVERS: &str = "/apis/auth.nauthera.io/v1alpha1/namespaces/login/authservers";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/login/deployments/main";
const SERVICE: &str = "/api/v1/namespaces/login/services/main";

fn collection(kind: ChildKind) -> String {
    let root = if kind.group().is_empty() { "/api" } else { "/apis" };
    format!("{root}/{}/namespaces/{NAMESPACE}/{}", kind.api_version(), kind.plural())
}

fn postgres() -> Value {
    json!({
        "replicas": 3, "migrations": "Manual",
        "database": {"postgres": {"secretRef": {"name": "db"}, "caSecretRef": {"name": "ca", "key": "ca.crt"}}},
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"memory": "2048Mi"}},
        "exposure": {"ingress": {"className": "traefik"}}, "tls": {"secretRef": {"name": "tls"}},
        "podTemplate": {"spec": {"hostNetwork": false, "containers": [{"name": "sidecar", "image": "x",
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}},
    })
}

#[tokio::test]
async fn every_child_is_accepted_and_costs_nothing_afterwards() {
    for spec in [
        postgres(),
        json!({"database": {"postgres": {"secretRef": {"name": "db"}}}}),
        json!({"database": {"embedded": {}}, "exposure": {"none": {}}}),
    ] {
        let fleet = Fleet::new(spec).await;
        let applied = fleet.round().await;
        assert_eq!(applied.failures, BTreeMap::new());
        assert!(applied.changes.len() > 4, "{:?}", applied.changes);
        fleet.rests().await;
        // A pod of each template satisfies Pod Security restricted, which the namespace enforces.
        for (id, object) in fleet.observed().await.children {
            if !matches!(id.kind, ChildKind::Deployment | ChildKind::Job) {
                continue;
            }
            let mut pod = object["spec"]["template"].clone();
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            pod["metadata"]["name"] = json!("probe");
            fleet
                .send("POST", "/api/v1/namespaces/login/pods?dryRun=All", &pod)
                .await;
        }
    }
}

#[tokio::test]
async fn edits_by_hand_are_put_back_once_and_additions_left() {
    let mut fleet = Fleet::new(postgres()).await;
    fleet.round().await;
    let edit = json!({"spec": {"replicas": 7}, "metadata": {"labels": {"theirs": "stays"}}});
    fleet.send("PATCH", DEPLOYMENT, &edit).await;
    let applied = fleet.round().await;
    let id = ChildId::new(ChildKind::Deployment, NAMESPACE, "main");
    assert_eq!(
        applied.changes,
        [Change::PutBack(id.clone(), vec!["spec.replicas".into()])]
    );
    let live = fleet.get(DEPLOYMENT).await;
    assert_eq!(
        (&live["spec"]["replicas"], &live["metadata"]["labels"]["theirs"]),
        (&json!(3), &json!("stays"))
    );
    fleet.rests().await;
    // Our label taken away: it is still ours.
    fleet
        .send(
            "PATCH",
            SERVICE,
            &json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}}),
        )
        .await;
    let applied = fleet.round().await;
    assert!(
        matches!(applied.changes.as_slice(), [Change::PutBack(..)]),
        "{applied:?}"
    );
    // Somebody who never gives up is answered ever more slowly.
    fleet.send("PATCH", DEPLOYMENT, &edit).await;
    fleet.round().await;
    fleet.send("PATCH", DEPLOYMENT, &edit).await;
    let applied = fleet.round().await;
    assert_eq!(
        applied.failures.get(&id),
        Some(&Failure::Contested(vec!["spec.replicas".into()]))
    );
    // What is not asked for any more goes.
    fleet.respec(|spec| {
        spec["replicas"] = json!(1);
        spec["podTemplate"] = Value::Null;
        spec["exposure"] = json!({"none": {}});
    });
    let applied = fleet.round().await;
    let deleted: Vec<ChildKind> = applied
        .changes
        .iter()
        .filter(|change| matches!(change, Change::Deleted(_)))
        .map(|change| change.id().kind)
        .collect();
    assert_eq!(deleted, [ChildKind::PodDisruptionBudget, ChildKind::Ingress]);
    let live = fleet.get(DEPLOYMENT).await;
    let containers = live["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1, "the sidecar is gone");
}

#[tokio::test]
async fn an_object_of_somebody_else_is_never_touched() {
    let fleet = Fleet::new(postgres()).await;
    let theirs = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "main"},
        "spec": {"ports": [{"port": 99}]}});
    let before = fleet.send("POST", &collection(ChildKind::Service), &theirs).await;
    let applied = fleet.round().await;
    let id = ChildId::new(ChildKind::Service, NAMESPACE, "main");
    assert_eq!(
        applied.failures,
        BTreeMap::from([(id, Failure::Foreign("somebody else".into()))])
    );
    assert_eq!(fleet.get(SERVICE).await, before);
    let (status, _) = fleet.call("DELETE", SERVICE, None).await;
    assert!(status.is_success());
    let applied = fleet.round().await;
    assert_eq!(applied.failures, BTreeMap::new());
}

#[tokio::test]
async fn the_autoscaler_takes_over_without_a_dip() {
    let mut fleet = Fleet::new(postgres()).await;
    fleet.round().await;
    fleet.respec(|spec| {
        spec["replicas"] = Value::Null;
        spec["autoscaling"] = json!({"minReplicas": 2, "maxReplicas": 5, "targetCpuPercent": 70});
    });
    let applied = fleet.round().await;
    assert_eq!(applied.failures, BTreeMap::new());
    assert_eq!(fleet.get(DEPLOYMENT).await["spec"]["replicas"], 3);
    fleet.rests().await;
    // The autoscaler's number stays.
    fleet
        .send(
            "PATCH",
            &format!("{DEPLOYMENT}/scale"),
            &json!({"spec": {"replicas": 5}}),
        )
        .await;
    fleet.rests().await;
    assert_eq!(fleet.get(DEPLOYMENT).await["spec"]["replicas"], 5);
    fleet.respec(|spec| {
        spec["autoscaling"] = Value::Null;
        spec["replicas"] = json!(2);
    });
    fleet.round().await;
    assert_eq!(fleet.get(DEPLOYMENT).await["spec"]["replicas"], 2);
}

#[tokio::test]
async fn restored_children_are_adopted_as_they_are() {
    let mut fleet = Fleet::new(postgres()).await;
    fleet.round().await;
    // A backup: without owners, and the AuthServer comes back with another UID.
    let kept = fleet.get(DEPLOYMENT).await;
    let (status, _) = fleet.call("DELETE", &format!("{SERVERS}/main"), None).await;
    assert!(status.is_success());
    for (id, _) in fleet.observed().await.children {
        let path = format!("{}/{}", collection(id.kind), id.key.name);
        fleet
            .send("PATCH", &path, &json!({"metadata": {"ownerReferences": null}}))
            .await;
    }
    fleet.create_server(postgres()).await;
    let applied = fleet.round().await;
    assert_eq!(applied.failures, BTreeMap::new());
    assert!(
        applied
            .changes
            .iter()
            .all(|change| matches!(change, Change::Adopted(_))),
        "{applied:?}"
    );
    let live = fleet.get(DEPLOYMENT).await;
    assert_eq!(live["metadata"]["uid"], kept["metadata"]["uid"]);
    assert_eq!(live["spec"]["template"], kept["spec"]["template"]);
    assert_eq!(
        live["metadata"]["ownerReferences"][0]["uid"],
        fleet.server["metadata"]["uid"]
    );
    assert_eq!(live["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
    fleet.rests().await;
}
