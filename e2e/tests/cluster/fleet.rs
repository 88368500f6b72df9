//! A fleet with one realm and a client, in a namespace and with a database of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::parts::product;
use serde_json::{Value, json};

use crate::stage::{API, READY, Stage};

/// The person of every realm here.
pub(crate) const USER: &str = "ada";
pub(crate) const PASSWORD: &str = "correct horse battery 7";
pub(crate) const EMAIL: &str = "ada@example.com";
pub(crate) const GROUP: &str = "platform-team";

/// Secret of the clients whose secret is not generated.
pub(crate) const CLIENT_SECRET: &str = "a-Secret-that-only-Tests-use-0123456789";

/// How people reach a fleet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exposure {
    Ingress,
    HttpRoute,
}

/// A fleet named `login` in its namespace, with the realm `people` and the client `web`.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) namespace: String,
    pub(crate) database: String,
}

impl Fleet {
    /// Makes the namespace, the database, the person and the objects, and waits until all of them are Ready.
    pub(crate) async fn create(stage: &Stage, namespace: &str, replicas: u32, exposure: Exposure) -> Result<Self> {
        let fleet = Self::prepare(stage, namespace).await?;
        for object in fleet.objects(stage, replicas, exposure) {
            stage.cluster.apply(&object.to_string()).await?;
        }
        fleet.ready(stage, READY).await?;
        fleet.add_person()?;
        Ok(fleet)
    }

    /// The fleet of that namespace, made when no scenario made it before.
    pub(crate) async fn obtain(stage: &Stage, namespace: &str) -> Result<Self> {
        let found = stage
            .get(&format!("{API}/namespaces/{namespace}/authservers/login"))
            .await;
        if found.is_err() {
            return Self::create(stage, namespace, 2, Exposure::Ingress).await;
        }
        let fleet = Self {
            namespace: namespace.to_owned(),
            database: format!("{}/{}", stage.postgres.server(), database_name(namespace)),
        };
        fleet.ready(stage, READY).await?;
        Ok(fleet)
    }

