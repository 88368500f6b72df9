//! Consent: whether the person lets a client have what it asks for.
//!
//! The decision counts for exactly what was shown, to the person and in the session it was shown to; anything else starts
//! the request again. Allowing twice is as harmless as visiting twice: each visit gets a code of its own.

use crate::authorize::flow::{Asked, Flow, FormKind, Stage};
use crate::authorize::{self, Answer, AuthorizationError, AuthorizationRequest, Prompt, Visit};
use crate::config::ConsentRule;
use crate::context::{Context, Randomness};
use crate::front_channel::{Browser, ConsentPrompt, FrontChannel, Outcome, RefusalKind, ScopePrompt};
use crate::login;
use crate::parameters::Parameters;
use crate::session::Session;

/// Takes a posted consent form (`decision`, `flow`, `csrf`).
pub async fn decide(
    ctx: &Context<'_>,
    browser: &Browser<'_>,
    parameters: &Parameters,
    rng: Randomness<'_>,
) -> FrontChannel {
    check(ctx, browser, parameters, rng)
        .await
        .unwrap_or_else(|answer| answer)
}

/// What the person has to be asked for: `None` when nothing, else what was allowed before.
pub(crate) async fn asked_for(
    ctx: &Context<'_>,
    request: &AuthorizationRequest,
    session: &Session,
) -> Result<Option<Vec<String>>, FrontChannel> {
    let client = &request.recipient.client;
    let always = match (request.prompt, client.consent) {
        (Prompt::Pages { consent: true, .. }, _) | (_, ConsentRule::Ask) => true,
        (_, ConsentRule::Skip) => return Ok(None),
        (_, ConsentRule::Remember) => false,
    };
    let allowed = ctx
        .store
        .consented_scopes(ctx.realm_id(), session.person, &client.client_id)
        .await
        .map_err(|_| FrontChannel::unavailable())?;
    let missing = request.disclosed.iter().any(|scope| !allowed.contains(scope));
    Ok((always || missing).then_some(allowed))
}

/// Asks the person of `session`, who allowed some scopes before.
pub(crate) async fn ask(
    ctx: &Context<'_>,
    mut visit: Visit,
    session: &Session,
    allowed: Vec<String>,
    rng: Randomness<'_>,
) -> Answer {
    let Some(person) = authorize::person_of(ctx, session).await? else {
        return login::ask(ctx, visit, rng).await;
    };
    let asked = Asked {
        session: session.id,
        person: session.person,
        epoch: session.epoch,
        scopes: visit.request.disclosed.clone(),
    };
    let page = visit.page(ctx, Stage::Consent(asked), rng).await?;
    let scopes = visit.request.disclosed.into_iter().filter(|scope| scope != "openid");
    let prompt = ConsentPrompt {
        form: page.form,
        client: visit.request.recipient.client,
        account: authorize::account_name(&person),
        switch_url: page.switch_url,
        scopes: scopes
            .map(|name| ScopePrompt {
                description: ctx
                    .realm()
                    .scopes
                    .get(&name)
                    .and_then(|scope| scope.description.clone()),
                new: !allowed.contains(&name),
                name,
            })
            .collect(),
        ui_locales: visit.request.ui_locales,
    };
    Ok(FrontChannel::of(Outcome::Consent(Box::new(prompt)))
        .with_cookies([page.binding.cookie(ctx.realm())])
        .with_cookies(session.touch(ctx, rng)))
}

async fn check(ctx: &Context<'_>, browser: &Browser<'_>, parameters: &Parameters, rng: Randomness<'_>) -> Answer {
    let (flow, presented) = Flow::open_posted(ctx, browser, parameters, FormKind::Consent, rng)?;
    let expired = flow.is_expired(ctx.now);
    let visit = Visit::go_on(ctx, presented, flow).await?;
    let Stage::Consent(asked) = &visit.stage else {
        return Err(FrontChannel::refused(
            RefusalKind::InvalidRequest,
            "the form is of another page",
        ));
    };
    let session = visit.presented.session.clone().filter(|session| {
        asked.session == session.id && asked.person == session.person && asked.epoch == session.epoch
    });
    let Some(session) = session.filter(|_| !expired && asked.scopes == visit.request.disclosed) else {
        return visit.over_again(ctx, None, rng).await;
    };
    match parameters.get("decision") {
        Some("allow") => {}
        Some("deny") => {
            return Ok(visit.request.recipient.error(
                ctx,
                AuthorizationError::AccessDenied,
                "the person did not allow it",
            ));
        }
        _ => {
            return Err(FrontChannel::refused(
                RefusalKind::InvalidRequest,
                "decision must be allow or deny",
            ));
        }
    }
    ctx.store
        .remember_consent(
            ctx.realm_id(),
            session.person,
            &visit.request.recipient.client.client_id,
            &asked.scopes,
            ctx.now,
        )
        .await
        .map_err(|_| FrontChannel::unavailable())?;
    visit.grant(ctx, &session, rng)
}
