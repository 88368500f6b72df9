//! Watches that keep a [`Cache`]: one for each kind and namespace, each on its own.
//!
//! A watch lasts 30 s and is then continued, so that one whose connection died silently is noticed 5 s later. What is
//! refused (no right, not installed) is tried again now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::Api;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::entry::{self, Entry};
use super::leaving::Leaving;
use super::{Cache, End, Namespaces, Scope, Watched};
use crate::build::MANAGED_BY;
use crate::world::{ObjectKey, Unreadable};

/// How long one watch request lasts.
const WATCH_SECONDS: u32 = 30;

/// Objects of one answer to a list: they are in memory as a whole, with everything that is not kept of them.
const PAGE: u32 = 50;

/// Between two tries of what is refused: a right that may be granted any moment, and our own definitions.
const REFUSED: Duration = Duration::from_secs(10);

/// Between two tries of somebody else's kind that is not installed; mostly it never will be.
const NOT_INSTALLED: Duration = Duration::from_mins(1);

/// Between two tries after an error: doubled each time, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Keeps the cache, which was made for the same namespaces, until what is returned is dropped: one task for each kind and namespace.
pub fn watch_all(client: &kube::Client, namespaces: &Namespaces, own: &str, cache: &Arc<Cache>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for scope in namespaces.scopes(own) {
        tasks.spawn(keep(client.clone(), scope, Arc::clone(cache)));
    }
    tasks
}

async fn keep(client: kube::Client, scope: Scope, cache: Arc<Cache>) {
    let resource = scope.0.api_resource();
    let mut leaving = Leaving::new(client.clone(), scope.0);
    loop {
        let refused = if scope.0 == Watched::Namespace {
            let api: Api<PartialObjectMeta<DynamicObject>> = match &scope.1 {
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            let bare = |object: PartialObjectMeta<DynamicObject>| DynamicObject {
                types: object.types,
                metadata: object.metadata,
                data: Value::Object(Map::new()),
            };
            let events = watcher(api, config(scope.0)).map(|event| event.map(|event| map(event, bare)));
            follow(events, &scope, &cache, &mut leaving).await
        } else {
            let api: Api<DynamicObject> = match &scope.1 {
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            follow(watcher(api, config(scope.0)), &scope, &cache, &mut leaving).await
        };
        let end = match refused {
            Unreadable::NotInstalled => End::Swept,
            Unreadable::Forbidden => End::Deleted,
        };
        remove(&cache, &scope, &mut leaving, end);
        if cache.refuse(&scope, refused) {
            tracing::warn!(kind = scope.0.name(), namespace = scope.1, ?refused, "cannot be read");
        }
        tokio::time::sleep(jittered(until_next_try(scope.0, refused))).await;
    }
}

fn until_next_try(watched: Watched, refused: Unreadable) -> Duration {
    match (watched, refused) {
        (Watched::Child(_), Unreadable::NotInstalled) => NOT_INSTALLED,
        _ => REFUSED,
    }
}

fn config(watched: Watched) -> watcher::Config {
    let config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
    match watched {
        Watched::Custom(_) | Watched::Namespace => config,
        Watched::Child(_) | Watched::Pod | Watched::EndpointSlice => {
            config.labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1))
        }
    }
}

fn map<A, B>(event: Event<A>, change: impl Fn(A) -> B) -> Event<B> {
    match event {
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(change(object)),
        Event::InitDone => Event::InitDone,
        Event::Apply(object) => Event::Apply(change(object)),
        Event::Delete(object) => Event::Delete(change(object)),
    }
}

/// Takes what a watch shows, until it is refused.
async fn follow(
    events: impl Stream<Item = watcher::Result<Event<DynamicObject>>>,
    scope: &Scope,
    cache: &Cache,
    leaving: &mut Leaving,
) -> Unreadable {
    let mut events = std::pin::pin!(events);
    let mut list: BTreeMap<ObjectKey, Entry> = BTreeMap::new();
    let mut pause = BACKOFF.0;
    let mut lists = 0_u32;
    // The stream has no end.
    loop {
        let next = tokio::select! {
            next = events.next() => next,
            () = leaving.due() => {
                if let Some(end) = leaving.end(cache.count(scope)).await {
                    remove(cache, scope, leaving, end);
                }
                continue;
            }
        };
        let event = match next {
            Some(Ok(event)) => event,
            Some(Err(error)) => {
                if let Some(refused) = refusal(&error) {
                    return refused;
                }
                tracing::debug!(kind = scope.0.name(), namespace = scope.1, %error, "watch interrupted");
                cache.restarts.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(jittered(pause)).await;
                pause = (pause * 2).min(BACKOFF.1);
                continue;
            }
            None => return Unreadable::NotInstalled,
        };
        pause = BACKOFF.0;
        match event {
            Event::Init => {
                list.clear();
                lists += 1;
                if lists > 1 {
                    cache.restarts.fetch_add(1, Ordering::Relaxed);
                }
            }
            Event::InitApply(object) => list.extend(cache.entry(scope.0, object)),
            Event::InitDone => {
                for key in list.keys() {
                    leaving.is_back(key);
                }
                cache.replace(scope, std::mem::take(&mut list));
            }
            Event::Apply(object) => {
                if let Some(key) = entry::key(&object.metadata) {
                    leaving.is_back(&key);
                }
                cache.apply(scope.0, object);
            }
            Event::Delete(object) => match entry::key(&object.metadata) {
                Some(key) if leaving.concerns() => leaving.add(key),
                Some(key) => cache.remove(scope.0, &key, End::Deleted),
                None => {}
            },
        }
    }
}

/// Removes the objects that leave, now that it is known how.
fn remove(cache: &Cache, (watched, _): &Scope, leaving: &mut Leaving, end: End) {
    for key in leaving.take() {
        cache.remove(*watched, &key, end);
    }
}

/// Whether the error says that the kind cannot be read at all.
fn refusal(error: &watcher::Error) -> Option<Unreadable> {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))
    | watcher::Error::WatchFailed(kube::Error::Api(status))
    | watcher::Error::WatchError(status)) = error
    else {
        return None;
    };
    match status.code {
        403 => Some(Unreadable::Forbidden),
        404 => Some(Unreadable::NotInstalled),
        _ => None,
    }
}

/// The duration, shortened by up to a fifth at random: replicas do not ask at the same moment.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(1.0 - 0.2 * rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::ChildKind;

    #[test]
    fn a_kind_that_may_never_be_installed_is_asked_for_seldom() {
        let certificate = Watched::Child(ChildKind::Certificate);
        let realm = Watched::Custom(crds::Kind::Realm);
        let pauses = [
            until_next_try(certificate, Unreadable::NotInstalled),
            until_next_try(certificate, Unreadable::Forbidden),
            until_next_try(realm, Unreadable::NotInstalled),
        ];
        assert_eq!(pauses, [NOT_INSTALLED, REFUSED, REFUSED]);
    }
}
