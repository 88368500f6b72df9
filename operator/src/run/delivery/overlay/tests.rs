use oidc::Secret;
use serde_json::json;

use super::*;
use crate::world::{Cluster, Data, SecretMetadata};

fn key() -> ObjectKey {
    ObjectKey::new("login", "main-config")
}

fn object(value: &str) -> SecretObject {
    SecretObject {
        data: Data::from_iter([("v".to_owned(), Secret::new(value.as_bytes().to_vec()))]),
        ..SecretObject::default()
    }
}

/// A world with that content and version of the Secret, or without it.
fn world(shown: Option<(&str, &str)>) -> World {
    let mut world = World::default();
    let mut cluster = Cluster::default();
    if let Some((value, version)) = shown {
        world.secrets.insert(key(), Arc::new(object(value)));
        let owner = json!([{"controller": true, "uid": "u"}]);
        let metadata = json!({"resourceVersion": version, "ownerReferences": owner});
        let metadata = SecretMetadata::new(serde_json::from_value(metadata).unwrap());
        cluster.secrets.insert(key(), Arc::new(metadata));
    }
    world.cluster = Some(cluster);
    world
}

fn write(value: &str, replaces: Option<&str>) -> SecretWrite {
    SecretWrite {
        key: key(),
        object: object(value),
        owner: None,
        replaces: replaces.map(str::to_owned),
    }
}

fn seen(overlay: &Overlay, world: &World) -> Option<(String, String)> {
    let seen = overlay.seen(world, &key())?;
    let value = seen.object.data.get("v").unwrap().expose().clone();
    Some((String::from_utf8(value).unwrap(), seen.version))
}

fn is(value: &str, version: &str) -> (String, String) {
    (value.to_owned(), version.to_owned())
}

#[test]
fn own_writes_count_until_the_watch_shows_them_or_something_later() {
    let mut overlay = Overlay::default();
    assert_eq!(seen(&overlay, &world(None)), None);
    assert_eq!(seen(&overlay, &world(Some(("a", "1")))), Some(is("a", "1")));
    assert_eq!(
        overlay.seen(&world(Some(("a", "1"))), &key()).unwrap().owner.as_deref(),
        Some("u")
    );

    // Two writes while the watch still shows nothing.
    overlay.wrote(write("a", None), "1".to_owned());
    overlay.wrote(write("b", Some("1")), "2".to_owned());
    assert_eq!(seen(&overlay, &world(None)), Some(is("b", "2")));
    overlay.settle(&world(None));
    assert_eq!(seen(&overlay, &world(None)), Some(is("b", "2")));

    // Somebody wrote after that.
    overlay.settle(&world(Some(("c", "3"))));
    assert_eq!(seen(&overlay, &world(Some(("c", "3")))), Some(is("c", "3")));
    // And deleted it: nothing of ours comes back.
    assert_eq!(seen(&overlay, &world(None)), None);
}
