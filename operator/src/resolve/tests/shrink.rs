//! What vanishes at once in a cluster.

use std::time::Duration;

use crds::conditions::Reason;

use super::*;
use crate::world::Cluster;

const MINUTE: Duration = Duration::from_mins(1);

/// A cluster with a realm and `count` clients.
fn cluster(count: usize) -> World {
    let mut texts = vec![FLEET.to_owned(), realm("acme", "https://login.example", ADMIT_ALL)];
    texts.extend((0..count).map(|number| client("apps", &format!("c{number}"), "acme", "")));
    let mut world = world(&texts);
    world.cluster = Some(Cluster::default());
    world
}

fn at(world: &World, previous: &BTreeMap<ObjectKey, Artefact>, now: Timestamp) -> BTreeMap<ObjectKey, Artefact> {
    let acknowledgements = BTreeMap::new();
    let inputs = Inputs {
        world,
        previous,
        acknowledgements: &acknowledgements,
        now,
    };
    let resolution = resolve(&inputs);
    let degraded = resolution.verdicts[&server()].finding(ConditionType::Degraded);
    let shrink = resolution.artefacts[&fleet()].manifest().shrink;
    assert_eq!(
        degraded.is_some_and(|finding| finding.reason == Reason::ShrinkHeld),
        shrink.is_some()
    );
    resolution.artefacts
}

fn server() -> ObjectId {
    ObjectId {
        kind: Kind::AuthServer,
        key: fleet(),
    }
}

fn clients(artefacts: &BTreeMap<ObjectKey, Artefact>) -> u32 {
    artefacts[&fleet()].manifest().counts.clients
}

fn is_held(artefacts: &BTreeMap<ObjectKey, Artefact>) -> bool {
    artefacts[&fleet()].manifest().shrink.is_some()
}

/// Takes clients away, as a list does that was read after a gap, or as a watch does that shows each deletion.
fn remove(world: &mut World, numbers: std::ops::Range<usize>, seen: bool) {
    for number in numbers {
        let key = ObjectKey::new("apps", format!("c{number}"));
        world.clients.remove(&key);
        if seen {
            let kind = Kind::Client;
            world.cluster.as_mut().unwrap().deleted.insert(ObjectId { kind, key });
        }
    }
}

fn annotate(world: &mut World, value: Option<&str>) {
    let server = Arc::make_mut(world.auth_servers.get_mut(&fleet()).unwrap());
    let annotations = server.metadata.annotations.get_or_insert_default();
    annotations.remove(crds::SHRINK_ANNOTATION);
    annotations.extend(value.map(|value| (crds::SHRINK_ANNOTATION.to_owned(), value.to_owned())));
}

#[test]
fn a_few_deletions_go_out_at_once_explained_or_not() {
    let mut world = cluster(60);
    let before = at(&world, &BTreeMap::new(), NOW);
    remove(&mut world, 0..10, false);
    let after = at(&world, &before, NOW);
    assert_eq!((clients(&after), is_held(&after)), (50, false));
    // Nothing is written anew only because time passes.
    assert_eq!(at(&world, &after, NOW.after(MINUTE * 60)), after);
}

#[test]
fn many_deletions_that_were_seen_go_out_at_once_and_unseen_ones_are_held() {
    let mut world = cluster(60);
    let before = at(&world, &BTreeMap::new(), NOW);
    let mut seen = world.clone();
    remove(&mut seen, 0..25, true);
    assert_eq!(clients(&at(&seen, &before, NOW)), 35);
    let mut ending = world.clone();
    ending.cluster.as_mut().unwrap().terminating.insert("apps".to_owned());
    remove(&mut ending, 0..25, false);
    assert_eq!(clients(&at(&ending, &before, NOW)), 35);

    // Of a list after a gap, with one deletion that was seen: that one goes.
    remove(&mut world, 0..25, false);
    remove(&mut world, 25..26, true);
    let held = at(&world, &before, NOW);
    assert_eq!((clients(&held), is_held(&held)), (59, true));
    // Held by whoever leads next, until time is over.
    assert_eq!(at(&world, &held, NOW.after(MINUTE * 14)), held);
    let over = at(&world, &held, NOW.after(MINUTE * 15));
    assert_eq!((clients(&over), is_held(&over)), (34, false));
}

