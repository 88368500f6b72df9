//! What a server is told at start, checked whole: every error is listed at once, none is found at the first request.

mod connection;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use snapshot::Fleet;

use crate::log::LogFormat;
use crate::store::Reread;

/// The flags of `nauthera-auth serve` as typed. Every flag can also be given as `NAUTHERA_<FLAG>`.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeFlags {
    /// Address to serve HTTP on; may be repeated, or a list with commas. Several processes may share one address.
    #[arg(
        long,
        env = "NAUTHERA_LISTEN",
        value_name = "IP:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080"
    )]
    pub listen: Vec<String>,
    /// Address of /livez, /readyz, /startupz and /metrics.
    #[arg(
        long,
        env = "NAUTHERA_HEALTH_LISTEN",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:9080"
    )]
    pub health_listen: String,
    /// The database.
    #[command(flatten)]
    pub database: DatabaseFlags,
    /// Folder with the compiled configuration (manifest and shards), read at start.
    #[arg(long, env = "NAUTHERA_CONFIG_DIR", value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// An operator that streams the configuration; may be repeated, or a list with commas.
    #[arg(
        long,
        env = "NAUTHERA_OPERATOR_ADDRESS",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub operator_address: Vec<String>,
    /// Folder with tls.crt, tls.key and ca.crt for the stream.
    #[arg(long, env = "NAUTHERA_PEER_DIR", value_name = "DIR")]
    pub peer_dir: Option<PathBuf>,
    /// File with the token that proves which pod this is.
    #[arg(long, env = "NAUTHERA_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The AuthServer that this process belongs to.
    #[arg(
        long,
        env = "NAUTHERA_FLEET",
        value_name = "NAMESPACE/NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub fleet: String,
    /// Networks of proxies whose X-Forwarded-For and X-Forwarded-Host are believed; may be repeated, or a list with commas.
    #[arg(long, env = "NAUTHERA_TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxies: Vec<String>,
    /// How long sign-on, userinfo and introspection go on without a database: 500ms, 60s, 5m or 1h.
    #[arg(long, env = "NAUTHERA_MAX_STALENESS", value_name = "DURATION", default_value = "60s")]
    pub max_staleness: String,
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
    /// How long requests in flight may take after SIGTERM.
    #[arg(long, env = "NAUTHERA_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "20s")]
    pub drain_timeout: String,
}

/// Which database; shared by all commands.
#[derive(Args, Clone, Debug, Default)]
pub struct DatabaseFlags {
    /// postgres://user:password@host/database or sqlite:///absolute/path.
    #[arg(long, env = "NAUTHERA_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// File that holds the database URL.
    #[arg(
        long,
        env = "NAUTHERA_DATABASE_URL_FILE",
        value_name = "FILE",
        conflicts_with = "database_url"
    )]
    pub database_url_file: Option<PathBuf>,
    /// Folder with the connection, one file for each part, as a mounted Secret: uri (also dsn or url), or host, port,
    /// dbname (also database), user (also username), password and sslmode.
    #[arg(
        long,
        env = "NAUTHERA_DATABASE_DIR",
        value_name = "DIR",
        conflicts_with_all = ["database_url", "database_url_file"]
    )]
    pub database_dir: Option<PathBuf>,
    /// File with the authorities that the database's certificate must come from. Turns TLS on, unless the connection
    /// says sslmode itself.
    #[arg(long, env = "NAUTHERA_DATABASE_CA_FILE", value_name = "FILE")]
    pub database_ca_file: Option<PathBuf>,
    /// Connections to PostgreSQL at most.
    #[arg(
        long,
        env = "NAUTHERA_DATABASE_POOL",
        value_name = "CONNECTIONS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=200)
    )]
    pub database_pool: u32,
}

/// Checked settings of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses to serve HTTP on.
    pub listen: Vec<SocketAddr>,
    /// Address of probes and metrics.
    pub health_listen: SocketAddr,
    /// Database URL.
    pub database_url: oidc::Secret<String>,
    /// Reads it again, when it comes from a file or a folder.
    pub database_reread: Option<Reread>,
    /// Connections to the database at most.
    pub database_pool: u32,
    /// Folder with the compiled configuration.
    pub config_dir: PathBuf,
    /// Operators to dial, and what proves who this server is to them.
    pub operator: Option<OperatorLink>,
    /// The AuthServer this process belongs to.
    pub fleet: Fleet,
    /// Networks whose forwarded headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long knowledge of revocations may be old.
    pub max_staleness: Duration,
    /// Grace for requests in flight at the end.
    pub drain_timeout: Duration,
}

/// How operators are reached.
#[derive(Clone, Debug)]
pub struct OperatorLink {
    /// HOST:PORT each.
    pub addresses: Vec<String>,
    /// Folder with tls.crt, tls.key and ca.crt.
    pub peer_dir: PathBuf,
    /// File with the pod-bound token.
    pub token_file: PathBuf,
}

/// Everything that is wrong with the settings, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{} setting(s) are wrong:\n  - {}", .0.len(), .0.join("\n  - "))]
pub struct SettingsError(pub Vec<String>);

impl DatabaseFlags {
    /// The database URL, from the flag, the file or the folder.
    pub fn url(&self) -> Result<oidc::Secret<String>, String> {
        let url = match (&self.database_url, &self.database_url_file, &self.database_dir) {
            (Some(url), _, _) => url.clone(),
            (None, Some(file), _) => std::fs::read_to_string(file)
                .map_err(|error| format!("--database-url-file {}: {error}", file.display()))?
                .trim()
                .to_owned(),
            (None, None, Some(folder)) => connection::url_of_folder(folder)?,
            (None, None, None) => {
                return Err("--database-url (or --database-url-file, or --database-dir) is missing".to_owned());
            }
        };
        let url = match &self.database_ca_file {
            Some(file) => connection::with_authorities(&url, file),
            None => url,
        };
        if !["postgres://", "postgresql://", "sqlite:///"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err("--database-url must begin with postgres:// or sqlite:/// (an absolute path)".to_owned());
        }
        Ok(oidc::Secret::new(url))
    }

