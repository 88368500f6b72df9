//! Commits to Secrets.

use std::collections::{BTreeMap, BTreeSet};

use oidc::Secret;
use operator::build::artefact::{Commit, Stored, manifest_secret, only_settles, read, shard_secret};
use proptest::prelude::*;
use snapshot::{Acknowledgement, Acknowledgements, Artefact, Fleet, MANIFEST_FILE};

use super::{Secrets, owner};
use crate::publish::{answered, client, commit};

fn fleet() -> Fleet {
    "login/main".parse().unwrap()
}

/// The configuration that follows, with these clients.
fn next(previous: Option<&Artefact>, clients: &BTreeMap<u8, u8>) -> Artefact {
    let resources = clients
        .iter()
        .map(|(number, name)| client(&format!("c{number}"), &format!("Name {name}")));
    commit(previous, &fleet(), resources.collect()).as_ref().clone()
}

fn committed(secrets: &Secrets) -> Option<Artefact> {
    match read(&owner("main").key, |key| secrets.object(key)) {
        Stored::Nothing => None,
        Stored::Committed(artefact) => Some(*artefact),
        Stored::Damaged { error, .. } => panic!("{error}"),
    }
}

/// Commits `target`, or only its first `writes`.
fn put(secrets: &mut Secrets, target: &Artefact, writes: usize) {
    let former = committed(secrets);
    let owner = owner("main");
    let plan = Commit {
        owner: &owner,
        committed: former.as_ref(),
        target,
    };
    let before = secrets.clone();
    for write in plan.writes(|key| before.seen(key)).iter().take(writes) {
        secrets.write(write).unwrap();
        let now = committed(secrets);
        assert!(
            now == former || now.as_ref() == Some(target),
            "something in between is committed"
        );
    }
    // A volume that still has the former manifest finds its shards.
    let manifest = manifest_secret(&owner.key);
    if let (Some(former), Some(document)) = (former, before.object(&manifest)) {
        let mixed = |key: &_| {
            if *key == manifest {
                Some(document)
            } else {
                secrets.object(key)
            }
        };
        assert!(matches!(read(&owner.key, mixed), Stored::Committed(read) if *read == former));
    }
}

