//! Request parameters: `application/x-www-form-urlencoded` bytes become names and values, or an error that names the
//! parameter at fault.
//!
//! Parsing is strict where leniency has hurt protocols: a duplicate is refused (RFC 6749 §3.1), so is a broken escape.
//! What the parameters mean is the endpoints' business.

/// Bytes of a query or body.
pub const MAX_BYTES: usize = 64 * 1024;
/// Number of parameters.
pub const MAX_PARAMETERS: usize = 64;
/// Bytes of a name.
pub const MAX_NAME_BYTES: usize = 64;
/// Bytes of a value.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;

/// Parameters that may be given more than once (RFC 8707 §2).
const REPEATABLE: &[&str] = &["resource"];

/// The parameters of one request.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// All names and values, decoded, one behind the other.
    text: String,
    pairs: Vec<Pair>,
}

/// Where in the text a name and its value end; the name begins where the pair before ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pair {
    name_end: usize,
    value_end: usize,
}

/// Why bytes are not parameters. The texts are safe to show to a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// More than [`MAX_BYTES`].
    #[error("the parameters are too large")]
    TooLarge,
    /// More than [`MAX_PARAMETERS`].
    #[error("there are too many parameters")]
    TooMany,
    /// A name that is longer than [`MAX_NAME_BYTES`] or not decodable.
    #[error("a parameter name is malformed or too long")]
    BadName,
    /// A value longer than [`MAX_VALUE_BYTES`].
    #[error("parameter {0} is too long")]
    TooLong(String),
    /// A broken percent escape, text that is not UTF-8, or a null character.
    #[error("parameter {0} is not properly encoded")]
    BadEncoding(String),
    /// Given twice.
    #[error("parameter {0} is given more than once")]
    Duplicate(String),
}

impl Parameters {
    /// Parses a query string or a form body. An empty input has no parameters.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParameterError> {
        if bytes.len() > MAX_BYTES {
            return Err(ParameterError::TooLarge);
        }
        let mut parsed = Self {
            text: String::with_capacity(bytes.len()),
            pairs: Vec::with_capacity(12),
        };
        for part in bytes.split(|byte| *byte == b'&') {
            if part.is_empty() {
                continue;
            }
            if parsed.pairs.len() == MAX_PARAMETERS {
                return Err(ParameterError::TooMany);
            }
            parsed.push(part)?;
        }
        Ok(parsed)
    }

    /// Takes up one `name=value`.
    fn push(&mut self, part: &[u8]) -> Result<(), ParameterError> {
        let (name, value) = match part.iter().position(|byte| *byte == b'=') {
            Some(at) => (part.get(..at), part.get(at + 1..)),
            None => (Some(part), None),
        };
        let name_start = self.text.len();
        decode_onto(&mut self.text, name.unwrap_or_default()).ok_or(ParameterError::BadName)?;
        let name_end = self.text.len();
        if name_end - name_start > MAX_NAME_BYTES {
            return Err(ParameterError::BadName);
        }
        let decoded = decode_onto(&mut self.text, value.unwrap_or_default());
        let value_end = self.text.len();
        let name = self.text.get(name_start..name_end).unwrap_or_default();
        decoded.ok_or_else(|| ParameterError::BadEncoding(printable(name)))?;
        if value_end - name_end > MAX_VALUE_BYTES {
            return Err(ParameterError::TooLong(printable(name)));
        }
        if !REPEATABLE.contains(&name) && self.iter().any(|(known, _)| known == name) {
            return Err(ParameterError::Duplicate(printable(name)));
        }
        self.pairs.push(Pair { name_end, value_end });
        Ok(())
    }

    /// The value of a parameter. One sent without a value counts as omitted (RFC 6749 §3.1).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, value)| *known == name && !value.is_empty())
            .map(|(_, value)| value)
    }

    /// All values of a parameter that may repeat, in order.
    pub fn all<'p>(&'p self, name: &'static str) -> impl Iterator<Item = &'p str> {
        self.iter()
            .filter(move |(known, value)| *known == name && !value.is_empty())
            .map(|(_, value)| value)
    }

    /// Names and values in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.pairs.iter().map(move |pair| {
            let name = self.text.get(start..pair.name_end).unwrap_or_default();
            let value = self.text.get(pair.name_end..pair.value_end).unwrap_or_default();
            start = pair.value_end;
            (name, value)
        })
    }

    /// The values of a space-separated list (RFC 6749 §3.3), each once, in order.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for value in self.get(name).unwrap_or_default().split(' ') {
            if !value.is_empty() && !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }
}

