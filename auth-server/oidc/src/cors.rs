//! Which web origins may read which answers (Fetch standard, CORS).
//!
//! Discovery and the JWK Set are for everybody. Preflights, which name no client, are answered for the union of the
//! realm's origins; answers only for the origins of the client they are about.

use crate::config::Client;
use crate::served::ServedRealm;

/// Whether some client of the realm allows `origin`: what a preflight is answered by.
pub fn preflight_allowed(served: &ServedRealm, origin: &str) -> bool {
    served.clients.allow(origin)
}

/// Whether `client` allows `origin` to read answers about it.
pub fn allowed(client: &Client, origin: &str) -> bool {
    client.allowed_origins.iter().any(|known| known == origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_preflight_is_answered_for_the_union_and_an_answer_for_the_client_alone() {
        let mut other = testing::client("other");
        other.allowed_origins = ["https://other.example".into()].into();
        let served = testing::served([testing::client("app"), other]);
        for origin in ["https://app.example", "https://other.example"] {
            assert!(preflight_allowed(&served, origin));
        }
        for origin in ["https://app.example.evil.example", "http://app.example", "null", ""] {
            assert!(!preflight_allowed(&served, origin), "{origin}");
        }
        let app = served.client("app").unwrap();
        assert!(allowed(app, "https://app.example") && !allowed(app, "https://other.example"));
    }
}
