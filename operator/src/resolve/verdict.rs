//! What is said about each object: its conditions and the values that its status shows.

mod delivery;
mod fleet;

use std::collections::BTreeMap;

use crds::auth_server::{FleetConfiguration, ReplicaCounts};
use crds::client::{EffectiveClient, SecretStatus};
use crds::conditions::{self, ConditionType, Finding, Prognosis, Reason, find};
use crds::manifests::Kind;
use crds::realm::{KeyStage, SigningAlgorithm};
use crds::status::ServedConfiguration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use oidc::Timestamp;
use oidc::config::{self, SignatureAlgorithm};
use snapshot::{Answers, ResourceId, Step};

use super::outcome::Origin;
use super::rotation::Decision;
use super::shrink;
use super::{Clients, Inputs, Problem, Realms, defaults, is_paused};
use crate::build::client as credentials;
use crate::world::{ObjectId, ObjectKey};
use delivery::{Delivery, programmed};
use fleet::{desired_replicas, frozen, sees_its_surroundings};

/// What is to be said about one custom resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Generation of the object that it speaks of; 0 for objects that do not parse.
    pub generation: i64,
    /// What is wrong, field by field.
    pub problems: Vec<Problem>,
    /// The conditions, `Ready` among them.
    pub findings: Vec<Finding>,
    /// What else its status shows.
    pub details: Details,
}

/// What the status of an object shows beside its conditions.
#[derive(Clone, Debug, PartialEq)]
pub enum Details {
    /// Of an AuthServer.
    AuthServer {
        /// The pods.
        replicas: ReplicaCounts,
        /// Realms that are served.
        realms: i32,
        /// Clients that are served.
        clients: i32,
        /// The configuration that should be served.
        configuration: FleetConfiguration,
        /// Version of the servers, where it is known.
        version: Option<String>,
    },
    /// Of a Realm.
    Realm {
        /// Its stable id.
        realm_id: Option<String>,
        /// What is served of it.
        config: Option<ServedConfiguration>,
        /// Its keys: id, algorithm and stage.
        signing_keys: Vec<(String, SigningAlgorithm, KeyStage)>,
    },
    /// Of a Client.
    Client {
        /// Its `client_id`.
        client_id: Option<String>,
        /// Its issuer.
        issuer: Option<String>,
        /// The Secret with its credentials.
        secret: Option<SecretStatus>,
        /// What is in force.
        effective: Option<EffectiveClient>,
        /// What is served of it.
        config: Option<ServedConfiguration>,
    },
    /// Of an object that does not parse.
    Undecodable,
}

impl Verdict {
    /// The condition of this type.
    pub fn finding(&self, kind: ConditionType) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.kind == kind)
    }

    /// Whether the object is as its spec says, on every ready replica.
    pub fn is_ready(&self) -> bool {
        self.finding(ConditionType::Ready)
            .is_some_and(|ready| ready.reason == Reason::Live)
    }

    /// The same with what was found out about the objects that an AuthServer consists of.
    #[must_use]
    pub fn with_infrastructure(mut self, infrastructure: Vec<Finding>) -> Self {
        let is_summary = |finding: &Finding| match finding.kind {
            ConditionType::Ready | ConditionType::Reconciling | ConditionType::Stalled => true,
            kind => infrastructure.iter().any(|other| other.kind == kind),
        };
        self.findings.retain(|finding| !is_summary(finding));
        // What is wrong with the pods explains why the configuration is not live.
        let at = self
            .findings
            .iter()
            .position(|finding| finding.kind == ConditionType::Programmed);
        let at = at.unwrap_or(self.findings.len());
        self.findings.splice(at..at, infrastructure);
        self.findings = summarize(self.findings);
        self
    }

    /// Whether somebody has to act.
    pub fn is_stalled(&self) -> bool {
        self.finding(ConditionType::Stalled).is_some()
    }
}

