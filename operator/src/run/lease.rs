//! Who leads: one replica, the holder of a Lease (`coordination.k8s.io/v1`).
//!
//! [`Election`] decides and is told the time; [`elect`] asks the API server and moves the [`Fence`]. Clocks of other
//! machines are never believed: a holder is gone when its Lease did not change for the Lease's duration, by our own
//! monotonic clock. A leader stops writing before anybody else can begin.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::apply::{Fence, LeaseClient, LeaseError};
use crate::log::chain;

/// How long a Lease counts after its last change.
const DURATION: Duration = Duration::from_secs(8);

/// Between two renewals.
const RENEWAL: Duration = Duration::from_secs(2);

/// How long after the last renewal the holder still writes.
const WRITING: Duration = Duration::from_secs(5);

/// After an error, before the next try.
const RETRY: Duration = Duration::from_millis(500);

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Look who holds the Lease.
    Read,
    /// Create it.
    Create(Lease),
    /// Take or renew it.
    Replace(Lease),
}

/// What one replica knows of the Lease. Times are counted from any fixed moment, by one monotonic clock.
#[derive(Debug)]
struct Election {
    namespace: String,
    name: String,
    identity: String,
    seen: Seen,
    /// When the request began that last renewed it for us.
    renewed: Option<Duration>,
}

#[derive(Debug)]
enum Seen {
    Unknown,
    /// There is none. Somebody may have held it until then.
    Absent {
        former: Option<(Duration, Duration)>,
    },
    Present {
        lease: Box<Lease>,
        /// Since when it has not changed.
        since: Duration,
    },
}

impl Election {
    fn new((namespace, name): (String, String), identity: String) -> Self {
        Self {
            namespace,
            name,
            identity,
            seen: Seen::Unknown,
            renewed: None,
        }
    }

    fn step(&self, now: Duration, wall: jiff::Timestamp) -> Step {
        match &self.seen {
            Seen::Unknown => Step::Read,
            // Whoever held what somebody deleted does not know it yet.
            Seen::Absent { former } if former.is_some_and(|(since, lasts)| now < since + lasts) => Step::Read,
            Seen::Absent { .. } => Step::Create(self.claimed(None, wall)),
            Seen::Present { lease, since } => {
                let holder = holder(lease);
                let is_gone = holder.is_empty() || now.saturating_sub(*since) >= duration(lease);
                if holder == self.identity || is_gone {
                    Step::Replace(self.claimed(Some(lease), wall))
                } else {
                    Step::Read
                }
            }
        }
    }

    /// The Lease as it is with us as holder.
    fn claimed(&self, lease: Option<&Lease>, wall: jiff::Timestamp) -> Lease {
        let former = lease.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let is_ours = former.holder_identity.as_deref() == Some(&self.identity);
        let transitions = former.lease_transitions.unwrap_or(0);
        let metadata = lease.map_or_else(
            || ObjectMeta {
                namespace: Some(self.namespace.clone()),
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            |lease| lease.metadata.clone(),
        );
        Lease {
            metadata: ObjectMeta {
                managed_fields: None,
                ..metadata
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: former.acquire_time.filter(|_| is_ours).or(Some(MicroTime(wall))),
                renew_time: Some(MicroTime(wall)),
                lease_transitions: Some(if is_ours || lease.is_none() {
                    transitions
                } else {
                    transitions + 1
                }),
                ..LeaseSpec::default()
            }),
        }
    }

    /// The Lease as it is when we give it up; `None` when it is not ours.
    fn released(&self, wall: jiff::Timestamp) -> Option<Lease> {
        let Seen::Present { lease, .. } = &self.seen else {
            return None;
        };
        if holder(lease) != self.identity {
            return None;
        }
        let mut lease = self.claimed(Some(lease), wall);
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        Some(lease)
    }

    /// Takes what was read.
    fn read(&mut self, lease: Option<Lease>, now: Duration) {
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        self.seen = match (lease, &self.seen) {
            (None, Seen::Present { lease, since }) if holder(lease) != self.identity => Seen::Absent {
                former: Some((*since, duration(lease))),
            },
            (None, Seen::Absent { former }) => Seen::Absent { former: *former },
            (None, _) => Seen::Absent { former: None },
            (Some(lease), Seen::Present { lease: former, since }) if version(&lease) == version(former) => {
                Seen::Present {
                    lease: Box::new(lease),
                    since: *since,
                }
            }
            (Some(lease), _) => Seen::Present {
                lease: Box::new(lease),
                since: now,
            },
        };
        if !matches!(&self.seen, Seen::Present { lease, .. } if holder(lease) == self.identity) {
            self.renewed = None;
        }
    }

    /// Takes the answer to a write that began at `began`.
    fn written(&mut self, lease: Lease, began: Duration) {
        self.seen = Seen::Present {
            lease: Box::new(lease),
            since: began,
        };
        self.renewed = Some(began);
    }

