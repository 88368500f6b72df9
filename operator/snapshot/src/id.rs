//! Names of resources.

use std::fmt;
use std::str::FromStr;

use oidc::config::Resource;
use oidc::id::RealmId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::Hash;
use crate::shard::SHARD_COUNT;

/// Names one resource: `realm/<uuid>`, `keys/<uuid>` or `client/<uuid>/<client_id>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceId {
    /// The rules of a realm.
    Realm(RealmId),
    /// The keys of a realm.
    Keys(RealmId),
    /// A client of a realm, by `client_id`.
    Client(RealmId, Box<str>),
}

/// A text that names no resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a resource id")]
pub struct ResourceIdError;

impl ResourceId {
    /// The name of `resource`.
    pub fn of(resource: &Resource) -> Self {
        match resource {
            Resource::Realm(realm) => Self::Realm(realm.id),
            Resource::Keys(keys) => Self::Keys(keys.realm),
            Resource::Client(client) => Self::Client(client.realm, client.client_id.as_str().into()),
        }
    }

    /// The realm that it is or belongs to.
    pub fn realm(&self) -> RealmId {
        match self {
            Self::Realm(realm) | Self::Keys(realm) | Self::Client(realm, _) => *realm,
        }
    }

    /// The shard that it lies in: fixed by the name alone.
    pub fn shard(&self) -> u8 {
        let [first, ..] = *Hash::of(self.to_string().as_bytes()).as_bytes();
        first % SHARD_COUNT
    }
}

/// RFC 6749 appendix A.1 (`VSCHAR`), bounded.
pub(crate) fn is_client_id(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realm(realm) => write!(f, "realm/{realm}"),
            Self::Keys(realm) => write!(f, "keys/{realm}"),
            Self::Client(realm, client_id) => write!(f, "client/{realm}/{client_id}"),
        }
    }
}

impl FromStr for ResourceId {
    type Err = ResourceIdError;

    fn from_str(text: &str) -> Result<Self, ResourceIdError> {
        let (kind, rest) = text.split_once('/').ok_or(ResourceIdError)?;
        let id = match kind {
            "realm" => Self::Realm(realm(rest)?),
            "keys" => Self::Keys(realm(rest)?),
            "client" => {
                let (uuid, client_id) = rest.split_once('/').ok_or(ResourceIdError)?;
                if !is_client_id(client_id) {
                    return Err(ResourceIdError);
                }
                Self::Client(realm(uuid)?, client_id.into())
            }
            _ => return Err(ResourceIdError),
        };
        Ok(id)
    }
}

/// One text for one realm: other spellings of a UUID (upper case, braces, no hyphens) are not taken.
fn realm(text: &str) -> Result<RealmId, ResourceIdError> {
    let id: RealmId = text.parse().map_err(|_| ResourceIdError)?;
    (id.to_string() == text).then_some(id).ok_or(ResourceIdError)
}

impl Serialize for ResourceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResourceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_no_resource_has_two_names() {
        let realm = RealmId::of_issuer("https://login.example.com");
        for id in [
            ResourceId::Realm(realm),
            ResourceId::Keys(realm),
            ResourceId::Client(realm, "shop.web/with a slash".into()),
        ] {
            assert_eq!(id.to_string().parse(), Ok(id.clone()));
            assert!(id.shard() < SHARD_COUNT);
        }
        let upper = realm.to_string().to_uppercase();
        let wrong = [
            format!("realm/{upper}"),
            format!("realm/{}", realm.0.as_simple()),
            format!("client/{realm}/"),
            format!("client/{realm}"),
            format!("client/{realm}/é"),
            format!("client/{realm}/{}", "x".repeat(257)),
            format!("role/{realm}"),
            "realm".to_owned(),
        ];
        for text in wrong {
            assert_eq!(text.parse::<ResourceId>(), Err(ResourceIdError), "{text}");
        }
    }
}
