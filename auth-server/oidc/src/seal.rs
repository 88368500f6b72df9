//! Sealed values: what only this fleet opens again, carried by browsers and clients instead of kept in a table.
//!
//! AES-256-GCM-SIV under a key derived per purpose and realm, so that a value of one purpose or realm is noise to any
//! other. What is inside, and when it expires, is the business of whoever seals it.

use std::sync::OnceLock;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroize as _;

use crate::Secret;
use crate::config::{KeyStage, SealingKey};
use crate::id::RealmId;

/// The version of the format, in front of every sealed value and authenticated with it.
const VERSION: u8 = 1;
const KID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const HEAD_BYTES: usize = 1 + KID_BYTES + NONCE_BYTES;
/// Characters of a sealed value that are looked at; longer ones are refused unread.
const MAX_CHARACTERS: usize = 64 * 1024;

/// What a sealed value is for. A value opens only for the purpose that it was sealed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Authorization codes.
    AuthorizationCode,
    /// Opaque access tokens.
    AccessToken,
    /// Refresh tokens.
    RefreshToken,
    /// A login in progress.
    LoginFlow,
    /// What a consent page is about.
    Consent,
    /// What a sign-out page is about.
    Logout,
    /// The cookie that says when a session was last used.
    Activity,
    /// A request that is carried across a redirect of our own.
    Request,
}

impl Purpose {
    const COUNT: usize = 8;

    const fn index(self) -> usize {
        match self {
            Self::AuthorizationCode => 0,
            Self::AccessToken => 1,
            Self::RefreshToken => 2,
            Self::LoginFlow => 3,
            Self::Consent => 4,
            Self::Logout => 5,
            Self::Activity => 6,
            Self::Request => 7,
        }
    }

    /// Goes into key derivation and associated data; never changes once used.
    const fn label(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization-code",
            Self::AccessToken => "access-token",
            Self::RefreshToken => "refresh-token",
            Self::LoginFlow => "login-flow",
            Self::Consent => "consent",
            Self::Logout => "logout",
            Self::Activity => "activity",
            Self::Request => "request",
        }
    }
}

/// Why a value was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The realm has no active sealing key.
    #[error("no active sealing key")]
    NoKey,
    /// The value does not serialise, or the cipher refused.
    #[error("the value cannot be sealed")]
    Failed,
}

/// A value that does not open. Deliberately says no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a value that this realm sealed for this purpose")]
pub struct OpenError;

/// Seals and opens the values of one realm. Derived keys are made on first use and kept.
pub struct Sealer {
    realm: RealmId,
    keys: Vec<DerivedKeys>,
}

struct DerivedKeys {
    kid: [u8; KID_BYTES],
    stage: KeyStage,
    secret: Secret<[u8; 32]>,
    /// By purpose. Most realms use few of them, or none.
    ciphers: [OnceLock<Option<Box<LessSafeKey>>>; Purpose::COUNT],
}

impl Sealer {
    /// A sealer with the keys of `realm`. Keys whose id is not 8 bytes are never used.
    pub fn new(realm: RealmId, keys: &[SealingKey]) -> Self {
        let keys = keys
            .iter()
            .filter_map(|key| {
                Some(DerivedKeys {
                    kid: key.kid.as_bytes().try_into().ok()?,
                    stage: key.stage,
                    secret: key.secret.clone(),
                    ciphers: Default::default(),
                })
            })
            .collect();
        Self { realm, keys }
    }

