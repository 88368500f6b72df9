//! `Realm`: one issuer on a fleet, with its keys, lifetimes, scopes, login rules and look.
//!
//! Owned by the identity team. Its issuer identifies it for ever: people, grants and keys belong
//! to the issuer.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel::{admission, between, rules};
use crate::duration::Duration;
use crate::reference::{AdmitFrom, NamespaceSelector, ObjectRef};
use crate::status::ServedConfiguration;
use crate::text::{Audience, ClaimName, HexColor, HostPattern, LanguageTag, NamespaceName, ScopeName, WebUrl};

/// One issuer on a fleet of auth servers: its keys, lifetimes, scopes, login rules and look.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "auth.nauthera.io",
    version = "v1alpha1",
    kind = "Realm",
    plural = "realms",
    namespaced,
    shortname = "nrealm",
    category = "nauthera",
    status = "RealmStatus",
    derive = "PartialEq",
    doc = "One issuer on a fleet of auth servers: its keys, lifetimes, scopes, login rules and look.",
    printcolumn = r#"{"name": "Issuer", "type": "string", "jsonPath": ".spec.issuer", "description": "The issuer, as it stands in tokens"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether the realm is live on every ready replica"}"#,
    printcolumn = r#"{"name": "Server", "type": "string", "jsonPath": ".spec.serverRef.name", "description": "The fleet that serves it", "priority": 1}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "description": "Why it is live or not, in one word"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "description": "Why it is live or not"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RealmSpec {
    /// The AuthServer that serves the realm. One of another namespace has to admit it
    /// (`spec.realms.admit`).
    pub server_ref: ObjectRef,

    /// The issuer: an absolute https URL without query, fragment or trailing slash, such as
    /// `https://login.example.com` or `https://example.com/auth`. It stands in every token and can
    /// never change. `http://localhost:PORT` and `http://127.0.0.1:PORT` are for a development
    /// server on one machine; a cluster refuses them.
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-validations" = rules([
        ("self == oldSelf", "issuer cannot change, because people and tokens belong to it: create another Realm"),
        (
            "self.startsWith('https://') || self.matches('^http://(localhost|127[.]0[.]0[.]1):[0-9]{1,5}(/|$)')",
            "must begin with https:// (http:// only for localhost or 127.0.0.1 with a port)",
        ),
        ("!self.matches('[?#@]')", "must not have a query (?), a fragment (#) or a user name (@)"),
        ("!self.endsWith('/')", "must not end with a slash"),
        (
            "self.matches('^https?://[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?([/?#@].*)?$')",
            "the host must be a lower-case DNS name, with or without a port",
        ),
        (
            "self.matches('^[a-z]+://[^/]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?([?#@].*)?$')",
            "the path must consist of plain segments of letters, digits and . _ ~ - that do not begin with a dot",
        ),
    ])))]
    pub issuer: String,

    /// The keys that sign tokens.
    #[serde(default)]
    pub signing: Signing,

    /// How long codes and tokens live. A client may ask for less, never for more.
    #[serde(default)]
    pub tokens: RealmTokens,

    /// How long people stay signed in.
    #[serde(default)]
    pub sessions: Sessions,

    /// Scopes beside the standard ones (`openid`, `profile`, `email`, `address`, `phone`,
    /// `offline_access`), which are always there. Naming a standard one replaces its description.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"],
    ))]
    pub scopes: Vec<Scope>,

    /// Resource servers that access tokens can be issued for (RFC 8707).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["identifier"],
    ))]
    pub resources: Vec<ResourceServer>,

    /// How people sign in.
    #[serde(default)]
    pub login: Login,

    /// Which clients may attach to the realm.
    #[serde(default)]
    pub clients: Clients,

    /// How the pages look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branding: Option<Branding>,

    /// Languages of the pages, the preferred one first: it is used when a browser asks for none of
    /// them. When absent, every language that is built in, English first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub locales: Vec<LanguageTag>,

    /// Sessions, codes and tokens issued before this moment are invalid: what to set after a leak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,

    /// What happens to people and grants when the Realm is deleted: Retain (they are found again
    /// when a Realm of the same namespace, name and issuer is created) or Delete (the same for 24
    /// hours, then they are erased). Keys stay in either case.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// The keys that sign tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules([
    (
        "duration(self.publishAhead) < duration(self.rotationInterval)",
        "publishAhead must be shorter than rotationInterval",
    ),
])))]
pub struct Signing {
    /// Algorithms for which a key is published (ES256, RS256, PS256, EdDSA). The first one signs
    /// what does not ask for another. OpenID Connect Discovery wants RS256 among them; drop it when
    /// no client needs it.
    #[schemars(length(min = 1, max = 4), extend(
        "x-kubernetes-list-type" = "atomic",
        "x-kubernetes-validations" = rules([
            ("self.all(a, self.exists_one(b, a == b))", "must not name an algorithm twice"),
        ]),
    ))]
    pub algorithms: Vec<SigningAlgorithm>,
    /// How often a new key takes over.
    #[schemars(extend("x-kubernetes-validations" = between("1h", "8760h")))]
    pub rotation_interval: Duration,
    /// How long a new key is published before it signs, so that applications that cache keys know
    /// it in time.
    #[schemars(extend("x-kubernetes-validations" = between("1m", "720h")))]
    pub publish_ahead: Duration,
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            algorithms: vec![SigningAlgorithm::Es256, SigningAlgorithm::Rs256],
            rotation_interval: Duration::hours(720),
            publish_ahead: Duration::hours(24),
        }
    }
}

