//! Certificate authorities and certificates of the configuration stream as Secrets, and which of them have to be written.
//!
//! The operators' authority and one authority for each fleet lie in the operator's namespace; what the pods of a fleet
//! show and trust lies beside them in `NAME-peer`: `tls.crt`, `tls.key` and `ca.crt`. When cert-manager issues what they
//! show (into `NAME-peer-tls`), `NAME-peer` holds `ca.crt` alone and that fleet's authority is the `ca.crt` of the issued
//! Secret. Everything that a decision depends on is in the Secrets, so that any leader decides the same.

use std::collections::BTreeMap;

use crds::auth_server::PeerTls;
use oidc::{Secret, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use snapshot::{Fleet, Hash};

use super::artefact::{SecretWrite, SeenSecret};
use super::{MANAGED_BY, Owner};
use crate::pki::{
    Authority, AuthorityState, CertificateState, Due, Leaf, PkiError, Rotation, Standing, Succession, due,
};
use crate::world::{Data, ObjectKey, SecretObject, Texts};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const TRUST: &str = "ca.crt";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";

/// When the successor of an authority was announced, Unix seconds.
const ANNOUNCED: &str = "auth.nauthera.io/announced";

/// Since when the successor of an authority issues, or when it last did, Unix seconds.
const ISSUED: &str = "auth.nauthera.io/issued";

/// The fleet whose servers an authority signs: `namespace/name`.
const FLEET: &str = "auth.nauthera.io/fleet";

/// What pods show and trust.
pub fn peer_secret(fleet: &ObjectKey) -> ObjectKey {
    ObjectKey::new(&fleet.namespace, format!("{}-peer", fleet.name))
}

/// What pods show when cert-manager issues it.
pub fn issued_peer_secret(fleet: &ObjectKey) -> ObjectKey {
    ObjectKey::new(&fleet.namespace, format!("{}-peer-tls", fleet.name))
}

/// The operators' authority.
pub fn operator_authority_secret(namespace: &str) -> ObjectKey {
    ObjectKey::new(namespace, "nauthera-operator-ca")
}

/// The authority of a fleet's servers.
pub fn fleet_authority_secret(namespace: &str, fleet: &ObjectKey) -> ObjectKey {
    let hash = Hash::of(fleet.to_string().as_bytes()).to_string();
    let short = hash.get(..16).unwrap_or(&hash);
    ObjectKey::new(namespace, format!("nauthera-fleet-{short}"))
}

/// An authority as its Secret has it.
pub fn authority(secret: &SecretObject) -> Result<Succession, PkiError> {
    let pair = |certificate: &str, key: &str| {
        let key = Secret::new(text(secret, key).ok_or(PkiError::Read)?.to_owned());
        Authority::from_pem(text(secret, certificate).ok_or(PkiError::Read)?, &key)
    };
    let mut rotation = Rotation::new(pair(CERTIFICATE, KEY)?);
    let announced = time(secret, ANNOUNCED).filter(|_| secret.data.contains_key(NEXT_CERTIFICATE));
    if announced.is_some() {
        rotation.announce(pair(NEXT_CERTIFICATE, NEXT_KEY)?);
    }
    Ok(Succession {
        rotation,
        announced,
        issued: time(secret, ISSUED).filter(|_| announced.is_some()),
    })
}

/// Whether operators show certificates of the successor of their authority.
pub fn shows_next(operators: &Succession) -> bool {
    operators.issued.is_some()
}

/// The authorities of a fleet's servers: what is trusted of exactly this fleet.
pub fn trusted(
    operator_namespace: &str,
    fleet: &ObjectKey,
    peer_tls: &PeerTls,
    seen: impl Fn(&ObjectKey) -> Option<SeenSecret>,
) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let bundle = match peer_tls {
        PeerTls::BuiltIn(_) => {
            let secret = seen(&fleet_authority_secret(operator_namespace, fleet)).ok_or(PkiError::Read)?;
            authority(&secret.object)?.bundle()
        }
        PeerTls::CertManager(_) => {
            let secret = seen(&issued_peer_secret(fleet)).ok_or(PkiError::Read)?;
            text(&secret.object, TRUST).ok_or(PkiError::Read)?.to_owned()
        }
    };
    let certificates = CertificateDer::pem_slice_iter(bundle.as_bytes());
    let certificates = certificates
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| PkiError::Read)?;
    if certificates.is_empty() {
        return Err(PkiError::Read);
    }
    Ok(certificates)
}

