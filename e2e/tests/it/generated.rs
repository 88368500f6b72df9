//! The help texts in docs/reference/commands.md are what the programs print. `make generate` rewrites them.
//!
//! A line `<!-- help: PROGRAM ARGUMENTS -->` is followed by a fenced block with what that call prints.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use e2e::parts::{checkout, product};

const PAGE: &str = "docs/reference/commands.md";
const PROGRAMS: [&str; 2] = ["nauthera-auth", "nauthera-operator"];

fn help(call: &str) -> Result<String> {
    let mut words = call.split_whitespace();
    let program = words.next().context("a program")?;
    // Nothing of the environment may be shown as a default.
    let output = Command::new(product(program)?)
        .args(words)
        .arg("--help")
        .env_clear()
        .output()?;
    ensure!(output.status.success(), "`{call} --help` failed");
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    Ok(lines.join("\n").trim().to_owned())
}

/// The page with every block as the programs have it now.
fn refreshed(page: &str) -> Result<String> {
    let mut fresh = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        fresh += line;
        fresh.push('\n');
        let marker = line
            .strip_prefix("<!-- help: ")
            .and_then(|rest| rest.strip_suffix(" -->"));
        let Some(call) = marker else { continue };
        ensure!(lines.next() == Some("```"), "no block follows {line}");
        ensure!(
            lines.by_ref().any(|line| line == "```"),
            "the block after {line} does not end"
        );
        fresh += "```\n";
        fresh += &help(call)?;
        fresh += "\n```\n";
    }
    Ok(fresh)
}

/// Every call that has a help text of its own, without the program's own first one.
fn calls(program: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![program.to_owned()];
    while let Some(call) = open.pop() {
        let text = help(&call)?;
        if let Some((_, commands)) = text.split_once("Commands:\n") {
            let names = commands
                .lines()
                .take_while(|line| line.starts_with("  "))
                .filter_map(|line| line.split_whitespace().next());
            open.extend(
                names
                    .filter(|name| *name != "help")
                    .map(|name| format!("{call} {name}")),
            );
        } else {
            found.push(call);
        }
    }
    Ok(found)
}

#[test]
fn the_command_reference_says_what_the_programs_say() {
    let file = checkout().join(PAGE);
    let committed = std::fs::read_to_string(&file).unwrap();
    let fresh = refreshed(&committed).unwrap();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&file, &fresh).unwrap();
        return;
    }
    assert!(
        committed == fresh,
        "{PAGE} is not what the programs print: run `make generate` and commit it"
    );
}

#[test]
fn the_command_reference_knows_every_command() {
    let committed = std::fs::read_to_string(checkout().join(PAGE)).unwrap();
    for call in PROGRAMS.into_iter().flat_map(|program| calls(program).unwrap()) {
        assert!(
            committed.contains(&format!("<!-- help: {call} -->")),
            "{call} is missing in {PAGE}"
        );
    }
}
