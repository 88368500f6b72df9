//! Canonical bytes of a resource: JSON written from structs in declared order, so that equal values have equal bytes.
//!
//! The structs here mirror [`oidc::config`] and are converted by destructuring both ways: a new field does not compile
//! until it is carried. Decoding trusts nothing: what a compiler would never have written is an error.

mod client;
mod keys;
mod realm;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use oidc::config::{Localized, Logo, Resource, SignatureAlgorithm, TokenRules};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::Hash;
use crate::id::ResourceId;

pub use client::ClientSecrets;

/// Largest resource, bytes of its canonical form.
pub const RESOURCE_BYTES: usize = 256 * 1024;

/// Canonical bytes of one resource with their hash. They may hold private keys: `Debug` shows the hash only.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    bytes: Arc<[u8]>,
    version: Hash,
}

impl Payload {
    /// Wraps bytes of unknown content; [`decode`] judges them.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let version = Hash::of(&bytes);
        Self { bytes, version }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes: the version of the resource.
    pub fn version(&self) -> Hash {
        self.version
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes, {})", self.bytes.len(), self.version)
    }
}

/// Why bytes are not a resource. The texts never quote what the bytes say.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// More than [`RESOURCE_BYTES`].
    #[error("resource has {0} bytes, at most {RESOURCE_BYTES} are taken")]
    TooLarge(usize),
    /// Not JSON of the expected shape.
    #[error("resource is malformed near byte {column}")]
    Malformed {
        /// Where parsing stopped.
        column: usize,
    },
    /// A value outside what the field allows.
    #[error("{field} is not valid")]
    Invalid {
        /// The field.
        field: &'static str,
    },
    /// The bytes are another resource than the one they were delivered as.
    #[error("resource carries the content of {0}")]
    WrongId(ResourceId),
}

/// The canonical bytes of `resource`.
pub fn encode(resource: &Resource) -> Payload {
    let wire = match resource {
        Resource::Realm(value) => Wire::Realm(realm::Realm::from(value)),
        Resource::Keys(value) => Wire::Keys(keys::Keys::from(value)),
        Resource::Client(value) => Wire::Client(client::Client::from(value)),
    };
    // Writing a struct of strings and numbers to memory cannot fail; were it to, decoding refuses the empty bytes.
    Payload::new(serde_json::to_vec(&wire).unwrap_or_default())
}

