//! Account choice (`prompt=select_account`): the live account, or another sign-in.

use crate::authorize::flow::{Flow, FormKind, Stage};
use crate::authorize::{self, Answer, Visit};
use crate::context::{Context, Randomness};
use crate::front_channel::{AccountPrompt, Browser, FrontChannel, Outcome, RefusalKind};
use crate::id::FlowId;
use crate::login;
use crate::parameters::Parameters;
use crate::session::Session;

/// Takes a posted account choice (`choice`, `flow`, `csrf`).
pub async fn choose(
    ctx: &Context<'_>,
    browser: &Browser<'_>,
    parameters: &Parameters,
    rng: Randomness<'_>,
) -> FrontChannel {
    check(ctx, browser, parameters, rng)
        .await
        .unwrap_or_else(|answer| answer)
}

/// Offers the account of `session`.
pub(crate) async fn ask(ctx: &Context<'_>, mut visit: Visit, session: &Session, rng: Randomness<'_>) -> Answer {
    let Some(person) = authorize::person_of(ctx, session).await? else {
        return login::ask(ctx, visit, rng).await;
    };
    let page = visit.page(ctx, Stage::Choice(session.id), rng).await?;
    let prompt = AccountPrompt {
        form: page.form,
        client: visit.request.recipient.client,
        account: authorize::account_name(&person),
        display_name: person.profile.name,
        ui_locales: visit.request.ui_locales,
    };
    Ok(FrontChannel::of(Outcome::ChooseAccount(Box::new(prompt)))
        .with_cookies([page.binding.cookie(ctx.realm())])
        .with_cookies(session.touch(ctx, rng)))
}

async fn check(ctx: &Context<'_>, browser: &Browser<'_>, parameters: &Parameters, rng: Randomness<'_>) -> Answer {
    let (flow, presented) = Flow::open_posted(ctx, browser, parameters, FormKind::SignIn, rng)?;
    let expired = flow.is_expired(ctx.now);
    let mut visit = Visit::go_on(ctx, presented, flow).await?;
    let Stage::Choice(offered) = visit.stage else {
        return Err(FrontChannel::refused(
            RefusalKind::InvalidRequest,
            "the form is of another page",
        ));
    };
    let is_offered = |session: &Session| session.id == offered;
    match parameters.get("choice") {
        _ if expired => visit.over_again(ctx, None, rng).await,
        Some("continue") if visit.presented.session.as_ref().is_some_and(is_offered) => {
            visit.resume_at(ctx, Stage::Chosen(offered), rng)
        }
        // Signed out, or signed in as somebody else, since the page was shown.
        Some("continue") => visit.over_again(ctx, None, rng).await,
        Some("other") => {
            visit.flow = FlowId::generate(ctx.now, rng);
            visit.resume_at(ctx, Stage::SignInAfresh, rng)
        }
        _ => Err(FrontChannel::refused(
            RefusalKind::InvalidRequest,
            "choice must be continue or other",
        )),
    }
}
