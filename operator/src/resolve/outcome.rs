//! What came of one Realm or Client, and what both kinds have in common: which object it attaches to, who keeps a name
//! that several claim, and when the former version stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::conditions::Reason;
use crds::manifests::Kind;
use crds::reference::ObjectRef;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::admit::Admission;
use super::conflict::{self, Claim};
use super::{Problem, is_paused};
use crate::world::{ObjectId, ObjectKey, World};

/// What came of one object. `S` is what servers get, `M` what else its kind needs.
#[derive(Debug)]
pub(super) struct Outcome<S, M> {
    /// The fleet that serves it.
    pub(super) fleet: Option<ObjectKey>,
    /// What is served: compiled from its spec, or its former version.
    pub(super) served: Option<S>,
    pub(super) origin: Origin,
    pub(super) problems: Vec<Problem>,
    pub(super) more: M,
}

/// Where what is served comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Compiled from the spec.
    Spec,
    /// The former version: the spec cannot be used.
    Former,
    /// The former version, because the object is frozen; its spec says the same.
    Frozen,
    /// The former version, because the object is frozen; its spec says something else by now.
    Withheld,
}

impl Origin {
    /// Whether it is as the spec says.
    pub(super) fn is_current(self) -> bool {
        match self {
            Self::Spec | Self::Frozen => true,
            Self::Former | Self::Withheld => false,
        }
    }
}

impl<S, M: Default> Default for Outcome<S, M> {
    fn default() -> Self {
        Self::of(Vec::new(), M::default())
    }
}

impl<S, M> Outcome<S, M> {
    /// Nothing is served.
    pub(super) fn of(problems: Vec<Problem>, more: M) -> Self {
        Self {
            fleet: None,
            served: None,
            origin: Origin::Spec,
            problems,
            more,
        }
    }
}

/// A reference to the object that another one attaches to.
pub(super) struct Attachment<'a> {
    /// Who refers.
    pub(super) from: &'a ObjectKey,
    pub(super) reference: &'a ObjectRef,
    /// Where the reference stands.
    pub(super) field: &'static str,
    /// What is referred to.
    pub(super) kind: Kind,
    /// Where the other side admits, and what.
    pub(super) admits: (&'static str, &'static str),
}

impl Attachment<'_> {
    /// The object that is referred to, when it exists and admits the one that refers: both sides have to agree.
    pub(super) fn resolve<'w, T>(
        &self,
        world: &World,
        targets: &'w BTreeMap<ObjectKey, Arc<T>>,
        admission: impl Fn(&'w T) -> Admission<'w>,
    ) -> Result<(ObjectKey, &'w T), Problem> {
        let own = self.from.namespace.as_str();
        let namespace = self.reference.namespace.as_ref();
        let namespace = namespace.map_or(own, |namespace| namespace.as_str());
        let key = ObjectKey::new(namespace, self.reference.name.as_str());
        let Some(target) = targets.get(&key) else {
            return Err(self.dangling(world, key));
        };
        if admission(target).admits(own, &key.namespace, &world.namespaces) {
            return Ok((key, target));
        }
        let (kind, (list, what)) = (self.kind.as_str(), self.admits);
        let fix = format!("its owner can change {list} there");
        let message = format!("{kind} {key} admits no {what} of namespace {own}: {fix}");
        Err(Problem::not_admitted(self.field, message))
    }

    /// A reference that leads nowhere, or to an object that cannot be used.
    fn dangling(&self, world: &World, key: ObjectKey) -> Problem {
        let (kind, field) = (self.kind, self.field);
        let name = format!("{} {key}", kind.as_str());
        if world.undecodable.contains_key(&ObjectId { kind, key }) {
            Problem::unusable(field, format!("{name} cannot be read: correct it"))
        } else {
            Problem::missing(
                format!("{field}.name"),
                format!("{name} does not exist: create it, or correct the reference"),
            )
        }
    }
}

/// How the objects of one kind stand beside each other.
pub(super) trait Contested<S, N> {
    /// The name that only one object of a fleet can have.
    fn name(&self, fleet: &ObjectKey, served: &S) -> N;
    /// The version that is served now, with its fleet, when that may go on.
    fn former(&self, key: &ObjectKey) -> Option<(ObjectKey, S)>;
    /// Whether a former version is what the spec says now, apart from secrets that come and go by themselves.
    fn is_same(&self, compiled: &S, former: &S) -> bool;
    /// Who is served under a name now.
    fn incumbent(&self, name: &N) -> Option<ObjectKey>;
    /// What is said to an object whose name another one has.
    fn lost(&self, winner: &ObjectKey) -> Problem;
}

/// Completes what came of each object: one that cannot be read or used, or is frozen, keeps its former version, and of
/// those that claim one name all but one give way.
pub(super) fn settle<'w, S, M: Default, N: Ord + Clone>(
    outcomes: &mut BTreeMap<ObjectKey, Outcome<S, M>>,
    undecodable: BTreeSet<&ObjectKey>,
    metadata: impl Fn(&ObjectKey) -> Option<&'w ObjectMeta>,
    rules: &impl Contested<S, N>,
) {
    for key in undecodable {
        outcomes.insert(key.clone(), Outcome::default());
    }
    let mut held = BTreeMap::new();
    let mut claims = Vec::new();
    for (key, outcome) in &mut *outcomes {
        let metadata = metadata(key);
        let is_paused = metadata.is_some_and(is_paused);
        if (outcome.served.is_none() && keeps_former(&outcome.problems)) || is_paused {
            let compiled = outcome.fleet.take().zip(outcome.served.take());
            let former = rules.former(key);
            outcome.origin = match (&compiled, &former) {
                (None, _) => Origin::Former,
                (Some((fleet, compiled)), Some((other, former)))
                    if fleet == other && rules.is_same(compiled, former) =>
                {
                    Origin::Frozen
                }
                (Some(_), _) => Origin::Withheld,
            };
            if let Some((fleet, served)) = former {
                held.insert(rules.name(&fleet, &served), key.clone());
                outcome.fleet = Some(fleet);
                outcome.served = Some(served);
            }
        } else if let (Some(fleet), Some(served)) = (&outcome.fleet, &outcome.served) {
            let created = metadata.and_then(|metadata| metadata.creation_timestamp.as_ref());
            claims.push(Claim {
                name: rules.name(fleet, served),
                holder: key.clone(),
                created: created.map(|time| time.0),
            });
        }
    }
    for (loser, winner) in conflict::losers(claims, &held, |name| rules.incumbent(name)) {
        if let Some(outcome) = outcomes.get_mut(&loser) {
            outcome.served = None;
            outcome.problems.push(rules.lost(&winner));
        }
    }
}

/// Whether an object with these problems keeps serving its last good version. What is not admitted, taken by another, or
/// being deleted is withdrawn.
fn keeps_former(problems: &[Problem]) -> bool {
    let withdraws = |problem: &Problem| {
        matches!(
            problem.reason,
            Reason::NotAdmitted | Reason::Conflict | Reason::Deleting
        )
    };
    !problems.iter().any(withdraws)
}
