//! The prototype handlers: the least that each flow takes.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256};
use aws_lc_rs::{digest, hmac, rsa};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::ValueEnum;
use josekit::jwk::KeyPair;
use josekit::jwk::alg::ed::EdCurve;
use josekit::jws::{ES256, EdDSA, JwsVerifier, RS256};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::fleet::secret_of;

/// The client that it knows.
pub const CLIENT: &str = "app";
const ISSUER: &str = "https://id.example";
const LIFETIME_SECONDS: i64 = 3600;
/// What stands in for a browser's session; its key is known.
const SESSION_KEY: [u8; 32] = [7; 32];

/// Shape and algorithm of access tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TokenShape {
    /// ECDSA P-256.
    #[default]
    Es256,
    /// Ed25519.
    Eddsa,
    /// RSA with 2048 bits.
    Rs256,
    /// Sealed, not signed.
    Opaque,
}

impl TokenShape {
    /// As the command line has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "es256",
            Self::Eddsa => "eddsa",
            Self::Rs256 => "rs256",
            Self::Opaque => "opaque",
        }
    }
}

/// A token request.
#[derive(Debug, Deserialize)]
pub(crate) struct TokenForm {
    grant_type: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    code_verifier: String,
}

/// A request about a token.
#[derive(Debug, Deserialize)]
pub(crate) struct VerifyForm {
    /// The token.
    pub token: String,
}

/// An authorization request.
#[derive(Debug, Deserialize)]
pub(crate) struct CodeQuery {
    client_id: String,
    redirect_uri: String,
    scope: String,
    state: String,
    code_challenge: String,
}

/// Keys, one client and one person.
pub(crate) struct Prototype {
    clients: HashMap<&'static str, [u8; 32]>,
    person: Person,
    signer: Signer,
    verifier: Box<dyn JwsVerifier>,
    header: String,
    opaque: bool,
    seal: LessSafeKey,
    session: hmac::Key,
}

#[derive(Serialize, Deserialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    client_id: &'a str,
    exp: i64,
    iat: i64,
    jti: String,
    scope: &'a str,
}

#[derive(Serialize)]
struct Tokens {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

#[derive(Serialize)]
struct Person {
    sub: &'static str,
    name: &'static str,
    given_name: &'static str,
    family_name: &'static str,
    preferred_username: &'static str,
    updated_at: i64,
    email: &'static str,
    email_verified: bool,
}

#[derive(Serialize)]
struct Introspection<'a> {
    active: bool,
    token_type: &'static str,
    #[serde(flatten)]
    claims: Claims<'a>,
}

#[derive(Serialize, Deserialize)]
struct Code {
    client_id: String,
    redirect_uri: String,
    scope: String,
    challenge: String,
    expires_at: i64,
}

#[derive(Deserialize)]
struct Header<'a> {
    alg: &'a str,
}

impl Prototype {
    /// With fresh keys.
    pub(crate) fn new(shape: TokenShape) -> Result<Self> {
        let (signer, verifier) = key(shape)?;
        let header = serde_json::json!({"alg": verifier.algorithm().name(), "typ": "at+jwt", "kid": "x".repeat(43)});
        let seal = UnboundKey::new(&AES_256_GCM_SIV, &[9; 32]).map_err(|_| anyhow!("no key for sealing"))?;
        Ok(Self {
            clients: HashMap::from([(CLIENT, sha256(&secret_of(CLIENT)))]),
            person: Person {
                sub: CLIENT,
                name: "Ada Lovelace",
                given_name: "Ada",
                family_name: "Lovelace",
                preferred_username: "ada",
                updated_at: now(),
                email: "ada@example.com",
                email_verified: true,
            },
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
            signer,
            verifier,
            opaque: shape == TokenShape::Opaque,
            seal: LessSafeKey::new(seal),
            session: hmac::Key::new(hmac::HMAC_SHA256, &SESSION_KEY),
        })
    }

