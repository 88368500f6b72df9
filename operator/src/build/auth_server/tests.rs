//! What is built for a few AuthServers, and what must not change it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::conditions::{ConditionType, Reason};
use oidc::Timestamp;
use oidc::config::Issuer;
use serde_json::{Value, json};

use super::infrastructure::infrastructure;
use super::{BuildInputs, Hosts, Operator, children};
use crate::apply::Failure;
use crate::build::{Children, field, set, text};
use crate::world::{ChildId, ChildKind, Cluster, ObjectKey, SecretObject, Trouble};

struct Case {
    key: ObjectKey,
    server: crds::AuthServer,
    hosts: Hosts,
    cluster: Cluster,
    secrets: BTreeMap<ObjectKey, Arc<SecretObject>>,
    operator: Operator,
    now: Timestamp,
}

impl Case {
    fn new(spec: &Value) -> Self {
        let object = json!({
            "apiVersion": "auth.nauthera.io/v1alpha1", "kind": "AuthServer",
            "metadata": {"namespace": "login", "name": "main", "uid": "uid-1", "generation": 1},
            "spec": spec,
        });
        let mut case = Self {
            key: ObjectKey::new("login", "main"),
            server: serde_json::from_value(object).unwrap(),
            hosts: Hosts::default(),
            cluster: Cluster::default(),
            secrets: BTreeMap::new(),
            operator: Operator {
                version: "0.1.0".into(),
                server_image: "localhost/nauthera-auth:dev".into(),
                config_address: "nauthera-operator-config.nauthera-system.svc:8443".into(),
            },
            now: Timestamp::from_unix_seconds(1_000_000),
        };
        case.issuer("https://login.example.com");
        case
    }

    fn postgres() -> Self {
        Self::new(&json!({"database": {"postgres": {"secretRef": {"name": "db"}}}}))
    }

    fn issuer(&mut self, issuer: &str) {
        self.hosts.add(&Issuer::parse(issuer).unwrap());
    }

    fn inputs(&self) -> BuildInputs<'_> {
        BuildInputs {
            key: &self.key,
            server: &self.server,
            hosts: &self.hosts,
            cluster: &self.cluster,
            secrets: &self.secrets,
            operator: &self.operator,
            now: self.now,
        }
    }

    fn children(&self) -> Children {
        children(&self.inputs())
    }

    fn live(&mut self, kind: ChildKind, name: &str, object: Value) {
        let id = ChildId::new(kind, "login", name);
        self.cluster.children.insert(id, Arc::new(object));
    }

    /// Everything that is desired becomes live.
    fn applied(&mut self) -> Children {
        let children = self.children();
        for desired in &children.desired {
            let mut object = desired.object.clone();
            let live = self.cluster.children.get(&desired.id);
            if let Some(status) = live.and_then(|live| live.get("status")) {
                set(&mut object, &["status"], status.clone());
            }
            self.cluster.children.insert(desired.id.clone(), Arc::new(object));
        }
        children
    }

    fn end_job(&mut self, condition: &str, at: &str) {
        let (id, job) = self
            .cluster
            .children
            .iter()
            .find(|(id, _)| id.kind == ChildKind::Job)
            .unwrap();
        let (id, mut job) = (id.clone(), (**job).clone());
        let condition =
            json!({"type": condition, "status": "True", "lastTransitionTime": at, "message": "limit reached"});
        set(&mut job, &["status", "conditions"], json!([condition]));
        self.cluster.children.insert(id, Arc::new(job));
    }

    /// A migration that succeeded, and a Deployment that runs.
    fn running(spec: &Value) -> Self {
        let mut case = Self::new(spec);
        case.applied();
        if case.cluster.children.keys().any(|id| id.kind == ChildKind::Job) {
            case.end_job("Complete", "1970-01-12T13:00:00Z");
        }
        case.applied();
        case
    }

    fn template(&self) -> Value {
        let children = self.children();
        let deployment = children.get(ChildKind::Deployment, "main").unwrap();
        field(&deployment.object, &["spec", "template"]).unwrap().clone()
    }

    fn says(&self, kind: ConditionType) -> Option<(Reason, String)> {
        self.says_with(kind, &BTreeMap::new())
    }

    fn says_with(&self, kind: ConditionType, failures: &BTreeMap<ChildId, Failure>) -> Option<(Reason, String)> {
        let findings = infrastructure(&self.inputs(), &self.children(), failures);
        let finding = findings.into_iter().find(|finding| finding.kind == kind)?;
        Some((finding.reason, finding.message))
    }
}

