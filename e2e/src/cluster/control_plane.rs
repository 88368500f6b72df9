//! How etcd, the API server, the controllers and the scheduler are started.

use std::fs;

use anyhow::Result;
use serde_json::json;

use super::part::Part;
use super::pki::Pki;
use super::site::{Mode, Site};
use crate::parts::program;

/// The addresses of Services.
pub(super) const SERVICES: &str = "10.96.0.0/16";

pub(super) fn start_etcd(site: &Site) -> Result<Part> {
    let client = format!("http://{}:{}", site.address, site.etcd_port);
    let peer = format!("http://{}:{}", site.address, site.etcd_peer_port);
    let arguments = vec![
        "--unsafe-no-fsync".to_owned(),
        format!("--data-dir={}", site.path("etcd")),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--log-level=warn".to_owned(),
    ];
    site.start("etcd", &program("NAUTHERA_ETCD")?, arguments)
}

pub(super) fn start_api_server(site: &Site, pki: &Pki) -> Result<Part> {
    write_policies(site)?;
    let certificate = |name: &str| pki.certificate(name).display().to_string();
    let key = |name: &str| pki.key(name).display().to_string();
    let mut arguments = vec![
        format!("--etcd-servers=http://{}:{}", site.address, site.etcd_port),
        format!("--secure-port={}", site.api_port),
        format!("--advertise-address={}", site.address),
        format!("--cert-dir={}", site.path("certificates")),
        format!("--tls-cert-file={}", certificate("api-server")),
        format!("--tls-private-key-file={}", key("api-server")),
        format!("--client-ca-file={}", certificate("ca")),
        format!(
            "--service-account-key-file={}",
            pki.service_accounts_public_key().display()
        ),
        format!("--service-account-signing-key-file={}", key("service-accounts")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        // Read again whenever it changes: that is how a test adds an issuer.
        format!("--authentication-config={}", site.path("authentication.json")),
        format!("--audit-policy-file={}", site.path("audit-policy.json")),
        format!("--audit-log-path={}", site.path("audit.log")),
        "--audit-log-maxsize=4096".to_owned(),
        // No client of ours may be slowed down by the server's own fairness in a small cluster.
        "--max-requests-inflight=2000".to_owned(),
        format!("--requestheader-client-ca-file={}", certificate("front-proxy-ca")),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        format!("--proxy-client-cert-file={}", certificate("front-proxy-client")),
        format!("--proxy-client-key-file={}", key("front-proxy-client")),
    ];
    match site.mode {
        Mode::Node => arguments.extend([
            "--bind-address=0.0.0.0".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--kubelet-certificate-authority={}", certificate("ca")),
            format!("--kubelet-client-certificate={}", certificate("api-server-client")),
            format!("--kubelet-client-key={}", key("api-server-client")),
        ]),
        Mode::ControlPlane | Mode::Controllers => arguments.extend([
            "--bind-address=127.0.0.1".to_owned(),
            // No endpoints of the Service `kubernetes`: they may not be on loopback.
            "--endpoint-reconciler-type=none".to_owned(),
        ]),
    }
    if site.mode == Mode::ControlPlane {
        // Nothing runs the controller that makes a namespace's default ServiceAccount.
        arguments.push("--disable-admission-plugins=ServiceAccount".to_owned());
    }
    // It looks up the names of the issuers whose tokens it accepts.
    let command = site.inside_with_names(&program("NAUTHERA_KUBE_APISERVER")?);
    site.start_by("kube-apiserver", command, arguments)
}

/// Every request is logged with who, what and when, and without its body.
fn write_policies(site: &Site) -> Result<()> {
    let audit = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    });
    fs::write(site.folder.join("audit-policy.json"), audit.to_string())?;
    let authentication = site.folder.join("authentication.json");
    if !authentication.exists() {
        fs::write(authentication, authentication_of(&[]).to_string())?;
    }
    Ok(())
}

/// An `AuthenticationConfiguration` with these JWT authenticators.
pub(super) fn authentication_of(jwt: &[serde_json::Value]) -> serde_json::Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": jwt,
    })
}

pub(super) fn start_controller_manager(site: &Site, pki: &Pki, kubeconfig: &str) -> Result<Part> {
    let arguments = vec![
        format!("--kubeconfig={kubeconfig}"),
        "--leader-elect=false".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        format!(
            "--service-account-private-key-file={}",
            pki.key("service-accounts").display()
        ),
        format!("--root-ca-file={}", pki.certificate("ca").display()),
        format!("--cluster-signing-cert-file={}", pki.certificate("ca").display()),
        format!("--cluster-signing-key-file={}", pki.key("ca").display()),
        "--kube-api-qps=200".to_owned(),
        "--kube-api-burst=400".to_owned(),
        "--secure-port=0".to_owned(),
    ];
    site.start(
        "kube-controller-manager",
        &program("NAUTHERA_KUBE_CONTROLLER_MANAGER")?,
        arguments,
    )
}

pub(super) fn start_scheduler(site: &Site, kubeconfig: &str) -> Result<Part> {
    let arguments = vec![
        format!("--kubeconfig={kubeconfig}"),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ];
    site.start("kube-scheduler", &program("NAUTHERA_KUBE_SCHEDULER")?, arguments)
}
