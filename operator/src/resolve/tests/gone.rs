//! Realms that are served no longer: what becomes of their rows.

use std::time::Duration;

use snapshot::Tombstone;

use super::*;
use crate::world::{Cluster, Unreadable};

const HOUR: Duration = Duration::from_hours(1);
const DELETE: &str = "  deletionPolicy: Delete\n";

fn acme() -> ObjectKey {
    ObjectKey::new("identity", "acme")
}

fn id_of(key: ObjectKey) -> ObjectId {
    ObjectId { kind: Kind::Realm, key }
}

/// A cluster with one realm and `count` clients.
fn cluster(policy: &str, count: usize) -> World {
    let more = format!("{ADMIT_ALL}{policy}");
    let mut texts = vec![FLEET.to_owned(), realm("acme", "https://login.example", &more)];
    texts.extend((0..count).map(|number| client("apps", &format!("c{number}"), "acme", "")));
    let mut world = world(&texts);
    world.cluster = Some(Cluster::default());
    world
}

type Artefacts = BTreeMap<ObjectKey, Artefact>;

fn at(world: &World, previous: &Artefacts, hours: u32) -> Artefacts {
    let inputs = Inputs {
        world,
        previous,
        acknowledgements: &BTreeMap::new(),
        now: NOW.after(HOUR * hours),
    };
    resolve(&inputs).artefacts
}

fn served(world: &World) -> Artefacts {
    let artefacts = at(world, &BTreeMap::new(), 0);
    assert_eq!(artefacts[&fleet()].manifest().counts.realms, 1);
    artefacts
}

/// For how many hours the realm was there, and whether its rows are to be deleted.
fn tombstone(artefacts: &Artefacts) -> Option<(u64, bool)> {
    let (_, tombstone) = artefacts[&fleet()].tombstones().next()?;
    let Tombstone { since, erase, .. } = tombstone;
    Some((since.since(NOW).as_secs() / 3600, *erase))
}

/// The same world after somebody deleted the realm.
fn without_realm(world: &World) -> World {
    let mut world = world.clone();
    world.realms.remove(&acme());
    world.cluster.as_mut().unwrap().deleted.insert(id_of(acme()));
    world
}

/// The same world with a fleet that admits the realm no longer.
fn not_admitted(world: &World) -> World {
    let mut world = world.clone();
    let server = Arc::make_mut(world.auth_servers.get_mut(&fleet()).unwrap());
    server.spec.realms.admit.hosts = serde_json::from_str("[\"other.example\"]").unwrap();
    world
}

#[test]
fn a_deleted_realm_leaves_what_it_said_about_its_rows() {
    for (policy, erase) in [(DELETE, true), ("", false)] {
        let world = cluster(policy, 0);
        let gone = at(&without_realm(&world), &served(&world), 1);
        assert_eq!(tombstone(&gone), Some((1, erase)));
        assert_eq!(at(&without_realm(&world), &gone, 40), gone, "its time goes on");
        let back = at(&world, &gone, 20);
        assert_eq!(tombstone(&back), None);
        assert_eq!(tombstone(&at(&without_realm(&world), &back, 21)), Some((21, erase)));
    }
}

#[test]
fn a_realm_that_is_there_and_cannot_be_served_keeps_its_rows() {
    let world = cluster(DELETE, 0);
    let refused = at(&not_admitted(&world), &served(&world), 1);
    assert_eq!(refused[&fleet()].manifest().counts.realms, 0);
    assert_eq!(tombstone(&refused), Some((1, false)));
    assert_eq!(tombstone(&at(&not_admitted(&world), &refused, 100)), Some((1, false)));
    assert_eq!(tombstone(&at(&world, &refused, 100)), None, "admitted again");
    let gone = at(&without_realm(&not_admitted(&world)), &refused, 100);
    assert_eq!(tombstone(&gone), Some((100, true)));
    // Somebody's finalizer holds it: it cannot come back, but is not gone yet.
    let mut ending = world.clone();
    let realm = Arc::make_mut(ending.realms.get_mut(&acme()).unwrap());
    realm.metadata.deletion_timestamp = Some(serde_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap());
    assert_eq!(tombstone(&at(&ending, &served(&world), 1)), Some((1, false)));
}

