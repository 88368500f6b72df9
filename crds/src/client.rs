//! `Client`: an application that signs people in, or calls APIs in its own name.
//!
//! Owned by the team of the application, in its own namespace.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel::{between, rules};
use crate::duration::Duration;
use crate::realm::{Image, SigningAlgorithm};
use crate::reference::{ObjectRef, SecretKeyRef};
use crate::status::ServedConfiguration;
use crate::text::{AnnotationText, Audience, ClientId, LabelText, ObjectName, Origin, RedirectUri, ScopeName, WebUrl};

/// An application that signs people in (OpenID Connect), or calls APIs in its own name (OAuth 2).
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "auth.nauthera.io",
    version = "v1alpha1",
    kind = "Client",
    plural = "clients",
    namespaced,
    shortname = "ncl",
    category = "nauthera",
    status = "ClientStatus",
    derive = "PartialEq",
    doc = "An application that signs people in (OpenID Connect), or calls APIs in its own name (OAuth 2).",
    printcolumn = r#"{"name": "Realm", "type": "string", "jsonPath": ".spec.realmRef.name", "description": "The realm it belongs to"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether the client is live on every ready replica"}"#,
    printcolumn = r#"{"name": "Client ID", "type": "string", "jsonPath": ".status.clientId", "description": "What the application sends as client_id", "priority": 1}"#,
    printcolumn = r#"{"name": "Secret", "type": "string", "jsonPath": ".status.secret.name", "description": "The Secret with its credentials", "priority": 1}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "description": "Why it is live or not, in one word"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "description": "Why it is live or not"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules([
    (
        "has(self.clientId) == has(oldSelf.clientId) && (!has(self.clientId) || self.clientId == oldSelf.clientId)",
        "clientId cannot be added, changed or removed: create another Client",
    ),
    (
        "self.type != 'Public' || !has(self.auth) || !has(self.auth.method) || self.auth.method == 'None'",
        "a Public client cannot keep a secret: remove auth.method or set it to None",
    ),
    (
        "self.type == 'Public' || !has(self.auth) || !has(self.auth.method) || self.auth.method != 'None'",
        "auth.method None is for type Public only",
    ),
    (
        "self.type != 'Public' || self.pkce == 'Required'",
        "a Public client needs pkce: Required",
    ),
    (
        "self.type != 'Public' || self.tokens.refreshRotation == 'Always'",
        "a Public client needs tokens.refreshRotation: Always",
    ),
    (
        "self.type != 'Public' || !has(self.grantTypes) || !('ClientCredentials' in self.grantTypes)",
        "grantTypes must not contain ClientCredentials for a Public client: it has no credentials",
    ),
    (
        "self.type != 'Service' || !has(self.redirectUris)",
        "a Service client has no redirectUris, because no person signs in to it",
    ),
    (
        "self.type != 'Service' || !has(self.grantTypes) || self.grantTypes.all(g, g == 'ClientCredentials')",
        "a Service client has only the grant type ClientCredentials",
    ),
    (
        "self.type == 'Service' || has(self.redirectUris) || (has(self.grantTypes) && !('AuthorizationCode' in self.grantTypes))",
        "redirectUris needs at least one URI, because the client uses AuthorizationCode",
    ),
    (
        "!has(self.grantTypes) || !('RefreshToken' in self.grantTypes) || 'AuthorizationCode' in self.grantTypes",
        "grantTypes: RefreshToken needs AuthorizationCode beside it",
    ),
    (
        "!has(self.rotation) || (self.type != 'Public' && !(has(self.auth) && has(self.auth.method) && self.auth.method == 'PrivateKeyJwt'))",
        "rotation is for clients with a client secret",
    ),
    (
        "self.secret.source != 'Ref' || (self.type != 'Public' && !(has(self.auth) && has(self.auth.method) && self.auth.method == 'PrivateKeyJwt'))",
        "secret.source Ref is for clients with a client secret",
    ),
    (
        "!has(self.rotation) || self.secret.source == 'Generate'",
        "rotation is for generated secrets: a secret of your own is rotated by changing it",
    ),
])))]
pub struct ClientSpec {
    /// The Realm that the client belongs to. One of another namespace has to admit it
    /// (`spec.clients.admit`).
    pub realm_ref: ObjectRef,

    /// What the application sends as `client_id`; `<namespace>.<name>` when absent. It can never be
    /// added, changed or removed later. An id that begins with the name of another namespace and a
    /// dot is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,

    /// Name of the application, as people see it at login and consent; the Client's name when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub display_name: Option<String>,

    /// Logo of the application, served from the issuer's own origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<Image>,

