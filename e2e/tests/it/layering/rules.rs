//! Rules on source text: who may say what, and how long it may be.

use std::fmt;

use super::source::{File, Part, block_length};

/// One place that breaks a rule.
#[derive(Debug)]
pub(super) struct Finding {
    path: String,
    /// 1-based; 0 when the whole file is meant.
    line: usize,
    what: String,
}

impl Finding {
    pub(super) fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A place that may break a rule, and why. These lists only shrink.
pub(super) struct Exception {
    /// The path it covers.
    pub(super) path: &'static str,
    /// Why; for the reader.
    #[expect(
        dead_code,
        reason = "an exception has to give its reason, even though only people read it"
    )]
    pub(super) why: &'static str,
}

impl Exception {
    /// Whether this exception is about that finding.
    pub(super) fn covers(&self, finding: &Finding) -> bool {
        finding.path == self.path
    }
}

/// Files outside the store that contain SQL.
pub(super) const SQL_EXCEPTIONS: &[Exception] = &[];

/// Files outside `http/error.rs` that choose an error status.
pub(super) const STATUS_EXCEPTIONS: &[Exception] = &[];

/// Files that are too long, or that have a function that is.
pub(super) const LENGTH_EXCEPTIONS: &[Exception] = &[];

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 100;

/// Hosts of registries and paths of single machines; in two pieces, so that this file names none.
pub(super) const PLACES: &[&str] = &[
    concat!("crates", ".io"),
    concat!("registry.", "npmjs"),
    concat!("pypi", ".org"),
    concat!("proxy.", "golang"),
    concat!("deb.", "debian.org"),
    concat!("repo.", "maven"),
    concat!("/work", "/"),
    concat!("/tmp", "/wt"),
    concat!("/root", "/"),
    concat!("/home", "/"),
];

/// Dependencies with a version of their own, and members without the workspace's lints.
pub(super) fn members_inherit(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml") && !file.path.contains("/fuzz/"))
    {
        let mut section = "";
        for (number, line) in numbered(&file.text) {
            if line.starts_with('[') {
                section = line;
            } else if section.contains("dependencies")
                && line.contains('=')
                && !line.contains("workspace = true")
                // A crate's tests may switch on its own feature `testing`.
                && !line.contains("path = \".\"")
            {
                findings.push(Finding::new(
                    &file.path,
                    number,
                    format!("`{line}` does not inherit its version"),
                ));
            } else if section == "[features]" && line.contains('=') && !line.starts_with("testing") {
                findings.push(Finding::new(
                    &file.path,
                    number,
                    format!("feature `{line}`; `testing` is the only one"),
                ));
            }
        }
        if !file.text.contains("[lints]\nworkspace = true") {
            findings.push(Finding::new(
                &file.path,
                0,
                "does not take its lints from the workspace",
            ));
        }
    }
    findings
}

/// SQL in string literals, in whatever case, and SQL files, outside `auth-server/src/store`.
pub(super) fn sql_outside_the_store(files: &[File]) -> Vec<Finding> {
    let is_store = |path: &str| path == "auth-server/src/store.rs" || path.starts_with("auth-server/src/store/");
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !is_store(&file.path)) {
        if file.has_extension("sql") {
            findings.push(Finding::new(&file.path, 0, "a file of SQL"));
        } else if file.is_product_rust() {
            let literals = file.only(Part::Literal).to_lowercase();
            let statements = numbered(&literals).filter(|(_, line)| is_statement(line));
            findings.extend(statements.map(|(number, line)| Finding::new(&file.path, number, format!("`{line}`"))));
        }
    }
    findings
}

/// Whether a lower-case line reads like a statement; verbs that are also English need their second word.
fn is_statement(line: &str) -> bool {
    const ALONE: &[&str] = &[
        "insert into ",
        "delete from ",
        "create table ",
        "create database ",
        "alter table ",
        "drop table ",
        "pragma ",
        "begin immediate",
        "with recursive ",
        "pg_notify(",
    ];
    const PAIRS: &[(&str, &str)] = &[("select ", " from "), ("update ", " set ")];
    ALONE.iter().any(|words| line.contains(words))
        || PAIRS
            .iter()
            .any(|(verb, then)| line.contains(verb) && line.contains(then))
}

/// The name of the JOSE library outside `jose.rs`, in code or as a dependency of another crate. The ceiling programs of
/// the benchmark, which no other crate depends on, measure the same library without us.
pub(super) fn josekit_outside_jose(files: &[File]) -> Vec<Finding> {
    let is_jose = |path: &str| {
        path == "auth-server/oidc/src/jose.rs"
            || path.starts_with("auth-server/oidc/src/jose/")
            || path == "auth-server/oidc/Cargo.toml"
            || path.starts_with("e2e/bench/src/ceiling")
            || path == "e2e/bench/Cargo.toml"
            || path == "Cargo.toml"
    };
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !is_jose(&file.path)) {
        if file.path.ends_with("Cargo.toml") {
            findings.extend(naming_in(&file.path, &file.text, &["josekit"]));
        } else if file.is_product_rust() || file.path.starts_with("e2e/bench/src/") {
            findings.extend(naming(file, Part::Code, &["josekit"]));
        }
    }
    findings
}

