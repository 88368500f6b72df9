//! How the fleet is reached from outside: Ingresses or HTTPRoutes for the hosts of its realms, and Certificates.
//!
//! TLS ends at the ingress controller or gateway (or before it, with `tls.edge`); behind it the servers are spoken to in
//! plain HTTP inside the cluster. A Gateway's listeners name their certificates themselves: there the Certificates only
//! fill Secrets that a listener may name.

use std::collections::{BTreeMap, BTreeSet};

use crds::auth_server::{CertManager, Exposure, GatewayExposure, IngressExposure, Tls};
use crds::reference::IssuerKind;
use serde_json::{Value, json};

use super::hosts::{GROUP, groups};
use super::{BuildInputs, service};
use crate::build::{Desired, field, set};
use crate::world::ChildKind;

/// Path matches in one HTTPRoute rule.
const MATCHES: usize = 8;
/// Rules in one HTTPRoute.
const RULES: usize = 16;

pub(super) fn build(inputs: &BuildInputs<'_>) -> Vec<Desired> {
    match &inputs.server.spec.exposure {
        Exposure::Ingress(exposure) => certificates(inputs)
            .into_iter()
            .chain(ingresses(inputs, exposure))
            .collect(),
        Exposure::Gateway(exposure) => certificates(inputs)
            .into_iter()
            .chain(routes(inputs, exposure))
            .collect(),
        Exposure::None(_) => Vec::new(),
    }
}

/// Name of the object of that group: the first has the fleet's own.
fn numbered(name: &str, number: usize) -> String {
    match number {
        0 => name.to_owned(),
        number => format!("{name}-{}", number + 1),
    }
}

/// The groups of hosts, as they lie in the live objects of a kind.
fn grouped<'a>(
    inputs: &BuildInputs<'a>,
    kind: ChildKind,
    name: &str,
    hosts_of: impl Fn(&'a Value) -> Vec<&'a str>,
) -> BTreeMap<usize, BTreeSet<&'a str>> {
    let names = inputs.hosts.names();
    let most = names.len();
    let live = (0..=most)
        .filter_map(|number| {
            let object = inputs.live(kind, &numbered(name, number))?;
            Some((number, hosts_of(object).into_iter().collect()))
        })
        .collect();
    groups(&names, &live)
}

fn strings<'a>(object: &'a Value, path: &[&str]) -> Vec<&'a str> {
    let list = field(object, path).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn certificate_name(inputs: &BuildInputs<'_>) -> String {
    format!("{}-tls", inputs.key.name)
}

fn certificate_groups<'a>(inputs: &BuildInputs<'a>) -> BTreeMap<usize, BTreeSet<&'a str>> {
    let name = certificate_name(inputs);
    grouped(inputs, ChildKind::Certificate, &name, |object| {
        strings(object, &["spec", "dnsNames"])
    })
}

fn certificates(inputs: &BuildInputs<'_>) -> Vec<Desired> {
    let Some(Tls::CertManager(CertManager { issuer_ref })) = &inputs.server.spec.tls else {
        return Vec::new();
    };
    let kind = match issuer_ref.kind {
        IssuerKind::Issuer => "Issuer",
        IssuerKind::ClusterIssuer => "ClusterIssuer",
    };
    let base = certificate_name(inputs);
    certificate_groups(inputs)
        .into_iter()
        .map(|(number, hosts)| {
            let name = numbered(&base, number);
            let body = json!({"spec": {
                "secretName": name,
                "dnsNames": hosts,
                "issuerRef": {"name": issuer_ref.name.as_str(), "kind": kind, "group": issuer_ref.group},
                "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
                "usages": ["digital signature", "server auth"],
            }});
            inputs.child(ChildKind::Certificate, name, body)
        })
        .collect()
}

