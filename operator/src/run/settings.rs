//! What the operator is told at start, checked whole: every error is listed at once.

use std::net::SocketAddr;

use clap::Args;

use crate::log::LogFormat;
use crate::world::cluster::Namespaces;

/// The flags of `nauthera-operator run` as typed. Every flag can also be given as `NAUTHERA_<FLAG>`.
#[derive(Args, Clone, Debug, Default)]
pub struct RunFlags {
    /// Namespace of the operator itself, of its Lease and its Secrets.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME", default_value = "nauthera-system")]
    pub namespace: String,
    /// Name of the pod that this is; the host's name when absent.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
    /// Namespaces to look at; may be repeated, or a list with commas [default: all of them].
    #[arg(long, env = "NAUTHERA_WATCH_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Which AuthServers are this operator's: those whose spec.operatorClass is this.
    #[arg(
        long,
        env = "NAUTHERA_OPERATOR_CLASS",
        value_name = "CLASS",
        default_value = crds::AuthServerSpec::DEFAULT_OPERATOR_CLASS
    )]
    pub operator_class: String,
    /// Image of auth servers whose AuthServer names none.
    #[arg(
        long,
        env = "NAUTHERA_SERVER_IMAGE",
        value_name = "IMAGE",
        default_value = "localhost/nauthera-auth:dev"
    )]
    pub server_image: String,
    /// What auth servers dial for their configuration [default:
    /// nauthera-operator-config.<namespace>.svc:8443].
    #[arg(long, env = "NAUTHERA_CONFIG_ADDRESS", value_name = "HOST:PORT")]
    pub config_address: Option<String>,
    /// Address to serve the configuration on.
    #[arg(
        long,
        env = "NAUTHERA_LISTEN_CONFIG",
        value_name = "IP:PORT",
        default_value = "0.0.0.0:8443"
    )]
    pub listen_config: String,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(
        long,
        env = "NAUTHERA_LISTEN_HTTP",
        value_name = "IP:PORT",
        default_value = "0.0.0.0:8080"
    )]
    pub listen_http: String,
    /// Shape of log lines.
    #[arg(
        long,
        env = "NAUTHERA_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub log_format: LogFormat,
    /// Level of log lines: error, warn, info, debug, trace, or a list of target=level.
    #[arg(long, env = "NAUTHERA_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Checked settings of the operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the operator.
    pub namespace: String,
    /// Name of the pod.
    pub pod_name: String,
    /// Namespaces that are looked at.
    pub namespaces: Namespaces,
    /// Whose AuthServers.
    pub operator_class: String,
    /// Image of auth servers whose AuthServer names none.
    pub server_image: String,
    /// What auth servers dial, HOST:PORT.
    pub config_address: String,
    /// Address of the configuration stream.
    pub listen_config: SocketAddr,
    /// Address of probes and metrics.
    pub listen_http: SocketAddr,
}

/// Everything that is wrong with the settings, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{} setting(s) are wrong:\n  - {}", .0.len(), .0.join("\n  - "))]
pub struct SettingsError(pub Vec<String>);

impl Settings {
    /// Checks all flags. Returns every error, not only the first.
    pub fn check(flags: &RunFlags) -> Result<Self, SettingsError> {
        let mut errors = Vec::new();
        let mut label = |flag: &str, text: &str| {
            if !is_label(text) {
                errors.push(format!("{flag} \"{text}\" is not the name of a namespace"));
            }
        };
        label("--namespace", &flags.namespace);
        let watched: Vec<String> = flags
            .watch_namespaces
            .iter()
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        for name in &watched {
            label("--watch-namespaces", name);
        }
        let listen_config = address("--listen-config", &flags.listen_config, &mut errors);
        let listen_http = address("--listen-http", &flags.listen_http, &mut errors);
        let config_address = flags
            .config_address
            .clone()
            .unwrap_or_else(|| format!("nauthera-operator-config.{}.svc:8443", flags.namespace));
        let port = config_address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            errors.push(format!("--config-address \"{config_address}\" is not HOST:PORT"));
        }
        if flags.server_image.is_empty() || flags.server_image.contains(char::is_whitespace) {
            errors.push(format!(
                "--server-image \"{}\" is not the name of an image",
                flags.server_image
            ));
        }
        let (Some(listen_config), Some(listen_http), true) = (listen_config, listen_http, errors.is_empty()) else {
            return Err(SettingsError(errors));
        };
        Ok(Self {
            namespace: flags.namespace.clone(),
            pod_name: flags.pod_name.clone().unwrap_or_else(host_name),
            namespaces: namespaces(watched),
            operator_class: flags.operator_class.clone(),
            server_image: flags.server_image.clone(),
            config_address,
            listen_config,
            listen_http,
        })
    }
}

fn namespaces(mut names: Vec<String>) -> Namespaces {
    names.sort();
    names.dedup();
    if names.is_empty() {
        Namespaces::All
    } else {
        Namespaces::Only(names)
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "nauthera-operator".to_owned(),
        name => name.to_owned(),
    }
}

/// A label of RFC 1123.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn address(flag: &str, text: &str, errors: &mut Vec<String>) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        errors.push(format!("{flag} \"{text}\" is not IP:PORT (for example 0.0.0.0:8080)"));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> RunFlags {
        RunFlags {
            namespace: "nauthera-system".to_owned(),
            server_image: "localhost/nauthera-auth:dev".to_owned(),
            listen_config: "0.0.0.0:8443".to_owned(),
            listen_http: "0.0.0.0:8080".to_owned(),
            ..RunFlags::default()
        }
    }

    #[test]
    fn what_is_absent_is_filled_in() {
        let settings = Settings::check(&flags()).unwrap();
        assert_eq!(settings.namespaces, Namespaces::All);
        assert_eq!(
            settings.config_address,
            "nauthera-operator-config.nauthera-system.svc:8443"
        );
        assert!(!settings.pod_name.is_empty());
    }

    #[test]
    fn namespaces_are_named_once_each() {
        let watch_namespaces = ["b", " a", "b", ""].map(str::to_owned).to_vec();
        let settings = Settings::check(&RunFlags {
            watch_namespaces,
            ..flags()
        })
        .unwrap();
        assert_eq!(
            settings.namespaces,
            Namespaces::Only(vec!["a".to_owned(), "b".to_owned()])
        );
    }

    #[test]
    fn every_error_is_listed_at_once() {
        let flags = RunFlags {
            namespace: "Nauthera".to_owned(),
            watch_namespaces: vec!["a/b".to_owned()],
            config_address: Some("operator".to_owned()),
            listen_config: "8443".to_owned(),
            listen_http: "localhost:8080".to_owned(),
            server_image: String::new(),
            ..RunFlags::default()
        };
        insta::assert_snapshot!(Settings::check(&flags).unwrap_err(), @r#"
        6 setting(s) are wrong:
          - --namespace "Nauthera" is not the name of a namespace
          - --watch-namespaces "a/b" is not the name of a namespace
          - --listen-config "8443" is not IP:PORT (for example 0.0.0.0:8080)
          - --listen-http "localhost:8080" is not IP:PORT (for example 0.0.0.0:8080)
          - --config-address "operator" is not HOST:PORT
          - --server-image "" is not the name of an image
        "#);
    }
}
