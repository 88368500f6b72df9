//! A process with all that it started: what a peer uses, whatever it consists of.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use e2e::memory::Memory;

use crate::pinned;

/// CPU time of the process and its descendants since their start.
pub(super) fn cpu_time(root: u32) -> Result<Duration> {
    members(root)?.into_iter().map(pinned::cpu_time).sum()
}

/// What the process and its descendants have resident, bytes.
pub(super) fn memory(root: u32) -> Result<u64> {
    let sizes = members(root)?.into_iter().map(Memory::of);
    sizes.map(|memory| Ok(memory?.resident)).sum()
}

/// The process and its descendants.
fn members(root: u32) -> Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that has just ended is nobody's.
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(process) = found.get(next).copied() {
        found.extend(children.remove(&process).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

/// The parent in a line of `/proc/PID/stat` (proc(5)).
fn parent(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_belongs_to_its_parent() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let members = members(std::process::id()).unwrap();
        let memory = memory(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(members.contains(&child.id()) && members.contains(&std::process::id()));
        assert!(memory.unwrap() > 0);
        assert_eq!(parent("1 (a) b) S 42 1"), Some(42));
    }
}
