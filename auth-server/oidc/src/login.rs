//! Password sign-in: one form, checked in two calls around the hash that the caller computes.
//!
//! Unknown people, disabled people and wrong passwords get the same answer after the same work. A session begins
//! only here: under a new id, or under the id it had when the same person proves it again.

use std::fmt;

use crate::Secret;
use crate::authorize::flow::{Account, Flow, FormKind, Stage};
use crate::authorize::{self, Answer, PASSWORD_ACR, PASSWORD_AMR, Visit};
use crate::code::Authentication;
use crate::config::IdentifierKind;
use crate::context::{Context, Randomness};
use crate::front_channel::{Browser, FrontChannel, Identifier, Outcome, RefusalKind, SignInAlert, SignInPrompt};
use crate::id::{FlowId, PersonId, SessionId};
use crate::parameters::Parameters;
use crate::person::{Person, PersonState};
use crate::revocation::Revoked;
use crate::session::Session;
use crate::store::{AttemptOutcome, CompletedLogin, LoginOutcome, PasswordAttempt};

/// Bytes of an identifier; longer ones name nobody.
const MAX_IDENTIFIER_BYTES: usize = 256;
/// Characters of a user agent that are recorded.
const MAX_DEVICE_CHARACTERS: usize = 256;

/// What a posted sign-in form leads to.
#[derive(Debug)]
pub enum Begin {
    /// The caller verifies the password, then calls [`finish`].
    Verify(Box<PendingLogin>),
    /// Nothing to verify.
    Answer(FrontChannel),
}

/// A sign-in whose password is to be verified.
pub struct PendingLogin {
    /// What was typed.
    pub password: Secret<String>,
    /// The stored hash (PHC string). `None` for people that do not exist: verify against a hash of today's cost that
    /// nothing matches, so that time tells nothing.
    pub stored_hash: Option<Secret<String>>,
    visit: Visit,
    person: Option<Person>,
    identifier: String,
    source: String,
    device: String,
}

impl fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingLogin").finish_non_exhaustive()
    }
}

/// What the caller found out about a [`PendingLogin`].
#[derive(Debug)]
pub struct Verdict {
    /// Whether the password matches the stored hash.
    pub matched: bool,
    /// A hash of the password with today's parameters, when the stored one is weaker.
    pub upgraded_hash: Option<Secret<String>>,
}

/// Takes a posted sign-in form (`username`, `password`, `flow`, `csrf`). The attempt is counted before any password is
/// verified.
pub async fn begin(ctx: &Context<'_>, browser: &Browser<'_>, parameters: &Parameters, rng: Randomness<'_>) -> Begin {
    match check(ctx, browser, parameters, rng).await {
        Ok(Checked::Pending(pending)) => Begin::Verify(pending),
        Ok(Checked::Answer(answer)) | Err(answer) => Begin::Answer(answer),
    }
}

/// Ends a sign-in: with a session and a redirect that goes on with the request, or with the form again.
pub async fn finish(
    ctx: &Context<'_>,
    pending: Box<PendingLogin>,
    verdict: Verdict,
    rng: Randomness<'_>,
) -> FrontChannel {
    complete(ctx, *pending, verdict, rng)
        .await
        .unwrap_or_else(|answer| answer)
}

/// Asks anybody to sign in.
pub(crate) async fn ask(ctx: &Context<'_>, visit: Visit, rng: Randomness<'_>) -> Answer {
    let (stage, prefill) = match visit.stage {
        Stage::SignInAfresh => (Stage::SignInAfresh, String::new()),
        Stage::SignIn | Stage::SignInAgain(_) | Stage::Choice(_) | Stage::Chosen(_) | Stage::Consent(_) => {
            (Stage::SignIn, visit.request.login_hint.clone().unwrap_or_default())
        }
    };
    show(ctx, visit, stage, prefill, rng).await
}

/// Asks the person of `session` for the password again.
pub(crate) async fn ask_again(ctx: &Context<'_>, visit: Visit, session: &Session, rng: Randomness<'_>) -> Answer {
    let Some(person) = authorize::person_of(ctx, session).await? else {
        return ask(ctx, visit, rng).await;
    };
    let account = Account {
        person: person.id,
        name: authorize::account_name(&person),
        username: person.username,
    };
    show(ctx, visit, Stage::SignInAgain(account), String::new(), rng).await
}

