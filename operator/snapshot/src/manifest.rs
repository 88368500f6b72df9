//! The manifest: the small document that commits a configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use oidc::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fleet::Fleet;
use crate::hash::Hash;
use crate::shard::SHARD_COUNT;

/// The schema of manifests, shards and resources that this crate reads and writes.
pub const SCHEMA: u32 = 1;

/// Largest manifest, bytes.
pub const MANIFEST_BYTES: usize = 4 * 1024;

/// Position of a configuration. A later epoch is newer whatever the generation: epochs tell apart histories that
/// began again (after a restore of etcd), generations count commits that changed content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Head {
    /// Unix seconds of the beginning of this history.
    pub epoch: u64,
    /// Number of the commit.
    pub generation: u64,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.generation)
    }
}

/// What a configuration consists of, where it stands, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// Servers older than this refuse the configuration whole.
    pub minimum_server: ServerVersion,
    /// The fleet that it is meant for.
    pub fleet: Fleet,
    /// Its position.
    #[serde(flatten)]
    pub head: Head,
    /// Hash over names and versions of all current resources: content only, whatever its history.
    pub content: Hash,
    /// Set when a configuration without any resource is meant. Without it an empty one is refused.
    pub empty: bool,
    /// How many resources of each kind.
    pub counts: Counts,
    /// A mass deletion that is being held back, for the operator's next decision.
    pub shrink: Option<ShrinkGuard>,
    /// What was withdrawn lately, for the operator's next decision.
    pub recent: Option<RecentLoss>,
    /// Hashes of the shard files by shard number.
    pub shards: BTreeMap<u8, Hash>,
}

/// How many resources of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counts {
    /// Realms.
    pub realms: u32,
    /// Key sets.
    pub keys: u32,
    /// Clients.
    pub clients: u32,
}

/// A mass deletion that is being held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShrinkGuard {
    /// When it was seen first.
    pub since: Timestamp,
    /// Realms that would go.
    pub realms: u32,
    /// Clients that would go.
    pub clients: u32,
    /// Whether a confirmation was there before the loss was, and therefore confirms nothing.
    pub spent_confirmation: bool,
}

/// What was withdrawn within a few minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecentLoss {
    /// When the first of it went.
    pub since: Timestamp,
    /// How many realms and clients were served then.
    pub of: u32,
    /// How many of them went.
    pub lost: u32,
}

/// A version of the auth server: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerVersion(pub u32, pub u32, pub u32);

impl ServerVersion {
    /// The version of this build.
    pub fn current() -> Self {
        env!("CARGO_PKG_VERSION").parse().unwrap_or(Self(0, 0, 0))
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for ServerVersion {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, ManifestError> {
        let release = text.split(['-', '+']).next().unwrap_or(text);
        let mut numbers = release.split('.').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Ok(Self(major, minor, patch)),
            _ => Err(ManifestError::Malformed),
        }
    }
}

impl Serialize for ServerVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServerVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What a server holds a manifest against.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The fleet that the server belongs to.
    pub fleet: &'a Fleet,
    /// The server's own version.
    pub server: ServerVersion,
    /// Position and content of what it serves now.
    pub held: Option<(Head, Hash)>,
}

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More than [`MANIFEST_BYTES`].
    #[error("manifest has {0} bytes, at most {MANIFEST_BYTES} are taken")]
    TooLarge(usize),
    /// Not a manifest.
    #[error("manifest is malformed")]
    Malformed,
    /// Written for another generation of software.
    #[error("manifest has schema {0}, this build reads {SCHEMA}")]
    UnsupportedSchema(u32),
    /// Another fleet's configuration.
    #[error("manifest belongs to fleet {found}, not {expected}")]
    WrongFleet {
        /// The fleet in the manifest.
        found: Fleet,
        /// The fleet that it should name.
        expected: Fleet,
    },
    /// The server must be upgraded first.
    #[error("manifest needs server version {needed} or later, this is {server}")]
    ServerTooOld {
        /// The oldest version that may serve it.
        needed: ServerVersion,
        /// The version of the server.
        server: ServerVersion,
    },
    /// Older than what is served.
    #[error("manifest at {offered} is older than {held}, which is served")]
    Replayed {
        /// Position of the manifest.
        offered: Head,
        /// Position of what is served.
        held: Head,
    },
    /// The position of what is served, with other content.
    #[error("manifest at {0} has other content than what is served from that position")]
    Conflicting(Head),
    /// No resource at all, and nobody said that this is meant.
    #[error("manifest is empty without being marked so")]
    UnmarkedEmpty,
    /// Marked empty, with resources.
    #[error("manifest is marked empty but has resources")]
    MarkedEmpty,
}

impl ManifestError {
    /// A short name for answers and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "TooLarge",
            Self::Malformed => "Malformed",
            Self::UnsupportedSchema(_) => "UnsupportedSchema",
            Self::WrongFleet { .. } => "WrongFleet",
            Self::ServerTooOld { .. } => "ServerTooOld",
            Self::Replayed { .. } => "Replayed",
            Self::Conflicting(_) => "Conflicting",
            Self::UnmarkedEmpty => "UnmarkedEmpty",
            Self::MarkedEmpty => "MarkedEmpty",
        }
    }
}

impl Manifest {
    /// The document.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a document of unknown origin. Whether it may be served is for [`Manifest::check`] to say.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        /// Read first, because another schema may have other fields.
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        if bytes.len() > MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        let Schema { schema } = serde_json::from_slice(bytes).map_err(|_| ManifestError::Malformed)?;
        if schema != SCHEMA {
            return Err(ManifestError::UnsupportedSchema(schema));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|_| ManifestError::Malformed)?;
        if manifest.shards.keys().any(|number| *number >= SHARD_COUNT) {
            return Err(ManifestError::Malformed);
        }
        match (manifest.counts == Counts::default(), manifest.empty) {
            (true, false) => Err(ManifestError::UnmarkedEmpty),
            (false, true) => Err(ManifestError::MarkedEmpty),
            _ => Ok(manifest),
        }
    }

    /// Whether a server may serve this: its own fleet, new enough itself, and not older than what it serves.
    pub fn check(&self, trust: &Trust<'_>) -> Result<(), ManifestError> {
        if self.fleet != *trust.fleet {
            return Err(ManifestError::WrongFleet {
                found: self.fleet.clone(),
                expected: trust.fleet.clone(),
            });
        }
        if trust.server < self.minimum_server {
            return Err(ManifestError::ServerTooOld {
                needed: self.minimum_server,
                server: trust.server,
            });
        }
        match trust.held {
            Some((held, _)) if self.head < held => Err(ManifestError::Replayed {
                offered: self.head,
                held,
            }),
            Some((held, content)) if self.head == held && self.content != content => {
                Err(ManifestError::Conflicting(held))
            }
            _ => Ok(()),
        }
    }
}
