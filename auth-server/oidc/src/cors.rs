//! Which web origins may read which answers (Fetch standard, CORS).
//!
//! Discovery and the JWK Set are for everybody. Preflights, which name no client, are answered for the union of the
//! realm's origins; answers only for the origins of the client they are about.

use crate::config::Client;
use crate::served::ServedRealm;

/// Whether some client of the realm allows `origin`: what a preflight is answered by.
pub fn preflight_allowed(served: &ServedRealm, origin: &str) -> bool {
    served.clients.values().any(|client| allowed(client, origin))
}

/// Whether `client` allows `origin` to read answers about it.
pub fn allowed(client: &Client, origin: &str) -> bool {
    client.allowed_origins.iter().any(|known| known == origin)
}
