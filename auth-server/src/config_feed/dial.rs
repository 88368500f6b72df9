//! Whom to dial: every address behind the operators' name, looked up again and again, each in a task of its own.
//!
//! An operator that joins is found within seconds, and at once when no other is left. An address that the name has lost
//! is given up some time after its stream has ended.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ConfigFeed;
use super::stream::{End, chain, converse};

/// How often names are looked up again while an operator is connected, to find others that joined.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long an address is tried again and again within [`super::Settings::backoff_first`] after it was lost, whether
/// its name has it or not: a container that is started again is back in seconds, and sooner than its name.
const EXPECTED_BACK: Duration = Duration::from_secs(20);

/// Counts the first attempts that have not ended yet.
#[derive(Debug)]
struct FirstDials(AtomicUsize);

impl FirstDials {
    fn add(&self, count: usize) {
        self.0.fetch_add(count, Ordering::SeqCst);
    }

    /// Ends one; when it was the last, nobody is left to wait for.
    fn end(&self, feed: &ConfigFeed) {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            feed.settle();
        }
    }
}

/// The addresses of one name.
#[derive(Debug, Default)]
struct Addresses(Mutex<HashMap<SocketAddr, bool>>);

impl Addresses {
    /// Takes what a look-up found. The addresses that nobody dials yet; from now on somebody does.
    fn found(&self, found: &HashSet<SocketAddr>) -> Vec<SocketAddr> {
        let mut dialled = self.dialled();
        for (address, is_listed) in dialled.iter_mut() {
            *is_listed = found.contains(address);
        }
        let new: Vec<_> = found
            .iter()
            .filter(|address| !dialled.contains_key(address))
            .copied()
            .collect();
        dialled.extend(new.iter().map(|address| (*address, true)));
        new
    }

    /// Whether the last look-up found it.
    fn is_listed(&self, address: SocketAddr) -> bool {
        self.dialled().get(&address).copied().unwrap_or(false)
    }

    /// Nobody dials it any more.
    fn give_up(&self, address: SocketAddr) {
        self.dialled().remove(&address);
    }

    /// Dialled addresses, and whether the last look-up found them.
    fn dialled(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dials every operator.
pub(super) fn dial_all(feed: &Arc<ConfigFeed>) {
    let names = feed.settings.operator_addresses.clone();
    if names.is_empty() {
        feed.settle();
    }
    let first = Arc::new(FirstDials(AtomicUsize::new(names.len())));
    for name in names {
        feed.spawn(look_up(Arc::clone(feed), name, Arc::clone(&first)));
    }
}

/// Keeps one task for each address that a name has.
async fn look_up(feed: Arc<ConfigFeed>, name: String, first: Arc<FirstDials>) {
    let addresses = Arc::new(Addresses::default());
    let mut status = feed.status.subscribe();
    let mut is_first = true;
    loop {
        match tokio::net::lookup_host(&name).await {
            Ok(found) => {
                for address in addresses.found(&found.collect()) {
                    first.add(1);
                    feed.spawn(dial(
                        Arc::clone(&feed),
                        address,
                        Arc::clone(&addresses),
                        Arc::clone(&first),
                    ));
                }
            }
            // Says nothing about who is there.
            Err(error) => tracing::debug!(name, %error, "operator address does not resolve"),
        }
        if std::mem::take(&mut is_first) {
            first.end(&feed);
        }
        let alone = async { status.wait_for(|status| status.connected == 0).await.is_ok() };
        let is_alone = tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => false,
            is_alone = alone => is_alone,
        };
        if is_alone {
            tokio::time::sleep(feed.settings.backoff_first).await;
        }
    }
}

/// Dials one address: without growing pauses as long as it is expected back, then until the name has lost it, or until
/// it was unreachable for so long that it is better looked up again.
async fn dial(feed: Arc<ConfigFeed>, address: SocketAddr, addresses: Arc<Addresses>, first: Arc<FirstDials>) {
    let mut pending = Some(first);
    let mut backoff = feed.settings.backoff_first;
    let mut lost = Instant::now();
    loop {
        let mut settled = false;
        let end = converse(&feed, address, &mut settled).await;
        if let Some(first) = pending.take() {
            first.end(&feed);
        }
        tracing::info!(%address, reason = %chain(&end), "stream from operator ended");
        if settled {
            backoff = feed.settings.backoff_first;
            lost = Instant::now();
        }
        tokio::time::sleep(jittered(backoff)).await;
        if lost.elapsed() < EXPECTED_BACK {
            continue;
        }
        let is_long = backoff >= feed.settings.backoff_longest;
        if !addresses.is_listed(address) || (is_long && matches!(end, End::Unreachable(_))) {
            addresses.give_up(address);
            return;
        }
        backoff = (backoff * 2).min(feed.settings.backoff_longest);
    }
}

/// Full jitter: anything between nothing and `longest`.
fn jittered(longest: Duration) -> Duration {
    longest.mul_f64(f64::from(rand::random::<u16>()) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_dialled_once_as_long_as_the_name_has_it() {
        let address = |last: u8| SocketAddr::from(([10, 0, 0, last], 8443));
        let addresses = Addresses::default();
        assert_eq!(addresses.found(&HashSet::from([address(1)])), [address(1)]);
        // A replica joins.
        assert_eq!(addresses.found(&HashSet::from([address(1), address(2)])), [address(2)]);
        // One goes: its task ends with its stream, and only then may it be dialled anew.
        assert_eq!(addresses.found(&HashSet::from([address(2)])), []);
        assert!(!addresses.is_listed(address(1)));
        assert_eq!(addresses.found(&HashSet::from([address(1), address(2)])), []);
        assert!(addresses.is_listed(address(1)));
        addresses.give_up(address(1));
        assert_eq!(addresses.found(&HashSet::from([address(1), address(2)])), [address(1)]);
    }
}
