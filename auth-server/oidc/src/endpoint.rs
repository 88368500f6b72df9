//! Where each endpoint is: paths relative to the issuer. The only place that spells them.

/// Authorization endpoint (RFC 6749 §3.1).
pub const AUTHORIZE: &str = "/oauth2/authorize";
/// Token endpoint (RFC 6749 §3.2).
pub const TOKEN: &str = "/oauth2/token";
/// UserInfo endpoint (OpenID Connect Core 1.0 §5.3).
pub const USERINFO: &str = "/oauth2/userinfo";
/// JWK Set (RFC 7517 §5).
pub const JWKS: &str = "/oauth2/jwks";
/// Revocation endpoint (RFC 7009).
pub const REVOKE: &str = "/oauth2/revoke";
/// Introspection endpoint (RFC 7662).
pub const INTROSPECT: &str = "/oauth2/introspect";
/// End-session endpoint (OpenID Connect RP-Initiated Logout 1.0 §2).
pub const END_SESSION: &str = "/oauth2/end_session";
/// The sign-in page.
pub const LOGIN: &str = "/login";
/// The consent page.
pub const CONSENT: &str = "/consent";
/// The account choice.
pub const CHOOSE_ACCOUNT: &str = "/choose-account";
/// The sign-out page.
pub const LOGOUT: &str = "/logout";
/// OpenID Connect Discovery 1.0 §4.
pub const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
/// RFC 8414 §3. Inserted between host and path of the issuer, and also answered after the path.
pub const OAUTH_AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
