//! The certificates of a control plane: one CA, the API server's certificate, an administrator's,
//! and the key that signs ServiceAccount tokens.

use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// What was written into the folder, and what a client needs of it.
#[derive(Debug)]
pub(super) struct Pki {
    /// The CA certificate, PEM.
    pub(super) ca: String,
    /// Certificate and key of `system:masters`, PEM.
    pub(super) admin: String,
    pub(super) ca_file: &'static str,
    pub(super) server_certificate: &'static str,
    pub(super) server_key: &'static str,
    pub(super) service_account_key: &'static str,
    pub(super) service_account_public_key: &'static str,
}

impl Pki {
    /// Makes all keys and certificates and writes them as PEM files.
    pub(super) fn write(folder: &Path) -> Result<Self> {
        let ca = authority()?;
        let mut server = CertificateParams::new([
            "127.0.0.1".to_owned(),
            "localhost".to_owned(),
            "kubernetes.default.svc".to_owned(),
            "10.96.0.1".to_owned(),
        ])?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        let server_key = KeyPair::generate()?;

        let mut admin = CertificateParams::new(Vec::<String>::new())?;
        admin
            .distinguished_name
            .push(DnType::OrganizationName, "system:masters");
        admin.distinguished_name.push(DnType::CommonName, "admin");
        admin.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        let admin_key = KeyPair::generate()?;
        let admin_certificate = admin.signed_by(&admin_key, &ca)?.pem();

        let service_account_key = KeyPair::generate()?;

        let pki = Self {
            ca: ca.pem(),
            admin: format!("{admin_certificate}{}", admin_key.serialize_pem()),
            ca_file: "ca.crt",
            server_certificate: "server.crt",
            server_key: "server.key",
            service_account_key: "service-account.key",
            service_account_public_key: "service-account.pub",
        };
        for (name, text) in [
            (pki.ca_file, pki.ca.clone()),
            (pki.server_certificate, server.signed_by(&server_key, &ca)?.pem()),
            (pki.server_key, server_key.serialize_pem()),
            (pki.service_account_key, service_account_key.serialize_pem()),
            (pki.service_account_public_key, service_account_key.public_key_pem()),
            ("admin.crt", admin_certificate),
            ("admin.key", admin_key.serialize_pem()),
        ] {
            std::fs::write(folder.join(name), text)?;
        }
        Ok(pki)
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    parameters.distinguished_name.push(DnType::CommonName, "control plane");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?)
}