pub(super) fn verdicts(
    inputs: &Inputs<'_>,
    realms: &Realms,
    clients: &Clients,
    steps: &BTreeMap<ObjectKey, Step>,
) -> BTreeMap<ObjectId, Verdict> {
    let (answers, none) = (inputs.answers(), Answers::default());
    let delivery = |fleet: Option<&ObjectKey>| {
        let fleet = fleet?;
        Some(Delivery {
            step: steps.get(fleet)?,
            answers: answers.get(fleet).unwrap_or(&none),
        })
    };
    let mut verdicts = BTreeMap::new();
    for (key, server) in &inputs.world.auth_servers {
        let id = ObjectId {
            kind: Kind::AuthServer,
            key: key.clone(),
        };
        let verdict = match delivery(Some(key)) {
            Some(delivery) => fleet(inputs, key, server, &delivery),
            None => unnameable(&server.metadata),
        };
        verdicts.insert(id, verdict);
    }
    for (key, realm) in &inputs.world.realms {
        let Some(outcome) = realms.get(key) else { continue };
        let id = outcome.served.as_ref().map(|realm| ResourceId::Realm(realm.id));
        let object = Object {
            metadata: &realm.metadata,
            conditions: realm.status.as_ref().map_or(&[], |status| &status.conditions),
            config: realm.status.as_ref().and_then(|status| status.config.as_ref()),
            problems: &outcome.problems,
            origin: outcome.origin,
            now: inputs.now,
        };
        let (findings, config) = judge(&object, id.as_ref(), delivery(outcome.fleet.as_ref()).as_ref());
        let keys = outcome.more.iter().flat_map(|keys| &keys.signing);
        let details = Details::Realm {
            realm_id: outcome.served.as_ref().map(|realm| realm.id.to_string()),
            config,
            signing_keys: keys
                .map(|key| (key.kid.clone(), algorithm(key.algorithm), stage(key.stage)))
                .collect(),
        };
        verdicts.insert(
            ObjectId {
                kind: Kind::Realm,
                key: key.clone(),
            },
            object.verdict(findings, details),
        );
    }
    for (key, client) in &inputs.world.clients {
        let Some(outcome) = clients.get(key) else { continue };
        let id = outcome
            .served
            .as_ref()
            .map(|c| ResourceId::Client(c.realm, c.client_id.as_str().into()));
        let object = Object {
            metadata: &client.metadata,
            conditions: client.status.as_ref().map_or(&[], |status| &status.conditions),
            config: client.status.as_ref().and_then(|status| status.config.as_ref()),
            problems: &outcome.problems,
            origin: outcome.origin,
            now: inputs.now,
        };
        let (mut findings, config) = judge(&object, id.as_ref(), delivery(outcome.fleet.as_ref()).as_ref());
        let secrets = outcome.more.secrets.as_ref();
        let decided = secrets.and_then(|secrets| secrets.decision.as_ref().ok());
        rotation(&mut findings, decided);
        let details = Details::Client {
            client_id: Some(super::client::client_id(key, client)),
            issuer: outcome.more.issuer.as_ref().map(|issuer| issuer.as_str().to_owned()),
            secret: outcome
                .more
                .issuer
                .as_ref()
                .map(|_| secret_status(key, client, decided)),
            effective: outcome.more.effective.clone(),
            config,
        };
        verdicts.insert(
            ObjectId {
                kind: Kind::Client,
                key: key.clone(),
            },
            object.verdict(findings, details),
        );
    }
    verdicts.retain(|id, _| sees_its_surroundings(inputs.world, id));
    for (id, reason) in &inputs.world.undecodable {
        verdicts.insert(id.clone(), undecodable(reason));
    }
    verdicts
}

/// Says what is going on with the secrets of a Client, where nothing is wrong with them.
fn rotation(findings: &mut Vec<Finding>, decided: Option<&Decision>) {
    for finding in decided.into_iter().flat_map(Decision::findings) {
        match findings.iter_mut().find(|other| other.kind == finding.kind) {
            Some(other) if other.status == finding.status => *other = finding,
            Some(_) => {}
            None => findings.push(finding),
        }
    }
}

fn secret_status(key: &ObjectKey, client: &crds::Client, decided: Option<&Decision>) -> SecretStatus {
    let time = |time: Timestamp| jiff::Timestamp::from_second(time.unix_seconds()).ok().map(Time);
    SecretStatus {
        name: credentials::secret_key(key, client).name,
        revision: decided.map_or(0, Decision::shown_revision),
        next_rotation: decided.and_then(|decided| time(decided.next_rotation?)),
        previous_valid_until: decided.and_then(|decided| time(decided.previous_valid_until()?)),
    }
}

