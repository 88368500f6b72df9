//! The table that closes a test run never calls a run good that was not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use e2e::parts::checkout;

const GOOD: &str = "     Running unittests src/lib.rs (target/debug/deps/crds-0123456789abcdef)
test a ... ok
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
     Running tests/it/main.rs (target/debug/deps/it-0123456789abcdef)
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s
     Running unittests src/main.rs (target/debug/deps/nauthera_auth-0123456789abcdef)
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
   Doc-tests crds
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

/// Runs the summary over what a cargo printed, in a checkout with these crates that have
/// integration tests; returns whether it called the run good, and what it said.
fn summarised(printed: &str, code: u8, crates: &[&str]) -> Result<(bool, String)> {
    summarised_beside(printed, code, crates, &[])
}

/// The same, with files that the tests left behind.
fn summarised_beside(printed: &str, code: u8, crates: &[&str], files: &[(&str, &str)]) -> Result<(bool, String)> {
    let folder = tempfile::tempdir()?;
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        std::fs::write(path, text)?;
    }
    for name in crates {
        let tests = folder.path().join(name).join("tests/it");
        std::fs::create_dir_all(&tests)?;
        std::fs::write(tests.join("main.rs"), "")?;
    }
    std::fs::write(folder.path().join("printed"), printed)?;
    let cargo = folder.path().join("cargo");
    std::fs::write(&cargo, format!("#!/bin/sh\ncat printed\nexit {code}\n"))?;
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o700))?;
    let output = Command::new(checkout().join("e2e/tools/run-suites"))
        .current_dir(folder.path())
        .env("CARGO", Path::new("./cargo"))
        .output()
        .context("run-suites")?;
    Ok((output.status.success(), String::from_utf8(output.stdout)?))
}

#[test]
fn a_good_run_is_called_good() {
    let (good, said) = summarised(GOOD, 0, &["crds"]).unwrap();
    assert!(good, "{said}");
    assert_eq!(said.lines().last(), Some("5 passed, 0 failed"));
    assert!(said.contains("crds unit") && said.contains("crds it"), "{said}");
}

#[test]
fn a_run_that_is_not_good_is_not_called_good() {
    let failed = "test b ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
    let it = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
    for (why, printed, code, says) in [
        ("a test failed", GOOD.replace(it, failed), 101, "failed: crds it: b"),
        ("a suite crashed", GOOD.replace(it, ""), 101, "crds it: did not finish"),
        (
            "a suite ran nothing",
            GOOD.replace("2 passed", "0 passed"),
            0,
            "crds it: ran no test",
        ),
        (
            "a test was ignored",
            GOOD.replace("2 passed; 0 failed; 0 ignored", "2 passed; 0 failed; 1 ignored"),
            0,
            "1 ignored",
        ),
        (
            "nothing compiled",
            "error: could not compile".to_owned(),
            101,
            "no suite ran",
        ),
        ("cargo failed after the tests", GOOD.to_owned(), 1, "exited with 1"),
    ] {
        let (good, said) = summarised(&printed, code, &["crds"]).unwrap();
        assert!(!good, "{why}: {said}");
        assert!(said.contains(says), "{why}: {said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.contains(" passed, ") && !last.ends_with(", 0 failed"),
            "{why}: {last}"
        );
    }
}

#[test]
fn every_scenario_is_shown_with_what_was_observed_and_how_long_it_took() {
    let scenarios = concat!(
        r#"{"scenario": "API server killed", "observed": "no login lost", "recovered_seconds": 3.217}"#,
        "\n",
        r#"{"scenario": "samples applied", "observed": "every object Ready", "recovered_seconds": null}"#,
        "\n"
    );
    let printed = format!("{GOOD}\n");
    let (good, said) = summarised_beside(&printed, 0, &["crds"], &[("target/scenarios.jsonl", scenarios)]).unwrap();
    assert!(good, "{said}");
    for line in [
        "scenario           recovered in  observed",
        "API server killed        3.22 s  no login lost",
        "samples applied               -  every object Ready",
    ] {
        assert!(said.lines().any(|said| said == line), "{line} in:\n{said}");
    }
}

#[test]
fn a_suite_that_did_not_run_at_all_is_missed() {
    let (good, said) = summarised(GOOD, 0, &["crds", "operator"]).unwrap();
    assert!(!good && said.contains("operator it: did not run at all"), "{said}");
}