fn ingresses(inputs: &BuildInputs<'_>, exposure: &IngressExposure) -> Vec<Desired> {
    let hosts_of = |object| {
        let rules = field(object, &["spec", "rules"]).and_then(Value::as_array);
        rules
            .into_iter()
            .flatten()
            .filter_map(|rule| rule.get("host").and_then(Value::as_str))
            .collect()
    };
    grouped(inputs, ChildKind::Ingress, &inputs.key.name, hosts_of)
        .into_iter()
        .map(|(number, hosts)| {
            let rules: Vec<Value> = hosts.iter().map(|host| ingress_rule(inputs, host)).collect();
            let mut body = json!({"spec": {"rules": rules}});
            if let Some(class) = &exposure.class_name {
                set(&mut body, &["spec", "ingressClassName"], json!(class.as_str()));
            }
            let tls = ingress_tls(inputs, &hosts);
            if !tls.is_empty() {
                set(&mut body, &["spec", "tls"], json!(tls));
            }
            for (name, value) in &exposure.annotations {
                set(&mut body, &["metadata", "annotations", name], json!(value));
            }
            inputs.child(ChildKind::Ingress, numbered(&inputs.key.name, number), body)
        })
        .collect()
}

fn ingress_rule(inputs: &BuildInputs<'_>, host: &str) -> Value {
    let backend = json!({"service": {"name": inputs.key.name, "port": {"number": service::PORT}}});
    let paths: Vec<Value> = inputs
        .hosts
        .prefixes(host)
        .into_iter()
        .map(|path| json!({"path": path, "pathType": "Prefix", "backend": backend}))
        .collect();
    json!({"host": host, "http": {"paths": paths}})
}

fn ingress_tls(inputs: &BuildInputs<'_>, hosts: &BTreeSet<&str>) -> Vec<Value> {
    match &inputs.server.spec.tls {
        Some(Tls::SecretRef(secret)) => vec![json!({"hosts": hosts, "secretName": secret.name.as_str()})],
        Some(Tls::CertManager(_)) => {
            let base = certificate_name(inputs);
            certificate_groups(inputs)
                .into_iter()
                .filter_map(|(number, covered)| {
                    let both: Vec<&str> = covered.into_iter().filter(|host| hosts.contains(host)).collect();
                    (!both.is_empty()).then(|| json!({"hosts": both, "secretName": numbered(&base, number)}))
                })
                .collect()
        }
        Some(Tls::Edge(_)) | None => Vec::new(),
    }
}

/// Routes match every host with every path, so hosts share a route only when they have the same paths.
fn routes(inputs: &BuildInputs<'_>, exposure: &GatewayExposure) -> Vec<Desired> {
    let mut whole = BTreeSet::new();
    let mut by_path: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    for host in inputs.hosts.names() {
        let prefixes = inputs.hosts.prefixes(host);
        if prefixes.iter().any(|prefix| prefix == "/") {
            whole.insert(host);
        } else {
            by_path.extend(prefixes.chunks(MATCHES * RULES).map(|part| (vec![host], part.to_vec())));
        }
    }
    let whole: Vec<&str> = whole.into_iter().collect();
    let shared = whole.chunks(GROUP).map(|hosts| (hosts.to_vec(), vec!["/".to_owned()]));
    shared
        .chain(by_path)
        .enumerate()
        .map(|(number, (hosts, prefixes))| route(inputs, exposure, number, &hosts, &prefixes))
        .collect()
}

fn route(
    inputs: &BuildInputs<'_>,
    exposure: &GatewayExposure,
    number: usize,
    hosts: &[&str],
    prefixes: &[String],
) -> Desired {
    let parents: Vec<Value> = exposure
        .parent_refs
        .iter()
        .map(|parent| {
            let mut reference = json!({"name": parent.name.as_str()});
            if let Some(namespace) = &parent.namespace {
                set(&mut reference, &["namespace"], json!(namespace.as_str()));
            }
            if let Some(section) = &parent.section_name {
                set(&mut reference, &["sectionName"], json!(section.as_str()));
            }
            reference
        })
        .collect();
    let rules: Vec<Value> = prefixes
        .chunks(MATCHES)
        .map(|part| {
            let matches: Vec<Value> = part
                .iter()
                .map(|prefix| json!({"path": {"type": "PathPrefix", "value": prefix}}))
                .collect();
            json!({"matches": matches, "backendRefs": [{"name": inputs.key.name, "port": service::PORT}]})
        })
        .collect();
    let body = json!({"spec": {"parentRefs": parents, "hostnames": hosts, "rules": rules}});
    inputs.child(ChildKind::HttpRoute, numbered(&inputs.key.name, number), body)
}
