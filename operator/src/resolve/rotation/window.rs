//! The hours of the day in which secrets are replaced on their own, in UTC. A window may span midnight.

use std::time::Duration;

use crds::client::RotationWindow;
use oidc::Timestamp;

const DAY: i64 = 24 * 3600;

/// Seconds after midnight of `HH:MM`; the schema has checked the form.
fn seconds(time: &str) -> i64 {
    let (hours, minutes) = time.split_once(':').unwrap_or((time, "0"));
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    (number(hours) * 3600 + number(minutes) * 60).rem_euclid(DAY)
}

/// Whether the window is open at `now`.
pub(super) fn contains(window: &RotationWindow, now: Timestamp) -> bool {
    let (from, to) = (seconds(&window.from), seconds(&window.to));
    let since = (now.unix_seconds() - from).rem_euclid(DAY);
    since < (to - from).rem_euclid(DAY)
}

/// `due`, or the next moment after it at which the window opens.
pub(super) fn next(window: &RotationWindow, due: Timestamp) -> Timestamp {
    if contains(window, due) {
        return due;
    }
    let wait = (seconds(&window.from) - due.unix_seconds()).rem_euclid(DAY);
    due.after(Duration::from_secs(u64::try_from(wait).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_span_midnight() {
        let window = |from: &str, to: &str| RotationWindow {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        let at = |hours: i64| Timestamp::from_unix_seconds(100 * DAY + hours * 3600);
        let night = window("22:00", "04:00");
        let open: Vec<i64> = (0..24).filter(|hour| contains(&night, at(*hour))).collect();
        assert_eq!(open, [0, 1, 2, 3, 22, 23]);
        assert_eq!(next(&night, at(23)), at(23));
        assert_eq!(next(&night, at(5)), at(22));
        assert_eq!(next(&window("02:00", "03:30"), at(5)), at(26));
    }
}
