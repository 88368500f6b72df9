//! The invariants of ARCHITECTURE.md that a machine can check, from `cargo metadata` and source text.
//!
//! A rule is a function from the tree to findings, so each has a test on the real tree and one that
//! shows it a tree that breaks it. Lists of exceptions only shrink: one that is no longer needed
//! fails the test that reads it.

mod dependencies;
mod rules;
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use dependencies::{Graph, Kinds};
use rules::{Exception, Finding};
use source::File;

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Every file that is, or is about to be, under version control.
fn tree() -> Result<Vec<File>> {
    let listed = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .output()
        .context("git ls-files")?;
    ensure!(listed.status.success(), "git ls-files failed: is this a git checkout?");
    let names = String::from_utf8(listed.stdout)?;
    let mut files = Vec::new();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        // A file deleted but still in the index, and binary files, have no text to look at.
        if let Ok(text) = std::fs::read_to_string(root().join(name)) {
            files.push(File::new(name, text));
        }
    }
    ensure!(files.len() > 20, "only {} files found", files.len());
    Ok(files)
}

/// Fails with the rule's own explanation and every finding that is not excepted, and when an
/// exception is not needed any more.
fn assert_holds(rule: &str, findings: &[Finding], exceptions: &[Exception]) {
    let mut lines = Vec::new();
    for finding in findings {
        if !exceptions.iter().any(|exception| exception.covers(finding)) {
            lines.push(format!("  {finding}"));
        }
    }
    for exception in exceptions {
        if !findings.iter().any(|finding| exception.covers(finding)) {
            lines.push(format!(
                "  {}: the exception is no longer needed; remove it",
                exception.path
            ));
        }
    }
    assert!(lines.is_empty(), "{rule}\n{}", lines.join("\n"));
}

/// A tree of one file, for showing a rule what it must refuse.
fn one(path: &str, text: &str) -> Vec<File> {
    vec![File::new(path, text.to_owned())]
}

#[test]
fn crates_depend_only_along_the_allowed_arrows() {
    let graph = Graph::of_workspace(&root()).unwrap();
    assert_holds(
        "An arrow between our crates that ARCHITECTURE.md does not list is forbidden. \
         Move the code to the crate that may know both, or pass a value.",
        &dependencies::forbidden_arrows(&graph),
        &[],
    );
}

#[test]
fn the_auth_server_does_not_know_kubernetes() {
    let graph = Graph::of_workspace(&root()).unwrap();
    assert_holds(
        "The auth server runs without a cluster: neither it nor what it depends on may be a Kubernetes crate.",
        &dependencies::reaching(&graph, "auth-server", dependencies::KUBERNETES, Kinds::Product),
        &[],
    );
}

#[test]
fn the_protocol_core_depends_on_no_io_crate() {
    let graph = Graph::of_workspace(&root()).unwrap();
    assert_holds(
        "`oidc` is pure: no runtime, web framework, HTTP client or database may be below it.",
        &dependencies::reaching(&graph, "oidc", dependencies::IO, Kinds::Product),
        &[],
    );
}

#[test]
fn banned_crates_are_nowhere() {
    let graph = Graph::of_workspace(&root()).unwrap();
    assert_holds(
        "deny.toml bans these crates (one TLS stack, one HTTP/2): choose features that do without.",
        &dependencies::banned(&graph, &dependencies::deny_list(&root()).unwrap()),
        &[],
    );
}

#[test]
fn every_licence_is_allowed() {
    let graph = Graph::of_workspace(&root()).unwrap();
    let allowed = dependencies::allowed_licences(&root()).unwrap();
    assert_holds(
        "Every dependency's licence has to be in the allow list of deny.toml.",
        &dependencies::licences(&graph, &allowed),
        &[],
    );
}

#[test]
fn one_version_of_what_must_not_be_doubled() {
    let graph = Graph::of_workspace(&root()).unwrap();
    assert_holds(
        "These crates are in the build once: two copies mean two TLS stacks, runtimes or sets of types.",
        &dependencies::doubled(&graph),
        &[],
    );
}

