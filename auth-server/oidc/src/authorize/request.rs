//! The authorization request (OpenID Connect Core 1.0 §3.1.2.1) as a list of checks, in the order they are made.
//!
//! Until client and redirect URI are proven, a fault is shown on a page. From then on it goes back to the client.
//! Nothing here looks at who is signed in.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::answer::{AuthorizationError as Error, Recipient, ResponseMode};
use crate::audience::{self, Audience};
use crate::claims::ClaimsRequest;
use crate::config::{Client, ClientAuthentication, GrantType};
use crate::context::Context;
use crate::front_channel::{FrontChannel, Outcome, Refusal, RefusalKind};
use crate::jose::TokenType;
use crate::parameters::Parameters;
use crate::redirect_uri;
use crate::session::Session;

/// Parameters that mean something here, and so are carried along.
const UNDERSTOOD: &[&str] = &[
    "acr_values",
    "claims",
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "id_token_hint",
    "login_hint",
    "max_age",
    "nonce",
    "prompt",
    "redirect_uri",
    "registration",
    "request",
    "request_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "ui_locales",
];
/// Bytes of a nonce; it travels inside the code.
const MAX_NONCE_BYTES: usize = 1024;
/// Bytes of hints; longer ones are ignored.
const MAX_HINT_BYTES: usize = 256;
/// Resources of one request; they travel inside the code.
const MAX_RESOURCES: usize = 8;
/// Characters of an S256 challenge: 256 bits in base64url (RFC 7636 §4.2).
const CHALLENGE_CHARACTERS: usize = 43;

/// A request that passed every check that needs nobody to be signed in.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizationRequest {
    /// Who asks, and where the answer goes.
    pub(crate) recipient: Recipient,
    /// `redirect_uri` as sent.
    pub(crate) redirect_uri_sent: Option<String>,
    /// What is granted when everybody agrees, in the order of the request.
    pub(crate) scopes: Vec<String>,
    /// For the ID token.
    pub(crate) nonce: Option<String>,
    /// S256.
    pub(crate) code_challenge: Option<String>,
    /// Resource indicators, each allowed to the client.
    pub(crate) resources: Vec<String>,
    /// What the person must be asked whatever is known.
    pub(crate) prompt: Prompt,
    /// How old the authentication may be.
    pub(crate) max_age: Option<Duration>,
    /// Who the answer must be about.
    pub(crate) hint: Hint,
    /// What to show in the field.
    pub(crate) login_hint: Option<String>,
    /// Languages for the pages.
    pub(crate) ui_locales: Option<String>,
    /// The `claims` parameter, as far as the client may learn these claims.
    pub(crate) claims: ClaimsRequest,
    /// What a person has to agree to: the scopes, and those behind the claims.
    pub(crate) disclosed: Vec<String>,
}

/// The `prompt` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// `none`: no page may be shown.
    Silent,
    /// The pages to show whatever is known; others when they are needed.
    Pages {
        /// `login`.
        login: bool,
        /// `consent`.
        consent: bool,
        /// `select_account`.
        select_account: bool,
    },
}

impl Prompt {
    /// `None` for values that are not known, and for `none` beside another.
    fn parse(values: &[&str]) -> Option<Self> {
        if values == ["none"] {
            return Some(Self::Silent);
        }
        if !values
            .iter()
            .all(|value| matches!(*value, "login" | "consent" | "select_account"))
        {
            return None;
        }
        Some(Self::Pages {
            login: values.contains(&"login"),
            consent: values.contains(&"consent"),
            select_account: values.contains(&"select_account"),
        })
    }
}

/// The `id_token_hint` parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// Not sent.
    Absent,
    /// An ID token of this issuer, expired or not, about this subject.
    Subject(String),
    /// Not verifiable: it proves nothing, so it is ignored unless nobody may be asked.
    Unverifiable,
}

impl AuthorizationRequest {
    /// Checks a request. Fails with the answer to give.
    pub(crate) fn check(ctx: &Context<'_>, parameters: &Parameters) -> Result<Self, FrontChannel> {
        let (client, redirect_uri) = proven_target(ctx, parameters)?;
        let mode = ResponseMode::parse(parameters.get("response_mode"));
        let recipient = Recipient {
            client: Arc::clone(client),
            redirect_uri,
            mode: mode.unwrap_or(ResponseMode::Query),
            state: parameters.get("state").map(str::to_owned),
        };
        let checked = if mode.is_none() {
            Err((Error::InvalidRequest, "response_mode must be query or form_post"))
        } else {
            Self::check_rest(ctx, parameters, &recipient)
        };
        checked.map_err(|(error, description)| recipient.error(ctx, error, description))
    }