/// A fleet whose peers are looked after.
#[derive(Clone, Copy, Debug)]
pub struct FleetPeers<'a> {
    /// The AuthServer.
    pub owner: &'a Owner,
    /// Who issues what its servers show.
    pub peer_tls: &'a PeerTls,
}

/// What has to be written for the operators' own authority. `reported` has one entry for each connected server of any
/// fleet: the bundle that it trusts.
pub fn operator_write(
    operator_namespace: &str,
    seen: Option<SeenSecret>,
    reported: &[Option<Hash>],
    now: Timestamp,
) -> Result<Option<SecretWrite>, PkiError> {
    let Some(present) = &seen else {
        let succession = Succession::new("nauthera operators", now)?;
        return Ok(Some(operator_secret(operator_namespace, &succession, seen)));
    };
    let mut succession = authority(&present.object)?;
    let bundle = Hash::of(succession.bundle().as_bytes());
    let standing = Standing {
        operator_authority: succession.state(),
        server_authority: never(),
        // Each operator renews its own certificate; here it is only decided which authority may issue it.
        operator: CertificateState {
            renew_at: FAR,
            is_from_next: shows_next(&succession),
        },
        servers: BTreeMap::new(),
        trusts_announced: reported.iter().map(|hash| *hash == Some(bundle)).collect(),
    };
    let list = due(now, &standing);
    for due in &list {
        match due {
            Due::Announce(_) => succession.announce(now)?,
            Due::Operator { from_next } => succession.note(*from_next, now),
            Due::Complete(_) => succession.complete(),
            Due::Server { .. } => {}
        }
    }
    Ok((!list.is_empty()).then(|| operator_secret(operator_namespace, &succession, seen)))
}

fn operator_secret(namespace: &str, succession: &Succession, seen: Option<SeenSecret>) -> SecretWrite {
    let (annotations, data) = entries(succession);
    SecretWrite {
        key: operator_authority_secret(namespace),
        object: object(own_labels(), annotations, data),
        owner: None,
        replaces: seen.map(|seen| seen.version),
    }
}

/// What has to be written for the peers of one fleet, in this order: its authority, then what its pods mount.
pub fn fleet_writes(
    operator_namespace: &str,
    fleet: &FleetPeers<'_>,
    operators: &Succession,
    seen: impl Fn(&ObjectKey) -> Option<SeenSecret>,
    now: Timestamp,
) -> Result<Vec<SecretWrite>, PkiError> {
    let bundle = operators.bundle();
    match fleet.peer_tls {
        PeerTls::BuiltIn(_) => built_in(operator_namespace, fleet, &bundle, seen, now),
        PeerTls::CertManager(_) => {
            let data = Data::from_iter([(TRUST.to_owned(), Secret::new(bundle.into_bytes()))]);
            Ok(peer_write(fleet, data, seen(&peer_secret(&fleet.owner.key)))
                .into_iter()
                .collect())
        }
    }
}

fn built_in(
    operator_namespace: &str,
    fleet: &FleetPeers<'_>,
    bundle: &str,
    seen: impl Fn(&ObjectKey) -> Option<SeenSecret>,
    now: Timestamp,
) -> Result<Vec<SecretWrite>, PkiError> {
    let name = Fleet::new(&fleet.owner.key.namespace, &fleet.owner.key.name).map_err(|_| PkiError::Read)?;
    let authority_key = fleet_authority_secret(operator_namespace, &fleet.owner.key);
    let seen_authority = seen(&authority_key);
    let mut is_new = false;
    let mut succession = if let Some(present) = &seen_authority {
        authority(&present.object)?
    } else {
        is_new = true;
        Succession::new(&fleet.owner.key.to_string(), now)?
    };
    let seen_peer = seen(&peer_secret(&fleet.owner.key));
    let present = seen_peer.as_ref().and_then(|secret| leaf(&secret.object));
    // What another authority issued, or nobody, is no certificate of this fleet.
    let mut leaf = present.filter(|leaf| succession.is_from_next(leaf) || succession.rotation.current().issued(leaf));
    let state = |succession: &Succession, leaf: &Option<Leaf>| CertificateState {
        renew_at: leaf.as_ref().map_or(now, |leaf| leaf.renew_at),
        is_from_next: leaf.as_ref().is_some_and(|leaf| succession.is_from_next(leaf)),
    };
    let standing = Standing {
        operator_authority: never(),
        server_authority: succession.state(),
        operator: CertificateState {
            renew_at: FAR,
            is_from_next: false,
        },
        servers: BTreeMap::from([(fleet.owner.key.to_string(), state(&succession, &leaf))]),
        trusts_announced: Vec::new(),
    };
    for due in due(now, &standing) {
        match due {
            Due::Announce(_) => {
                succession.announce(now)?;
                is_new = true;
            }
            Due::Server { from_next, .. } => {
                leaf = Some(succession.issuer(from_next).issue_server(&name, now)?);
                succession.note(from_next, now);
                is_new |= from_next;
            }
            Due::Complete(_) => {
                succession.complete();
                is_new = true;
            }
            Due::Operator { .. } => {}
        }
    }
    let mut writes = Vec::new();
    if is_new {
        writes.push(fleet_secret(&authority_key, fleet, &succession, seen_authority));
    }
    if let Some(leaf) = leaf {
        let files = leaf.files(bundle).into_iter();
        let data = files.map(|(name, file)| (name, Secret::new(file))).collect();
        writes.extend(peer_write(fleet, data, seen_peer));
    }
    Ok(writes)
}

