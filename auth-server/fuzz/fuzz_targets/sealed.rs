//! Sealed values: nothing opens but what was sealed, byte for byte, and only for its purpose and realm.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use oidc::id::RealmId;
use oidc::seal::{Purpose, Sealer};
use oidc::testing;
use serde_json::Value;

const PURPOSES: [Purpose; 8] = [
    Purpose::AuthorizationCode,
    Purpose::AccessToken,
    Purpose::RefreshToken,
    Purpose::LoginFlow,
    Purpose::Consent,
    Purpose::Logout,
    Purpose::Activity,
    Purpose::Request,
];

fn sealer(issuer: &str) -> Sealer {
    Sealer::new(RealmId::of_issuer(issuer), &testing::key_set(issuer).sealing)
}

static OURS: LazyLock<Sealer> = LazyLock::new(|| sealer(testing::ISSUER));
static OTHER: LazyLock<Sealer> = LazyLock::new(|| sealer("https://other.example"));
static REAL: LazyLock<String> = LazyLock::new(|| {
    let value = serde_json::json!({ "a": 1 });
    OURS.seal(Purpose::RefreshToken, &value, &mut testing::rng()).expect("sealed")
});

fn check(text: &str) {
    for purpose in PURPOSES {
        let opened = OURS.open::<Value>(purpose, text).is_ok();
        assert_eq!(opened, purpose == Purpose::RefreshToken && text == *REAL, "{text}");
        assert!(OTHER.open::<Value>(purpose, text).is_err(), "opened in another realm");
    }
}

fuzz_target!(|data: &[u8]| {
    let [mode, rest @ ..] = data else { return };
    match mode % 3 {
        0 => {
            if let Ok(text) = std::str::from_utf8(rest) {
                check(text);
            }
        }
        1 => check(&URL_SAFE_NO_PAD.encode(rest)),
        // A real value, changed here and there: pairs of a place and what is added to the byte there.
        _ => {
            let mut bytes = URL_SAFE_NO_PAD.decode(REAL.as_bytes()).expect("base64url");
            for change in rest.chunks_exact(2) {
                let at = usize::from(change[0]) % bytes.len();
                bytes[at] ^= change[1];
            }
            check(&URL_SAFE_NO_PAD.encode(bytes));
        }
    }
});
