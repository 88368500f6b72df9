//! From a `postgres://` URL to connection settings and TLS.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::OpenError;

/// Where to connect, and how.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) tls: Option<MakeRustlsConnect>,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (url, asked) = take_tls(url)?;
        let mut config: Config = url.parse().map_err(|error| OpenError::InvalidUrl(Box::new(error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(OpenError::Missing("host"));
        }
        if config.get_dbname().is_none() {
            return Err(OpenError::Missing("database"));
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(2));
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(10));
        }
        if config.get_application_name().is_none() {
            config.application_name("nauthera-auth");
        }
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config.keepalives_idle(Duration::from_secs(30));
        config.keepalives_interval(Duration::from_secs(10));
        config.ssl_mode(if asked.verify {
            SslMode::Require
        } else {
            SslMode::Disable
        });
        let tls = if asked.verify {
            Some(tls(asked.roots.as_deref())?)
        } else {
            None
        };
        Ok(Self { config, tls })
    }
}

/// The file with the authorities that the database's certificate must come from.
pub(super) fn roots_file(url: &str) -> Option<String> {
    take_tls(url).ok()?.1.roots
}

/// What the URL says about TLS.
#[derive(Debug, PartialEq, Eq)]
struct Tls {
    verify: bool,
    roots: Option<String>,
}

/// Takes `sslmode` and `sslrootcert` out of the URL: the driver knows neither `verify-full` nor certificate files.
fn take_tls(url: &str) -> Result<(String, Tls), OpenError> {
    let mut asked = Tls {
        verify: false,
        roots: None,
    };
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), asked));
    };
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", "disable")) => asked.verify = false,
            Some(("sslmode", "require" | "verify-ca" | "verify-full")) => asked.verify = true,
            Some(("sslmode", mode)) => return Err(OpenError::TlsMode(mode.to_owned())),
            Some(("sslrootcert", path)) => {
                asked.roots = url::form_urlencoded::parse(format!("p={path}").as_bytes())
                    .next()
                    .map(|(_, path)| path.into_owned());
            }
            _ => kept.push(pair),
        }
    }
    let query = kept.join("&");
    let url = if query.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{query}")
    };
    Ok((url, asked))
}

/// Certificates are always verified, with the host name: against the file given, else the system's authorities.
fn tls(roots_file: Option<&str>) -> Result<MakeRustlsConnect, OpenError> {
    // Already installed is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Some(path) = roots_file else {
        let (connector, problems) =
            MakeRustlsConnect::with_native_certs().map_err(|errors| no_system_roots(&errors))?;
        for problem in problems {
            tracing::warn!(%problem, "certificate authority of the system not usable for the database");
        }
        return Ok(connector);
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| OpenError::TlsRoots(Box::new(error)))? {
        let certificate = certificate.map_err(|error| OpenError::TlsRoots(Box::new(error)))?;
        roots
            .add(certificate)
            .map_err(|error| OpenError::TlsRoots(Box::new(error)))?;
    }
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn no_system_roots<E: std::fmt::Display>(errors: &[E]) -> OpenError {
    let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
    OpenError::TlsRoots(reasons.join("; ").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_parameters_are_taken_out_of_the_url() {
        let (url, asked) =
            take_tls("postgres://u@h/d?sslmode=verify-full&application_name=x&sslrootcert=%2Fca.pem").unwrap();
        assert_eq!(url, "postgres://u@h/d?application_name=x");
        assert_eq!(
            asked,
            Tls {
                verify: true,
                roots: Some("/ca.pem".to_owned())
            }
        );
    }

    #[test]
    fn a_tls_mode_without_protection_is_refused() {
        assert!(matches!(
            Target::parse("postgres://u@h/d?sslmode=prefer"),
            Err(OpenError::TlsMode(mode)) if mode == "prefer"
        ));
    }

    #[test]
    fn several_hosts_ask_for_the_one_that_can_write() {
        let target = Target::parse("postgres://u@a,b:5433/d").unwrap();
        assert_eq!(target.config.get_hosts().len(), 2);
        assert_eq!(target.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    }

    #[test]
    fn a_url_without_database_or_host_is_refused() {
        assert!(matches!(
            Target::parse("postgres://u@h"),
            Err(OpenError::Missing("database"))
        ));
        assert!(matches!(
            Target::parse("postgres:///d"),
            Err(OpenError::Missing("host"))
        ));
    }
}
