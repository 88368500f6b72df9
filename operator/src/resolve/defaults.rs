//! What holds where no custom resource says otherwise, in one place.

use std::time::Duration;

/// How long the refresh token before the current one still yields the same successor.
pub(crate) const REFRESH_LEEWAY: Duration = Duration::from_secs(30);

/// Failed passwords per person and source before the answer is to wait.
pub(crate) const MAX_ATTEMPTS: u32 = 10;

/// The window that failed passwords are counted in.
pub(crate) const ATTEMPT_WINDOW: Duration = Duration::from_mins(15);

/// The languages that are built into the pages, the preferred one first.
pub(crate) const LOCALES: [&str; 3] = ["en", "de", "ar"];

/// Largest inline image, decoded.
pub(crate) const LOGO_BYTES: usize = 24 * 1024;

/// How long a missing reference is waited for before the object counts as stalled.
pub(crate) const REFERENCE_GRACE: Duration = Duration::from_mins(2);

/// Servers keep a plain hash of a client secret, so it must be too long to guess.
pub(crate) const SHORTEST_SECRET: usize = 32;

/// How many client secrets of one Client servers accept at most; a further one waits for the end of an overlap.
pub(crate) const MAX_CLIENT_SECRETS: usize = 4;

/// How long a rotation waits for replicas before that is said.
pub(crate) const BARRIER: Duration = Duration::from_mins(15);

/// Age at which a sealing key gets its successor.
pub(crate) const SEALING_ROTATION: Duration = Duration::from_hours(30 * 24);

/// The longest that anything lives that a signing key signed (the upper bound of access and ID tokens), with a margin
/// for clocks.
pub(crate) const LONGEST_SIGNED: Duration = Duration::from_mins(24 * 60 + 10);

/// The longest that anything lives that a sealing key sealed (the upper bound of refresh tokens), with a margin.
pub(crate) const LONGEST_SEALED: Duration = Duration::from_mins(8760 * 60 + 10);
