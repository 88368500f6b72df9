//! Replicas that serve what Secrets say, over real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::auth_server::{CertManager, PeerTls};
use crds::conditions::Reason;
use oidc::Secret;
use operator::build::artefact::Commit;
use operator::build::peers::{authority, issued_peer_secret, operator_authority_secret, peer_secret};
use operator::pki::{Authority, Leaf};
use operator::publish::{Bearer, Limits, TokenSigner};
use operator::run::delivery::{AUDIENCE, Delivery};
use operator::world::{Cluster, Pod, SecretObject, World};
use serde_json::json;
use snapshot::{Artefact, Fleet};
use tokio::net::TcpListener;

use super::peers::{BUILT_IN, NAMESPACE, lead};
use super::{Secrets, owner};
use crate::publish::{PATIENCE, Peer, client, commit, now};

/// A fleet `login/NAME`.
fn fleet(name: &str) -> Fleet {
    Fleet::new("login", name).unwrap()
}

fn next(previous: Option<&Artefact>, fleet: &Fleet, display_name: &str) -> Artefact {
    commit(previous, fleet, vec![client("shop", display_name)])
        .as_ref()
        .clone()
}

fn put(secrets: &mut Secrets, name: &str, former: Option<&Artefact>, target: &Artefact) {
    let owner = owner(name);
    let plan = Commit {
        owner: &owner,
        committed: former,
        target,
    };
    for write in plan.writes(|key| secrets.seen(key)) {
        secrets.write(&write).unwrap();
    }
}

/// What a replica sees: these fleets, each with a ready pod `NAME-1` of UID `NAME-uid`.
fn world(secrets: &Secrets, fleets: &[(&str, &PeerTls)]) -> World {
    let mut world = World::default();
    let mut cluster = Cluster::default();
    for (name, peer_tls) in fleets {
        let key = owner(name).key;
        let object = json!({
            "metadata": {"namespace": "login", "name": name, "uid": owner(name).uid},
            "spec": {"database": {"embedded": {}}, "peerTls": peer_tls},
        });
        let server: crds::AuthServer = serde_json::from_value(object).unwrap();
        world.auth_servers.insert(key.clone(), Arc::new(server));
        let pod = Pod {
            name: format!("{name}-1"),
            is_ready: true,
        };
        cluster.pods.insert(key, BTreeMap::from([(format!("{name}-uid"), pod)]));
    }
    world.cluster = Some(cluster);
    secrets.show(&mut world);
    world
}

struct Replica {
    delivery: Delivery,
    address: SocketAddr,
}

impl Replica {
    async fn start(signer: &TokenSigner) -> Self {
        let limits = Limits {
            acquaintance: Duration::from_millis(200),
            ..Limits::default()
        };
        let delivery = Delivery::new(NAMESPACE, limits, signer.verifier());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let publisher = delivery.publisher().clone();
        tokio::spawn(async move { publisher.serve(listener).await.unwrap() });
        Self { delivery, address }
    }
}

fn signer() -> TokenSigner {
    TokenSigner::generate("https://cluster", AUDIENCE).unwrap()
}

fn token(signer: &TokenSigner, name: &str) -> String {
    let bearer = Bearer {
        namespace: "login".to_owned(),
        service_account: name.to_owned(),
        pod: format!("{name}-1"),
        uid: format!("{name}-uid"),
    };
    signer.sign(&bearer, now(), Duration::from_hours(1)).unwrap()
}

/// What a fleet's pods show, as their Secret has it.
fn leaf(secret: &SecretObject) -> Leaf {
    let text = |name: &str| String::from_utf8(secret.data.get(name).unwrap().expose().clone()).unwrap();
    Leaf::from_pem(&text("tls.crt"), &Secret::new(text("tls.key"))).unwrap()
}

fn operators(secrets: &Secrets) -> operator::pki::Succession {
    authority(secrets.object(&operator_authority_secret(NAMESPACE)).unwrap()).unwrap()
}

#[tokio::test]
async fn every_replica_serves_what_secrets_say_and_a_server_follows_both() {
    let (mut secrets, signer) = (Secrets::default(), signer());
    let fleets = [("a", &BUILT_IN)];
    let mut replicas = [Replica::start(&signer).await, Replica::start(&signer).await];
    // Before there is an authority nobody gets in.
    for replica in &mut replicas {
        replica.delivery.observe(&world(&secrets, &fleets), now());
        assert!(!replica.delivery.is_ready());
    }
    lead(&mut secrets, &fleets, &[], now());
    let first = next(None, &fleet("a"), "Shop");
    put(&mut secrets, "a", None, &first);
    let show = leaf(secrets.object(&peer_secret(&owner("a").key)).unwrap());
    let trust = operators(&secrets);
    let mut streams = Vec::new();
    for replica in &mut replicas {
        replica.delivery.observe(&world(&secrets, &fleets), now());
        assert_eq!(replica.delivery.artefacts()[&owner("a").key], first);
        // A ready server that does not dial is told, after a minute.
        let told = |delivery: &Delivery| delivery.degraded(&owner("a").key, Instant::now());
        assert_eq!(told(&replica.delivery), None);
        let later = now().after(Duration::from_secs(61));
        replica.delivery.observe(&world(&secrets, &fleets), later);
        let finding = told(&replica.delivery).unwrap();
        assert_eq!(finding.reason, Reason::Stale);
        assert!(finding.message.contains(": a-1;"), "{}", finding.message);
        let mut stream = Peer::dial(replica.address, Some(&show), trust.issuer(false))
            .await
            .unwrap();
        stream.hello(&token(&signer, "a")).await;
        assert_eq!(stream.update().await.len(), 1);
        streams.push(stream);
    }

    let second = next(Some(&first), &fleet("a"), "Renamed");
    put(&mut secrets, "a", Some(&first), &second);
    for (replica, stream) in replicas.iter_mut().zip(&mut streams) {
        let world = world(&secrets, &fleets);
        replica.delivery.observe(&world, now());
        assert_eq!(stream.update().await.len(), 1);
        // Each replica hears the answer itself, and counts it for the ready pod.
        let mut acks = replica.delivery.acks();
        let served = tokio::time::timeout(PATIENCE, async {
            loop {
                let answers = &replica.delivery.acknowledgements(&world)[&owner("a").key];
                assert_eq!(answers.ready.len(), 1);
                if answers.answers().serving(second.head()) == 1 {
                    return;
                }
                acks.changed().await.unwrap();
            }
        });
        served.await.unwrap();
        replica.delivery.observe(&world, now());
        let counts = replica.delivery.counts()[&owner("a").key];
        assert_eq!(
            (counts.head, counts.connected, counts.stale),
            (Some(second.head()), 1, 0)
        );
    }

    // The fleet is deleted.
    for (replica, stream) in replicas.iter_mut().zip(&mut streams) {
        replica.delivery.observe(&world(&secrets, &[]), now());
        assert_eq!(stream.next().await.unwrap_err().code(), tonic::Code::Unavailable);
        assert!(replica.delivery.artefacts().is_empty());
    }
}

