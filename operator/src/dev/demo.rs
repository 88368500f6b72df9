//! The demo application of `dev`: which Client it plays, and where it listens.

use std::net::SocketAddr;
use std::sync::Arc;

use crds::client::ClientType;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::relying_party::{Registration, RelyingParty};
use super::{Core, DevError};
use crate::build::client as credentials;
use crate::resolve::Details;
use crate::world::ObjectKey;

/// The demo application and where it listens.
pub(super) struct Demo {
    party: Arc<RelyingParty>,
    pub(super) address: SocketAddr,
    pub(super) stopped: CancellationToken,
}

impl Demo {
    pub(super) async fn new(core: &Core) -> Result<Self, DevError> {
        let wanted = candidate(core).and_then(|(_, _, uri)| uri.port()).unwrap_or(0);
        let listener = match TcpListener::bind(("127.0.0.1", wanted)).await {
            Ok(listener) => listener,
            // Any port of a loopback address matches a registered one (RFC 8252 §7.3).
            Err(_) => TcpListener::bind(("127.0.0.1", 0)).await?,
        };
        let demo = Self {
            party: Arc::default(),
            address: listener.local_addr()?,
            stopped: CancellationToken::new(),
        };
        tokio::spawn(Arc::clone(&demo.party).serve(listener, demo.stopped.clone()));
        Ok(demo)
    }

    pub(super) fn register(&self, core: &Core) {
        self.party.register(self.registration(core));
    }

    pub(super) fn registration(&self, core: &Core) -> Option<Registration> {
        let (key, client, mut redirect_uri) = candidate(core)?;
        let id = crate::world::ObjectId {
            kind: crds::manifests::Kind::Client,
            key: key.clone(),
        };
        let Details::Client {
            client_id,
            issuer,
            effective,
            ..
        } = &core.verdicts().get(&id)?.details
        else {
            return None;
        };
        redirect_uri.set_port(Some(self.address.port())).ok()?;
        let secret = core.secret(&credentials::secret_key(key, client));
        let secret = secret.and_then(|secret| secret.data.get("client-secret")).cloned();
        let own = format!("http://{}/", self.address);
        let post_logout = client
            .spec
            .post_logout_redirect_uris
            .iter()
            .find(|uri| uri.as_str() == own);
        Some(Registration {
            client_id: client_id.clone()?,
            client_secret: secret.filter(|_| client.spec.has_client_secret()),
            display_name: client.spec.display_name.clone().unwrap_or_else(|| key.name.clone()),
            issuer: issuer.clone()?,
            scopes: effective
                .as_ref()?
                .scopes
                .iter()
                .map(|scope| scope.as_str().to_owned())
                .collect(),
            redirect_uri,
            post_logout_redirect_uri: post_logout.map(|_| own),
        })
    }
}

/// The first Client that is sent back to http://127.0.0.1: a web application, else any.
fn candidate(core: &Core) -> Option<(&ObjectKey, &crds::Client, Url)> {
    let mut found: Vec<_> = core
        .folder()
        .world
        .clients
        .iter()
        .filter_map(|(key, client)| {
            let uris = client
                .spec
                .redirect_uris
                .iter()
                .filter_map(|uri| Url::parse(uri.as_str()).ok());
            let uri = { uris }.find(|uri| uri.scheme() == "http" && uri.host_str() == Some("127.0.0.1"))?;
            Some((key, client.as_ref(), uri))
        })
        .collect();
    found.sort_by_key(|(key, client, _)| (client.spec.client_type != ClientType::Confidential, (*key).clone()));
    found.into_iter().next()
}
