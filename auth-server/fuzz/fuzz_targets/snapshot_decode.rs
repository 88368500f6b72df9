//! The configuration as files and as messages: hostile bytes are refused, and what is accepted is canonical.
#![no_main]

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use oidc::id::RealmId;
use oidc::testing::ISSUER;
use snapshot::{Artefact, MANIFEST_FILE, Manifest, Payload, ResourceId, Shard, decode, encode};

fn shard(number: u8, bytes: &[u8]) {
    if let Ok(shard) = Shard::decode(number, bytes) {
        let again = shard.encode(number).expect("an accepted shard can be written");
        assert_eq!(Shard::decode(number, &again).expect("and read"), shard);
        for (id, entry) in &shard.entries {
            resource(id, &entry.current);
        }
    }
}

fn resource(id: &ResourceId, payload: &Payload) {
    if let Ok(resource) = decode(id, payload) {
        let canonical = encode(&resource);
        let again = decode(id, &canonical).expect("an accepted resource can be written and read");
        assert_eq!(encode(&again).version(), canonical.version());
    }
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fuzz_target!(|data: &[u8]| {
    let [mode, rest @ ..] = data else { return };
    let realm = RealmId::of_issuer(ISSUER);
    match mode % 8 {
        0 => {
            if let Ok(manifest) = Manifest::decode(rest) {
                assert_eq!(Manifest::decode(&manifest.encode()).expect("what is written is read"), manifest);
            }
        }
        1 => shard(mode / 8, rest),
        2 => shard(mode / 8, &compressed(rest)),
        3 => resource(&ResourceId::Realm(realm), &Payload::new(rest)),
        4 => resource(&ResourceId::Keys(realm), &Payload::new(rest)),
        5 => resource(&ResourceId::Client(realm, "app".into()), &Payload::new(rest)),
        // Files: a manifest, then the shards it may name, apart by line ends.
        _ => {
            let mut files = BTreeMap::new();
            let mut parts = rest.split(|byte| *byte == b'\n');
            files.insert(MANIFEST_FILE.to_owned(), parts.next().unwrap_or_default().to_vec());
            for part in parts {
                let bytes = compressed(part);
                files.insert(snapshot::shard_file(mode / 8, snapshot::Hash::of(&bytes)), bytes);
            }
            let _ = Artefact::from_files(&files);
        }
    }
});
