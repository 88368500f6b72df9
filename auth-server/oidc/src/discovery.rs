//! What the realm tells clients about itself (OpenID Connect Discovery 1.0 §3, RFC 8414 §2). Lists only what works.

use serde_json::json;

use crate::claims;
use crate::config::{GrantType, Realm, SignatureAlgorithm};
use crate::document::Document;
use crate::endpoint;
use crate::keys::Keys;

/// The metadata of a realm. One document serves both specifications.
pub fn document(realm: &Realm, keys: &Keys) -> Document {
    let url = |path: &str| [realm.issuer.as_str(), path].concat();
    let algorithms: Vec<&str> = keys.signing_algorithms().map(SignatureAlgorithm::name).collect();
    let assertion_algorithms = SignatureAlgorithm::ALL.map(SignatureAlgorithm::name);
    let confidential = ["client_secret_basic", "client_secret_post", "private_key_jwt"];
    let any_client = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
    let grant_types = [
        GrantType::AuthorizationCode,
        GrantType::RefreshToken,
        GrantType::ClientCredentials,
    ]
    .map(GrantType::name);
    let scopes: Vec<&str> = realm.scopes.keys().map(String::as_str).collect();
    let mut claims_supported = vec![
        "sub",
        "iss",
        "aud",
        "exp",
        "iat",
        "auth_time",
        "nonce",
        "acr",
        "amr",
        "sid",
        "at_hash",
    ];
    claims_supported.extend(claims::SUPPORTED.iter().filter(|name| {
        realm
            .scopes
            .values()
            .any(|scope| scope.claims.iter().any(|claim| claim == *name))
    }));
    let mut metadata = json!({
        "issuer": realm.issuer.as_str(),
        "authorization_endpoint": url(endpoint::AUTHORIZE),
        "token_endpoint": url(endpoint::TOKEN),
        "userinfo_endpoint": url(endpoint::USERINFO),
        "jwks_uri": url(endpoint::JWKS),
        "revocation_endpoint": url(endpoint::REVOKE),
        "introspection_endpoint": url(endpoint::INTROSPECT),
        "end_session_endpoint": url(endpoint::END_SESSION),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "form_post"],
        "grant_types_supported": grant_types,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "token_endpoint_auth_methods_supported": any_client,
        "token_endpoint_auth_signing_alg_values_supported": assertion_algorithms,
        "revocation_endpoint_auth_methods_supported": any_client,
        "revocation_endpoint_auth_signing_alg_values_supported": assertion_algorithms,
        "introspection_endpoint_auth_methods_supported": confidential,
        "introspection_endpoint_auth_signing_alg_values_supported": assertion_algorithms,
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "display_values_supported": ["page"],
        "acr_values_supported": [crate::authorize::PASSWORD_ACR],
        "claim_types_supported": ["normal"],
        "claims_supported": claims_supported,
        "claims_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "authorization_response_iss_parameter_supported": true,
        "ui_locales_supported": realm.locales,
    });
    let links = [
        ("op_policy_uri", &realm.branding.privacy_uri),
        ("op_tos_uri", &realm.branding.terms_uri),
    ];
    if let Some(members) = metadata.as_object_mut() {
        for (name, link) in links {
            if let Some(link) = link {
                members.insert(name.to_owned(), link.as_str().into());
            }
        }
    }
    Document::new(metadata.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use crate::config::{KeyStage, Resource};
    use crate::served::{Change, Served};
    use crate::testing::{self, ISSUER};

    fn metadata(served: &crate::served::ServedRealm) -> Value {
        serde_json::from_slice(&served.discovery().body).unwrap()
    }

    #[test]
    fn the_metadata_names_the_issuer_exactly_and_every_endpoint_under_it() {
        let realm = testing::realm_of("https://example.com/auth");
        let metadata = metadata(&testing::served_realm(realm, []));
        assert_eq!(metadata["issuer"], "https://example.com/auth");
        assert_eq!(metadata["token_endpoint"], "https://example.com/auth/oauth2/token");
        let endpoints = metadata.as_object().unwrap().iter();
        for (name, url) in endpoints.filter(|(name, _)| name.ends_with("_endpoint") || name.ends_with("jwks_uri")) {
            assert!(url.as_str().unwrap().starts_with("https://example.com/auth/"), "{name}");
        }
    }

    #[test]
    fn only_algorithms_with_an_active_key_are_listed() {
        let mut set = testing::key_set(ISSUER);
        set.signing.retain(|key| key.algorithm.name() != "PS256");
        set.signing[1].stage = KeyStage::Published;
        let keys = Arc::new(crate::keys::Keys::new(set));
        let served = crate::served::ServedRealm::new(Arc::new(testing::realm()), keys, Arc::default());
        let listed = &metadata(&served)["id_token_signing_alg_values_supported"];
        assert_eq!(*listed, serde_json::json!(["ES256", "EdDSA"]));
    }

    #[test]
    fn documents_survive_a_change_of_clients_but_not_of_rules_or_keys() {
        let keys = || Change::Put(Resource::Keys(testing::key_set(ISSUER)).into());
        let realm = || Change::Put(Resource::Realm(testing::realm()).into());
        let client = || Change::Put(Resource::Client(testing::client("app")).into());
        let id = testing::realm().id;
        let first = Served::default().with(vec![realm(), keys()]);
        let body = |served: &Served| Arc::clone(&served.realm(id).unwrap().discovery().body);
        let jwks = |served: &Served| Arc::clone(&served.realm(id).unwrap().jwks().body);
        let (discovery, key_set) = (body(&first), jwks(&first));
        let clients_changed = first.with(vec![client()]);
        assert!(Arc::ptr_eq(&body(&clients_changed), &discovery) && Arc::ptr_eq(&jwks(&clients_changed), &key_set));
        let rules_changed = first.with(vec![realm()]);
        assert!(!Arc::ptr_eq(&body(&rules_changed), &discovery) && Arc::ptr_eq(&jwks(&rules_changed), &key_set));
        assert!(!Arc::ptr_eq(&jwks(&first.with(vec![keys()])), &key_set));
    }

    #[test]
    fn an_entity_tag_changes_with_the_document_only() {
        let etag = |issuer: &str| {
            let served = testing::served_realm(testing::realm_of(issuer), []);
            Arc::clone(&served.discovery().etag)
        };
        assert_eq!(etag("https://a.example"), etag("https://a.example"));
        assert_ne!(etag("https://a.example"), etag("https://b.example"));
    }
}