    /// The application's privacy policy, linked on the consent page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<WebUrl>,

    /// The application's terms of service, linked on the consent page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<WebUrl>,

    /// Confidential (a web application with a server that keeps a secret), Public (a browser, mobile
    /// or desktop application) or Service (a program that acts in its own name).
    #[serde(rename = "type")]
    pub client_type: ClientType,

    /// Where a browser is sent back to with the answer; compared exactly. https, or http on
    /// 127.0.0.1, [::1] or localhost (any port matches there, RFC 8252 §7.3), or a private-use
    /// scheme with a dot such as `com.example.app:/callback`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub redirect_uris: Vec<RedirectUri>,

    /// Where a browser may be sent after signing out; compared exactly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub post_logout_redirect_uris: Vec<RedirectUri>,

    /// Origins of browser applications that may call the token, userinfo and revocation endpoints
    /// (CORS).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_origins: Vec<Origin>,

    /// Grants that the client may use: AuthorizationCode (`authorization_code`), RefreshToken
    /// (`refresh_token`), ClientCredentials (`client_credentials`). When absent, ClientCredentials
    /// for a Service and the other two for the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub grant_types: Vec<GrantType>,

    /// Scopes that the client may request.
    #[serde(default)]
    pub scopes: ClientScopes,

    /// Resource servers of the realm that the client may get access tokens for (`resource`,
    /// RFC 8707). The first is the audience when the request names none; with none listed, access
    /// tokens are for the issuer itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub audiences: Vec<Audience>,

    /// How the client proves who it is. When absent, ClientSecretBasic, and None for Public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules([
        (
            "has(self.jwks) == (has(self.method) && self.method == 'PrivateKeyJwt')",
            "jwks is set if, and only if, method is PrivateKeyJwt",
        ),
    ])))]
    pub auth: Option<ClientAuth>,

    /// Whether the client must use PKCE with S256 (RFC 7636): Required or Optional. A Public client
    /// must.
    #[serde(default)]
    pub pkce: Pkce,

    /// The tokens of this client.
    #[serde(default)]
    pub tokens: ClientTokens,

    /// Whether people are asked before the client gets what it requests: Remember (once, and again
    /// for what is new), Ask (each time) or Skip (never; for applications of your own).
    #[serde(default)]
    pub consent: ConsentMode,

    /// The Secret that the operator writes beside the Client, with its credentials and endpoints.
    #[serde(default)]
    pub secret: ClientSecret,

    /// Replaces the generated client secret from time to time. When absent, it stays until the
    /// annotation `auth.nauthera.io/rotate` gets a new value. The annotation
    /// `auth.nauthera.io/revoke` replaces it too, and makes the former one invalid at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<SecretRotation>,
}

impl ClientSpec {
    /// The grants in force: those listed, or the default of the type.
    pub fn effective_grant_types(&self) -> Vec<GrantType> {
        if !self.grant_types.is_empty() {
            return self.grant_types.clone();
        }
        match self.client_type {
            ClientType::Service => vec![GrantType::ClientCredentials],
            ClientType::Confidential | ClientType::Public => {
                vec![GrantType::AuthorizationCode, GrantType::RefreshToken]
            }
        }
    }

    /// The authentication method in force: the one set, or the default of the type.
    pub fn effective_auth_method(&self) -> AuthMethod {
        let default = match self.client_type {
            ClientType::Public => AuthMethod::None,
            ClientType::Confidential | ClientType::Service => AuthMethod::ClientSecretBasic,
        };
        self.auth.as_ref().and_then(|auth| auth.method).unwrap_or(default)
    }

    /// Whether the client has a client secret.
    pub fn has_client_secret(&self) -> bool {
        match self.effective_auth_method() {
            AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost => true,
            AuthMethod::PrivateKeyJwt | AuthMethod::None => false,
        }
    }
}

/// Kind of application (RFC 6749 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ClientType {
    /// A web application with a server that keeps a secret.
    Confidential,
    /// A browser, mobile or desktop application.
    Public,
    /// A program that acts in its own name.
    Service,
}

/// A way to get tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GrantType {
    /// `authorization_code` (RFC 6749 §4.1).
    AuthorizationCode,
    /// `refresh_token` (RFC 6749 §6).
    RefreshToken,
    /// `client_credentials` (RFC 6749 §4.4).
    ClientCredentials,
}