    /// Makes the namespace and the database, and nothing of ours yet.
    pub(crate) async fn prepare(stage: &Stage, namespace: &str) -> Result<Self> {
        stage.namespace(namespace).await?;
        let database = stage.postgres.create_database(&database_name(namespace), None)?;
        let secret = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "database", "namespace": namespace}, "stringData": {"uri": database}});
        stage.cluster.apply(&secret.to_string()).await?;
        let ingress = stage.get("/api/v1/namespaces/kube-system/secrets/ingress").await?;
        let certificate = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "tls", "namespace": namespace}, "data": ingress["data"]});
        stage.cluster.apply(&certificate.to_string()).await?;
        Ok(Self {
            namespace: namespace.to_owned(),
            database,
        })
    }

    /// AuthServer, Realm, Client and the Secret of the client.
    pub(crate) fn objects(&self, stage: &Stage, replicas: u32, exposure: Exposure) -> Vec<Value> {
        let proxies = json!([format!("{}/32", stage.cluster.address()), "10.244.0.0/24"]);
        let (exposure, tls) = match exposure {
            Exposure::Ingress => (
                json!({"ingress": {"className": "traefik"}}),
                json!({"secretRef": {"name": "tls"}}),
            ),
            Exposure::HttpRoute => (
                json!({"gateway": {"parentRefs": [
                    {"name": "traefik", "namespace": "kube-system", "sectionName": "websecure"},
                ]}}),
                json!({"edge": {"trustedProxies": proxies}}),
            ),
        };
        vec![
            self.object(
                "AuthServer",
                "login",
                &json!({
                    "replicas": replicas,
                    "database": {"postgres": {"secretRef": {"name": "database"}, "pool": 4}},
                    "exposure": exposure,
                    "tls": tls,
                }),
            ),
            self.realm("people", &self.issuer()),
            json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "web-secret", "namespace": self.namespace},
                "stringData": {"secret": CLIENT_SECRET}}),
            self.client(
                "web",
                json!({"secret": {"source": "Ref", "ref": {"name": "web-secret", "key": "secret"}}}),
            ),
        ]
    }

    /// A realm of this fleet.
    pub(crate) fn realm(&self, name: &str, issuer: &str) -> Value {
        self.object(
            "Realm",
            name,
            &json!({
                "serverRef": {"name": "login"},
                "issuer": issuer,
                "branding": {"displayName": "People"},
                "scopes": [{"name": "groups", "description": "Your groups", "claims": ["groups"]}],
            }),
        )
    }

    /// A client of the realm `people`, with further fields.
    pub(crate) fn client(&self, name: &str, more: Value) -> Value {
        let mut spec = json!({
            "realmRef": {"name": "people"},
            "type": "Confidential",
            "clientId": format!("{}-{name}", self.namespace),
            "displayName": "Tests",
            "redirectUris": ["http://127.0.0.1/callback"],
            "postLogoutRedirectUris": ["http://127.0.0.1:9/", "http://127.0.0.1:18090/"],
            "grantTypes": ["AuthorizationCode", "RefreshToken"],
            "scopes": {"allowed": ["openid", "profile", "email", "offline_access", "groups"]},
        });
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        self.object("Client", name, &spec)
    }

    fn object(&self, kind: &str, name: &str, spec: &Value) -> Value {
        json!({"apiVersion": "auth.nauthera.io/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace}, "spec": spec})
    }

    /// The issuer of the realm `people`.
    pub(crate) fn issuer(&self) -> String {
        format!("https://{}.nauthera.test", self.namespace)
    }

    /// The path of one of its objects: `path("realms", "people")`.
    pub(crate) fn path(&self, plural: &str, name: &str) -> String {
        format!("{API}/namespaces/{}/{plural}/{name}", self.namespace)
    }

    /// Waits until its three objects are Ready.
    pub(crate) async fn ready(&self, stage: &Stage, patience: Duration) -> Result<()> {
        for (plural, name) in [("authservers", "login"), ("realms", "people"), ("clients", "web")] {
            stage.ready(&self.path(plural, name), patience).await?;
        }
        Ok(())
    }

    /// The pods of its servers: UID and restarts by name.
    pub(crate) async fn pods(&self, stage: &Stage) -> Result<std::collections::BTreeMap<String, (String, i64)>> {
        stage
            .pods(&self.namespace, "app.kubernetes.io/component=auth-server")
            .await
    }

    /// Waits until so many servers are ready and answer; returns how long that took.
    pub(crate) async fn until_serving(&self, stage: &Stage, count: usize) -> Result<Duration> {
        let started = Instant::now();
        loop {
            let ready = self.answers(stage, "/.well-known/openid-configuration").await?.len();
            if ready == count {
                return Ok(started.elapsed());
            }
            ensure!(started.elapsed() < READY, "{ready} servers are ready, not {count}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a server that was deleted is gone and there are as many as before.
    pub(crate) async fn until_replaced(&self, stage: &Stage, victim: &str, count: usize) -> Result<Duration> {
        let started = Instant::now();
        while self.pods(stage).await?.contains_key(victim) {
            ensure!(started.elapsed() < READY, "{victim} does not go");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.until_serving(stage, count).await?;
        Ok(started.elapsed())
    }

    /// Adds ada, by the program and the database, as an administrator does.
    pub(crate) fn add_person(&self) -> Result<()> {
        let mut child = Command::new(product("nauthera-auth")?)
            .args([
                "user",
                "create",
                "--database-url",
                &self.database,
                "--issuer",
                &self.issuer(),
            ])
            .args([
                "--username",
                USER,
                "--email",
                EMAIL,
                "--name",
                "Ada Lovelace",
                "--group",
                GROUP,
                "--password-stdin",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("nauthera-auth user create")?;
        if let Some(mut stdin) = child.stdin.take() {
            std::io::Write::write_all(&mut stdin, format!("{PASSWORD}\n").as_bytes())?;
        }
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "user create: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// The settings that every relying party understands.
    pub(crate) fn settings(&self, port: u16) -> Value {
        json!({
            "issuer": self.issuer(),
            "clientId": format!("{}-web", self.namespace),
            "clientSecret": CLIENT_SECRET,
            "authMethod": "basic",
            "redirectUri": format!("http://127.0.0.1:{port}/callback"),
            "postLogoutRedirectUri": format!("http://127.0.0.1:{port}/"),
            "user": USER,
            "password": PASSWORD,
            "email": EMAIL,
        })
    }

    /// What each ready pod answers to a request inside the cluster, by its address.
    pub(crate) async fn answers(&self, stage: &Stage, path: &str) -> Result<Vec<String>> {
        let list = stage
            .get(&format!(
                "/api/v1/namespaces/{}/pods?labelSelector=app.kubernetes.io/component=auth-server",
                self.namespace
            ))
            .await?;
        let host = format!("{}.nauthera.test", self.namespace);
        let mut answers = Vec::new();
        for pod in list["items"].as_array().into_iter().flatten() {
            // One that goes away or has only just come serves nobody.
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            let is_ready = |one: &Value| one["type"] == "Ready" && one["status"] == "True";
            if !pod["metadata"]["deletionTimestamp"].is_null() || !conditions.clone().any(is_ready) {
                continue;
            }
            let address = pod["status"]["podIP"].as_str().context("a pod without an address")?;
            let port = pod
                .pointer("/spec/containers/0/ports/0/containerPort")
                .and_then(Value::as_u64)
                .unwrap_or(8080);
            let output = stage
                .cluster
                .command(Path::new("curl"))?
                .args(["--silent", "--max-time", "5", "--header", &format!("Host: {host}")])
                .args([
                    "--header",
                    &format!("X-Forwarded-Host: {host}"),
                    "--header",
                    "X-Forwarded-Proto: https",
                ])
                .arg(format!("http://{address}:{port}{path}"))
                .output()?;
            answers.push(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Ok(answers)
    }
}

/// Databases are named by plain words.
fn database_name(namespace: &str) -> String {
    namespace.replace('-', "_")
}
