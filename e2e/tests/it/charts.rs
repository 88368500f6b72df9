//! The Helm charts and the kustomizations made from them: what they render, that a real API server takes all of it
//! strictly, and that the roles hold nothing that is not meant.

mod admission;
mod installed;
mod roles;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use e2e::cluster::{Cluster, Mode};
use e2e::parts::{checkout, program};
use serde_json::Value;

/// Where the operator is installed.
const NAMESPACE: &str = "nauthera-system";

/// The ways to install the operator, by the values that choose them.
const MODES: [&[&str]; 4] = [
    &[],
    &["--set", "watchNamespaces={nauthera-system}"],
    &["--set", "watchNamespaces={identity,shop}"],
    &[
        "--set",
        "replicas=1,log.level=Debug,log.format=Text,priorityClassName=system-cluster-critical,networkPolicy.enabled=false",
    ],
];

fn chart(name: &str) -> PathBuf {
    checkout().join("charts").join(name)
}

/// Runs helm, which may have failed.
fn helm_output(arguments: &[&str]) -> Result<Output> {
    let home = tempfile::tempdir()?;
    Ok(Command::new(program("NAUTHERA_HELM")?)
        .args(arguments)
        .current_dir(checkout())
        // Nothing of the machine's own helm counts, and nothing is left in it.
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_DATA_HOME", home.path())
        .output()?)
}

fn helm(arguments: &[&str]) -> Result<String> {
    let output = helm_output(arguments)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm {}: {errors}", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}

/// What a chart renders, as text.
fn rendered(name: &str, values: &[&str]) -> Result<String> {
    let chart = format!("charts/{name}");
    let mut arguments = vec!["template", "nauthera", chart.as_str(), "--namespace", NAMESPACE];
    arguments.extend(values);
    helm(&arguments)
}

/// The objects of a text of several documents.
fn objects(text: &str) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    for document in text.split("\n---") {
        let object: Value = serde_saphyr::from_str(document).with_context(|| document.to_owned())?;
        if !object.is_null() {
            found.push(object);
        }
    }
    Ok(found)
}

/// Runs kubectl as the cluster's administrator; gives what it printed, warnings included.
fn kubectl(cluster: &Cluster, arguments: &[&str], input: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("input.yaml");
    std::fs::write(&file, input)?;
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| argument.replace("INPUT", &file.display().to_string()))
        .collect();
    let output = Command::new(program("NAUTHERA_KUBECTL")?)
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .arg(format!("--cache-dir={}", folder.path().display()))
        .args(&arguments)
        .current_dir(checkout())
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said)?;
    ensure!(output.status.success(), "kubectl {}: {said}", arguments.join(" "));
    Ok(said)
}

/// Namespaces that refuse pods which are not restricted, and say so about Deployments.
fn namespaces(names: &[&str]) -> String {
    let namespace = |name: &&str| {
        format!(
            "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    \
             pod-security.kubernetes.io/enforce: restricted\n    pod-security.kubernetes.io/warn: restricted\n"
        )
    };
    names.iter().map(namespace).collect()
}

#[test]
fn the_charts_pass_their_own_lint() {
    helm(&["lint", "--strict", "charts/nauthera-crds"]).unwrap();
    for values in MODES {
        helm(&[&["lint", "--strict", "charts/nauthera"], values].concat()).unwrap();
    }
}

#[test]
fn a_value_that_nothing_reads_is_refused() {
    let cases = [
        ("nauthera", "replica=3"),
        ("nauthera", "replicas=three"),
        ("nauthera", "image.registry=example.com"),
        ("nauthera", "watchNamespaces={Identity}"),
        ("nauthera", "image.digest=latest"),
        ("nauthera-crds", "admissionPolicies.https=true"),
    ];
    for (name, value) in cases {
        let chart = format!("charts/{name}");
        let output = helm_output(&["template", &chart, "--set", value]).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name} takes {value}");
        assert!(
            said.contains("meet the specifications of the schema"),
            "{value}: {said}"
        );
    }
}