/// The authority of a fleet is in the operator's namespace and therefore goes with nobody.
fn fleet_secret(
    key: &ObjectKey,
    fleet: &FleetPeers<'_>,
    succession: &Succession,
    seen: Option<SeenSecret>,
) -> SecretWrite {
    let (mut annotations, data) = entries(succession);
    annotations.insert(FLEET.to_owned(), fleet.owner.key.to_string());
    SecretWrite {
        key: key.clone(),
        object: object(own_labels(), annotations, data),
        owner: None,
        replaces: seen.map(|seen| seen.version),
    }
}

fn peer_write(fleet: &FleetPeers<'_>, data: Data, seen: Option<SeenSecret>) -> Option<SecretWrite> {
    let is_right = seen
        .as_ref()
        .is_some_and(|seen| seen.owner.as_deref() == Some(&fleet.owner.uid) && seen.object.data == data);
    (!is_right).then(|| SecretWrite {
        key: peer_secret(&fleet.owner.key),
        object: object(fleet.owner.labels(), fleet.owner.annotations(), data),
        owner: Some(fleet.owner.clone()),
        replaces: seen.map(|seen| seen.version),
    })
}

/// Labels of what belongs to the operators themselves.
fn own_labels() -> Texts {
    let labels = [
        MANAGED_BY,
        ("app.kubernetes.io/name", "nauthera"),
        ("app.kubernetes.io/component", "operator"),
    ];
    labels
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .collect()
}

fn object(labels: Texts, annotations: Texts, data: Data) -> SecretObject {
    SecretObject {
        kind: "Opaque".to_owned(),
        labels,
        annotations,
        data,
    }
}

/// A time that does not come.
const FAR: Timestamp = Timestamp::from_unix_seconds(i64::MAX / 2000);

/// An authority of which nothing is ever due.
const fn never() -> AuthorityState {
    AuthorityState {
        replace_at: FAR,
        announced: None,
        issued: None,
    }
}

type Entries = (Texts, Data);

/// Annotations and data of an authority's Secret.
fn entries(succession: &Succession) -> Entries {
    let Succession {
        rotation,
        announced,
        issued,
    } = succession;
    let times = [(ANNOUNCED, announced), (ISSUED, issued)];
    let times = times.into_iter().filter_map(|(name, time)| Some((name, (*time)?)));
    let annotations = times.map(|(name, time)| (name.to_owned(), time.unix_seconds().to_string()));
    let current = [(CERTIFICATE, KEY, rotation.current())];
    let pairs = current
        .into_iter()
        .chain(rotation.next().map(|next| (NEXT_CERTIFICATE, NEXT_KEY, next)));
    let data = pairs.flat_map(|(certificate, key, authority)| {
        let pem = authority.certificate_pem().as_bytes().to_vec();
        let secret = authority.key_pem().expose().as_bytes().to_vec();
        [
            (certificate.to_owned(), Secret::new(pem)),
            (key.to_owned(), Secret::new(secret)),
        ]
    });
    (annotations.collect(), data.collect())
}

fn leaf(secret: &SecretObject) -> Option<Leaf> {
    let key = Secret::new(text(secret, KEY)?.to_owned());
    Leaf::from_pem(text(secret, CERTIFICATE)?, &key).ok()
}

fn text<'s>(secret: &'s SecretObject, name: &str) -> Option<&'s str> {
    std::str::from_utf8(secret.data.get(name)?.expose()).ok()
}

fn time(secret: &SecretObject, name: &str) -> Option<Timestamp> {
    let seconds = secret.annotations.get(name)?.parse().ok()?;
    Some(Timestamp::from_unix_seconds(seconds))
}
