//! Puts the tables of a report into a page: what stands between `<!-- bench: HEADING -->` and `<!-- /bench -->` becomes the
//! part of the report below that heading. So the numbers of the documentation are those of a run, word for word.

use anyhow::{Context as _, Result};

const BEGIN: &str = "<!-- bench: ";
const END: &str = "<!-- /bench -->";

/// `page` with the tables of `report` (Markdown). A part that the report lacks stays as it is.
pub fn page(page: &str, report: &str) -> Result<String> {
    let mut done = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (heading, after) = after.split_once(" -->\n").context("a marker that does not end")?;
        let (former, after) = after.split_once(END).context("a marker without its end")?;
        done.extend([before, BEGIN, heading, " -->\n"]);
        match part(report, heading) {
            Some(part) => done.extend(["\n", part, "\n\n"]),
            None => done.push_str(former),
        }
        done.push_str(END);
        rest = after;
    }
    Ok(done + rest)
}

/// What stands below a heading of the report, up to the next one; `Machine` is what stands on top.
fn part<'r>(report: &'r str, heading: &str) -> Option<&'r str> {
    let after = match heading {
        "Machine" => report.split_once("# Benchmark\n")?.1,
        heading => report.split_once(&format!("\n## {heading}\n"))?.1,
    };
    let part = after.split_once("\n## ").map_or(after, |(part, _)| part).trim();
    (!part.is_empty()).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_parts_become_those_of_the_report_and_nothing_else_changes() {
        let report = "# Benchmark\n\n- cores: 2\n\n## Flows\n\n| a |\n\n## Peers\n\n| b |\n";
        let text =
            "A\n<!-- bench: Flows -->\nold\n<!-- /bench -->\nB\n<!-- bench: Convergence -->\nkept\n<!-- /bench -->\n";
        let expected = text.replace("old\n", "\n| a |\n\n");
        assert_eq!(page(text, report).unwrap(), expected);
        assert_eq!(page(&expected, report).unwrap(), expected);
        let machine = page("<!-- bench: Machine -->\n<!-- /bench -->", report).unwrap();
        assert!(machine.contains("\n- cores: 2\n"), "{machine}");
        assert!(page("<!-- bench: Flows -->\n", report).is_err());
    }
}
