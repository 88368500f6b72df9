//! How much memory a process takes, as the kubelet counts it.

use std::fmt;

use anyhow::{Context as _, Result};

/// Memory of a process that is in RAM, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub resident: u64,
    /// What it allocated itself.
    pub anonymous: u64,
    /// Its program and libraries, as far as they were touched; other processes of the same image share them.
    pub mapped: u64,
}

impl Memory {
    /// Of a running process.
    pub fn of(process: u32) -> Result<Self> {
        let file = format!("/proc/{process}/status");
        Self::parse(&std::fs::read_to_string(&file).with_context(|| file.clone())?).context(file)
    }

    fn parse(status: &str) -> Result<Self> {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim_start_matches(':').trim().strip_suffix(" kB"));
            let kibibytes: u64 = number.with_context(|| format!("no {name}"))?.trim().parse()?;
            anyhow::Ok(kibibytes * 1024)
        };
        Ok(Self {
            resident: bytes("VmRSS")?,
            anonymous: bytes("RssAnon")?,
            mapped: bytes("RssFile")?,
        })
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10);
        let Self {
            resident,
            anonymous,
            mapped,
        } = *self;
        write!(
            f,
            "{} MB ({} of its own, {} of files)",
            megabytes(resident),
            megabytes(anonymous),
            megabytes(mapped)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_kernel_are_read() {
        let status = "Name:\ta\nVmRSS:\t   61440 kB\nRssAnon:\t   36000 kB\nRssFile:\t   25440 kB\n";
        let memory = Memory::parse(status).unwrap();
        assert_eq!(memory.resident, 61_440 * 1024);
        assert_eq!(memory.to_string(), "62.9 MB (36.8 of its own, 26.0 of files)");
        assert!(Memory::parse("Name:\ta\n").is_err());
        assert!(Memory::of(std::process::id()).unwrap().resident > 0);
    }
}
