//! One Realm as the auth servers serve it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crds::auth_server::Database;
use crds::realm::{Image, ImageType, LoginIdentifier, SigningAlgorithm};
use crds::text::HexColor;
use oidc::Timestamp;
use oidc::config::{
    Branding, IdentifierKind, Issuer, LoginRules, Logo, Realm, SessionRules, SignatureAlgorithm, TokenRules,
};
use oidc::id::RealmId;

use super::{Problem, admit, defaults, scopes};
use crate::world::ObjectKey;

/// Compiles a Realm for the fleet that it names and that admits it. Everything that is wrong is reported at once.
pub(crate) fn compile(key: &ObjectKey, realm: &crds::Realm, fleet: &crds::AuthServer) -> Result<Realm, Vec<Problem>> {
    let spec = &realm.spec;
    let mut problems = Vec::new();
    let issuer = issuer(&spec.issuer, fleet)
        .map_err(|problem| problems.push(problem))
        .ok();
    let branding = branding(spec, issuer.as_ref(), &mut problems);
    let Some(issuer) = issuer.filter(|_| problems.is_empty()) else {
        return Err(problems);
    };
    Ok(Realm {
        id: RealmId::of_issuer(issuer.as_str()),
        name: key.to_string(),
        issuer,
        tokens: token_rules(&spec.tokens),
        sessions: SessionRules {
            lifetime: spec.sessions.lifetime.into(),
            idle: spec.sessions.idle_timeout.into(),
        },
        scopes: scopes::effective(&spec.scopes).into(),
        audiences: spec
            .resources
            .iter()
            .map(|r| r.identifier.as_str().to_owned())
            .collect(),
        login: LoginRules {
            identifiers: spec.login.identifiers.iter().map(|kind| identifier(*kind)).collect(),
            max_attempts: defaults::MAX_ATTEMPTS,
            attempt_window: defaults::ATTEMPT_WINDOW,
        },
        branding,
        locales: locales(&spec.locales),
        not_before: spec
            .not_before
            .as_ref()
            .map(|time| Timestamp::from_unix_seconds(time.0.as_second())),
    })
}

fn issuer(text: &str, fleet: &crds::AuthServer) -> Result<Issuer, Problem> {
    let invalid = |message: String| Problem::invalid("spec.issuer", message);
    let issuer = Issuer::parse(text).map_err(|error| invalid(error.to_string()))?;
    let embedded = match fleet.spec.database {
        Database::Embedded(_) => true,
        Database::Postgres(_) => false,
    };
    if !issuer.is_https() && !embedded {
        let fix = "use https, or a fleet with an embedded database for development";
        return Err(invalid(format!("http is only for a development fleet: {fix}")));
    }
    let host = host(&issuer);
    let admitted = &fleet.spec.realms.admit.hosts;
    if !admit::host_is_admitted(admitted, host) {
        let name = fleet.metadata.name.as_deref().unwrap_or_default();
        let fix = format!("add it to spec.realms.admit.hosts of AuthServer {name}, or use another host");
        return Err(Problem::not_admitted(
            "spec.issuer",
            format!("the fleet does not admit the host {host}: {fix}"),
        ));
    }
    Ok(issuer)
}

/// The host of an issuer, without its port.
pub(crate) fn host(issuer: &Issuer) -> &str {
    let authority = issuer.authority();
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn token_rules(tokens: &crds::realm::RealmTokens) -> TokenRules {
    TokenRules {
        code: tokens.code_lifetime.into(),
        access: tokens.access_token_lifetime.into(),
        id: tokens.id_token_lifetime.into(),
        refresh: tokens.refresh_token_lifetime.into(),
        refresh_idle: tokens.refresh_token_idle.into(),
        refresh_leeway: defaults::REFRESH_LEEWAY,
    }
}

fn identifier(kind: LoginIdentifier) -> IdentifierKind {
    match kind {
        LoginIdentifier::Username => IdentifierKind::Username,
        LoginIdentifier::Email => IdentifierKind::Email,
    }
}

/// The algorithm of the API as the protocol core names it.
pub(crate) fn algorithm(algorithm: SigningAlgorithm) -> SignatureAlgorithm {
    match algorithm {
        SigningAlgorithm::Es256 => SignatureAlgorithm::Es256,
        SigningAlgorithm::Rs256 => SignatureAlgorithm::Rs256,
        SigningAlgorithm::Ps256 => SignatureAlgorithm::Ps256,
        SigningAlgorithm::EdDsa => SignatureAlgorithm::EdDsa,
    }
}

fn locales(own: &[crds::text::LanguageTag]) -> Arc<[String]> {
    if own.is_empty() {
        return defaults::LOCALES.map(str::to_owned).into();
    }
    own.iter().map(|tag| tag.as_str().to_owned()).collect()
}

fn branding(spec: &crds::RealmSpec, issuer: Option<&Issuer>, problems: &mut Vec<Problem>) -> Branding {
    let own = spec.branding.clone().unwrap_or_default();
    let links = own.links.unwrap_or_default();
    let text = |url: crds::text::WebUrl| url.0;
    let fallback = || issuer.map(|issuer| host(issuer).to_owned()).unwrap_or_default();
    Branding {
        display_name: own.display_name.unwrap_or_else(fallback),
        logo: own
            .logo
            .as_ref()
            .and_then(|image| logo(image, "spec.branding.logo", problems)),
        primary: own
            .colors
            .and_then(|c| c.primary)
            .and_then(|c| colour(&c, "spec.branding.colors.primary", problems)),
        privacy_uri: links.privacy.map(text),
        terms_uri: links.terms.map(text),
        support_uri: links.support.map(text),
    }
}

fn colour(colour: &HexColor, field: &str, problems: &mut Vec<Problem>) -> Option<[u8; 3]> {
    let parsed = colour
        .as_str()
        .strip_prefix('#')
        .filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok());
    if parsed.is_none() {
        problems.push(Problem::invalid(field, "must be a colour such as #1a73e8"));
    }
    parsed.map(|number| {
        let [_, red, green, blue] = number.to_be_bytes();
        [red, green, blue]
    })
}

/// Decodes an inline image and compares its content with what it claims to be.
pub(crate) fn logo(image: &Image, field: &str, problems: &mut Vec<Problem>) -> Option<Box<Logo>> {
    let media_type = image.media_type.as_str();
    let Ok(bytes) = BASE64.decode(image.data.trim()) else {
        problems.push(Problem::invalid(
            format!("{field}.data"),
            "must be base64, as `base64 -w0 logo.svg` prints it",
        ));
        return None;
    };
    if bytes.len() > defaults::LOGO_BYTES {
        let message = format!("has {} bytes; at most {} are taken", bytes.len(), defaults::LOGO_BYTES);
        problems.push(Problem::invalid(format!("{field}.data"), message));
        return None;
    }
    let fits = match image.media_type {
        ImageType::Svg => std::str::from_utf8(&bytes).is_ok_and(|text| text.contains("<svg")),
        ImageType::Png => bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        ImageType::Webp => bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"),
        ImageType::Jpeg => bytes.starts_with(b"\xff\xd8\xff"),
    };
    if !fits {
        problems.push(Problem::invalid(
            format!("{field}.data"),
            format!("is not an image of type {media_type}"),
        ));
        return None;
    }
    Some(Box::new(Logo {
        media_type: media_type.to_owned(),
        bytes: bytes.into(),
    }))
}
