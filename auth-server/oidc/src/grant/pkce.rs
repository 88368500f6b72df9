//! Proof Key for Code Exchange (RFC 7636). The only method is S256.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

/// Whether `verifier` is well-formed (§4.1) and hashes to `challenge` (§4.6).
pub(crate) fn verifies(verifier: &str, challenge: &str) -> bool {
    let digest = digest::digest(&digest::SHA256, verifier.as_bytes());
    let computed = URL_SAFE_NO_PAD.encode(digest);
    is_verifier(verifier) && bool::from(computed.as_bytes().ct_eq(challenge.as_bytes()))
}

fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b_verifies() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(verifies(verifier, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
        assert!(!verifies(verifier, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cN"));
        assert!(!verifies(verifier, verifier));
    }

    #[test]
    fn a_verifier_outside_of_the_grammar_is_refused_even_when_it_hashes_right() {
        for verifier in [
            "a".repeat(42),
            "a".repeat(129),
            format!("{}+", "a".repeat(43)),
            format!("{}é", "a".repeat(43)),
        ] {
            let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
            assert!(!verifies(&verifier, &challenge), "{verifier}");
        }
        let longest = "~".repeat(128);
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, longest.as_bytes()));
        assert!(verifies(&longest, &challenge));
    }
}
