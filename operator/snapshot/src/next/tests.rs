use std::time::Duration;

use oidc::config::Client;

use super::*;
use crate::acknowledgements::Acknowledgement;
use crate::fixtures::{NOW, client, inputs, realm, step};
use crate::hash::Hash;

fn id(client: &Client) -> ResourceId {
    ResourceId::Client(client.realm, client.client_id.as_str().into())
}

fn one(display_name: &str) -> Vec<Resource> {
    vec![Resource::Client(client("shop", display_name))]
}

/// The answers of ready replicas that serve `artefact`, where `refused` says which of them refused a resource.
fn answers(artefact: &Artefact, refused: &[Option<(&ResourceId, Hash)>]) -> Acknowledgements {
    let answer = |refused: &Option<(&ResourceId, Hash)>| Acknowledgement {
        head: artefact.head(),
        content: artefact.manifest().content,
        rejected: refused
            .iter()
            .map(|(id, version)| {
                let refusal = Refusal {
                    version: *version,
                    code: "Invalid".to_owned(),
                    message: "no good".to_owned(),
                };
                ((*id).clone(), refusal)
            })
            .collect(),
    };
    let by_pod: BTreeMap<_, _> = refused
        .iter()
        .enumerate()
        .map(|(pod, refused)| (pod.to_string(), answer(refused)))
        .collect();
    Acknowledgements {
        ready: by_pod.keys().cloned().collect(),
        by_pod,
        highest: Some(artefact.head()),
    }
}

fn after(previous: &Artefact, desired: Vec<Resource>, acknowledgements: Acknowledgements) -> Step {
    let inputs = Inputs {
        acknowledgements,
        ..inputs(desired)
    };
    Artefact::next(Some(previous), inputs)
}

#[test]
fn the_first_commit_opens_an_epoch_and_unchanged_content_keeps_the_generation() {
    let first = step(None, one("Shop")).artefact;
    let epoch = u64::try_from(NOW.unix_seconds()).unwrap();
    assert_eq!(first.head(), Head { epoch, generation: 1 });
    let same = step(Some(&first), one("Shop")).artefact;
    assert_eq!(same, first);
    let changed = step(Some(&first), one("Store")).artefact;
    assert_eq!(changed.head(), Head { epoch, generation: 2 });
    assert_eq!(changed.entry(&id(&client("shop", ""))).unwrap().since_generation, 2);
}

#[test]
fn an_unrelated_change_leaves_other_entries_and_shards_alone() {
    let mut desired = one("Shop");
    desired.extend((0..100).map(|number| Resource::Client(client(&format!("c{number}"), "Same"))));
    let first = step(None, desired.clone()).artefact;
    desired[0] = Resource::Client(client("shop", "Store"));
    let second = step(Some(&first), desired).artefact;
    assert_eq!(second.shards_differing_from(&first), [id(&client("shop", "")).shard()]);
    assert_eq!(second.entry(&id(&client("c7", ""))).unwrap().since_generation, 1);
}

#[test]
fn a_former_version_is_kept_until_every_ready_replica_accepted_the_new_one() {
    let id = id(&client("shop", ""));
    let first = step(None, one("Shop")).artefact;
    let old = first.entry(&id).unwrap().current.clone();
    let second = step(Some(&first), one("Store")).artefact;
    assert_eq!(second.entry(&id).unwrap().former, Some(old.clone()));

    // One of two ready replicas still serves the first.
    let mut partly = answers(&second, &[None]);
    partly.ready.insert("late".to_owned());
    partly
        .by_pod
        .insert("late".to_owned(), answers(&first, &[None]).by_pod["0"].clone());
    assert_eq!(partly.answers().serving(second.head()), 1);
    let waiting = after(&second, one("Store"), partly).artefact;
    assert_eq!(waiting, second);

    // Nobody ready accepts nothing.
    let nobody = after(&second, one("Store"), Acknowledgements::default()).artefact;
    assert_eq!(nobody.entry(&id).unwrap().former, Some(old.clone()));

    let third = after(&second, one("Store"), answers(&second, &[None, None])).artefact;
    assert_eq!(third.entry(&id).unwrap().former, None);
    assert_eq!(third.head(), second.head());
    assert_ne!(third, second);

    // A third version before the second was accepted keeps the first.
    let hasty = step(Some(&second), one("Shop 3")).artefact;
    assert_eq!(hasty.entry(&id).unwrap().former, Some(old.clone()));
    // And taking the change back needs no former version.
    let back = step(Some(&second), one("Shop")).artefact;
    assert_eq!(back.entry(&id).unwrap().former, None);
    assert_eq!(back.entry(&id).unwrap().current, old);
}