async fn show(ctx: &Context<'_>, mut visit: Visit, stage: Stage, prefill: String, rng: Randomness<'_>) -> Answer {
    let page = visit.page(ctx, stage.clone(), rng).await?;
    let identifier = match stage {
        Stage::SignInAgain(account) => Identifier::Fixed {
            account: account.name,
            switch_url: page.switch_url,
        },
        Stage::SignIn | Stage::SignInAfresh | Stage::Choice(_) | Stage::Chosen(_) | Stage::Consent(_) => {
            Identifier::Ask { prefill }
        }
    };
    let prompt = SignInPrompt {
        form: page.form,
        client: visit.request.recipient.client,
        identifier,
        alert: visit.alert,
        ui_locales: visit.request.ui_locales,
    };
    Ok(FrontChannel::of(Outcome::SignIn(Box::new(prompt))).with_cookies([page.binding.cookie(ctx.realm())]))
}

enum Checked {
    Pending(Box<PendingLogin>),
    Answer(FrontChannel),
}

async fn check(
    ctx: &Context<'_>,
    browser: &Browser<'_>,
    parameters: &Parameters,
    rng: Randomness<'_>,
) -> Result<Checked, FrontChannel> {
    let (flow, presented) = Flow::open_posted(ctx, browser, parameters, FormKind::SignIn, rng)?;
    let expired = flow.is_expired(ctx.now);
    let visit = Visit::go_on(ctx, presented, flow).await?;
    let typed = parameters.get("username").unwrap_or_default().trim();
    if expired {
        let typed = (!typed.is_empty() && is_identifier(typed)).then(|| typed.to_owned());
        return visit.over_again(ctx, typed, rng).await.map(Checked::Answer);
    }
    let (identifier, kinds) = match &visit.stage {
        Stage::SignIn | Stage::SignInAfresh => (typed.to_owned(), ctx.realm().login.identifiers.as_slice()),
        Stage::SignInAgain(account) => (account.username.clone(), [IdentifierKind::Username].as_slice()),
        Stage::Choice(_) | Stage::Chosen(_) | Stage::Consent(_) => {
            return Err(FrontChannel::refused(
                RefusalKind::InvalidRequest,
                "the form is of another page",
            ));
        }
    };
    let password = parameters.get("password").unwrap_or_default();
    let alert = match (identifier.as_str(), password) {
        ("", _) => Some(SignInAlert::MissingIdentifier),
        (_, "") => Some(SignInAlert::MissingPassword),
        (identifier, _) if !is_identifier(identifier) => Some(SignInAlert::WrongCredentials),
        _ => None,
    };
    if let Some(alert) = alert {
        return again(ctx, visit, identifier, alert, rng).await.map(Checked::Answer);
    }
    let attempt = PasswordAttempt {
        identifier: &identifier,
        kinds,
        source: browser.source,
        max_attempts: ctx.realm().login.max_attempts,
        window: ctx.realm().login.attempt_window,
        now: ctx.now,
    };
    let found = match ctx.store.begin_password_attempt(ctx.realm_id(), attempt).await {
        Ok(AttemptOutcome::Counted(found)) => found,
        Ok(AttemptOutcome::TooMany { retry_after }) => {
            let alert = SignInAlert::TooManyAttempts { retry_after };
            return again(ctx, visit, identifier, alert, rng).await.map(Checked::Answer);
        }
        Err(_) => return Err(FrontChannel::unavailable()),
    };
    let (person, stored_hash) = found.map_or((None, None), |found| (Some(found.person), Some(found.password_hash)));
    Ok(Checked::Pending(Box::new(PendingLogin {
        password: Secret::new(password.to_owned()),
        stored_hash,
        visit,
        person,
        identifier,
        source: browser.source.to_owned(),
        device: browser
            .user_agent
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_DEVICE_CHARACTERS)
            .collect(),
    })))
}

fn is_identifier(text: &str) -> bool {
    text.len() <= MAX_IDENTIFIER_BYTES && !text.chars().any(char::is_control)
}

/// The same form once more.
async fn again(ctx: &Context<'_>, mut visit: Visit, typed: String, alert: SignInAlert, rng: Randomness<'_>) -> Answer {
    visit.alert = Some(alert);
    let stage = visit.stage.clone();
    show(ctx, visit, stage, typed, rng).await
}

