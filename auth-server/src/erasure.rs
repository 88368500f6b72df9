//! Erases what a realm leaves behind: its rows, a day after it is gone, where `deletionPolicy: Delete` asks for it.
//!
//! Which realms are gone stands in the files of the configuration. They are read again each hour, which is simpler than to
//! remember them and never trusts an old mount; [`config_feed`] says nothing while there is doubt about them. Whatever is
//! in doubt here postpones, and a tombstone lives for months. Nothing is erased while this server is not ready (its
//! clock disagrees with the database's), while a mass loss is held back, or while somebody uses the realm on another
//! fleet of the same database. An empty configuration is one like any other: it is served only when it is meant.
//!
//! Everything is looked at anew before each batch. What that gives up: a realm that is applied again while it is being
//! erased has lost what went before, and what the batch takes that runs when this server hears of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use oidc::Timestamp;
use oidc::id::RealmId;
use oidc::served::Served;
use oidc::store::StoreError;
use tokio_util::task::AbortOnDropHandle;

use crate::clock;
use crate::config_feed::{self, Gone};
use crate::health::Readiness;
use crate::metrics::Erasures;
use crate::store::Database;

/// How long the rows of a realm that is gone stay, in case that it comes back.
const GRACE: Duration = Duration::from_hours(24);
/// Between two looks at the files.
const EVERY: Duration = Duration::from_hours(1);
/// Before the next look when there was doubt. Only the smallest of the files is read while there is.
const SOON: Duration = Duration::from_secs(5);
/// Before the next look when the database did not do what it should.
const AFTER_FAILURE: Duration = Duration::from_mins(1);
/// Between two batches.
const PAUSE: Duration = Duration::from_millis(500);
/// Rows of one batch.
const BATCH: u32 = 1000;

/// What erases, and what it looks at before.
pub(crate) struct Eraser {
    pub(crate) config: Arc<config_feed::Handle>,
    pub(crate) database: Arc<dyn Database>,
    pub(crate) readiness: Readiness,
    pub(crate) erasures: Erasures,
}

/// An eraser at work; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Erasure {
    _task: AbortOnDropHandle<()>,
}

/// How erasing one realm ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing is left.
    Complete,
    /// Somebody uses the realm.
    Used,
    /// Something is not as it was; the realm may be back.
    Doubt,
}

/// The realms whose rows are to be erased `now`.
fn due(gone: &Gone, served: &Served, now: Timestamp) -> Vec<RealmId> {
    // Whoever holds a mass loss back may have lost by mistake what went just before, too.
    if gone.manifest.shrink.is_some() {
        return Vec::new();
    }
    let due = gone.tombstones.iter().filter(|(realm, tombstone)| {
        // A moment that is still to come is no time ago.
        tombstone.erase && now.since(tombstone.since) >= GRACE && !served.knows(**realm)
    });
    due.map(|(realm, _)| *realm).collect()
}

impl Eraser {
    /// Starts on the database's own runtime.
    pub(crate) fn start(self) -> Erasure {
        let runtime = self.database.runtime().clone();
        let run = async move {
            loop {
                tokio::time::sleep(self.round().await).await;
            }
        };
        Erasure {
            _task: AbortOnDropHandle::new(runtime.spawn(run)),
        }
    }

    /// Erases what is due. Gives the time to wait before the next round.
    async fn round(&self) -> Duration {
        if !self.is_ready() {
            return SOON;
        }
        let Some(gone) = self.config.gone().await else {
            return SOON;
        };
        let due = due(&gone, &self.config.served().load(), clock::now());
        for realm in due {
            match self.erase(realm, &gone).await {
                Ok(End::Complete | End::Used) => tokio::time::sleep(PAUSE).await,
                Ok(End::Doubt) => return SOON,
                Err(error) => {
                    tracing::debug!(%error, %realm, "rows of a realm that is gone stay for now");
                    return AFTER_FAILURE;
                }
            }
        }
        EVERY
    }

    fn is_ready(&self) -> bool {
        self.readiness.report().not_ready.is_empty()
    }

    async fn erase(&self, realm: RealmId, gone: &Gone) -> Result<End, StoreError> {
        if self.database.is_used_since(realm, clock::now().before(GRACE)).await? {
            tracing::warn!(%realm, "rows of a realm that is gone stay: it is in use, on another fleet of this database");
            return Ok(End::Used);
        }
        let mut rows = BTreeMap::new();
        let end = self.erase_in_batches(realm, gone, &mut rows).await;
        if !rows.is_empty() {
            let is_complete = matches!(end, Ok(End::Complete));
            self.erasures.realms.inc_by(is_complete.into());
            tracing::info!(%realm, ?rows, is_complete, "erasing a realm that is gone ended");
        }
        end
    }