#[test]
fn nobody_keeps_anothers_rows_by_claiming_the_issuer() {
    let world = cluster(DELETE, 0);
    let mut claimed = without_realm(&world);
    let stranger = folder(&[realm("stranger", "https://login.example", ADMIT_ALL)]).world;
    claimed.realms.extend(stranger.realms);
    let gone = at(&claimed, &served(&world), 1);
    assert_eq!(tombstone(&gone), Some((1, true)));
    assert_eq!(at(&claimed, &gone, 30), gone);
    // Nor does another Realm of the same name.
    let mut other = without_realm(&world);
    other
        .realms
        .extend(folder(&[realm("acme", "https://other.example", "")]).world.realms);
    assert_eq!(tombstone(&at(&other, &gone, 30)), Some((1, true)));
    // Who is served in its place has its people.
    let name = keys::secret_key(&fleet(), RealmId::of_issuer("https://login.example"));
    let secret = Arc::make_mut(claimed.secrets.get_mut(&name).unwrap());
    let adopt = (crds::ADOPT_KEYS_ANNOTATION.to_owned(), "identity/stranger".to_owned());
    secret.annotations.extend([adopt]);
    assert_eq!(tombstone(&at(&claimed, &gone, 2)), None);
}

#[test]
fn while_nobody_can_tell_whether_a_realm_is_back_nothing_is_erased() {
    let world = cluster(DELETE, 0);
    let gone = at(&without_realm(&world), &served(&world), 1);
    let mut blind = without_realm(&world);
    let unreadable = &mut blind.cluster.as_mut().unwrap().unreadable;
    unreadable.insert(Kind::Realm.as_str().to_owned(), Unreadable::Forbidden);
    let mut garbled = without_realm(&world);
    garbled.undecodable.insert(id_of(acme()), "no Realm".to_owned());
    for unknown in [blind, garbled] {
        let waiting = at(&unknown, &gone, 10);
        assert_eq!(tombstone(&waiting), Some((1, false)));
        let waiting = at(&unknown, &waiting, 90);
        assert_eq!(tombstone(&at(&without_realm(&world), &waiting, 91)), Some((91, true)));
    }
}

#[test]
fn what_is_held_back_is_not_gone() {
    let world = cluster(DELETE, 15);
    let held = at(&without_realm(&world), &served(&world), 1);
    assert!(held[&fleet()].manifest().shrink.is_some());
    assert_eq!(tombstone(&held), None);
    // Somebody deleted it, and means it.
    assert_eq!(tombstone(&at(&without_realm(&world), &held, 2)), Some((2, true)));
}

#[test]
fn what_nobody_saw_go_keeps_its_rows_unless_somebody_says_that_it_was_meant() {
    let world = cluster(DELETE, 15);
    for sweeps in [false, true] {
        let mut lost = world.clone();
        lost.realms.clear();
        lost.clients.clear();
        if sweeps {
            lost.cluster.as_mut().unwrap().swept.insert(id_of(acme()));
        }
        let held = at(&lost, &served(&world), 1);
        assert!(held[&fleet()].manifest().shrink.is_some());
        assert_eq!(tombstone(&held), None);
        let over = at(&lost, &held, 2);
        assert_eq!(over[&fleet()].manifest().counts.realms, 0);
        assert_eq!(tombstone(&over), Some((2, false)));
        assert_eq!(tombstone(&at(&lost, &over, 200)), Some((2, false)));

        let server = Arc::make_mut(lost.auth_servers.get_mut(&fleet()).unwrap());
        let annotations = server.metadata.annotations.get_or_insert_default();
        annotations.insert(crds::SHRINK_ANNOTATION.to_owned(), "confirm".to_owned());
        assert_eq!(tombstone(&at(&lost, &held, 2)), Some((2, true)));
    }
}
