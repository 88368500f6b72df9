//! The committed files are what the types say now. `UPDATE_GENERATED=1 cargo test` rewrites them.

use std::path::Path;

const MAX_MANIFEST_BYTES: usize = 200 * 1024;

fn check(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, expected).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == expected,
        "{path} is not what the types say: run `make generate` and commit it"
    );
}

#[test]
fn the_committed_manifests_are_fresh() {
    for (name, content) in crds::manifests().unwrap() {
        check(&format!("crds/manifests/{name}"), &content);
    }
}

#[test]
fn the_committed_reference_page_is_fresh() {
    check("docs/reference/resources.md", &crds::reference_page().unwrap());
}

#[test]
fn no_manifest_is_too_big_for_a_client_side_apply() {
    for (name, content) in crds::manifests().unwrap() {
        let bytes = content.len();
        assert!(bytes <= MAX_MANIFEST_BYTES, "{name} has {bytes} bytes");
    }
}
