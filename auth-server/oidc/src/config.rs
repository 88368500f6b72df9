//! The configuration of a fleet as values: what a compiled custom resource says, proven valid.
//!
//! The operator's compiler makes these values, the `snapshot` crate carries them, [`crate::served`] serves them.
//! They hold no reference to Kubernetes; `name` fields exist for messages only.

mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use self::shared::Shared;
use crate::id::RealmId;
pub use crate::jose::client_keys::ClientKeys;
use crate::{Secret, Timestamp};

/// One compiled unit of configuration: versioned, delivered and rejected on its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// One issuer with its rules.
    Realm(Realm),
    /// The keys of one realm.
    Keys(KeySet),
    /// One relying party.
    Client(Client),
}

impl Resource {
    /// The realm that it is or belongs to.
    pub fn realm(&self) -> RealmId {
        match self {
            Self::Realm(realm) => realm.id,
            Self::Keys(keys) => keys.realm,
            Self::Client(client) => client.realm,
        }
    }
}

/// One issuer with its rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Realm {
    /// Derived from the issuer; every stored row carries it.
    pub id: RealmId,
    /// `namespace/name` of its custom resource, for logs and messages.
    pub name: String,
    /// The issuer URL.
    pub issuer: Issuer,
    /// Lifetimes that apply where a client sets none.
    pub tokens: TokenRules,
    /// Browser session limits.
    pub sessions: SessionRules,
    /// Scopes this realm knows, by name (RFC 6749 §3.3). Always holds `openid`.
    pub scopes: Arc<BTreeMap<String, Scope>>,
    /// Audiences that clients may be granted (RFC 8707).
    pub audiences: Arc<[String]>,
    /// How people sign in.
    pub login: LoginRules,
    /// How pages look.
    pub branding: Branding,
    /// Languages of the pages in order of preference (BCP 47), never empty.
    pub locales: Arc<[String]>,
    /// Everything issued or authenticated before this moment is invalid.
    pub not_before: Option<Timestamp>,
}

/// An issuer identifier (OpenID Connect Discovery 1.0 §3), split once for routing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Issuer {
    url: Box<str>,
    /// Where its path begins.
    path_at: usize,
    secure: bool,
}

/// Why a text is not an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// Not an absolute URL.
    #[error("issuer is not an absolute URL")]
    NotAbsolute,
    /// Neither https nor http on a loopback host.
    #[error("issuer must use https (http only on localhost)")]
    NotSecure,
    /// Query, fragment, user information, trailing slash or a form that is not normalised.
    #[error("issuer must be scheme, host and optional path in normal form, without trailing slash, query or fragment")]
    NotNormal,
}

impl Issuer {
    /// Parses `text`. The text must already be in the form that [`url::Url`] would print (without the slash that it
    /// adds to an empty path), because issuers compare exactly, character by character.
    pub fn parse(text: &str) -> Result<Self, IssuerError> {
        let url = url::Url::parse(text).map_err(|_| IssuerError::NotAbsolute)?;
        let host = url.host_str().ok_or(IssuerError::NotAbsolute)?;
        let secure = match url.scheme() {
            "https" => true,
            "http" if matches!(host, "localhost" | "127.0.0.1" | "[::1]") || host.ends_with(".localhost") => false,
            _ => return Err(IssuerError::NotSecure),
        };
        let path = url.path().trim_end_matches('/');
        let normal = format!("{}{}", url.origin().ascii_serialization(), path);
        let plain =
            url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        if !plain || normal != text || path.contains("//") || path.contains('%') {
            return Err(IssuerError::NotNormal);
        }
        Ok(Self {
            path_at: text.len() - path.len(),
            url: text.into(),
            secure,
        })
    }

    /// The issuer exactly as configured; what `iss` says.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Host with the port when it is not the scheme's default, as a browser writes it in `Host`.
    pub fn authority(&self) -> &str {
        let scheme = if self.secure { "https://" } else { "http://" };
        self.origin().strip_prefix(scheme).unwrap_or_default()
    }

    /// Path prefix: empty, or `/auth` without a trailing slash.
    pub fn path(&self) -> &str {
        self.url.get(self.path_at..).unwrap_or_default()
    }

    /// Scheme, host and port, as in an `Origin` header.
    pub fn origin(&self) -> &str {
        self.url.get(..self.path_at).unwrap_or_default()
    }

    /// Whether the issuer is https. Only loopback issuers of a development fleet are not.
    pub fn is_https(&self) -> bool {
        self.secure
    }
}

