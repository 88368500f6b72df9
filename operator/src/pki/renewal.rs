//! Certificates in operation: what is due now, decided as a pure function, and the peers of one fleet that do it.
//!
//! Certificates are renewed after two thirds of their life, authorities are followed a year before their end. Nothing
//! here drops a stream: a renewed certificate is shown at the next handshake.

use std::collections::BTreeMap;
use std::time::Duration;

use oidc::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use snapshot::{Fleet, Hash};

use super::{Authority, Leaf, PkiError, Rotation};

/// After an announcement nothing is issued under the new authority for so long: every operator has to know it.
const SETTLE: Duration = Duration::from_mins(10);

/// When no server is connected, nobody can report a bundle; after so long everybody has read the file.
const UNHEARD: Duration = Duration::from_hours(24);

/// How long the former authority stays trusted after the last certificate came from its successor. Longer than any
/// stream gets, so that every peer has shaken hands anew.
const OVERLAP: Duration = Duration::from_hours(24);

/// Whom an authority signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// What operators show.
    Operator,
    /// What servers show.
    Servers,
}

/// How an authority and its successor stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorityState {
    /// When a successor has to be announced.
    pub replace_at: Timestamp,
    /// When the successor was announced, if there is one.
    pub announced: Option<Timestamp>,
    /// When the last certificate was issued by the successor.
    pub issued: Option<Timestamp>,
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateState {
    /// When a new one is due.
    pub renew_at: Timestamp,
    /// Whether the successor of the first authority issued it.
    pub is_from_next: bool,
}

/// Everything that [`due`] decides by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The authority of what operators show.
    pub operator_authority: AuthorityState,
    /// The authority of what servers show.
    pub server_authority: AuthorityState,
    /// The operator's certificate.
    pub operator: CertificateState,
    /// The servers' certificates, by server.
    pub servers: BTreeMap<String, CertificateState>,
    /// For each connected server, whether it reported that it trusts the announced authority.
    pub trusts_announced: Vec<bool>,
}

/// Something that has to be done now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Make a successor and have it trusted beside the first authority.
    Announce(Side),
    /// Issue the operator's certificate.
    Operator {
        /// Whether the successor may issue it.
        from_next: bool,
    },
    /// Issue a server's certificate.
    Server {
        /// Which.
        server: String,
        /// Whether the successor may issue it.
        from_next: bool,
    },
    /// The successor is the only authority from now on.
    Complete(Side),
}

/// What has to be done at `now`, in this order.
pub fn due(now: Timestamp, standing: &Standing) -> Vec<Due> {
    let Standing {
        operator_authority,
        server_authority,
        operator,
        servers,
        trusts_announced,
    } = standing;
    let mut list = Vec::new();
    for (side, authority) in [(Side::Operator, operator_authority), (Side::Servers, server_authority)] {
        if authority.announced.is_none() && now >= authority.replace_at {
            list.push(Due::Announce(side));
        }
    }
    let heard = match trusts_announced.as_slice() {
        [] => passed(now, operator_authority.announced, UNHEARD),
        reports => operator_authority.announced.is_some() && reports.iter().all(|report| *report),
    };
    if let Some(from_next) = issue(now, operator, heard) {
        list.push(Due::Operator { from_next });
    }
    let settled = passed(now, server_authority.announced, SETTLE);
    for (server, certificate) in servers {
        if let Some(from_next) = issue(now, certificate, settled) {
            let server = server.clone();
            list.push(Due::Server { server, from_next });
        }
    }
    if operator.is_from_next && heard && passed(now, operator_authority.issued, OVERLAP) {
        list.push(Due::Complete(Side::Operator));
    }
    let all_next = servers.values().all(|certificate| certificate.is_from_next);
    if server_authority.announced.is_some() && all_next && passed(now, server_authority.issued, OVERLAP) {
        list.push(Due::Complete(Side::Servers));
    }
    list
}

