//! Whether the definition of a custom resource is being removed, with every object of its kind.
//!
//! Discovery says so to everybody: what is terminating can no longer be created. No right is needed, so that an operator
//! of single namespaces knows it too.

use std::time::{Duration, Instant};

use super::Watched;

/// Between two readings. A definition that is removed takes a burst of objects with it.
const AGE: Duration = Duration::from_secs(1);

/// What discovery may lag behind the first object that goes.
const LAG: Duration = Duration::from_millis(100);

/// For one answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// How often discovery is asked before a deletion is believed to be one.
const TRIES: u32 = 5;

/// The definition of the kind that a watch shows.
pub(super) struct Definition {
    client: kube::Client,
    watched: Watched,
    /// When it was read, and whether it was going.
    read: Option<(Instant, bool)>,
}

impl Definition {
    pub(super) fn new(client: kube::Client, watched: Watched) -> Self {
        Self {
            client,
            watched,
            read: None,
        }
    }

    /// Whether an object that goes now goes with its definition. Only custom resources do.
    pub(super) async fn is_going(&mut self) -> bool {
        let Watched::Custom(_) = self.watched else {
            return false;
        };
        if let Some((at, is_going)) = self.read
            && at.elapsed() < AGE
        {
            return is_going;
        }
        let is_going = self.ask().await;
        self.read = Some((Instant::now(), is_going));
        is_going
    }

    async fn ask(&self) -> bool {
        let resource = self.watched.api_resource();
        for _ in 0..TRIES {
            tokio::time::sleep(LAG).await;
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