#[test]
fn on_rejection_the_former_version_is_committed_again_and_the_refused_one_not_offered_until_it_changes() {
    let id = id(&client("shop", ""));
    let first = step(None, one("Shop")).artefact;
    let second = step(Some(&first), one("Store")).artefact;
    let refused = second.entry(&id).unwrap().current.version();
    let third = after(&second, one("Store"), answers(&second, &[None, Some((&id, refused))])).artefact;
    assert_eq!(third.entry(&id).unwrap().current, first.entry(&id).unwrap().current);
    assert_eq!(third.refusal(&id).unwrap().version, refused);
    assert_eq!(third.head().generation, 3);
    assert_eq!(third.manifest().content, first.manifest().content);

    let still = after(&third, one("Store"), answers(&third, &[None, None])).artefact;
    assert_eq!(still, third);
    let fixed = step(Some(&third), one("Store 2")).artefact;
    assert_eq!(fixed.refusal(&id), None);
    assert_ne!(fixed.manifest().content, third.manifest().content);
}

#[test]
fn a_new_resource_that_is_rejected_goes_away_alone() {
    let id = id(&client("shop", ""));
    let mut desired = vec![Resource::Client(client("other", "Other"))];
    let first = step(None, desired.clone()).artefact;
    desired.extend(one("Shop"));
    let second = step(Some(&first), desired.clone()).artefact;
    let refused = second.entry(&id).unwrap().current.version();
    let third = after(&second, desired.clone(), answers(&second, &[Some((&id, refused))])).artefact;
    assert!(third.entry(&id).is_none());
    assert!(third.refusal(&id).is_some());
    assert_eq!(third.manifest().counts.clients, 1);
    // What servers refused is remembered by a restarted operator.
    let files = third.to_files().into_iter().collect();
    let read = Artefact::from_files(&files).unwrap();
    assert_eq!(step(Some(&read), desired).artefact, third);
}

#[test]
fn what_others_serve_is_not_taken_from_them_because_one_server_refuses_it() {
    let id = id(&client("shop", ""));
    let first = step(None, one("Shop")).artefact;
    let version = first.entry(&id).unwrap().current.version();
    let settled = after(&first, one("Shop"), answers(&first, &[None, None])).artefact;
    // A replica of another version joins.
    let refused = answers(&settled, &[None, None, Some((&id, version))]);
    assert_eq!(after(&settled, one("Shop"), refused.clone()).artefact, settled);
    // The next version is offered, and that one stays to fall back on.
    let changed = after(&settled, one("Store"), refused).artefact;
    let former = changed.entry(&id).unwrap().former.clone();
    assert_eq!(former.map(|former| former.version()), Some(version));
    // Refused by all, it goes.
    let refusal = Some((&id, version));
    let gone = after(&settled, one("Shop"), answers(&settled, &[refusal, refusal])).artefact;
    assert!(gone.entry(&id).is_none() && gone.refusal(&id).is_some());
}

#[test]
fn a_server_ahead_of_the_committed_head_opens_a_new_epoch() {
    let first = step(None, one("Shop")).artefact;
    let highest = Head {
        epoch: first.head().epoch,
        generation: 90,
    };
    let acknowledgements = Acknowledgements {
        highest: Some(highest),
        ..Acknowledgements::default()
    };
    let reopened = after(&first, one("Shop"), acknowledgements.clone()).artefact;
    assert!(reopened.head() > highest);
    assert!(reopened.head().epoch > highest.epoch);
    assert_eq!(reopened.head().generation, 91);
    // Also when nothing is known of the past, and only once.
    let inputs = Inputs {
        acknowledgements: acknowledgements.clone(),
        ..inputs(one("Shop"))
    };
    assert!(Artefact::next(None, inputs).artefact.head() > highest);
    assert_eq!(after(&reopened, one("Shop"), acknowledgements).artefact, reopened);
}

