//! Identifiers, one type each, so that none can stand in for another.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identifier (UUIDv7, RFC 9562 §5.7) from the moment `now` and the randomness of `rng`.
            pub fn generate(now: Timestamp, rng: &mut (impl rand::CryptoRng + ?Sized)) -> Self {
                Self(uuid_v7(now, rng))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id!(
    /// A realm. Derived from its issuer ([`RealmId::of_issuer`]), so that it survives deletion and re-creation.
    RealmId
);
uuid_id!(
    /// A person; the `sub` of tokens with public subjects.
    PersonId
);
uuid_id!(
    /// A browser session (`sid`).
    SessionId
);
uuid_id!(
    /// A grant: everything issued from one authorization code carries its id.
    GrantId
);
uuid_id!(
    /// A refresh token family: one row, one lineage of rotated tokens.
    FamilyId
);
uuid_id!(
    /// One token or single-use value (`jti`).
    TokenId
);
uuid_id!(
    /// One login in progress; the session it ends in names it.
    FlowId
);
uuid_id!(
    /// One HTTP request, for telling a server's own retry of a statement from a replay.
    RequestId
);

impl RealmId {
    /// The realm id of an issuer: UUIDv5 of its URL (RFC 9562 §5.5).
    pub fn of_issuer(issuer: &str) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, issuer.as_bytes()))
    }
}

fn uuid_v7(now: Timestamp, rng: &mut (impl rand::CryptoRng + ?Sized)) -> Uuid {
    let mut random = [0_u8; 10];
    rng.fill_bytes(&mut random);
    let millis = u64::try_from(now.unix_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}
