//! Who keeps a name that several objects claim: whoever is served under it, then the oldest, then the first by name.

use std::collections::BTreeMap;

use crate::world::ObjectKey;

/// An object that claims a name (an issuer, a client id).
pub(crate) struct Claim<N> {
    pub(crate) name: N,
    pub(crate) holder: ObjectKey,
    pub(crate) created: Option<k8s_openapi::jiff::Timestamp>,
}

/// Every object that has to give way, with the one that it gives way to. `held` are names that are kept whatever is
/// claimed; `incumbent` tells who is served under a name now.
pub(crate) fn losers<N: Ord>(
    mut claims: Vec<Claim<N>>,
    held: &BTreeMap<N, ObjectKey>,
    incumbent: impl Fn(&N) -> Option<ObjectKey>,
) -> Vec<(ObjectKey, ObjectKey)> {
    claims.sort_by(|a, b| {
        let age = |claim: &Claim<N>| (claim.created.is_none(), claim.created);
        a.name
            .cmp(&b.name)
            .then_with(|| age(a).cmp(&age(b)))
            .then_with(|| a.holder.cmp(&b.holder))
    });
    let mut losers = Vec::new();
    for claims in claims.chunk_by(|a, b| a.name == b.name) {
        let Some(first) = claims.first() else { continue };
        let winner = match held.get(&first.name) {
            Some(holder) => holder.clone(),
            None if claims.len() == 1 => continue,
            None => {
                let served = incumbent(&first.name);
                let served = served.filter(|key| claims.iter().any(|claim| claim.holder == *key));
                served.unwrap_or_else(|| first.holder.clone())
            }
        };
        let lost = claims.iter().filter(|claim| claim.holder != winner);
        losers.extend(lost.map(|claim| (claim.holder.clone(), winner.clone())));
    }
    losers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(claims: &[(&str, Option<i64>)], held: Option<&str>, incumbent: Option<&str>) -> Vec<String> {
        let key = |name: &str| ObjectKey::new("ns", name);
        let claims = claims.iter().map(|(name, created)| Claim {
            name: (),
            holder: key(name),
            created: created.map(|second| k8s_openapi::jiff::Timestamp::from_second(second).unwrap()),
        });
        let held = held.map(|holder| ((), key(holder))).into_iter().collect();
        let losers = losers(claims.collect(), &held, |()| incumbent.map(key));
        losers
            .into_iter()
            .map(|(loser, winner)| format!("{}<{}", loser.name, winner.name))
            .collect()
    }

    #[test]
    fn the_incumbent_then_the_oldest_then_the_first_by_name_keeps_a_name() {
        let none: Vec<String> = Vec::new();
        assert_eq!(check(&[("a", None)], None, None), none);
        assert_eq!(check(&[("b", None), ("a", None)], None, None), ["b<a"]);
        assert_eq!(
            check(&[("a", Some(2)), ("b", Some(1)), ("c", None)], None, None),
            ["a<b", "c<b"]
        );
        assert_eq!(check(&[("a", Some(1)), ("b", Some(2))], None, Some("b")), ["a<b"]);
        assert_eq!(check(&[("a", Some(1)), ("b", Some(2))], None, Some("gone")), ["b<a"]);
        assert_eq!(check(&[("a", Some(1))], Some("z"), None), ["a<z"]);
    }
}