fn fleet(inputs: &Inputs<'_>, key: &ObjectKey, server: &crds::AuthServer, delivery: &Delivery<'_>) -> Verdict {
    let Delivery { step, answers } = delivery;
    let manifest = step.artefact.manifest();
    let (head, ready) = (manifest.head, answers.ready());
    let configuration = FleetConfiguration {
        hash: manifest.content.to_string(),
        epoch: i64::try_from(head.epoch).unwrap_or(i64::MAX),
        generation: i64::try_from(head.generation).unwrap_or(i64::MAX),
    };
    let status = server.status.as_ref();
    let was_live = status.is_some_and(|status| {
        status.configuration.as_ref() == Some(&configuration)
            && conditions::holds(&status.conditions, ConditionType::Programmed)
    });
    // Replicas that the operator cannot see just now go on as they were.
    let serving = match answers.serving(head) {
        _ if was_live && answers.behind(head) == 0 => ready,
        serving => serving,
    };
    let text = format!(
        "{serving} of {ready} ready replicas serve generation {}",
        head.generation
    );
    let programmed = if ready == 0 {
        Finding::new(
            ConditionType::Programmed,
            false,
            Reason::NoReadyReplicas,
            "no replica is ready yet",
        )
    } else if serving < ready {
        Finding::new(ConditionType::Programmed, false, Reason::RollingOut, text)
    } else {
        Finding::new(ConditionType::Programmed, true, Reason::Live, text)
    };
    let accepted = Finding::new(ConditionType::Accepted, true, Reason::Accepted, "the spec is valid");
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let mut findings = vec![accepted, programmed];
    findings.extend(paused(&server.metadata));
    let mut findings = summarize(findings);
    if let Some(held) = &manifest.shrink {
        let text = shrink::sentence(held);
        findings.push(Finding::new(ConditionType::Degraded, true, Reason::ShrinkHeld, text));
    } else {
        findings.extend(frozen(inputs.world));
    }
    Verdict {
        generation: server.metadata.generation.unwrap_or(0),
        problems: Vec::new(),
        findings,
        details: Details::AuthServer {
            replicas: ReplicaCounts::new(
                desired_replicas(inputs.world, key, server),
                count(ready),
                count(serving),
            ),
            realms: i32::try_from(manifest.counts.realms).unwrap_or(i32::MAX),
            clients: i32::try_from(manifest.counts.clients).unwrap_or(i32::MAX),
            configuration,
            version: None,
        },
    }
}

/// How many servers an AuthServer asks for.
pub(crate) fn wanted_replicas(server: &crds::AuthServer) -> i32 {
    let embedded = matches!(server.spec.database, crds::auth_server::Database::Embedded(_));
    let autoscaled = server
        .spec
        .autoscaling
        .as_ref()
        .map(|autoscaling| autoscaling.min_replicas);
    server
        .spec
        .replicas
        .or(autoscaled)
        .unwrap_or(if embedded { 1 } else { 2 })
}

/// An AuthServer whose name cannot stand in a certificate. The API server takes no such name.
fn unnameable(metadata: &ObjectMeta) -> Verdict {
    let problem = Problem::invalid("metadata.name", "must be a DNS name in lower case");
    let findings = vec![Finding::new(
        ConditionType::Accepted,
        false,
        problem.reason,
        problem.sentence(),
    )];
    Verdict {
        generation: metadata.generation.unwrap_or(0),
        problems: vec![problem],
        findings: summarize(findings),
        details: Details::Undecodable,
    }
}

fn undecodable(reason: &str) -> Verdict {
    let accepted = Finding::new(ConditionType::Accepted, false, Reason::Undecodable, reason);
    Verdict {
        generation: 0,
        problems: vec![Problem::new(ConditionType::Accepted, Reason::Undecodable, "", reason)],
        findings: summarize(vec![accepted]),
        details: Details::Undecodable,
    }
}

/// A Realm or Client with what was found out about it.
struct Object<'a> {
    metadata: &'a ObjectMeta,
    conditions: &'a [Condition],
    /// What its status says is served of it.
    config: Option<&'a ServedConfiguration>,
    problems: &'a [Problem],
    origin: Origin,
    now: Timestamp,
}

impl Object<'_> {
    fn verdict(&self, findings: Vec<Finding>, details: Details) -> Verdict {
        Verdict {
            generation: self.metadata.generation.unwrap_or(0),
            problems: self.problems.to_vec(),
            findings,
            details,
        }
    }

    /// One of the conditions that problems make false.
    fn condition(&self, kind: ConditionType, good: Reason, text: &str) -> Finding {
        let mut own = self.problems.iter().filter(|problem| problem.condition == kind);
        let Some(first) = own.next() else {
            return Finding::new(kind, true, good, text);
        };
        let reason = match first.reason {
            Reason::ReferenceNotFound if kind == ConditionType::ResolvedRefs && self.is_in_grace() => {
                Reason::WaitingForReference
            }
            reason => reason,
        };
        let sentences: Vec<String> = std::iter::once(first).chain(own).map(Problem::sentence).collect();
        Finding::new(kind, false, reason, sentences.join("; "))
    }

    /// Whether a missing reference is still waited for: counted from when it was first reported missing.
    fn is_in_grace(&self) -> bool {
        let since = find(self.conditions, ConditionType::ResolvedRefs)
            .filter(|condition| condition.status == "False")
            .map(|condition| Timestamp::from_unix_seconds(condition.last_transition_time.0.as_second()));
        since.is_none_or(|since| self.now.since(since) < defaults::REFERENCE_GRACE)
    }
}