#[test]
fn more_than_half_is_held_for_any_reason_also_when_it_goes_little_by_little() {
    let mut world = cluster(30);
    let before = at(&world, &BTreeMap::new(), NOW);
    let mut at_once = world.clone();
    remove(&mut at_once, 0..20, true);
    let held = at(&at_once, &before, NOW);
    assert_eq!((clients(&held), is_held(&held)), (30, true));
    // A realm goes with all of its clients.
    let mut without_realm = world.clone();
    without_realm.realms.clear();
    without_realm.clients.clear();
    let held = at(&without_realm, &before, NOW);
    assert_eq!(held[&fleet()].manifest().counts, before[&fleet()].manifest().counts);

    let mut artefacts = before;
    for number in 0..30 {
        remove(&mut world, number..number + 1, true);
        artefacts = at(&world, &artefacts, NOW.after(Duration::from_secs(number as u64)));
    }
    assert!(is_held(&artefacts));
    assert_eq!(clients(&artefacts), 15, "half of 31 realms and clients went");
    // The same slowly is what people do.
    let mut world = cluster(30);
    let mut artefacts = at(&world, &BTreeMap::new(), NOW);
    for number in 0..30 {
        remove(&mut world, number..number + 1, true);
        artefacts = at(&world, &artefacts, NOW.after(MINUTE * u32::try_from(number).unwrap()));
    }
    assert_eq!((clients(&artefacts), is_held(&artefacts)), (0, false));
}

#[test]
fn a_person_confirms_or_vetoes_and_an_old_confirmation_confirms_nothing_new() {
    let mut world = cluster(60);
    let before = at(&world, &BTreeMap::new(), NOW);
    remove(&mut world, 0..25, false);
    let held = at(&world, &before, NOW);
    annotate(&mut world, Some("veto"));
    assert!(is_held(&at(&world, &held, NOW.after(MINUTE * 600))));
    annotate(&mut world, Some("confirm"));
    let confirmed = at(&world, &held, NOW.after(MINUTE));
    assert_eq!((clients(&confirmed), is_held(&confirmed)), (35, false));

    // The annotation is still there when the next mass loss comes.
    let later = NOW.after(MINUTE * 60);
    remove(&mut world, 25..40, false);
    let held = at(&world, &confirmed, later);
    assert_eq!((clients(&held), is_held(&held)), (35, true));
    assert_eq!(at(&world, &held, later.after(MINUTE)), held);
    annotate(&mut world, None);
    let held = at(&world, &held, later.after(MINUTE * 2));
    assert!(is_held(&held));
    annotate(&mut world, Some("confirm"));
    assert_eq!(clients(&at(&world, &held, later.after(MINUTE * 3))), 20);
}

#[test]
fn what_comes_back_in_time_was_never_gone() {
    let mut world = cluster(60);
    let before = at(&world, &BTreeMap::new(), NOW);
    let all = world.clients.clone();
    remove(&mut world, 0..25, false);
    let held = at(&world, &before, NOW);
    assert_eq!(
        held[&fleet()].head(),
        before[&fleet()].head(),
        "nothing that is served changed"
    );
    world.clients = all;
    let back = at(&world, &held, NOW.after(MINUTE));
    assert!(!is_held(&back));
    assert_eq!(back[&fleet()].head(), before[&fleet()].head());
}

#[test]
fn a_folder_is_edited_by_whoever_looks_at_it() {
    let mut world = cluster(60);
    let before = at(&world, &BTreeMap::new(), NOW);
    world.cluster = None;
    remove(&mut world, 0..60, false);
    assert_eq!(clients(&at(&world, &before, NOW)), 0);
}