#[test]
fn dependency_rules_catch_what_they_forbid() {
    let graph = Graph::parse(dependencies::BAD_WORKSPACE).unwrap();
    let arrows = dependencies::forbidden_arrows(&graph);
    assert!(
        arrows
            .iter()
            .any(|finding| finding.to_string().contains("oidc -> crds")),
        "{arrows:?}"
    );
    assert!(!dependencies::reaching(&graph, "auth-server", dependencies::KUBERNETES, Kinds::Product).is_empty());
    assert!(!dependencies::reaching(&graph, "oidc", dependencies::IO, Kinds::Product).is_empty());
    assert!(!dependencies::banned(&graph, &["ring".to_owned()]).is_empty());
    assert!(!dependencies::banned(&graph, &["h2@0.3".to_owned()]).is_empty());
    assert!(!dependencies::doubled(&graph).is_empty());
    let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned()];
    let refused = dependencies::licences(&graph, &allowed);
    assert_eq!(refused.len(), 1, "only the GPL crate is refused: {refused:?}");
}

#[test]
fn licence_expressions_are_read_as_spdx_says() {
    let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned(), "Unicode-3.0".to_owned()];
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only OR MIT", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("MIT AND GPL-3.0-only", false),
        ("(GPL-2.0 OR MPL-2.0) AND MIT", false),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("", false),
    ] {
        assert_eq!(
            dependencies::licence_allowed(expression, &allowed),
            expected,
            "{expression}"
        );
    }
}

#[test]
fn members_take_versions_and_lints_from_the_root() {
    assert_holds(
        "Versions, features of dependencies and lints are written once, in the root Cargo.toml.",
        &rules::members_inherit(&tree().unwrap()),
        &[],
    );
    assert!(!rules::members_inherit(&one("crds/Cargo.toml", "[dependencies]\nserde = \"1\"\n")).is_empty());
}

#[test]
fn only_the_store_contains_sql() {
    assert_holds(
        "SQL lives in auth-server/src/store/ alone; everybody else calls the store port.",
        &rules::sql_outside_the_store(&tree().unwrap()),
        rules::SQL_EXCEPTIONS,
    );
    let bad = one(
        "auth-server/src/http/token.rs",
        "fn f() { q(\"SELECT id FROM session\"); }",
    );
    assert_eq!(rules::sql_outside_the_store(&bad).len(), 1);
    let bad = one(
        "auth-server/src/http/token.rs",
        "fn f() { q(\"update session set ended = true\"); }",
    );
    assert_eq!(rules::sql_outside_the_store(&bad).len(), 1);
    assert_eq!(
        rules::sql_outside_the_store(&one("operator/x.sql", "SELECT 1")).len(),
        1
    );
    let fine = one(
        "auth-server/src/http/token.rs",
        "// SELECT id FROM t\nfn f() { q(\"Select a person\"); }",
    );
    assert!(rules::sql_outside_the_store(&fine).is_empty());
}

#[test]
fn only_jose_names_josekit() {
    assert_holds(
        "JOSE goes through auth-server/oidc/src/jose.rs alone, which closes the library's holes in one place.",
        &rules::josekit_outside_jose(&tree().unwrap()),
        &[],
    );
    let bad = one("auth-server/oidc/src/mint.rs", "use josekit::jws;");
    assert_eq!(rules::josekit_outside_jose(&bad).len(), 1);
    let bad = one("e2e/bench/src/flows.rs", "use josekit::jws;");
    assert_eq!(rules::josekit_outside_jose(&bad).len(), 1);
    let fine = one("e2e/bench/src/ceiling.rs", "use josekit::jws;");
    assert!(rules::josekit_outside_jose(&fine).is_empty());
    assert_eq!(
        rules::josekit_outside_jose(&one("operator/Cargo.toml", "josekit.workspace = true\n")).len(),
        1
    );
}