    /// Erases until nothing is left, or something is not as it was. Adds what went to `rows`, by table.
    async fn erase_in_batches(
        &self,
        realm: RealmId,
        gone: &Gone,
        rows: &mut BTreeMap<&'static str, u64>,
    ) -> Result<End, StoreError> {
        loop {
            let is_due = due(gone, &self.config.served().load(), clock::now()).contains(&realm);
            if !is_due || !self.is_ready() || !self.config.is_still_gone(gone).await {
                return Ok(End::Doubt);
            }
            let erased = self.database.erase(realm, BATCH).await?;
            if rows.is_empty() && !erased.rows.is_empty() {
                let name = gone.tombstones.get(&realm).map(|tombstone| &tombstone.name);
                tracing::info!(%realm, name, rows = ?erased.rows, "erasing a realm that is gone began");
            }
            for (table, number) in erased.rows {
                self.erasures.rows.inc_by(number);
                *rows.entry(table).or_default() += number;
            }
            if erased.is_complete {
                return Ok(End::Complete);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use oidc::config::Resource;
    use oidc::served::Change;
    use oidc::testing::{self, ISSUER, NOW};
    use snapshot::{Counts, Hash, Head, Manifest, SCHEMA, ServerVersion, ShrinkGuard, Tombstone};

    use super::*;

    /// What stands in the files of a fleet of which one realm is gone.
    fn gone(since: Timestamp, erase: bool) -> Gone {
        let tombstone = Tombstone {
            issuer: ISSUER.to_owned(),
            name: "identity/acme".to_owned(),
            since,
            erase,
        };
        Gone {
            manifest: Manifest {
                schema: SCHEMA,
                minimum_server: ServerVersion::current(),
                fleet: "demo/main".parse().unwrap(),
                head: Head {
                    epoch: 1,
                    generation: 1,
                },
                content: Hash::of(b""),
                empty: true,
                counts: Counts::default(),
                shrink: None,
                recent: None,
                shards: BTreeMap::new(),
            },
            tombstones: BTreeMap::from([(RealmId::of_issuer(ISSUER), tombstone)]),
        }
    }

    #[test]
    fn a_realm_is_due_a_day_after_it_is_gone_and_never_while_anything_of_it_is_served() {
        let hours = |hours| NOW.before(Duration::from_hours(hours));
        let nothing = Served::default();
        let realm = Change::Put(Box::new(Resource::Realm(testing::realm())));
        let keys = Change::Put(Box::new(Resource::Keys(testing::key_set(ISSUER))));
        let client = Change::Put(Box::new(Resource::Client(testing::client("app"))));
        let whole = Served::default().with(vec![realm.clone(), keys.clone()]);
        let another = testing::realm_of("https://other.example");
        let other = Served::default().with(vec![Change::Put(Box::new(Resource::Realm(another)))]);
        let waiting = |change| Served::default().with(vec![change]);
        let mut held_back = gone(hours(25), true);
        held_back.manifest.shrink = Some(ShrinkGuard {
            since: NOW,
            realms: 20,
            clients: 0,
            spent_confirmation: false,
        });
        let nearly = hours(24).after(Duration::from_millis(1));
        let long_ago = Timestamp::from_unix_millis(i64::MIN);
        let never = Timestamp::from_unix_millis(i64::MAX);
        for (case, gone, served, expected) in [
            ("a day and an hour", gone(hours(25), true), &nothing, true),
            ("a day to the millisecond", gone(hours(24), true), &nothing, true),
            ("a millisecond less", gone(nearly, true), &nothing, false),
            ("just now", gone(NOW, true), &nothing, false),
            ("a clock that was ahead", gone(NOW.after(GRACE), true), &nothing, false),
            ("the end of time", gone(never, true), &nothing, false),
            ("the beginning of time", gone(long_ago, true), &nothing, true),
            ("Retain", gone(hours(2000), false), &nothing, false),
            ("a mass loss is held", held_back, &nothing, false),
            ("it is back", gone(hours(25), true), &whole, false),
            ("its rules are back", gone(hours(25), true), &waiting(realm), false),
            ("its keys are back", gone(hours(25), true), &waiting(keys), false),
            ("a client of it is back", gone(hours(25), true), &waiting(client), false),
            ("another one is served", gone(hours(25), true), &other, true),
        ] {
            assert_eq!(!due(&gone, served, NOW).is_empty(), expected, "{case}");
        }
    }
}
