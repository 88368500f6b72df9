//! Just enough of Rust's lexical structure to look at code, strings and tests apart from each other.

use std::path::Path;

/// A tracked text file.
#[derive(Debug)]
pub(super) struct File {
    /// Path from the root of the checkout, with slashes.
    pub(super) path: String,
    /// The text as it is.
    pub(super) text: String,
}

/// What a byte of Rust source belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Tokens other than string literals.
    Code,
    /// Line and block comments, documentation included.
    Comment,
    /// String and character literals with their quotes.
    Literal,
}

impl File {
    pub(super) fn new(path: &str, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
        }
    }

    /// Whether the name ends in this extension.
    pub(super) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|of| of == extension)
    }

    /// Whether this is Rust source that ships: not a test, a fixture of one or the harness.
    pub(super) fn is_product_rust(&self) -> bool {
        self.has_extension("rs")
            && !self.path.starts_with("e2e/")
            && !self.path.contains("/tests/")
            && !self.path.contains("/fuzz/")
            && !self.path.contains("/benches/")
            && !self.path.ends_with("/tests.rs")
    }

    /// Lines that hold more than blanks and comments, tests included.
    pub(super) fn lines_of_code(&self) -> usize {
        let parts = classify(&self.text);
        let bytes: Vec<(u8, Part)> = self.text.bytes().zip(parts).collect();
        let is_code = |(byte, part): &(u8, Part)| *part != Part::Comment && !byte.is_ascii_whitespace();
        bytes
            .split(|(byte, _)| *byte == b'\n')
            .filter(|line| line.iter().any(is_code))
            .count()
    }

    /// The text with every byte outside `part` blanked, and test modules blanked, line numbers kept.
    pub(super) fn only(&self, part: Part) -> String {
        let parts = classify(&self.text);
        let code = keep(&self.text, &parts, Part::Code);
        let tests = test_modules(&code);
        let kept = keep(&self.text, &parts, part);
        kept.char_indices()
            .map(|(at, c)| {
                if c != '\n' && tests.iter().any(|test| test.contains(&at)) {
                    ' '
                } else {
                    c
                }
            })
            .collect()
    }
}

fn keep(text: &str, parts: &[Part], part: Part) -> String {
    // Blanked byte by byte: multi-byte characters become several blanks, so offsets stay the same.
    let bytes = text
        .bytes()
        .zip(parts)
        .map(|(byte, of)| if *of == part || byte == b'\n' { byte } else { b' ' })
        .collect();
    String::from_utf8(bytes).unwrap_or_default()
}

/// The byte ranges of `#[cfg(test)] mod … { … }` in text that holds code alone.
fn test_modules(code: &str) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let mut from = 0;
    while let Some(start) = code
        .get(from..)
        .and_then(|rest| rest.find("#[cfg(test)]"))
        .map(|at| at + from)
    {
        let end = code
            .get(start..)
            .and_then(block_length)
            .map_or(code.len(), |length| start + length);
        ranges.push(start..end);
        from = end;
    }
    ranges
}

/// Length up to the end of the first `{ … }`, or to a `;` that comes before it (not inside `[u8; 4]`).
pub(super) fn block_length(code: &str) -> Option<usize> {
    let mut braces = 0_usize;
    let mut brackets = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => braces += 1,
            '}' if braces <= 1 => return Some(at + 1),
            '}' => braces -= 1,
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            ';' if braces == 0 && brackets == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The part that each byte belongs to.
pub(super) fn classify(text: &str) -> Vec<Part> {
    let bytes = text.as_bytes();
    let mut parts = Vec::with_capacity(bytes.len());
    while let Some(rest) = bytes.get(parts.len()..).filter(|rest| !rest.is_empty()) {
        let after_word = parts
            .len()
            .checked_sub(1)
            .and_then(|at| bytes.get(at))
            .is_some_and(|byte| is_word(*byte));
        let (part, length) = next_token(rest, after_word);
        parts.resize(parts.len() + length.clamp(1, rest.len()), part);
    }
    parts
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn next_token(rest: &[u8], after_word: bool) -> (Part, usize) {
    match rest {
        [b'/', b'/', ..] => (Part::Comment, find(rest, b"\n", 0)),
        [b'/', b'*', ..] => (Part::Comment, block_comment(rest)),
        [b'"', ..] => (Part::Literal, quoted(rest, 1)),
        [b'b' | b'c', b'"', ..] if !after_word => (Part::Literal, quoted(rest, 2)),
        [b'r', b'"' | b'#', ..] if !after_word => raw(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !after_word => raw(rest, 2),
        // A character literal, not a lifetime.
        [b'\'', b'\\', ..] => (Part::Literal, find(rest, b"'", 3) + 1),
        [b'\'', first, ..] => match rest.iter().skip(2).take(4).position(|byte| *byte == b'\'') {
            Some(at) if at == 0 || *first >= 0x80 => (Part::Literal, at + 3),
            _ => (Part::Code, 1),
        },
        _ => (Part::Code, 1),
    }
}

fn find(rest: &[u8], needle: &[u8], from: usize) -> usize {
    rest.windows(needle.len())
        .enumerate()
        .skip(from)
        .find(|(_, window)| *window == needle)
        .map_or(rest.len(), |(at, _)| at)
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(pair) = rest.get(at..at + 2) {
        match pair {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" if depth == 1 => return at + 2,
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], from: usize) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.iter().enumerate().skip(from) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw(rest: &[u8], prefix: usize) -> (Part, usize) {
    let hashes = rest.iter().skip(prefix).take_while(|byte| **byte == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return (Part::Code, 1); // A raw identifier: r#type.
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    (Part::Literal, find(rest, &close, prefix + hashes + 1) + close.len())
}

#[test]
fn strings_comments_and_tests_are_told_apart() {
    let text = concat!(
        "/// doc \"quoted\"\nfn a<'a>(x: &'a str) -> char { let s = \"str // no\"; /* b /* n */ */ '\\'' }\n",
        "const R: &str = r#\"raw \"inner\" \"#;\nconst C: char = '\"';\n",
        "#[cfg(test)]\nmod tests {\n    const T: &str = \"hidden\";\n}\nfn after() {}\n",
    );
    let file = File::new("a.rs", text.to_owned());
    let literals = file.only(Part::Literal);
    for present in ["\"str // no\"", "r#\"raw \"inner\" \"#", "'\"'", "'\\''"] {
        assert!(literals.contains(present), "{present} in {literals}");
    }
    assert!(
        !literals.contains("quoted") && !literals.contains("hidden"),
        "{literals}"
    );
    let code = file.only(Part::Code);
    assert!(
        code.contains("fn after() {}") && code.contains("<'a>(x: &'a str)"),
        "{code}"
    );
    assert!(!code.contains("mod tests"), "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
}