/// Scopes that a client may request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("!has(self.default) || self.default.all(s, s in self.allowed)", "default must be among allowed"),
])))]
pub struct ClientScopes {
    /// Every scope that the client may request; a request for another one of the realm is refused (`invalid_scope`).
    /// `offline_access` lets it keep refresh tokens after the session has ended.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub allowed: Vec<ScopeName>,
    /// Scopes of a request that names none. When absent, such a request is refused, or, for client
    /// credentials, gets no scope.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub default: Vec<ScopeName>,
}

impl Default for ClientScopes {
    fn default() -> Self {
        Self {
            allowed: ["openid", "profile", "email"].map(ScopeName::from).into(),
            default: Vec::new(),
        }
    }
}

/// How the client proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClientAuth {
    /// ClientSecretBasic, ClientSecretPost, PrivateKeyJwt (a signed assertion, RFC 7523) or None.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AuthMethod")]
    pub method: Option<AuthMethod>,
    /// For PrivateKeyJwt: the client's public keys (RFC 7517).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JwkSet>,
}

/// Client authentication method (OpenID Connect Core §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AuthMethod {
    /// `client_secret_basic`.
    ClientSecretBasic,
    /// `client_secret_post`.
    ClientSecretPost,
    /// `private_key_jwt`.
    PrivateKeyJwt,
    /// `none`.
    None,
}

/// Public keys (RFC 7517 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JwkSet {
    /// The keys.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub keys: Vec<Jwk>,
}

/// A public key (RFC 7517 §4). Only public members exist here: a private one is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("self.kty != 'RSA' || (has(self.n) && has(self.e))", "an RSA key needs n and e"),
    ("self.kty != 'EC' || (has(self.crv) && has(self.x) && has(self.y))", "an EC key needs crv, x and y"),
    ("self.kty != 'OKP' || (has(self.crv) && has(self.x))", "an OKP key needs crv and x"),
])))]
pub struct Jwk {
    /// Key type: RSA, EC or OKP.
    pub kty: JwkType,
    /// Key id; needed when there are several keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub kid: Option<String>,
    /// Its use; only `sig` makes sense.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub key_use: Option<String>,
    /// Its algorithm. When absent, every algorithm that fits the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub alg: Option<String>,
    /// Curve of an EC or OKP key: P-256, P-384, P-521 or Ed25519.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub crv: Option<String>,
    /// First coordinate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub x: Option<String>,
    /// Second coordinate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub y: Option<String>,
    /// Modulus of an RSA key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1400), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub n: Option<String>,
    /// Exponent of an RSA key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub e: Option<String>,
}

/// Key type (RFC 7518 §6.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum JwkType {
    /// RSA.
    #[serde(rename = "RSA")]
    Rsa,
    /// Elliptic curve.
    #[serde(rename = "EC")]
    Ec,
    /// Octet key pair, such as Ed25519.
    #[serde(rename = "OKP")]
    Okp,
}

/// Whether PKCE is needed (RFC 7636).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Pkce {
    /// A request without a challenge is refused.
    #[default]
    Required,
    /// A challenge is checked when there is one.
    Optional,
}

/// The tokens of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTokens {
    /// Access tokens: Jwt (RFC 9068; an API checks them itself) or Opaque (an API asks the
    /// introspection endpoint).
    pub format: TokenFormat,
    /// Lifetime of access tokens; the realm's when absent or longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = between("10s", "24h")))]
    pub access_token_lifetime: Option<Duration>,
    /// Lifetime of ID tokens; the realm's when absent or longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = between("10s", "24h")))]
    pub id_token_lifetime: Option<Duration>,
    /// How long a chain of refresh tokens can go on; the realm's when absent or longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = between("1m", "8760h")))]
    pub refresh_token_lifetime: Option<Duration>,
    /// How long a refresh token may lie unused; the realm's when absent or longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = between("1m", "8760h")))]
    pub refresh_token_idle: Option<Duration>,
    /// Algorithm that signs ID tokens (ES256, RS256, PS256, EdDSA), one of the realm's; its first
    /// when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SigningAlgorithm")]
    pub id_token_alg: Option<SigningAlgorithm>,
    /// Whether a refresh token is replaced when it is used: Always (a stolen one is noticed) or
    /// Never. A Public client needs Always.
    pub refresh_rotation: RefreshRotation,
}

/// Shape of access tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TokenFormat {
    /// A signed JWT (RFC 9068).
    #[default]
    Jwt,
    /// A value that only the issuer can read.
    Opaque,
}

/// Whether a refresh token is replaced when it is used (RFC 9700 §4.14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RefreshRotation {
    /// Each time.
    #[default]
    Always,
    /// Never.
    Never,
}

