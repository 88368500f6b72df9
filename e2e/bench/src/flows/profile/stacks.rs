//! Stacks as `perf script` prints them, and as flame graphs want them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A frame: a function, and the file of the program or library that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) function: String,
    pub(super) object: String,
}

/// One sample, the innermost frame first.
pub(super) type Stack = Vec<Frame>;

/// The samples of a text of `perf script --fields ip,sym,dso`: a frame a line, an empty line between samples.
pub(super) fn parse(text: &str) -> Vec<Stack> {
    let samples = text
        .split("\n\n")
        .map(|sample| sample.lines().filter_map(frame).collect());
    samples.filter(|stack: &Stack| !stack.is_empty()).collect()
}

/// `ffffffff8104 do_syscall_64 ([kernel.kallsyms])`; names of functions hold spaces and parentheses, too.
fn frame(line: &str) -> Option<Frame> {
    let (_, rest) = line.trim().split_once(' ')?;
    let (function, object) = rest.rsplit_once(" (")?;
    Some(Frame {
        function: function.to_owned(),
        object: object.strip_suffix(')')?.to_owned(),
    })
}

/// Outermost first, with `;` between, and how often each occurred.
pub(super) fn folded(stacks: &[Stack]) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for stack in stacks {
        let names: Vec<String> = stack.iter().rev().map(name).collect();
        *counts.entry(names.join(";")).or_default() += 1;
    }
    counts.iter().fold(String::new(), |mut text, (stack, count)| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{stack} {count}");
        text
    })
}

fn name(frame: &Frame) -> String {
    if frame.function == "[unknown]" {
        let file = frame.object.rsplit('/').next().unwrap_or_default();
        format!("[{}]", file.trim_matches(['[', ']']))
    } else {
        frame.function.replace(';', ":")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\n\t7f01 EVP_DigestSign (/lib/libcrypto.so.3)\n\t5501 <a::B as c::D>::sign (x) (/bin/server)\n\n\
        \tffff do_syscall_64 ([kernel.kallsyms])\n\t7f02 [unknown] (/lib/libc.so.6)\n\n";

    #[test]
    fn samples_are_read_and_folded() {
        let stacks = parse(SCRIPT);
        assert_eq!(stacks.len(), 2);
        assert_eq!(stacks[0][1].function, "<a::B as c::D>::sign (x)");
        assert_eq!(stacks[0][1].object, "/bin/server");
        assert_eq!(
            folded(&stacks),
            "<a::B as c::D>::sign (x);EVP_DigestSign 1\n[libc.so.6];do_syscall_64 1\n"
        );
    }
}