fn edits() -> impl Strategy<Value = Vec<(BTreeMap<u8, u8>, usize)>> {
    let clients = prop::collection::btree_map(0..20_u8, 0..3_u8, 0..8);
    prop::collection::vec((clients, prop_oneof![0..6_usize, Just(usize::MAX)]), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_crash_at_any_step_leaves_the_former_or_the_new_configuration_and_the_next_leader_goes_on(edits in edits()) {
        let mut secrets = Secrets::default();
        for (clients, writes) in edits {
            let target = next(committed(&secrets).as_ref(), &clients);
            put(&mut secrets, &target, writes);
        }
        let target = next(committed(&secrets).as_ref(), &BTreeMap::from([(1, 9)]));
        put(&mut secrets, &target, usize::MAX);
        prop_assert_eq!(committed(&secrets), Some(target.clone()));
        // What is committed is not written again.
        let writes = secrets.writes;
        put(&mut secrets, &target, usize::MAX);
        prop_assert_eq!(secrets.writes, writes);
    }
}

#[test]
fn a_settled_edit_keeps_no_other_waiting() {
    let first = next(None, &BTreeMap::from([(1, 0)]));
    let edited = next(Some(&first), &BTreeMap::from([(1, 1)]));
    assert!(!only_settles(&first, &edited), "an edit");
    let answer = Acknowledgement {
        head: edited.head(),
        content: edited.manifest().content,
        rejected: BTreeMap::new(),
    };
    let answers = Acknowledgements {
        ready: BTreeSet::from(["pod".to_owned()]),
        by_pod: BTreeMap::from([("pod".to_owned(), answer)]),
        highest: None,
    };
    let settled = answered(Some(&edited), &fleet(), vec![client("c1", "Name 1")], answers);
    assert_ne!(*settled, edited, "the former version goes");
    assert!(only_settles(&edited, &settled));
    assert!(!only_settles(&settled, &settled), "what is put back is limited");
}

#[test]
fn only_the_shards_that_changed_are_written_and_the_manifest_comes_last() {
    let mut secrets = Secrets::default();
    let mut clients: BTreeMap<u8, u8> = (0..60).map(|number| (number, 0)).collect();
    let first = next(None, &clients);
    put(&mut secrets, &first, usize::MAX);
    clients.insert(7, 1);
    let second = next(Some(&first), &clients);
    let owner = owner("main");
    let plan = Commit {
        owner: &owner,
        committed: Some(&first),
        target: &second,
    };
    let writes = plan.writes(|key| secrets.seen(key));
    assert_eq!(writes.len(), 2);
    assert_eq!(writes[1].key, manifest_secret(&owner.key));
    assert!(
        writes
            .iter()
            .all(|write| write.replaces.is_some() && write.owner.is_some())
    );
    assert_eq!(
        writes[0].object.data.len(),
        2,
        "the former file stays beside the new one"
    );
}

#[test]
fn what_was_withdrawn_does_not_stay_in_secrets_for_ever() {
    let mut secrets = Secrets::default();
    let first = next(None, &BTreeMap::from([(1, 0)]));
    put(&mut secrets, &first, usize::MAX);
    let (number, _, _) = first.shard_files().next().unwrap();
    let other = (2..60).find(|other| {
        let second = next(None, &BTreeMap::from([(*other, 0)]));
        second.shard_files().next().unwrap().0 != number
    });
    for clients in [
        BTreeMap::from([(other.unwrap(), 0)]),
        BTreeMap::from([(other.unwrap(), 1)]),
    ] {
        let target = next(committed(&secrets).as_ref(), &clients);
        put(&mut secrets, &target, usize::MAX);
    }
    let shard = secrets.object(&shard_secret(&owner("main").key, number)).unwrap();
    assert!(shard.data.is_empty());
}

#[test]
fn what_somebody_altered_or_removed_is_told_and_put_back() {
    let mut secrets = Secrets::default();
    let owner = owner("main");
    let artefact = next(None, &(0..60).map(|number| (number, 0)).collect());
    put(&mut secrets, &artefact, usize::MAX);
    let (number, name, _) = artefact.shard_files().next().unwrap();
    let shard = shard_secret(&owner.key, number);

    let mut altered = secrets.object(&shard).unwrap().clone();
    altered.data.insert(name, Secret::new(b"other".to_vec()));
    let mut seen = secrets.seen(&shard).unwrap();
    seen.object = altered.into();
    secrets.objects.insert(shard.clone(), seen);
    let head = match read(&owner.key, |key| secrets.object(key)) {
        Stored::Damaged { manifest, .. } => manifest.unwrap().head,
        other => panic!("{other:?}"),
    };
    assert_eq!(head, artefact.head());
    let repair = |secrets: &Secrets| {
        let plan = Commit {
            owner: &owner,
            committed: Some(&artefact),
            target: &artefact,
        };
        let writes = plan.writes(|key| secrets.seen(key));
        assert_eq!(writes.len(), 1);
        let mut repaired = secrets.clone();
        repaired.write(&writes[0]).unwrap();
        assert_eq!(committed(&repaired), Some(artefact.clone()));
    };
    repair(&secrets);
    secrets.objects.remove(&shard);
    repair(&secrets);

    // A manifest that is none says nothing about what was committed.
    let mut secrets = Secrets::default();
    put(&mut secrets, &artefact, usize::MAX);
    let mut seen = secrets.seen(&manifest_secret(&owner.key)).unwrap();
    let mut object = seen.object.as_ref().clone();
    object
        .data
        .insert(MANIFEST_FILE.to_owned(), Secret::new(b"{}".to_vec()));
    seen.object = object.into();
    secrets.objects.insert(manifest_secret(&owner.key), seen);
    let read = read(&owner.key, |key| secrets.object(key));
    assert!(matches!(read, Stored::Damaged { manifest: None, .. }));
    repair(&secrets);
}

#[test]
fn secrets_that_lost_their_owner_are_adopted() {
    let mut secrets = Secrets::default();
    let owner = owner("main");
    let artefact = next(None, &BTreeMap::from([(1, 0)]));
    put(&mut secrets, &artefact, usize::MAX);
    for seen in secrets.objects.values_mut() {
        seen.owner = Some("an AuthServer that is gone".to_owned());
    }
    let plan = Commit {
        owner: &owner,
        committed: Some(&artefact),
        target: &artefact,
    };
    let writes = plan.writes(|key| secrets.seen(key));
    assert_eq!(writes.len(), secrets.objects.len());
    for write in &writes {
        secrets.write(write).unwrap();
    }
    assert_eq!(plan.writes(|key| secrets.seen(key)), []);
    assert_eq!(committed(&secrets), Some(artefact));
}
