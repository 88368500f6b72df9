//! The pages in docs/: links lead somewhere, and what they list is complete.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use crds::conditions::Reason;
use e2e::parts::checkout;

/// Every page that people read, by its path in the checkout.
fn pages() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/reference"] {
        for entry in std::fs::read_dir(checkout().join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Lines outside of fenced blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of `[text](target)`.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, further)) = after.split_once(')') else {
                break;
            };
            found.push(target.to_owned());
            rest = further;
        }
    }
    found
}

/// What a heading is called in a link, as code hosts derive it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    prose(page).filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// Why a link of `page` leads nowhere.
fn broken(page: &Path, text: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
    let target = page.parent().unwrap_or(page).join(file);
    let there = if file.is_empty() {
        Ok(text.to_owned())
    } else {
        std::fs::read_to_string(&target)
    };
    match there {
        Ok(there) => {
            (!fragment.is_empty() && !anchors(&there).contains(fragment)).then(|| format!("no heading for {link}"))
        }
        Err(_) if target.exists() => None,
        Err(_) => Some(format!("no file for {link}")),
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages().unwrap() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            seen += 1;
            wrong.extend(broken(&page, &text, &link).map(|what| format!("{}: {what}", page.display())));
        }
    }
    assert!(seen > 50, "only {seen} links found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn links_are_judged_by_file_and_heading() {
    let page = checkout().join("docs/install.md");
    let text = "## One: two\n[a](#one-two) [b](#three)\n```\n[c](none)\n```\n";
    assert_eq!(links(text), ["#one-two", "#three"]);
    let judge = |link: &str| broken(&page, text, link);
    assert_eq!(judge("#one-two"), None);
    assert_eq!(judge("#three").as_deref(), Some("no heading for #three"));
    assert_eq!(judge("upgrade.md#auth-servers"), None);
    assert_eq!(judge("nowhere.md").as_deref(), Some("no file for nowhere.md"));
}

/// Whoever meets a reason finds on one page what to do about it.
#[test]
fn the_troubleshooting_page_knows_every_reason() {
    let page = std::fs::read_to_string(checkout().join("docs/troubleshooting.md")).unwrap();
    let table = page.split("## ").find(|part| part.starts_with("Reasons")).unwrap();
    let listed: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(reason, _)| reason)
        .collect();
    let known: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(
        listed, known,
        "docs/troubleshooting.md, in the order of crds/src/conditions.rs"
    );
}
