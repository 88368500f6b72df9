//! Resources for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use oidc::Secret;
use oidc::Timestamp;
use oidc::config::{
    AccessTokenFormat, Branding, Client, ClientAuthentication, ClientTokens, ConsentRule, GrantType, IdentifierKind,
    Issuer, KeySet, KeyStage, Localized, LoginRules, Logo, Realm, Resource, Scope, SealingKey, SecretHash,
    SessionRules, SignatureAlgorithm, SigningKey, TokenRules,
};
use oidc::id::RealmId;

use crate::next::{Inputs, Step};
use crate::{Artefact, ServerVersion};

pub(crate) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

pub(crate) const ISSUER: &str = "https://login.example.com";

pub(crate) fn token_rules() -> TokenRules {
    TokenRules {
        code: Duration::from_mins(1),
        access: Duration::from_mins(10),
        id: Duration::from_mins(10),
        refresh: Duration::from_hours(720),
        refresh_idle: Duration::from_hours(168),
        refresh_leeway: Duration::from_secs(30),
    }
}

pub(crate) fn realm() -> Realm {
    let description = Localized {
        text: "Your name".to_owned(),
        translations: BTreeMap::from([("de".to_owned(), "Ihr Name".to_owned())]),
    };
    let scope = |description, claims: &[&str]| Scope {
        description,
        claims: claims.iter().map(ToString::to_string).collect(),
    };
    Realm {
        id: RealmId::of_issuer(ISSUER),
        name: "login/main".to_owned(),
        issuer: Issuer::parse(ISSUER).unwrap(),
        tokens: token_rules(),
        sessions: SessionRules {
            lifetime: Duration::from_hours(12),
            idle: Duration::from_hours(1),
        },
        scopes: BTreeMap::from([
            ("openid".to_owned(), scope(None, &["sub"])),
            ("profile".to_owned(), scope(Some(description), &["name"])),
        ])
        .into(),
        audiences: ["https://api.example.com".to_owned()].into(),
        login: LoginRules {
            identifiers: vec![IdentifierKind::Username, IdentifierKind::Email],
            max_attempts: 10,
            attempt_window: Duration::from_mins(15),
        },
        branding: Branding {
            display_name: "Example".to_owned(),
            logo: Some(Box::new(Logo {
                media_type: "image/png".to_owned(),
                bytes: vec![1, 2, 3].into(),
            })),
            primary: Some([1, 2, 3]),
            privacy_uri: Some("https://example.com/privacy".to_owned()),
            terms_uri: None,
            support_uri: Some("mailto:help@example.com".to_owned()),
        },
        locales: ["en".to_owned(), "de".to_owned()].into(),
        not_before: Some(NOW),
    }
}

pub(crate) fn keys() -> KeySet {
    KeySet {
        realm: RealmId::of_issuer(ISSUER),
        signing: vec![SigningKey {
            kid: "key-1".to_owned(),
            algorithm: SignatureAlgorithm::Es256,
            stage: KeyStage::Active,
            private: Some(Secret::new(vec![7; 40])),
            public: vec![8; 40],
        }],
        sealing: vec![SealingKey {
            kid: "seal-001".to_owned(),
            stage: KeyStage::Active,
            secret: Secret::new([9; 32]),
        }],
    }
}

pub(crate) fn client(client_id: &str, display_name: &str) -> Client {
    Client {
        realm: RealmId::of_issuer(ISSUER),
        client_id: client_id.to_owned(),
        name: "shop/web".to_owned(),
        display_name: display_name.to_owned(),
        logo: None,
        policy_uri: None,
        tos_uri: Some("https://example.com/terms".to_owned()),
        authentication: ClientAuthentication::SecretBasic(vec![SecretHash([5; 32])]),
        redirect_uris: ["https://shop.example.com/callback".to_owned()].into(),
        post_logout_redirect_uris: Box::default(),
        allowed_origins: ["https://shop.example.com".to_owned()].into(),
        grant_types: [GrantType::AuthorizationCode, GrantType::RefreshToken].into(),
        scopes: ["openid".to_owned(), "profile".to_owned()].into(),
        default_scopes: ["openid".to_owned()].into(),
        audiences: Arc::default(),
        pkce_required: true,
        tokens: ClientTokens {
            format: AccessTokenFormat::Jwt,
            lifetimes: token_rules(),
            id_token_algorithm: SignatureAlgorithm::Es256,
            access_token_algorithm: SignatureAlgorithm::EdDsa,
            rotate_refresh: true,
        }
        .into(),
        consent: ConsentRule::Remember,
    }
}

pub(crate) fn inputs(desired: Vec<Resource>) -> Inputs {
    Inputs {
        minimum_server: ServerVersion(0, 1, 0),
        ..Inputs::new("login/main".parse().unwrap(), desired, NOW)
    }
}

/// The step to `desired` when no server says anything.
pub(crate) fn step(previous: Option<&Artefact>, desired: Vec<Resource>) -> Step {
    Artefact::next(previous, inputs(desired))
}