fn judge(
    object: &Object<'_>,
    id: Option<&ResourceId>,
    delivery: Option<&Delivery<'_>>,
) -> (Vec<Finding>, Option<ServedConfiguration>) {
    let mut findings = vec![
        object.condition(
            ConditionType::Accepted,
            Reason::Accepted,
            "the spec is valid and admitted",
        ),
        object.condition(
            ConditionType::ResolvedRefs,
            Reason::Resolved,
            "every reference is found",
        ),
        object.condition(
            ConditionType::CredentialsReady,
            Reason::Issued,
            "the generated Secrets are there",
        ),
    ];
    let placed = id
        .zip(delivery)
        .map(|(id, delivery)| (id, delivery, delivery.step.artefact.shard_of(id)));
    let entry = placed.and_then(|(id, _, shard)| shard?.entries.get(id));
    let config = entry.map(|entry| ServedConfiguration {
        hash: entry.current.version().to_string(),
        since_generation: i64::try_from(entry.since_generation).unwrap_or(i64::MAX),
    });
    let blocking = findings
        .iter()
        .find(|finding| finding.status == conditions::ConditionStatus::False);
    let programmed = match (placed, blocking) {
        (_, Some(problem)) if object.origin == Origin::Former || entry.is_none() => {
            let text = if entry.is_some() {
                "the former version stays live"
            } else {
                "not served"
            };
            Finding::new(ConditionType::Programmed, false, problem.reason, text)
        }
        _ if object.origin == Origin::Withheld => {
            let kept = if entry.is_some() {
                "the former version stays live"
            } else {
                "not served"
            };
            let text = format!(
                "what its spec says waits until the annotation {} is removed; {kept}",
                crds::PAUSED_ANNOTATION
            );
            Finding::new(ConditionType::Programmed, false, Reason::PausedByAnnotation, text)
        }
        (Some((id, delivery, shard)), _) => {
            let was_live = config.is_some()
                && object.config == config.as_ref()
                && conditions::holds(object.conditions, ConditionType::Programmed);
            programmed(id, shard, delivery, was_live)
        }
        _ => Finding::new(ConditionType::Programmed, false, Reason::Progressing, "not served yet"),
    };
    findings.push(programmed);
    findings.extend(paused(object.metadata));
    (summarize(findings), config)
}

/// What is said of an object that somebody has frozen.
fn paused(metadata: &ObjectMeta) -> Option<Finding> {
    let finding = || {
        let text = format!("frozen by the annotation {}", crds::PAUSED_ANNOTATION);
        Finding::new(ConditionType::Paused, true, Reason::PausedByAnnotation, text)
    };
    is_paused(metadata).then(finding)
}

/// Adds `Ready`, and `Reconciling` or `Stalled`, which follow from the others. A frozen object that is as its spec says
/// is ready, for nothing is waited for.
fn summarize(mut findings: Vec<Finding>) -> Vec<Finding> {
    let wrong = findings
        .iter()
        .find(|finding| finding.status == conditions::ConditionStatus::False)
        .map(|finding| (finding.reason, finding.message.clone()));
    match wrong {
        None => {
            let said = [ConditionType::Programmed, ConditionType::Paused].into_iter();
            let said = said.filter_map(|kind| findings.iter().find(|finding| finding.kind == kind));
            let said: Vec<&str> = said.map(|finding| finding.message.as_str()).collect();
            let text = said.join("; ");
            findings.insert(0, Finding::new(ConditionType::Ready, true, Reason::Live, text));
        }
        Some((reason, message)) => {
            findings.insert(0, Finding::new(ConditionType::Ready, false, reason, message.clone()));
            let summary = match reason.prognosis() {
                Prognosis::Terminal => ConditionType::Stalled,
                Prognosis::Good | Prognosis::Progressing => ConditionType::Reconciling,
            };
            findings.push(Finding::new(summary, true, reason, message));
        }
    }
    findings
}

fn algorithm(algorithm: SignatureAlgorithm) -> SigningAlgorithm {
    match algorithm {
        SignatureAlgorithm::Es256 => SigningAlgorithm::Es256,
        SignatureAlgorithm::Rs256 => SigningAlgorithm::Rs256,
        SignatureAlgorithm::Ps256 => SigningAlgorithm::Ps256,
        SignatureAlgorithm::EdDsa => SigningAlgorithm::EdDsa,
    }
}

fn stage(stage: config::KeyStage) -> KeyStage {
    match stage {
        config::KeyStage::Published => KeyStage::Published,
        config::KeyStage::Active => KeyStage::Active,
        config::KeyStage::Retired => KeyStage::Retired,
    }
}