/// Whether people are asked for consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConsentMode {
    /// Once, and again for what is new.
    #[default]
    Remember,
    /// Each time.
    Ask,
    /// Never.
    Skip,
}

/// The Secret with the client's credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("(self.source == 'Ref') == has(self.ref)", "ref is set if, and only if, source is Ref"),
])))]
pub struct ClientSecret {
    /// Name of the Secret that is written; `<name of the Client>-oidc` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<ObjectName>,
    /// Further keys for the same values, for applications that expect their own names:
    /// `GF_AUTH_GENERIC_OAUTH_CLIENT_ID: client-id`. The values that exist are client-id,
    /// client-secret, issuer, discovery-url, authorization-endpoint, token-endpoint,
    /// userinfo-endpoint, jwks-uri and end-session-endpoint.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub keys: BTreeMap<String, SecretField>,
    /// Labels that the Secret gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, LabelText>,
    /// Annotations that the Secret gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, AnnotationText>,
    /// Generate (the operator makes the client secret) or Ref (it is read from `ref`).
    pub source: SecretSource,
    /// For Ref: where the client secret is kept.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

/// A value in the Secret of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretField {
    /// The client id.
    ClientId,
    /// The client secret.
    ClientSecret,
    /// The issuer.
    Issuer,
    /// Where the discovery document is.
    DiscoveryUrl,
    /// The authorization endpoint.
    AuthorizationEndpoint,
    /// The token endpoint.
    TokenEndpoint,
    /// The userinfo endpoint.
    UserinfoEndpoint,
    /// Where the issuer's public keys are.
    JwksUri,
    /// The logout endpoint.
    EndSessionEndpoint,
}

/// Where a client secret comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SecretSource {
    /// The operator generates it.
    #[default]
    Generate,
    /// It is read from a Secret of the same namespace.
    Ref,
}

/// When a client secret is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("duration(self.overlap) < duration(self.interval)", "overlap must be shorter than interval"),
])))]
pub struct SecretRotation {
    /// Age at which the secret is replaced.
    #[schemars(extend("x-kubernetes-validations" = between("1h", "17520h")))]
    pub interval: Duration,
    /// How long the former secret stays valid beside the new one.
    #[serde(default = "SecretRotation::default_overlap")]
    #[schemars(extend("x-kubernetes-validations" = between("1m", "720h")))]
    pub overlap: Duration,
    /// Hours of the day in which the secret is replaced; any when absent. What the annotation
    /// `auth.nauthera.io/rotate` asks for is done at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<RotationWindow>,
}

/// Hours of the day, in UTC. A window that ends before it begins spans midnight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("self.from != self.to", "from and to must differ: leave window out to allow any hour"),
])))]
pub struct RotationWindow {
    /// When it begins, as `HH:MM`.
    #[schemars(length(min = 5, max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// When it ends, as `HH:MM`.
    #[schemars(length(min = 5, max = 5), regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub to: String,
}

impl SecretRotation {
    /// The overlap of rotations that set none.
    pub const DEFAULT_OVERLAP: Duration = Duration::hours(24);

    fn default_overlap() -> Duration {
        Self::DEFAULT_OVERLAP
    }
}

/// What is known about the client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientStatus {
    /// Generation of the spec that `Ready` speaks of; -1 before the first.
    #[serde(default)]
    pub observed_generation: i64,
    /// What is known, by condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::schema")]
    pub conditions: Vec<Condition>,
    /// What the application sends as `client_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 400))]
    pub client_id: Option<String>,
    /// Issuer that the application signs people in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub issuer: Option<String>,
    /// The Secret with its credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretStatus>,
    /// What is in force, after the defaults and limits of the realm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectiveClient>,
    /// What the fleet serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ServedConfiguration>,
}

/// The Secret with the client's credentials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretStatus {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Counts the client secrets that were generated, from 1.
    #[schemars(range(min = 0))]
    pub revision: i64,
    /// When the secret will be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation: Option<Time>,
    /// Until when the former secret stays valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_valid_until: Option<Time>,
}

/// What is in force for a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveClient {
    /// The authentication method.
    pub auth_method: AuthMethod,
    /// The grants.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub grant_types: Vec<GrantType>,
    /// The scopes that it may request and that the realm has.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub scopes: Vec<ScopeName>,
    /// Lifetime of its access tokens.
    pub access_token_lifetime: Duration,
    /// Lifetime of its ID tokens.
    pub id_token_lifetime: Duration,
    /// How long its chains of refresh tokens can go on.
    pub refresh_token_lifetime: Duration,
    /// How long its refresh tokens may lie unused.
    pub refresh_token_idle: Duration,
}
