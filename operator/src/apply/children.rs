//! All children of one owner: created, changed, put back, adopted and pruned.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::decide::{Step, Why, decide, is_ours};
use super::differ::differs;
use super::{Applier, ApplyError, Fenced, Force};
use crate::build::{Children, Desired, MANAGER, Owner, text};
use crate::world::{ChildId, ChildKind, Cluster, Unreadable};

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Created(ChildId),
    /// Something else is desired of it than before.
    Updated(ChildId),
    /// It came back from a backup, or its owner did.
    Adopted(ChildId),
    /// Somebody had changed these fields of it; they are as before.
    PutBack(ChildId, Vec<String>),
    /// It is not wanted any more.
    Deleted(ChildId),
}

impl Change {
    /// Which child.
    pub fn id(&self) -> &ChildId {
        match self {
            Self::Created(id) | Self::Updated(id) | Self::Adopted(id) | Self::PutBack(id, _) | Self::Deleted(id) => id,
        }
    }

    /// The reason of the Event that tells the owner. `None` when it is not worth one.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Created(_) => Some("Created"),
            Self::Adopted(_) => Some("Adopted"),
            Self::PutBack(..) => Some("PutBack"),
            Self::Deleted(_) => Some("Deleted"),
            Self::Updated(_) => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created(id) => write!(f, "created {id}"),
            Self::Updated(id) => write!(f, "updated {id}"),
            Self::Adopted(id) => write!(f, "adopted {id}, which was there without its owner"),
            Self::PutBack(id, fields) => {
                write!(f, "{id} was changed by somebody else; put back: {}", some(fields))
            }
            Self::Deleted(id) => write!(f, "deleted {id}, which is not needed any more"),
        }
    }
}

/// Why a child is not as desired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An object of its name belongs to somebody else, named here.
    Foreign(String),
    /// The operator lacks the right.
    Forbidden(String),
    /// The API server refuses it.
    Invalid(String),
    /// Its kind is not installed in this cluster.
    NotInstalled,
    /// Somebody keeps changing these fields back; the next try comes later.
    Contested(Vec<String>),
    /// It is being deleted and comes back afterwards.
    Terminating,
    /// The API server could not be asked, or somebody was faster; it is tried again.
    Unavailable(String),
}

/// What came of applying the children of one owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What was changed.
    pub changes: Vec<Change>,
    /// What is not as desired.
    pub failures: BTreeMap<ChildId, Failure>,
    /// When to try again what failed, when that is not a matter of somebody's edit.
    pub retry_after: Option<Duration>,
}

impl Applied {
    /// Adds what came of one child.
    pub(super) fn take(&mut self, id: &ChildId, made: Result<Option<Change>, Failure>) {
        match made {
            Ok(change) => self.changes.extend(change),
            Err(failure) => self.fail(id, failure),
        }
    }

    fn fail(&mut self, id: &ChildId, failure: Failure) {
        let retry = match &failure {
            Failure::Unavailable(_) | Failure::Terminating => Duration::from_secs(1),
            Failure::Foreign(_) | Failure::Forbidden(_) | Failure::NotInstalled | Failure::Invalid(_) => {
                Duration::from_secs(30)
            }
            Failure::Contested(_) => Duration::from_secs(10),
        };
        self.retry_after = Some(self.retry_after.map_or(retry, |other| other.min(retry)));
        self.failures.insert(id.clone(), failure);
    }
}

impl Applier {
    /// Makes the children as desired and deletes the owner's others, except Secrets and volume claims: they hold what
    /// cannot be made again. Fails only when this process may not write; everything else is told child by child.
    pub async fn children(&self, children: &Children, cluster: &Cluster) -> Result<Applied, Fenced> {
        self.memory().settle(cluster);
        self.memory().keep_deleted(|uid| cluster.shows(uid));
        let mut applied = Applied::default();
        for desired in &children.desired {
            let live = cluster.children.get(&desired.id);
            let made = self.child(desired, &children.owner, live, cluster).await?;
            applied.take(&desired.id, made);
        }
        self.prune(children, cluster, &mut applied).await?;
        Ok(applied)
    }