    fn check_rest(ctx: &Context<'_>, parameters: &Parameters, recipient: &Recipient) -> Result<Self, Fault> {
        refuse_unsupported(parameters)?;
        let client = &recipient.client;
        require_code(parameters, client)?;
        let scopes = scopes(ctx, parameters, client)?;
        let claims = claims(parameters)?.permitted(ctx.realm(), client);
        let request = Self {
            recipient: recipient.clone(),
            redirect_uri_sent: parameters.get("redirect_uri").map(str::to_owned),
            code_challenge: code_challenge(parameters, client)?,
            disclosed: claims.disclosed(ctx.realm(), client, &scopes),
            scopes,
            nonce: bounded_nonce(parameters)?,
            resources: resources(parameters, client)?,
            prompt: Prompt::parse(&parameters.list("prompt")).ok_or((
                Error::InvalidRequest,
                "prompt has a value or a combination that is not supported",
            ))?,
            max_age: max_age(parameters)?,
            hint: Hint::verify(ctx, parameters.get("id_token_hint")),
            login_hint: short(parameters.get("login_hint")),
            ui_locales: short(parameters.get("ui_locales")),
            claims,
        };
        let reachable = &request.claims.essential_acr;
        if !reachable.is_empty() && !reachable.iter().any(|acr| acr == super::PASSWORD_ACR) {
            return Err((
                Error::UnmetAuthenticationRequirements,
                "no requested acr can be reached",
            ));
        }
        Ok(request)
    }

    /// The same request, form-encoded, without what is not understood.
    pub(crate) fn encode(parameters: &Parameters) -> String {
        let mut encoded = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in parameters.iter() {
            if UNDERSTOOD.contains(&name) && !value.is_empty() {
                encoded.append_pair(name, value);
            }
        }
        encoded.finish()
    }

    /// Whether an answer about the person of `session` is one the client can use (OpenID Connect Core 1.0 §3.1.2.2
    /// and §5.5.1).
    pub(crate) fn accepts(&self, session: &Session) -> bool {
        let hinted = match &self.hint {
            Hint::Absent => true,
            Hint::Unverifiable => self.prompt != Prompt::Silent,
            Hint::Subject(subject) => *subject == session.person.to_string(),
        };
        let claimed = self.claims.subject.as_ref();
        hinted && claimed.is_none_or(|subject| *subject == session.person.to_string())
    }
}

/// What is wrong, and a sentence for the developer of the client.
type Fault = (Error, &'static str);

/// The client and the redirect URI, or the page that says what is wrong with them.
fn proven_target<'a>(ctx: &Context<'a>, parameters: &Parameters) -> Result<(&'a Arc<Client>, String), FrontChannel> {
    let refuse = |kind, detail: &'static str| {
        FrontChannel::of(Outcome::Refused(Refusal {
            ui_locales: short(parameters.get("ui_locales")),
            ..Refusal::new(kind, detail)
        }))
    };
    let client_id = parameters
        .get("client_id")
        .ok_or_else(|| refuse(RefusalKind::UnknownClient, "client_id is missing"))?;
    let client = ctx
        .served
        .client(client_id)
        .ok_or_else(|| refuse(RefusalKind::UnknownClient, "client_id names no client of this realm"))?;
    match (parameters.get("redirect_uri"), &*client.redirect_uris) {
        (Some(sent), registered) if redirect_uri::is_registered(registered, sent) => Ok((client, sent.to_owned())),
        (Some(_), _) => Err(refuse(
            RefusalKind::RedirectUri,
            "redirect_uri is not registered for this client",
        )),
        // RFC 6749 §3.1.2.3; OpenID Connect always demands the parameter (Core 1.0 §3.1.2.1).
        (None, [only]) if !parameters.list("scope").contains(&"openid") => Ok((client, only.clone())),
        (None, _) => Err(refuse(RefusalKind::RedirectUri, "redirect_uri is missing")),
    }
}

fn refuse_unsupported(parameters: &Parameters) -> Result<(), Fault> {
    for (name, error, description) in [
        (
            "request",
            Error::RequestNotSupported,
            "request objects are not supported",
        ),
        (
            "request_uri",
            Error::RequestUriNotSupported,
            "request_uri is not supported",
        ),
        (
            "registration",
            Error::RegistrationNotSupported,
            "registration is not supported",
        ),
    ] {
        if parameters.get(name).is_some() {
            return Err((error, description));
        }
    }
    Ok(())
}

fn require_code(parameters: &Parameters, client: &Client) -> Result<(), Fault> {
    match parameters.get("response_type") {
        Some("code") if client.grant_types.contains(&GrantType::AuthorizationCode) => Ok(()),
        Some("code") => Err((Error::UnauthorizedClient, "the client may not use authorization codes")),
        Some(_) => Err((Error::UnsupportedResponseType, "response_type must be code")),
        None => Err((Error::InvalidRequest, "response_type is missing")),
    }
}