fn yaml(children: &Children) -> String {
    let mut all = String::new();
    for desired in &children.desired {
        all.push_str("---\n");
        all.push_str(&serde_saphyr::to_string(&desired.object).unwrap());
    }
    for id in &children.kept {
        all.push_str("# kept: ");
        all.push_str(&id.to_string());
        all.push('\n');
    }
    all
}

#[test]
fn a_fleet_on_postgres_behind_an_ingress() {
    let mut case = Case::running(&json!({
        "replicas": 3,
        "database": {"postgres": {"secretRef": {"name": "db"}, "caSecretRef": {"name": "db-ca", "key": "ca.crt"}}},
        "exposure": {"ingress": {"className": "traefik"}},
        "tls": {"certManager": {"issuerRef": {"name": "ca"}}},
    }));
    case.issuer("https://other.example.com/auth");
    insta::assert_snapshot!(yaml(&case.children()));
}

#[test]
fn a_fleet_with_an_embedded_database_behind_a_gateway() {
    let case = Case::new(&json!({
        "database": {"embedded": {}},
        "exposure": {"gateway": {"parentRefs": [{"name": "public", "namespace": "gateways"}]}},
        "tls": {"edge": {"trustedProxies": ["192.0.2.0/24"]}},
        "podTemplate": {"spec": {"nodeSelector": {"disk": "ssd"}}},
    }));
    insta::assert_snapshot!(yaml(&case.children()));
}

#[test]
fn configuration_and_an_operator_upgrade_change_no_pod() {
    let mut case = Case::running(&json!({
        "database": {"postgres": {"secretRef": {"name": "db"}}},
        "exposure": {"ingress": {}}, "tls": {"secretRef": {"name": "tls"}},
    }));
    let before = case.template();
    case.issuer("https://another.example.com");
    case.operator.version = "0.2.0".into();
    case.operator.server_image = "localhost/nauthera-auth:0.2.0".into();
    assert_eq!(case.template(), before);
    assert!(case.children().kept.is_empty());
    let (reason, message) = case.says(ConditionType::UpdateAvailable).unwrap();
    assert_eq!(reason, Reason::NewerVersion);
    assert!(message.contains("set spec.version to 0.2.0"), "{message}");
}

#[test]
fn servers_follow_the_operator_when_asked_and_a_version_is_obeyed() {
    let image = |case: &Case| {
        let children = case.children();
        let job = children
            .desired
            .iter()
            .find(|desired| desired.id.kind == ChildKind::Job);
        let job = job
            .unwrap()
            .object
            .pointer("/spec/template/spec/containers/0/image")
            .unwrap();
        job.as_str().unwrap().to_owned()
    };
    let mut case = Case::running(&json!({"database": {"postgres": {"secretRef": {"name": "db"}}}}));
    case.operator.version = "0.2.0".into();
    case.operator.server_image = "registry.example/nauthera-auth:0.2.0".into();
    assert_eq!(image(&case), "localhost/nauthera-auth:dev");
    case.server.spec.version = Some("0.1.5".into());
    assert_eq!(image(&case), "registry.example/nauthera-auth:0.1.5");
    case.server.spec.version = None;
    case.server.spec.upgrade = crds::auth_server::Upgrade::WithOperator;
    assert_eq!(image(&case), "registry.example/nauthera-auth:0.2.0");
    assert_eq!(case.says(ConditionType::UpdateAvailable), None);
    case.server.spec.image = Some("mine:1".into());
    assert_eq!(image(&case), "mine:1");
}

