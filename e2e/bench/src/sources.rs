//! What clients of the server send: one [`Source`] a connection for each flow.
//!
//! Requests are written by hand as bytes, answers are looked at no more than the next request and a sample of checks need:
//! the generator has to be far cheaper than any server it presses.

mod browser;
mod refresh;
mod repeat;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

pub use self::browser::{CodeFlow, Cookies, SignIn};
pub use self::refresh::Refresh;
pub use self::repeat::Repeat;
use crate::fleet::{REDIRECT_URI, hash_of, secret_of};

/// The PKCE verifier of every authorization request.
pub const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-long";

/// A GET of `path`, with these header lines.
pub fn get(host: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut request = Vec::with_capacity(1024);
    head(&mut request, "GET", host, path, headers);
    request.extend_from_slice(b"\r\n");
    request
}

/// A POST of a form to `path`, with these header lines.
pub fn post(host: &str, path: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Vec<u8> {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let mut request = Vec::with_capacity(2048);
    head(&mut request, "POST", host, path, headers);
    let length = body.len();
    request.extend_from_slice(
        format!("content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes(),
    );
    request
}

fn head(request: &mut Vec<u8>, method: &str, host: &str, path: &str, headers: &[(&str, &str)]) {
    for part in [method, " ", path, " HTTP/1.1\r\nhost: ", host, "\r\n"] {
        request.extend_from_slice(part.as_bytes());
    }
    for (name, value) in headers {
        for part in [*name, ": ", *value, "\r\n"] {
            request.extend_from_slice(part.as_bytes());
        }
    }
}

/// The `Authorization` of a client with `client_secret_basic`.
pub fn basic(client_id: &str) -> String {
    let credentials = format!("{client_id}:{}", secret_of(client_id));
    format!("Basic {}", STANDARD.encode(credentials))
}

/// The query of an authorization request with PKCE.
pub fn authorization_request(client_id: &str, scope: &str) -> String {
    let challenge = hash_of(VERIFIER).map(|hash| URL_SAFE_NO_PAD.encode(hash.0));
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", REDIRECT_URI),
            ("scope", scope),
            ("state", "s1"),
            ("nonce", "n1"),
            ("code_challenge", challenge.as_deref().unwrap_or_default()),
            ("code_challenge_method", "S256"),
        ])
        .finish()
}

/// The string member `name` of a JSON object, found without reading the object. For members whose values need no escapes.
pub fn member<'b>(body: &'b [u8], name: &str) -> Option<&'b str> {
    let text = std::str::from_utf8(body).ok()?;
    let after = text.split_once(&format!("\"{name}\":\""))?.1;
    after.split_once('"').map(|(value, _)| value)
}

/// A parameter of an address's query, as it stands there.
pub fn query_parameter<'l>(location: &'l str, name: &str) -> Option<&'l str> {
    let (_, query) = location.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_parameters_are_found() {
        let body = br#"{"access_token":"a.b.c","refresh_token":"r"}"#;
        assert_eq!(
            (member(body, "refresh_token"), member(body, "id_token")),
            (Some("r"), None)
        );
        let location = "https://app.example/callback?code=abc&state=s1";
        assert_eq!(query_parameter(location, "code"), Some("abc"));
        assert_eq!(query_parameter("https://app.example/callback", "code"), None);
    }

    #[test]
    fn requests_are_whole() {
        let request = String::from_utf8(post("id.example", "/t", &[("a", "b")], &[("x", "1 2")])).unwrap();
        let expected = "POST /t HTTP/1.1\r\nhost: id.example\r\na: b\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                        content-length: 5\r\n\r\nx=1+2";
        assert_eq!(request, expected);
    }
}