/// Whether a certificate has to be issued, and whether the successor issues it. One that came from the successor stays
/// with it.
fn issue(now: Timestamp, certificate: &CertificateState, next_may: bool) -> Option<bool> {
    let from_next = next_may || certificate.is_from_next;
    let is_due = now >= certificate.renew_at || from_next && !certificate.is_from_next;
    is_due.then_some(from_next)
}

fn passed(now: Timestamp, since: Option<Timestamp>, duration: Duration) -> bool {
    since.is_some_and(|since| now >= since.after(duration))
}

/// The certificates of one fleet and of the operator that serves it.
#[derive(Debug)]
pub struct Peers {
    fleet: Fleet,
    operators: Succession,
    servers: Succession,
    operator: Held,
    leaves: BTreeMap<String, Held>,
}

/// An authority, its successor, and since when.
#[derive(Debug)]
pub struct Succession {
    pub(crate) rotation: Rotation,
    /// When the successor was announced, if there is one.
    pub(crate) announced: Option<Timestamp>,
    /// When the last certificate was issued by the successor, or allowed to be.
    pub(crate) issued: Option<Timestamp>,
}

#[derive(Debug)]
struct Held {
    leaf: Leaf,
    is_from_next: bool,
}

/// What [`Peers::renew`] changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewed {
    /// The operator shows another certificate.
    pub operator: bool,
    /// Servers have to trust another bundle.
    pub bundle: bool,
    /// The operator has to trust other authorities.
    pub authorities: bool,
    /// These servers show another certificate.
    pub servers: Vec<String>,
}

impl Peers {
    /// New authorities, and certificates for the operator and these servers.
    pub fn generate(
        fleet: &Fleet,
        servers: impl IntoIterator<Item = String>,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let operators = Succession::new("nauthera operators", now)?;
        let authority = Succession::new(&fleet.to_string(), now)?;
        let operator = Held::first(operators.rotation.current.issue_operator(now)?);
        let mut leaves = BTreeMap::new();
        for server in servers {
            let leaf = authority.rotation.current.issue_server(fleet, now)?;
            leaves.insert(server, Held::first(leaf));
        }
        Ok(Self {
            fleet: fleet.clone(),
            operators,
            servers: authority,
            operator,
            leaves,
        })
    }

    /// What the operator shows.
    pub fn operator(&self) -> &Leaf {
        &self.operator.leaf
    }

    /// What a server shows.
    pub fn server(&self, server: &str) -> Option<&Leaf> {
        self.leaves.get(server).map(|held| &held.leaf)
    }

    /// What servers have to trust, PEM.
    pub fn bundle(&self) -> String {
        self.operators.rotation.bundle()
    }

    /// What the operator has to trust of servers.
    pub fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let bundle = self.servers.rotation.bundle();
        let certificates = CertificateDer::pem_slice_iter(bundle.as_bytes());
        certificates.collect::<Result<Vec<_>, _>>().map_err(|_| PkiError::Read)
    }

    /// Does what is due. `reported` has one entry for each connected server: the hash of the bundle that it trusts.
    pub fn renew(&mut self, now: Timestamp, reported: &[Option<Hash>]) -> Result<Renewed, PkiError> {
        let mut renewed = Renewed::default();
        for due in due(now, &self.standing(reported)) {
            match due {
                Due::Announce(side) => {
                    self.side(side).announce(now)?;
                    renewed.trust(side);
                }
                Due::Operator { from_next } => {
                    let leaf = self.operators.issuer(from_next).issue_operator(now)?;
                    self.operators.note(from_next, now);
                    self.operator = Held::new(leaf, from_next);
                    renewed.operator = true;
                }
                Due::Server { server, from_next } => {
                    let leaf = self.servers.issuer(from_next).issue_server(&self.fleet, now)?;
                    self.servers.note(from_next, now);
                    self.leaves.insert(server.clone(), Held::new(leaf, from_next));
                    renewed.servers.push(server);
                }
                Due::Complete(side) => {
                    self.side(side).complete();
                    match side {
                        Side::Operator => self.operator.is_from_next = false,
                        Side::Servers => self.leaves.values_mut().for_each(|held| held.is_from_next = false),
                    }
                    renewed.trust(side);
                }
            }
        }
        Ok(renewed)
    }

    fn standing(&self, reported: &[Option<Hash>]) -> Standing {
        let bundle = self.operators.rotation.bundle_hash();
        Standing {
            operator_authority: self.operators.state(),
            server_authority: self.servers.state(),
            operator: self.operator.state(),
            servers: self
                .leaves
                .iter()
                .map(|(server, held)| (server.clone(), held.state()))
                .collect(),
            trusts_announced: reported.iter().map(|hash| *hash == Some(bundle)).collect(),
        }
    }

    fn side(&mut self, side: Side) -> &mut Succession {
        match side {
            Side::Operator => &mut self.operators,
            Side::Servers => &mut self.servers,
        }
    }
}

