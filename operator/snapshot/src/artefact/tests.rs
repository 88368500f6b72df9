use proptest::prelude::*;

use super::*;
use crate::fixtures::{client, inputs, keys, realm, step};
use crate::manifest::{ServerVersion, Trust};

fn artefact() -> Artefact {
    let mut desired = vec![Resource::Realm(realm()), Resource::Keys(keys())];
    desired.extend((0..40).map(|number| Resource::Client(client(&format!("client-{number}"), "Client"))));
    step(None, desired).artefact
}

fn files(artefact: &Artefact) -> BTreeMap<String, Vec<u8>> {
    artefact.to_files().into_iter().collect()
}

/// The files with another manifest.
fn with_manifest(change: impl Fn(&mut Manifest)) -> Result<Artefact, ArtefactError> {
    let artefact = artefact();
    let mut files = files(&artefact);
    let mut manifest = artefact.manifest().clone();
    change(&mut manifest);
    files.insert(MANIFEST_FILE.to_owned(), manifest.encode());
    Artefact::from_files(&files)
}

#[test]
fn files_round_trip_and_the_manifest_comes_last() {
    let artefact = artefact();
    let list = artefact.to_files();
    assert_eq!(list.last().unwrap().0, MANIFEST_FILE);
    assert!(list.last().unwrap().1.len() <= crate::MANIFEST_BYTES);
    let read = Artefact::from_files(&files(&artefact)).unwrap();
    assert_eq!(read, artefact);
    assert_eq!(read.entries(), artefact.entries());
    assert_eq!(read.to_files(), list);
}

#[test]
fn a_manifest_of_all_shards_fits_into_its_bound() {
    let clients = (0..400).map(|number| Resource::Client(client(&format!("client-{number}"), "Client")));
    let artefact = step(None, clients.collect()).artefact;
    assert_eq!(artefact.manifest().shards.len(), 32);
    assert!(artefact.manifest().encode().len() <= crate::MANIFEST_BYTES);
}

