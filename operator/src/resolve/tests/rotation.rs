//! Client secrets are replaced in an order in which nobody is ever shown a secret that servers refuse.

use super::*;
use crate::build;
use crate::resolve::rotation::hash;

const HOUR: i64 = 3600;

/// A fleet, one Client, and a leader that may be dropped between any two writes.
struct Sim {
    world: World,
    committed: BTreeMap<ObjectKey, Artefact>,
    /// What each ready replica serves.
    pods: BTreeMap<usize, Option<Artefact>>,
    now: Timestamp,
    /// Somebody else wrote into the Secret since the operator did.
    is_edited: bool,
    asked: usize,
}

fn secret_key() -> ObjectKey {
    ObjectKey::new("apps", "web-oidc")
}

impl Sim {
    fn new(more: &str) -> Self {
        let mut texts = one_client("");
        texts[2] = client("apps", "web", "acme", more).replace("type: Public", "type: Confidential");
        let mut world = folder(&texts).world;
        for _ in 0..2 {
            let keys = first(&world).missing_keys;
            let missing = Resolution {
                missing_keys: keys,
                ..Resolution::default()
            };
            placeholder::fill(&mut world, &missing);
        }
        Self {
            world,
            committed: BTreeMap::new(),
            pods: (0..2).map(|pod| (pod, None)).collect(),
            now: NOW,
            is_edited: false,
            asked: 0,
        }
    }

    fn acknowledgements(&self) -> BTreeMap<ObjectKey, Acknowledgements> {
        let answer = |artefact: &Artefact| Acknowledgement {
            head: artefact.head(),
            content: artefact.manifest().content,
            rejected: BTreeMap::new(),
        };
        let answers = self.pods.iter();
        let acknowledgements = Acknowledgements {
            ready: self.pods.keys().map(ToString::to_string).collect(),
            by_pod: answers
                .filter_map(|(pod, artefact)| Some((pod.to_string(), answer(artefact.as_ref()?))))
                .collect(),
            highest: None,
        };
        BTreeMap::from([(fleet(), acknowledgements)])
    }

    fn resolve(&self) -> Resolution {
        resolve(&Inputs {
            world: &self.world,
            previous: &self.committed,
            acknowledgements: &self.acknowledgements(),
            now: self.now,
        })
    }

    /// One round of a leader that is dropped after `limit` writes. Returns how many there were.
    fn round(&mut self, limit: usize) -> usize {
        let resolution = self.resolve();
        let mut writes = 0;
        let mut may = || {
            writes += 1;
            writes <= limit
        };
        for missing in &resolution.missing_client_secrets {
            if may() {
                let ledger = build::client::new_secret(missing, self.now);
                self.world.secrets.insert(missing.secret.clone(), ledger.into());
            }
        }
        for (key, ledger) in resolution.ledgers {
            if may() {
                self.world.secrets.insert(key, ledger.into());
            }
        }
        if self.committed != resolution.artefacts && may() {
            self.committed = resolution.artefacts;
        }
        for (key, credentials) in resolution.credentials {
            let live = self.world.secrets.get(&key).map(AsRef::as_ref);
            let merged = build::client::merged(live, credentials.secret);
            if live != Some(&merged) && may() {
                self.world.secrets.insert(key, merged.into());
                self.is_edited = false;
            }
        }
        writes.min(limit)
    }

    /// Rounds with every replica keeping up, until there is nothing to write.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.update_all();
            if self.round(usize::MAX) == 0 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn update_all(&mut self) {
        let committed = self.committed.get(&fleet()).cloned();
        self.pods.values_mut().for_each(|pod| pod.clone_from(&committed));
    }

    fn annotate(&mut self, name: &str) {
        self.asked += 1;
        let value = format!("{}", self.asked);
        let client = self.world.clients.values_mut().next().unwrap();
        let annotations = Arc::make_mut(client).metadata.annotations.get_or_insert_default();
        annotations.insert(name.to_owned(), value);
    }

    fn edit(&mut self, value: &str) {
        if let Some(secret) = self.world.secrets.get_mut(&secret_key()) {
            let value = oidc::Secret::new(value.as_bytes().to_vec());
            Arc::make_mut(secret).data.insert("client-secret".to_owned(), value);
            self.is_edited = true;
        }
    }

