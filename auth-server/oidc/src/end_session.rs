//! Sign-out (OpenID Connect RP-Initiated Logout 1.0).
//!
//! An ID token of the live session is proof enough to end it and go back to the client. Anything less is confirmed by the
//! person. An address that is not exactly registered is never gone to, and without an ID token a registered one is
//! only offered as a link. A POST is sealed and sent on to a GET before any cookie is looked at.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::authorize::flow::{self, Crossing, FormKind};
use crate::authorize::{self, Answer, HintClaims};
use crate::config::Client;
use crate::context::{Context, Randomness};
use crate::endpoint;
use crate::front_channel::{Browser, Form, FrontChannel, LogoutPrompt, Method, Outcome, Refusal, RefusalKind};
use crate::id::{FlowId, SessionId};
use crate::parameters::Parameters;
use crate::redirect_uri;
use crate::seal::Purpose;
use crate::session::{self, Binding, Presented, Session};

/// Parameters that mean something here, and so are carried along.
const UNDERSTOOD: &[&str] = &[
    "client_id",
    "id_token_hint",
    "post_logout_redirect_uri",
    "state",
    "ui_locales",
];
/// Bytes of a posted request that is sent on in an address.
const MAX_CROSSING_BYTES: usize = 4 * 1024;

/// Answers a request to the end-session endpoint.
pub async fn respond(
    ctx: &Context<'_>,
    browser: &Browser<'_>,
    parameters: &Parameters,
    rng: Randomness<'_>,
) -> FrontChannel {
    let answer = match (browser.method, parameters.get("flow")) {
        (Method::Get, Some(sealed)) => resume(ctx, browser, sealed, rng).await,
        (Method::Get, None) => start(ctx, browser, parameters, rng).await,
        (Method::Post, _) => forward(ctx, parameters, rng),
    };
    answer.unwrap_or_else(|answer| answer)
}

/// Takes a posted confirmation (`flow`, `csrf`).
pub async fn confirm(
    ctx: &Context<'_>,
    browser: &Browser<'_>,
    parameters: &Parameters,
    rng: Randomness<'_>,
) -> FrontChannel {
    check(ctx, browser, parameters, rng)
        .await
        .unwrap_or_else(|answer| answer)
}

/// Where a sign-out ends.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Destination {
    /// A registered address of the client, with `state`.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    /// Whether the client proved itself, so that the browser may be sent there.
    #[serde(rename = "p", default)]
    proven: bool,
    /// The client.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    ui_locales: Option<String>,
}

/// A confirmation in progress.
#[derive(Serialize, Deserialize)]
struct Pending {
    #[serde(rename = "f")]
    id: FlowId,
    #[serde(rename = "x")]
    expires_at: Timestamp,
    #[serde(rename = "b")]
    browser: String,
    #[serde(rename = "s")]
    session: SessionId,
    #[serde(rename = "d")]
    destination: Destination,
}

/// What the `id_token_hint` is worth.
enum Hint {
    Absent,
    /// An ID token of this issuer, expired or not.
    Verified(HintClaims),
    Unverifiable,
}

impl Hint {
    fn read(ctx: &Context<'_>, parameters: &Parameters) -> Self {
        let Some(token) = parameters.get("id_token_hint") else {
            return Self::Absent;
        };
        HintClaims::verify(ctx, token).map_or(Self::Unverifiable, Self::Verified)
    }

    /// Whether it is an ID token of this very session.
    fn is_of(&self, session: &Session) -> bool {
        match self {
            Self::Verified(claims) => {
                claims.sub == session.person.to_string() && claims.sid == Some(session.id.to_string())
            }
            Self::Absent | Self::Unverifiable => false,
        }
    }
}

fn forward(ctx: &Context<'_>, parameters: &Parameters, rng: Randomness<'_>) -> Answer {
    let mut encoded = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters.iter() {
        if UNDERSTOOD.contains(&name) && !value.is_empty() {
            encoded.append_pair(name, value);
        }
    }
    let encoded = encoded.finish();
    if encoded.len() > MAX_CROSSING_BYTES {
        return Err(FrontChannel::refused(
            RefusalKind::InvalidRequest,
            "the sign-out request is too large",
        ));
    }
    authorize::redirect(Crossing::EndSession(encoded).url(ctx, rng))
}

async fn resume(ctx: &Context<'_>, browser: &Browser<'_>, sealed: &str, rng: Randomness<'_>) -> Answer {
    let parameters = match ctx.keys().sealer().open(Purpose::Request, sealed) {
        Ok(Crossing::EndSession(encoded)) => Parameters::parse(encoded.as_bytes()).ok(),
        Ok(Crossing::Authorize(_)) | Err(_) => None,
    };
    let parameters = parameters.ok_or_else(|| expired(ctx, "flow is not a sign-out request of this realm"))?;
    start(ctx, browser, &parameters, rng).await
}

async fn start(ctx: &Context<'_>, browser: &Browser<'_>, parameters: &Parameters, rng: Randomness<'_>) -> Answer {
    let hint = Hint::read(ctx, parameters);
    let destination = destination(ctx, parameters, &hint)?;
    let presented = Presented::read(ctx, browser.cookies)?;
    match presented.session.clone() {
        Some(session) if hint.is_of(&session) => end(ctx, &session, destination).await,
        Some(session) => ask(ctx, presented, &session, destination, rng).await,
        None => Ok(signed_out(ctx, destination)),
    }
}