#[tokio::test]
async fn the_issuer_of_one_fleet_cannot_sign_the_name_of_another() {
    let (mut secrets, signer) = (Secrets::default(), signer());
    let chosen = json!({"issuerRef": {"name": "tenant"}});
    let own_issuer = PeerTls::CertManager(serde_json::from_value::<CertManager>(chosen).unwrap());
    let fleets = [("a", &own_issuer), ("b", &BUILT_IN)];
    lead(&mut secrets, &fleets, &[], now());
    // With an issuer of its own a fleet gets from us what its pods trust, and no certificate.
    let peer = secrets.object(&peer_secret(&owner("a").key)).unwrap();
    assert_eq!(peer.data.keys().collect::<Vec<_>>(), ["ca.crt"]);

    // What cert-manager writes: the tenant's authority signs the certificate of fleet A.
    let tenant = Authority::generate("tenant", now()).unwrap();
    let issued = tenant.issue_server(&fleet("a"), now()).unwrap();
    let files = issued.files(tenant.certificate_pem()).into_iter();
    let object = SecretObject {
        data: files.map(|(name, file)| (name, Secret::new(file))).collect(),
        ..SecretObject::default()
    };
    let seen = operator::build::artefact::SeenSecret {
        object: object.into(),
        version: "x".to_owned(),
        owner: None,
    };
    secrets.objects.insert(issued_peer_secret(&owner("a").key), seen);
    for name in ["a", "b"] {
        put(&mut secrets, name, None, &next(None, &fleet(name), name));
    }
    let mut replica = Replica::start(&signer).await;
    replica.delivery.observe(&world(&secrets, &fleets), now());
    let trust = operators(&secrets);

    let mut own = Peer::dial(replica.address, Some(&issued), trust.issuer(false))
        .await
        .unwrap();
    own.hello(&token(&signer, "a")).await;
    assert_eq!(own.update().await.len(), 1);
    let forged = tenant.issue_server(&fleet("b"), now()).unwrap();
    assert!(
        Peer::dial(replica.address, Some(&forged), trust.issuer(false))
            .await
            .is_err()
    );
    // Nor does our authority of fleet B sign fleet A, which has chosen another.
    let built_in = leaf(secrets.object(&peer_secret(&owner("b").key)).unwrap());
    let mut other = Peer::dial(replica.address, Some(&built_in), trust.issuer(false))
        .await
        .unwrap();
    // A certificate of fleet B with a token of fleet A is neither.
    other.hello(&token(&signer, "a")).await;
    assert_eq!(other.next().await.unwrap_err().code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn what_cannot_be_read_leaves_what_is_served_and_is_never_followed_by_a_lower_position() {
    let (mut secrets, signer) = (Secrets::default(), signer());
    let fleets = [("a", &BUILT_IN)];
    lead(&mut secrets, &fleets, &[], now());
    let first = next(None, &fleet("a"), "Shop");
    put(&mut secrets, "a", None, &first);
    let mut replica = Replica::start(&signer).await;
    replica.delivery.observe(&world(&secrets, &fleets), now());

    let second = next(Some(&first), &fleet("a"), "Renamed");
    put(&mut secrets, "a", Some(&first), &second);
    let shards: Vec<_> = secrets
        .objects
        .keys()
        .filter(|key| key.name.starts_with("a-config-"))
        .cloned()
        .collect();
    for shard in shards {
        secrets.objects.remove(&shard);
    }
    let damaged = world(&secrets, &fleets);
    replica.delivery.observe(&damaged, now());
    assert_eq!(replica.delivery.artefacts()[&owner("a").key], first);
    let answers = &replica.delivery.acknowledgements(&damaged)[&owner("a").key];
    assert_eq!(answers.highest, Some(second.head()));
    let inputs = snapshot::Inputs {
        minimum_server: snapshot::ServerVersion(0, 1, 0),
        acknowledgements: answers.clone(),
        ..snapshot::Inputs::new(fleet("a"), vec![client("shop", "Third")], now())
    };
    let third = Artefact::next(Some(&first), inputs).artefact;
    assert!(third.head().epoch > second.head().epoch);
}