/// Lifetimes of what a realm issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenRules {
    /// Authorization code, default 60 s.
    pub code: Duration,
    /// Access token, default 10 min.
    pub access: Duration,
    /// ID token, default 10 min.
    pub id: Duration,
    /// Refresh family from its first token, whatever its use, default 30 days.
    pub refresh: Duration,
    /// Refresh family since its last use, default 7 days.
    pub refresh_idle: Duration,
    /// How long the token before the current one still yields the same successor, default 30 s.
    pub refresh_leeway: Duration,
}

/// Limits of a browser session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRules {
    /// From authentication, whatever its use, default 12 h.
    pub lifetime: Duration,
    /// Since the last request, default 1 h.
    pub idle: Duration,
}

/// A scope and what it releases.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// What the consent page says; `None` for scopes that need no words (`openid`).
    pub description: Option<Localized>,
    /// Claims that userinfo releases for it (OpenID Connect Core 1.0 §5.4).
    pub claims: Vec<String>,
}

/// A text with translations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Localized {
    /// Used when no translation fits.
    pub text: String,
    /// By language tag (BCP 47).
    pub translations: BTreeMap<String, String>,
}

impl Localized {
    /// The text for `locale`: the exact tag, then its language, then the default.
    pub fn in_locale(&self, locale: &str) -> &str {
        let language = locale.split('-').next().unwrap_or(locale);
        self.translations
            .get(locale)
            .or_else(|| self.translations.get(language))
            .unwrap_or(&self.text)
    }
}

/// How people sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRules {
    /// What a person may type to name the account; never empty.
    pub identifiers: Vec<IdentifierKind>,
    /// Failed passwords per person and source within [`LoginRules::attempt_window`] before the answer is to wait.
    pub max_attempts: u32,
    /// The window that failed passwords are counted in.
    pub attempt_window: Duration,
}

/// What a person may type to name the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentifierKind {
    /// The user name.
    Username,
    /// The e-mail address.
    Email,
    /// The phone number (E.164).
    Phone,
}

/// How pages of a realm look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branding {
    /// Shown on every page and in titles.
    pub display_name: String,
    /// Shown on top of every page, served from the realm's own origin.
    pub logo: Option<Box<Logo>>,
    /// Brand colour as red, green, blue.
    pub primary: Option<[u8; 3]>,
    /// Link to the privacy policy (https).
    pub privacy_uri: Option<String>,
    /// Link to the terms of service (https).
    pub terms_uri: Option<String>,
    /// Link to where people get help (https or mailto).
    pub support_uri: Option<String>,
}

/// A small image, delivered with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logo {
    /// `image/svg+xml`, `image/png`, `image/webp` or `image/jpeg`.
    pub media_type: String,
    /// The image.
    pub bytes: Arc<[u8]>,
}

/// The keys of one realm. Servers hold private keys of stages that sign; retired ones keep their public half.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySet {
    /// Whose keys.
    pub realm: RealmId,
    /// For tokens that others verify, newest first.
    pub signing: Vec<SigningKey>,
    /// For values that only this fleet opens, newest first.
    pub sealing: Vec<SealingKey>,
}

/// A signing key.
#[derive(Clone, Debug, PartialEq)]
pub struct SigningKey {
    /// `kid` in headers and JWKS (RFC 7517 §4.5): the RFC 7638 thumbprint.
    pub kid: String,
    /// The one algorithm that it signs with.
    pub algorithm: SignatureAlgorithm,
    /// What it is used for now.
    pub stage: KeyStage,
    /// Private key, PKCS #8 DER. Absent for retired keys.
    pub private: Option<Secret<Vec<u8>>>,
    /// Public key, SubjectPublicKeyInfo DER.
    pub public: Vec<u8>,
}

/// A key for values that only the fleet itself opens: codes, refresh tokens, sessions, login state.
#[derive(Clone, Debug, PartialEq)]
pub struct SealingKey {
    /// Names the key in sealed values: 8 characters.
    pub kid: String,
    /// What it is used for now.
    pub stage: KeyStage,
    /// Input key material of HKDF.
    pub secret: Secret<[u8; 32]>,
}

/// What a key is used for now. A key signs only after every ready replica publishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyStage {
    /// In JWKS, accepted, signs nothing yet.
    Published,
    /// Signs.
    Active,
    /// In JWKS and accepted until everything it signed has expired.
    Retired,
}

/// Signature algorithms (RFC 7518 §3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA P-256 with SHA-256: the default.
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256: what Discovery demands to be offered.
    Rs256,
    /// RSA-PSS with SHA-256.
    Ps256,
    /// Ed25519.
    EdDsa,
}

