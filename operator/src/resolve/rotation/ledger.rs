//! What was issued to a Client, and how it is kept in a Secret.

use oidc::config::SecretHash;
use oidc::{Secret, Timestamp};
use serde::{Deserialize, Serialize};
use snapshot::Hash;

use crate::world::SecretObject;

/// Data key of the bookkeeping.
const LEDGER: &str = "ledger.json";

/// What was issued, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// How many secrets were issued.
    pub(crate) issued: i64,
    /// Name of the Secret that last showed one.
    #[serde(default)]
    pub(crate) name: String,
    /// The value of the annotation that last asked for a new secret.
    #[serde(default)]
    pub(crate) rotate: Option<String>,
    /// The value of the annotation that last made every secret invalid.
    #[serde(default)]
    pub(crate) revoke: Option<String>,
    /// What servers accept.
    pub(crate) entries: Vec<Entry>,
}

/// A client secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Counts the secrets; 0 for one that was issued before the ledger.
    pub(crate) revision: i64,
    #[serde(with = "hex")]
    pub(crate) hash: SecretHash,
    pub(crate) created: Timestamp,
    /// Since when the Secret beside the Client shows it, or showed it.
    pub(crate) shown: Option<Timestamp>,
    /// Until when it is valid, once another one is shown.
    pub(crate) until: Option<Timestamp>,
    /// The secret itself, kept beside the bookkeeping as long as it may be shown.
    #[serde(skip)]
    pub(crate) value: Option<Secret<Vec<u8>>>,
}

impl Entry {
    /// A secret that servers accept and nobody else knows of.
    pub(super) fn unknown(hash: SecretHash, now: Timestamp) -> Self {
        Self {
            revision: 0,
            hash,
            created: now,
            shown: Some(now),
            until: None,
            value: None,
        }
    }
}

impl Ledger {
    /// Enters a new secret.
    pub(crate) fn enter(&mut self, value: Vec<u8>, now: Timestamp) {
        self.issued += 1;
        self.entries.push(Entry {
            revision: self.issued,
            hash: hash(&value),
            created: now,
            shown: None,
            until: None,
            value: Some(Secret::new(value)),
        });
    }

    /// Whether the latest secret was not seen in the Secret beside the Client yet.
    pub(crate) fn is_staged(&self) -> bool {
        self.entries.last().is_some_and(|latest| latest.shown.is_none())
    }

    /// The ledger that a Secret holds; `None` when there is none that can be read.
    pub(crate) fn read(secret: &SecretObject) -> Option<Self> {
        let mut ledger: Self = serde_json::from_slice(secret.data.get(LEDGER)?.expose()).ok()?;
        for entry in &mut ledger.entries {
            let value = secret.data.get(&value_key(entry.revision));
            entry.value = value.filter(|value| hash(value.expose()) == entry.hash).cloned();
        }
        Some(ledger)
    }

    /// Writes the ledger into a Secret.
    pub(crate) fn write(&self, secret: &mut SecretObject) {
        let json = serde_json::to_vec(self).unwrap_or_default();
        secret.data.clear();
        secret.data.insert(LEDGER.to_owned(), Secret::new(json));
        for entry in &self.entries {
            if let Some(value) = &entry.value {
                secret.data.insert(value_key(entry.revision), value.clone());
            }
        }
    }
}

fn value_key(revision: i64) -> String {
    format!("client-secret.{revision}")
}

/// Servers keep a plain hash: a secret has 256 bits.
pub(crate) fn hash(secret: &[u8]) -> SecretHash {
    SecretHash(*Hash::of(secret).as_bytes())
}

mod hex {
    use oidc::config::SecretHash;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use snapshot::Hash;

    pub(super) fn serialize<S: Serializer>(hash: &SecretHash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Hash::from_bytes(hash.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretHash, D::Error> {
        Ok(SecretHash(*Hash::deserialize(deserializer)?.as_bytes()))
    }
}
