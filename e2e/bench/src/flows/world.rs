//! What a measurement runs in: a database, a configuration with 100 clients, people, and the server on them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use e2e::postgres::Postgres;
use oidc::config::{AccessTokenFormat, Client, ClientTokens, Resource, SignatureAlgorithm};
use tempfile::TempDir;

use crate::fleet;
use crate::load::{Answer, Progress, Source, once};
use crate::pinned::CpuPlan;
use crate::server::{Server, ServerPlan, add_person, migrate};
use crate::sources::{CodeFlow, Cookies, SignIn};

const ISSUER: &str = "https://id.example";
/// The host of the issuer.
pub(crate) const HOST: &str = "id.example";
/// Clients of the fleet, with those that flows name.
pub(crate) const CLIENTS: usize = 100;
/// Connections to the database: as many as the load has, so that commits can be grouped.
pub(crate) const POOL: u32 = 32;
/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// So many people.
pub(crate) const PEOPLE: usize = 8;

/// Everything that runs. Dropping it stops it.
pub(crate) struct World {
    /// The server under test. First, so that it stops before its database.
    pub server: Server,
    /// Its database.
    pub postgres: Postgres,
    /// Which cores who has.
    pub cpus: CpuPlan,
    /// The URL of its database.
    pub database_url: String,
    work: TempDir,
}

impl World {
    /// Starts it all.
    pub(crate) fn start() -> Result<Self> {
        let cpus = CpuPlan::of_machine()?;
        let work = tempfile::Builder::new().prefix("nauthera-bench.").tempdir()?;
        // The database takes over the cores of the thread that starts it.
        cpus.database.hold_this_thread()?;
        let postgres = Postgres::start()?;
        cpus.client.hold_this_thread()?;
        // As durable as a real one, and nothing left of what tests do without.
        for setting in ["fsync = on", "full_page_writes = on"] {
            psql(postgres.url(), &format!("ALTER SYSTEM SET {setting}"))?;
        }
        psql(postgres.url(), "SELECT pg_reload_conf()")?;
        let database_url = postgres.create_database("bench", None)?;
        migrate(&database_url)?;
        for number in 0..PEOPLE {
            add_person(&database_url, ISSUER, &person(number), PASSWORD)?;
        }
        psql(&database_url, "VACUUM ANALYZE")?;
        let config_dir = work.path().join("config");
        fleet::write(&config_dir, resources()?)?;
        let server = Server::start(&ServerPlan {
            config_dir,
            database_url: database_url.clone(),
            database_pool: POOL,
            cpus: cpus.server.clone(),
            log: work.path().join("server.log"),
            more: Vec::new(),
        })?;
        Ok(Self {
            server,
            postgres,
            cpus,
            database_url,
            work,
        })
    }

    /// A file for output.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// So many sessions, each in a browser of its own.
    pub(crate) fn sessions(&self, count: usize) -> Result<Vec<Cookies>> {
        let session = |number| {
            let mut sign_in = SignIn::new(HOST, "app", &person(number), PASSWORD);
            once(self.server.address(), &mut sign_in)?;
            Ok(sign_in.cookies().clone())
        };
        (0..count).map(session).collect()
    }

    /// An access token about a person, for `client_id`.
    pub(crate) fn access_token(&self, client_id: &str) -> Result<String> {
        let flow = self.sign_on(client_id, self.session()?)?;
        Ok(flow.access_token().context("no access token")?.to_owned())
    }

    /// Refresh tokens of `client_id`, each of a session of its own.
    pub(crate) fn refresh_tokens(&self, client_id: &str, count: usize) -> Result<Vec<String>> {
        let mut tokens = Vec::with_capacity(count);
        for cookies in self.sessions(count)? {
            let flow = self.sign_on(client_id, cookies)?;
            tokens.push(flow.refresh_token().context("no refresh token")?.to_owned());
        }
        Ok(tokens)
    }

    fn session(&self) -> Result<Cookies> {
        self.sessions(1)?.pop().context("no session")
    }

    fn sign_on(&self, client_id: &str, cookies: Cookies) -> Result<CodeFlow> {
        let mut flow = CodeFlow::new(HOST, client_id, "openid profile email", cookies);
        once(self.server.address(), &mut flow)?;
        Ok(flow)
    }
}

/// The user name of a person.
pub(crate) fn person(number: usize) -> String {
    format!("ada{}", number % PEOPLE)
}

/// What psql prints for a statement, without decoration.
pub(crate) fn psql(url: &str, statement: &str) -> Result<String> {
    let output = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
        ])
        .args(["--dbname", url, "--command", statement])
        .output()
        .context("psql")?;
    ensure!(
        output.status.success(),
        "psql: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The body of the answer to one request, which has to be 200.
pub(crate) fn body(address: SocketAddr, request: Vec<u8>) -> Result<Vec<u8>> {
    struct Once(Vec<u8>, Vec<u8>);
    impl Source for Once {
        fn write(&mut self, request: &mut Vec<u8>) {
            request.extend_from_slice(&self.0);
        }

        fn read(&mut self, answer: &Answer<'_>) -> Result<Progress> {
            answer.expect(200)?;
            self.1 = answer.body.to_vec();
            Ok(Progress::Complete)
        }
    }
    let mut source = Once(request, Vec::new());
    once(address, &mut source)?;
    Ok(source.1)
}

fn resources() -> Result<Vec<Resource>> {
    let keys = fleet::signing_keys(&[
        SignatureAlgorithm::Es256,
        SignatureAlgorithm::EdDsa,
        SignatureAlgorithm::Rs256,
    ])?;
    let mut resources = vec![
        Resource::Realm(fleet::realm(ISSUER, "bench/realm")?),
        Resource::Keys(fleet::key_set(ISSUER, keys)),
    ];
    for client in clients()? {
        resources.push(Resource::Client(client));
    }
    Ok(resources)
}

fn clients() -> Result<Vec<Client>> {
    let with = |client_id: &str, format, access_token_algorithm| -> Result<Client> {
        let client = fleet::client(ISSUER, client_id)?;
        let tokens = ClientTokens {
            format,
            access_token_algorithm,
            ..*client.tokens
        };
        Ok(Client {
            tokens: tokens.into(),
            ..client
        })
    };
    let (jwt, opaque) = (AccessTokenFormat::Jwt, AccessTokenFormat::Opaque);
    let mut clients = vec![
        with("cc-es256", jwt, SignatureAlgorithm::Es256)?,
        with("cc-eddsa", jwt, SignatureAlgorithm::EdDsa)?,
        with("cc-rs256", jwt, SignatureAlgorithm::Rs256)?,
        with("cc-opaque", opaque, SignatureAlgorithm::Es256)?,
        fleet::client(ISSUER, "app")?,
        fleet::client(ISSUER, "pgbench")?,
    ];
    for number in clients.len()..CLIENTS {
        clients.push(fleet::client(ISSUER, &format!("other-{number}"))?);
    }
    Ok(clients)
}
