//! The client secrets of a Client: which exist, which one its Secret shows, and which ones servers accept.
//!
//! What was issued stands in a ledger, a Secret in the fleet's namespace that no pod mounts. The order is: the next
//! secret is entered → servers accept both → every ready replica has acknowledged → the Secret beside the Client shows
//! it → the overlap begins when it is seen there → the former one is removed. Each step follows from what can be seen,
//! so that a crash between any two of them repeats at most one.

mod ledger;
mod window;

use std::time::Duration;

use crds::client::SecretRotation;
use crds::conditions::{ConditionType, Finding, Reason};
use oidc::config::SecretHash;
use oidc::{Secret, Timestamp};

use super::defaults;

pub(crate) use ledger::{Entry, Ledger, hash};

/// What the secrets of a Client are decided from.
pub(crate) struct Facts<'a> {
    /// Rules for replacing them; `None` when only an annotation does.
    pub(crate) rotation: Option<&'a SecretRotation>,
    /// Value of the annotation that asks for a new secret.
    pub(crate) rotate: Option<&'a str>,
    /// Value of the annotation that asks for a new secret and makes every other one invalid at once.
    pub(crate) revoke: Option<&'a str>,
    /// What was issued; `None` before the first.
    pub(crate) ledger: Option<Ledger>,
    /// Name of the Secret beside the Client.
    pub(crate) name: &'a str,
    /// The value that it shows.
    pub(crate) shown: Option<&'a [u8]>,
    /// What servers accept: asked for only while a secret is on its way.
    pub(crate) served: &'a dyn Fn() -> Served,
    pub(crate) now: Timestamp,
}

/// What servers accept.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// What they were last told to accept.
    pub(crate) hashes: Vec<SecretHash>,
    /// Whether every ready replica does.
    pub(crate) is_everywhere: bool,
}

/// What follows.
#[derive(Debug)]
pub(crate) struct Decision {
    /// The ledger as it should be. It may lack a secret that has to be generated.
    pub(crate) ledger: Ledger,
    /// Whether it is another one than there is.
    pub(crate) is_changed: bool,
    /// Whether a secret has to be generated into it.
    pub(crate) is_missing: bool,
    /// What the Secret beside the Client should show; `None` while nothing may be shown.
    pub(crate) show: Option<Secret<Vec<u8>>>,
    /// When the next secret is due.
    pub(crate) next_rotation: Option<Timestamp>,
    now: Timestamp,
}

impl Facts<'_> {
    pub(crate) fn decide(self) -> Decision {
        let mut decision = Decision {
            ledger: self.ledger.clone().unwrap_or_default(),
            is_changed: false,
            is_missing: false,
            show: None,
            next_rotation: None,
            now: self.now,
        };
        match &self.ledger {
            None => self.begin(&mut decision),
            Some(ledger) if asks(self.revoke, ledger.revoke.as_deref()) => {
                decision.ledger.entries.clear();
                decision.ledger.issued = ledger.issued;
                decision.is_missing = true;
            }
            Some(_) => self.go_on(&mut decision),
        }
        // A value acts once: on a new ledger, and while a secret is on its way already, it has acted.
        let ledger = &mut decision.ledger;
        if decision.is_missing || self.ledger.is_none() || ledger.is_staged() {
            ledger.rotate = self.rotate.map(str::to_owned);
            ledger.revoke = self.revoke.map(str::to_owned);
        }
        decision.is_changed = self.ledger.as_ref() != Some(&decision.ledger);
        decision
    }

    /// There is no ledger yet.
    fn begin(&self, decision: &mut Decision) {
        let served = (self.served)().hashes;
        decision.ledger.entries = served.iter().map(|hash| Entry::unknown(*hash, self.now)).collect();
        let known = |value: &&[u8]| {
            let is_served = served.is_empty() || served.contains(&hash(value));
            value.len() >= defaults::SHORTEST_SECRET && is_served
        };
        let Some(value) = self.shown.filter(known) else {
            decision.is_missing = true;
            return;
        };
        let ledger = &mut decision.ledger;
        ledger.entries.retain(|entry| entry.hash != hash(value));
        ledger.enter(value.to_vec(), self.now);
        decision.mark_shown(self);
    }

    fn go_on(&self, decision: &mut Decision) {
        let Some(latest) = decision.ledger.entries.last().cloned() else {
            decision.is_missing = true;
            return;
        };
        let Some(value) = latest.value.clone() else {
            // A ledger that lost its values: what servers accept goes on until the next secret is shown.
            decision.is_missing = true;
            return;
        };
        let shows_latest = self.shown == Some(value.expose().as_slice());
        if shows_latest {
            decision.mark_shown(self);
        }
        if latest.shown.is_none() && !shows_latest {
            let is_first = decision.ledger.entries.len() == 1;
            let is_accepted = || {
                let served = (self.served)();
                served.is_everywhere && served.hashes.contains(&latest.hash)
            };
            if is_first || is_accepted() {
                decision.show = Some(value);
            } else {
                self.keep(decision);
            }
            return;
        }
        if !shows_latest && self.shown.is_none() && decision.ledger.name == self.name {
            decision.is_missing = true;
            return;
        }
        decision.show = Some(value);
        if shows_latest {
            self.look_ahead(decision);
        }
    }

    /// The next secret waits; meanwhile the Secret goes on to show what it showed.
    fn keep(&self, decision: &mut Decision) {
        let former = decision.ledger.entries.iter().rev().find(|entry| entry.shown.is_some());
        let value = former.and_then(|entry| entry.value.clone());
        decision.show = value.filter(|_| self.shown.is_some());
    }

    /// Nothing is on its way: whether the next secret is due.
    fn look_ahead(&self, decision: &mut Decision) {
        let ledger = &mut decision.ledger;
        let shown = ledger
            .entries
            .last()
            .and_then(|latest| latest.shown)
            .unwrap_or(self.now);
        decision.next_rotation = self.rotation.map(|rotation| {
            let due = shown.after(Duration::from(rotation.interval));
            rotation.window.as_ref().map_or(due, |window| window::next(window, due))
        });
        let is_open = |rotation: &SecretRotation| {
            let window = rotation.window.as_ref();
            window.is_none_or(|window| window::contains(window, self.now))
        };
        let is_due = decision.next_rotation.is_some_and(|due| due <= self.now) && self.rotation.is_some_and(is_open);
        let is_asked = asks(self.rotate, ledger.rotate.as_deref());
        decision.is_missing = (is_due || is_asked) && ledger.entries.len() < defaults::MAX_CLIENT_SECRETS;
    }
}

