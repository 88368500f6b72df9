//! Secrets that custom resources name. They carry no label of ours, so they are read by name: when a reference first
//! appears, and again every minute.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::auth_server::{Database, Tls};
use futures::StreamExt as _;
use kube::Api;
use kube::api::DynamicObject;

use super::entry::{Entry, parse_secret};
use super::{Cache, State, Watched, api_resource};
use crate::build::client as credentials;
use crate::world::{ChildKind, ObjectKey, SecretObject};

/// Between two readings of a Secret.
const AGE: Duration = Duration::from_mins(1);

/// Between two readings of a Secret that was absent: somebody waits for it.
pub const ABSENT_AGE: Duration = Duration::from_secs(3);

/// Readings at the same time.
const AT_ONCE: usize = 16;

/// For the answer to one request.
const DEADLINE: Duration = Duration::from_secs(5);

/// A Secret could not be read, for another reason than that it does not exist.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The API server did not answer in time.
    #[error("no answer to reading Secret {0}")]
    Deadline(ObjectKey),
    /// The API server refused, or cannot be reached.
    #[error("cannot read Secret {key}")]
    Api {
        /// The Secret.
        key: ObjectKey,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Reads the Secrets that objects of a cache name.
pub struct References {
    client: kube::Client,
    read: BTreeMap<ObjectKey, Instant>,
    absent: BTreeSet<ObjectKey>,
}

impl References {
    /// Nothing was read yet.
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            read: BTreeMap::new(),
            absent: BTreeSet::new(),
        }
    }

    /// Whether a Secret that an object names was absent when it was read.
    pub fn misses(&self) -> bool {
        !self.absent.is_empty()
    }

    /// Reads what was never read or a minute ago. Fails when a Secret that was never read cannot be read now: whether it
    /// exists is not known then.
    pub async fn refresh(&mut self, cache: &Cache) -> Result<(), ReadError> {
        let wanted = cache.state().named_secrets();
        self.read.retain(|key, _| wanted.contains(key));
        self.absent.retain(|key| wanted.contains(key));
        let due = due(&self.read, &self.absent, wanted, Instant::now());
        if due.is_empty() {
            return Ok(());
        }
        let client = &self.client;
        let answers = futures::stream::iter(due).map(|key| async move { (read(client, &key).await, key) });
        let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
        let mut failed = None;
        let mut found = BTreeMap::new();
        for (answer, key) in answers {
            match answer {
                Ok(secret) => {
                    self.read.insert(key.clone(), Instant::now());
                    if secret.is_some() {
                        self.absent.remove(&key);
                    } else {
                        self.absent.insert(key.clone());
                    }
                    found.insert(key, secret);
                }
                Err(error) if self.read.contains_key(&key) => {
                    tracing::warn!(secret = %key, %error, "a Secret cannot be read again; what it held is kept");
                }
                Err(error) => failed = Some(error),
            }
        }
        cache.note_named(found, |key| self.read.contains_key(key));
        failed.map_or(Ok(()), Err)
    }
}

/// What was never read, or too long ago.
fn due(
    read: &BTreeMap<ObjectKey, Instant>,
    absent: &BTreeSet<ObjectKey>,
    wanted: BTreeSet<ObjectKey>,
    now: Instant,
) -> Vec<ObjectKey> {
    let is_due = |key: &ObjectKey| {
        let at = read.get(key);
        let age = if absent.contains(key) { ABSENT_AGE } else { AGE };
        at.is_none_or(|at| now.saturating_duration_since(*at) >= age)
    };
    wanted.into_iter().filter(is_due).collect()
}

/// A Secret that was read by name.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) secret: Arc<SecretObject>,
    /// UID and version.
    pub(super) version: String,
}

impl Named {
    fn new(object: &DynamicObject) -> Option<Self> {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        Some(Self {
            secret: Arc::new(parse_secret(object)?),
            version: format!(
                "{}/{}",
                part(&object.metadata.uid),
                part(&object.metadata.resource_version)
            ),
        })
    }
}

