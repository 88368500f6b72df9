//! The built-in certificate authority of the configuration stream: one for the operators, one for each fleet.
//!
//! A fleet's authority signs certificates for that fleet's servers only, the operators' authority signs what operators
//! show. Keys and certificates travel as PEM; where they are kept (Secrets, files) is decided elsewhere. Authorities
//! rotate by overlap: [`Rotation`] holds back the first certificate of a new one until everybody trusts it.

mod folder;
mod renewal;

use std::time::Duration;

use oidc::Secret;
use oidc::time::Timestamp;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use snapshot::{Fleet, Hash, OPERATOR_NAME, OPERATOR_URI};
use x509_parser::extensions::ParsedExtension;

pub use folder::{FolderError, write_folder};
pub use renewal::{AuthorityState, CertificateState, Due, Peers, Renewed, Side, Standing, Succession, due};

/// How long an authority lives.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);

/// An authority is followed by another one so long before its end.
const AUTHORITY_NOTICE: Duration = Duration::from_hours(365 * 24);

/// How long a certificate lives. It is renewed after two thirds.
const LEAF_LIFETIME: Duration = Duration::from_hours(30 * 24);

/// Clocks of peers may be this much behind.
const BACKDATED: Duration = Duration::from_mins(5);

/// A certificate or a key that cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Making it failed.
    #[error("certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// The text is not a certificate authority in PEM.
    #[error("text is not a certificate authority in PEM")]
    Read,
}

/// A certificate authority with its private key.
#[derive(Debug)]
pub struct Authority {
    certificate_pem: String,
    name: String,
    key: KeyPair,
    expires: Timestamp,
}

/// A certificate with its private key.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS #8 PEM.
    pub key_pem: Secret<String>,
    /// When a new one is due.
    pub renew_at: Timestamp,
}

impl Authority {
    /// A new authority of that name, valid from `now` for ten years.
    pub fn generate(name: &str, now: Timestamp) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(name);
        validity(&mut params, now, AUTHORITY_LIFETIME);
        let certificate_pem = params.self_signed(&key)?.pem();
        let name = name.to_owned();
        Ok(Self {
            certificate_pem,
            name,
            key,
            expires: now.after(AUTHORITY_LIFETIME),
        })
    }

    /// The authority that [`Authority::certificate_pem`] and [`Authority::key_pem`] are.
    pub fn from_pem(certificate_pem: &str, key_pem: &Secret<String>) -> Result<Self, PkiError> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes()).map_err(|_| PkiError::Read)?;
        let certificate = pem.parse_x509().map_err(|_| PkiError::Read)?;
        let key = KeyPair::from_pem(key_pem.expose()).map_err(|_| PkiError::Read)?;
        let name = certificate
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok());
        if !certificate.is_ca() || certificate.public_key().subject_public_key.data != key.public_key_raw() {
            return Err(PkiError::Read);
        }
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            name: name.ok_or(PkiError::Read)?.to_owned(),
            key,
            expires: Timestamp::from_unix_seconds(certificate.validity().not_after.timestamp()),
        })
    }

    /// Its certificate: what peers have to trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// When another one has to begin to take its place.
    pub fn replace_at(&self) -> Timestamp {
        let seconds = self.expires.unix_seconds() - i64::try_from(AUTHORITY_NOTICE.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_unix_seconds(seconds)
    }

    /// Its private key, PKCS #8 PEM.
    pub fn key_pem(&self) -> Secret<String> {
        Secret::new(self.key.serialize_pem())
    }

    /// Whether it issued this certificate, judged by the identifier of its key.
    pub fn issued(&self, leaf: &Leaf) -> bool {
        let own = with_certificate(&self.certificate_pem, |certificate| {
            certificate
                .extensions()
                .iter()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                    _ => None,
                })
        });
        let issuer = with_certificate(&leaf.certificate_pem, |certificate| {
            certificate
                .extensions()
                .iter()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
                    _ => None,
                })
        });
        matches!((own, issuer), (Ok(Some(own)), Ok(Some(issuer))) if own == issuer)
    }

    /// A certificate for the servers of `fleet`.
    pub fn issue_server(&self, fleet: &Fleet, now: Timestamp) -> Result<Leaf, PkiError> {
        let names = vec![SanType::URI(Ia5String::try_from(fleet.uri())?)];
        self.issue(fleet.name(), names, ExtendedKeyUsagePurpose::ClientAuth, now)
    }

    /// A certificate for an operator.
    pub fn issue_operator(&self, now: Timestamp) -> Result<Leaf, PkiError> {
        let names = vec![
            SanType::DnsName(Ia5String::try_from(OPERATOR_NAME)?),
            SanType::URI(Ia5String::try_from(OPERATOR_URI)?),
        ];
        self.issue("nauthera-operator", names, ExtendedKeyUsagePurpose::ServerAuth, now)
    }

    fn issue(
        &self,
        name: &str,
        names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        now: Timestamp,
    ) -> Result<Leaf, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, now, LEAF_LIFETIME);
        let issuer = Issuer::new(authority_params(&self.name), &self.key);
        let certificate_pem = params.signed_by(&key, &issuer)?.pem();
        Ok(Leaf {
            certificate_pem,
            key_pem: Secret::new(key.serialize_pem()),
            renew_at: now.after(LEAF_LIFETIME / 3 * 2),
        })
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    // X.520 bounds a common name to 64 characters.
    let short: String = name.chars().take(64).collect();
    distinguished.push(DnType::CommonName, short);
    distinguished
}

