//! What has to be sent to a server so that it holds an artefact: only what differs from what it holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use snapshot::proto::{self, from_operator};
use snapshot::{Artefact, Entry, Hash, ResourceId};

/// Resources of one message, bytes. Far below the size that a peer refuses.
const CHUNK_BYTES: usize = 1024 * 1024;

/// What a server holds.
#[derive(Clone, Debug)]
pub(super) enum Base {
    /// What it said itself: versions by name.
    Listed(BTreeMap<ResourceId, Hash>),
    /// An artefact that it acknowledged. Kept by reference, so that many servers cost no more than one.
    Acknowledged(Arc<Artefact>),
}

impl Base {
    fn version(&self, id: &ResourceId) -> Option<Hash> {
        match self {
            Self::Listed(versions) => versions.get(id).copied(),
            Self::Acknowledged(artefact) => artefact.entry(id).map(|entry| entry.current.version()),
        }
    }
}

/// The messages that bring a server from `base` to `target`.
pub(super) fn messages(base: &Base, target: &Artefact) -> Vec<from_operator::Kind> {
    let (changed, removed) = match base {
        Base::Listed(versions) => compare(&target.entries(), versions.keys(), base),
        Base::Acknowledged(held) => {
            // Equal shards hold equal resources: only the others are looked at.
            let differing = target.shards_differing_from(held);
            let entries = |artefact| Artefact::entries_of_shards(artefact, &differing);
            let held = entries(held);
            compare(&entries(target), held.keys().copied(), base)
        }
    };
    chunks(target, changed, removed)
}

type Changed<'a> = Vec<(&'a ResourceId, &'a Entry)>;

fn compare<'a, 'b>(
    target: &BTreeMap<&'a ResourceId, &'a Entry>,
    held: impl Iterator<Item = &'b ResourceId>,
    base: &Base,
) -> (Changed<'a>, Vec<String>) {
    let changed = target
        .iter()
        .filter(|(id, entry)| base.version(id) != Some(entry.current.version()));
    let removed = held.filter(|id| !target.contains_key(*id)).map(ToString::to_string);
    (changed.map(|(id, entry)| (*id, *entry)).collect(), removed.collect())
}

fn chunks(target: &Artefact, changed: Changed<'_>, removed: Vec<String>) -> Vec<from_operator::Kind> {
    let mut updates = vec![proto::Update {
        manifest: target.manifest().encode(),
        pieces: Vec::new(),
        removed,
    }];
    let mut size = 0;
    for (id, entry) in changed {
        let piece = proto::Piece {
            id: id.to_string(),
            current: entry.current.bytes().to_vec(),
            former: entry
                .former
                .as_ref()
                .map(|former| former.bytes().to_vec())
                .unwrap_or_default(),
        };
        let added = piece.current.len() + piece.former.len();
        if size > 0 && size + added > CHUNK_BYTES {
            updates.push(proto::Update::default());
            size = 0;
        }
        size += added;
        if let Some(update) = updates.last_mut() {
            update.pieces.push(piece);
        }
    }
    let updates = updates.into_iter().map(from_operator::Kind::Update);
    updates.chain([commit(target)]).collect()
}

/// The end of an update. Alone it confirms what the server has.
pub(super) fn commit(target: &Artefact) -> from_operator::Kind {
    from_operator::Kind::Commit(proto::Commit {
        head: Some(target.head().into()),
        content: target.manifest().content.as_bytes().to_vec(),
    })
}

/// Bytes of resources in `messages`.
pub(super) fn resource_bytes(messages: &[from_operator::Kind]) -> u64 {
    let pieces = messages.iter().flat_map(|message| match message {
        from_operator::Kind::Update(update) => update.pieces.as_slice(),
        from_operator::Kind::Welcome(_)
        | from_operator::Kind::Commit(_)
        | from_operator::Kind::Heartbeat(_)
        | from_operator::Kind::GoAway(_) => &[],
    });
    pieces
        .map(|piece| (piece.current.len() + piece.former.len()) as u64)
        .sum()
}

#[cfg(test)]
mod tests {
    use oidc::config::{Client, Resource};
    use oidc::testing;
    use prost::Message as _;
    use snapshot::{Inputs, ServerVersion};

    use super::*;

    fn commit_of(previous: Option<&Artefact>, clients: usize, first: &str) -> Artefact {
        let mut desired = vec![
            Resource::Realm(testing::realm()),
            Resource::Keys(testing::key_set(testing::ISSUER)),
        ];
        desired.extend((0..clients).map(|number| {
            Resource::Client(Client {
                display_name: if number == 0 { first } else { "Unchanged" }.to_owned(),
                ..testing::client(&format!("client-{number}"))
            })
        }));
        let inputs = Inputs {
            minimum_server: ServerVersion(0, 1, 0),
            ..Inputs::new("demo/main".parse().unwrap(), desired, testing::NOW)
        };
        Artefact::next(previous, inputs).artefact
    }

    /// Bytes on the stream for the edit of one client in a fleet of `clients`.
    fn bytes_of_an_edit(clients: usize) -> usize {
        let before = commit_of(None, clients, "Before");
        let after = commit_of(Some(&before), clients, "After");
        let kinds = messages(&Base::Acknowledged(Arc::new(before)), &after).into_iter();
        kinds
            .map(|kind| proto::FromOperator { kind: Some(kind) }.encoded_len())
            .sum()
    }

    #[test]
    fn one_edit_costs_its_resource_and_a_manifest_however_large_the_fleet() {
        // Two versions of one client, and a manifest of 32 shards.
        let (of_many, of_most) = (bytes_of_an_edit(500), bytes_of_an_edit(2000));
        assert!(of_most <= 8 * 1024, "{of_most} bytes");
        assert!(of_most.abs_diff(of_many) <= 64, "{of_many} and {of_most} bytes");
    }

    #[test]
    fn a_client_adds_little_to_the_artefact_and_ten_thousand_fit_into_its_secrets() {
        let sizes = |clients| -> Vec<usize> {
            let artefact = commit_of(None, clients, "First");
            artefact.shard_files().map(|(_, _, file)| file.len()).collect()
        };
        let (fewer, most) = (sizes(5_000), sizes(10_000));
        let each = (most.iter().sum::<usize>() - fewer.iter().sum::<usize>()) / 5_000;
        // 32 of them are the hash of its secret, which nothing compresses.
        assert!(each <= 100, "{each} bytes a client");
        let largest = most.iter().max().copied().unwrap_or_default();
        assert!(largest * 2 < snapshot::SHARD_BYTES, "{largest} bytes of one shard");
    }
}
