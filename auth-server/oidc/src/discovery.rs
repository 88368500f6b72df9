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
