//! What the status of each kind shows beside its conditions.

use crds::auth_server::AuthServerStatus;
use crds::client::ClientStatus;
use crds::realm::{RealmStatus, SigningKeyStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Serialize;

use crate::resolve::Details;

/// The status of a kind.
pub(super) trait Shown: Clone + Default + PartialEq + Serialize {
    fn observed_generation(&mut self) -> &mut i64;
    fn conditions(&mut self) -> &mut Vec<Condition>;
    fn observed(&self) -> i64;
    fn said(&self) -> &[Condition];
    /// Whether it shows what the verdict knows.
    fn shows(&self, details: &Details) -> bool;
    /// Takes over what the verdict knows. `before` is what was shown until now.
    fn show(&mut self, details: &Details, before: &Self, now: jiff::Timestamp);
}

macro_rules! bookkeeping {
    () => {
        fn observed_generation(&mut self) -> &mut i64 {
            &mut self.observed_generation
        }

        fn conditions(&mut self) -> &mut Vec<Condition> {
            &mut self.conditions
        }

        fn observed(&self) -> i64 {
            self.observed_generation
        }

        fn said(&self) -> &[Condition] {
            &self.conditions
        }
    };
}

impl Shown for AuthServerStatus {
    bookkeeping!();

    fn shows(&self, details: &Details) -> bool {
        let Details::AuthServer {
            replicas,
            realms,
            clients,
            configuration,
            version,
        } = details
        else {
            return true;
        };
        self.replicas.as_ref() == Some(replicas)
            && self.realms == Some(*realms)
            && self.clients == Some(*clients)
            && self.configuration.as_ref() == Some(configuration)
            && self.version == *version
    }

    fn show(&mut self, details: &Details, _: &Self, _: jiff::Timestamp) {
        if let Details::AuthServer {
            replicas,
            realms,
            clients,
            configuration,
            version,
        } = details
        {
            self.replicas = Some(replicas.clone());
            self.realms = Some(*realms);
            self.clients = Some(*clients);
            self.configuration = Some(configuration.clone());
            self.version.clone_from(version);
        }
    }
}

impl Shown for RealmStatus {
    bookkeeping!();

    fn shows(&self, details: &Details) -> bool {
        let Details::Realm {
            realm_id,
            config,
            signing_keys,
        } = details
        else {
            return true;
        };
        let shown = self.signing_keys.iter().map(|key| (&key.kid, key.algorithm, key.stage));
        self.realm_id == *realm_id
            && self.config == *config
            && shown.eq(signing_keys
                .iter()
                .map(|(kid, algorithm, stage)| (kid, *algorithm, *stage)))
    }

    fn show(&mut self, details: &Details, before: &Self, now: jiff::Timestamp) {
        if let Details::Realm {
            realm_id,
            config,
            signing_keys,
        } = details
        {
            self.realm_id.clone_from(realm_id);
            self.config.clone_from(config);
            let keys = signing_keys.iter().map(|(kid, algorithm, stage)| {
                let same = |key: &&SigningKeyStatus| key.kid == *kid && key.stage == *stage;
                let since = before.signing_keys.iter().find(same).map(|key| key.since.clone());
                SigningKeyStatus {
                    kid: kid.clone(),
                    algorithm: *algorithm,
                    stage: *stage,
                    since: since.unwrap_or(Time(now)),
                }
            });
            self.signing_keys = keys.collect();
        }
    }
}

impl Shown for ClientStatus {
    bookkeeping!();

    fn shows(&self, details: &Details) -> bool {
        let Details::Client {
            client_id,
            issuer,
            secret,
            effective,
            config,
        } = details
        else {
            return true;
        };
        self.client_id == *client_id
            && self.issuer == *issuer
            && self.secret == *secret
            && self.effective == *effective
            && self.config == *config
    }

    fn show(&mut self, details: &Details, _: &Self, _: jiff::Timestamp) {
        if let Details::Client {
            client_id,
            issuer,
            secret,
            effective,
            config,
        } = details
        {
            self.client_id.clone_from(client_id);
            self.issuer.clone_from(issuer);
            self.secret.clone_from(secret);
            self.effective.clone_from(effective);
            self.config.clone_from(config);
        }
    }
}
