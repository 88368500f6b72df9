//! Finds bytes of Secrets where nobody may see them: logs, Events, statuses, the audit log.
//!
//! A value is looked for in pieces of 16 bytes, as it is and in base64, base64url and hexadecimal, so that half of a key
//! or the end of a token is found too. What is public inside a Secret (certificates, addresses, client ids) is left out.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// Length of the pieces that are looked for; a shorter value cannot be told from a word.
const PIECE_BYTES: usize = 16;

/// Fewer different bytes in a piece make it a pattern, not a secret.
const MIN_DIFFERENT_BYTES: usize = 7;

/// What a Client's Secret says that is no secret (aliases have the same values), and the manifest of a configuration:
/// hashes that statuses show, too.
const PUBLIC_KEYS: [&str; 9] = [
    "manifest.json",
    "client-id",
    "issuer",
    "discovery-url",
    "authorization-endpoint",
    "token-endpoint",
    "userinfo-endpoint",
    "jwks-uri",
    "end-session-endpoint",
];

/// The secret bytes of a cluster, ready to be looked for.
#[derive(Debug)]
pub struct Secrets {
    /// Where each piece is from.
    pieces: HashMap<[u8; PIECE_BYTES], String>,
    /// The first two bytes of the pieces, as a quick test.
    begins: Vec<bool>,
}

/// A text that anybody may read.
#[derive(Debug, Clone, Copy)]
pub struct Text<'t> {
    /// Where it is from.
    pub name: &'t str,
    /// What it says.
    pub content: &'t str,
}

/// Secret bytes in a text. Does not repeat them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// `namespace/name key` of the Secret.
    pub secret: String,
    /// The text it was found in.
    pub text: String,
    /// The line, with the place itself blanked.
    pub line: String,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in {}: {}", self.secret, self.text, self.line)
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            pieces: HashMap::new(),
            begins: vec![false; usize::from(u16::MAX) + 1],
        }
    }
}

impl Secrets {
    /// Takes Secret objects as the API server shows them.
    pub fn of(objects: &[Value]) -> Result<Self> {
        let mut secrets = Self::default();
        secrets.take(objects)?;
        Ok(secrets)
    }

    /// Takes further Secret objects.
    pub fn take(&mut self, objects: &[Value]) -> Result<()> {
        for object in objects {
            let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
            // A release of Helm: the chart and its values, compressed.
            if text("/type").starts_with("helm.sh/") {
                continue;
            }
            let data = decoded(object)?;
            let open: Vec<&[u8]> = PUBLIC_KEYS
                .iter()
                .filter_map(|key| data.get(*key).map(Vec::as_slice))
                .collect();
            for (key, value) in &data {
                if !is_public_by_name(key) && !open.contains(&value.as_slice()) {
                    let origin = format!("{}/{} {key}", text("/metadata/namespace"), text("/metadata/name"));
                    self.add(&origin, value);
                }
            }
        }
        Ok(())
    }

    /// Adds one value, for secrets that no object holds: a password, a bearer token.
    pub fn add(&mut self, origin: &str, value: &[u8]) {
        for part in secret_parts(value) {
            for form in forms(&part) {
                for piece in form.as_chunks::<PIECE_BYTES>().0 {
                    if is_significant(piece) {
                        if let Some(begin) = self.begins.get_mut(begin(piece)) {
                            *begin = true;
                        }
                        self.pieces.insert(*piece, origin.to_owned());
                    }
                }
            }
        }
    }

    /// How many pieces are looked for.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Every leak, once for each Secret and line.
    pub fn find(&self, texts: &[Text<'_>]) -> Vec<Leak> {
        let mut leaks = Vec::new();
        for text in texts {
            for line in text.content.lines() {
                leaks.extend(self.find_in(text.name, line));
            }
        }
        leaks.sort();
        leaks.dedup();
        leaks
    }

    fn find_in(&self, name: &str, line: &str) -> Option<Leak> {
        let (at, origin) = line
            .as_bytes()
            .array_windows::<PIECE_BYTES>()
            .enumerate()
            .filter(|(_, window)| self.begins.get(begin(window)).copied().unwrap_or_default())
            .find_map(|(at, window)| self.pieces.get(window).map(|origin| (at, origin)))?;
        let before: String = String::from_utf8_lossy(line.as_bytes().get(..at).unwrap_or_default())
            .chars()
            .rev()
            .take(100)
            .collect();
        Some(Leak {
            secret: origin.clone(),
            text: name.to_owned(),
            line: format!("{}[…]", before.chars().rev().collect::<String>()),
        })
    }
}

/// Certificates and public keys.
fn is_public_by_name(key: &str) -> bool {
    matches!(key.rsplit_once('.'), Some((_, "crt" | "spki")))
}

fn begin(piece: &[u8; PIECE_BYTES]) -> usize {
    let [first, second, ..] = *piece;
    usize::from(u16::from_be_bytes([first, second]))
}

/// Whether the piece can be told from words, padding and the fixed head of a key.
fn is_significant(piece: &[u8; PIECE_BYTES]) -> bool {
    let mut different = piece.to_vec();
    different.sort_unstable();
    different.dedup();
    different.len() >= MIN_DIFFERENT_BYTES && piece.iter().any(|byte| !byte.is_ascii_lowercase() && *byte != b'-')
}

fn decoded(object: &Value) -> Result<BTreeMap<String, Vec<u8>>> {
    let data = object.get("data").and_then(Value::as_object);
    data.into_iter()
        .flatten()
        .map(|(key, value)| {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default());
            Ok((key.clone(), bytes.with_context(|| format!("data.{key}"))?))
        })
        .collect()
}

