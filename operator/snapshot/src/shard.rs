//! Shards: buckets of resources, compressed, each small enough for one Secret.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use oidc::id::RealmId;
use oidc::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::id::ResourceId;
use crate::wire::Payload;

/// How many shards there can be. Fixed, because a resource's shard follows from its name and this number.
pub const SHARD_COUNT: u8 = 32;

/// Largest shard file, compressed bytes: two of them and a little more fit into one Secret.
pub const SHARD_BYTES: usize = 480 * 1024;

/// Largest shard, uncompressed bytes: what a server is willing to inflate.
const INFLATED_BYTES: usize = 16 * 1024 * 1024;

/// A bucket of resources, and what operators remember about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// What is served.
    pub entries: BTreeMap<ResourceId, Entry>,
    /// Versions that servers refused and that therefore are not offered again, by resource.
    pub refused: BTreeMap<ResourceId, Refusal>,
    /// Realms whose people and grants are to be deleted after the realm is gone.
    pub erase: BTreeSet<RealmId>,
    /// Realms that are gone.
    pub tombstones: BTreeMap<RealmId, Tombstone>,
}

/// One resource as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The generation that the current version was committed in.
    pub since_generation: u64,
    /// What to serve.
    pub current: Payload,
    /// What to serve where the current version is refused; kept until every ready replica has accepted that.
    pub former: Option<Payload>,
}

/// A version that a server refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refusal {
    /// The version.
    pub version: Hash,
    /// A short name of the reason.
    pub code: String,
    /// The reason in words.
    pub message: String,
}

/// A realm that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tombstone {
    /// Its issuer.
    pub issuer: String,
    /// `namespace/name` of its custom resource.
    pub name: String,
    /// When it went.
    pub since: Timestamp,
    /// Whether its rows are to be deleted.
    pub erase: bool,
}

/// Why bytes are not a shard.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// More than [`SHARD_BYTES`], or inflates to more than a server is willing to hold.
    #[error("shard is larger than allowed")]
    TooLarge,
    /// Not a gzip file.
    #[error("shard is not compressed data")]
    NotCompressed(#[source] std::io::Error),
    /// Not JSON of the expected shape.
    #[error("shard is malformed near byte {column}")]
    Malformed {
        /// Where parsing stopped.
        column: usize,
    },
    /// Another shard than the one it was delivered as.
    #[error("shard says that it is number {0}")]
    WrongNumber(u8),
    /// A resource that belongs elsewhere, or that is there twice.
    #[error("shard holds {0}, which does not belong there")]
    Misplaced(ResourceId),
}

/// The file name and data key of a shard: number and hash, so that equal keys never hide different content.
pub fn shard_file(number: u8, hash: Hash) -> String {
    format!("shard-{number:02}-{hash}.json.gz")
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireShard {
    number: u8,
    entries: Vec<WireEntry>,
    refused: BTreeMap<ResourceId, Refusal>,
    erase: BTreeSet<RealmId>,
    tombstones: BTreeMap<RealmId, Tombstone>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireEntry {
    id: ResourceId,
    since: u64,
    current: String,
    former: Option<String>,
}

impl Shard {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        let Self {
            entries,
            refused,
            erase,
            tombstones,
        } = self;
        entries.is_empty() && refused.is_empty() && erase.is_empty() && tombstones.is_empty()
    }

    /// The shard as a file. Equal shards give equal bytes. Fails with [`ShardError::TooLarge`] when it does not fit.
    pub fn encode(&self, number: u8) -> Result<Vec<u8>, ShardError> {
        let Self {
            entries,
            refused,
            erase,
            tombstones,
        } = self;
        let wire = WireShard {
            number,
            entries: entries.iter().map(wire_entry).collect(),
            refused: refused.clone(),
            erase: erase.clone(),
            tombstones: tombstones.clone(),
        };
        let json = serde_json::to_vec(&wire).unwrap_or_default();
        if json.len() > INFLATED_BYTES {
            return Err(ShardError::TooLarge);
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&json).map_err(ShardError::NotCompressed)?;
        let bytes = encoder.finish().map_err(ShardError::NotCompressed)?;
        if bytes.len() > SHARD_BYTES {
            return Err(ShardError::TooLarge);
        }
        Ok(bytes)
    }

    /// The shard that a file is. The resources in it are not judged here.
    pub fn decode(number: u8, bytes: &[u8]) -> Result<Self, ShardError> {
        if bytes.len() > SHARD_BYTES {
            return Err(ShardError::TooLarge);
        }
        let mut json = Vec::new();
        let limit = INFLATED_BYTES as u64 + 1;
        let inflated = GzDecoder::new(bytes).take(limit).read_to_end(&mut json);
        if inflated.map_err(ShardError::NotCompressed)? > INFLATED_BYTES {
            return Err(ShardError::TooLarge);
        }
        let wire: WireShard =
            serde_json::from_slice(&json).map_err(|error| ShardError::Malformed { column: error.column() })?;
        let WireShard {
            number: found,
            entries: listed,
            refused,
            erase,
            tombstones,
        } = wire;
        if found != number {
            return Err(ShardError::WrongNumber(found));
        }
        let mut entries = BTreeMap::new();
        for entry in listed {
            let WireEntry {
                id,
                since,
                current,
                former,
            } = entry;
            let entry = Entry {
                since_generation: since,
                current: Payload::new(current.into_bytes()),
                former: former.map(|former| Payload::new(former.into_bytes())),
            };
            if id.shard() != number || entries.insert(id.clone(), entry).is_some() {
                return Err(ShardError::Misplaced(id));
            }
        }
        Ok(Self {
            entries,
            refused,
            erase,
            tombstones,
        })
    }
}

fn wire_entry((id, entry): (&ResourceId, &Entry)) -> WireEntry {
    let Entry {
        since_generation,
        current,
        former,
    } = entry;
    WireEntry {
        id: id.clone(),
        since: *since_generation,
        current: text(current),
        former: former.as_ref().map(text),
    }
}

/// Canonical bytes are JSON and therefore text. Anything else would lose its hash here and be refused by servers.
fn text(payload: &Payload) -> String {
    String::from_utf8_lossy(payload.bytes()).into_owned()
}