impl Renewed {
    fn trust(&mut self, side: Side) {
        match side {
            Side::Operator => self.bundle = true,
            Side::Servers => self.authorities = true,
        }
    }
}

impl Succession {
    /// A new authority without a successor.
    pub fn new(name: &str, now: Timestamp) -> Result<Self, PkiError> {
        Ok(Self {
            rotation: Rotation::new(Authority::generate(name, now)?),
            announced: None,
            issued: None,
        })
    }

    /// How it stands, for [`due`].
    pub fn state(&self) -> AuthorityState {
        AuthorityState {
            replace_at: self.rotation.current.replace_at(),
            announced: self.announced,
            issued: self.issued,
        }
    }

    /// Both authorities' certificates: what peers have to trust, PEM.
    pub fn bundle(&self) -> String {
        self.rotation.bundle()
    }

    /// The authority that issues: the successor if `from_next`, as long as there is one.
    pub fn issuer(&self, from_next: bool) -> &Authority {
        let next = self.rotation.next.as_ref().filter(|_| from_next);
        next.unwrap_or(&self.rotation.current)
    }

    /// Whether the successor issued this certificate.
    pub fn is_from_next(&self, leaf: &Leaf) -> bool {
        let next = self.rotation.next.as_ref();
        next.is_some_and(|next| next.issued(leaf))
    }

    pub(crate) fn announce(&mut self, now: Timestamp) -> Result<(), PkiError> {
        let next = Authority::generate(&self.rotation.current.name, now)?;
        self.rotation.announce(next);
        self.announced = Some(now);
        Ok(())
    }

    pub(crate) fn note(&mut self, from_next: bool, now: Timestamp) {
        if from_next {
            self.issued = Some(now);
        }
    }

    pub(crate) fn complete(&mut self) {
        self.rotation.complete();
        self.announced = None;
        self.issued = None;
    }
}

impl Held {
    fn first(leaf: Leaf) -> Self {
        Self::new(leaf, false)
    }

    fn new(leaf: Leaf, is_from_next: bool) -> Self {
        Self { leaf, is_from_next }
    }