    fn shown(&self) -> Option<String> {
        let secret = self.world.secrets.get(&secret_key())?;
        let value = secret.data.get("client-secret")?.expose().clone();
        Some(String::from_utf8(value).unwrap())
    }

    fn accepts(&self, pod: usize, value: &str) -> Option<bool> {
        let id = ResourceId::Client(RealmId::of_issuer("https://login.example"), "apps.web".into());
        let Some(Resource::Client(client)) = self.pods.get(&pod)?.as_ref()?.resource(&id) else {
            return None;
        };
        let oidc::config::ClientAuthentication::SecretBasic(hashes) = client.authentication else {
            panic!("{client:?}")
        };
        Some(hashes.contains(&hash(value.as_bytes())))
    }

    fn accepted_everywhere(&self, value: &str) -> bool {
        self.pods.keys().all(|pod| self.accepts(*pod, value) == Some(true))
    }

    fn finding(&self, kind: ConditionType) -> Option<String> {
        let resolution = self.resolve();
        let id = ObjectId {
            kind: Kind::Client,
            key: ObjectKey::new("apps", "web"),
        };
        let finding = resolution.verdicts[&id].finding(kind)?;
        Some(format!(
            "{} {}: {}",
            finding.status.as_str(),
            finding.reason,
            finding.message
        ))
    }

    fn pass(&mut self, seconds: i64) {
        self.now = Timestamp::from_unix_seconds(self.now.unix_seconds() + seconds);
    }
}

const ROTATED: &str = "  rotation: {interval: 48h, overlap: 1h}\n";

#[test]
fn a_new_secret_is_shown_only_when_every_ready_replica_accepts_it_and_the_former_one_outlives_it_by_the_overlap() {
    let mut sim = Sim::new(ROTATED);
    sim.settle();
    let one = sim.shown().unwrap();
    assert!(sim.accepted_everywhere(&one));
    sim.pass(48 * HOUR);
    sim.round(usize::MAX);
    sim.round(usize::MAX);
    // Committed; only one of two replicas has it.
    sim.pods.insert(0, sim.committed.get(&fleet()).cloned());
    assert_eq!(sim.round(usize::MAX), 0);
    assert_eq!(sim.shown().as_ref(), Some(&one));
    let text = "True Rotating: client secret 2 is written as soon as every ready replica accepts it";
    assert_eq!(sim.finding(ConditionType::CredentialsReady).as_deref(), Some(text));
    assert_eq!(sim.finding(ConditionType::Degraded), None);
    sim.pass(15 * 60);
    assert!(
        sim.finding(ConditionType::Degraded)
            .unwrap()
            .starts_with("True RotationBlocked: client secret 2 waits for replicas")
    );
    sim.settle();
    let two = sim.shown().unwrap();
    assert_ne!(one, two);
    assert!(sim.accepted_everywhere(&one) && sim.accepted_everywhere(&two));
    assert!(
        sim.finding(ConditionType::CredentialsReady)
            .unwrap()
            .contains("the former one is valid until")
    );
    sim.pass(HOUR);
    sim.settle();
    assert!(!sim.accepted_everywhere(&one) && sim.accepted_everywhere(&two));
    assert_eq!(
        sim.finding(ConditionType::CredentialsReady).as_deref(),
        Some("True Issued: the generated Secrets are there")
    );
}

#[test]
fn an_annotation_acts_once_for_each_value() {
    let mut sim = Sim::new("");
    sim.annotate(crds::ROTATE_ANNOTATION);
    sim.settle();
    let one = sim.shown().unwrap();
    sim.settle();
    assert_eq!(
        sim.shown().as_ref(),
        Some(&one),
        "a value that was there first asks for nothing"
    );
    sim.annotate(crds::ROTATE_ANNOTATION);
    sim.settle();
    let two = sim.shown().unwrap();
    assert_ne!(one, two);
    sim.pass(100 * HOUR);
    sim.settle();
    assert_eq!(sim.shown(), Some(two));
}

