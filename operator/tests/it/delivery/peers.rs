//! Authorities and certificates in Secrets.

use std::time::Duration;

use crds::auth_server::{BuiltIn, PeerTls};
use oidc::Timestamp;
use operator::build::peers::{
    FleetPeers, authority, fleet_authority_secret, fleet_writes, operator_authority_secret, operator_write,
    peer_secret, shows_next, trusted,
};
use snapshot::Hash;

use super::{Secrets, owner};
use crate::publish::now;

pub(super) const NAMESPACE: &str = "nauthera-system";

const DAY: Duration = Duration::from_hours(24);
const YEAR: Duration = Duration::from_hours(365 * 24);

pub(super) const BUILT_IN: PeerTls = PeerTls::BuiltIn(BuiltIn {});

/// What a leader does that knows nothing but the Secrets. Names what it wrote.
pub(super) fn lead(
    secrets: &mut Secrets,
    fleets: &[(&str, &PeerTls)],
    reported: &[Option<Hash>],
    now: Timestamp,
) -> Vec<String> {
    let mut written = Vec::new();
    let key = operator_authority_secret(NAMESPACE);
    if let Some(write) = operator_write(NAMESPACE, secrets.seen(&key), reported, now).unwrap() {
        secrets.write(&write).unwrap();
        written.push(write.key.name.clone());
    }
    let operators = authority(secrets.object(&key).unwrap()).unwrap();
    for (name, peer_tls) in fleets {
        let owner = owner(name);
        let fleet = FleetPeers {
            owner: &owner,
            peer_tls,
        };
        let writes = fleet_writes(NAMESPACE, &fleet, &operators, |key| secrets.seen(key), now).unwrap();
        for write in writes {
            secrets.write(&write).unwrap();
            written.push(write.key.name.clone());
        }
    }
    written
}

fn bundle(secrets: &Secrets, name: &str) -> Hash {
    let peer = secrets.object(&peer_secret(&owner(name).key)).unwrap();
    Hash::of(peer.data.get("ca.crt").unwrap().expose())
}

fn authorities(secrets: &Secrets, name: &str) -> usize {
    let trusted = trusted(NAMESPACE, &owner(name).key, &BUILT_IN, |key| secrets.seen(key));
    trusted.unwrap().len()
}

#[test]
fn certificates_are_made_once_renewed_in_time_and_nothing_is_written_in_between() {
    let (mut secrets, start) = (Secrets::default(), now());
    let fleets = [("a", &BUILT_IN), ("b", &BUILT_IN)];
    let fleet_a = fleet_authority_secret(NAMESPACE, &owner("a").key).name;
    let fleet_b = fleet_authority_secret(NAMESPACE, &owner("b").key).name;
    let written = lead(&mut secrets, &fleets, &[], start);
    let all = ["nauthera-operator-ca", &fleet_a, "a-peer", &fleet_b, "b-peer"];
    assert_eq!(written, all);
    assert_eq!(lead(&mut secrets, &fleets, &[], start.after(DAY * 19)), [""; 0]);
    assert_eq!(
        lead(&mut secrets, &fleets, &[], start.after(DAY * 20)),
        ["a-peer", "b-peer"]
    );

    // Removed by hand: the authority goes on, only the certificate is another one.
    secrets.objects.remove(&peer_secret(&owner("a").key));
    assert_eq!(lead(&mut secrets, &fleets, &[], start.after(DAY * 21)), ["a-peer"]);
    // A fleet whose authority was removed gets another one, and a certificate of that.
    secrets
        .objects
        .remove(&fleet_authority_secret(NAMESPACE, &owner("a").key));
    assert_eq!(
        lead(&mut secrets, &fleets, &[], start.after(DAY * 21)),
        [fleet_a.as_str(), "a-peer"]
    );
}

#[test]
fn an_authority_is_followed_by_overlap_whoever_leads_at_which_step() {
    let (mut secrets, start) = (Secrets::default(), now());
    let fleets = [("a", &BUILT_IN)];
    let fleet = fleet_authority_secret(NAMESPACE, &owner("a").key).name;
    lead(&mut secrets, &fleets, &[], start);
    let before = bundle(&secrets, "a");
    let operators =
        |secrets: &Secrets| authority(secrets.object(&operator_authority_secret(NAMESPACE)).unwrap()).unwrap();

    // A year before their end both authorities are followed: announced first.
    let late = start.after(YEAR * 9);
    let written = lead(&mut secrets, &fleets, &[Some(before)], late);
    assert_eq!(written, ["nauthera-operator-ca", &fleet, "a-peer"]);
    let both = bundle(&secrets, "a");
    assert_ne!(both, before);
    assert_eq!(authorities(&secrets, "a"), 2);
    assert!(!shows_next(&operators(&secrets)));

    // The fleet's certificate changes hands when every operator knows the new authority, the operators' only when
    // every connected server trusts it.
    let settled = late.after(Duration::from_mins(10));
    assert_eq!(
        lead(&mut secrets, &fleets, &[Some(both), Some(before)], settled),
        [fleet.as_str(), "a-peer"]
    );
    assert!(!shows_next(&operators(&secrets)));
    assert_eq!(
        lead(&mut secrets, &fleets, &[Some(both), Some(both)], settled),
        ["nauthera-operator-ca"]
    );
    assert!(shows_next(&operators(&secrets)));
    assert_eq!(
        lead(&mut secrets, &fleets, &[Some(both)], settled.after(DAY / 2)),
        [""; 0]
    );

    let over = settled.after(DAY);
    let written = lead(&mut secrets, &fleets, &[Some(both)], over);
    assert_eq!(written, ["nauthera-operator-ca", &fleet, "a-peer"]);
    assert_eq!(authorities(&secrets, "a"), 1);
    assert!(!shows_next(&operators(&secrets)));
    assert_ne!(bundle(&secrets, "a"), both);
    let after = bundle(&secrets, "a");
    assert_eq!(lead(&mut secrets, &fleets, &[Some(after)], over.after(DAY)), [""; 0]);
}
