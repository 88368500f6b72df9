//! Rules on the dependency graph that `cargo metadata` reports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::rules::Finding;

/// The arrows that may exist between our crates.
const ARROWS: &[(&str, &[&str])] = &[
    ("crds", &[]),
    ("operator", &["crds", "snapshot", "oidc"]),
    ("snapshot", &["oidc"]),
    ("auth-server", &["snapshot", "oidc"]),
    ("oidc", &[]),
    ("e2e", &["crds", "operator", "oidc"]),
    ("bench", &["e2e", "snapshot", "oidc"]),
];

/// Crates that make their user know Kubernetes; a trailing `*` stands for any ending.
pub(super) const KUBERNETES: &[&str] = &["crds", "operator", "kube*", "k8s-openapi"];

/// Crates that do I/O or bring a web framework.
pub(super) const IO: &[&str] = &[
    "tokio*",
    "async-std",
    "smol",
    "mio",
    "actix*",
    "axum*",
    "hyper*",
    "http",
    "tonic*",
    "reqwest",
    "ureq",
    "rusqlite",
    "libsqlite3-sys",
    "postgres*",
    "redis",
    "sqlx*",
    "diesel",
    "tower*",
    "rustls",
];

/// Crates of which a second version means a second TLS stack, runtime or set of types.
const ONCE: &[&str] = &[
    "tokio",
    "hyper",
    "h2",
    "rustls",
    "tokio-rustls",
    "aws-lc-rs",
    "openssl",
    "kube",
    "k8s-openapi",
    "schemars",
    "tonic",
    "prost",
    "actix-web",
    "serde_json",
    "uuid",
    "url",
    "jiff",
    "josekit",
];

/// The packages of the build on this platform.
#[derive(Debug)]
pub(super) struct Graph {
    packages: BTreeMap<String, Package>,
    members: BTreeSet<String>,
}

#[derive(Debug)]
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    dependencies: Vec<(String, BTreeSet<Kind>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Normal,
    Build,
    Development,
}

/// Which dependencies of a crate to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kinds {
    /// What ends in the product or builds it.
    Product,
    /// The tests' as well.
    All,
}

impl Graph {
    /// The graph of the workspace at `root`, as the lock file has it.
    pub(super) fn of_workspace(root: &Path) -> Result<Self> {
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let metadata = cargo(
            root,
            &[
                "metadata",
                "--format-version=1",
                "--locked",
                "--filter-platform",
                &platform,
            ],
        )?;
        let mut graph = Self::parse(&metadata)?;
        // The metadata also lists optional packages that only a weak feature mentions; the tree has
        // exactly what is built.
        let tree = cargo(
            root,
            &[
                "tree",
                "--workspace",
                "--locked",
                "--edges=all",
                "--prefix=none",
                "--target",
                &platform,
            ],
        )?;
        let built: BTreeSet<(&str, &str)> = tree.lines().filter_map(name_and_version).collect();
        ensure!(built.len() > 100, "cargo tree lists only {} packages", built.len());
        graph
            .packages
            .retain(|_, package| built.contains(&(package.name.as_str(), package.version.as_str())));
        Ok(graph)
    }

    /// The graph in the JSON of `cargo metadata`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let metadata: Metadata = serde_json::from_str(text)?;
        let mut packages = BTreeMap::new();
        let mut edges: BTreeMap<String, Vec<(String, BTreeSet<Kind>)>> = metadata
            .resolve
            .nodes
            .into_iter()
            .map(|node| {
                (
                    node.id,
                    node.deps
                        .into_iter()
                        .map(|dep| (dep.pkg, kinds(&dep.dep_kinds)))
                        .collect(),
                )
            })
            .collect();
        for package in metadata.packages {
            // Packages without a node are not part of this platform's build.
            if let Some(dependencies) = edges.remove(&package.id) {
                let MetadataPackage {
                    id,
                    name,
                    version,
                    license: licence,
                } = package;
                packages.insert(
                    id,
                    Package {
                        name,
                        version,
                        licence,
                        dependencies,
                    },
                );
            }
        }
        Ok(Self {
            packages,
            members: metadata.workspace_members.into_iter().collect(),
        })
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.packages.get(id).map_or(id, |package| &package.name)
    }

    /// The arrows out of a package, of the kinds asked for.
    fn dependencies(&self, id: &str, kinds: Kinds) -> impl Iterator<Item = &str> {
        let package = self.packages.get(id);
        package
            .into_iter()
            .flat_map(|package| &package.dependencies)
            .filter_map(move |(to, of)| {
                let followed = kinds == Kinds::All || *of != BTreeSet::from([Kind::Development]);
                (followed && self.packages.contains_key(to)).then_some(to.as_str())
            })
    }
}

