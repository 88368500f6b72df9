//! What a figure was measured on. A ratio means little, and a rate nothing, without it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// The facts of this machine by name, for the report: `cpu`, `cores`, `memory_mib`, `kernel`, `rustc`, `postgres`, `load`.
/// One that cannot be found out is left out.
pub fn facts() -> BTreeMap<String, String> {
    let facts = [
        ("cpu", line_of(Path::new("/proc/cpuinfo"), "model name")),
        (
            "cores",
            std::thread::available_parallelism().ok().map(|n| n.to_string()),
        ),
        ("memory_mib", memory_mib()),
        (
            "kernel",
            std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .ok()
                .map(|text| text.trim().to_owned()),
        ),
        ("rustc", printed("rustc", &["--version"])),
        ("postgres", printed("psql", &["--version"])),
        ("load", load()),
    ];
    facts
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// The average number of runnable processes of the last minute: above 1 the machine is not ours alone.
pub fn load() -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next().map(str::to_owned)
}

fn memory_mib() -> Option<String> {
    let text = line_of(Path::new("/proc/meminfo"), "MemTotal")?;
    let kib: u64 = text.split(' ').next()?.parse().ok()?;
    Some((kib / 1024).to_string())
}

/// The value behind `name :` in a file of such lines.
fn line_of(file: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value)
    })?;
    Some(value.trim().to_owned())
}

fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_says_what_it_is() {
        let facts = facts();
        for name in ["cpu", "cores", "memory_mib", "kernel", "rustc"] {
            assert!(facts.contains_key(name), "{name} in {facts:?}");
        }
    }
}
