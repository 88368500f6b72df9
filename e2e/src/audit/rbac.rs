//! What a ServiceAccount may do by the Roles that it is bound to, compared with what it did.
//!
//! Every verb of every rule has to be used by somebody, and nothing may be tried that no rule grants.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::{Log, Object, Request};

/// What every authenticated user may do (`system:basic-user`), so that no chart needs to grant it.
const EVERYBODY: [(&str, &str); 3] = [
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
];

/// A ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceAccount {
    /// The user that it is to the API server.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// One verb on one resource, by a rule or by a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// API group; empty for the core group.
    pub group: String,
    /// Resource, with its subresource after a slash; a path when there is no resource.
    pub resource: String,
    /// Verb.
    pub verb: String,
    /// The only namespace; none means all of them (in a rule) or that none was named (in a request).
    pub namespace: Option<String>,
    /// The only name; none means all of them (in a rule) or that none was named (in a request).
    pub name: Option<String>,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => write!(f, " in the cluster"),
        }
    }
}

/// The comparison of rules with requests.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// Rights that nothing used.
    pub unused: BTreeSet<Access>,
    /// What was tried without a right: no rule grants it, or the server refused it.
    pub not_granted: BTreeSet<Access>,
    /// What was tried, all of it.
    pub used: BTreeSet<Access>,
}

impl Replay {
    /// Whether the rules say exactly what was done.
    pub fn is_exact(&self) -> bool {
        self.unused.is_empty() && self.not_granted.is_empty()
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} kinds of access used", self.used.len())?;
        for access in &self.unused {
            writeln!(f, "granted but unused: {access}")?;
        }
        for access in &self.not_granted {
            writeln!(f, "used but not granted: {access}")?;
        }
        Ok(())
    }
}

/// Compares the requests of a ServiceAccount with the Roles, ClusterRoles and bindings among these objects.
pub fn replay(log: &Log, account: &ServiceAccount, objects: &[Value]) -> Result<Replay> {
    let grants = grants(account, objects)?;
    let mut replay = Replay::default();
    let mut idle: BTreeSet<&Access> = grants.iter().collect();
    for access in log.by(&account.user()).flat_map(attempts) {
        let (is_refused, access) = access;
        let granting: Vec<&Access> = grants.iter().filter(|grant| covers(grant, &access)).collect();
        for grant in &granting {
            idle.remove(grant);
        }
        if is_refused || (granting.is_empty() && !is_everybodys(&access)) {
            replay.not_granted.insert(access.clone());
        }
        replay.used.insert(access);
    }
    replay.unused = idle.into_iter().cloned().collect();
    Ok(replay)
}

/// What a request needed, and whether that was refused. A path is granted to everybody unless it was refused.
fn attempts(request: &Request) -> Vec<(bool, Access)> {
    // Every other refusal counts, whoever refused: the operator should not even have asked.
    let is_refused = request.code == 403 && !request.is_namespace_terminating;
    let Some(object) = &request.object else {
        return if is_refused {
            let path = request.uri.split('?').next().unwrap_or_default();
            vec![(true, access(&request.verb, None, path))]
        } else {
            Vec::new()
        };
    };
    let mut verbs = vec![request.verb.as_str()];
    // An apply that makes the object asks for `create` too; so does one that is refused because of it.
    let is_refused_create = is_refused && request.message.contains(" cannot create resource ");
    if request.verb == "patch" && (request.code == 201 || is_refused_create) {
        verbs.push("create");
    }
    let refused_verb = if is_refused_create {
        "create"
    } else {
        request.verb.as_str()
    };
    verbs
        .into_iter()
        .map(|verb| {
            (
                is_refused && verb == refused_verb,
                access(verb, Some(object), &request.uri),
            )
        })
        .collect()
}