    /// Somebody else wrote it meanwhile: nothing is known any more.
    fn conflict(&mut self) {
        self.seen = Seen::Unknown;
    }

    /// Until when this replica writes; `None` when it does not lead.
    fn writes_until(&self) -> Option<Duration> {
        self.renewed.map(|at| at + WRITING)
    }

    /// When to look again.
    fn pause(&self, now: Duration) -> Duration {
        match &self.seen {
            Seen::Present { lease, since } if holder(lease) != self.identity => {
                let left = (*since + duration(lease)).saturating_sub(now);
                left.clamp(Duration::from_millis(50), RENEWAL)
            }
            Seen::Present { .. } | Seen::Absent { former: Some(_) } => RENEWAL,
            Seen::Unknown | Seen::Absent { former: None } => Duration::ZERO,
        }
    }
}

fn holder(lease: &Lease) -> &str {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

fn duration(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DURATION, Duration::from_secs)
}

/// Takes part in the election until `stop`, and gives the Lease up once `settled` says that nothing is being written
/// any more. Opens and closes the fence, and tells through
/// `leading` whether this replica leads.
pub(super) async fn elect(
    client: LeaseClient,
    identity: String,
    fence: Fence,
    leading: watch::Sender<bool>,
    stop: CancellationToken,
    settled: CancellationToken,
) {
    let start = Instant::now();
    let mut election = Election::new(client.name(), identity);
    while !stop.is_cancelled() {
        let outcome = act(&mut election, &client, start).await;
        match election.writes_until() {
            Some(until) => fence.open_until(start + until),
            None => fence.close(),
        }
        let is_leading = fence.check().is_ok();
        if leading.send_if_modified(|before| std::mem::replace(before, is_leading) != is_leading) {
            tracing::info!(leading = is_leading, identity = election.identity, "leadership changed");
        }
        let pause = match outcome {
            Ok(()) => election.pause(start.elapsed()),
            Err(error) => {
                tracing::warn!(error = chain(&error), "the Lease cannot be kept");
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
    fence.close();
    leading.send_replace(false);
    settled.cancelled().await;
    if let Some(lease) = election.released(jiff::Timestamp::now())
        && let Err(error) = client.replace(&lease).await
    {
        tracing::warn!(error = chain(&error), "the Lease could not be given up");
    }
}

async fn act(election: &mut Election, client: &LeaseClient, start: Instant) -> Result<(), LeaseError> {
    let began = start.elapsed();
    let written = match election.step(began, jiff::Timestamp::now()) {
        Step::Read => {
            let lease = client.read().await?;
            election.read(lease, start.elapsed());
            return Ok(());
        }
        Step::Create(lease) => client.create(&lease).await,
        Step::Replace(lease) => client.replace(&lease).await,
    };
    match written {
        Ok(lease) => election.written(lease, began),
        Err(LeaseError::Conflict) => election.conflict(),
        Err(error) => {
            // Whether it was written is not known; the next attempt reads first.
            election.conflict();
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One Lease, as an API server would keep it.
    #[derive(Default)]
    struct Server {
        lease: Option<Lease>,
        version: u32,
    }

    impl Server {
        fn write(&mut self, mut lease: Lease, creates: bool) -> Option<Lease> {
            let held = self
                .lease
                .as_ref()
                .and_then(|lease| lease.metadata.resource_version.clone());
            if creates != self.lease.is_none() || (!creates && lease.metadata.resource_version != held) {
                return None;
            }
            self.version += 1;
            lease.metadata.resource_version = Some(self.version.to_string());
            self.lease = Some(lease.clone());
            Some(lease)
        }
    }

    const WALL: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

    fn election(identity: &str) -> Election {
        Election::new(
            ("nauthera-system".to_owned(), "nauthera-operator".to_owned()),
            identity.to_owned(),
        )
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Acts until there is nothing more to do at this moment.
    fn tick(election: &mut Election, server: &mut Server, now: Duration) -> bool {
        for _ in 0..4 {
            match election.step(now, WALL) {
                Step::Read => {
                    election.read(server.lease.clone(), now);
                    if election.step(now, WALL) == Step::Read {
                        break;
                    }
                }
                Step::Create(lease) => match server.write(lease, true) {
                    Some(lease) => {
                        election.written(lease, now);
                        break;
                    }
                    None => election.conflict(),
                },
                Step::Replace(lease) => match server.write(lease, false) {
                    Some(lease) => {
                        election.written(lease, now);
                        break;
                    }
                    None => election.conflict(),
                },
            }
        }
        writes(election, now)
    }

    fn writes(election: &Election, now: Duration) -> bool {
        election.writes_until().is_some_and(|until| now < until)
    }

    #[test]
    fn the_first_one_leads_and_the_second_waits() {
        let (mut a, mut b, mut server) = (election("a"), election("b"), Server::default());
        assert!(tick(&mut a, &mut server, seconds(0)));
        for now in (0..60).step_by(2) {
            assert!(tick(&mut a, &mut server, seconds(now)));
            assert!(!tick(&mut b, &mut server, seconds(now)));
        }
        let spec = server.lease.unwrap().spec.unwrap();
        assert_eq!(
            (spec.holder_identity.as_deref(), spec.lease_transitions),
            (Some("a"), Some(0))
        );
    }

    #[test]
    fn a_frozen_leader_has_stopped_writing_before_another_begins() {
        let (mut a, mut b, mut server) = (election("a"), election("b"), Server::default());
        tick(&mut a, &mut server, seconds(0));
        tick(&mut a, &mut server, seconds(2));
        let mut taken = None;
        for millis in (2_000..20_000).step_by(100) {
            let now = Duration::from_millis(millis);
            if tick(&mut b, &mut server, now) {
                assert!(!writes(&a, now), "two leaders at {now:?}");
                taken.get_or_insert(now);
            }
        }
        let taken = taken.unwrap();
        assert!(taken >= seconds(10) && taken <= seconds(11), "{taken:?}");
        assert!(
            !tick(&mut a, &mut server, seconds(20)),
            "the former leader does not lead again"
        );
        assert_eq!(server.lease.unwrap().spec.unwrap().lease_transitions, Some(1));
    }

    #[test]
    fn a_clock_that_is_wrong_by_ten_minutes_changes_nothing() {
        let (mut a, mut b, mut server) = (election("a"), election("b"), Server::default());
        let wall = WALL + jiff::SignedDuration::from_mins(10);
        let Step::Read = a.step(seconds(0), wall) else { panic!() };
        a.read(None, seconds(0));
        let Step::Create(lease) = a.step(seconds(0), wall) else {
            panic!()
        };
        a.written(server.write(lease, true).unwrap(), seconds(0));
        assert!(!tick(&mut b, &mut server, seconds(7)));
        assert!(!tick(&mut b, &mut server, seconds(14)), "seen for 7 s only");
        assert!(tick(&mut b, &mut server, seconds(15)));
    }

    #[test]
    fn of_two_that_see_it_expire_one_wins() {
        let (mut a, mut b, mut c, mut server) = (election("a"), election("b"), election("c"), Server::default());
        tick(&mut a, &mut server, seconds(0));
        tick(&mut b, &mut server, seconds(1));
        tick(&mut c, &mut server, seconds(1));
        let Step::Replace(from_b) = b.step(seconds(9), WALL) else {
            panic!()
        };
        let Step::Replace(from_c) = c.step(seconds(9), WALL) else {
            panic!()
        };
        b.written(server.write(from_b, false).unwrap(), seconds(9));
        assert_eq!(server.write(from_c, false), None);
        c.conflict();
        assert!(!tick(&mut c, &mut server, seconds(9)));
    }

    #[test]
    fn a_leader_that_cannot_renew_stops_and_comes_back_when_nobody_took_over() {
        let (mut a, mut server) = (election("a"), Server::default());
        tick(&mut a, &mut server, seconds(0));
        // The write was lost, or its answer was.
        a.conflict();
        assert!(writes(&a, seconds(4)));
        assert!(!writes(&a, seconds(5)));
        assert!(tick(&mut a, &mut server, seconds(7)));
    }

    #[test]
    fn what_is_given_up_is_taken_at_once() {
        let (mut a, mut b, mut server) = (election("a"), election("b"), Server::default());
        tick(&mut a, &mut server, seconds(0));
        tick(&mut b, &mut server, seconds(1));
        assert_eq!(b.released(WALL), None);
        assert!(server.write(a.released(WALL).unwrap(), false).is_some());
        assert!(tick(&mut b, &mut server, seconds(3)));
    }

    #[test]
    fn a_deleted_lease_is_not_taken_while_its_holder_may_still_write() {
        let (mut a, mut b, mut server) = (election("a"), election("b"), Server::default());
        tick(&mut a, &mut server, seconds(0));
        tick(&mut b, &mut server, seconds(0));
        server.lease = None;
        assert!(!tick(&mut b, &mut server, seconds(2)));
        assert!(tick(&mut b, &mut server, seconds(8)));
        assert!(
            !tick(&mut a, &mut server, seconds(8)),
            "the former holder's write conflicts"
        );
    }

    #[test]
    fn a_leader_whose_lease_was_deleted_makes_it_again() {
        let (mut a, mut server) = (election("a"), Server::default());
        tick(&mut a, &mut server, seconds(0));
        server.lease = None;
        assert!(tick(&mut a, &mut server, seconds(2)));
    }

    #[test]
    fn a_candidate_looks_again_at_the_moment_it_may_take_over() {
        let (mut a, mut b, mut server) = (election("a"), election("b"), Server::default());
        tick(&mut a, &mut server, seconds(0));
        tick(&mut b, &mut server, seconds(1));
        assert_eq!(b.pause(seconds(1)), RENEWAL);
        assert_eq!(b.pause(Duration::from_millis(8_500)), Duration::from_millis(500));
    }
}