async fn read(client: &kube::Client, key: &ObjectKey) -> Result<Option<Named>, ReadError> {
    let resource = api_resource(ChildKind::Secret);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &key.namespace, &resource);
    let failed = |source| ReadError::Api {
        key: key.clone(),
        source: Box::new(source),
    };
    let answer = tokio::time::timeout(DEADLINE, api.get_opt(&key.name)).await;
    match answer.map_err(|_| ReadError::Deadline(key.clone()))? {
        Ok(object) => Ok(object.as_ref().and_then(Named::new)),
        // Without the right to read it, it is as good as absent; the object that names it says so.
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

impl Cache {
    /// Keeps what was read, and of what was read before only what is still `wanted`.
    fn note_named(&self, found: BTreeMap<ObjectKey, Option<Named>>, wanted: impl Fn(&ObjectKey) -> bool) {
        let mut state = self.state();
        state.named_secrets.retain(|key, _| wanted(key));
        state.named_secrets.extend(found);
    }
}

impl State {
    /// The Secrets that objects name and that no watch shows.
    pub(super) fn named_secrets(&self) -> BTreeSet<ObjectKey> {
        let watched = self.entries.get(&Watched::Child(ChildKind::Secret));
        let mut keys = BTreeSet::new();
        for (watched, entries) in &self.entries {
            if !matches!(watched, Watched::Custom(_)) {
                continue;
            }
            for (key, entry) in entries {
                let named = names(key, entry).into_iter();
                keys.extend(named.map(|name| ObjectKey::new(&key.namespace, name)));
            }
        }
        keys.retain(|key| watched.is_none_or(|secrets| !secrets.contains_key(key)));
        keys
    }
}

/// Names of the Secrets, in its own namespace, that an object refers to or has written beside it.
fn names(key: &ObjectKey, entry: &Entry) -> Vec<String> {
    match entry {
        Entry::AuthServer(server) => {
            let mut names = Vec::new();
            if let Database::Postgres(postgres) = &server.spec.database {
                names.push(postgres.secret_ref.name.as_str().to_owned());
                names.extend(postgres.ca_secret_ref.iter().map(|ca| ca.name.as_str().to_owned()));
            }
            if let Some(Tls::SecretRef(secret)) = &server.spec.tls {
                names.push(secret.name.as_str().to_owned());
            }
            names
        }
        Entry::Client(client) => {
            let reference = client.spec.secret.secret_ref.iter();
            let named = reference.map(|reference| reference.name.as_str().to_owned());
            named.chain([credentials::secret_key(key, client).name]).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_secret_is_read_at_once_and_again_every_minute() {
        let key = |name: &str| ObjectKey::new("shop", name);
        let start = Instant::now();
        let read = BTreeMap::from([(key("old"), start), (key("young"), start + Duration::from_secs(1))]);
        let wanted = BTreeSet::from([key("new"), key("old"), key("young")]);
        let names = |at: Duration| due(&read, &BTreeSet::new(), wanted.clone(), start + at);
        assert_eq!(names(Duration::ZERO), [key("new")]);
        assert_eq!(names(AGE), [key("new"), key("old")]);
        assert_eq!(names(AGE * 2), [key("new"), key("old"), key("young")]);
        // One that was absent is waited for.
        let absent = BTreeSet::from([key("old")]);
        let soon = due(&read, &absent, wanted.clone(), start + ABSENT_AGE);
        assert_eq!(soon, [key("new"), key("old")]);
    }

    #[test]
    fn the_version_of_a_named_secret_is_known() {
        let object = serde_json::json!({
            "metadata": {"namespace": "shop", "name": "db", "uid": "u", "resourceVersion": "7"},
            "data": {"password": "c2VjcmV0"},
        });
        let named = Named::new(&serde_json::from_value(object).unwrap()).unwrap();
        assert_eq!((named.version.as_str(), named.secret.data.len()), ("u/7", 1));
    }
}
