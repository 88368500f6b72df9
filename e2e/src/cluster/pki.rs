//! The certificates of a cluster: one authority for servers and clients, one for the aggregation
//! layer, a pair for every part, and the key that signs ServiceAccount tokens. All of them are PEM
//! files in one folder; the authority's key stays there to make further users.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Where the files are.
#[derive(Debug, Clone)]
pub(super) struct Pki {
    folder: PathBuf,
}

/// A client certificate: the common name is the user, the organisations are its groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct User<'a> {
    pub(super) name: &'a str,
    pub(super) groups: &'a [&'a str],
}

/// The parts that talk to the API server, and the names that its RBAC defaults know them by.
const USERS: &[(&str, User<'static>)] = &[
    (
        "admin",
        User {
            name: "admin",
            groups: &["system:masters"],
        },
    ),
    (
        "controller-manager",
        User {
            name: "system:kube-controller-manager",
            groups: &[],
        },
    ),
    (
        "scheduler",
        User {
            name: "system:kube-scheduler",
            groups: &[],
        },
    ),
    (
        "kubelet",
        User {
            name: "system:node:n1",
            groups: &["system:nodes"],
        },
    ),
    (
        "proxy",
        User {
            name: "system:kube-proxy",
            groups: &[],
        },
    ),
    (
        "api-server-client",
        User {
            name: "kube-apiserver",
            groups: &["system:masters"],
        },
    ),
];

impl Pki {
    /// Makes all keys and certificates for a node with this address.
    pub(super) fn write(folder: &Path, address: &str) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let pki = Self {
            folder: folder.to_owned(),
        };
        let authority = pki.new_authority("ca", "kubernetes")?;
        let aggregation = pki.new_authority("front-proxy-ca", "front-proxy")?;
        for (file, user) in USERS {
            pki.sign_client(file, *user, &authority)?;
        }
        let front_proxy = User {
            name: "front-proxy-client",
            groups: &[],
        };
        pki.sign_client("front-proxy-client", front_proxy, &aggregation)?;
        let api_server = [
            address,
            "127.0.0.1",
            "10.96.0.1",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        pki.sign_server("api-server", &api_server, &authority)?;
        pki.sign_server("kubelet-server", &[address, "n1"], &authority)?;
        pki.sign_server("ingress", &["*.nauthera.test", "*.example.test", address], &authority)?;
        let service_accounts = KeyPair::generate()?;
        pki.put("service-accounts.key", &service_accounts.serialize_pem())?;
        pki.put("service-accounts.pub", &service_accounts.public_key_pem())?;
        Ok(pki)
    }

    /// What an earlier run wrote.
    pub(super) fn open(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The path of a certificate.
    pub(super) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    /// The path of a private key.
    pub(super) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// The path of the public key that ServiceAccount tokens are verified with.
    pub(super) fn service_accounts_public_key(&self) -> PathBuf {
        self.folder.join("service-accounts.pub")
    }

    /// Certificate and key of one name, in one PEM text.
    pub(super) fn identity(&self, name: &str) -> Result<String> {
        Ok(format!(
            "{}{}",
            fs::read_to_string(self.certificate(name))?,
            fs::read_to_string(self.key(name))?
        ))
    }

    /// Makes a further client certificate.
    pub(super) fn add_user(&self, file: &str, user: User<'_>) -> Result<()> {
        let key = KeyPair::from_pem(&fs::read_to_string(self.key("ca"))?).context("key of the authority")?;
        self.sign_client(file, user, &authority("kubernetes", key)?)
    }

    fn new_authority(&self, file: &str, name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
        let key = KeyPair::generate()?;
        self.put(&format!("{file}.key"), &key.serialize_pem())?;
        let authority = authority(name, key)?;
        self.put(&format!("{file}.crt"), &authority.pem())?;
        Ok(authority)
    }

    fn sign_client(&self, file: &str, user: User<'_>, issuer: &CertifiedIssuer<'static, KeyPair>) -> Result<()> {
        let mut parameters = CertificateParams::new(Vec::<String>::new())?;
        for group in user.groups {
            parameters.distinguished_name.push(DnType::OrganizationName, *group);
        }
        parameters.distinguished_name.push(DnType::CommonName, user.name);
        parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        self.sign(file, &parameters, issuer)
    }

    fn sign_server(&self, file: &str, names: &[&str], issuer: &CertifiedIssuer<'static, KeyPair>) -> Result<()> {
        let mut parameters = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        parameters.distinguished_name.push(DnType::CommonName, file);
        parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        self.sign(file, &parameters, issuer)
    }

    fn sign(
        &self,
        file: &str,
        parameters: &CertificateParams,
        issuer: &CertifiedIssuer<'static, KeyPair>,
    ) -> Result<()> {
        let key = KeyPair::generate()?;
        self.put(&format!("{file}.crt"), &parameters.signed_by(&key, issuer)?.pem())?;
        self.put(&format!("{file}.key"), &key.serialize_pem())
    }

    fn put(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.folder.join(file), text).with_context(|| file.to_owned())
    }
}

/// The same name and key make the same authority again, as far as signatures go.
fn authority(name: &str, key: KeyPair) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(parameters, key)?)
}
