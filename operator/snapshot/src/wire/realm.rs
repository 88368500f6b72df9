//! Wire form of a realm.

use std::collections::BTreeMap;
use std::sync::Arc;

use oidc::config;
use oidc::id::RealmId;
use oidc::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ResourceError, WireLocalized, WireLogo, WireTokenRules, all, check, is_https, is_line, is_uri, lifetime, millis,
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Realm {
    id: RealmId,
    name: String,
    issuer: String,
    tokens: WireTokenRules,
    sessions: Sessions,
    scopes: BTreeMap<String, Scope>,
    audiences: Arc<[String]>,
    login: Login,
    branding: Branding,
    locales: Arc<[String]>,
    not_before: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sessions {
    lifetime_millis: u64,
    idle_millis: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scope {
    description: Option<WireLocalized>,
    claims: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Login {
    identifiers: Vec<Identifier>,
    max_attempts: u32,
    attempt_window_millis: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Identifier {
    Username,
    Email,
    Phone,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Branding {
    display_name: String,
    logo: Option<WireLogo>,
    primary: Option<[u8; 3]>,
    privacy_uri: Option<String>,
    terms_uri: Option<String>,
    support_uri: Option<String>,
}

impl From<&config::Realm> for Realm {
    fn from(realm: &config::Realm) -> Self {
        let config::Realm {
            id,
            name,
            issuer,
            tokens,
            sessions,
            scopes,
            audiences,
            login,
            branding,
            locales,
            not_before,
        } = realm;
        let config::SessionRules { lifetime, idle } = *sessions;
        Self {
            id: *id,
            name: name.clone(),
            issuer: issuer.as_str().to_owned(),
            tokens: tokens.into(),
            sessions: Sessions {
                lifetime_millis: millis(lifetime),
                idle_millis: millis(idle),
            },
            scopes: scopes
                .iter()
                .map(|(name, scope)| (name.clone(), scope.into()))
                .collect(),
            audiences: audiences.clone(),
            login: login.into(),
            branding: branding.into(),
            locales: locales.clone(),
            not_before: *not_before,
        }
    }
}

impl TryFrom<Realm> for config::Realm {
    type Error = ResourceError;

    fn try_from(wire: Realm) -> Result<Self, ResourceError> {
        let Realm {
            id,
            name,
            issuer,
            tokens,
            sessions,
            scopes,
            audiences,
            login,
            branding,
            locales,
            not_before,
        } = wire;
        let issuer = config::Issuer::parse(&issuer).map_err(|_| ResourceError::Invalid { field: "realm.issuer" })?;
        check(id == RealmId::of_issuer(issuer.as_str()), "realm.id")?;
        check(is_line(&name, 512), "realm.name")?;
        check(scopes.contains_key("openid"), "realm.scopes")?;
        check(scopes.keys().all(|name| is_scope_token(name)), "realm.scopes")?;
        all(
            &audiences,
            |audience| is_line(audience, 2048) && !audience.is_empty(),
            "realm.audiences",
        )?;
        check(!locales.is_empty(), "realm.locales")?;
        all(
            &locales,
            |locale| is_line(locale, 64) && !locale.is_empty(),
            "realm.locales",
        )?;
        Ok(Self {
            id,
            name,
            issuer,
            tokens: tokens.try_into()?,
            sessions: sessions.try_into()?,
            scopes: Arc::new(scopes.into_iter().map(|(name, scope)| (name, scope.into())).collect()),
            audiences,
            login: login.try_into()?,
            branding: branding.try_into()?,
            locales,
            not_before,
        })
    }
}

/// Whether `name` can name a scope (`scope-token`, RFC 6749 §3.3).
pub(super) fn is_scope_token(name: &str) -> bool {
    let fits = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    (1..=256).contains(&name.len()) && name.bytes().all(fits)
}

impl TryFrom<Sessions> for config::SessionRules {
    type Error = ResourceError;

    fn try_from(wire: Sessions) -> Result<Self, ResourceError> {
        let Sessions {
            lifetime_millis,
            idle_millis,
        } = wire;
        Ok(Self {
            lifetime: lifetime(lifetime_millis, "sessions.lifetime")?,
            idle: lifetime(idle_millis, "sessions.idle")?,
        })
    }
}

impl From<&config::Scope> for Scope {
    fn from(scope: &config::Scope) -> Self {
        let config::Scope { description, claims } = scope;
        Self {
            description: description.as_ref().map(Into::into),
            claims: claims.clone(),
        }
    }
}

impl From<Scope> for config::Scope {
    fn from(wire: Scope) -> Self {
        let Scope { description, claims } = wire;
        Self {
            description: description.map(Into::into),
            claims,
        }
    }
}

impl From<&config::LoginRules> for Login {
    fn from(rules: &config::LoginRules) -> Self {
        let config::LoginRules {
            identifiers,
            max_attempts,
            attempt_window,
        } = rules;
        Self {
            identifiers: identifiers.iter().map(|kind| (*kind).into()).collect(),
            max_attempts: *max_attempts,
            attempt_window_millis: millis(*attempt_window),
        }
    }
}

impl TryFrom<Login> for config::LoginRules {
    type Error = ResourceError;

    fn try_from(wire: Login) -> Result<Self, ResourceError> {
        let Login {
            identifiers,
            max_attempts,
            attempt_window_millis,
        } = wire;
        check((1..=3).contains(&identifiers.len()), "login.identifiers")?;
        check(max_attempts > 0, "login.maxAttempts")?;
        Ok(Self {
            identifiers: identifiers.into_iter().map(Into::into).collect(),
            max_attempts,
            attempt_window: lifetime(attempt_window_millis, "login.attemptWindow")?,
        })
    }
}

impl From<config::IdentifierKind> for Identifier {
    fn from(kind: config::IdentifierKind) -> Self {
        match kind {
            config::IdentifierKind::Username => Self::Username,
            config::IdentifierKind::Email => Self::Email,
            config::IdentifierKind::Phone => Self::Phone,
        }
    }
}

impl From<Identifier> for config::IdentifierKind {
    fn from(wire: Identifier) -> Self {
        match wire {
            Identifier::Username => Self::Username,
            Identifier::Email => Self::Email,
            Identifier::Phone => Self::Phone,
        }
    }
}

impl From<&config::Branding> for Branding {
    fn from(branding: &config::Branding) -> Self {
        let config::Branding {
            display_name,
            logo,
            primary,
            privacy_uri,
            terms_uri,
            support_uri,
        } = branding;
        Self {
            display_name: display_name.clone(),
            logo: logo.as_deref().map(Into::into),
            primary: *primary,
            privacy_uri: privacy_uri.clone(),
            terms_uri: terms_uri.clone(),
            support_uri: support_uri.clone(),
        }
    }
}

impl TryFrom<Branding> for config::Branding {
    type Error = ResourceError;

    fn try_from(wire: Branding) -> Result<Self, ResourceError> {
        let Branding {
            display_name,
            logo,
            primary,
            privacy_uri,
            terms_uri,
            support_uri,
        } = wire;
        check(is_line(&display_name, 512), "branding.displayName")?;
        check(privacy_uri.as_deref().is_none_or(is_https), "branding.privacyUri")?;
        check(terms_uri.as_deref().is_none_or(is_https), "branding.termsUri")?;
        let is_support = |uri: &str| is_https(uri) || (is_uri(uri) && uri.starts_with("mailto:"));
        check(support_uri.as_deref().is_none_or(is_support), "branding.supportUri")?;
        Ok(Self {
            display_name,
            logo: logo.map(config::Logo::try_from).transpose()?.map(Box::new),
            primary,
            privacy_uri,
            terms_uri,
            support_uri,
        })
    }
}
