//! What a client and a realm that nobody uses take.

use oidc::config::{Client, Resource};
use oidc::id::RealmId;
use oidc::served::{Change, Served};
use oidc::testing;

use crate::{alone, heap_bytes};

/// Heap bytes of each of `count` things that `changes` adds to `served`.
fn bytes_each(served: &Served, count: usize, changes: impl Fn(usize) -> Vec<Change>) -> i64 {
    let before = heap_bytes();
    let larger = served.with((0..count).flat_map(changes).collect());
    let each = (heap_bytes() - before) / i64::try_from(count).unwrap();
    drop(larger);
    each
}

fn realm(number: usize) -> Vec<Change> {
    let issuer = format!("https://realm-{number}.example.com");
    vec![
        Change::Put(Resource::Realm(testing::realm_of(&issuer))),
        Change::Put(Resource::Keys(testing::key_set(&issuer))),
    ]
}

fn client(number: usize) -> Vec<Change> {
    let client = Client {
        realm: RealmId::of_issuer("https://realm-0.example.com"),
        ..testing::client(&format!("client-{number}"))
    };
    vec![Change::Put(Resource::Client(client))]
}

#[tokio::test]
async fn a_client_and_an_untouched_realm_stay_small() {
    let _alone = alone().await;
    let served = Served::default().with(realm(0));
    let client = bytes_each(&served, 1000, client);
    let realm = bytes_each(&served, 1000, |number| realm(number + 1));
    assert!(client <= 2_000, "{client} bytes a client");
    // About 3 500 of it are the keys themselves in DER, two RSA keys among them.
    assert!(realm <= 10_200, "{realm} bytes a realm with four signing keys");
}