#[test]
fn a_corrupt_shard_is_refused() {
    let artefact = artefact();
    let mut files = files(&artefact);
    let (_, bytes) = files.iter_mut().find(|(name, _)| name.starts_with("shard-")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert!(matches!(
        Artefact::from_files(&files),
        Err(ArtefactError::WrongShardHash { .. })
    ));
}

#[test]
fn a_missing_shard_is_refused() {
    let mut files = files(&artefact());
    let name = files.keys().find(|name| name.starts_with("shard-")).unwrap().clone();
    files.remove(&name);
    assert!(matches!(
        Artefact::from_files(&files),
        Err(ArtefactError::MissingShard { .. })
    ));
    files.remove(MANIFEST_FILE);
    assert!(matches!(Artefact::from_files(&files), Err(ArtefactError::NoManifest)));
}

#[test]
fn shards_of_another_commit_are_refused() {
    let refused = with_manifest(|manifest| manifest.content = Hash::of(b"other"));
    assert!(matches!(refused, Err(ArtefactError::WrongContent)));
    let refused = with_manifest(|manifest| {
        manifest.shards.pop_last();
    });
    assert!(matches!(refused, Err(ArtefactError::WrongContent)));
    let refused = with_manifest(|manifest| manifest.counts.realms += 1);
    assert!(matches!(refused, Err(ArtefactError::WrongContent)));
}

#[test]
fn an_unsupported_schema_is_refused() {
    let refused = with_manifest(|manifest| manifest.schema = 2);
    assert!(matches!(
        refused,
        Err(ArtefactError::Manifest(ManifestError::UnsupportedSchema(2)))
    ));
    // Also when everything else about it is unknown.
    let future = Manifest::decode(br#"{"schema":3,"shardsByName":[]}"#);
    assert_eq!(future, Err(ManifestError::UnsupportedSchema(3)));
}

#[test]
fn an_empty_artefact_is_refused_unless_marked() {
    let empty = step(None, Vec::new()).artefact;
    assert!(empty.manifest().empty);
    assert!(Artefact::from_files(&files(&empty)).is_ok());
    let mut unmarked = empty.manifest().clone();
    unmarked.empty = false;
    assert_eq!(Manifest::decode(&unmarked.encode()), Err(ManifestError::UnmarkedEmpty));
    let refused = with_manifest(|manifest| manifest.empty = true);
    assert!(matches!(
        refused,
        Err(ArtefactError::Manifest(ManifestError::MarkedEmpty))
    ));
}

#[test]
fn another_fleets_a_lower_and_a_too_new_manifest_are_refused() {
    let artefact = artefact();
    let manifest = artefact.manifest();
    let fleet = manifest.fleet.clone();
    let trust = |held| Trust {
        fleet: &fleet,
        server: ServerVersion(0, 1, 0),
        held,
    };
    assert_eq!(manifest.check(&trust(None)), Ok(()));
    assert_eq!(manifest.check(&trust(Some((manifest.head, manifest.content)))), Ok(()));

    let other = "login/other".parse().unwrap();
    let wrong = manifest.check(&Trust {
        fleet: &other,
        ..trust(None)
    });
    assert!(matches!(wrong, Err(ManifestError::WrongFleet { .. })));

    let Head { epoch, generation } = manifest.head;
    for held in [
        Head {
            epoch,
            generation: generation + 1,
        },
        Head {
            epoch: epoch + 1,
            generation: 0,
        },
    ] {
        let replayed = manifest.check(&trust(Some((held, manifest.content))));
        assert!(matches!(replayed, Err(ManifestError::Replayed { .. })));
    }
    let conflicting = manifest.check(&trust(Some((manifest.head, Hash::of(b"other")))));
    assert_eq!(conflicting, Err(ManifestError::Conflicting(manifest.head)));
    let old = Trust {
        server: ServerVersion(0, 0, 9),
        ..trust(None)
    };
    assert!(matches!(manifest.check(&old), Err(ManifestError::ServerTooOld { .. })));
}

#[test]
fn a_shard_that_inflates_without_end_is_refused() {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        encoder.write_all(&vec![b' '; 1024 * 1024]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < crate::SHARD_BYTES);
    assert!(matches!(Shard::decode(0, &bomb), Err(ShardError::TooLarge)));
    assert!(matches!(
        Shard::decode(0, &vec![0; crate::SHARD_BYTES + 1]),
        Err(ShardError::TooLarge)
    ));
}

#[test]
fn a_resource_in_a_foreign_shard_is_refused() {
    let id = ResourceId::of(&Resource::Realm(realm()));
    let entry = artefact().entry(&id).unwrap().clone();
    let number = (id.shard() + 1) % 32;
    let mut shard = Shard::default();
    shard.entries.insert(id, entry);
    let file = shard.encode(number).unwrap();
    assert!(matches!(Shard::decode(number, &file), Err(ShardError::Misplaced(_))));
    assert!(matches!(
        Shard::decode(31 - number, &file),
        Err(ShardError::WrongNumber(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_set_of_resources_round_trips_and_its_order_does_not_matter(
        names in prop::collection::btree_set("[a-z]{1,12}", 0..30),
        seed in any::<u64>(),
    ) {
        let desired: Vec<_> = names.iter().map(|name| Resource::Client(client(name, name))).collect();
        let mut shuffled = desired.clone();
        shuffled.sort_by_key(|resource| Hash::of(format!("{seed}{}", ResourceId::of(resource)).as_bytes()));
        let one = step(None, desired.clone()).artefact;
        let other = step(None, shuffled).artefact;
        prop_assert_eq!(&one, &other);
        let read = Artefact::from_files(&files(&one)).unwrap();
        for resource in desired {
            prop_assert_eq!(read.resource(&ResourceId::of(&resource)), Some(resource));
        }
        // The same again writes nothing.
        let again = Artefact::next(Some(&read), inputs(names.iter().map(|name| Resource::Client(client(name, name))).collect()));
        prop_assert_eq!(again.artefact, one);
    }

    #[test]
    fn arbitrary_files_never_panic(manifest in prop::collection::vec(any::<u8>(), 0..600), shard in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Manifest::decode(&manifest).is_err());
        prop_assert!(Shard::decode(0, &shard).is_err());
    }
}