#[test]
fn revocation_makes_every_former_secret_invalid_and_waits_for_nobody() {
    let mut sim = Sim::new(ROTATED);
    sim.settle();
    let one = sim.shown().unwrap();
    sim.annotate(crds::ROTATE_ANNOTATION);
    sim.round(usize::MAX);
    sim.annotate(crds::REVOKE_ANNOTATION);
    for _ in 0..4 {
        // No replica answers any more.
        sim.round(usize::MAX);
    }
    let two = sim.shown().unwrap();
    assert_ne!(one, two);
    sim.update_all();
    assert!(!sim.accepted_everywhere(&one) && sim.accepted_everywhere(&two));
    sim.settle();
    assert_eq!(sim.shown(), Some(two));
}

#[test]
fn revocation_reaches_a_client_whose_spec_cannot_be_used() {
    let mut sim = Sim::new("");
    sim.settle();
    let one = sim.shown().unwrap();
    let client = sim.world.clients.values_mut().next().unwrap();
    Arc::make_mut(client).spec.redirect_uris = vec!["https://ü.example/cb".into()];
    sim.annotate(crds::REVOKE_ANNOTATION);
    sim.settle();
    assert!(sim.finding(ConditionType::Ready).unwrap().starts_with("False Invalid"));
    assert_eq!(sim.accepts(0, &one), Some(false));
    assert!(sim.accepted_everywhere(&sim.shown().unwrap()));
}

#[test]
fn a_deleted_secret_comes_back_with_a_new_value_and_the_old_one_stays_valid_for_the_overlap() {
    let mut sim = Sim::new("");
    sim.settle();
    let one = sim.shown().unwrap();
    sim.world.secrets.remove(&secret_key());
    sim.round(usize::MAX);
    assert_eq!(sim.shown(), None, "not before servers accept it");
    sim.settle();
    let two = sim.shown().unwrap();
    assert_ne!(one, two);
    assert!(sim.accepted_everywhere(&one) && sim.accepted_everywhere(&two));
    assert_eq!(
        sim.world.secrets[&secret_key()].data.get("client-id").unwrap().expose(),
        b"apps.web"
    );
    sim.pass(24 * HOUR);
    sim.settle();
    assert!(!sim.accepted_everywhere(&one) && sim.accepted_everywhere(&two));
}

#[test]
fn an_edited_secret_is_put_back_and_what_others_added_stays() {
    let mut sim = Sim::new("");
    sim.settle();
    let one = sim.shown();
    let secret = sim.world.secrets.get_mut(&secret_key()).unwrap();
    let theirs = oidc::Secret::new(b"theirs".to_vec());
    Arc::make_mut(secret).data.insert("extra".to_owned(), theirs.clone());
    sim.edit("chosen by hand, and much too short to be kept as a hash");
    sim.settle();
    assert_eq!(sim.shown(), one);
    assert_eq!(sim.world.secrets[&secret_key()].data.get("extra").unwrap(), &theirs);
}

#[test]
fn a_lost_ledger_is_written_again_from_what_is_shown() {
    let mut sim = Sim::new("");
    sim.settle();
    let one = sim.shown();
    let is_ledger = |key: &ObjectKey| key.name.starts_with("nauthera-client-");
    sim.world.secrets.retain(|key, _| !is_ledger(key));
    sim.settle();
    assert_eq!(sim.shown(), one);
    assert!(sim.world.secrets.keys().any(is_ledger));
    // Together with an edit nobody knows the value any more: another one, in the safe order.
    sim.world.secrets.retain(|key, _| !is_ledger(key));
    sim.edit("nobody issued this value, however long it may be");
    sim.settle();
    let two = sim.shown();
    assert_ne!(two, one);
    assert!(sim.accepted_everywhere(&one.unwrap()) && sim.accepted_everywhere(&two.unwrap()));
}

#[test]
fn the_secret_moves_with_its_name() {
    let mut sim = Sim::new("");
    sim.settle();
    let one = sim.shown().unwrap();
    let client = sim.world.clients.values_mut().next().unwrap();
    Arc::make_mut(client).spec.secret.name = Some("renamed".into());
    sim.settle();
    let renamed = &sim.world.secrets[&ObjectKey::new("apps", "renamed")];
    assert_eq!(renamed.data.get("client-secret").unwrap().expose(), one.as_bytes());
}