/// Error statuses, and statuses computed, outside `http/error.rs`. Success and redirection are the
/// endpoint's own answer.
pub(super) fn status_outside_http_error(files: &[File]) -> Vec<Finding> {
    const SUCCESS: &[&str] = &[
        "HttpResponse::Ok(",
        "HttpResponse::Created(",
        "HttpResponse::NoContent(",
        "HttpResponse::Found(",
        "HttpResponse::SeeOther(",
        "HttpResponse::NotModified(",
        "StatusCode::OK",
        "StatusCode::FOUND",
        "StatusCode::SEE_OTHER",
        "StatusCode::NO_CONTENT",
        "StatusCode::CREATED",
        "StatusCode::NOT_MODIFIED",
    ];
    let mut findings = Vec::new();
    for file in files {
        if !file.path.starts_with("auth-server/src/") || file.path == "auth-server/src/http/error.rs" {
            continue;
        }
        let mut code = file.only(Part::Code);
        for success in SUCCESS {
            code = code.replace(success, "");
        }
        for (number, line) in numbered(&code) {
            let response = line
                .split("HttpResponse::")
                .skip(1)
                .any(|rest| rest.starts_with(|c: char| c.is_alphabetic()) && rest.contains('('));
            let status = line
                .split("StatusCode::")
                .skip(1)
                .any(|rest| rest.starts_with(|c: char| c.is_alphabetic()));
            if response || status {
                findings.push(Finding::new(&file.path, number, format!("`{line}` chooses a status")));
            }
        }
    }
    findings
}

/// Calls and parameters of writing requests to the cluster outside `apply.rs`.
pub(super) fn cluster_writes_outside_apply(files: &[File]) -> Vec<Finding> {
    const WRITES: &[&str] = &[
        "PatchParams",
        "PostParams",
        "DeleteParams",
        "EvictParams",
        "api::Patch",
        "Patch::Apply",
        "Patch::Merge",
        "Patch::Strategic",
        "Patch::Json",
        ".patch_status(",
        ".replace_status(",
        ".patch_scale(",
        ".delete_collection(",
        ".patch_metadata(",
        ".patch_subresource(",
        ".create_subresource(",
    ];
    files
        .iter()
        .filter(|file| file.is_product_rust() && file.path != "operator/src/apply.rs")
        .filter(|file| !file.path.starts_with("operator/src/apply/"))
        .flat_map(|file| naming(file, Part::Code, WRITES))
        .collect()
}

/// Clocks and ambient randomness in the protocol core.
pub(super) fn ambient_authority_in_oidc(files: &[File]) -> Vec<Finding> {
    const AMBIENT: &[&str] = &[
        "SystemTime::now",
        "Instant",
        "rand::rng(",
        "thread_rng",
        "Uuid::now_v7",
        "Uuid::new_v4",
        "Timestamp::now",
        "std::env::",
        "std::fs::",
        "std::net::Tcp",
        "std::thread::",
    ];
    files
        .iter()
        .filter(|file| file.is_product_rust() && file.path.starts_with("auth-server/oidc/src/"))
        .flat_map(|file| naming(file, Part::Code, AMBIENT))
        .collect()
}

/// Rust files and functions beyond the house's bounds. Generated code and tables are not written by people.
pub(super) fn too_long(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("rs")) {
        let lines = file.lines_of_code();
        if lines > FILE_LINES {
            findings.push(Finding::new(
                &file.path,
                0,
                format!("{lines} lines of code; the bound is {FILE_LINES}"),
            ));
        }
        let code = file.only(Part::Code);
        for (at, _) in code.match_indices("fn ") {
            let before = code.get(..at).and_then(|before| before.chars().next_back());
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let Some(body) = code.get(at..).and_then(|rest| rest.get(..block_length(rest)?)) else {
                continue;
            };
            let lines = body.lines().count();
            if lines > FUNCTION_LINES {
                let name: String = body
                    .chars()
                    .skip(3)
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let number = code.get(..at).map_or(0, |before| before.matches('\n').count() + 1);
                findings.push(Finding::new(
                    &file.path,
                    number,
                    format!("`{name}` has {lines} lines; the bound is {FUNCTION_LINES}"),
                ));
            }
        }
    }
    findings
}

/// Tests that do not run.
pub(super) fn ignored_tests(files: &[File]) -> Vec<Finding> {
    let ignored = |file: &File| -> Vec<Finding> {
        numbered(&file.text)
            .filter(|(_, line)| line.starts_with("#[ignore"))
            .map(|(number, line)| Finding::new(&file.path, number, line))
            .collect()
    };
    files
        .iter()
        .filter(|file| file.has_extension("rs"))
        .flat_map(ignored)
        .collect()
}

/// Registries and machines named in any tracked file.
pub(super) fn places(files: &[File]) -> Vec<Finding> {
    // The lock file has to say where its packages come from.
    files
        .iter()
        .filter(|file| file.path != "Cargo.lock")
        .flat_map(|file| naming_in(&file.path, &file.text, PLACES))
        .collect()
}

fn naming(file: &File, part: Part, words: &[&str]) -> Vec<Finding> {
    naming_in(&file.path, &file.only(part), words)
}

fn naming_in(path: &str, text: &str, words: &[&str]) -> Vec<Finding> {
    numbered(text)
        .filter_map(|(number, line)| {
            let word = words.iter().find(|word| line.contains(**word))?;
            Some(Finding::new(path, number, format!("`{}`", word.trim())))
        })
        .collect()
}

/// Lines with their 1-based numbers, trimmed on the left; trailing blanks stay for words that end in one.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_start()))
}
