//! Access tokens (RFC 9068): their claims, and whether one that came back is still good.
//!
//! A JWT and an opaque token say the same; an opaque one is sealed instead of signed. Neither holds profile data.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::audience::Audience;
use crate::context::Context;
use crate::id::{FamilyId, GrantId, PersonId, SessionId, TokenId};
use crate::jose::TokenType;
use crate::revocation::Revoked;
use crate::seal::Purpose;

/// The claims of an access token (RFC 9068 §2.2), and what revoking it needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Members")]
pub(crate) struct AccessToken {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: Audience,
    pub(crate) client_id: String,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) jti: TokenId,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) scope: String,
    /// Only in tokens about people.
    #[serde(flatten)]
    pub(crate) person: Option<PersonClaims>,
}

/// What a token about a person says in addition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PersonClaims {
    pub(crate) auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acr: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) amr: Vec<String>,
    /// Absent in tokens that outlive the session (`offline_access`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sid: Option<SessionId>,
    /// The grant it was issued from.
    #[serde(rename = "gid")]
    pub(crate) grant: GrantId,
    /// The refresh family it was issued with.
    #[serde(rename = "fid", skip_serializing_if = "Option::is_none")]
    pub(crate) family: Option<FamilyId>,
    /// The person's epoch.
    #[serde(rename = "epoch")]
    pub(crate) epoch: i32,
    /// Names of claims asked for by the `claims` parameter, for the UserInfo endpoint.
    #[serde(rename = "userinfo_claims", skip_serializing_if = "Vec::is_empty")]
    pub(crate) userinfo_claims: Vec<String>,
}

/// The members of a token as they come back: read in one pass, which a flattened struct is not.
#[derive(Deserialize)]
struct Members {
    iss: String,
    sub: String,
    aud: Audience,
    client_id: String,
    exp: i64,
    iat: i64,
    jti: TokenId,
    #[serde(default)]
    scope: String,
    auth_time: Option<i64>,
    acr: Option<String>,
    #[serde(default)]
    amr: Vec<String>,
    sid: Option<SessionId>,
    gid: Option<GrantId>,
    fid: Option<FamilyId>,
    epoch: Option<i32>,
    #[serde(default)]
    userinfo_claims: Vec<String>,
}

impl From<Members> for AccessToken {
    fn from(members: Members) -> Self {
        let Members {
            iss,
            sub,
            aud,
            client_id,
            exp,
            iat,
            jti,
            scope,
            auth_time,
            acr,
            amr,
            sid,
            gid,
            fid,
            epoch,
            userinfo_claims,
        } = members;
        let person = match (auth_time, gid, epoch) {
            (Some(auth_time), Some(grant), Some(epoch)) => Some(PersonClaims {
                auth_time,
                acr,
                amr,
                sid,
                grant,
                family: fid,
                epoch,
                userinfo_claims,
            }),
            _ => None,
        };
        Self {
            iss,
            sub,
            aud,
            client_id,
            exp,
            iat,
            jti,
            scope,
            person,
        }
    }
}

impl AccessToken {
    /// A token that this realm issued. It may have expired or been revoked since.
    pub(crate) fn decode(context: &Context<'_>, token: &str) -> Option<Arc<Self>> {
        let keys = context.keys();
        let claims = if token.contains('.') {
            context.remembered.verified(keys, token, || {
                let payload = keys.verify(TokenType::AccessToken, token).ok()?;
                serde_json::from_slice(&payload).ok()
            })?
        } else {
            Arc::new(keys.sealer().open(Purpose::AccessToken, token).ok()?)
        };
        (claims.iss == context.issuer()).then_some(claims)
    }

    /// Whether it may be used now, as far as this replica knows. A token ends with the client that it was issued to.
    pub(crate) fn is_live(&self, context: &Context<'_>) -> bool {
        let authenticated_at = self.person.as_ref().map(|person| person.auth_time);
        let predates = [Some(self.iat), authenticated_at]
            .into_iter()
            .flatten()
            .any(|seconds| context.predates_realm(Timestamp::from_unix_seconds(seconds)));
        let has_client = context.served.client(&self.client_id).is_some();
        self.expires_at() > context.now
            && has_client
            && !predates
            && !context.revocations.any_revoked(self.revocable_by())
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.exp)
    }

    /// Whose it is, when it is about a person.
    pub(crate) fn person_id(&self) -> Option<PersonId> {
        self.person.as_ref().and_then(|_| self.sub.parse().ok())
    }

    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|granted| granted == scope)
    }

    fn revocable_by(&self) -> impl Iterator<Item = Revoked> {
        let person = self.person.as_ref();
        let epoch = self.person_id().zip(person).map(|(id, claims)| Revoked::Person {
            person: id,
            epoch: claims.epoch,
        });
        let grant = person.map(|claims| Revoked::Grant(claims.grant));
        let family = person.and_then(|claims| claims.family).map(Revoked::Family);
        let session = person.and_then(|claims| claims.sid).map(Revoked::Session);
        [Some(Revoked::Token(self.jti)), epoch, grant, family, session]
            .into_iter()
            .flatten()
    }
}
