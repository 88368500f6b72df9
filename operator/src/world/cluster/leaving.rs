//! Objects that were seen being deleted, until it is known how they went: each on its own, or with the definition of their
//! kind, which takes them all along without anybody having meant it.
//!
//! Discovery says so to everybody: what is terminating can no longer be created. No right is needed, so that an operator
//! of single namespaces knows it too. It lags behind the first objects that go, so it is asked a moment later, and where
//! every object may be going, once more.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{End, Watched};
use crate::world::ObjectKey;

/// Between the first deletion and the first question.
const LAG: Duration = Duration::from_millis(100);

/// Before a deletion of several objects, or of the last one, is believed.
const AGAIN: Duration = Duration::from_millis(500);

/// For one answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// How often discovery is asked before a deletion is believed to be one.
const TRIES: u32 = 5;

/// The objects of one watch that are leaving.
pub(super) struct Leaving {
    client: kube::Client,
    watched: Watched,
    keys: BTreeSet<ObjectKey>,
    ask_at: Option<Instant>,
    is_asked: bool,
}

impl Leaving {
    pub(super) fn new(client: kube::Client, watched: Watched) -> Self {
        Self {
            client,
            watched,
            keys: BTreeSet::new(),
            ask_at: None,
            is_asked: false,
        }
    }

    /// Whether it matters how objects of this kind go. Only custom resources have a definition of ours.
    pub(super) fn concerns(&self) -> bool {
        matches!(self.watched, Watched::Custom(_))
    }

    /// An object was deleted.
    pub(super) fn add(&mut self, key: ObjectKey) {
        self.keys.insert(key);
        self.ask_at.get_or_insert_with(|| Instant::now() + LAG);
    }

    /// An object of that name is there again.
    pub(super) fn is_back(&mut self, key: &ObjectKey) {
        self.keys.remove(key);
    }

    /// Returns when [`Leaving::end`] is to be asked: never, while nothing leaves.
    pub(super) async fn due(&self) {
        match self.ask_at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// How they went; `None` while it is better asked again. `held` is how many objects the watch has shown and not
    /// taken away yet.
    pub(super) async fn end(&mut self, held: usize) -> Option<End> {
        if self.is_definition_going().await {
            return Some(End::Swept);
        }
        let may_be_all = self.keys.len() > 1 || held <= self.keys.len();
        if may_be_all && !self.is_asked {
            self.is_asked = true;
            self.ask_at = Some(Instant::now() + AGAIN);
            return None;
        }
        Some(End::Deleted)
    }

    /// Takes them all.
    pub(super) fn take(&mut self) -> BTreeSet<ObjectKey> {
        self.ask_at = None;
        self.is_asked = false;
        std::mem::take(&mut self.keys)
    }

    async fn is_definition_going(&self) -> bool {
        let resource = self.watched.api_resource();
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(LAG).await;
            }
            let asking = self.client.list_api_group_resources(&resource.api_version);
            match tokio::time::timeout(DEADLINE, asking).await {
                Ok(Ok(list)) => {
                    let known = list.resources.iter().find(|known| known.name == resource.plural);
                    return known.is_none_or(|known| !known.verbs.iter().any(|verb| verb == "create"));
                }
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => return true,
                Ok(Err(kube::Error::Api(status))) if status.code == 403 => return false,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        tracing::warn!(kind = self.watched.name(), "discovery does not answer");
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// Clients that leave while discovery says for so many questions that their definition stays.
    fn leaving(names: &[&str], lag: usize) -> Leaving {
        let asked = Arc::new(AtomicUsize::new(0));
        let discovery = tower::service_fn(move |_: Request<Body>| {
            let verbs = match asked.fetch_add(1, Ordering::Relaxed) {
                so_far if so_far < lag => r#"["create","delete"]"#,
                _ => r#"["delete"]"#,
            };
            let list = format!(
                r#"{{"kind":"APIResourceList","groupVersion":"g/v","resources":[{{"name":"clients","singularName":"client","namespaced":true,"kind":"Client","verbs":{verbs}}}]}}"#
            );
            async { Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(list)))) }
        });
        let client = kube::Client::new(discovery, "default");
        let mut leaving = Leaving::new(client, Watched::Custom(crds::Kind::Client));
        for name in names {
            leaving.add(ObjectKey::new("demo", *name));
        }
        leaving
    }

    #[tokio::test]
    async fn discovery_may_learn_late_that_every_object_goes() {
        for (names, held, lag, ends) in [
            (&["a", "b"][..], 5, 0, &[Some(End::Swept)][..]),
            (&["a", "b"], 5, 1, &[None, Some(End::Swept)]),
            (&["a", "b"], 5, 9, &[None, Some(End::Deleted)]),
            // One of several is believed at once, the last one is not.
            (&["a"], 5, 9, &[Some(End::Deleted)]),
            (&["a"], 1, 1, &[None, Some(End::Swept)]),
        ] {
            let mut leaving = leaving(names, lag);
            for end in ends {
                assert_eq!(leaving.end(held).await, *end, "{names:?} of {held}, {lag} late");
            }
            assert_eq!(leaving.take().len(), names.len());
        }
    }

    #[tokio::test]
    async fn what_is_back_does_not_leave() {
        let mut leaving = leaving(&["a", "b"], 9);
        leaving.is_back(&ObjectKey::new("demo", "a"));
        assert_eq!(leaving.end(5).await, Some(End::Deleted));
        assert_eq!(leaving.take(), BTreeSet::from([ObjectKey::new("demo", "b")]));
    }
}
