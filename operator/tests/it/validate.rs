//! `validate`: folders in, reports out.

use std::path::{Path, PathBuf};
use std::process::Command;

use crds::admission::Admission;
use insta::assert_snapshot;
use oidc::Timestamp;
use operator::validate;

const HEAD: &str = "apiVersion: auth.nauthera.io/v1alpha1\nkind:";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("HEAD", HEAD)).unwrap();
    }
    folder
}

fn check_validate(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let report = validate::validate(
        &[folder.path().to_owned()],
        &Admission::new().unwrap(),
        Timestamp::from_unix_seconds(1_800_000_000),
    );
    let text = validate::text(&report.unwrap());
    text.replace(&format!("{}/", folder.path().display()), "")
}

const GOOD: &str = "\
HEAD AuthServer
metadata: {name: demo}
spec: {database: {embedded: {}}}
---
HEAD Realm
metadata: {name: acme}
spec: {serverRef: {name: demo}, issuer: 'http://localhost:8080'}
";

#[test]
fn the_samples_are_valid() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples");
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    let report = validate::validate(&[samples], &Admission::new().unwrap(), now).unwrap();
    assert!(report.is_valid() && !report.is_empty(), "{}", validate::text(&report));
}

#[test]
fn a_good_folder_is_a_table() {
    let client = "HEAD Client\nmetadata: {name: shop, namespace: default}\nspec:\n  realmRef: {name: acme}\n  type: Confidential\n  redirectUris: ['https://shop.example/cb']\n";
    let files = [
        ("base/all.yaml", GOOD),
        ("shop.yaml", client),
        ("kustomization.yaml", "resources: [base]\n"),
        (
            "deployment.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\n",
        ),
        ("notes.txt", "not: read"),
    ];
    assert_snapshot!(check_validate(&files), @r"
    KIND         NAMESPACE   NAME   VALID   SOURCE
    AuthServer   default     demo   True    base/all.yaml:1
    Realm        default     acme   True    base/all.yaml:6
    Client       default     shop   True    shop.yaml:1

    deployment.yaml:1: note: Deployment default/shop (apps/v1) is not read

    3 objects valid
    ");
}

#[test]
fn every_mistake_is_shown_at_its_line_with_the_fix() {
    let bad = "\
HEAD Client
metadata:
  name: shop
spec:
  realmRef:
    name: acmee
  type: Service
---
HEAD Client
metadata:
  name: spa
spec:
  realmRef:
    name: acme
  type: Public
  redirectUris:
  - https://spa.example/cb
  - https://spa.example/#cb
  scopes:
    allowed: [openid, orders]
---
HEAD Client
metadata:
  name: one
spec:
  realmRef: {name: acme}
  type: Public
  clientId: same
  redirectUris: ['https://one.example/cb']
  scopes:
    allowed:
    - openid
    - orders
---
HEAD Client
metadata:
  name: two
spec:
  realmRef: {name: acme}
  type: Public
  clientId: same
  redirectUris: ['https://two.example/cb']
---
HEAD Widget
metadata: {name: x}
---
kind: [
";
    assert_snapshot!(check_validate(&[("a.yaml", GOOD), ("b.yaml", bad)]), @r"
    KIND         NAMESPACE   NAME   VALID   SOURCE
    AuthServer   default     demo   True    a.yaml:1
    Realm        default     acme   True    a.yaml:6
    Client       default     one    False   b.yaml:24
    Client       default     shop   False   b.yaml:1
    Client       default     spa    False   b.yaml:10
    Client       default     two    False   b.yaml:38

    b.yaml:7: Client default/shop: ReferenceNotFound
      spec.realmRef.name: Realm default/acmee does not exist: create it, or correct the reference

    b.yaml:20: Client default/spa: Invalid
      spec.redirectUris[1]: must not have a fragment (#)

    b.yaml:36: Client default/one: ReferenceNotFound
      spec.scopes.allowed[1]: Realm default/acme has no scope orders: add it to spec.scopes there, or remove it here

    b.yaml:45: Client default/two: Conflict
      spec.clientId: Client default/one has this id in the realm already: set another spec.clientId

    b.yaml:49: Undecodable
      Widget is not a kind of auth.nauthera.io: there are AuthServer, Realm, Client

    b.yaml:52: Undecodable
      not valid YAML: unclosed bracket '['

    6 mistakes in 6 objects
    ");
}

#[test]
fn the_exit_code_and_the_json_tell_a_pipeline_what_to_do() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_nauthera-operator"))
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let good = folder(&[("a.yaml", GOOD)]);
    let (code, text, _) = run(&["validate", good.path().to_str().unwrap(), "--output", "json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &report["valid"], &report["objects"][1]["line"]),
        (Some(0), &true.into(), &6.into())
    );
    let bad = folder(&[(
        "a.yaml",
        "HEAD Realm\nmetadata: {name: x}\nspec: {serverRef: {name: gone}, issuer: 'https://x.example'}\n",
    )]);
    let (code, text, _) = run(&["validate", "-o", "json", bad.path().to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["valid"]), (Some(1), &false.into()));
    assert_eq!(report["mistakes"][0]["field"], "spec.serverRef.name");
    assert_eq!(report["mistakes"][0]["reason"], "ReferenceNotFound");
    let missing = PathBuf::from("/nonexistent-folder");
    let (code, _, error) = run(&["validate", missing.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(error.contains("cannot read /nonexistent-folder"), "{error}");
    assert_eq!(run(&["validate"]).0, Some(2));
}

#[test]
fn secrets_in_a_folder_never_show_in_a_report() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: hunter2-hunter2}\ndata: {other: '%%hunter2'}\n";
    let text = check_validate(&[("a.yaml", GOOD), ("s.yaml", secret)]);
    assert!(
        text.contains("Secret default/s cannot be read") && !text.contains("hunter2"),
        "{text}"
    );
}