/// What cargo prints for these arguments.
fn cargo(root: &Path, arguments: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .current_dir(root)
        .args(arguments)
        .output()
        .context("cargo")?;
    ensure!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The package of a line `serde v1.0.228 (proc-macro)` of `cargo tree`.
fn name_and_version(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    Some((words.next()?, words.next()?.strip_prefix('v')?))
}

fn kinds(kinds: &[DependencyKind]) -> BTreeSet<Kind> {
    kinds
        .iter()
        .map(|kind| match kind.kind.as_deref() {
            Some("dev") => Kind::Development,
            Some("build") => Kind::Build,
            _ => Kind::Normal,
        })
        .collect()
}

/// Dependencies between members that are not in `ARROWS`, and members that it does not know.
pub(super) fn forbidden_arrows(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in &graph.members {
        let name = graph.name(member);
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            findings.push(Finding::new(
                "Cargo.toml",
                0,
                format!("the crate `{name}` has no arrows defined"),
            ));
            continue;
        };
        for to in graph
            .dependencies(member, Kinds::All)
            .filter(|to| graph.members.contains(*to))
        {
            let to = graph.name(to);
            if to != name && !allowed.contains(&to) {
                findings.push(Finding::new("Cargo.toml", 0, format!("{name} -> {to}")));
            }
        }
    }
    findings
}

/// Ways from the member `from` to a crate of `forbidden`, each with its path.
pub(super) fn reaching(graph: &Graph, from: &str, forbidden: &[&str], kinds: Kinds) -> Vec<Finding> {
    let Some(start) = graph.members.iter().find(|id| graph.name(id) == from) else {
        return vec![Finding::new("Cargo.toml", 0, format!("no member `{from}`"))];
    };
    let mut findings = Vec::new();
    let mut seen = BTreeSet::from([start.as_str()]);
    let mut open = vec![(start.as_str(), from.to_owned())];
    while let Some((id, path)) = open.pop() {
        for to in graph.dependencies(id, kinds) {
            if seen.insert(to) {
                let name = graph.name(to);
                let path = format!("{path} -> {name}");
                if forbidden.iter().any(|pattern| matches(pattern, name)) {
                    findings.push(Finding::new("Cargo.toml", 0, path.clone()));
                }
                open.push((to, path));
            }
        }
    }
    findings
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |start| name.starts_with(start))
}

/// Packages on the list `bans`, whose entries are `name` or `name@version-prefix`.
pub(super) fn banned(graph: &Graph, bans: &[String]) -> Vec<Finding> {
    let is_banned = |package: &Package| {
        bans.iter().any(|ban| match ban.split_once('@') {
            Some((name, version)) => package.name == name && package.version.starts_with(&format!("{version}.")),
            None => package.name == *ban,
        })
    };
    let users = |id: &str| -> Vec<&str> {
        let uses = |package: &&Package| package.dependencies.iter().any(|(to, _)| to == id);
        graph
            .packages
            .values()
            .filter(uses)
            .map(|package| package.name.as_str())
            .collect()
    };
    graph
        .packages
        .iter()
        .filter(|(_, package)| is_banned(package))
        .map(|(id, package)| {
            let what = format!(
                "{} {} (used by {})",
                package.name,
                package.version,
                users(id).join(", ")
            );
            Finding::new("Cargo.lock", 0, what)
        })
        .collect()
}

/// Crates of `ONCE` that are in the build in several versions.
pub(super) fn doubled(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ONCE {
        let of_name = graph.packages.values().filter(|package| package.name == *name);
        let versions: Vec<&str> = of_name.map(|package| package.version.as_str()).collect();
        if versions.len() > 1 {
            findings.push(Finding::new(
                "Cargo.lock",
                0,
                format!("{name} {}", versions.join(" and ")),
            ));
        }
    }
    findings
}

/// Packages whose licence is not allowed.
pub(super) fn licences(graph: &Graph, allowed: &[String]) -> Vec<Finding> {
    graph
        .packages
        .values()
        .filter_map(|package| {
            let licence = package.licence.as_deref().unwrap_or_default();
            let what = || format!("{} {}: licence `{licence}`", package.name, package.version);
            (!licence_allowed(licence, allowed)).then(|| Finding::new("Cargo.lock", 0, what()))
        })
        .collect()
}

/// Whether an SPDX expression can be satisfied with allowed licences alone.
pub(super) fn licence_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    let satisfied = alternatives(&mut rest, allowed);
    satisfied && rest.is_empty()
}

