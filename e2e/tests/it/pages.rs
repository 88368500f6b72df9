//! Every page in every language and state, opened in a real browser: axe-core finds nothing, nothing scrolls sideways at
//! 320 px, the keyboard reaches everything, no policy is violated, and it works without scripts. Screenshots are kept in
//! `target/screenshots`.

use std::process::Command;

use e2e::parts::{checkout, product, program};

#[test]
fn every_page_is_accessible_in_a_real_browser() {
    let html = tempfile::tempdir().unwrap();
    let rendered = Command::new(product("examples/pages").unwrap())
        .arg(html.path())
        .status()
        .unwrap();
    assert!(rendered.success(), "the pages were not rendered");

    let output = Command::new("node")
        .arg(checkout().join("e2e/relying-parties/pages.mjs"))
        .arg(html.path())
        .arg(checkout().join("target/screenshots/pages"))
        .env("CHROMIUM", program("NAUTHERA_CHROMIUM").unwrap())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{complaints}");
    let checks = printed
        .lines()
        .find_map(|line| line.split_once(" passed, 0 failed"))
        .and_then(|(count, _)| count.trim().parse::<u32>().ok());
    assert!(checks.is_some_and(|checks| checks > 1000), "{printed}");
}