#[tokio::test]
async fn the_api_server_takes_every_object_of_every_mode_without_a_warning() {
    let cluster = Cluster::start(Mode::ControlPlane).await.unwrap();
    let all = namespaces(&[NAMESPACE, "identity", "shop"]);
    kubectl(&cluster, &["apply", "--server-side", "-f", "INPUT"], &all).unwrap();
    let crds = rendered("nauthera-crds", &[]).unwrap();
    let apply = ["apply", "--server-side", "--validate=strict", "-f", "INPUT"];
    kubectl(&cluster, &apply, &crds).unwrap();
    let dry = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "INPUT",
    ];
    for values in MODES {
        let text = rendered("nauthera", values).unwrap();
        let said = kubectl(&cluster, &dry, &text).unwrap();
        assert!(!said.contains("Warning"), "{values:?}: {said}");
        let taken = said
            .lines()
            .filter(|line| line.ends_with("serverside-applied (server dry run)"))
            .count();
        assert_eq!(taken, objects(&text).unwrap().len(), "{values:?}: {said}");
    }
    for folder in ["config/crd", "config/default", "config/namespaced"] {
        let said = kubectl(
            &cluster,
            &["apply", "--server-side", "--dry-run=server", "-k", folder],
            "",
        )
        .unwrap();
        assert!(!said.contains("Warning"), "{folder}: {said}");
    }
    kubectl(
        &cluster,
        &["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"],
        "",
    )
    .unwrap();
    let samples = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f"];
    for folder in ["config/samples", "config/samples-cluster"] {
        if folder == "config/samples" {
            kubectl(&cluster, &["create", "namespace", "default"], "").ok();
        }
        let said = kubectl(&cluster, &[&samples[..], &[folder]].concat(), "").unwrap();
        assert!(!said.contains("Warning"), "{folder}: {said}");
    }
}

/// The definitions must not vanish with the chart that brought them, and everything that is in them must be there.
#[test]
fn the_definitions_outlive_their_chart() {
    let found = objects(&rendered("nauthera-crds", &["--set", "annotations.owner=platform"]).unwrap()).unwrap();
    let mut definitions: Vec<&Value> = found
        .iter()
        .filter(|object| object["kind"] == "CustomResourceDefinition")
        .collect();
    definitions.sort_by_key(|definition| definition["metadata"]["name"].to_string());
    assert_eq!(definitions.len(), crds::Kind::ALL.len());
    let mut committed: Vec<Value> = crds::Kind::ALL
        .iter()
        .map(|kind| checkout().join("crds/manifests").join(kind.file_name()))
        .map(|file| serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
        .collect();
    committed.sort_by_key(|definition: &Value| definition["metadata"]["name"].to_string());
    for (rendered, committed) in definitions.into_iter().zip(committed) {
        let annotations = &rendered["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
        assert_eq!(annotations["argocd.argoproj.io/sync-options"], "Prune=false");
        assert_eq!(annotations["owner"], "platform");
        assert_eq!(rendered["metadata"]["name"], committed["metadata"]["name"]);
        assert_eq!(rendered["spec"], committed["spec"]);
    }
}

/// The images that the chart names when nothing is said are those that `make images` packs.
#[test]
fn the_chart_names_the_images_that_are_packed_here() {
    let text = rendered("nauthera", &[]).unwrap();
    let script = std::fs::read_to_string(checkout().join("e2e/tools/images")).unwrap();
    for image in ["localhost/nauthera-operator:dev", "localhost/nauthera-auth:dev"] {
        assert!(text.contains(image) && script.contains(image), "{image}");
    }
    let digest = format!("sha256:{}", "0".repeat(64));
    let set = format!("image.digest={digest},serverImage.digest={digest}");
    let pinned = rendered("nauthera", &["--set", &set]).unwrap();
    for image in ["localhost/nauthera-operator", "localhost/nauthera-auth"] {
        assert!(pinned.contains(&format!("{image}@{digest}")), "{pinned}");
    }
}

#[test]
fn generated_definitions_of_the_chart_are_those_of_the_types() {
    let files = chart("nauthera-crds").join("files");
    for kind in crds::Kind::ALL {
        let source = checkout().join("crds/manifests").join(kind.file_name());
        check(&files.join(kind.file_name()), &std::fs::read_to_string(source).unwrap()).unwrap();
    }
    assert_eq!(std::fs::read_dir(files).unwrap().count(), crds::Kind::ALL.len());
}

#[test]
fn generated_kustomizations_are_what_the_chart_renders() {
    for (folder, values) in [("config/default", MODES[0]), ("config/namespaced", MODES[1])] {
        let text = rendered("nauthera", values).unwrap().replace(
            "app.kubernetes.io/managed-by: Helm",
            "app.kubernetes.io/managed-by: kustomize",
        );
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("# Source: ") && !line.is_empty())
            .collect();
        let head = "# Generated from charts/nauthera by `make generate`; do not edit.";
        let text = format!("{head}\n{}\n", lines.join("\n"));
        check(&checkout().join(folder).join("operator.yaml"), &text).unwrap();
    }
}

/// Compares a committed file with what it is made from, or rewrites it.
fn check(file: &Path, expected: &str) -> Result<()> {
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        return Ok(std::fs::write(file, expected)?);
    }
    let committed = std::fs::read_to_string(file).unwrap_or_default();
    ensure!(
        committed == expected,
        "{} is not what it is generated from: run `make generate` and commit it",
        file.display()
    );
    Ok(())
}