    /// Makes one child as desired; `live` is what the watch shows of it. What was changed, or why it could not be made.
    pub(super) async fn child(
        &self,
        desired: &Desired,
        owner: &Owner,
        live: Option<&Arc<Value>>,
        cluster: &Cluster,
    ) -> Result<Result<Option<Change>, Failure>, Fenced> {
        match cluster.unreadable.get(desired.id.kind.as_str()) {
            Some(Unreadable::NotInstalled) => return Ok(Err(Failure::NotInstalled)),
            Some(Unreadable::Forbidden) => {
                let resource = desired.id.kind.plural();
                return Ok(Err(Failure::Forbidden(format!("the operator may not list {resource}"))));
            }
            None => {}
        }
        match self.try_child(desired, owner, live).await {
            Ok(change) => Ok(Ok(change)),
            Err(Trouble::Known(failure)) => Ok(Err(failure)),
            Err(Trouble::Call(ApplyError::Fenced(fenced))) => Err(fenced),
            Err(Trouble::Call(error)) => {
                self.memory().forget(&desired.id);
                Ok(Err(failure(error)))
            }
        }
    }

    async fn try_child(
        &self,
        desired: &Desired,
        owner: &Owner,
        live: Option<&Arc<Value>>,
    ) -> Result<Option<Change>, Trouble> {
        let id = &desired.id;
        let known = self.memory().newest(id, live);
        let live = match known {
            Some(live) => Some(live),
            // Not among ours: nobody may hold the name.
            None => self.get(id).await?.map(Arc::new),
        };
        if desired.manager != MANAGER {
            return self.beside(desired, owner, live.as_deref()).await;
        }
        let (force, change) = match decide(desired, live.as_deref(), owner) {
            Step::Leave => return Ok(None),
            Step::Wait => return Err(Trouble::Known(Failure::Terminating)),
            Step::Foreign(holder) => return Err(Trouble::Known(Failure::Foreign(holder))),
            Step::Create => (Force::No, Change::Created(id.clone())),
            Step::Apply(Why::Changed) => (Force::Yes, Change::Updated(id.clone())),
            Step::Apply(Why::Adopted) => (Force::Yes, Change::Adopted(id.clone())),
            Step::Apply(Why::Edited(fields)) => {
                let fields = self.memory().really_edited(id, &desired.object, fields);
                if fields.is_empty() {
                    return Ok(None);
                }
                if self.memory().may_put_back(id, Instant::now()).is_err() {
                    return Err(Trouble::Known(Failure::Contested(fields)));
                }
                (Force::Yes, Change::PutBack(id.clone(), fields))
            }
        };
        let answer = self.apply(desired, force).await?;
        let differing = differs(&desired.object, &answer);
        self.memory().wrote(id, &desired.object, answer, differing);
        Ok(Some(change))
    }

    /// An apply under a second field manager: only to an object that is ours, and always, for what it changes is who
    /// owns a field, which no comparison shows.
    async fn beside(&self, desired: &Desired, owner: &Owner, live: Option<&Value>) -> Result<Option<Change>, Trouble> {
        if live.is_some_and(|live| is_ours(live, owner)) {
            let answer = self.apply(desired, Force::Yes).await?;
            self.memory().wrote(&desired.id, &desired.object, answer, Vec::new());
        }
        Ok(None)
    }

    async fn prune(&self, children: &Children, cluster: &Cluster, applied: &mut Applied) -> Result<(), Fenced> {
        for (id, live) in superfluous(children, cluster) {
            // Deleted a moment ago; the watch does not show it yet.
            let Some(newest) = self.memory().newest(id, Some(live)) else {
                continue;
            };
            let Some(uid) = text(&newest, &["metadata", "uid"]) else {
                continue;
            };
            match self.delete(id, uid).await {
                Ok(()) => applied.changes.push(Change::Deleted(id.clone())),
                Err(ApplyError::Fenced(fenced)) => return Err(fenced),
                Err(error) => applied.fail(id, failure(error)),
            }
        }
        Ok(())
    }
}