#[test]
fn servers_roll_out_after_their_migration() {
    let mut case = Case::postgres();
    let deployment = ChildId::new(ChildKind::Deployment, "login", "main");
    let first = case.applied();
    assert!(first.kept.contains(&deployment));
    assert_eq!(case.says(ConditionType::Infrastructure).unwrap().0, Reason::Migrating);
    case.end_job("Complete", "1970-01-12T13:00:00Z");
    let second = case.applied();
    assert!(second.kept.is_empty());
    assert_eq!(case.says(ConditionType::Infrastructure).unwrap().0, Reason::Deploying);
    // Another image: held back until its own Job has succeeded, and the old Job goes.
    case.server.spec.image = Some("mine:2".into());
    let third = case.children();
    assert!(third.kept.contains(&deployment));
    assert!(third.desired.iter().all(|desired| desired.id != deployment));
    // Another database too.
    case.server.spec.image = None;
    if let crds::auth_server::Database::Postgres(postgres) = &mut case.server.spec.database {
        postgres.secret_ref.name = "other".into();
    }
    assert!(case.children().kept.contains(&deployment));
}

#[test]
fn a_failed_migration_is_told_and_made_anew_after_a_while() {
    let mut case = Case::postgres();
    case.applied();
    case.end_job("Failed", "1970-01-12T13:46:00Z"); // 40 s before now
    let trouble = Trouble {
        pod: "main-migrate-x".into(),
        container: "migrate".into(),
        reason: "Error".into(),
        message: "error: password authentication failed".into(),
        exit_code: Some(1),
        ended_at: None,
    };
    case.cluster.troubles.insert(case.key.clone(), vec![trouble]);
    let (reason, message) = case.says(ConditionType::Infrastructure).unwrap();
    assert_eq!(reason, Reason::MigrationFailed);
    assert!(message.contains("password authentication failed"), "{message}");
    assert!(case.children().again_after.is_some());
    assert!(
        case.children()
            .desired
            .iter()
            .any(|desired| desired.id.kind == ChildKind::Job)
    );
    case.now = Timestamp::from_unix_seconds(1_000_000 + 300);
    assert!(
        case.children()
            .desired
            .iter()
            .all(|desired| desired.id.kind != ChildKind::Job)
    );
}

#[test]
fn a_failed_migration_is_made_anew_when_the_database_secret_is_another_one() {
    let mut case = Case::postgres();
    let secret = ObjectKey::new("login", "db");
    let set_version = |case: &mut Case, version: &str| {
        let versions = &mut case.cluster.named_versions;
        versions.insert(secret.clone(), version.to_owned());
    };
    set_version(&mut case, "uid/1");
    case.applied();
    let job = |case: &Case| {
        let children = case.children();
        let job = children
            .desired
            .into_iter()
            .find(|desired| desired.id.kind == ChildKind::Job);
        job.map(|job| job.object)
    };
    let made = job(&case);
    set_version(&mut case, "uid/2");
    assert_eq!(job(&case), made, "one that runs is left alone");
    set_version(&mut case, "uid/1");
    case.end_job("Failed", "1970-01-12T13:46:00Z"); // 40 s before now
    assert_eq!(job(&case), made);
    set_version(&mut case, "uid/2");
    assert_eq!(job(&case), None);
    case.cluster.children.retain(|id, _| id.kind != ChildKind::Job);
    let anew = job(&case).unwrap();
    let spec = |job: &Value| field(job, &["spec"]).cloned();
    assert_eq!(spec(&anew), spec(&made.clone().unwrap()));
    assert_ne!(Some(anew), made);
}

