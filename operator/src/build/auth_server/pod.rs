//! What the pods of a fleet have in common, servers and migrations: names, mounts, and what keeps them harmless.

use std::collections::BTreeMap;

use crds::auth_server::Database;
use serde_json::{Map, Value, json};
use snapshot::SHARD_COUNT;

use super::{BuildInputs, overlay, volume};
use crate::world::ObjectKey;

/// Name of the servers' container.
pub(super) const CONTAINER: &str = "auth-server";
/// Name of the container that migrates.
pub(super) const MIGRATE: &str = "migrate";
/// Name of the port for people and applications.
pub(super) const HTTP: &str = "http";
/// Its number.
pub(super) const HTTP_PORT: i32 = 8080;
/// Name of the port for probes and metrics.
pub(super) const HEALTH: &str = "health";
/// Its number.
pub(super) const HEALTH_PORT: i32 = 9080;
/// Folder of the compiled configuration.
pub(super) const CONFIG: &str = "/etc/nauthera/config";
/// Folder of the certificate for the link to the operator.
pub(super) const PEER: &str = "/etc/nauthera/peer";
/// Folder of the token for that link.
pub(super) const TOKEN: &str = "/var/run/nauthera";
/// Folder of the database Secret.
pub(super) const DATABASE: &str = "/etc/nauthera/database";
/// Folder of the database's certificate authority.
pub(super) const DATABASE_CA: &str = "/etc/nauthera/database-ca";
/// Folder of an embedded database.
pub(super) const DATA: &str = "/var/lib/nauthera";

/// Audience of the tokens that pods show to the operator.
const TOKEN_AUDIENCE: &str = "nauthera-operator";
/// The user of our images.
const USER_GROUP: i64 = 65532;

/// The labels by which the Service and the Deployment find the pods; they never change.
pub(super) fn selector(key: &ObjectKey) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name", "nauthera".to_owned()),
        ("app.kubernetes.io/component", "auth-server".to_owned()),
        ("app.kubernetes.io/instance", key.name.clone()),
    ])
}

/// The pod spec without its containers.
pub(super) fn spec(inputs: &BuildInputs<'_>) -> Value {
    json!({
        "serviceAccountName": inputs.key.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "fsGroup": USER_GROUP,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
}

/// What Pod Security *restricted* asks of a container, and more.
pub(super) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

/// Environment variables from their names and values.
pub(super) fn environment(variables: &BTreeMap<&'static str, String>) -> Vec<Value> {
    variables
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}

/// CPU and memory: what the spec says, else enough for a login a second and for hashing passwords.
pub(super) fn resources(inputs: &BuildInputs<'_>) -> Value {
    match &inputs.server.spec.resources {
        Some(resources) => json!(resources),
        None => json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}),
    }
}

/// A volume and where it is mounted.
pub(super) struct Mount {
    volume: Value,
    mount: Value,
}

impl Mount {
    fn new(name: &str, path: &str, read_only: ReadOnly, source: Map<String, Value>) -> Self {
        let mut volume = source;
        volume.insert("name".to_owned(), json!(name));
        let mut mount = Map::from_iter([("name".to_owned(), json!(name)), ("mountPath".to_owned(), json!(path))]);
        if let ReadOnly::Yes = read_only {
            mount.insert("readOnly".to_owned(), json!(true));
        }
        Self {
            volume: Value::Object(volume),
            mount: Value::Object(mount),
        }
    }
}

#[derive(Clone, Copy)]
enum ReadOnly {
    Yes,
    No,
}

/// Puts the mounts into a pod spec and one of its containers.
pub(super) fn mount(mounts: Vec<Mount>) -> (Vec<Value>, Vec<Value>) {
    mounts.into_iter().map(|mount| (mount.volume, mount.mount)).unzip()
}

/// The mounts that reach the database.
pub(super) fn database(inputs: &BuildInputs<'_>) -> Vec<Mount> {
    match &inputs.server.spec.database {
        Database::Postgres(postgres) => {
            let secret = |name: &str| source("secret", json!({"secretName": name, "defaultMode": 0o440}));
            let mut mounts = vec![Mount::new(
                "database",
                DATABASE,
                ReadOnly::Yes,
                secret(postgres.secret_ref.name.as_str()),
            )];
            if let Some(ca) = &postgres.ca_secret_ref {
                let source = secret(ca.name.as_str());
                mounts.push(Mount::new("database-ca", DATABASE_CA, ReadOnly::Yes, source));
            }
            mounts
        }
        Database::Embedded(_) => vec![
            Mount::new(
                "data",
                DATA,
                ReadOnly::No,
                source("persistentVolumeClaim", json!({"claimName": volume::name(inputs.key)})),
            ),
            // SQLite keeps large intermediate results in files.
            Mount::new(
                "tmp",
                "/tmp",
                ReadOnly::No,
                source("emptyDir", json!({"sizeLimit": "64Mi"})),
            ),
        ],
    }
}

/// The mounts of the link to the operator and of the configuration. All shards are named from the first day, most of
/// them absent: a configuration that grows must not restart anything.
pub(super) fn link(inputs: &BuildInputs<'_>) -> Vec<Mount> {
    let name = &inputs.key.name;
    let optional = |name: String| json!({"secret": {"name": name, "optional": true}});
    let shards = (0..SHARD_COUNT).map(|number| optional(format!("{name}-config-{number:02}")));
    let sources: Vec<Value> = std::iter::once(optional(format!("{name}-config")))
        .chain(shards)
        .collect();
    let token = json!({"serviceAccountToken": {
        "audience": TOKEN_AUDIENCE, "expirationSeconds": 3600, "path": "token",
    }});
    let peer = super::peer::volume(inputs);
    let projected = |sources: Value| source("projected", json!({"defaultMode": 0o440, "sources": sources}));
    vec![
        Mount::new("config", CONFIG, ReadOnly::Yes, projected(json!(sources))),
        Mount::new("peer", PEER, ReadOnly::Yes, source(peer.0, peer.1)),
        Mount::new("token", TOKEN, ReadOnly::Yes, projected(json!([token]))),
    ]
}

fn source(kind: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(kind.to_owned(), value)])
}

/// Lays the spec's overlay over a pod template.
pub(super) fn overlaid(inputs: &BuildInputs<'_>, template: Value, extent: overlay::Extent) -> Value {
    match &inputs.server.spec.pod_template {
        Some(over) => overlay::lay(template, over, extent),
        None => template,
    }
}
