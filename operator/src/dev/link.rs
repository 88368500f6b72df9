//! The servers of `dev` and the stream to them, with certificates and tokens that are renewed in time.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use snapshot::{Acknowledgements, Artefact, Fleet};
use tokio::net::TcpListener;
use tokio::sync::watch as channel;

use super::servers::{self, Common, Event, Server, ServerError, TOKEN_FILE};
use super::{ADA, Core, DevError, Options, now};
use crate::pki::{Peers, write_folder};
use crate::publish::{Bearer, FleetAcks, FleetFeed, Limits, Publisher, TokenSigner};
use crate::world::ObjectKey;

/// Lifetime of the tokens that prove which server a process is. They are renewed with its certificate.
const TOKEN: Duration = Duration::from_hours(30 * 24);

/// The servers and the stream to them.
pub(super) struct Link {
    pub(super) key: ObjectKey,
    fleet: Fleet,
    pub(super) common: Common,
    pub(super) servers: Vec<Server>,
    pub(super) publisher: Publisher,
    peers: Peers,
    tokens: TokenSigner,
    artefact: channel::Sender<Option<Arc<Artefact>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Link {
    pub(super) async fn new(core: &Core, key: &ObjectKey, program: &Path, options: &Options) -> Result<Self, DevError> {
        let fleet = Fleet::new(&key.namespace, &key.name).map_err(|error| DevError::Fleet(error.to_string()))?;
        let mut servers = Vec::new();
        for slot in 1..=options.replicas {
            servers.push(Server::new(core.state().server_folder(slot))?);
        }
        let peers = Peers::generate(&fleet, servers.iter().map(|server| server.uid.clone()), now())?;
        let tokens = TokenSigner::generate("nauthera-operator dev", "nauthera-operator").map_err(|_| DevError::Key)?;
        let publisher = Publisher::new(Limits::default(), tokens.verifier());
        publisher.set_identity(peers.operator())?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let operator = listener.local_addr()?;
        let (artefact, _) = channel::channel(core.artefact(key).cloned().map(Arc::new));
        let serving = tokio::spawn({
            let publisher = publisher.clone();
            async move {
                if let Err(error) = publisher.serve(listener).await {
                    tracing::error!(%error, "configuration stream ended");
                }
            }
        });
        let spec = core.folder().world.auth_servers.get(key).map(|server| &server.spec);
        let staleness = spec.map_or(60, |spec| spec.max_staleness.as_seconds());
        let common = Common {
            program: program.to_owned(),
            shared: servers::shared_addresses(options.listen)?,
            database: core.state().database(),
            config: core.state().config_folder(key),
            operator,
            fleet: fleet.to_string(),
            max_staleness: format!("{staleness}s"),
        };
        let link = Self {
            key: key.clone(),
            fleet,
            common,
            servers,
            publisher,
            peers,
            tokens,
            artefact,
            serving,
        };
        link.trust_servers()?;
        link.hand_out(|_| true)?;
        Ok(link)
    }

    /// Renews what is due of certificates and tokens. Servers and streams go on.
    pub(super) fn renew(&mut self) -> Result<(), DevError> {
        let acks = self.publisher.acks().borrow().clone();
        let answers = acks.fleets.get(&self.fleet);
        let reported: Vec<_> = answers.into_iter().flat_map(FleetAcks::bundles).collect();
        let renewed = self.peers.renew(now(), &reported)?;
        // What others show is trusted before it is shown.
        if renewed.authorities {
            self.trust_servers()?;
        }
        self.hand_out(|uid| renewed.bundle || renewed.servers.iter().any(|server| server == uid))?;
        if renewed.operator {
            self.publisher.set_identity(self.peers.operator())?;
        }
        Ok(())
    }

    fn trust_servers(&self) -> Result<(), DevError> {
        let feed = FleetFeed {
            artefact: self.artefact.subscribe(),
            authorities: self.peers.authorities()?,
        };
        Ok(self.publisher.set_fleet(&self.fleet, feed)?)
    }

    /// Gives servers what a pod would be given: certificate, trust and token.
    fn hand_out(&self, to: impl Fn(&str) -> bool) -> Result<(), DevError> {
        for (slot, server) in (1..).zip(&self.servers) {
            let Some(leaf) = self.peers.server(&server.uid).filter(|_| to(&server.uid)) else {
                continue;
            };
            write_folder(&server.peer_folder(), &leaf.files(&self.peers.bundle()))?;
            let bearer = Bearer {
                namespace: self.key.namespace.clone(),
                service_account: self.key.name.clone(),
                pod: format!("{}-{slot}", self.key.name),
                uid: server.uid.clone(),
            };
            let token = self.tokens.sign(&bearer, now(), TOKEN).map_err(|_| DevError::Key)?;
            write_folder(&server.folder, &[(TOKEN_FILE.to_owned(), token.into_bytes())])?;
        }
        Ok(())
    }

    /// Hands the committed configuration to the stream.
    pub(super) fn publish(&self, core: &Core) {
        self.artefact
            .send_replace(core.artefact(&self.key).cloned().map(Arc::new));
    }

    pub(super) fn acknowledgements(&self) -> BTreeMap<ObjectKey, Acknowledgements> {
        let ready = self
            .servers
            .iter()
            .filter(|server| server.is_ready)
            .map(|server| server.uid.clone())
            .collect();
        let acks = self.publisher.acks().borrow().clone();
        let answers = match acks.fleets.get(&self.fleet) {
            Some(answers) => answers.acknowledgements(ready),
            None => Acknowledgements {
                ready,
                ..Acknowledgements::default()
            },
        };
        BTreeMap::from([(self.key.clone(), answers)])
    }

    /// Looks after every server. Whether readiness changed anywhere.
    pub(super) async fn look_after(&mut self, out: &mut (impl Write + Send)) -> Result<bool, DevError> {
        let before: Vec<bool> = self.servers.iter().map(|server| server.is_ready).collect();
        let probes = self.servers.iter_mut().map(|server| server.look_after(&self.common));
        let events: Vec<Event> = futures::future::try_join_all(probes).await?;
        for ((number, server), event) in (1..).zip(&self.servers).zip(events) {
            match event {
                Event::None => {}
                Event::Ready => writeln!(out, "auth server {number} is ready")?,
                Event::Died {
                    status,
                    pause,
                    last_words,
                } => {
                    writeln!(out, "auth server {number} died ({status}); restarting{}", after(pause))?;
                    if let Some(words) = last_words {
                        writeln!(out, "  {words}\n  (all of it: {})", server.log_file().display())?;
                    }
                }
            }
        }
        let after: Vec<bool> = self.servers.iter().map(|server| server.is_ready).collect();
        Ok(before != after)
    }

    /// Which servers are not ready, and why, one line each.
    pub(super) async fn waiting(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (number, server) in (1..).zip(&self.servers) {
            if !server.is_ready {
                let reason = server.why_not_ready().await;
                lines.push(format!("waiting for auth server {number}: {reason}"));
            }
        }
        lines
    }

    /// Adds the demo person to every realm. What fails is told, and keeps nothing else from running.
    pub(super) async fn ensure_people(&self, core: &Core) -> Vec<(ObjectKey, ServerError)> {
        let mut failures = Vec::new();
        for (key, realm) in &core.folder().world.realms {
            if let Err(failure) = self.common.ensure_person(&realm.spec.issuer, &ADA).await {
                failures.push((key.clone(), failure));
            }
        }
        failures
    }

    pub(super) async fn shut_down(self) {
        self.servers.iter().for_each(Server::stop);
        self.publisher.drain();
        futures::future::join_all(self.servers.into_iter().map(Server::stopped)).await;
        let _ = tokio::time::timeout(Duration::from_secs(2), self.serving).await;
    }
}

fn after(pause: Duration) -> String {
    if pause.is_zero() {
        String::new()
    } else {
        format!(" in {:.1} s", pause.as_secs_f32())
    }
}
