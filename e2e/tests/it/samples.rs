//! The sample folders, judged by the very command that a pipeline runs.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::Result;
use e2e::parts::{checkout, product};

fn validate(folder: &Path) -> Result<Output> {
    Ok(Command::new(product("nauthera-operator")?)
        .arg("validate")
        .arg(folder)
        .output()?)
}

#[test]
fn the_samples_are_valid() {
    for folder in ["config/samples", "config/samples-cluster"] {
        let output = validate(&checkout().join(folder)).unwrap();
        assert!(
            output.status.success(),
            "{folder}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

#[test]
fn a_mistake_is_reported_with_its_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(checkout().join("config/samples")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let client = folder.path().join("4-client-shop.yaml");
    let text = std::fs::read_to_string(&client).unwrap();
    let broken = text.replace("http://127.0.0.1:8090/callback", "http://shop.example.com/callback");
    assert_ne!(text, broken);
    std::fs::write(&client, &broken).unwrap();
    let output = validate(folder.path()).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    let line = broken
        .lines()
        .position(|line| line.contains("shop.example.com"))
        .unwrap()
        + 1;
    assert!(
        said.contains(&format!("4-client-shop.yaml:{line}")),
        "line {line} in:\n{said}"
    );
    assert!(said.contains("must be an https URI"), "{said}");
}
