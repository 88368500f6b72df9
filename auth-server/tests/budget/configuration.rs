//! What a client and a realm that nobody uses take: what is served of them, and what the feed keeps in its books.

use auth_server::config_feed::{ConfigFeed, Settings};
use oidc::config::{Client, KeySet, Resource, SignatureAlgorithm};
use oidc::id::RealmId;
use oidc::testing;
use snapshot::{Artefact, Fleet, Inputs};

use crate::{alone, heap_bytes};

/// How many more are looked at.
const MORE: usize = 1_000;

/// Heap bytes of `resources` in a server that has read them from files.
async fn held_bytes(resources: Vec<Resource>) -> i64 {
    let fleet: Fleet = "demo/main".parse().unwrap();
    let inputs = Inputs::new(fleet.clone(), resources, testing::NOW);
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in Artefact::next(None, inputs).artefact.to_files() {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let before = heap_bytes();
    let feed = ConfigFeed::start(Settings::new(fleet, folder.path().to_owned())).await;
    let held = heap_bytes() - before;
    assert!(feed.status().borrow().is_ready());
    feed.stop().await;
    held
}

fn issuer(number: usize) -> String {
    format!("https://realm-{number}.example.com")
}

/// A realm with the keys that realms have by default.
fn realm(number: usize) -> [Resource; 2] {
    let mut keys: KeySet = testing::key_set(&issuer(number));
    keys.signing
        .retain(|key| matches!(key.algorithm, SignatureAlgorithm::Es256 | SignatureAlgorithm::Rs256));
    [
        Resource::Realm(testing::realm_of(&issuer(number))),
        Resource::Keys(keys),
    ]
}

/// A client of the first realm.
fn client(number: usize) -> Resource {
    Resource::Client(Client {
        realm: RealmId::of_issuer(&issuer(0)),
        ..testing::client(&format!("client-{number}"))
    })
}

#[tokio::test]
async fn a_client_and_an_untouched_realm_stay_small() {
    let _alone = alone().await;
    let least = held_bytes(realm(0).into()).await;
    let clients = held_bytes(realm(0).into_iter().chain((0..MORE).map(client)).collect()).await;
    let realms = held_bytes((0..=MORE).flat_map(realm).collect()).await;
    let [client, realm] = [clients, realms].map(|bytes| (bytes - least) / i64::try_from(MORE).unwrap());
    // Of a realm, about 2 000 are its keys in DER.
    assert!(
        client <= 770 && realm <= 4_450,
        "{client} bytes a client, {realm} bytes a realm with two signing keys"
    );
}