#[test]
fn the_ledger_of_a_client_that_is_gone_is_dropped_when_it_is_served_no_more() {
    let mut sim = Sim::new("");
    sim.settle();
    sim.world.clients.clear();
    let resolution = sim.resolve();
    assert!(resolution.spent.is_empty(), "it is served still");
    sim.committed = resolution.artefacts;
    let resolution = sim.resolve();
    assert_eq!(resolution.spent.len(), 1);
    sim.world.cluster = Some(crate::world::Cluster {
        unreadable: BTreeMap::from([("Client".to_owned(), crate::world::Unreadable::Forbidden)]),
        ..crate::world::Cluster::default()
    });
    assert!(
        sim.resolve().spent.is_empty(),
        "nothing follows from what cannot be read"
    );
}

#[test]
fn no_secret_is_shown_by_accident() {
    let mut sim = Sim::new(ROTATED);
    sim.settle();
    let shown = sim.shown().unwrap();
    let resolution = sim.resolve();
    assert!(!format!("{resolution:?}").contains(&shown));
    let ledger = sim
        .world
        .secrets
        .iter()
        .find(|(key, _)| key.name.starts_with("nauthera-client-"));
    let json = ledger.unwrap().1.data.get("ledger.json").unwrap().expose().clone();
    assert!(!String::from_utf8(json).unwrap().contains(&shown));
}

#[derive(Clone, Debug)]
enum Act {
    /// A leader writes so much and is dropped.
    Round(usize),
    /// A replica takes what is committed.
    Update(usize),
    /// A replica starts, from what is committed.
    Start(usize),
    /// A replica goes.
    Leave(usize),
    Pass(i64),
    Rotate,
    Delete,
    Edit,
    /// The ledger is deleted by hand.
    Forget,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..5_usize).prop_map(Act::Round),
        5 => (0..3_usize).prop_map(Act::Update),
        1 => (0..3_usize).prop_map(Act::Start),
        1 => (0..3_usize).prop_map(Act::Leave),
        2 => prop_oneof![Just(60), Just(HOUR), Just(50 * HOUR)].prop_map(Act::Pass),
        2 => Just(Act::Rotate),
        1 => Just(Act::Delete),
        1 => Just(Act::Edit),
        1 => Just(Act::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever is dropped, restarted, edited or deleted in between: a secret that the operator shows is one that every
    /// ready replica that knows the client accepts.
    #[test]
    fn a_shown_secret_is_always_accepted(acts in prop::collection::vec(act(), 1..60)) {
        let mut sim = Sim::new(ROTATED);
        sim.settle();
        for act in acts {
            match act.clone() {
                Act::Round(limit) => {
                    sim.round(limit);
                }
                Act::Update(pod) => {
                    let committed = sim.committed.get(&fleet()).cloned();
                    if let Some(pod) = sim.pods.get_mut(&pod) {
                        *pod = committed;
                    }
                }
                Act::Start(pod) => {
                    sim.pods.insert(pod, sim.committed.get(&fleet()).cloned());
                }
                Act::Leave(pod) => {
                    sim.pods.remove(&pod);
                }
                Act::Pass(seconds) => sim.pass(seconds),
                Act::Rotate => sim.annotate(crds::ROTATE_ANNOTATION),
                Act::Delete => {
                    sim.world.secrets.remove(&secret_key());
                    sim.is_edited = false;
                }
                Act::Edit => sim.edit("somebody thought that this would be a good idea"),
                Act::Forget => sim.world.secrets.retain(|key, _| !key.name.starts_with("nauthera-client-")),
            }
            if let (Some(shown), false) = (sim.shown(), sim.is_edited) {
                for pod in sim.pods.keys() {
                    prop_assert!(sim.accepts(*pod, &shown) != Some(false), "{act:?}: replica {pod} refuses it");
                }
            }
        }
        sim.pods.insert(0, None);
        sim.settle();
        prop_assert!(sim.accepted_everywhere(&sim.shown().unwrap()));
    }
}