async fn complete(ctx: &Context<'_>, pending: PendingLogin, verdict: Verdict, rng: Randomness<'_>) -> Answer {
    let PendingLogin {
        password: _,
        stored_hash: _,
        visit,
        person,
        identifier,
        source,
        device,
    } = pending;
    let expected = match &visit.stage {
        Stage::SignInAgain(account) => Some(account.person),
        Stage::SignIn | Stage::SignInAfresh | Stage::Choice(_) | Stage::Chosen(_) | Stage::Consent(_) => None,
    };
    let person = person
        .filter(|_| verdict.matched)
        .filter(|person| person.state == PersonState::Active)
        .filter(|person| expected.is_none_or(|expected| expected == person.id));
    let Some(person) = person else {
        return again(ctx, visit, identifier, SignInAlert::WrongCredentials, rng).await;
    };
    let session = session_of(ctx, &visit, &person);
    let login = CompletedLogin {
        flow: visit.flow,
        flow_expires_at: ctx.now.after(authorize::flow::LIFETIME),
        person: person.id,
        epoch: person.epoch,
        session: session.id,
        session_expires_at: session.expires_at,
        identifier: &identifier,
        source: &source,
        device: &device,
        new_password_hash: verdict.upgraded_hash.as_ref(),
        now: ctx.now,
    };
    match ctx.store.complete_login(ctx.realm_id(), login).await {
        Ok(LoginOutcome::Recorded) => enter(ctx, &visit, &session, rng),
        // A second submit of one form by one browser, with the right password for the same person: nothing new is
        // recorded, and the browser gets the cookie that the lost answer to the first submit carried.
        Ok(LoginOutcome::AlreadySpent { session: first })
            if first == session.id && !ctx.revocations.any_revoked([Revoked::Session(first)]) =>
        {
            enter(ctx, &visit, &session, rng)
        }
        // The form already signed somebody else in, or somebody who has signed out since; or the person changed while
        // the password was verified, which nobody mistyped.
        Ok(LoginOutcome::AlreadySpent { .. } | LoginOutcome::PersonChanged) => {
            visit.over_again(ctx, Some(identifier), rng).await
        }
        Err(_) => Err(FrontChannel::unavailable()),
    }
}

fn enter(ctx: &Context<'_>, visit: &Visit, session: &Session, rng: Randomness<'_>) -> Answer {
    let cookies = session.begin(ctx, rng).map_err(|_| FrontChannel::unavailable())?;
    let binding = visit
        .presented
        .binding
        .as_ref()
        .map(|binding| binding.cookie(ctx.realm()));
    Ok(visit
        .resume_at(ctx, Stage::SignIn, rng)?
        .with_cookies(cookies)
        .with_cookies(binding))
}

/// The session that the sign-in leads to. Its id is new unless the same person was signed in, and the same for
/// every submit of one form by one person, so that a repeated submit is recognised.
fn session_of(ctx: &Context<'_>, visit: &Visit, person: &Person) -> Session {
    let live = visit.presented.session.as_ref();
    let id = live
        .filter(|session| session.person == person.id && session.epoch == person.epoch)
        .map_or_else(|| new_session_id(visit.flow, person.id), |session| session.id);
    Session {
        id,
        person: person.id,
        epoch: person.epoch,
        flow: visit.flow,
        authentication: Authentication {
            time: ctx.now,
            methods: vec![PASSWORD_AMR.to_owned()],
            context: Some(PASSWORD_ACR.to_owned()),
        },
        expires_at: ctx.now.after(ctx.realm().sessions.lifetime),
        last_active: ctx.now,
    }
}

/// UUIDv7 (RFC 9562 §5.7) with the time of the flow, and a digest in place of randomness: the flow's id has enough.
fn new_session_id(flow: FlowId, person: PersonId) -> SessionId {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(b"session");
    context.update(flow.0.as_bytes());
    context.update(person.0.as_bytes());
    let digest = context.finish();
    let mut random = [0_u8; 10];
    for (target, source) in random.iter_mut().zip(digest.as_ref()) {
        *target = *source;
    }
    let millis = flow
        .0
        .as_bytes()
        .iter()
        .take(6)
        .fold(0, |millis, byte| millis << 8 | u64::from(*byte));
    SessionId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}