    /// `client_credentials`, or `authorization_code` with PKCE.
    pub(crate) fn token(&self, authorization: &str, form: &TokenForm) -> Option<Vec<u8>> {
        let client = self.client(authorization)?;
        let (scope, code) = match form.grant_type.as_str() {
            "client_credentials" => (form.scope.clone(), None),
            "authorization_code" => {
                let code: Code = serde_json::from_slice(&self.open(&form.code)?).ok()?;
                let challenge = URL_SAFE_NO_PAD.encode(sha256(&form.code_verifier));
                if code.challenge != challenge || code.client_id != client || code.expires_at < now() {
                    return None;
                }
                (code.scope.clone(), Some(code))
            }
            _ => return None,
        };
        let claims = serde_json::to_vec(&claims(client, &scope)).ok()?;
        let access_token = if self.opaque {
            self.seal(claims.clone())?
        } else {
            self.sign(&claims)?
        };
        let (mut id_token, mut refresh_token) = (None, None);
        if code.is_some() {
            id_token = Some(self.sign(&claims)?);
            refresh_token = Some(self.seal(claims)?);
        }
        serde_json::to_vec(&Tokens {
            access_token,
            token_type: "Bearer",
            expires_in: LIFETIME_SECONDS,
            scope,
            id_token,
            refresh_token,
        })
        .ok()
    }

    /// What a bearer token releases.
    pub(crate) fn userinfo(&self, authorization: &str) -> Option<Vec<u8>> {
        let payload = self.verify(authorization.strip_prefix("Bearer ")?)?;
        let claims: Claims<'_> = serde_json::from_slice(&payload).ok()?;
        (claims.exp > now() && claims.sub == self.person.sub).then_some(())?;
        serde_json::to_vec(&self.person).ok()
    }

    /// What a token says.
    pub(crate) fn introspect(&self, authorization: &str, token: &str) -> Option<Vec<u8>> {
        self.client(authorization)?;
        let payload = self.verify(token)?;
        let claims: Claims<'_> = serde_json::from_slice(&payload).ok()?;
        let answer = Introspection {
            active: claims.exp > now(),
            token_type: "Bearer",
            claims,
        };
        serde_json::to_vec(&answer).ok()
    }

    /// Where to send a browser that has a session.
    pub(crate) fn authorize(&self, cookie: &str, query: &CodeQuery) -> Option<String> {
        let (_, session) = cookie.split_once('=')?;
        let (payload, tag) = session.rsplit_once('.')?;
        hmac::verify(&self.session, payload.as_bytes(), &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        let code = Code {
            client_id: query.client_id.clone(),
            redirect_uri: query.redirect_uri.clone(),
            scope: query.scope.clone(),
            challenge: query.code_challenge.clone(),
            expires_at: now() + 60,
        };
        let code = self.seal(serde_json::to_vec(&code).ok()?)?;
        let mut location = url::Url::parse(&query.redirect_uri).ok()?;
        location
            .query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &query.state)
            .append_pair("iss", ISSUER);
        Some(location.into())
    }

    /// The client, once its secret is proven (`client_secret_basic`).
    fn client(&self, authorization: &str) -> Option<&'static str> {
        let credentials = STANDARD.decode(authorization.strip_prefix("Basic ")?).ok()?;
        let (id, secret) = std::str::from_utf8(&credentials).ok()?.split_once(':')?;
        let (id, expected) = self.clients.get_key_value(id)?;
        bool::from(sha256(secret).ct_eq(expected)).then_some(*id)
    }

    fn sign(&self, claims: &[u8]) -> Option<String> {
        let mut token = String::with_capacity(self.header.len() + claims.len() * 4 / 3 + 400);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = (self.signer)(token.as_bytes()).ok()?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Some(token)
    }

    fn verify(&self, token: &str) -> Option<Vec<u8>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header = URL_SAFE_NO_PAD.decode(header).ok()?;
        let header: Header<'_> = serde_json::from_slice(&header).ok()?;
        (header.alg == self.verifier.algorithm().name()).then_some(())?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        self.verifier.verify(signed.as_bytes(), &signature).ok()?;
        URL_SAFE_NO_PAD.decode(payload).ok()
    }

    fn seal(&self, mut value: Vec<u8>) -> Option<String> {
        let mut nonce = [0_u8; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let sealing = Nonce::assume_unique_for_key(nonce);
        self.seal
            .seal_in_place_append_tag(sealing, Aad::empty(), &mut value)
            .ok()?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut value);
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    fn open(&self, sealed: &str) -> Option<Vec<u8>> {
        let mut sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, value) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.seal.open_in_place(nonce, Aad::empty(), value).ok()?;
        Some(opened.to_vec())
    }
}