/// Where the request wants to end, when that is allowed.
fn destination(ctx: &Context<'_>, parameters: &Parameters, hint: &Hint) -> Result<Destination, FrontChannel> {
    let refuse = |kind, detail: &'static str| Err(FrontChannel::refused(kind, detail));
    let named = parameters.get("client_id");
    let issued_to = match hint {
        Hint::Verified(claims) => claims.client_id(),
        Hint::Absent => None,
        // Whatever was altered, nothing of the request is believed.
        Hint::Unverifiable => return Ok(Destination::default()),
    };
    if let (Some(named), Hint::Verified(_)) = (named, hint)
        && issued_to != Some(named)
    {
        return refuse(
            RefusalKind::InvalidRequest,
            "client_id is not the audience of id_token_hint",
        );
    }
    let client = issued_to.or(named).and_then(|client_id| ctx.served.client(client_id));
    let uri = match (parameters.get("post_logout_redirect_uri"), client) {
        (None, _) => None,
        (Some(uri), Some(client)) if redirect_uri::is_registered_exactly(&client.post_logout_redirect_uris, uri) => {
            let state = parameters.get("state").map(|state| ("state", state));
            Some(redirect_uri::with_parameters(uri, state))
        }
        (Some(_), Some(_)) => {
            return refuse(
                RefusalKind::PostLogoutRedirectUri,
                "post_logout_redirect_uri is not registered for this client",
            );
        }
        (Some(_), None) => {
            return refuse(
                RefusalKind::PostLogoutRedirectUri,
                "post_logout_redirect_uri needs id_token_hint or client_id",
            );
        }
    };
    Ok(Destination {
        uri,
        proven: issued_to.is_some(),
        client_id: client.map(|client| client.client_id.clone()),
        ui_locales: parameters
            .get("ui_locales")
            .map(|tags| tags.chars().take(256).collect()),
    })
}

async fn ask(
    ctx: &Context<'_>,
    presented: Presented,
    session: &Session,
    destination: Destination,
    rng: Randomness<'_>,
) -> Answer {
    let binding = presented.binding.unwrap_or_else(|| Binding::generate(rng));
    let client = client_of(ctx, &destination).cloned();
    let ui_locales = destination.ui_locales.clone();
    let pending = Pending {
        id: FlowId::generate(ctx.now, rng),
        expires_at: ctx.now.after(flow::LIFETIME),
        browser: flow::browser_digest(ctx, &binding),
        session: session.id,
        destination,
    };
    let sealed = ctx.keys().sealer().seal(FormKind::SignOut.purpose(), &pending, rng);
    let form = Form {
        flow: sealed.map_err(|_| FrontChannel::unavailable())?,
        csrf: flow::form_token(ctx, &binding, FormKind::SignOut, pending.id),
    };
    // Who it is only helps; signing out must not depend on it.
    let person = authorize::person_of(ctx, session).await.ok().flatten();
    let prompt = LogoutPrompt {
        form,
        account: person.as_ref().map(authorize::account_name),
        client,
        ui_locales,
    };
    Ok(FrontChannel::of(Outcome::ConfirmLogout(Box::new(prompt))).with_cookies([binding.cookie(ctx.realm())]))
}

async fn check(ctx: &Context<'_>, browser: &Browser<'_>, parameters: &Parameters, rng: Randomness<'_>) -> Answer {
    flow::require_own_form(ctx, browser)?;
    let presented = Presented::read(ctx, browser.cookies)?;
    let pending: Pending = parameters
        .get("flow")
        .and_then(|sealed| ctx.keys().sealer().open(FormKind::SignOut.purpose(), sealed).ok())
        .ok_or_else(|| expired(ctx, "the form is not one of this realm"))?;
    let binding = presented
        .binding
        .clone()
        .filter(|binding| flow::equal(&flow::browser_digest(ctx, binding), &pending.browser))
        .ok_or_else(|| {
            FrontChannel::refused(
                RefusalKind::OtherBrowser,
                "the cookie that ties the sign-out to this browser is missing or another",
            )
        })?;
    flow::require_token(
        parameters,
        &flow::form_token(ctx, &binding, FormKind::SignOut, pending.id),
    )?;
    match presented.session.clone() {
        None => Ok(signed_out(ctx, pending.destination)),
        Some(session) if session.id == pending.session && ctx.now < pending.expires_at => {
            end(ctx, &session, pending.destination).await
        }
        // Too old, or signed in as somebody else since: the person sees whom it is about now.
        Some(session) => ask(ctx, presented, &session, pending.destination, rng).await,
    }
}

fn expired(ctx: &Context<'_>, detail: &'static str) -> FrontChannel {
    FrontChannel::of(Outcome::Refused(Refusal {
        start_again: Some(ctx.url(endpoint::END_SESSION)),
        ..Refusal::new(RefusalKind::Expired, detail)
    }))
}

async fn end(ctx: &Context<'_>, session: &Session, destination: Destination) -> Answer {
    let revocation = session.revocation(ctx);
    ctx.store
        .revoke(ctx.realm_id(), &[revocation], ctx.now)
        .await
        .map_err(|_| FrontChannel::unavailable())?;
    ctx.revocations.record([revocation]);
    Ok(signed_out(ctx, destination))
}

fn signed_out(ctx: &Context<'_>, destination: Destination) -> FrontChannel {
    let client = client_of(ctx, &destination);
    let outcome = match destination.uri {
        Some(location) if destination.proven => Outcome::Redirect { location },
        continue_uri => Outcome::LoggedOut {
            client_name: client.map(|client| client.display_name.clone()),
            continue_uri,
            ui_locales: destination.ui_locales,
        },
    };
    FrontChannel::of(outcome).with_cookies(session::removal(ctx.realm()))
}

fn client_of<'a>(ctx: &Context<'a>, destination: &Destination) -> Option<&'a Arc<Client>> {
    destination
        .client_id
        .as_deref()
        .and_then(|client_id| ctx.served.client(client_id))
}
