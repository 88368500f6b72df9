//! Values of the right shape that nobody may use, for judging a folder as if everything was generated already.

use std::convert::{AsRef, Infallible};

use oidc::Timestamp;
use oidc::config::{KeyStage, SignatureAlgorithm, SigningKey};

use super::{client, realm};
use crate::resolve::Resolution;
use crate::world::World;

/// Fills in what the resolution names as missing.
pub(crate) fn fill(world: &mut World, resolution: &Resolution) {
    let signing_key = |algorithm: SignatureAlgorithm| {
        Ok::<_, Infallible>(SigningKey {
            kid: format!("placeholder-{}", algorithm.name()),
            algorithm,
            stage: KeyStage::Published,
            private: Some(oidc::Secret::new(vec![0])),
            public: vec![0],
        })
    };
    for missing in &resolution.missing_keys {
        let present = world.secrets.get(&missing.secret).map(AsRef::as_ref);
        let Ok(secret) = realm::with_keys(missing, present, Timestamp::from_unix_seconds(0), signing_key);
        world.secrets.insert(missing.secret.clone(), secret.into());
    }
    for missing in &resolution.missing_client_secrets {
        let secret = client::new_secret(missing, Timestamp::from_unix_seconds(0));
        world.secrets.insert(missing.secret.clone(), secret.into());
    }
}
