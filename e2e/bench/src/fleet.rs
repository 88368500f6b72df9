//! The configuration that is measured: realms, keys and clients as values, and the folder of shards made of them.
//!
//! The secrets are fixed and known: nothing here is ever reachable from outside this machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest;
use oidc::Timestamp;
use oidc::config::{
    AccessTokenFormat, Branding, Client, ClientAuthentication, ClientTokens, ConsentRule, GrantType, IdentifierKind,
    Issuer, KeySet, KeyStage, LoginRules, Realm, Resource, Scope, SealingKey, SecretHash, SessionRules,
    SignatureAlgorithm, SigningKey, TokenRules,
};
use oidc::id::RealmId;
use oidc::key_generation::{generate_sealing_key, generate_signing_key};
use snapshot::{Artefact, Fleet, Inputs};

/// The fleet of all measurements, as `--fleet` takes it.
pub const FLEET: &str = "bench/main";
/// The `redirect_uri` of every client.
pub const REDIRECT_URI: &str = "https://app.example/callback";

/// The lifetimes of a realm nobody changed, but for codes and tokens that outlive a run.
const LIFETIMES: TokenRules = TokenRules {
    code: Duration::from_mins(1),
    access: Duration::from_hours(1),
    id: Duration::from_mins(10),
    refresh: Duration::from_hours(30 * 24),
    refresh_idle: Duration::from_hours(7 * 24),
    refresh_leeway: Duration::from_secs(30),
};

/// A realm with the usual scopes and lifetimes.
pub fn realm(issuer: &str, name: &str) -> Result<Realm> {
    let scope = |claims: &[&str]| Scope {
        description: None,
        claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
    };
    Ok(Realm {
        id: RealmId::of_issuer(issuer),
        name: name.to_owned(),
        issuer: Issuer::parse(issuer).with_context(|| format!("issuer {issuer}"))?,
        tokens: LIFETIMES,
        sessions: SessionRules {
            lifetime: Duration::from_hours(12),
            idle: Duration::from_hours(1),
        },
        scopes: BTreeMap::from([
            ("openid".into(), scope(&["sub"])),
            (
                "profile".into(),
                scope(&["name", "given_name", "family_name", "preferred_username", "updated_at"]),
            ),
            ("email".into(), scope(&["email", "email_verified"])),
            ("offline_access".into(), scope(&[])),
            ("orders:read".into(), scope(&[])),
            ("orders:write".into(), scope(&[])),
        ])
        .into(),
        audiences: ["https://orders.example".into()].into(),
        login: LoginRules {
            identifiers: vec![IdentifierKind::Username, IdentifierKind::Email],
            max_attempts: 5,
            attempt_window: Duration::from_mins(15),
        },
        branding: Branding {
            display_name: "Benchmark".into(),
            ..Branding::default()
        },
        locales: ["en".into(), "de".into()].into(),
        not_before: None,
    })
}

/// Signing keys that are active, one of each algorithm. RSA keys take a while.
pub fn signing_keys(algorithms: &[SignatureAlgorithm]) -> Result<Vec<SigningKey>> {
    let active = |algorithm: &SignatureAlgorithm| -> Result<SigningKey> {
        Ok(SigningKey {
            stage: KeyStage::Active,
            ..generate_signing_key(*algorithm)?
        })
    };
    algorithms.iter().map(active).collect()
}

/// The keys of the realm of `issuer`: these, and a sealing key of its own.
pub fn key_set(issuer: &str, signing: Vec<SigningKey>) -> KeySet {
    KeySet {
        realm: RealmId::of_issuer(issuer),
        signing,
        sealing: vec![SealingKey {
            stage: KeyStage::Active,
            ..generate_sealing_key(&mut rand::rng())
        }],
    }
}

/// The secret of the client `client_id`.
pub fn secret_of(client_id: &str) -> String {
    format!("secret-of-{client_id}")
}

/// SHA-256 of a client secret.
pub fn hash_of(secret: &str) -> Result<SecretHash> {
    let digest = digest::digest(&digest::SHA256, secret.as_bytes());
    Ok(SecretHash(digest.as_ref().try_into().context("SHA-256 has 32 bytes")?))
}

/// A confidential client (`client_secret_basic`, [`secret_of`]) of the realm of `issuer`, for every grant, with ES256.
pub fn client(issuer: &str, client_id: &str) -> Result<Client> {
    let scopes = [
        "openid",
        "profile",
        "email",
        "offline_access",
        "orders:read",
        "orders:write",
    ];
    Ok(Client {
        realm: RealmId::of_issuer(issuer),
        client_id: client_id.to_owned(),
        name: format!("bench/{client_id}"),
        display_name: "An application".to_owned(),
        logo: None,
        policy_uri: None,
        tos_uri: None,
        authentication: ClientAuthentication::SecretBasic(vec![hash_of(&secret_of(client_id))?]),
        redirect_uris: [REDIRECT_URI.to_owned()].into(),
        post_logout_redirect_uris: Box::default(),
        allowed_origins: Box::default(),
        grant_types: [
            GrantType::AuthorizationCode,
            GrantType::RefreshToken,
            GrantType::ClientCredentials,
        ]
        .into(),
        scopes: scopes.map(str::to_owned).into(),
        default_scopes: ["orders:read".to_owned()].into(),
        audiences: ["https://orders.example".to_owned()].into(),
        pkce_required: true,
        tokens: ClientTokens {
            format: AccessTokenFormat::Jwt,
            lifetimes: LIFETIMES,
            id_token_algorithm: SignatureAlgorithm::Es256,
            access_token_algorithm: SignatureAlgorithm::Es256,
            rotate_refresh: true,
        }
        .into(),
        consent: ConsentRule::Skip,
    })
}

/// Encodes `resources` as the first configuration of [`FLEET`] into `folder`, which a server is then started with.
/// Returns the bytes of all files.
pub fn write(folder: &Path, resources: Vec<Resource>) -> Result<u64> {
    let (namespace, name) = FLEET.split_once('/').context("a fleet has a namespace")?;
    let inputs = Inputs::new(Fleet::new(namespace, name)?, resources, now()?);
    let step = Artefact::next(None, inputs);
    ensure!(step.excluded.is_empty(), "not encoded: {:?}", step.excluded);
    std::fs::create_dir_all(folder)?;
    let mut bytes = 0;
    for (name, content) in step.artefact.to_files() {
        bytes += u64::try_from(content.len())?;
        std::fs::write(folder.join(name), content)?;
    }
    Ok(bytes)
}

/// The time.
pub fn now() -> Result<Timestamp> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(Timestamp::from_unix_millis(i64::try_from(since.as_millis())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_encoded_whole() {
        let folder = tempfile::tempdir().unwrap();
        let issuer = "https://id.example";
        let keys = key_set(issuer, signing_keys(&[SignatureAlgorithm::Es256]).unwrap());
        let resources = vec![
            Resource::Realm(realm(issuer, "bench/realm").unwrap()),
            Resource::Keys(keys),
            Resource::Client(client(issuer, "app").unwrap()),
        ];
        assert!(write(folder.path(), resources).unwrap() > 0);
        assert!(folder.path().join(snapshot::MANIFEST_FILE).is_file());
    }
}
