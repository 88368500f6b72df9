//! Authorities and certificates of operators and fleets: the leader writes what is due of them.

use oidc::Timestamp;

use super::trouble::Part;
use super::{Delivery, DeliveryError, owner};
use crate::apply::Applier;
use crate::build::peers::{self, FleetPeers};
use crate::pki::{PkiError, Succession};
use crate::publish::FleetAcks;
use crate::world::{ObjectKey, World};

impl Delivery {
    /// Looks after authorities and certificates: the leader, with every world. Writes only what is due. The next
    /// [`Delivery::observe`] takes what was written.
    pub async fn keep_peers(&mut self, world: &World, applier: &Applier, now: Timestamp) -> Result<(), DeliveryError> {
        let operators = match self.keep_operators(world, applier, now).await {
            Ok(Some(operators)) => operators,
            Ok(None) => return Ok(()),
            Err(error) => {
                // Without the operators' authority no fleet gets its certificates.
                for key in world.auth_servers.keys() {
                    self.note(key, Part::Peers, &error);
                }
                return Err(error);
            }
        };
        let mut first_error = None;
        for (key, server) in &world.auth_servers {
            let Some(owner) = owner(world, key) else {
                continue;
            };
            let fleet = FleetPeers {
                owner: &owner,
                peer_tls: &server.spec.peer_tls,
            };
            let seen = |key: &ObjectKey| self.secrets.seen(world, key);
            let writes = peers::fleet_writes(&self.namespace, &fleet, &operators, seen, now);
            let outcome = match writes.map_err(pki(&key.to_string())) {
                Ok(writes) => self.put_all(applier, writes).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(_) => self.troubles.clear(key, Part::Peers),
                // One fleet's trouble is not another's.
                Err(error) => {
                    self.note(key, Part::Peers, &error);
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Looks after the operators' authority; `None` while there is none to see.
    async fn keep_operators(
        &mut self,
        world: &World,
        applier: &Applier,
        now: Timestamp,
    ) -> Result<Option<Succession>, DeliveryError> {
        let acks = self.acks().borrow().clone();
        let reported: Vec<_> = acks.fleets.values().flat_map(FleetAcks::bundles).collect();
        let key = peers::operator_authority_secret(&self.namespace);
        let seen = self.secrets.seen(world, &key);
        let write = peers::operator_write(&self.namespace, seen, &reported, now).map_err(pki("operators"))?;
        if let Some(write) = write {
            self.put(applier, write).await?;
        }
        self.operators(world).transpose().map_err(pki("operators"))
    }

    /// The operators' authority; `None` while there is none.
    fn operators(&self, world: &World) -> Option<Result<Succession, PkiError>> {
        let key = peers::operator_authority_secret(&self.namespace);
        Some(peers::authority(&self.secrets.seen(world, &key)?.object))
    }
}

fn pki(subject: &str) -> impl FnOnce(PkiError) -> DeliveryError + use<> {
    let subject = subject.to_owned();
    move |source| DeliveryError::Pki { subject, source }
}