    fn state(&self) -> CertificateState {
        CertificateState {
            renew_at: self.leaf.renew_at,
            is_from_next: self.is_from_next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
    const DAY: Duration = Duration::from_hours(24);

    fn quiet() -> Standing {
        let authority = AuthorityState {
            replace_at: NOW.after(DAY * 900),
            announced: None,
            issued: None,
        };
        let certificate = CertificateState {
            renew_at: NOW.after(DAY * 20),
            is_from_next: false,
        };
        Standing {
            operator_authority: authority,
            server_authority: authority,
            operator: certificate,
            servers: BTreeMap::from([("a".to_owned(), certificate), ("b".to_owned(), certificate)]),
            trusts_announced: vec![false, false],
        }
    }

    fn server(server: &str, from_next: bool) -> Due {
        let server = server.to_owned();
        Due::Server { server, from_next }
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        assert_eq!(due(NOW, &quiet()), []);
        assert_eq!(due(NOW.after(DAY * 19), &quiet()), []);
    }

    #[test]
    fn certificates_are_renewed_each_on_its_own_by_the_authority_that_issued_them() {
        let mut standing = quiet();
        standing.servers.get_mut("b").unwrap().renew_at = NOW;
        assert_eq!(due(NOW, &standing), [server("b", false)]);
        let all = [
            Due::Operator { from_next: false },
            server("a", false),
            server("b", false),
        ];
        assert_eq!(due(NOW.after(DAY * 20), &standing), all);
    }

    #[test]
    fn the_operator_shows_a_new_authority_only_after_every_connected_server_reported_its_bundle() {
        let mut standing = quiet();
        standing.operator_authority.replace_at = NOW;
        assert_eq!(due(NOW, &standing), [Due::Announce(Side::Operator)]);
        standing.operator_authority.announced = Some(NOW);
        standing.trusts_announced = vec![true, false];
        assert_eq!(due(NOW.after(DAY * 3), &standing), []);
        standing.trusts_announced = vec![true, true];
        assert_eq!(due(NOW, &standing), [Due::Operator { from_next: true }]);
        // With nobody there to report, the file has to have been read.
        standing.trusts_announced.clear();
        assert_eq!(due(NOW.after(DAY / 2), &standing), []);
        assert_eq!(due(NOW.after(DAY), &standing), [Due::Operator { from_next: true }]);
    }

    #[test]
    fn an_expiring_certificate_does_not_wait_for_a_blocked_rotation() {
        let mut standing = quiet();
        standing.operator_authority.announced = Some(NOW);
        standing.operator.renew_at = NOW.after(DAY);
        assert_eq!(due(NOW.after(DAY), &standing), [Due::Operator { from_next: false }]);
    }

    #[test]
    fn servers_get_a_new_authority_once_every_operator_knows_it() {
        let mut standing = quiet();
        standing.server_authority.replace_at = NOW;
        assert_eq!(due(NOW, &standing), [Due::Announce(Side::Servers)]);
        standing.server_authority.announced = Some(NOW);
        assert_eq!(due(NOW.after(SETTLE / 2), &standing), []);
        assert_eq!(
            due(NOW.after(SETTLE), &standing),
            [server("a", true), server("b", true)]
        );
    }

    #[test]
    fn the_former_authority_is_trusted_until_everybody_has_shaken_hands_anew() {
        let mut standing = quiet();
        standing.server_authority.announced = Some(NOW);
        standing.server_authority.issued = Some(NOW.after(SETTLE));
        let mut certificates = standing.servers.values_mut();
        certificates.next().unwrap().is_from_next = true;
        let later = NOW.after(SETTLE + OVERLAP);
        assert_eq!(due(later, &standing), [server("b", true)]);
        standing.servers.values_mut().for_each(|held| held.is_from_next = true);
        assert_eq!(due(NOW.after(OVERLAP), &standing), []);
        assert_eq!(due(later, &standing), [Due::Complete(Side::Servers)]);
    }

    #[test]
    fn a_life_of_ten_years_ends_with_other_authorities_and_no_gap() {
        let fleet: Fleet = "login/main".parse().unwrap();
        let mut peers = Peers::generate(&fleet, ["a".to_owned()], NOW).unwrap();
        let (first, authorities) = (peers.bundle(), peers.authorities().unwrap());
        let mut held = Some(Hash::of(first.as_bytes()));
        for day in 0..(10 * 365) {
            let now = NOW.after(DAY * day);
            peers.renew(now, &[held]).unwrap();
            assert!(now < peers.operator().renew_at && now < peers.server("a").unwrap().renew_at);
            held = Some(Hash::of(peers.bundle().as_bytes()));
        }
        assert!(!peers.bundle().contains(&first));
        assert_eq!(peers.authorities().unwrap().len(), 1);
        assert_ne!(peers.authorities().unwrap(), authorities);
    }
}
