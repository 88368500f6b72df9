//! What an answer has to be before it counts: the same of every server that is measured.

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Checks a token answer (RFC 6749 §5.1) whose access token is a JWT signed with ES256 by a key of `jwks`, from `issuer`
/// if one is named.
pub(crate) fn check_es256(answer: &str, jwks: &str, issuer: Option<&str>) -> Result<()> {
    let answer: Value = serde_json::from_str(answer).context("the token answer is not JSON")?;
    let kind = answer.get("token_type").and_then(Value::as_str);
    ensure!(
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case("Bearer")),
        "token_type {kind:?}"
    );
    let token = answer.get("access_token").and_then(Value::as_str);
    let token = token.context("no access_token")?;
    let (signed, signature) = token.rsplit_once('.').context("the token is not a JWT")?;
    let (header, payload) = signed.split_once('.').context("the token is not a JWT")?;
    let (header, payload) = (json(header)?, json(payload)?);
    ensure!(
        header.get("alg").and_then(Value::as_str) == Some("ES256"),
        "signed otherwise: {header}"
    );
    ensure!(
        issuer.is_none_or(|issuer| payload.get("iss").and_then(Value::as_str) == Some(issuer)),
        "of another issuer: {payload}"
    );
    let id = header.get("kid").context("no kid")?;
    let published: Value = serde_json::from_str(jwks).context("the JWKS is not JSON")?;
    let keys = published.get("keys").and_then(Value::as_array).context("no keys")?;
    let key = keys.iter().find(|key| key.get("kid") == Some(id));
    let point = point(key.context("the key is not published")?)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &bytes(signature)?)
        .ok()
        .context("the signature is wrong")
}

/// The uncompressed point of an EC key (RFC 7518 §6.2.1).
fn point(key: &Value) -> Result<Vec<u8>> {
    let coordinate = |name| bytes(key.get(name).and_then(Value::as_str).context("a key without a point")?);
    let (x, y) = (coordinate("x")?, coordinate("y")?);
    Ok([&[4], x.as_slice(), &y].concat())
}

fn json(part: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&bytes(part)?)?)
}

fn bytes(part: &str) -> Result<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).context("not base64url")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_token_that_the_published_key_signed_counts() {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = key.public_key().as_ref();
        let (x, y) = (encode(&public[1..33]), encode(&public[33..]));
        let jwks = json!({"keys": [{"kid": "a", "kty": "EC", "crv": "P-256", "x": x, "y": y}]}).to_string();
        let answer = |alg: &str, issuer: &str| {
            let signed = format!(
                "{}.{}",
                encode(json!({"alg": alg, "kid": "a"}).to_string().as_bytes()),
                encode(json!({"iss": issuer}).to_string().as_bytes())
            );
            let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            let token = format!("{signed}.{}", encode(signature.as_ref()));
            json!({"access_token": token, "token_type": "Bearer"}).to_string()
        };
        assert!(check_es256(&answer("ES256", "https://a"), &jwks, Some("https://a")).is_ok());
        assert!(check_es256(&answer("ES256", "https://b"), &jwks, Some("https://a")).is_err());
        assert!(check_es256(&answer("RS256", "https://a"), &jwks, None).is_err());
        let forged = answer("ES256", "https://a").replace("\"access_token\":\"e", "\"access_token\":\"f");
        assert!(check_es256(&forged, &jwks, None).is_err());
        assert!(check_es256(&answer("ES256", "https://a"), "{\"keys\":[]}", None).is_err());
    }
}