/// Signature algorithm (RFC 7518 §3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningAlgorithm {
    /// The name in `alg` (RFC 7518 §3.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// How long codes and tokens live, at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules([
    (
        "duration(self.refreshTokenIdle) <= duration(self.refreshTokenLifetime)",
        "refreshTokenIdle must not be longer than refreshTokenLifetime",
    ),
])))]
pub struct RealmTokens {
    /// Lifetime of access tokens.
    #[schemars(extend("x-kubernetes-validations" = between("10s", "24h")))]
    pub access_token_lifetime: Duration,
    /// Lifetime of ID tokens.
    #[schemars(extend("x-kubernetes-validations" = between("10s", "24h")))]
    pub id_token_lifetime: Duration,
    /// How long a chain of refresh tokens can go on, counted from the sign-in.
    #[schemars(extend("x-kubernetes-validations" = between("1m", "8760h")))]
    pub refresh_token_lifetime: Duration,
    /// How long a refresh token may lie unused.
    #[schemars(extend("x-kubernetes-validations" = between("1m", "8760h")))]
    pub refresh_token_idle: Duration,
    /// Lifetime of authorization codes.
    #[schemars(extend("x-kubernetes-validations" = between("5s", "10m")))]
    pub code_lifetime: Duration,
}

impl Default for RealmTokens {
    fn default() -> Self {
        Self {
            access_token_lifetime: Duration::minutes(10),
            id_token_lifetime: Duration::minutes(10),
            refresh_token_lifetime: Duration::hours(720),
            refresh_token_idle: Duration::hours(168),
            code_lifetime: Duration::seconds(60),
        }
    }
}

/// How long people stay signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules([
    ("duration(self.idleTimeout) <= duration(self.lifetime)", "idleTimeout must not be longer than lifetime"),
])))]
pub struct Sessions {
    /// A person signs in again after this time, in any case.
    #[schemars(extend("x-kubernetes-validations" = between("1m", "8760h")))]
    pub lifetime: Duration,
    /// A person signs in again after this time without activity.
    #[schemars(extend("x-kubernetes-validations" = between("1m", "8760h")))]
    pub idle_timeout: Duration,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            lifetime: Duration::hours(12),
            idle_timeout: Duration::hours(2),
        }
    }
}

/// A scope (RFC 6749 §3.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// Its name, as clients request it.
    pub name: ScopeName,
    /// What it allows, as the consent page says it: `See your e-mail address`.
    #[schemars(length(min = 1, max = 200))]
    pub description: String,
    /// The description in other languages, by language tag.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "localized_texts")]
    pub localized_descriptions: BTreeMap<String, String>,
    /// Claims of the person that it releases, at the userinfo endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub claims: Vec<ClaimName>,
}

fn localized_texts(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 200},
    })
}

/// A resource server that access tokens can be issued for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceServer {
    /// What stands in `aud`: an absolute URI without fragment, or a plain name.
    pub identifier: Audience,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub description: Option<String>,
}