/// What of a value is secret: the password of an address, the body of a private key, else all of it.
fn secret_parts(value: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(value) else {
        return vec![value.to_vec()];
    };
    if text.contains("-----BEGIN ") {
        return private_keys(text);
    }
    if let Some(password) = password(text) {
        return vec![password.as_bytes().to_vec()];
    }
    // Of a document only what it says, not how it is written.
    if let Ok(document @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
        let mut parts = Vec::new();
        strings(&document, &mut parts);
        return parts;
    }
    vec![text.trim().as_bytes().to_vec()]
}

/// Every string value of a document.
fn strings(value: &Value, found: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) => found.push(text.as_bytes().to_vec()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The bodies of the private keys in a PEM text, line by line.
fn private_keys(pem: &str) -> Vec<Vec<u8>> {
    let mut is_private = false;
    let mut lines = Vec::new();
    for line in pem.lines() {
        if line.starts_with("-----") {
            is_private = line.contains("BEGIN") && line.contains("PRIVATE KEY");
        } else if is_private {
            lines.push(line.trim().as_bytes().to_vec());
        }
    }
    lines
}

/// The password in `scheme://user:password@host`.
fn password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let (user, _) = rest.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    Some(password)
}

/// How the bytes may have been written.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied();
    let hexadecimal = value.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    vec![
        value.to_vec(),
        STANDARD.encode(value).into_bytes(),
        URL_SAFE_NO_PAD.encode(value).into_bytes(),
        hexadecimal.flatten().collect(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CLIENT_SECRET: &str = "Rk3vQ9-tT0hXw2Lm8ZbYc5NdPf7GsJaE1uKoViWqHxM";

    fn secret(name: &str, data: &[(&str, &[u8])]) -> Value {
        let data: serde_json::Map<String, Value> = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
            .collect();
        json!({"metadata": {"namespace": "shop", "name": name}, "type": "Opaque", "data": data})
    }

    fn found(objects: &[Value], content: &str) -> Vec<String> {
        let secrets = Secrets::of(objects).unwrap();
        let texts = [Text { name: "log", content }];
        secrets.find(&texts).into_iter().map(|leak| leak.secret).collect()
    }

    #[test]
    fn a_secret_is_found_in_every_form_and_in_part() {
        let objects = [secret("web-oidc", &[("client-secret", CLIENT_SECRET.as_bytes())])];
        let hexadecimal = String::from_utf8(forms(CLIENT_SECRET.as_bytes())[3].clone()).unwrap();
        assert!(hexadecimal.starts_with("526b3376"), "{hexadecimal}");
        for content in [
            format!("fine\nrefused {CLIENT_SECRET}\nfine"),
            format!("refused {}", STANDARD.encode(CLIENT_SECRET)),
            format!("refused {}", URL_SAFE_NO_PAD.encode(CLIENT_SECRET)),
            format!("refused {hexadecimal}"),
            format!("the end …{}", &CLIENT_SECRET[5..40]),
        ] {
            assert_eq!(found(&objects, &content), ["shop/web-oidc client-secret"], "{content}");
        }
        assert!(found(&objects, "nothing of it, and only Rk3vQ9-tT0 of it").is_empty());
    }

    #[test]
    fn binary_keys_are_found() {
        let key: Vec<u8> = (0..64_u8).map(|n| n.wrapping_mul(37).wrapping_add(11)).collect();
        let objects = [secret("realm", &[("sealing", &key)])];
        assert_eq!(
            found(&objects, &format!("key={}", STANDARD.encode(&key))),
            ["shop/realm sealing"]
        );
    }

    #[test]
    fn what_is_public_in_a_secret_may_be_seen() {
        let issuer = b"https://login.example.com/acme-2";
        let objects = [
            secret(
                "web-oidc",
                &[
                    ("client-id", b"shop.web-frontend-2"),
                    ("issuer", issuer),
                    ("OIDC_ISSUER", issuer),
                ],
            ),
            secret(
                "database",
                &[(
                    "uri",
                    b"postgres://nauthera:p4ssW0rd-with-20-bytes@db-2.example.com:5432/nauthera",
                )],
            ),
            secret(
                "peer",
                &[
                    (
                        "tls.crt",
                        b"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUXq9kT3\n-----END CERTIFICATE-----\n",
                    ),
                    (
                        "tls.key",
                        b"-----BEGIN PRIVATE KEY-----\nq2W8eR4tY6uI0oP1aS3dF5gH7jK9l\n-----END PRIVATE KEY-----\n",
                    ),
                ],
            ),
        ];
        let open = "issuer https://login.example.com/acme-2 client shop.web-frontend-2 at nauthera@db-2.example.com:5432/nauthera \
                    MIIBszCCAVmgAwIBAgIUXq9kT3";
        assert!(found(&objects, open).is_empty());
        assert_eq!(
            found(&objects, "postgres://x:p4ssW0rd-with-20-bytes@y"),
            ["shop/database uri"]
        );
        assert_eq!(found(&objects, "q2W8eR4tY6uI0oP1aS3dF5gH7jK9l"), ["shop/peer tls.key"]);
    }

    #[test]
    fn a_leak_is_reported_without_repeating_it() {
        let secrets = Secrets::of(&[secret("web-oidc", &[("client-secret", CLIENT_SECRET.as_bytes())])]).unwrap();
        let content = format!("level=info secret={CLIENT_SECRET} end");
        let leaks = secrets.find(&[Text {
            name: "operator",
            content: &content,
        }]);
        let said = leaks.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(
            said,
            "shop/web-oidc client-secret is in operator: level=info secret=[…]"
        );
    }
}
