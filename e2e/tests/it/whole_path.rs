//! The whole path on one machine: a folder of YAML in, a person logged in, with programs that nobody
//! here wrote on the other side. Each test runs an operator and two auth servers of its own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use e2e::dev::Dev;
use e2e::parts::{checkout, free_port, http_client, program};
use e2e::relying_party::{RelyingParty, new_key, screenshots};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// What an edit may take from the file to every server, in a debug build on a loaded machine.
const LIVE: Duration = Duration::from_secs(20);

/// The person that `dev` creates in every realm.
const USER: &str = "ada";
const PASSWORD: &str = "correct horse battery";
const EMAIL: &str = "ada@example.com";

/// A running demo: the samples with ports of their own, and clients for the programs.
struct World {
    dev: Dev,
    issuer: String,
    application: String,
    keys: tempfile::TempDir,
}

impl World {
    async fn start() -> Result<Self> {
        let keys = tempfile::tempdir()?;
        let jwks = new_key(&keys.path().join("key.pem"))?;
        // The demo application of `dev` listens where the sample client is called back.
        let (port, demo_port, application_port) = (free_port()?, free_port()?, free_port()?);
        let mut manifests = Vec::new();
        for entry in std::fs::read_dir(checkout().join("config/samples"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let name = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .context("name")?
                    .to_owned();
                let text = std::fs::read_to_string(&path)?
                    .replace("localhost:8080", &format!("localhost:{port}"))
                    .replace("127.0.0.1:8090", &format!("127.0.0.1:{demo_port}"));
                manifests.push((name, text));
            }
        }
        let application = format!("http://127.0.0.1:{application_port}");
        manifests.push(("9-tests.yaml".to_owned(), clients(&application, &jwks)));
        let issuer = format!("http://localhost:{port}/acme");
        let dev = Dev::start(&manifests, port, &format!("{issuer}/.well-known/openid-configuration")).await?;
        Ok(Self {
            dev,
            issuer,
            application,
            keys,
        })
    }

    /// The settings that every program understands.
    fn settings(&self) -> Value {
        json!({
            "issuer": self.issuer,
            "clientId": "tests-web",
            "clientSecret": "a-secret-that-only-tests-use-0123456789",
            "authMethod": "basic",
            "redirectUri": format!("{}/callback", self.application),
            "postLogoutRedirectUri": format!("{}/", self.application),
            "user": USER,
            "password": PASSWORD,
            "email": EMAIL,
            "service": {"clientId": "tests-service", "clientSecret": "a-secret-that-only-tests-use-0123456789"},
            "keyService": {"clientId": "tests-keys", "keyFile": self.keys.path().join("key.pem")},
        })
    }

    async fn page(&self, path: &str) -> Result<String> {
        Ok(http_client()?
            .get(format!("{}{path}", self.issuer))
            .send()
            .await?
            .text()
            .await?)
    }
}

/// Clients with secrets that the programs know.
fn clients(application: &str, jwks: &Value) -> String {
    let client = |name: &str, spec: Value| json!({"apiVersion": "auth.nauthera.io/v1alpha1", "kind": "Client", "metadata": {"name": name}, "spec": spec});
    let realm = json!({"name": "acme"});
    let scopes = json!({"allowed": ["openid", "profile", "email", "offline_access"]});
    let secret = json!({"source": "Ref", "ref": {"name": "tests", "key": "secret"}});
    let documents = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tests"},
            "stringData": {"secret": "a-secret-that-only-tests-use-0123456789"}}),
        client(
            "tests-web",
            json!({
                "realmRef": realm, "clientId": "tests-web", "type": "Confidential", "displayName": "Tests", "scopes": scopes,
                "redirectUris": [format!("{application}/callback")],
                "postLogoutRedirectUris": [format!("{application}/")],
                "grantTypes": ["AuthorizationCode", "RefreshToken"], "secret": secret,
            }),
        ),
        client(
            "tests-public",
            json!({
                "realmRef": realm, "clientId": "tests-public", "type": "Public", "displayName": "Public tests", "scopes": scopes,
                "redirectUris": [format!("{application}/callback")],
                "postLogoutRedirectUris": [format!("{application}/")],
            }),
        ),
        client(
            "tests-service",
            json!({
                "realmRef": realm, "clientId": "tests-service", "type": "Service", "secret": secret,
            }),
        ),
        client(
            "tests-keys",
            json!({
                "realmRef": realm, "clientId": "tests-keys", "type": "Service",
                "auth": {"method": "PrivateKeyJwt", "jwks": jwks},
            }),
        ),
    ];
    // JSON is YAML.
    documents.map(|document| document.to_string()).join("\n---\n")
}

