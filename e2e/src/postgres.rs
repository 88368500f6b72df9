//! A PostgreSQL of the test's own, for tests that stop and start it. Tests that only need a database
//! use the one that `NAUTHERA_TEST_POSTGRES` names.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::parts::checkout;

/// A running, or stopped, cluster. Dropping it deletes it.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    url: String,
    /// The network namespace that it listens in, as a path; none for this machine's own.
    network: Option<PathBuf>,
}

/// How to stop a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ends the connections and shuts down cleanly.
    Fast,
    /// Ends without shutting down, as a crash does; the next start recovers.
    Immediate,
}

impl Postgres {
    /// Makes a cluster and starts it. Takes about two seconds.
    pub fn start() -> Result<Self> {
        let folder = tool(&["create", &std::process::id().to_string()])?;
        Self::created(folder, None)
    }

    /// The same beside a Kubernetes cluster: in the network namespace of that name, at an address that its pods reach.
    pub fn start_within(namespace: &str, address: &str) -> Result<Self> {
        let folder = tool(&["create", &std::process::id().to_string(), address])?;
        Self::created(folder, Some(Path::new("/var/run/netns").join(namespace)))
    }

    fn created(folder: String, network: Option<PathBuf>) -> Result<Self> {
        let mut cluster = Self {
            folder: PathBuf::from(folder),
            url: String::new(),
            network,
        };
        cluster.start_again()?;
        Ok(cluster)
    }

    /// Starts it again after `stop`, on the same port.
    pub fn start_again(&mut self) -> Result<()> {
        let script = checkout().join("e2e/tools/postgres");
        let mut command = match &self.network {
            None => Command::new(script),
            Some(network) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", network.display())).arg(script);
                command
            }
        };
        self.url = printed(command.arg("start").arg(&self.folder))?;
        Ok(())
    }

    /// Stops the server; its data stay.
    pub fn stop(&self, how: Stop) -> Result<()> {
        let how = match how {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        tool(&["stop", &self.folder.to_string_lossy(), how])?;
        Ok(())
    }

    /// The superuser's URL of the database `postgres`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same without a database: what the URLs of all its databases begin with.
    pub fn server(&self) -> &str {
        self.url
            .rsplit_once('/')
            .map_or(self.url.as_str(), |(server, _)| server)
    }

    /// The file that the server writes its log to.
    pub fn log(&self) -> PathBuf {
        self.folder.join("data/log")
    }

    /// Makes a database, from a template when one is given, and returns its URL.
    pub fn create_database(&self, name: &str, template: Option<&str>) -> Result<String> {
        create_database(&self.url, name, template)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next `create`.
        let _ = tool(&["remove", &self.folder.to_string_lossy()]);
    }
}

/// The superuser's URL of the PostgreSQL that all tests of a run share.
pub fn shared_url() -> Result<String> {
    std::env::var("NAUTHERA_TEST_POSTGRES")
        .context("NAUTHERA_TEST_POSTGRES is not set: run `make test`, or the command under `e2e/tools/with-postgres`")
}

/// Makes a database on the server of `url`, from a template when one is given, and returns its URL.
/// Nobody may be connected to the template meanwhile.
pub fn create_database(url: &str, name: &str, template: Option<&str>) -> Result<String> {
    let simple = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    ensure!(
        simple(name) && template.is_none_or(simple),
        "database names are plain words"
    );
    let from = template
        .map(|template| format!(" TEMPLATE {template}"))
        .unwrap_or_default();
    let output = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--dbname",
            url,
            "--command",
        ])
        .arg(format!("CREATE DATABASE {name}{from}"))
        .output()
        .context("psql")?;
    ensure!(
        output.status.success(),
        "psql: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (server, _) = url.rsplit_once('/').context("the URL names no database")?;
    Ok(format!("{server}/{name}"))
}

/// A database named `name` with the schema that `migrate` (the path of `nauthera-auth`) makes,
/// for use as a template.
pub fn migrated_template(url: &str, name: &str, migrate: &Path) -> Result<String> {
    let database = create_database(url, name, None)?;
    let output = Command::new(migrate)
        .args(["migrate", "--database-url", &database])
        .output()
        .context("migrate")?;
    ensure!(
        output.status.success(),
        "migrate: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(database)
}

fn tool(arguments: &[&str]) -> Result<String> {
    printed(Command::new(checkout().join("e2e/tools/postgres")).args(arguments))
}

fn printed(command: &mut Command) -> Result<String> {
    let output = command.output().context("e2e/tools/postgres")?;
    ensure!(
        output.status.success(),
        "e2e/tools/postgres: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_comes_back_with_its_data_on_the_same_port() {
        let mut cluster = Postgres::start().unwrap();
        let url = cluster.url().to_owned();
        cluster.create_database("kept", None).unwrap();
        cluster.stop(Stop::Immediate).unwrap();
        assert!(cluster.create_database("refused", None).is_err());
        cluster.start_again().unwrap();
        assert_eq!(cluster.url(), url);
        cluster.create_database("copy", Some("kept")).unwrap();
    }
}
