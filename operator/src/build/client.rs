//! The Secret beside a Client: its credentials and the endpoints of its issuer.
//!
//! Keys that others add are left alone; a Secret of that name without the label of its Client belongs to somebody else
//! and is never touched. What was issued is kept in a second Secret, the ledger, which only the operator reads.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use crds::client::SecretField;
use crds::manifests::Kind;
use oidc::config::Issuer;
use oidc::id::RealmId;
use oidc::{Secret, Timestamp};
use snapshot::Hash;

use super::{Desired, MANAGED_BY, OWNER_ANNOTATION, Owner, label_value};
use crate::resolve::{Ledger, MissingClientSecret};
use crate::world::folder::secret_manifest;
use crate::world::{ChildId, ChildKind, Data, ObjectKey, SecretObject, Texts, World};

/// Label of a Secret that the operator generated for a Client.
pub const CLIENT_LABEL: &str = "auth.nauthera.io/client";

/// Label of a Secret that holds the ledger of a Client.
const LEDGER_LABEL: (&str, &str) = ("app.kubernetes.io/component", "client-secrets");

/// Label with the name of the AuthServer that an object belongs to.
const FLEET_LABEL: &str = "app.kubernetes.io/instance";

/// Bytes of a generated client secret: 256 bits, so that servers may keep a plain hash.
const CLIENT_SECRET_BYTES: usize = 32;

/// Key of the client secret.
const CLIENT_SECRET: &str = "client-secret";

/// The ledger with a new client secret entered.
pub fn new_secret(missing: &MissingClientSecret, now: Timestamp) -> SecretObject {
    let mut bytes = [0; CLIENT_SECRET_BYTES];
    rand::fill(&mut bytes);
    let mut entered = missing.ledger.clone();
    entered.enter(BASE64URL.encode(bytes).into_bytes(), now);
    bytes.fill(0);
    ledger(&missing.fleet, &missing.client, &entered)
}

/// Name of the Secret with the ledger of a Client: in the namespace of its fleet, where no pod mounts it.
pub(crate) fn ledger_key(fleet: &ObjectKey, realm: RealmId, client: &ObjectKey) -> ObjectKey {
    let realm = realm.to_string();
    let parts = [realm.as_bytes(), client.namespace.as_bytes(), client.name.as_bytes()];
    let hash = Hash::of_parts(parts);
    ObjectKey::new(&fleet.namespace, format!("nauthera-client-{hash:.32}"))
}

/// The Secret with the ledger of a Client of a fleet.
pub(crate) fn ledger(fleet: &ObjectKey, client: &ObjectKey, ledger: &Ledger) -> SecretObject {
    let mut secret = SecretObject {
        kind: "Opaque".to_owned(),
        labels: Texts::from_iter([
            (LEDGER_LABEL.0.to_owned(), LEDGER_LABEL.1.to_owned()),
            (FLEET_LABEL.to_owned(), label_value(&fleet.name).to_owned()),
            (MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned()),
        ]),
        annotations: Texts::from_iter([(OWNER_ANNOTATION.to_owned(), format!("Client/{client}"))]),
        data: Data::new(),
    };
    ledger.write(&mut secret);
    secret
}

/// The name of the fleet that a ledger belongs to, and its Client; `None` for any other Secret.
pub(crate) fn ledger_owner(secret: &SecretObject) -> Option<(&str, ObjectKey)> {
    if secret.labels.get(LEDGER_LABEL.0).map(String::as_str) != Some(LEDGER_LABEL.1) {
        return None;
    }
    let client = ObjectKey::parse(secret.annotations.get(OWNER_ANNOTATION)?.strip_prefix("Client/")?)?;
    Some((secret.labels.get(FLEET_LABEL)?, client))
}

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
    let id = ChildId {
        kind: ChildKind::Secret,
        key: name.clone(),
    };
    if world
        .cluster
        .as_ref()
        .is_some_and(|cluster| cluster.foreign.contains(&id))
    {
        return Err(name);
    }
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
    secret.labels.get(CLIENT_LABEL).map(String::as_str) == Some(label_value(&client.name))
}

/// What of the Secret of a Client is ours, as it should be. `None` when a Secret of that name belongs to somebody else.
pub(crate) fn desired(
    world: &World,
    key: &ObjectKey,
    client: &crds::Client,
    client_id: &str,
    issuer: &Issuer,
    secret: Option<&Secret<Vec<u8>>>,
) -> Option<(ObjectKey, SecretObject)> {
    let name = secret_key(key, client);
    if world.secrets.get(&name).is_some_and(|live| !is_owned(live, key)) {
        return None;
    }
    let value = |field: SecretField| match field {
        SecretField::ClientId => Some(client_id.to_owned().into_bytes()),
        SecretField::ClientSecret => secret.map(|secret| secret.expose().clone()),
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
        data: Data::new(),
    };
    object
        .labels
        .insert(CLIENT_LABEL.to_owned(), label_value(&key.name).to_owned());
    object.labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    for (name, field) in names.chain(aliases) {
        if let Some(value) = value(field) {
            object.data.insert(name, Secret::new(value));
        }
    }
    Some((name, object))
}

/// The Secret beside a Client as a child of it, and the Client as its owner.
pub(crate) fn child(
    key: &ObjectKey,
    client: &crds::Client,
    name: &ObjectKey,
    secret: &SecretObject,
) -> (Owner, Desired) {
    let owner = Owner {
        kind: Kind::Client,
        key: key.clone(),
        uid: client.metadata.uid.clone().unwrap_or_default(),
    };
    let id = ChildId {
        kind: ChildKind::Secret,
        key: name.clone(),
    };
    let desired = Desired::owned(id, &owner, secret_manifest(name, secret));
    (owner, desired)
}

/// Whether the label with the name of an AuthServer names this one.
pub(crate) fn is_instance(server: &ObjectKey, label: &str) -> bool {
    label_value(&server.name) == label
}

/// A Secret with what is ours, and what others have put into it.
pub fn merged(live: Option<&SecretObject>, mut ours: SecretObject) -> SecretObject {
    if let Some(live) = live {
        for (key, value) in &live.data {
            ours.data.entry(key.clone()).or_insert_with(|| value.clone());
        }
        for (own, others) in [
            (&mut ours.labels, &live.labels),
            (&mut ours.annotations, &live.annotations),
        ] {
            for (key, value) in others {
                own.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    ours
}

fn owned<T: AsRef<str>>(map: &BTreeMap<String, T>) -> Texts {
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