fn alternatives(rest: &mut &[&str], allowed: &[String]) -> bool {
    let mut satisfied = conjunction(rest, allowed);
    while let Some(("OR", after)) = rest.split_first().map(|(word, after)| (*word, after)) {
        *rest = after;
        satisfied |= conjunction(rest, allowed);
    }
    satisfied
}

fn conjunction(rest: &mut &[&str], allowed: &[String]) -> bool {
    let mut satisfied = licence(rest, allowed);
    while let Some(("AND", after)) = rest.split_first().map(|(word, after)| (*word, after)) {
        *rest = after;
        satisfied &= licence(rest, allowed);
    }
    satisfied
}

fn licence(rest: &mut &[&str], allowed: &[String]) -> bool {
    let Some((first, after)) = rest.split_first() else {
        return false;
    };
    *rest = after;
    if *first == "(" {
        let satisfied = alternatives(rest, allowed);
        let closed = rest.first() == Some(&")");
        *rest = rest.get(1..).unwrap_or_default();
        return satisfied && closed;
    }
    let mut name = (*first).to_owned();
    if let ["WITH", exception, after @ ..] = *rest {
        name = format!("{name} WITH {exception}");
        *rest = after;
    }
    allowed.contains(&name)
}

/// The allow list under `[licenses]` of deny.toml.
pub(super) fn allowed_licences(root: &Path) -> Result<Vec<String>> {
    strings_of(root, "[licenses]", "allow")
}

/// The names under `[bans]` of deny.toml.
pub(super) fn deny_list(root: &Path) -> Result<Vec<String>> {
    strings_of(root, "[bans]", "deny")
}

/// The crate names or licence names in one array of deny.toml: plain strings, or the first string of
/// an inline table. (`cargo deny check` reads the same file.)
fn strings_of(root: &Path, section: &str, key: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("deny.toml")).context("deny.toml")?;
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != section);
    let opening = format!("{key} = [");
    lines
        .by_ref()
        .find(|line| *line == opening)
        .with_context(|| format!("deny.toml: {key} in {section}"))?;
    let entry = |line: &str| line.split('"').nth(1).map(str::to_owned);
    let found: Vec<_> = lines
        .take_while(|line| *line != "]")
        .filter(|line| !line.starts_with('#'))
        .filter_map(entry)
        .collect();
    ensure!(!found.is_empty(), "deny.toml: nothing in {key} of {section}");
    Ok(found)
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct MetadataPackage {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

/// A workspace that breaks every rule of this file once.
pub(super) const BAD_WORKSPACE: &str = r#"{
  "workspace_members": ["oidc", "crds", "auth-server"],
  "packages": [
    {"id": "oidc", "name": "oidc", "version": "0.1.0", "license": "Apache-2.0"},
    {"id": "crds", "name": "crds", "version": "0.1.0", "license": "Apache-2.0"},
    {"id": "auth-server", "name": "auth-server", "version": "0.1.0", "license": "Apache-2.0"},
    {"id": "middle", "name": "middle", "version": "1.0.0", "license": "MIT/Apache-2.0"},
    {"id": "kube-core", "name": "kube-core", "version": "5.0.0", "license": "GPL-3.0-only"},
    {"id": "tokio1", "name": "tokio", "version": "1.0.0", "license": "MIT"},
    {"id": "tokio2", "name": "tokio", "version": "2.0.0", "license": "MIT"},
    {"id": "h2", "name": "h2", "version": "0.3.27", "license": "MIT"},
    {"id": "ring", "name": "ring", "version": "0.17.0", "license": "MIT"}
  ],
  "resolve": {"nodes": [
    {"id": "oidc", "deps": [
      {"pkg": "crds", "dep_kinds": [{"kind": "dev"}]},
      {"pkg": "tokio1", "dep_kinds": [{"kind": null}]}
    ]},
    {"id": "crds", "deps": []},
    {"id": "auth-server", "deps": [{"pkg": "middle", "dep_kinds": [{"kind": null}, {"kind": "dev"}]}]},
    {"id": "middle", "deps": [{"pkg": "kube-core", "dep_kinds": [{"kind": null}]}, {"pkg": "tokio2", "dep_kinds": [{"kind": "build"}]}]},
    {"id": "kube-core", "deps": []},
    {"id": "tokio1", "deps": []},
    {"id": "tokio2", "deps": []},
    {"id": "h2", "deps": []},
    {"id": "ring", "deps": []}
  ]}
}"#;