    /// Seals `value`: URL-safe text that [`Sealer::open`] accepts for the same purpose, realm and key.
    pub fn seal<T: Serialize>(
        &self,
        purpose: Purpose,
        value: &T,
        rng: &mut (impl rand::CryptoRng + ?Sized),
    ) -> Result<String, SealError> {
        let key = self
            .keys
            .iter()
            .find(|key| key.stage == KeyStage::Active)
            .ok_or(SealError::NoKey)?;
        let cipher = key.cipher(purpose, self.realm).ok_or(SealError::Failed)?;
        let mut nonce = [0_u8; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let mut sealed = Vec::with_capacity(512);
        sealed.push(VERSION);
        sealed.extend_from_slice(&key.kid);
        sealed.extend_from_slice(&nonce);
        let mut content = serde_json::to_vec(value).map_err(|_| SealError::Failed)?;
        cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.associated_data(purpose)),
                &mut content,
            )
            .map_err(|_| SealError::Failed)?;
        sealed.append(&mut content);
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`Sealer::seal`] made, with any key that the realm still has.
    pub fn open<T: DeserializeOwned>(&self, purpose: Purpose, sealed: &str) -> Result<T, OpenError> {
        if sealed.len() > MAX_CHARACTERS {
            return Err(OpenError);
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| OpenError)?;
        let (head, content) = bytes.split_at_mut_checked(HEAD_BYTES).ok_or(OpenError)?;
        let (version, head) = head.split_first().ok_or(OpenError)?;
        let (kid, nonce) = head.split_at_checked(KID_BYTES).ok_or(OpenError)?;
        if *version != VERSION {
            return Err(OpenError);
        }
        let key = self.keys.iter().find(|key| key.kid == kid).ok_or(OpenError)?;
        let cipher = key.cipher(purpose, self.realm).ok_or(OpenError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError)?;
        let content = cipher
            .open_in_place(nonce, Aad::from(self.associated_data(purpose)), content)
            .map_err(|_| OpenError)?;
        let opened = serde_json::from_slice(content).map_err(|_| OpenError);
        bytes.zeroize();
        opened
    }

    fn associated_data(&self, purpose: Purpose) -> Vec<u8> {
        [
            &[VERSION],
            self.realm.0.as_bytes().as_slice(),
            purpose.label().as_bytes(),
        ]
        .concat()
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("realm", &self.realm)
            .finish_non_exhaustive()
    }
}

impl DerivedKeys {
    fn cipher(&self, purpose: Purpose, realm: RealmId) -> Option<&LessSafeKey> {
        self.ciphers
            .get(purpose.index())?
            .get_or_init(|| {
                let mut key = derive(self.secret.expose(), realm, purpose.label())?;
                let unbound = UnboundKey::new(&AES_256_GCM_SIV, &key).ok();
                key.zeroize();
                unbound.map(|key| Box::new(LessSafeKey::new(key)))
            })
            .as_deref()
    }
}

