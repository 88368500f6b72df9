//! Wire form of a realm's keys.

use oidc::Secret;
use oidc::config;
use oidc::id::RealmId;
use serde::{Deserialize, Serialize};

use super::{Bytes, ResourceError, WireAlgorithm, check, is_line};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Keys {
    realm: RealmId,
    signing: Vec<Signing>,
    sealing: Vec<Sealing>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Signing {
    kid: String,
    algorithm: WireAlgorithm,
    stage: Stage,
    private: Option<Bytes>,
    public: Bytes,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sealing {
    kid: String,
    stage: Stage,
    secret: Bytes,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Stage {
    Published,
    Active,
    Retired,
}

impl From<&config::KeySet> for Keys {
    fn from(keys: &config::KeySet) -> Self {
        let config::KeySet {
            realm,
            signing,
            sealing,
        } = keys;
        Self {
            realm: *realm,
            signing: signing.iter().map(Into::into).collect(),
            sealing: sealing.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<Keys> for config::KeySet {
    type Error = ResourceError;

    fn try_from(wire: Keys) -> Result<Self, ResourceError> {
        let Keys {
            realm,
            signing,
            sealing,
        } = wire;
        // By way of slices, which have no room to spare.
        let signing: Box<[config::SigningKey]> =
            signing.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        let sealing: Box<[config::SealingKey]> =
            sealing.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        check(distinct(signing.iter().map(|key| key.kid.as_str())), "keys.signing.kid")?;
        check(distinct(sealing.iter().map(|key| key.kid.as_str())), "keys.sealing.kid")?;
        Ok(Self {
            realm,
            signing: signing.into(),
            sealing: sealing.into(),
        })
    }
}

fn distinct<'a>(kids: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    kids.into_iter().all(|kid| seen.insert(kid))
}

impl From<&config::SigningKey> for Signing {
    fn from(key: &config::SigningKey) -> Self {
        let config::SigningKey {
            kid,
            algorithm,
            stage,
            private,
            public,
        } = key;
        Self {
            kid: kid.clone(),
            algorithm: (*algorithm).into(),
            stage: (*stage).into(),
            private: private.as_ref().map(|private| Bytes(private.expose().clone())),
            public: Bytes(public.clone()),
        }
    }
}

impl TryFrom<Signing> for config::SigningKey {
    type Error = ResourceError;

    fn try_from(wire: Signing) -> Result<Self, ResourceError> {
        let Signing {
            kid,
            algorithm,
            stage,
            private,
            public,
        } = wire;
        check(!kid.is_empty() && is_line(&kid, 128), "keys.signing.kid")?;
        check(!public.0.is_empty(), "keys.signing.public")?;
        check(
            private.as_ref().is_none_or(|private| !private.0.is_empty()),
            "keys.signing.private",
        )?;
        Ok(Self {
            kid,
            algorithm: algorithm.into(),
            stage: stage.into(),
            private: private.map(|private| Secret::new(private.0)),
            public: public.0,
        })
    }
}

impl From<&config::SealingKey> for Sealing {
    fn from(key: &config::SealingKey) -> Self {
        let config::SealingKey { kid, stage, secret } = key;
        Self {
            kid: kid.clone(),
            stage: (*stage).into(),
            secret: Bytes(secret.expose().to_vec()),
        }
    }
}

impl TryFrom<Sealing> for config::SealingKey {
    type Error = ResourceError;

    fn try_from(wire: Sealing) -> Result<Self, ResourceError> {
        let Sealing { kid, stage, secret } = wire;
        check(
            kid.len() == 8 && kid.bytes().all(|byte| byte.is_ascii_graphic()),
            "keys.sealing.kid",
        )?;
        let secret = <[u8; 32]>::try_from(secret.0).map_err(|_| ResourceError::Invalid {
            field: "keys.sealing.secret",
        })?;
        Ok(Self {
            kid,
            stage: stage.into(),
            secret: Secret::new(secret),
        })
    }
}

impl From<config::KeyStage> for Stage {
    fn from(stage: config::KeyStage) -> Self {
        match stage {
            config::KeyStage::Published => Self::Published,
            config::KeyStage::Active => Self::Active,
            config::KeyStage::Retired => Self::Retired,
        }
    }
}

impl From<Stage> for config::KeyStage {
    fn from(wire: Stage) -> Self {
        match wire {
            Stage::Published => Self::Published,
            Stage::Active => Self::Active,
            Stage::Retired => Self::Retired,
        }
    }
}
