//! Whether the keys of a realm do what is expected of them: what a private key signs verifies under the public key that
//! is published with it. Shown by doing so, with the code that signs and verifies tokens.

use crate::config::{KeySet, KeyStage, SigningKey};
use crate::jose::{Compact, Signer, TokenType, UnusableKey, Verifier};

/// A key of a realm that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Nothing can be verified with it.
    #[error("{algorithm} key {kid}: the public key cannot be read")]
    Public {
        /// Its algorithm.
        algorithm: &'static str,
        /// Its id.
        kid: String,
    },
    /// It does not load, or belongs to another public key than the one beside it.
    #[error("{algorithm} key {kid}: the private key cannot be read, or does not belong to the public key beside it")]
    Private {
        /// Its algorithm.
        algorithm: &'static str,
        /// Its id.
        kid: String,
    },
}

/// Tries every signing key of a set that differs from the one in `proven`, whatever its stage: one that is only
/// published is going to sign. Each costs about as much as a login's tokens: 1 to 3 ms.
pub fn prove(set: &KeySet, proven: Option<&KeySet>) -> Result<(), KeyFault> {
    let is_proven = |key: &SigningKey| {
        let mut known = proven.into_iter().flat_map(|set| &set.signing);
        known.any(|known| is_same_pair(known, key))
    };
    set.signing.iter().filter(|key| !is_proven(key)).try_for_each(prove_key)
}

/// Whether `key` can do nothing that `known` was not tried for.
fn is_same_pair(known: &SigningKey, key: &SigningKey) -> bool {
    let is_tried = match (&key.private, key.stage) {
        (None, stage) => stage != KeyStage::Active,
        (private, _) => *private == known.private,
    };
    is_tried && known.algorithm == key.algorithm && known.public == key.public
}

fn prove_key(key: &SigningKey) -> Result<(), KeyFault> {
    let (algorithm, kid) = (key.algorithm.name(), &key.kid);
    let verifier = Verifier::from_spki(key.algorithm, &key.public).map_err(|UnusableKey| KeyFault::Public {
        algorithm,
        kid: kid.clone(),
    })?;
    let signs = match (&key.private, key.stage) {
        (Some(private), _) => signs_for(key, private.expose(), &verifier),
        (None, KeyStage::Active) => false,
        (None, KeyStage::Published | KeyStage::Retired) => true,
    };
    signs.then_some(()).ok_or_else(|| KeyFault::Private {
        algorithm,
        kid: kid.clone(),
    })
}

fn signs_for(key: &SigningKey, private: &[u8], verifier: &Verifier) -> bool {
    let signed = Signer::new(key.algorithm, &key.kid, private)
        .and_then(|signer| signer.sign(TokenType::AccessToken, b"{}"))
        .ok();
    signed.is_some_and(|token| Compact::parse(&token).is_ok_and(|token| token.verify(verifier).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use crate::config::SignatureAlgorithm;
    use crate::key_generation::generate_signing_key;
    use crate::testing;

    fn set(key: SigningKey) -> KeySet {
        KeySet {
            realm: testing::realm().id,
            signing: vec![key],
            sealing: Vec::new(),
        }
    }

    fn active(algorithm: SignatureAlgorithm) -> SigningKey {
        SigningKey {
            stage: KeyStage::Active,
            ..generate_signing_key(algorithm).unwrap()
        }
    }

    #[test]
    fn a_generated_key_of_every_algorithm_is_good() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(prove(&set(active(algorithm)), None), Ok(()), "{algorithm:?}");
        }
    }

    #[test]
    fn a_private_key_that_is_garbage_missing_or_of_another_pair_is_found() {
        for algorithm in SignatureAlgorithm::ALL {
            let good = active(algorithm);
            let mut torn = good.private.clone().unwrap().expose().clone();
            torn.truncate(torn.len() - 1);
            let others = [
                Some(Secret::new(b"garbage".to_vec())),
                Some(Secret::new(torn)),
                active(algorithm).private,
                None,
            ];
            for private in others {
                let bad = set(SigningKey {
                    private,
                    ..good.clone()
                });
                let fault = prove(&bad, None).unwrap_err();
                assert!(
                    matches!(&fault, KeyFault::Private { kid, .. } if *kid == good.kid),
                    "{fault}"
                );
                // A good pair of the same name proves nothing about it.
                assert_eq!(prove(&bad, Some(&set(good.clone()))), Err(fault));
            }
        }
    }

    #[test]
    fn a_key_of_another_algorithm_is_found() {
        let bad = SigningKey {
            algorithm: SignatureAlgorithm::EdDsa,
            ..active(SignatureAlgorithm::Es256)
        };
        assert!(matches!(prove(&set(bad), None), Err(KeyFault::Public { .. })));
    }

    #[test]
    fn a_key_that_only_verifies_needs_no_private_half_but_a_public_one() {
        let retired = SigningKey {
            stage: KeyStage::Retired,
            private: None,
            ..active(SignatureAlgorithm::Es256)
        };
        assert_eq!(prove(&set(retired.clone()), None), Ok(()));
        let bad = SigningKey {
            public: b"garbage".to_vec(),
            ..retired
        };
        let fault = prove(&set(bad.clone()), None).unwrap_err();
        assert_eq!(
            fault.to_string(),
            format!("ES256 key {}: the public key cannot be read", bad.kid)
        );
    }

    #[test]
    fn what_was_proven_is_not_tried_again() {
        // Both are garbage, so that trying would show.
        let known = SigningKey {
            kid: "a".to_owned(),
            algorithm: SignatureAlgorithm::Es256,
            stage: KeyStage::Published,
            private: Some(Secret::new(vec![1])),
            public: vec![2],
        };
        let activated = SigningKey {
            stage: KeyStage::Active,
            ..known.clone()
        };
        let retired = SigningKey {
            stage: KeyStage::Retired,
            private: None,
            ..known.clone()
        };
        for next in [activated, retired] {
            assert_eq!(prove(&set(next.clone()), Some(&set(known.clone()))), Ok(()));
            assert!(prove(&set(next), None).is_err());
        }
    }
}