/// RFC 7636 §4.3, without `plain`. Public clients always need a challenge (RFC 9700 §2.1.1).
fn code_challenge(parameters: &Parameters, client: &Client) -> Result<Option<String>, Fault> {
    let required = client.pkce_required || client.authentication == ClientAuthentication::None;
    match (
        parameters.get("code_challenge"),
        parameters.get("code_challenge_method"),
    ) {
        (None, None) if required => Err((Error::InvalidRequest, "code_challenge is required")),
        (None, None) => Ok(None),
        (None, Some(_)) => Err((Error::InvalidRequest, "code_challenge is missing")),
        (Some(challenge), Some("S256")) => {
            let well_formed = challenge.len() == CHALLENGE_CHARACTERS
                && challenge
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            let malformed = (
                Error::InvalidRequest,
                "code_challenge is not a SHA-256 digest in base64url",
            );
            well_formed.then(|| Some(challenge.to_owned())).ok_or(malformed)
        }
        (Some(_), _) => Err((Error::InvalidRequest, "code_challenge_method must be S256")),
    }
}

/// Scopes that the realm does not know are ignored (OpenID Connect Core 1.0 §3.1.2.1). One that it knows but this client
/// may not have is an error rather than a silent loss (RFC 6749 §3.3), so that a wrong registration shows at once.
fn scopes(ctx: &Context<'_>, parameters: &Parameters, client: &Client) -> Result<Vec<String>, Fault> {
    let mut asked = parameters.list("scope");
    if asked.is_empty() {
        asked = client.default_scopes.iter().map(String::as_str).collect();
    }
    asked.retain(|scope| ctx.realm().scopes.contains_key(*scope));
    if !client.grant_types.contains(&GrantType::RefreshToken) {
        // It could have no effect (OpenID Connect Core 1.0 §11).
        asked.retain(|scope| *scope != "offline_access");
    }
    if asked.is_empty() {
        return Err((Error::InvalidScope, "scope holds nothing that this realm knows"));
    }
    if asked
        .iter()
        .any(|scope| !client.scopes.iter().any(|allowed| allowed == scope))
    {
        return Err((Error::InvalidScope, "scope holds one that this client may not ask for"));
    }
    Ok(asked.into_iter().map(str::to_owned).collect())
}

fn bounded_nonce(parameters: &Parameters) -> Result<Option<String>, Fault> {
    match parameters.get("nonce") {
        Some(nonce) if nonce.len() > MAX_NONCE_BYTES => Err((Error::InvalidRequest, "nonce is too long")),
        nonce => Ok(nonce.map(str::to_owned)),
    }
}

/// RFC 8707 §2.1.
fn resources(parameters: &Parameters, client: &Client) -> Result<Vec<String>, Fault> {
    let mut resources: Vec<String> = Vec::new();
    for resource in parameters.all("resource") {
        if !audience::is_allowed(client, resource) || resources.len() == MAX_RESOURCES {
            return Err((Error::InvalidTarget, "resource is not one of this client"));
        }
        if !resources.iter().any(|known| known == resource) {
            resources.push(resource.to_owned());
        }
    }
    Ok(resources)
}

/// Whole seconds; more than any clock holds means no limit.
fn max_age(parameters: &Parameters) -> Result<Option<Duration>, Fault> {
    let Some(text) = parameters.get("max_age") else {
        return Ok(None);
    };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err((Error::InvalidRequest, "max_age must be a number of seconds"));
    }
    Ok(Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX))))
}

fn claims(parameters: &Parameters) -> Result<ClaimsRequest, Fault> {
    parameters.get("claims").map_or_else(
        || Ok(ClaimsRequest::default()),
        |text| ClaimsRequest::parse(text).map_err(|_| (Error::InvalidRequest, "claims is not a claims request")),
    )
}

fn short(value: Option<&str>) -> Option<String> {
    value
        .filter(|value| value.len() <= MAX_HINT_BYTES && !value.chars().any(char::is_control))
        .map(str::to_owned)
}

/// What an ID token given as a hint says.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct HintClaims {
    iss: String,
    /// The subject.
    pub(crate) sub: String,
    /// Whom it was issued to.
    aud: Audience,
    /// The session it was issued in.
    #[serde(default)]
    pub(crate) sid: Option<String>,
}

impl HintClaims {
    /// The client it was issued to, when there is only one.
    pub(crate) fn client_id(&self) -> Option<&str> {
        let mut audiences = self.aud.iter();
        audiences.next().filter(|_| audiences.next().is_none())
    }

    /// The claims of an ID token of this issuer. It may have expired.
    pub(crate) fn verify(ctx: &Context<'_>, token: &str) -> Option<Self> {
        let claims = ctx.keys().verify(TokenType::IdToken, token).ok()?;
        let claims: Self = serde_json::from_slice(&claims).ok()?;
        (claims.iss == ctx.issuer()).then_some(claims)
    }
}

impl Hint {
    fn verify(ctx: &Context<'_>, token: Option<&str>) -> Self {
        let Some(token) = token else {
            return Self::Absent;
        };
        HintClaims::verify(ctx, token).map_or(Self::Unverifiable, |claims| Self::Subject(claims.sub))
    }
}