#[test]
fn only_http_error_chooses_an_error_status() {
    assert_holds(
        "auth-server/src/http/error.rs is the one mapping from errors to status codes; return an error value.",
        &rules::status_outside_http_error(&tree().unwrap()),
        rules::STATUS_EXCEPTIONS,
    );
    for bad in [
        "fn f() -> R { HttpResponse::BadRequest().finish() }",
        "fn f() -> R { HttpResponse::build(code) }",
        "const C: StatusCode = StatusCode::NOT_FOUND;",
    ] {
        assert_eq!(
            rules::status_outside_http_error(&one("auth-server/src/http/token.rs", bad)).len(),
            1,
            "{bad}"
        );
    }
    let fine = one(
        "auth-server/src/http/token.rs",
        "fn f() -> R { HttpResponse::Ok().finish() }",
    );
    assert!(rules::status_outside_http_error(&fine).is_empty());
}

#[test]
fn only_apply_writes_to_the_cluster() {
    assert_holds(
        "operator/src/apply.rs is the one place that writes to the cluster.",
        &rules::cluster_writes_outside_apply(&tree().unwrap()),
        &[],
    );
    for bad in [
        "fn f() { api.patch_status(n, &p, &q); }",
        "fn f(p: &PostParams) {}",
        "use kube::api::Patch;",
    ] {
        assert_eq!(
            rules::cluster_writes_outside_apply(&one("operator/src/status.rs", bad)).len(),
            1,
            "{bad}"
        );
    }
}

#[test]
fn the_protocol_core_reads_no_clock_and_no_ambient_randomness() {
    assert_holds(
        "`oidc` gets time as the value `now` and randomness as a passed generator.",
        &rules::ambient_authority_in_oidc(&tree().unwrap()),
        &[],
    );
    for bad in ["SystemTime::now()", "Instant::now()", "rand::rng()", "Uuid::now_v7()"] {
        let file = one("auth-server/oidc/src/mint.rs", &format!("fn f() {{ {bad}; }}"));
        assert_eq!(rules::ambient_authority_in_oidc(&file).len(), 1, "{bad}");
    }
    let doc = one(
        "auth-server/oidc/src/mint.rs",
        "/// Never `SystemTime::now()`.\nfn f() {}",
    );
    assert!(rules::ambient_authority_in_oidc(&doc).is_empty());
}

#[test]
fn files_and_functions_stay_readable() {
    let tree = tree().unwrap();
    assert_holds(
        "A file has at most 600 lines of code and a function at most 100 lines; split by concept.",
        &rules::too_long(&tree),
        rules::LENGTH_EXCEPTIONS,
    );
    let long_file = one("crds/src/realm.rs", &"const A: u8 = 1;\n".repeat(601));
    assert_eq!(rules::too_long(&long_file).len(), 1);
    let documented = one("crds/src/realm.rs", &"/// line\n\n".repeat(601));
    assert!(rules::too_long(&documented).is_empty());
    let long_function = one(
        "crds/src/realm.rs",
        &format!("fn f() {{\n{}}}\n", "    g();\n".repeat(100)),
    );
    assert_eq!(rules::too_long(&long_function).len(), 1);
}

#[test]
fn no_test_is_ignored() {
    assert_holds(
        "An ignored test is a test that does not exist: fix it or delete it.",
        &rules::ignored_tests(&tree().unwrap()),
        &[],
    );
    let bad = format!("#[test]\n#[{}]\nfn t() {{}}", "ignore = \"slow\"");
    assert_eq!(rules::ignored_tests(&one("crds/src/realm.rs", &bad)).len(), 1);
}

#[test]
fn no_file_names_a_registry_or_one_machine() {
    assert_holds(
        "Ordinary clients know their registries, and a path of one machine is wrong on every other.",
        &rules::places(&tree().unwrap()),
        &[],
    );
    for place in rules::PLACES {
        assert_eq!(
            rules::places(&one("docs/a.md", &format!("see {place}x"))).len(),
            1,
            "{place}"
        );
    }
}