    /// What reads the URL anew; nothing when it stands in a flag.
    fn reread(&self) -> Option<Reread> {
        let flags = self.clone();
        let reread = Reread::new(move || flags.url());
        self.database_url.is_none().then_some(reread)
    }
}

impl Settings {
    /// Checks all flags. Returns every error, not only the first.
    pub fn check(flags: &ServeFlags) -> Result<Self, SettingsError> {
        let mut errors = Vec::new();
        let listen = flags
            .listen
            .iter()
            .filter_map(|text| address("--listen", text, &mut errors))
            .collect();
        let health_listen = address("--health-listen", &flags.health_listen, &mut errors);
        let database_url = flags.database.url().map_err(|error| errors.push(error)).ok();
        let fleet = fleet(&flags.fleet, &mut errors);
        let max_staleness = duration("--max-staleness", &flags.max_staleness, &mut errors);
        let drain_timeout = duration("--drain-timeout", &flags.drain_timeout, &mut errors);
        let trusted_proxies = flags
            .trusted_proxies
            .iter()
            .filter_map(|text| network(text, &mut errors))
            .collect();
        let operator = operator(flags, &mut errors);
        if flags.config_dir.is_none() {
            errors.push("--config-dir is missing: the folder that the configuration is read from".to_owned());
        }
        match (
            health_listen,
            database_url,
            fleet,
            flags.config_dir.clone(),
            max_staleness,
            drain_timeout,
        ) {
            (
                Some(health_listen),
                Some(database_url),
                Some(fleet),
                Some(config_dir),
                Some(max_staleness),
                Some(drain_timeout),
            ) if errors.is_empty() => Ok(Self {
                listen,
                health_listen,
                database_url,
                database_reread: flags.database.reread(),
                database_pool: flags.database.database_pool,
                config_dir,
                operator,
                fleet,
                trusted_proxies,
                max_staleness,
                drain_timeout,
            }),
            _ => Err(SettingsError(errors)),
        }
    }
}

fn address(flag: &str, text: &str, errors: &mut Vec<String>) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        errors.push(format!("{flag} \"{text}\" is not IP:PORT (for example 0.0.0.0:8080)"));
    }
    address
}

fn network(text: &str, errors: &mut Vec<String>) -> Option<IpNet> {
    let network = text.parse().ok();
    if network.is_none() {
        errors.push(format!(
            "--trusted-proxies \"{text}\" is not a network such as 10.0.0.0/8"
        ));
    }
    network
}

fn duration(flag: &str, text: &str, errors: &mut Vec<String>) -> Option<Duration> {
    parse_duration(text).or_else(|| {
        errors.push(format!(
            "{flag} \"{text}\" is not a duration such as 500ms, 60s, 5m or 1h"
        ));
        None
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

fn fleet(text: &str, errors: &mut Vec<String>) -> Option<Fleet> {
    let fleet = text
        .split_once('/')
        .and_then(|(namespace, name)| Fleet::new(namespace, name).ok());
    if fleet.is_none() {
        errors.push(format!("--fleet \"{text}\" is not NAMESPACE/NAME of an AuthServer"));
    }
    fleet
}

fn operator(flags: &ServeFlags, errors: &mut Vec<String>) -> Option<OperatorLink> {
    if flags.operator_address.is_empty() {
        return None;
    }
    for address in &flags.operator_address {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            errors.push(format!("--operator-address \"{address}\" is not HOST:PORT"));
        }
    }
    let mut needed = |value: &Option<PathBuf>, flag: &str| {
        if value.is_none() {
            errors.push(format!("{flag} is needed with --operator-address"));
        }
        value.clone()
    };
    let (peer_dir, token_file) = (
        needed(&flags.peer_dir, "--peer-dir"),
        needed(&flags.token_file, "--token-file"),
    );
    Some(OperatorLink {
        addresses: flags.operator_address.clone(),
        peer_dir: peer_dir?,
        token_file: token_file?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_listed_at_once() {
        let flags = ServeFlags {
            listen: vec!["localhost".into()],
            health_listen: "127.0.0.1:0".into(),
            operator_address: vec!["operator".into()],
            fleet: "demo".into(),
            trusted_proxies: vec!["10.0.0.0".into()],
            max_staleness: "soon".into(),
            drain_timeout: "20s".into(),
            ..ServeFlags::default()
        };
        insta::assert_snapshot!(Settings::check(&flags).unwrap_err(), @r#"
        9 setting(s) are wrong:
          - --listen "localhost" is not IP:PORT (for example 0.0.0.0:8080)
          - --database-url (or --database-url-file, or --database-dir) is missing
          - --fleet "demo" is not NAMESPACE/NAME of an AuthServer
          - --max-staleness "soon" is not a duration such as 500ms, 60s, 5m or 1h
          - --trusted-proxies "10.0.0.0" is not a network such as 10.0.0.0/8
          - --operator-address "operator" is not HOST:PORT
          - --peer-dir is needed with --operator-address
          - --token-file is needed with --operator-address
          - --config-dir is missing: the folder that the configuration is read from
        "#);
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("5m"), Some(Duration::from_mins(5)));
        for wrong in ["", "5", "s", "1d", "-1s", "99999999999999999999h"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