#[test]
fn a_schema_that_servers_refuse_is_migrated_again_or_asked_for() {
    let mut case = Case::running(&json!({"database": {"postgres": {"secretRef": {"name": "db"}}}}));
    let mut trouble = Trouble {
        pod: "main-1".into(),
        container: "auth-server".into(),
        reason: "CrashLoopBackOff".into(),
        message: "error: database schema is at version 0".into(),
        exit_code: Some(3),
        ended_at: Some(Timestamp::from_unix_seconds(900_000)),
    };
    case.cluster.troubles.insert(case.key.clone(), vec![trouble.clone()]);
    let has_job = |case: &Case| {
        case.children()
            .desired
            .iter()
            .any(|desired| desired.id.kind == ChildKind::Job)
    };
    assert!(has_job(&case), "it complained before the migration");
    trouble.ended_at = Some(case.now);
    case.cluster.troubles.insert(case.key.clone(), vec![trouble]);
    assert!(!has_job(&case));
    case.server.spec.migrations = crds::auth_server::Migrations::Manual;
    let (reason, message) = case.says(ConditionType::Infrastructure).unwrap();
    assert_eq!(reason, Reason::MigrationRequired);
    assert!(message.contains("nauthera-auth migrate"), "{message}");
}

#[test]
fn the_number_of_pods_is_handed_to_the_autoscaler_and_taken_back() {
    let mut case = Case::running(&json!({"replicas": 3, "database": {"postgres": {"secretRef": {"name": "db"}}}}));
    case.server.spec.replicas = None;
    case.server.spec.autoscaling = Some(serde_json::from_value(json!({"maxReplicas": 5})).unwrap());
    let children = case.children();
    let writes: Vec<(&str, Option<i64>)> = children
        .desired
        .iter()
        .filter(|desired| desired.id.kind == ChildKind::Deployment)
        .map(|desired| {
            (
                desired.manager,
                desired.object.pointer("/spec/replicas").and_then(Value::as_i64),
            )
        })
        .collect();
    assert_eq!(
        writes,
        [("nauthera-operator-replicas", Some(3)), ("nauthera-operator", None)]
    );
    assert!(children.get(ChildKind::HorizontalPodAutoscaler, "main").is_some());
    case.applied();
    let again = case.children();
    assert!(
        again
            .desired
            .iter()
            .all(|desired| desired.manager == "nauthera-operator")
    );
    case.server.spec.autoscaling = None;
    case.server.spec.replicas = Some(2);
    let back = case.children();
    let deployment = back.get(ChildKind::Deployment, "main").unwrap();
    assert_eq!(deployment.object.pointer("/spec/replicas"), Some(&json!(2)));
    assert!(back.get(ChildKind::HorizontalPodAutoscaler, "main").is_none());
}

#[test]
fn a_new_fleet_under_an_autoscaler_starts_with_its_least_number() {
    let case = Case::new(
        &json!({"database": {"postgres": {"secretRef": {"name": "db"}}}, "migrations": "Manual",
        "autoscaling": {"minReplicas": 2, "maxReplicas": 4}}),
    );
    let children = case.children();
    let deployment = children.get(ChildKind::Deployment, "main").unwrap();
    assert_eq!(deployment.object.pointer("/spec/replicas"), Some(&json!(2)));
}

#[test]
fn one_replica_needs_no_disruption_budget() {
    let case = Case::new(&json!({"replicas": 1, "database": {"postgres": {"secretRef": {"name": "db"}}}}));
    assert!(case.children().get(ChildKind::PodDisruptionBudget, "main").is_none());
    assert!(
        Case::postgres()
            .children()
            .get(ChildKind::PodDisruptionBudget, "main")
            .is_some()
    );
}

fn deployment_status(case: &mut Case, available: i64, progressing: (&str, &str)) {
    let children = case.children();
    let mut live = children.get(ChildKind::Deployment, "main").unwrap().object.clone();
    let status = json!({
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": available,
        "conditions": [{"type": "Progressing", "status": progressing.0, "reason": progressing.1}],
    });
    set(&mut live, &["status"], status);
    set(&mut live, &["metadata", "generation"], json!(1));
    case.live(ChildKind::Deployment, "main", live);
}