fn validity(params: &mut CertificateParams, now: Timestamp, lifetime: Duration) {
    let seconds = u64::try_from(now.unix_seconds()).unwrap_or(0);
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = now - BACKDATED;
    params.not_after = now + lifetime;
}

/// What `read` makes of the first certificate of a PEM text.
fn with_certificate<T>(
    pem: &str,
    read: impl FnOnce(&x509_parser::certificate::X509Certificate<'_>) -> T,
) -> Result<T, PkiError> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| PkiError::Read)?;
    let certificate = pem.parse_x509().map_err(|_| PkiError::Read)?;
    Ok(read(&certificate))
}

impl Leaf {
    /// The certificate that was kept as these two texts, due for renewal after two thirds of its life.
    pub fn from_pem(certificate_pem: &str, key_pem: &Secret<String>) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem.expose()).map_err(|_| PkiError::Read)?;
        let (begins, ends, fits) = with_certificate(certificate_pem, |certificate| {
            let validity = certificate.validity();
            let fits = certificate.public_key().subject_public_key.data == key.public_key_raw();
            (validity.not_before.timestamp(), validity.not_after.timestamp(), fits)
        })?;
        if !fits {
            return Err(PkiError::Read);
        }
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key_pem.clone(),
            renew_at: Timestamp::from_unix_seconds(begins + ends.saturating_sub(begins) / 3 * 2),
        })
    }

    /// The files of a peer directory: `tls.crt`, `tls.key`, and `ca.crt` with what the peer shall trust.
    pub fn files(&self, bundle: &str) -> Vec<(String, Vec<u8>)> {
        vec![
            ("ca.crt".to_owned(), bundle.as_bytes().to_vec()),
            ("tls.crt".to_owned(), self.certificate_pem.as_bytes().to_vec()),
            ("tls.key".to_owned(), self.key_pem.expose().as_bytes().to_vec()),
        ]
    }
}

/// The operators' authorities while one follows another.
#[derive(Debug)]
pub struct Rotation {
    current: Authority,
    next: Option<Authority>,
}

impl Rotation {
    /// The authority that is to be replaced, or the only one.
    pub fn current(&self) -> &Authority {
        &self.current
    }

    /// Its successor.
    pub fn next(&self) -> Option<&Authority> {
        self.next.as_ref()
    }

    /// The only authority.
    pub fn new(current: Authority) -> Self {
        Self { current, next: None }
    }

    /// Begins to announce `next`: from now on [`Rotation::bundle`] holds both.
    pub fn announce(&mut self, next: Authority) {
        self.next = Some(next);
    }

    /// What servers shall trust, PEM.
    pub fn bundle(&self) -> String {
        let next = self.next.iter();
        let all = std::iter::once(&self.current).chain(next);
        all.map(Authority::certificate_pem).collect()
    }

    /// The hash that servers report once they trust [`Rotation::bundle`].
    pub fn bundle_hash(&self) -> Hash {
        Hash::of(self.bundle().as_bytes())
    }

    /// Whether every connected server reported the bundle that holds the next authority. `reported` has one entry for
    /// each connected server.
    pub fn is_trusted(&self, reported: impl IntoIterator<Item = Option<Hash>>) -> bool {
        let bundle = self.bundle_hash();
        reported.into_iter().all(|hash| hash == Some(bundle))
    }

    /// The authority that may issue: the next one only when every connected server reported the bundle that holds it.
    /// `reported` has one entry for each connected server.
    pub fn issuer(&self, reported: impl IntoIterator<Item = Option<Hash>>) -> &Authority {
        match &self.next {
            Some(next) if self.is_trusted(reported) => next,
            _ => &self.current,
        }
    }

    /// Ends the overlap: the next authority becomes the only one, once every server shows that it accepts its
    /// certificates.
    pub fn complete(&mut self) {
        if let Some(next) = self.next.take() {
            self.current = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[test]
    fn an_authority_survives_being_written_and_read() {
        let authority = Authority::generate("fleet login/main", NOW).unwrap();
        let read = Authority::from_pem(authority.certificate_pem(), &authority.key_pem()).unwrap();
        let fleet: Fleet = "login/main".parse().unwrap();
        let leaf = read.issue_server(&fleet, NOW).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(leaf.certificate_pem.as_bytes()).unwrap();
        let (_, root) = x509_parser::pem::parse_x509_pem(authority.certificate_pem().as_bytes()).unwrap();
        let (leaf, root) = (pem.parse_x509().unwrap(), root.parse_x509().unwrap());
        assert_eq!(leaf.issuer(), root.subject());
        assert!(!leaf.is_ca());

        let other = Authority::generate("other", NOW).unwrap();
        assert!(matches!(
            Authority::from_pem(authority.certificate_pem(), &other.key_pem()),
            Err(PkiError::Read)
        ));
    }

    #[test]
    fn a_new_authority_issues_only_after_every_connected_server_reported_its_bundle() {
        let mut rotation = Rotation::new(Authority::generate("one", NOW).unwrap());
        let before = rotation.bundle_hash();
        rotation.announce(Authority::generate("two", NOW).unwrap());
        let after = rotation.bundle_hash();
        let issuer = |reported: &[Option<Hash>]| rotation.issuer(reported.iter().copied()).name.clone();
        assert_eq!(issuer(&[Some(after), Some(before)]), "one");
        assert_eq!(issuer(&[Some(after), None]), "one");
        assert_eq!(issuer(&[Some(after), Some(after)]), "two");
        rotation.complete();
        assert_eq!(rotation.issuer([]).name, "two");
    }
}