impl std::fmt::Debug for Parameters {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// Decodes one name or value of `application/x-www-form-urlencoded`. `None` for a broken escape, text that is not
/// UTF-8, or a null character, which no store could hold.
pub(crate) fn decode_form(encoded: &[u8]) -> Option<String> {
    let mut decoded = String::with_capacity(encoded.len());
    decode_onto(&mut decoded, encoded)?;
    Some(decoded)
}

/// Like [`decode_form`], behind `text`; which is as it was when nothing can be decoded.
fn decode_onto(text: &mut String, encoded: &[u8]) -> Option<()> {
    // Most names and values need no decoding.
    if !encoded.iter().any(|byte| matches!(byte, b'+' | b'%' | 0)) {
        text.push_str(std::str::from_utf8(encoded).ok()?);
        return Some(());
    }
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(&byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => (hex(*rest.next()?)? << 4) | hex(*rest.next()?)?,
            other => other,
        });
    }
    let decoded = std::str::from_utf8(&decoded).ok()?;
    if decoded.contains('\0') {
        return None;
    }
    text.push_str(decoded);
    Some(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// `name` restricted to characters that an error description may hold (RFC 6749 §5.2).
fn printable(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_-.[]".contains(c) {
                c
            } else {
                '?'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Parameters, ParameterError> {
        Parameters::parse(text.as_bytes())
    }

    #[test]
    fn names_and_values_are_decoded() {
        let parameters =
            parse("scope=openid+profile++openid&state=%C3%A9%2B&empty=&flag&&resource=a&resource=b").unwrap();
        assert_eq!(parameters.list("scope"), ["openid", "profile"]);
        assert_eq!(parameters.get("state"), Some("é+"));
        assert_eq!((parameters.get("empty"), parameters.get("flag")), (None, None));
        assert_eq!(parameters.all("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_duplicate_is_refused_by_name_even_when_empty() {
        assert_eq!(
            parse("client_id=a&x=1&client_id="),
            Err(ParameterError::Duplicate("client_id".into()))
        );
        assert_eq!(
            parse("client_id=a&client%5Fid=b"),
            Err(ParameterError::Duplicate("client_id".into()))
        );
    }

    #[test]
    fn broken_encodings_are_refused_by_name() {
        for text in ["state=%", "state=%4", "state=%zz", "state=%ff", "state=%00"] {
            assert_eq!(parse(text), Err(ParameterError::BadEncoding("state".into())), "{text}");
        }
        assert_eq!(parse("%ff=1"), Err(ParameterError::BadName));
        assert_eq!(parse("\"<b>=%"), Err(ParameterError::BadEncoding("??b?".into())));
    }

    #[test]
    fn every_limit_is_enforced_and_reachable() {
        let value = |bytes: usize| format!("a={}", "x".repeat(bytes));
        assert!(parse(&value(MAX_VALUE_BYTES)).is_ok());
        assert_eq!(
            parse(&value(MAX_VALUE_BYTES + 1)),
            Err(ParameterError::TooLong("a".into()))
        );
        assert_eq!(parse(&value(MAX_BYTES)), Err(ParameterError::TooLarge));
        assert_eq!(parse(&"n".repeat(MAX_NAME_BYTES + 1)), Err(ParameterError::BadName));
        let many = |count: usize| (0..count).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join("&");
        assert!(parse(&many(MAX_PARAMETERS)).is_ok());
        assert_eq!(parse(&many(MAX_PARAMETERS + 1)), Err(ParameterError::TooMany));
    }

    #[test]
    fn values_are_never_printed() {
        let parameters = parse("client_secret=hunter2").unwrap();
        assert_eq!(format!("{parameters:?}"), r#"{"client_secret"}"#);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            if let Ok(parameters) = Parameters::parse(&bytes) {
                prop_assert!(parameters.iter().all(|(name, value)| name.len() <= MAX_NAME_BYTES && !value.contains('\0')));
            }
        }

        #[test]
        fn what_a_browser_encodes_is_what_is_read(value in "[^\0]{0,64}") {
            let body = url::form_urlencoded::Serializer::new(String::new()).append_pair("state", &value).finish();
            let parameters = parse(&body).unwrap();
            prop_assert_eq!(parameters.get("state").unwrap_or_default(), value);
        }
    }
}