#[test]
fn a_rollout_is_told_as_it_goes() {
    let mut case = Case::running(&json!({"replicas": 2, "database": {"postgres": {"secretRef": {"name": "db"}}}}));
    let said = |case: &Case| case.says(ConditionType::Infrastructure).unwrap();
    deployment_status(&mut case, 1, ("True", "ReplicaSetUpdated"));
    assert_eq!(said(&case), (Reason::Deploying, "1 of 2 replicas available".into()));
    deployment_status(&mut case, 2, ("True", "NewReplicaSetAvailable"));
    assert_eq!(said(&case), (Reason::Available, "2 of 2 replicas available".into()));
    assert_eq!(case.says(ConditionType::Degraded), None);
    deployment_status(&mut case, 1, ("True", "NewReplicaSetAvailable"));
    let (reason, text) = said(&case);
    assert_eq!(
        (reason, text.as_str()),
        (Reason::Deploying, "1 of 2 replicas available")
    );
    // Once it was ready, a pod that is lost only degrades it.
    case.server.metadata.generation = Some(3);
    case.server.status = Some(crds::auth_server::AuthServerStatus {
        observed_generation: 3,
        ..Default::default()
    });
    assert_eq!(said(&case).0, Reason::Available);
    assert_eq!(case.says(ConditionType::Degraded).unwrap().0, Reason::Deploying);
    let trouble = Trouble {
        pod: "main-2".into(),
        container: "auth-server".into(),
        reason: "ImagePullBackOff".into(),
        message: "no such image".into(),
        exit_code: None,
        ended_at: None,
    };
    case.cluster.troubles.insert(case.key.clone(), vec![trouble]);
    deployment_status(&mut case, 1, ("False", "ProgressDeadlineExceeded"));
    let expected =
        "the roll-out makes no progress: 1 of 2 replicas available; pod main-2: ImagePullBackOff: no such image";
    assert_eq!(said(&case), (Reason::RolloutFailed, expected.into()));
}

#[test]
fn what_cannot_be_written_is_named() {
    let case = Case::postgres();
    let service = ChildId::new(ChildKind::Service, "login", "main");
    let deployment = ChildId::new(ChildKind::Deployment, "login", "main");
    let said = |id: &ChildId, failure| {
        let failures = BTreeMap::from([(id.clone(), failure)]);
        case.says_with(ConditionType::Infrastructure, &failures).unwrap()
    };
    let (reason, message) = said(&service, Failure::Foreign("App x".into()));
    assert_eq!(reason, Reason::ResourceConflict);
    assert!(
        message.contains("Service main is needed but belongs to App x"),
        "{message}"
    );
    assert_eq!(said(&service, Failure::Forbidden("no".into())).0, Reason::Forbidden);
    let contested = BTreeMap::from([(deployment, Failure::Contested(vec!["spec.replicas".into()]))]);
    let (reason, message) = case.says_with(ConditionType::Degraded, &contested).unwrap();
    assert_eq!(reason, Reason::ResourceConflict);
    assert!(message.contains("spec.replicas of Deployment main"), "{message}");
}

#[test]
fn a_missing_or_useless_secret_is_named() {
    let mut case = Case::postgres();
    let said = |case: &Case| case.says(ConditionType::ResolvedRefs).unwrap();
    assert_eq!(said(&case).0, Reason::WaitingForReference);
    let secret = |keys: &[&str]| {
        let data = keys
            .iter()
            .map(|key| ((*key).to_owned(), oidc::Secret::new(b"x".to_vec())));
        Arc::new(SecretObject {
            data: data.collect(),
            ..SecretObject::default()
        })
    };
    let key = ObjectKey::new("login", "db");
    case.secrets.insert(key.clone(), secret(&["host", "user", "password"]));
    let (reason, message) = said(&case);
    assert_eq!(reason, Reason::ReferenceInvalid);
    assert!(message.contains("neither the key uri nor dbname"), "{message}");
    case.secrets.insert(key, secret(&["uri"]));
    assert_eq!(said(&case).0, Reason::Resolved);
}

