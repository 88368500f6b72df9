//! Signed tokens: nothing verifies but what our own keys signed, byte for byte, for the type it was signed for.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use oidc::TokenType;
use oidc::keys::Keys;
use oidc::testing;

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::new(testing::key_set(testing::ISSUER)));

const CLAIMS: &[u8] = br#"{"iss":"https://id.example","sub":"a","aud":"b","exp":99999999999}"#;

/// A real token of each algorithm, and a session.
static SIGNED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut tokens: Vec<String> = KEYS
        .signing_algorithms()
        .map(|algorithm| KEYS.sign(algorithm, TokenType::AccessToken, CLAIMS).expect("a token"))
        .collect();
    tokens.push(KEYS.sign_session(CLAIMS).expect("a session"));
    tokens
});

fn check(token: &str) {
    let known = SIGNED.iter().any(|signed| signed == token);
    for typ in [TokenType::AccessToken, TokenType::IdToken] {
        assert!(KEYS.verify(typ, token).is_err() || known, "{token}");
    }
    assert!(KEYS.verify_session(token).is_err() || known, "{token}");
    if known {
        assert!(KEYS.verify(TokenType::IdToken, token).is_err(), "a token of another type");
    }
}

fuzz_target!(|data: &[u8]| {
    let [mode, rest @ ..] = data else { return };
    if mode % 4 == 3 {
        if let Ok(text) = std::str::from_utf8(rest) {
            check(text);
        }
        return;
    }
    // One part of a real token is replaced by what the fuzzer wants it to be.
    let Some(real) = SIGNED.get(usize::from(mode / 4) % SIGNED.len()) else {
        return;
    };
    let mut parts: Vec<String> = real.split('.').map(str::to_owned).collect();
    if let Some(part) = parts.get_mut(usize::from(mode % 4)) {
        *part = URL_SAFE_NO_PAD.encode(rest);
    }
    check(&parts.join("."));
});