/// A cookie that [`Prototype::authorize`] takes for a session, of about the size of ours.
pub fn session_cookie() -> String {
    let payload = URL_SAFE_NO_PAD.encode([b's'; 300]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SESSION_KEY);
    let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key, payload.as_bytes()));
    format!("session={payload}.{tag}")
}

/// Signs as the product does, with the library that is quickest at it.
type Signer = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, Unspecified> + Send + Sync>;

fn key(shape: TokenShape) -> Result<(Signer, Box<dyn JwsVerifier>)> {
    fn parts(pair: &impl KeyPair) -> (Vec<u8>, Vec<u8>) {
        (pair.to_der_private_key(), pair.to_der_public_key())
    }
    let random = SystemRandom::new();
    Ok(match shape {
        TokenShape::Es256 | TokenShape::Opaque => {
            let (private, public) = parts(&ES256.generate_key_pair()?);
            let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &private)?;
            let signer: Signer = Box::new(move |message| Ok(key.sign(&random, message)?.as_ref().to_vec()));
            (signer, Box::new(ES256.verifier_from_der(public)?))
        }
        TokenShape::Eddsa => {
            let (private, public) = parts(&EdDSA.generate_key_pair(EdCurve::Ed25519)?);
            let key = Ed25519KeyPair::from_pkcs8(&private)?;
            let signer: Signer = Box::new(move |message| Ok(key.sign(message).as_ref().to_vec()));
            (signer, Box::new(EdDSA.verifier_from_der(public)?))
        }
        TokenShape::Rs256 => {
            let (private, public) = parts(&RS256.generate_key_pair(2048)?);
            let key = rsa::KeyPair::from_pkcs8(&private)?;
            let signer: Signer = Box::new(move |message| {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                Ok(signature)
            });
            (signer, Box::new(RS256.verifier_from_der(public)?))
        }
    })
}

fn claims<'a>(client: &'a str, scope: &'a str) -> Claims<'a> {
    let now = now();
    let mut id = [0_u8; 16];
    rand::rng().fill_bytes(&mut id);
    Claims {
        iss: ISSUER,
        sub: client,
        aud: "https://orders.example",
        client_id: client,
        exp: now + LIFETIME_SECONDS,
        iat: now,
        jti: URL_SAFE_NO_PAD.encode(id),
        scope,
    }
}

fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    hash
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic() -> String {
        format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{}", secret_of(CLIENT))))
    }

    fn form(text: &str) -> TokenForm {
        serde_json::from_value(serde_json::json!({"grant_type": text, "scope": "orders:read"})).unwrap()
    }

    #[test]
    fn its_tokens_are_verified_and_others_are_not() {
        for shape in [TokenShape::Es256, TokenShape::Eddsa, TokenShape::Rs256] {
            let prototype = Prototype::new(shape).unwrap();
            let answer = prototype.token(&basic(), &form("client_credentials")).unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
            let token = answer["access_token"].as_str().unwrap();
            assert!(prototype.userinfo(&format!("Bearer {token}")).is_some(), "{shape:?}");
            assert!(prototype.introspect(&basic(), token).is_some(), "{shape:?}");
            let other = Prototype::new(shape).unwrap();
            assert!(other.introspect(&basic(), token).is_none(), "{shape:?}");
            assert!(prototype.token("Basic YXBwOng=", &form("client_credentials")).is_none());
        }
    }

    #[test]
    fn its_codes_need_their_verifier() {
        let prototype = Prototype::new(TokenShape::Es256).unwrap();
        let query = CodeQuery {
            client_id: CLIENT.into(),
            redirect_uri: "https://app.example/callback".into(),
            scope: "openid".into(),
            state: "s".into(),
            code_challenge: URL_SAFE_NO_PAD.encode(sha256("verifier")),
        };
        assert!(prototype.authorize("session=x.y", &query).is_none());
        let location = prototype.authorize(&session_cookie(), &query).unwrap();
        let location = url::Url::parse(&location).unwrap();
        let code = location.query_pairs().find(|(name, _)| name == "code").unwrap().1;
        let redeem = |verifier: &str| {
            let form = TokenForm {
                code: code.to_string(),
                code_verifier: verifier.into(),
                ..form("authorization_code")
            };
            prototype.token(&basic(), &form)
        };
        assert!(redeem("verifier").is_some() && redeem("other").is_none());
    }
}