/// The resource that `payload` is, proven to be valid and to be `id`.
pub fn decode(id: &ResourceId, payload: &Payload) -> Result<Resource, ResourceError> {
    let bytes = payload.bytes();
    if bytes.len() > RESOURCE_BYTES {
        return Err(ResourceError::TooLarge(bytes.len()));
    }
    let wire: Wire =
        serde_json::from_slice(bytes).map_err(|error| ResourceError::Malformed { column: error.column() })?;
    let resource = match wire {
        Wire::Realm(wire) => Resource::Realm(wire.try_into()?),
        Wire::Keys(wire) => Resource::Keys(wire.try_into()?),
        Wire::Client(wire) => Resource::Client(wire.try_into()?),
    };
    let found = ResourceId::of(&resource);
    if found == *id {
        Ok(resource)
    } else {
        Err(ResourceError::WrongId(found))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Wire {
    Realm(realm::Realm),
    Keys(keys::Keys),
    Client(client::Client),
}

fn check(holds: bool, field: &'static str) -> Result<(), ResourceError> {
    if holds {
        Ok(())
    } else {
        Err(ResourceError::Invalid { field })
    }
}

/// One line of text: bounded, no control characters.
fn is_line(text: &str, longest: usize) -> bool {
    text.len() <= longest && !text.chars().any(char::is_control)
}

/// A URI reference as far as this crate judges it: bounded, printable ASCII without spaces, with a scheme.
fn is_uri(text: &str) -> bool {
    text.len() <= 2048 && text.contains(':') && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
}

fn is_https(text: &str) -> bool {
    is_uri(text) && text.starts_with("https://")
}

fn all<T>(items: &[T], holds: impl Fn(&T) -> bool, field: &'static str) -> Result<(), ResourceError> {
    check(items.iter().all(holds), field)
}

/// Binary data as base64 text.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64
            .decode(text)
            .map(Self)
            .map_err(|_| serde::de::Error::custom("not base64"))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireLogo {
    media_type: String,
    bytes: Bytes,
}

impl From<&Logo> for WireLogo {
    fn from(logo: &Logo) -> Self {
        let Logo { media_type, bytes } = logo;
        Self {
            media_type: media_type.clone(),
            bytes: Bytes(bytes.to_vec()),
        }
    }
}

impl TryFrom<WireLogo> for Logo {
    type Error = ResourceError;

    fn try_from(wire: WireLogo) -> Result<Self, ResourceError> {
        let WireLogo { media_type, bytes } = wire;
        let known = ["image/svg+xml", "image/png", "image/webp", "image/jpeg"];
        check(known.contains(&media_type.as_str()), "logo.mediaType")?;
        check(!bytes.0.is_empty(), "logo.bytes")?;
        Ok(Self {
            media_type,
            bytes: bytes.0.into(),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireLocalized {
    text: String,
    translations: std::collections::BTreeMap<String, String>,
}

impl From<&Localized> for WireLocalized {
    fn from(value: &Localized) -> Self {
        let Localized { text, translations } = value.clone();
        Self { text, translations }
    }
}

impl From<WireLocalized> for Localized {
    fn from(wire: WireLocalized) -> Self {
        let WireLocalized { text, translations } = wire;
        Self { text, translations }
    }
}

/// Milliseconds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireTokenRules {
    code: u64,
    access: u64,
    id: u64,
    refresh: u64,
    refresh_idle: u64,
    refresh_leeway: u64,
}

impl From<&TokenRules> for WireTokenRules {
    fn from(rules: &TokenRules) -> Self {
        let TokenRules {
            code,
            access,
            id,
            refresh,
            refresh_idle,
            refresh_leeway,
        } = *rules;
        Self {
            code: millis(code),
            access: millis(access),
            id: millis(id),
            refresh: millis(refresh),
            refresh_idle: millis(refresh_idle),
            refresh_leeway: millis(refresh_leeway),
        }
    }
}

impl TryFrom<WireTokenRules> for TokenRules {
    type Error = ResourceError;

    fn try_from(wire: WireTokenRules) -> Result<Self, ResourceError> {
        let WireTokenRules {
            code,
            access,
            id,
            refresh,
            refresh_idle,
            refresh_leeway,
        } = wire;
        check(refresh_leeway <= LONGEST_MILLIS, "tokens.refreshLeeway")?;
        Ok(Self {
            code: lifetime(code, "tokens.code")?,
            access: lifetime(access, "tokens.access")?,
            id: lifetime(id, "tokens.id")?,
            refresh: lifetime(refresh, "tokens.refresh")?,
            refresh_idle: lifetime(refresh_idle, "tokens.refreshIdle")?,
            refresh_leeway: Duration::from_millis(refresh_leeway),
        })
    }
}

/// Ten years: beyond any lifetime that makes sense, far below what arithmetic on moments can hold.
const LONGEST_MILLIS: u64 = 3650 * 24 * 3600 * 1000;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A lifetime: more than nothing, at most ten years.
fn lifetime(millis: u64, field: &'static str) -> Result<Duration, ResourceError> {
    check((1..=LONGEST_MILLIS).contains(&millis), field)?;
    Ok(Duration::from_millis(millis))
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum WireAlgorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl From<SignatureAlgorithm> for WireAlgorithm {
    fn from(algorithm: SignatureAlgorithm) -> Self {
        match algorithm {
            SignatureAlgorithm::Es256 => Self::Es256,
            SignatureAlgorithm::Rs256 => Self::Rs256,
            SignatureAlgorithm::Ps256 => Self::Ps256,
            SignatureAlgorithm::EdDsa => Self::EdDsa,
        }
    }
}

impl From<WireAlgorithm> for SignatureAlgorithm {
    fn from(wire: WireAlgorithm) -> Self {
        match wire {
            WireAlgorithm::Es256 => Self::Es256,
            WireAlgorithm::Rs256 => Self::Rs256,
            WireAlgorithm::Ps256 => Self::Ps256,
            WireAlgorithm::EdDsa => Self::EdDsa,
        }
    }
}

#[cfg(test)]
mod tests;