fn access(verb: &str, object: Option<&Object>, uri: &str) -> Access {
    let Some(object) = object else {
        return Access {
            group: String::new(),
            resource: uri.to_owned(),
            verb: verb.to_owned(),
            namespace: None,
            name: None,
        };
    };
    Access {
        group: object.group.clone(),
        resource: object.resource.clone(),
        verb: verb.to_owned(),
        namespace: object.namespace.clone(),
        name: object
            .name
            .clone()
            .filter(|name| is_authorized_by_name(verb, name, uri)),
    }
}

/// The name in the body of a new object is logged, but not what the request is authorized by.
fn is_authorized_by_name(verb: &str, name: &str, uri: &str) -> bool {
    let path = uri.split('?').next().unwrap_or_default();
    verb != "create" || path.split('/').any(|segment| segment == name)
}

fn is_everybodys(access: &Access) -> bool {
    access.verb == "create"
        && EVERYBODY
            .iter()
            .any(|(group, resource)| access.group == *group && access.resource == *resource)
}

fn covers(grant: &Access, access: &Access) -> bool {
    let within = |limit: &Option<String>, value: &Option<String>| limit.is_none() || limit == value;
    grant.group == access.group
        && grant.resource == access.resource
        && grant.verb == access.verb
        && within(&grant.namespace, &access.namespace)
        && within(&grant.name, &access.name)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
    resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
}

/// Every single right of the ServiceAccount. A wildcard is refused: nobody can say that all of it is used.
pub fn grants(account: &ServiceAccount, objects: &[Value]) -> Result<BTreeSet<Access>> {
    let mut grants = BTreeSet::new();
    for binding in objects.iter().filter(|object| binds(object, account)) {
        let text = |path: &str| binding.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (kind, name) = (text("/roleRef/kind"), text("/roleRef/name"));
        let namespace = (text("/kind") == "RoleBinding").then(|| text("/metadata/namespace").to_owned());
        let role = objects
            .iter()
            .find(|object| {
                object.get("kind").and_then(Value::as_str) == Some(kind)
                    && object.pointer("/metadata/name").and_then(Value::as_str) == Some(name)
                    && (kind == "ClusterRole"
                        || object.pointer("/metadata/namespace").and_then(Value::as_str) == namespace.as_deref())
            })
            .with_context(|| {
                format!(
                    "the binding {} names a {kind} {name} that is not there",
                    text("/metadata/name")
                )
            })?;
        let rules: Vec<Rule> = serde_json::from_value(role.get("rules").cloned().unwrap_or_default())?;
        for rule in &rules {
            expand(rule, namespace.as_ref(), &mut grants).with_context(|| format!("{kind} {name}"))?;
        }
    }
    Ok(grants)
}

fn binds(object: &Value, account: &ServiceAccount) -> bool {
    let is_binding = matches!(
        object.get("kind").and_then(Value::as_str),
        Some("RoleBinding" | "ClusterRoleBinding")
    );
    let subjects = object.get("subjects").and_then(Value::as_array);
    is_binding
        && subjects.is_some_and(|subjects| {
            subjects.iter().any(|subject| {
                subject.get("kind").and_then(Value::as_str) == Some("ServiceAccount")
                    && subject.get("name").and_then(Value::as_str) == Some(&account.name)
                    && subject.get("namespace").and_then(Value::as_str) == Some(&account.namespace)
            })
        })
}

fn expand(rule: &Rule, namespace: Option<&String>, grants: &mut BTreeSet<Access>) -> Result<()> {
    if !rule.non_resource_urls.is_empty() {
        bail!("a rule on paths: {:?}", rule.non_resource_urls);
    }
    let names: Vec<Option<&String>> = match rule.resource_names.as_slice() {
        [] => vec![None],
        names => names.iter().map(Some).collect(),
    };
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                if [group, resource, verb].into_iter().any(|word| word.contains('*')) {
                    bail!("a wildcard: {verb} {resource} {group}");
                }
                grants.extend(names.iter().map(|name| Access {
                    group: group.clone(),
                    resource: resource.clone(),
                    verb: verb.clone(),
                    namespace: namespace.cloned(),
                    name: name.cloned(),
                }));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