/// HKDF-SHA256 (RFC 5869) of a realm's sealing key: 256 bits for one purpose of one realm.
pub(crate) fn derive(secret: &[u8; 32], realm: RealmId, purpose: &str) -> Option<[u8; 32]> {
    let info = ["nauthera/1/".as_bytes(), purpose.as_bytes()];
    let mut key = [0_u8; 32];
    Salt::new(HKDF_SHA256, realm.0.as_bytes())
        .extract(secret)
        .expand(&info, HKDF_SHA256)
        .ok()?
        .fill(&mut key)
        .ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    const PURPOSES: [Purpose; Purpose::COUNT] = [
        Purpose::AuthorizationCode,
        Purpose::AccessToken,
        Purpose::RefreshToken,
        Purpose::LoginFlow,
        Purpose::Consent,
        Purpose::Logout,
        Purpose::Activity,
        Purpose::Request,
    ];

    fn key(kid: &str, stage: KeyStage, fill: u8) -> SealingKey {
        SealingKey {
            kid: kid.into(),
            stage,
            secret: Secret::new([fill; 32]),
        }
    }

    fn sealer(issuer: &str) -> Sealer {
        Sealer::new(RealmId::of_issuer(issuer), &[key("sealkey1", KeyStage::Active, 7)])
    }

    #[test]
    fn purposes_have_their_own_places_and_labels() {
        for (index, purpose) in PURPOSES.iter().enumerate() {
            assert_eq!(purpose.index(), index);
        }
        let labels: std::collections::BTreeSet<_> = PURPOSES.iter().map(|purpose| purpose.label()).collect();
        assert_eq!(labels.len(), PURPOSES.len());
    }

    #[test]
    fn a_value_of_another_purpose_is_refused() {
        let sealer = sealer("https://a.example");
        for purpose in PURPOSES {
            let text = sealer.seal(purpose, &"x", &mut testing::rng()).unwrap();
            for other in PURPOSES {
                assert_eq!(sealer.open::<String>(other, &text).is_ok(), purpose == other);
            }
        }
    }

    #[test]
    fn a_value_of_another_realm_is_refused_even_under_the_same_secret() {
        let sealed = sealer("https://a.example")
            .seal(Purpose::Activity, &"x", &mut testing::rng())
            .unwrap();
        assert_eq!(
            sealer("https://b.example").open::<String>(Purpose::Activity, &sealed),
            Err(OpenError)
        );
    }

    #[test]
    fn keys_rotate_without_losing_values_until_the_old_key_is_gone() {
        let realm = RealmId::of_issuer("https://a.example");
        let old = Sealer::new(
            realm,
            &[
                key("sealkey1", KeyStage::Active, 1),
                key("sealkey2", KeyStage::Published, 2),
            ],
        );
        let new = Sealer::new(
            realm,
            &[
                key("sealkey2", KeyStage::Active, 2),
                key("sealkey1", KeyStage::Retired, 1),
            ],
        );
        let gone = Sealer::new(realm, &[key("sealkey2", KeyStage::Active, 2)]);
        let before = old.seal(Purpose::Activity, &1, &mut testing::rng()).unwrap();
        let after = new.seal(Purpose::Activity, &2, &mut testing::rng()).unwrap();
        assert_eq!(new.open(Purpose::Activity, &before), Ok(1));
        assert_eq!(old.open(Purpose::Activity, &after), Ok(2));
        assert_eq!(gone.open::<i32>(Purpose::Activity, &before), Err(OpenError));
    }

    #[test]
    fn nothing_is_sealed_without_an_active_key() {
        let sealer = Sealer::new(
            RealmId::of_issuer("https://a.example"),
            &[
                key("sealkey1", KeyStage::Published, 1),
                key("short", KeyStage::Active, 1),
            ],
        );
        assert_eq!(
            sealer.seal(Purpose::Activity, &1, &mut testing::rng()),
            Err(SealError::NoKey)
        );
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_to_the_same_value(value in ".{0,200}", seed in any::<u64>()) {
            let sealer = sealer("https://a.example");
            let sealed = sealer.seal(Purpose::LoginFlow, &value, &mut testing::seeded(seed)).unwrap();
            prop_assert_eq!(sealer.open::<String>(Purpose::LoginFlow, &sealed), Ok(value));
        }

        #[test]
        fn a_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let sealer = sealer("https://a.example");
            let sealed = sealer.seal(Purpose::LoginFlow, &"value", &mut testing::rng()).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(sealer.open::<String>(Purpose::LoginFlow, &URL_SAFE_NO_PAD.encode(&bytes)), Err(OpenError));
        }

        #[test]
        fn a_truncated_value_is_refused(keep in any::<prop::sample::Index>()) {
            let sealer = sealer("https://a.example");
            let sealed = sealer.seal(Purpose::LoginFlow, &"value", &mut testing::rng()).unwrap();
            let keep = keep.index(sealed.len());
            prop_assert_eq!(sealer.open::<String>(Purpose::LoginFlow, &sealed[..keep]), Err(OpenError));
        }

        #[test]
        fn any_text_is_refused_without_panic(text in ".{0,200}") {
            prop_assert_eq!(sealer("https://a.example").open::<String>(Purpose::LoginFlow, &text), Err(OpenError));
        }
    }
}
