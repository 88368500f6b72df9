//! Realms by their issuers.

use std::hash::{Hash, Hasher, RandomState};
use std::sync::Arc;

use hashbrown::{Equivalent, HashSet};

use super::ServedRealm;
use crate::config::Issuer;

/// Realms by host and path of their issuers. The names are read in the realms themselves, so that a lookup among 10 000
/// of them touches hardly more memory than one among two.
#[derive(Clone, Debug, Default)]
pub(super) struct Issuers {
    realms: HashSet<ByIssuer, RandomState>,
    /// Segments of the longest path of an issuer, or more.
    deepest: usize,
}

/// A realm that is found by the issuer in it.
#[derive(Clone, Debug)]
struct ByIssuer(Arc<ServedRealm>);

/// Where an issuer is, by which it is found: whether it is https does not matter.
#[derive(PartialEq, Eq, Hash)]
struct Place<'a> {
    authority: &'a str,
    path: &'a str,
}

impl<'a> From<&'a Issuer> for Place<'a> {
    fn from(issuer: &'a Issuer) -> Self {
        Self {
            authority: issuer.authority(),
            path: issuer.path(),
        }
    }
}

impl ByIssuer {
    fn place(&self) -> Place<'_> {
        Place::from(&self.0.realm.issuer)
    }
}

impl Hash for ByIssuer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

impl PartialEq for ByIssuer {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for ByIssuer {}

impl Equivalent<ByIssuer> for Place<'_> {
    fn equivalent(&self, realm: &ByIssuer) -> bool {
        *self == realm.place()
    }
}

impl Issuers {
    /// The realm whose issuer has this host and is the longest prefix of `path`, with the rest of the path. One lookup
    /// for each part of the path that may be an issuer's, however many there are.
    pub(super) fn find<'s, 'p>(&'s self, authority: &str, path: &'p str) -> Option<(&'s Arc<ServedRealm>, &'p str)> {
        let deepest = self.deepest.min(segments(path));
        (0..=deepest).rev().find_map(|segments| {
            let mut ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            let (issuer_path, rest) = path.split_at_checked(ends.nth(segments)?)?;
            let place = Place {
                authority,
                path: issuer_path,
            };
            let ByIssuer(realm) = self.realms.get(&place)?;
            Some((realm, rest))
        })
    }

    /// Adds a realm, in place of a former one at its place.
    pub(super) fn put(&mut self, realm: &Arc<ServedRealm>) {
        self.deepest = self.deepest.max(segments(realm.realm.issuer.path()));
        self.realms.replace(ByIssuer(Arc::clone(realm)));
    }

    /// Removes a realm, unless another one has its place by now.
    pub(super) fn remove(&mut self, realm: &ServedRealm) {
        let place = Place::from(&realm.realm.issuer);
        let found = self.realms.get(&place);
        if found.is_some_and(|ByIssuer(found)| found.realm.id == realm.realm.id) {
            self.realms.remove(&place);
        }
    }
}

fn segments(path: &str) -> usize {
    path.matches('/').count()
}
