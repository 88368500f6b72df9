//! Authorization codes (RFC 6749 §4.1.2): sealed values, so that nothing is written when one is issued.
//!
//! The authorization endpoint seals them; the token endpoint opens them, checks everything it can, and only then lets
//! the store spend them.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::claims::ClaimsRequest;
use crate::context::Randomness;
use crate::id::{GrantId, PersonId, SessionId, TokenId};
use crate::keys::Keys;
use crate::seal::{OpenError, Purpose, SealError};

/// What an authorization code says. The names on the wire are short, because codes travel in URLs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationCode {
    /// Unique among codes; what is spent.
    #[serde(rename = "j")]
    pub id: TokenId,
    /// Everything issued for the code carries it.
    #[serde(rename = "g")]
    pub grant: GrantId,
    /// The client it was issued to.
    #[serde(rename = "c")]
    pub client_id: String,
    /// The `redirect_uri` of the authorization request, exactly; `None` when the request left it out.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// When it was issued.
    #[serde(rename = "i")]
    pub issued_at: Timestamp,
    /// When it ends.
    #[serde(rename = "x")]
    pub expires_at: Timestamp,
    /// Who granted.
    #[serde(rename = "p")]
    pub person: PersonId,
    /// The person's epoch at that time.
    #[serde(rename = "e")]
    pub epoch: i32,
    /// The browser session.
    #[serde(rename = "s")]
    pub session: SessionId,
    /// How and when the person authenticated.
    #[serde(flatten)]
    pub authentication: Authentication,
    /// The scopes granted.
    #[serde(rename = "o")]
    pub scopes: Vec<String>,
    /// `nonce` of the request, for the ID token.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// `code_challenge` of the request; the method is always S256 (RFC 7636 §4.2).
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub code_challenge: Option<String>,
    /// `resource` parameters of the request (RFC 8707 §2.1), already allowed to the client.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// The `claims` parameter of the request.
    #[serde(rename = "q", default, skip_serializing_if = "ClaimsRequest::is_empty")]
    pub claims: ClaimsRequest,
}

/// How and when a person authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// `auth_time`.
    #[serde(rename = "t")]
    pub time: Timestamp,
    /// `amr` (RFC 8176).
    #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// `acr`, when one was reached.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

impl AuthorizationCode {
    /// The text to hand out.
    pub fn seal(&self, keys: &Keys, rng: Randomness<'_>) -> Result<String, SealError> {
        keys.sealer().seal(Purpose::AuthorizationCode, self, rng)
    }

    /// What [`AuthorizationCode::seal`] sealed in the same realm. Nothing else is checked.
    pub fn open(keys: &Keys, code: &str) -> Result<Self, OpenError> {
        keys.sealer().open(Purpose::AuthorizationCode, code)
    }
}