/// How people sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Login {
    /// What people may type to say who they are: Username, Email.
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub identifiers: Vec<LoginIdentifier>,
    /// Rules for new passwords.
    pub password: PasswordPolicy,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            identifiers: vec![LoginIdentifier::Username, LoginIdentifier::Email],
            password: PasswordPolicy::default(),
        }
    }
}

/// What identifies a person at the login page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LoginIdentifier {
    /// The user name.
    Username,
    /// An e-mail address.
    Email,
}

/// Rules for new passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PasswordPolicy {
    /// Fewest characters.
    #[schemars(range(min = 8, max = 128))]
    pub minimum_length: i32,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self { minimum_length: 10 }
    }
}

/// The clients of a realm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Clients {
    /// Which clients may attach.
    pub admit: AdmitClients,
}

/// Which clients may attach to the realm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = admission([])))]
pub struct AdmitClients {
    /// From which namespaces: Same (only the Realm's own), Selector or Names (these, and the own),
    /// All, or None.
    pub from: AdmitFrom,
    /// For Selector: which namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
    /// For Names: which namespaces. Needs no right to read namespaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub names: Vec<NamespaceName>,
    /// Hosts that redirect URIs of clients from other namespaces may have, such as
    /// `*.apps.example.com`. When absent, any. Loopback addresses need `localhost` here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "set"))]
    pub redirect_hosts: Vec<HostPattern>,
}

/// How the pages look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Branding {
    /// Name of the organisation. When absent, the host of the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub display_name: Option<String>,
    /// Its logo, served from the issuer's own origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo: Option<Image>,
    /// Its colours. Text on them is chosen so that it stays readable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colors: Option<Colors>,
    /// Links at the foot of each page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Links>,
}

/// A small image, inline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// image/svg+xml, image/png, image/webp or image/jpeg.
    pub media_type: ImageType,
    /// The image in base64, at most 24 KiB before encoding: `base64 -w0 logo.svg`.
    #[schemars(length(min = 4, max = 32768), regex(pattern = r"^[A-Za-z0-9+/]+={0,2}$"))]
    pub data: String,
}

/// Media type of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImageType {
    /// SVG.
    #[serde(rename = "image/svg+xml")]
    Svg,
    /// PNG.
    #[serde(rename = "image/png")]
    Png,
    /// WebP.
    #[serde(rename = "image/webp")]
    Webp,
    /// JPEG.
    #[serde(rename = "image/jpeg")]
    Jpeg,
}

impl ImageType {
    /// The media type, for `Content-Type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Svg => "image/svg+xml",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Jpeg => "image/jpeg",
        }
    }
}

/// Colours of the pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Colors {
    /// Buttons, links and the focus ring, as `#rrggbb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<HexColor>,
    /// The page behind the card, in the light scheme, as `#rrggbb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<HexColor>,
}

/// Links at the foot of each page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Links {
    /// The privacy policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy: Option<WebUrl>,
    /// The terms of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<WebUrl>,
    /// Where people find help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support: Option<WebUrl>,
}

/// What happens to the people and grants of a deleted realm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Retain,
    /// They are erased a day later.
    Delete,
}

/// What is known about the realm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RealmStatus {
    /// Generation of the spec that `Ready` speaks of; -1 before the first.
    #[serde(default)]
    pub observed_generation: i64,
    /// What is known, by condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::conditions::schema")]
    pub conditions: Vec<Condition>,
    /// Stable id of the realm, derived from its issuer; what its data is keyed by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub realm_id: Option<String>,
    /// What the fleet serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ServedConfiguration>,
    /// The signing keys, without their secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend(
        "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kid"],
    ))]
    pub signing_keys: Vec<SigningKeyStatus>,
}

/// A signing key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SigningKeyStatus {
    /// Key id, as it stands in the JWKS.
    #[schemars(length(min = 1, max = 128))]
    pub kid: String,
    /// Its algorithm.
    pub algorithm: SigningAlgorithm,
    /// Published (not yet signing), Active (signing) or Retired (only verified against).
    pub stage: KeyStage,
    /// When it came to this stage.
    pub since: Time,
}

/// Stage in the life of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyStage {
    /// In the JWKS, not yet signing.
    Published,
    /// Signing.
    Active,
    /// In the JWKS for what it signed.
    Retired,
}
