//! This host's clock. The protocol's core never asks for it: it is given the moment.

use std::time::SystemTime;

use oidc::Timestamp;

/// The time.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_millis(0).after(since)
}
