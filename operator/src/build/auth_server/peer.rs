//! What pods show on the configuration stream when cert-manager issues it, and the volume that they find it in.
//!
//! The built-in authority needs no child: its Secret is written like the configuration, see [`crate::build::peers`].

use crds::auth_server::PeerTls;
use crds::reference::IssuerKind;
use serde_json::{Value, json};
use snapshot::Fleet;

use super::BuildInputs;
use crate::build::Desired;
use crate::build::peers::{issued_peer_secret, peer_secret};
use crate::world::{ChildKind, manifest_of};

/// The Certificate that names this fleet. Its Secret carries our label, so that the authority in it is seen: whatever
/// else that authority signs is believed of this fleet alone.
pub(super) fn build(inputs: &BuildInputs<'_>) -> Option<Desired> {
    let PeerTls::CertManager(cert_manager) = &inputs.server.spec.peer_tls else {
        return None;
    };
    let issuer = &cert_manager.issuer_ref;
    let kind = match issuer.kind {
        IssuerKind::Issuer => "Issuer",
        IssuerKind::ClusterIssuer => "ClusterIssuer",
    };
    let fleet = Fleet::new(&inputs.key.namespace, &inputs.key.name).ok()?;
    let body = json!({"spec": {
        "secretName": issued_peer_secret(inputs.key).name,
        "secretTemplate": {"labels": manifest_of(&inputs.owner().labels())},
        "uris": [fleet.uri()],
        "issuerRef": {"name": issuer.name.as_str(), "kind": kind, "group": issuer.group},
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "client auth"],
    }});
    Some(inputs.child(ChildKind::Certificate, peer_secret(inputs.key).name, body))
}

/// Kind and value of the volume with `tls.crt`, `tls.key` and `ca.crt`.
pub(super) fn volume(inputs: &BuildInputs<'_>) -> (&'static str, Value) {
    let ours = peer_secret(inputs.key).name;
    match inputs.server.spec.peer_tls {
        PeerTls::BuiltIn(_) => ("secret", json!({"secretName": ours, "defaultMode": 0o440})),
        PeerTls::CertManager(_) => {
            let part = |name: &str, files: &[&str]| {
                let items: Vec<Value> = files.iter().map(|file| json!({"key": file, "path": file})).collect();
                json!({"secret": {"name": name, "items": items}})
            };
            // The issued Secret has a `ca.crt` too: that of the fleet's own issuer, which operators are not signed by.
            let issued = issued_peer_secret(inputs.key).name;
            let sources = [part(&issued, &["tls.crt", "tls.key"]), part(&ours, &["ca.crt"])];
            ("projected", json!({"defaultMode": 0o440, "sources": sources}))
        }
    }
}