#[test]
fn a_resource_that_does_not_fit_is_excluded_and_everything_else_goes_on() {
    // Incompressible, and too much for one shard together.
    let noise = |seed: &str| -> String {
        let blocks = (0..1500).map(|number| Hash::of(format!("{seed}{number}").as_bytes()).to_string());
        blocks.collect()
    };
    let keys = |seed: &str| format!(r#"{{"keys":["{}"]}}"#, noise(seed).get(..60_000).unwrap());
    let full = |name: &str, seed: &str| {
        let mut client = client(name, name);
        client.authentication = oidc::config::ClientAuthentication::PrivateKeyJwt {
            jwks: oidc::config::ClientKeys::new(keys(seed)).into(),
        };
        client
    };
    let same_shard: Vec<String> = (0..)
        .map(|number| format!("c{number}"))
        .filter(|name| id(&client(name, "")).shard() == 0)
        .take(30)
        .collect();
    let desired: Vec<_> = same_shard
        .iter()
        .map(|name| Resource::Client(full(name, name)))
        .collect();
    let Step { artefact, excluded } = step(None, desired.clone());
    assert!(!excluded.is_empty() && excluded.len() < 30);
    assert!(excluded.values().all(|reason| matches!(reason, Exclusion::FleetFull)));
    assert_eq!(artefact.manifest().counts.clients as usize + excluded.len(), 30);

    // What is served stays, with its version, when a change of it does not fit.
    let served = artefact.entries().into_keys().next().unwrap().clone();
    let changed = desired
        .into_iter()
        .filter(|resource| artefact.entry(&ResourceId::of(resource)).is_some());
    let changed = changed.map(|resource| match resource {
        Resource::Client(client) => Resource::Client(full(&client.client_id, &format!("{}-2", client.client_id))),
        other => other,
    });
    let next = step(Some(&artefact), changed.collect());
    assert_eq!(next.artefact.manifest().counts, artefact.manifest().counts);
    assert!(next.artefact.entry(&served).is_some());
    assert!(!next.excluded.is_empty());
    for id in next.excluded.keys() {
        assert_eq!(
            next.artefact.entry(id).unwrap().current,
            artefact.entry(id).unwrap().current
        );
    }
}

#[test]
fn a_resource_that_servers_would_refuse_at_sight_is_excluded() {
    let mut wrong = client("wrong", "Wrong");
    wrong.redirect_uris = ["https://example.com/#fragment".to_owned()].into();
    let mut desired = one("Shop");
    desired.push(Resource::Client(wrong.clone()));
    let Step { artefact, excluded } = step(None, desired);
    assert!(matches!(excluded[&id(&wrong)], Exclusion::Invalid(_)));
    assert_eq!(artefact.manifest().counts.clients, 1);
}

#[test]
fn a_realm_that_is_gone_is_remembered_with_what_is_to_become_of_its_rows_until_it_returns() {
    let realm = realm();
    let erase = Inputs {
        standing: BTreeMap::from([(realm.id, Standing::There { erase: true })]),
        ..inputs(vec![Resource::Realm(realm.clone())])
    };
    let first = Artefact::next(None, erase).artefact;
    let gone = step(Some(&first), Vec::new()).artefact;
    let (id, tombstone) = gone.tombstones().next().unwrap();
    assert_eq!(id, realm.id);
    assert!(tombstone.erase);
    assert_eq!(tombstone.since, NOW);
    let later = Inputs {
        now: NOW.after(Duration::from_hours(48)),
        ..inputs(Vec::new())
    };
    assert_eq!(Artefact::next(Some(&gone), later).artefact, gone);
    let back = step(Some(&gone), vec![Resource::Realm(realm)]).artefact;
    assert_eq!(back.tombstones().count(), 0);
}

#[test]
fn another_fleets_artefact_is_not_built_upon() {
    let first = step(None, one("Shop")).artefact;
    let other = Inputs {
        fleet: "login/other".parse().unwrap(),
        ..inputs(one("Shop"))
    };
    let next = Artefact::next(Some(&first), other).artefact;
    assert_eq!(next.head().generation, 1);
}

#[test]
fn a_server_that_has_other_content_from_the_same_position_opens_a_new_epoch() {
    let first = step(None, one("Shop")).artefact;
    let second = step(Some(&first), one("Store")).artefact;
    // Restored from a backup of the time of the first, and edited differently.
    let other = step(Some(&first), one("Other")).artefact;
    assert_eq!(other.head(), second.head());
    let next = after(&other, one("Other"), answers(&second, &[None])).artefact;
    assert!(next.head().epoch > second.head().epoch);
    assert_eq!(
        after(&next, one("Other"), answers(&next, &[None])).artefact.head(),
        next.head()
    );
}