#[test]
fn every_child_says_whose_it_is() {
    let case = Case::running(&json!({"database": {"postgres": {"secretRef": {"name": "db"}}}}));
    for desired in case.children().desired {
        let annotation = |name| text(&desired.object, &["metadata", "annotations", name]);
        assert_eq!(annotation("auth.nauthera.io/owner"), Some("AuthServer/login/main"));
        assert_eq!(annotation("auth.nauthera.io/owner-uid"), Some("uid-1"));
        assert!(
            desired
                .object
                .pointer("/metadata/ownerReferences/0/controller")
                .is_some()
        );
    }
}

#[test]
fn with_an_issuer_of_its_own_a_fleet_shows_that_ones_certificate_and_trusts_the_operators() {
    let case = Case::new(&json!({
        "database": {"embedded": {}}, "peerTls": {"certManager": {"issuerRef": {"name": "tenant"}}},
    }));
    let children = case.children();
    let certificate = ChildId::new(ChildKind::Certificate, "login", "main-peer");
    let certificate = children
        .desired
        .iter()
        .find(|desired| desired.id == certificate)
        .unwrap();
    let spec = field(&certificate.object, &["spec"]).unwrap();
    assert_eq!(spec["uris"], json!(["spiffe://nauthera/ns/login/authserver/main"]));
    assert_eq!(spec["secretName"], "main-peer-tls");
    assert_eq!(
        spec["secretTemplate"]["labels"]["app.kubernetes.io/managed-by"],
        "nauthera-operator"
    );
    let pod = children
        .desired
        .iter()
        .find(|desired| desired.id.kind == ChildKind::Deployment)
        .and_then(|desired| field(&desired.object, &["spec", "template", "spec", "volumes"]))
        .and_then(Value::as_array)
        .unwrap();
    let peer = pod.iter().find(|volume| volume["name"] == "peer").unwrap();
    let sources = peer["projected"]["sources"].as_array().unwrap();
    let files: Vec<_> = sources
        .iter()
        .map(|source| {
            (
                &source["secret"]["name"],
                source["secret"]["items"].as_array().unwrap().len(),
            )
        })
        .collect();
    assert_eq!(files, [(&json!("main-peer-tls"), 2), (&json!("main-peer"), 1)]);
}

#[test]
fn what_a_pause_keeps_from_being_made_is_said_and_an_edit_by_hand_is_nobodys_business() {
    let mut case = Case::running(&json!({"database": {"embedded": {}}}));
    let pause = (crds::PAUSED_ANNOTATION.to_owned(), "true".to_owned());
    case.server.metadata.annotations = Some(BTreeMap::from([pause]));
    let said = |case: &Case| case.says(ConditionType::Infrastructure).map(|(reason, _)| reason);
    let before = said(&case);
    assert_ne!(before, Some(Reason::PausedByAnnotation));
    let deployment = ChildId::new(ChildKind::Deployment, "login", "main");
    let live = Arc::make_mut(case.cluster.children.get_mut(&deployment).unwrap());
    let account = ["spec", "template", "spec", "serviceAccountName"];
    assert!(text(live, &account).is_some());
    set(live, &account, json!("by-hand"));
    assert_eq!(said(&case), before);

    case.server.spec.image = Some("registry.example/other:1".to_owned());
    let (reason, message) = case.says(ConditionType::Infrastructure).unwrap();
    assert_eq!(reason, Reason::PausedByAnnotation);
    assert!(message.ends_with("is not as the spec says until the annotation auth.nauthera.io/paused is removed"));
    case.server.metadata.annotations = None;
    assert_ne!(said(&case), Some(Reason::PausedByAnnotation));
}
