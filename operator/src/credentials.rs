//! The Secret beside a Client: its credentials and the endpoints of its issuer.
//!
//! A pure builder. The Secret is created once; keys that others add are left alone; a Secret of that name without the
//! label of its Client belongs to somebody else and is never touched.

use std::collections::BTreeMap;

use crds::client::{SecretField, SecretSource};
use oidc::Secret;
use oidc::config::Issuer;

use crate::world::{ObjectKey, SecretObject, World};

/// Label of a Secret that the operator generated for a Client.
pub const CLIENT_LABEL: &str = "auth.nauthera.io/client";

/// Label of everything that the operator keeps.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "nauthera-operator");

/// Key of the client secret.
const CLIENT_SECRET: &str = "client-secret";

/// Name of the Secret that is written for a Client.
pub fn secret_key(key: &ObjectKey, client: &crds::Client) -> ObjectKey {
    let own = client.spec.secret.name.as_ref().map(|name| name.as_str().to_owned());
    ObjectKey::new(&key.namespace, own.unwrap_or_else(|| format!("{}-oidc", key.name)))
}

/// The generated client secret, when there is one yet. `Err` names a Secret that belongs to somebody else.
pub(crate) fn client_secret<'w>(
    world: &'w World,
    key: &ObjectKey,
    client: &crds::Client,
) -> Result<Option<&'w [u8]>, ObjectKey> {
    let name = secret_key(key, client);
    let Some(secret) = world.secrets.get(&name) else {
        return Ok(None);
    };
    if !is_owned(secret, key) {
        return Err(name);
    }
    let value = secret.data.get(CLIENT_SECRET).map(|value| value.expose().as_slice());
    Ok(value.filter(|value| !value.is_empty()))
}

fn is_owned(secret: &SecretObject, client: &ObjectKey) -> bool {
    secret.labels.get(CLIENT_LABEL) == Some(&label_value(&client.name))
}

/// Label values have at most 63 characters; longer names are told apart by the Secret's own name.
fn label_value(name: &str) -> String {
    name.chars()
        .take(63)
        .collect::<String>()
        .trim_end_matches(['-', '.'])
        .to_owned()
}

/// The Secret of a Client as it should be. `None` while the client secret does not exist yet, or when a Secret of that
/// name belongs to somebody else.
pub(crate) fn desired(
    world: &World,
    key: &ObjectKey,
    client: &crds::Client,
    client_id: &str,
    issuer: &Issuer,
) -> Option<(ObjectKey, SecretObject)> {
    let name = secret_key(key, client);
    let live = world.secrets.get(&name);
    if live.is_some_and(|live| !is_owned(live, key)) {
        return None;
    }
    let generated = client.spec.has_client_secret() && client.spec.secret.source == SecretSource::Generate;
    let secret = match client_secret(world, key, client) {
        Ok(Some(secret)) if generated => Some(secret),
        Ok(None) if generated => return None,
        _ => None,
    };
    let value = |field: SecretField| match field {
        SecretField::ClientId => Some(client_id.to_owned().into_bytes()),
        SecretField::ClientSecret => secret.map(<[u8]>::to_vec),
        SecretField::Issuer => Some(issuer.as_str().to_owned().into_bytes()),
        field => endpoint(field).map(|path| format!("{}{path}", issuer.as_str()).into_bytes()),
    };
    let names = FIELDS.iter().map(|(field, name)| ((*name).to_owned(), *field));
    let aliases = client
        .spec
        .secret
        .keys
        .iter()
        .map(|(alias, field)| (alias.clone(), *field));
    let mut object = SecretObject {
        kind: "Opaque".to_owned(),
        labels: owned(&client.spec.secret.labels),
        annotations: owned(&client.spec.secret.annotations),
        data: live.map(|live| live.data.clone()).unwrap_or_default(),
    };
    object.labels.insert(CLIENT_LABEL.to_owned(), label_value(&key.name));
    object.labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    for (name, field) in names.chain(aliases) {
        if let Some(value) = value(field) {
            object.data.insert(name, Secret::new(value));
        }
    }
    Some((name, object))
}

/// A fresh Secret that holds nothing but a client secret; [`desired`] fills in the rest.
pub(crate) fn generated(key: &ObjectKey, client_secret: String) -> SecretObject {
    SecretObject {
        kind: "Opaque".to_owned(),
        labels: BTreeMap::from([
            (CLIENT_LABEL.to_owned(), label_value(&key.name)),
            (MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned()),
        ]),
        annotations: BTreeMap::new(),
        data: BTreeMap::from([(CLIENT_SECRET.to_owned(), Secret::new(client_secret.into_bytes()))]),
    }
}

fn owned<T: AsRef<str>>(map: &BTreeMap<String, T>) -> BTreeMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.clone(), value.as_ref().to_owned()))
        .collect()
}

const FIELDS: [(SecretField, &str); 9] = [
    (SecretField::ClientId, "client-id"),
    (SecretField::ClientSecret, CLIENT_SECRET),
    (SecretField::Issuer, "issuer"),
    (SecretField::DiscoveryUrl, "discovery-url"),
    (SecretField::AuthorizationEndpoint, "authorization-endpoint"),
    (SecretField::TokenEndpoint, "token-endpoint"),
    (SecretField::UserinfoEndpoint, "userinfo-endpoint"),
    (SecretField::JwksUri, "jwks-uri"),
    (SecretField::EndSessionEndpoint, "end-session-endpoint"),
];

/// Path of an endpoint below the issuer.
fn endpoint(field: SecretField) -> Option<&'static str> {
    match field {
        SecretField::ClientId | SecretField::ClientSecret | SecretField::Issuer => None,
        SecretField::DiscoveryUrl => Some("/.well-known/openid-configuration"),
        SecretField::AuthorizationEndpoint => Some("/oauth2/authorize"),
        SecretField::TokenEndpoint => Some("/oauth2/token"),
        SecretField::UserinfoEndpoint => Some("/oauth2/userinfo"),
        SecretField::JwksUri => Some("/oauth2/jwks"),
        SecretField::EndSessionEndpoint => Some("/oauth2/end_session"),
    }
}