#[tokio::test]
async fn openid_client_gets_everything_it_asks_for() {
    let world = World::start().await.unwrap();
    RelyingParty::OpenidClient
        .run("openid-client", &world.settings(), 15)
        .unwrap();
}

#[tokio::test]
async fn openid_client_works_without_a_secret() {
    let world = World::start().await.unwrap();
    let mut settings = world.settings();
    settings["clientId"] = json!("tests-public");
    settings["authMethod"] = json!("none");
    RelyingParty::OpenidClient
        .run("openid-client-public", &settings, 13)
        .unwrap();
}

#[tokio::test]
async fn authlib_gets_everything_it_asks_for() {
    let world = World::start().await.unwrap();
    RelyingParty::Authlib.run("authlib", &world.settings(), 7).unwrap();
}

#[tokio::test]
async fn a_person_in_chromium_signs_in_and_out() {
    let world = World::start().await.unwrap();
    let mut settings = world.settings();
    settings["chromium"] = json!(program("NAUTHERA_CHROMIUM").unwrap());
    settings["screenshots"] = json!(screenshots().unwrap());
    settings["language"] = json!({"tag": "de", "words": "Passwort"});
    RelyingParty::Browser.run("chromium", &settings, 11).unwrap();
}

#[tokio::test]
async fn an_edit_is_live_on_both_servers_without_a_restart() {
    let mut world = World::start().await.unwrap();
    world.dev.says(&["2 of 2"], LIVE).await.unwrap();
    let before = world.dev.servers().unwrap();
    assert_eq!(before.len(), 2, "{before:?}");
    let name = "2-realm-acme.yaml";
    let realm = std::fs::read_to_string(world.dev.folder().join(name)).unwrap();
    let sign_in = format!(
        "/oauth2/authorize?response_type=code&client_id=tests-public&scope=openid&redirect_uri={}/callback\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
        world.application
    );
    assert!(!world.page(&sign_in).await.unwrap().contains("Renamed Realm"));
    world
        .dev
        .write(name, &realm.replace("displayName: Acme", "displayName: Renamed Realm"))
        .unwrap();
    let deadline = Instant::now() + LIVE;
    // Both servers answer on one address, so one old page says that one of them is behind.
    let mut fresh = 0;
    while fresh < 10 {
        fresh = if world.page(&sign_in).await.unwrap().contains("Renamed Realm") {
            fresh + 1
        } else {
            0
        };
        assert!(
            Instant::now() < deadline,
            "the edit is not live after {LIVE:?}:\n{}",
            world.dev.output()
        );
    }
    world
        .dev
        .says(&["acme", "live on every ready replica since generation"], LIVE)
        .await
        .unwrap();
    assert_eq!(world.dev.servers().unwrap(), before, "a server was restarted");
}

#[tokio::test]
async fn a_mistake_in_one_file_leaves_everything_served() {
    let mut world = World::start().await.unwrap();
    let name = "5-client-spa.yaml";
    let client = std::fs::read_to_string(world.dev.folder().join(name)).unwrap();
    world
        .dev
        .write(
            name,
            &client.replace("http://localhost:5173/callback", "http://evil.example/#a"),
        )
        .unwrap();
    world.dev.says(&["spa", "redirectUris"], LIVE).await.unwrap();
    RelyingParty::Authlib
        .run("authlib-beside-a-mistake", &world.settings(), 7)
        .unwrap();
}

#[tokio::test]
async fn a_killed_server_is_not_missed() {
    let mut world = World::start().await.unwrap();
    world.dev.says(&["2 of 2"], LIVE).await.unwrap();
    let servers = world.dev.servers().unwrap();
    let victim = servers.first().copied().and_then(Pid::from_raw).unwrap();
    kill_process(victim, Signal::KILL).unwrap();
    RelyingParty::Authlib
        .run("authlib-after-a-kill", &world.settings(), 7)
        .unwrap();
}

#[tokio::test]
async fn ctrl_c_leaves_nothing_behind() {
    let mut world = World::start().await.unwrap();
    world.dev.says(&["2 of 2"], LIVE).await.unwrap();
    let servers = world.dev.servers().unwrap();
    assert_eq!(servers.len(), 2);
    world.dev.interrupt().unwrap();
    for server in servers {
        assert!(
            !std::path::Path::new(&format!("/proc/{server}")).exists(),
            "server {server} is still there"
        );
    }
    assert!(
        http_client().unwrap().get(&world.issuer).send().await.is_err(),
        "somebody still answers"
    );
}
