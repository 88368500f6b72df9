//! Keys that have the right shape and do not sign.

use auth_server::config_feed::{ConfigFeed, Handle};
use oidc::config::{KeyStage, Resource, SigningKey};
use oidc::id::RealmId;

use super::{Operator, both, commit, issuer, keys_of, new_key, served_name, settings, wait_for, write};

/// Keys of which the active one was put together from two pairs.
fn mixed_keys(name: &str) -> Resource {
    keys_of(
        name,
        SigningKey {
            stage: KeyStage::Active,
            private: new_key().private,
            ..new_key()
        },
    )
}

/// The id of the active key of a realm, as served now.
fn served_key(handle: &Handle, name: &str) -> Option<String> {
    let served = handle.served().load_full();
    let realm = served.realm(RealmId::of_issuer(&issuer(name)))?;
    Some(realm.keys.set().signing[0].kid.clone())
}

#[tokio::test]
async fn a_key_that_does_not_sign_is_refused_and_the_former_one_goes_on_signing() {
    let folder = tempfile::tempdir().unwrap();
    let mut operator = Operator::start().await;
    let handle = ConfigFeed::start(operator.settings(folder.path())).await;
    let (mut stream, _) = operator.greet().await;
    let first = commit(None, both("One"));
    assert!(stream.push(&first, |_| {}).await.rejected.is_empty());
    let before = served_key(&handle, "one");

    let mut desired = both("Renamed");
    desired[1] = mixed_keys("one");
    let second = commit(Some(&first), desired);
    let result = stream.push(&second, |_| {}).await;
    let refused: Vec<_> = result.rejected.iter().map(|one| (&*one.code, &*one.id)).collect();
    let id = format!("keys/{}", RealmId::of_issuer(&issuer("one")));
    assert_eq!(refused, [("UnusableKey", &*id)]);
    assert!(result.rejected[0].message.contains("private key"), "{result:?}");
    assert_eq!(served_key(&handle, "one"), before);
    assert_eq!(served_name(&handle, "one").as_deref(), Some("Renamed"));

    // A server that starts while that is not settled serves the former one at once.
    write(folder.path(), &second);
    let later = ConfigFeed::start(settings(folder.path())).await;
    assert_eq!(
        (later.status().borrow().rejected, served_key(&later, "one")),
        (1, before)
    );

    let third = commit(Some(&second), both("Healed"));
    assert!(stream.push(&third, |_| {}).await.rejected.is_empty());
    wait_for(&handle, |status| status.rejected == 0).await;
}

#[tokio::test]
async fn keys_that_a_server_starts_with_are_tried_afterwards_and_a_bad_one_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let mut operator = Operator::start().await;
    let mut desired = both("One");
    desired[1] = mixed_keys("one");
    let first = commit(None, desired.clone());
    write(folder.path(), &first);
    let handle = ConfigFeed::start(operator.settings(folder.path())).await;
    // There is nothing better to serve.
    assert_eq!(served_name(&handle, "one").as_deref(), Some("One"));
    // It says so in its first hello, or in the next when it did not know yet.
    let (stream, hello) = loop {
        let (stream, hello) = operator.greet().await;
        if !hello.rejected.is_empty() {
            break (stream, hello);
        }
    };
    let id = format!("keys/{}", RealmId::of_issuer(&issuer("one")));
    assert_eq!(
        (&*hello.rejected[0].code, &*hello.rejected[0].id),
        ("UnusableKey", &*id)
    );
    assert_eq!((hello.rejected.len(), hello.held.len()), (1, 4));
    wait_for(&handle, |status| status.rejected == 1).await;

    // The same pair in another stage is not taken for one that was tried.
    let Resource::Keys(set) = &mut desired[1] else {
        panic!("no keys")
    };
    let more = SigningKey {
        stage: KeyStage::Published,
        ..new_key()
    };
    set.signing.push(more);
    let second = commit(Some(&first), desired);
    let mut stream = stream;
    let result = stream.push(&second, |_| {}).await;
    assert_eq!((result.rejected.len(), &*result.rejected[0].code), (1, "UnusableKey"));
    assert_ne!(result.rejected[0].version, hello.rejected[0].version);

    let healed = commit(Some(&second), both("Healed"));
    assert!(stream.push(&healed, |_| {}).await.rejected.is_empty());
    assert_eq!(served_key(&handle, "one").as_deref(), Some("key-1"));
}
