//! Which fleet a configuration, a certificate or a token belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The URI name in an operator's own certificate.
pub const OPERATOR_URI: &str = "spiffe://nauthera/operator";

/// The DNS name in an operator's own certificate: what servers expect whatever address they dial.
pub const OPERATOR_NAME: &str = "operator.nauthera.internal";

const PREFIX: &str = "spiffe://nauthera/ns/";

/// The identity of a fleet: namespace and name of its AuthServer. Both are DNS names, so that they fit in a URI, a
/// path and a file name as they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fleet {
    namespace: Box<str>,
    name: Box<str>,
}

/// Why a text names no fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fleet: expected NAMESPACE/NAME in lower-case letters, digits, hyphens and dots")]
pub struct FleetError;

impl Fleet {
    /// The fleet of that AuthServer.
    pub fn new(namespace: &str, name: &str) -> Result<Self, FleetError> {
        if is_dns_name(namespace, 63) && is_dns_name(name, 253) {
            Ok(Self {
                namespace: namespace.into(),
                name: name.into(),
            })
        } else {
            Err(FleetError)
        }
    }

    /// Namespace of the AuthServer.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Name of the AuthServer.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URI subject alternative name of its servers' certificates.
    pub fn uri(&self) -> String {
        format!("{PREFIX}{}/authserver/{}", self.namespace, self.name)
    }

    /// The fleet that [`Fleet::uri`] names.
    pub fn from_uri(uri: &str) -> Result<Self, FleetError> {
        let (namespace, name) = uri
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once("/authserver/"))
            .ok_or(FleetError)?;
        Self::new(namespace, name)
    }
}

fn is_dns_name(text: &str, longest: usize) -> bool {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let outer = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    let bytes = text.as_bytes();
    bytes.len() <= longest && outer(bytes.first()) && outer(bytes.last()) && bytes.iter().all(|byte| inner(*byte))
}

impl fmt::Display for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for Fleet {
    type Err = FleetError;

    fn from_str(text: &str) -> Result<Self, FleetError> {
        let (namespace, name) = text.split_once('/').ok_or(FleetError)?;
        Self::new(namespace, name)
    }
}

impl Serialize for Fleet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fleet {
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
    fn a_fleet_is_read_from_its_uri_and_from_nothing_like_it() {
        let fleet = Fleet::new("login", "main.eu").unwrap();
        assert_eq!(fleet.uri(), "spiffe://nauthera/ns/login/authserver/main.eu");
        assert_eq!(Fleet::from_uri(&fleet.uri()), Ok(fleet.clone()));
        assert_eq!(fleet.to_string().parse(), Ok(fleet));
        for wrong in [
            OPERATOR_URI,
            "spiffe://nauthera/ns/login/authserver/",
            "spiffe://nauthera/ns//authserver/main",
            "spiffe://nauthera/ns/login/authserver/main/x",
            "spiffe://nauthera/ns/Login/authserver/main",
            "spiffe://other/ns/login/authserver/main",
        ] {
            assert_eq!(Fleet::from_uri(wrong), Err(FleetError), "{wrong}");
        }
    }
}
