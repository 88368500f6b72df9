//! Which realms are gone, and when nothing may be said about it.

use auth_server::config_feed::{ConfigFeed, Gone, Handle};
use oidc::id::RealmId;
use snapshot::Artefact;

use super::{Operator, both, commit, issuer, settings, wait_for, write};

/// A configuration of realms `one` and `two`, and two that follow: without `one`, and with it again.
fn history() -> [Artefact; 3] {
    let first = commit(None, both("One"));
    let gone = commit(Some(&first), both("One").split_off(2));
    let back = commit(Some(&gone), both("One"));
    [first, gone, back]
}

fn names(gone: &Gone) -> Vec<&str> {
    gone.tombstones
        .values()
        .map(|tombstone| tombstone.name.as_str())
        .collect()
}

async fn says_nothing(handle: &Handle, earlier: &Gone) -> bool {
    handle.gone().await.is_none() && !handle.is_still_gone(earlier).await
}

#[tokio::test]
async fn files_that_are_served_say_which_realms_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] = history();
    write(folder.path(), &second);
    let mut settings = settings(folder.path());
    // Read at the start alone.
    settings.reread = std::time::Duration::from_hours(1);
    let handle = ConfigFeed::start(settings).await;
    let gone = handle.gone().await.unwrap();
    assert_eq!(names(&gone), ["login/one"]);
    assert!(gone.tombstones.contains_key(&RealmId::of_issuer(&issuer("one"))));
    assert!(handle.is_still_gone(&gone).await);

    for other in [&third, &first] {
        write(folder.path(), other);
        assert!(says_nothing(&handle, &gone).await, "the files are not what is served");
    }
    write(folder.path(), &second);
    assert!(handle.is_still_gone(&gone).await);
    let (shard, _) = second.to_files().into_iter().next().unwrap();
    std::fs::write(folder.path().join(shard), b"torn").unwrap();
    assert_eq!(handle.gone().await, None);
    std::fs::remove_file(folder.path().join("manifest.json")).unwrap();
    assert!(says_nothing(&handle, &gone).await);
}

#[tokio::test]
async fn the_same_content_with_other_tombstones_is_not_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let [_, second, _] = history();
    write(folder.path(), &second);
    let handle = ConfigFeed::start(settings(folder.path())).await;
    let gone = handle.gone().await.unwrap();
    let without = commit(None, both("One").split_off(2));
    assert_eq!(without.manifest().content, second.manifest().content);
    let mut altered = second.manifest().clone();
    altered.shards.clone_from(&without.manifest().shards);
    for (name, bytes) in without.to_files() {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    std::fs::write(folder.path().join("manifest.json"), altered.encode()).unwrap();
    assert!(!handle.is_still_gone(&gone).await);
    assert_eq!(names(&handle.gone().await.unwrap()), Vec::<&str>::new());
}

#[tokio::test]
async fn nothing_is_said_while_a_stream_says_otherwise_or_no_operator_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let [_, second, third] = history();
    write(folder.path(), &second);
    let mut operator = Operator::start().await;
    let handle = ConfigFeed::start(operator.settings(folder.path())).await;
    assert_eq!(handle.gone().await, None, "nobody has said that this is the newest");
    let (mut stream, _) = operator.greet().await;
    wait_for(&handle, |status| status.connected == 1).await;
    assert_eq!(handle.gone().await, None, "nor has whoever has just connected");
    assert_eq!(stream.commit(&second).await.refused, None);
    wait_for(&handle, |status| status.agreeing == 1).await;
    let gone = handle.gone().await.unwrap();
    assert_eq!(names(&gone), ["login/one"]);

    // The realm is back on the stream, and the mount lags behind.
    assert_eq!(stream.push(&third, |_| {}).await.refused, None);
    assert!(says_nothing(&handle, &gone).await);
    write(folder.path(), &third);
    let now = handle.gone().await.unwrap();
    assert_eq!(names(&now), Vec::<&str>::new());

    // A stream that offers what is older does not agree, and one that ends agrees no longer.
    assert!(stream.push(&second, |_| {}).await.refused.is_some());
    wait_for(&handle, |status| status.agreeing == 0).await;
    assert!(says_nothing(&handle, &now).await);
    assert_eq!(stream.commit(&third).await.refused, None);
    wait_for(&handle, |status| status.agreeing == 1).await;
    assert!(handle.is_still_gone(&now).await);
    drop(stream);
    wait_for(&handle, |status| status.agreeing == 0 && status.connected == 0).await;
    assert!(says_nothing(&handle, &now).await);
}
