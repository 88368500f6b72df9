//! Public keys as JSON Web Keys (RFC 7517) and their thumbprints (RFC 7638).

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::pkey::{Id, PKey};
use serde_json::{Map, Value};

use super::UnusableKey;
use crate::config::SigningKey;

/// The JWK of a signing key's public half, with `kid`, `alg` and `use`.
pub(crate) fn jwk(key: &SigningKey) -> Result<Map<String, Value>, UnusableKey> {
    let mut jwk: Map<String, Value> = members(&key.public)?
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
    jwk.insert("use".into(), "sig".into());
    jwk.insert("alg".into(), key.algorithm.name().into());
    jwk.insert("kid".into(), key.kid.as_str().into());
    Ok(jwk)
}

/// The RFC 7638 thumbprint of a SubjectPublicKeyInfo, base64url.
#[cfg(test)]
pub(crate) fn thumbprint(spki: &[u8]) -> Result<String, UnusableKey> {
    members(spki).map(|members| thumbprint_of(&members))
}

/// The required members of a JWK in lexicographic order (RFC 7638 §3.2). No value needs JSON escaping.
pub(crate) type Members = Vec<(&'static str, String)>;

/// Of a point on P-256, by its coordinates of 32 bytes each (RFC 7518 §6.2.1).
pub(crate) fn p256(x: &[u8], y: &[u8]) -> Members {
    vec![
        ("crv", "P-256".into()),
        ("kty", "EC".into()),
        ("x", URL_SAFE_NO_PAD.encode(x)),
        ("y", URL_SAFE_NO_PAD.encode(y)),
    ]
}

/// Of an Ed25519 key (RFC 8037 §2).
pub(crate) fn ed25519(x: &[u8]) -> Members {
    vec![
        ("crv", "Ed25519".into()),
        ("kty", "OKP".into()),
        ("x", URL_SAFE_NO_PAD.encode(x)),
    ]
}

/// Of an RSA key, by its numbers without leading zeroes (RFC 7518 §6.3.1).
pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Members {
    vec![
        ("e", URL_SAFE_NO_PAD.encode(e)),
        ("kty", "RSA".into()),
        ("n", URL_SAFE_NO_PAD.encode(n)),
    ]
}

/// The RFC 7638 thumbprint of a JWK, base64url.
pub(crate) fn thumbprint_of(members: &Members) -> String {
    let json: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":\"{value}\""))
        .collect();
    let digest = digest::digest(&digest::SHA256, format!("{{{}}}", json.join(",")).as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

fn members(spki: &[u8]) -> Result<Members, UnusableKey> {
    read(spki).ok().flatten().ok_or(UnusableKey)
}

fn read(spki: &[u8]) -> Result<Option<Members>, openssl::error::ErrorStack> {
    let key = PKey::public_key_from_der(spki)?;
    Ok(match key.id() {
        Id::EC => {
            let ec = key.ec_key()?;
            if ec.group().curve_name() != Some(openssl::nid::Nid::X9_62_PRIME256V1) {
                return Ok(None);
            }
            let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
            let mut context = BigNumContext::new()?;
            ec.public_key()
                .affine_coordinates(ec.group(), &mut x, &mut y, &mut context)?;
            Some(p256(&x.to_vec_padded(32)?, &y.to_vec_padded(32)?))
        }
        Id::RSA => {
            let key = key.rsa()?;
            Some(rsa(&key.n().to_vec(), &key.e().to_vec()))
        }
        Id::ED25519 => Some(ed25519(&key.raw_public_key()?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_of_the_rfc_7638_example_is_the_rfc_s() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let number = |text: &str| BigNum::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
        let rsa = openssl::rsa::Rsa::from_public_components(number(n), number("AQAB")).unwrap();
        let spki = PKey::from_rsa(rsa).unwrap().public_key_to_der().unwrap();
        assert_eq!(
            thumbprint(&spki).unwrap(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn keys_of_other_curves_and_broken_keys_are_refused() {
        let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::SECP384R1).unwrap();
        let key = PKey::from_ec_key(openssl::ec::EcKey::generate(&group).unwrap()).unwrap();
        assert_eq!(thumbprint(&key.public_key_to_der().unwrap()), Err(UnusableKey));
        assert_eq!(thumbprint(b"not a key"), Err(UnusableKey));
    }
}