fn sweep(world: &mut World, kind: Kind, key: ObjectKey) {
    match kind {
        Kind::AuthServer => drop(world.auth_servers.remove(&key)),
        Kind::Realm => drop(world.realms.remove(&key)),
        Kind::Client => drop(world.clients.remove(&key)),
    }
    world.cluster.as_mut().unwrap().swept.insert(ObjectId { kind, key });
}

fn acme() -> ObjectKey {
    ObjectKey::new("identity", "acme")
}

#[test]
fn what_goes_with_its_definition_is_held_however_little_it_is() {
    let mut world = cluster(3);
    let before = at(&world, &BTreeMap::new(), NOW);
    for number in 0..2 {
        sweep(&mut world, Kind::Client, ObjectKey::new("apps", format!("c{number}")));
    }
    // One that somebody deletes meanwhile goes at once.
    remove(&mut world, 2..3, true);
    let held = at(&world, &before, NOW);
    assert_eq!((clients(&held), is_held(&held)), (2, true));
    // A leader that was not there when it went has no other word for it than that it is not there.
    let swept = std::mem::take(&mut world.cluster.as_mut().unwrap().swept);
    assert_eq!(at(&world, &held, NOW.after(MINUTE)), held);
    world.cluster.as_mut().unwrap().swept = swept;
    let over = at(&world, &held, NOW.after(MINUTE * 15));
    assert_eq!((clients(&over), is_held(&over)), (0, false));
}

#[test]
fn a_realm_that_is_held_keeps_the_clients_that_are_there() {
    let mut world = cluster(3);
    let before = at(&world, &BTreeMap::new(), NOW);
    sweep(&mut world, Kind::Realm, acme());
    let held = at(&world, &before, NOW);
    assert!(is_held(&held));
    assert_eq!(held[&fleet()].head(), before[&fleet()].head());
    remove(&mut world, 0..1, true);
    assert_eq!(
        clients(&at(&world, &held, NOW.after(MINUTE))),
        2,
        "that one was deleted"
    );
}

#[test]
fn a_kind_that_cannot_be_read_stays_as_it_was_served_for_ever() {
    use crate::world::Unreadable;

    let mut world = cluster(3);
    let before = at(&world, &BTreeMap::new(), NOW);
    // An operator that was started anew has never seen one.
    for kind in [Kind::Client, Kind::Realm] {
        match kind {
            Kind::AuthServer => {}
            Kind::Realm => world.realms.clear(),
            Kind::Client => world.clients.clear(),
        }
        let unreadable = &mut world.cluster.as_mut().unwrap().unreadable;
        unreadable.insert(kind.as_str().to_owned(), Unreadable::Forbidden);
        let later = at(&world, &before, NOW.after(MINUTE * 600));
        assert_eq!(
            (later[&fleet()].head(), is_held(&later)),
            (before[&fleet()].head(), false)
        );
    }
    let resolution = next(&world, &before, &BTreeMap::new());
    let degraded = resolution.verdicts[&server()].finding(ConditionType::Degraded).unwrap();
    insta::assert_snapshot!(
        format!("{}: {}", degraded.reason, degraded.message),
        @"Forbidden: Realms cannot be read and stay served as they were: grant the operator the right to list them; Clients cannot be read and stay served as they were: grant the operator the right to list them"
    );
}

#[test]
fn nothing_is_said_about_clients_whose_realm_cannot_be_seen() {
    let mut world = cluster(3);
    let before = at(&world, &BTreeMap::new(), NOW);
    let said = |world: &World| {
        next(world, &before, &BTreeMap::new())
            .verdicts
            .into_keys()
            .collect::<Vec<_>>()
    };
    let all = said(&world);
    let unreadable = &mut world.cluster.as_mut().unwrap().unreadable;
    unreadable.insert("Realm".to_owned(), crate::world::Unreadable::Forbidden);
    assert_eq!(said(&world), all, "what was seen before is still known");
    world.realms.clear();
    assert_eq!(said(&world), [server()]);
    assert_eq!(clients(&at(&world, &before, NOW)), 3);
}