impl SignatureAlgorithm {
    /// All of them, in order of preference.
    pub const ALL: [Self; 4] = [Self::Es256, Self::Rs256, Self::Ps256, Self::EdDsa];

    /// The JOSE name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// One relying party.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// The realm it belongs to.
    pub realm: RealmId,
    /// `client_id`.
    pub client_id: String,
    /// `namespace/name` of its custom resource, for logs and messages.
    pub name: String,
    /// Shown to people.
    pub display_name: String,
    /// Shown to people, served from the realm's own origin.
    pub logo: Option<Box<Logo>>,
    /// Link on the consent page (https).
    pub policy_uri: Option<String>,
    /// Link on the consent page (https).
    pub tos_uri: Option<String>,
    /// How it proves who it is.
    pub authentication: ClientAuthentication,
    /// Compared exactly, but for the port of loopback addresses (RFC 8252 §7.3).
    pub redirect_uris: Box<[String]>,
    /// Compared exactly.
    pub post_logout_redirect_uris: Box<[String]>,
    /// Origins that may read its token, userinfo and revocation answers (CORS).
    pub allowed_origins: Box<[String]>,
    /// What it may use at the token endpoint.
    pub grant_types: Arc<[GrantType]>,
    /// Scopes it may ask for; each is known to the realm.
    pub scopes: Arc<[String]>,
    /// Scopes it gets when it asks for none.
    pub default_scopes: Arc<[String]>,
    /// Audiences of its access tokens; the first is the default. Empty means the issuer.
    pub audiences: Arc<[String]>,
    /// Whether a code request without `code_challenge` is refused (RFC 7636).
    pub pkce_required: bool,
    /// What its tokens are like.
    pub tokens: Arc<ClientTokens>,
    /// When people are asked.
    pub consent: ConsentRule,
}

/// How a client proves who it is (OpenID Connect Core 1.0 §9).
#[derive(Clone, Debug, PartialEq)]
pub enum ClientAuthentication {
    /// A public client.
    None,
    /// `client_secret_basic`, with the hashes of the secrets that are accepted now.
    SecretBasic(Vec<SecretHash>),
    /// `client_secret_post`, with the hashes of the secrets that are accepted now.
    SecretPost(Vec<SecretHash>),
    /// `private_key_jwt`, with the client's public keys.
    PrivateKeyJwt {
        /// RFC 7517 §5.
        jwks: Box<ClientKeys>,
    },
}

/// SHA-256 of a client secret. Secrets are generated with 256 bits, so a plain hash is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

/// What a client may use at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantType {
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 6749 §4.4.
    ClientCredentials,
}

impl GrantType {
    /// The `grant_type` value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
        }
    }
}

/// What a client's tokens are like. Lifetimes are already bounded by the realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientTokens {
    /// Shape of access tokens.
    pub format: AccessTokenFormat,
    /// Lifetimes after the realm's bounds.
    pub lifetimes: TokenRules,
    /// Algorithm of its ID tokens.
    pub id_token_algorithm: SignatureAlgorithm,
    /// Algorithm of its JWT access tokens.
    pub access_token_algorithm: SignatureAlgorithm,
    /// Whether each refresh yields a new refresh token.
    pub rotate_refresh: bool,
}

/// Shape of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessTokenFormat {
    /// RFC 9068.
    Jwt,
    /// The same claims as a sealed value that only introspection opens.
    Opaque,
}

/// When people are asked for consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsentRule {
    /// At every authorization.
    Ask,
    /// Once per set of scopes.
    Remember,
    /// Never: a first-party application.
    Skip,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_split_once_and_only_normal_forms_are_taken() {
        let issuer = Issuer::parse("https://example.com:8443/auth").unwrap();
        assert_eq!(
            (issuer.authority(), issuer.path(), issuer.origin()),
            ("example.com:8443", "/auth", "https://example.com:8443")
        );
        assert_eq!(
            Issuer::parse("https://example.com").unwrap().origin(),
            "https://example.com"
        );
        assert!(!Issuer::parse("http://localhost:8080/demo").unwrap().is_https());
        for wrong in [
            "https://example.com/",
            "https://example.com:443",
            "https://EXAMPLE.com",
            "https://example.com/a/../b",
            "https://u@example.com",
            "https://example.com?x",
            "https://example.com#x",
            "https://example.com//a",
            "https://example.com/%61",
        ] {
            assert_eq!(Issuer::parse(wrong), Err(IssuerError::NotNormal), "{wrong}");
        }
        assert_eq!(Issuer::parse("http://example.com"), Err(IssuerError::NotSecure));
        assert_eq!(Issuer::parse("example.com"), Err(IssuerError::NotAbsolute));
    }
}