/// The first child that has yet to be made, changed or removed for what is desired now. What only somebody's hand changed
/// is not meant.
pub(crate) fn unmade(children: &Children, cluster: &Cluster) -> Option<ChildId> {
    let is_unmade = |desired: &&Desired| {
        let is_readable = !cluster.unreadable.contains_key(desired.id.kind.as_str());
        let live = cluster.children.get(&desired.id);
        is_readable
            && desired.manager == MANAGER
            && match decide(desired, live.map(AsRef::as_ref), &children.owner) {
                Step::Create | Step::Apply(Why::Changed | Why::Adopted) => true,
                Step::Leave | Step::Wait | Step::Foreign(_) | Step::Apply(Why::Edited(_)) => false,
            }
    };
    let unmade = children.desired.iter().find(is_unmade).map(|desired| &desired.id);
    let unmade = unmade.or_else(|| superfluous(children, cluster).map(|(id, _)| id).next());
    unmade.cloned()
}

/// The owner's children that are not wanted any more. Of a kind that cannot be read nothing is concluded.
fn superfluous<'a>(
    children: &'a Children,
    cluster: &'a Cluster,
) -> impl Iterator<Item = (&'a ChildId, &'a Arc<Value>)> {
    let wanted: BTreeSet<&ChildId> = children.desired.iter().map(|desired| &desired.id).collect();
    cluster.children.iter().filter(move |(id, live)| {
        let holds_data = matches!(id.kind, ChildKind::Secret | ChildKind::PersistentVolumeClaim);
        let is_frozen = cluster.unreadable.contains_key(id.kind.as_str());
        !(holds_data || is_frozen || wanted.contains(id) || children.kept.contains(id))
            && is_ours(live, &children.owner)
            && id.key.namespace == children.owner.key.namespace
            && text(live, &["metadata", "deletionTimestamp"]).is_none()
    })
}

/// Why a child could not be made as desired.
enum Trouble {
    Known(Failure),
    Call(ApplyError),
}

impl From<ApplyError> for Trouble {
    fn from(error: ApplyError) -> Self {
        Self::Call(error)
    }
}

fn failure(error: ApplyError) -> Failure {
    match error {
        ApplyError::Forbidden(message) => Failure::Forbidden(message),
        ApplyError::Invalid(message) => Failure::Invalid(message),
        ApplyError::Unavailable(source) => Failure::Unavailable(source.to_string()),
        error @ (ApplyError::Fenced(_)
        | ApplyError::Deadline
        | ApplyError::NotFound(_)
        | ApplyError::Conflict(_)
        | ApplyError::AlreadyExists(_)
        | ApplyError::Request(_)) => Failure::Unavailable(error.to_string()),
    }
}

/// The first few of a list, for people.
pub(crate) fn some(fields: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = fields.iter().take(SHOWN).map(String::as_str).collect();
    let more = fields.len().saturating_sub(SHOWN);
    if more == 0 {
        shown.join(", ")
    } else {
        format!("{} and {more} more", shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::ObjectKey;

    #[test]
    fn of_a_kind_that_cannot_be_read_nothing_is_deleted() {
        let owner = Owner {
            kind: crds::Kind::AuthServer,
            key: ObjectKey::new("login", "main"),
            uid: "u".to_owned(),
        };
        let mut cluster = Cluster::default();
        for kind in [ChildKind::Ingress, ChildKind::HttpRoute, ChildKind::Secret] {
            let id = ChildId::new(kind, "login", "main");
            let live = Desired::owned(id.clone(), &owner, serde_json::json!({})).object;
            cluster.children.insert(id, Arc::new(live));
        }
        let children = Children {
            owner,
            desired: Vec::new(),
            kept: BTreeSet::new(),
            again_after: None,
        };
        let kinds = |cluster: &Cluster| {
            superfluous(&children, cluster)
                .map(|(id, _)| id.kind)
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds(&cluster), [ChildKind::Ingress, ChildKind::HttpRoute]);
        cluster.unreadable.insert("HTTPRoute".to_owned(), Unreadable::Forbidden);
        assert_eq!(kinds(&cluster), [ChildKind::Ingress]);
    }
}