impl Decision {
    /// The Secret shows the latest secret: the overlap of the others begins, and ends.
    fn mark_shown(&mut self, facts: &Facts<'_>) {
        let default = Duration::from(SecretRotation::DEFAULT_OVERLAP);
        let overlap = facts
            .rotation
            .map_or(default, |rotation| Duration::from(rotation.overlap));
        let ledger = &mut self.ledger;
        facts.name.clone_into(&mut ledger.name);
        let Some((latest, others)) = ledger.entries.split_last_mut() else {
            return;
        };
        latest.shown.get_or_insert(facts.now);
        for other in others {
            other.until.get_or_insert(facts.now.after(overlap));
            // Nobody shows it again.
            other.value = None;
        }
        ledger
            .entries
            .retain(|entry| entry.until.is_none_or(|until| until > facts.now));
        self.show
            .clone_from(&ledger.entries.last().and_then(|latest| latest.value.clone()));
    }

    /// What servers accept.
    pub(crate) fn accepted(&self) -> Vec<SecretHash> {
        self.ledger.entries.iter().map(|entry| entry.hash).collect()
    }

    /// The secret that was last seen in the Secret beside the Client.
    pub(crate) fn shown_revision(&self) -> i64 {
        let shown = self.ledger.entries.iter().filter(|entry| entry.shown.is_some());
        shown.map(|entry| entry.revision).max().unwrap_or(0)
    }

    /// Until when a former secret stays valid.
    pub(crate) fn previous_valid_until(&self) -> Option<Timestamp> {
        self.ledger.entries.iter().filter_map(|entry| entry.until).max()
    }

    /// When time alone changes something.
    pub(crate) fn wake(&self) -> Option<Timestamp> {
        let until = self.ledger.entries.iter().filter_map(|entry| entry.until).min();
        let blocked = self.waiting_since().map(|since| since.after(defaults::BARRIER));
        let times = [until, self.next_rotation, blocked];
        times.into_iter().flatten().filter(|time| *time > self.now).min()
    }

    fn waiting_since(&self) -> Option<Timestamp> {
        let latest = self.ledger.entries.last()?;
        let waits = self.ledger.is_staged() && self.show.as_ref() != latest.value.as_ref();
        waits.then_some(latest.created)
    }

    /// What is to be said while a secret is replaced.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let revision = self.ledger.issued;
        let credentials = |text: String| Finding::new(ConditionType::CredentialsReady, true, Reason::Rotating, text);
        if let Some(since) = self.waiting_since() {
            let text = format!("client secret {revision} is written as soon as every ready replica accepts it");
            let mut findings = vec![credentials(text)];
            if self.now.since(since) >= defaults::BARRIER {
                let fix =
                    "see the AuthServer's status, or set the annotation auth.nauthera.io/revoke to go on without them";
                let text = format!("client secret {revision} waits for replicas that do not accept it: {fix}");
                findings.push(Finding::new(
                    ConditionType::Degraded,
                    true,
                    Reason::RotationBlocked,
                    text,
                ));
            }
            return findings;
        }
        let former = self.previous_valid_until().filter(|_| !self.is_missing);
        let until = former.and_then(|until| jiff::Timestamp::from_second(until.unix_seconds()).ok());
        let text =
            until.map(|until| format!("client secret {revision} is written; the former one is valid until {until}"));
        text.map(credentials).into_iter().collect()
    }
}

/// Whether the value of an annotation has not acted yet.
fn asks(value: Option<&str>, acted: Option<&str>) -> bool {
    value.is_some_and(|value| !value.is_empty() && acted != Some(value))
}
