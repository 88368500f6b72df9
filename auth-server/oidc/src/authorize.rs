//! The authorization endpoint (RFC 6749 §3.1, OpenID Connect Core 1.0 §3.1.2): from a request to a code, by way of the pages
//! that are still needed.
//!
//! Every visit of a browser decides anew from what is in front of it: the request, the session in its cookie, and the
//! sealed flow it carries. A prompt counts as answered when the session was written by this very flow, not because
//! its time looks recent. Issuing a code writes nothing.

mod answer;
pub(crate) mod flow;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use answer::AuthorizationError;
pub(crate) use request::{AuthorizationRequest, HintClaims, Prompt};

use flow::{Carried, Crossing, Flow, Stage};

use crate::code::AuthorizationCode;
use crate::context::{Context, Randomness};
use crate::front_channel::{Browser, Form, FrontChannel, Method, Outcome, Refusal, RefusalKind, SignInAlert};
use crate::id::{FlowId, GrantId, TokenId};
use crate::parameters::Parameters;
use crate::person::{Person, PersonState};
use crate::seal::Purpose;
use crate::session::{Binding, Presented, Session};
use crate::{account_choice, consent, login};

/// `acr` of a sign-in with a password.
pub const PASSWORD_ACR: &str = "urn:nauthera:acr:password";
/// `amr` of a sign-in with a password (RFC 8176 §2).
pub const PASSWORD_AMR: &str = "pwd";

/// Answers a request to the authorization endpoint.
///
/// A POST is checked, sealed and sent on to a GET of this endpoint before any cookie is looked at, because browsers do
/// not send ours along with it. A GET with `flow` goes on where a redirect of ours left off.
pub async fn respond(
    ctx: &Context<'_>,
    browser: &Browser<'_>,
    parameters: &Parameters,
    rng: Randomness<'_>,
) -> FrontChannel {
    let answer = match (browser.method, parameters.get("flow")) {
        (Method::Get, Some(sealed)) => resume(ctx, browser, sealed, rng).await,
        (Method::Get, None) => start(ctx, browser, parameters, rng).await,
        (Method::Post, _) => forward(ctx, parameters, rng).await,
    };
    answer.unwrap_or_else(|answer| answer)
}

/// Either way an answer; `Err` only ends early.
pub(crate) type Answer = Result<FrontChannel, FrontChannel>;

async fn start(ctx: &Context<'_>, browser: &Browser<'_>, parameters: &Parameters, rng: Randomness<'_>) -> Answer {
    let request = AuthorizationRequest::check(ctx, parameters)?;
    let presented = Presented::read(ctx, browser.cookies)?;
    let carried = Carried::Inline(AuthorizationRequest::encode(parameters));
    Visit::begin(ctx, presented, carried, request, rng)
        .proceed(ctx, rng)
        .await
}

async fn forward(ctx: &Context<'_>, parameters: &Parameters, rng: Randomness<'_>) -> Answer {
    AuthorizationRequest::check(ctx, parameters)?;
    let carried = Carried::Inline(AuthorizationRequest::encode(parameters));
    let carried = carried.for_travel(ctx, rng).await?;
    redirect(Crossing::Authorize(carried).url(ctx, rng))
}

async fn resume(ctx: &Context<'_>, browser: &Browser<'_>, sealed: &str, rng: Randomness<'_>) -> Answer {
    if let Ok(crossing) = ctx.keys().sealer().open(Purpose::Request, sealed) {
        let Crossing::Authorize(carried) = crossing else {
            return Err(not_ours());
        };
        let presented = Presented::read(ctx, browser.cookies)?;
        return Visit::restart(ctx, presented, carried, rng).await;
    }
    let presented = Presented::read(ctx, browser.cookies)?;
    let flow = Flow::open_resumed(ctx, &presented, sealed, rng).ok_or_else(not_ours)??;
    if flow.is_expired(ctx.now) {
        return Visit::restart(ctx, presented, flow.request, rng).await;
    }
    Visit::go_on(ctx, presented, flow).await?.proceed(ctx, rng).await
}

fn not_ours() -> FrontChannel {
    FrontChannel::refused(
        RefusalKind::Expired,
        "flow is not one of this realm, or too old to be read",
    )
}

/// A redirect of our own, or the answer when it could not be sealed.
pub(crate) fn redirect(url: Option<String>) -> Answer {
    url.map(FrontChannel::redirect).ok_or_else(FrontChannel::unavailable)
}

/// A browser in front of a checked request.
pub(crate) struct Visit {
    /// What its cookies say.
    pub(crate) presented: Presented,
    /// The checked request.
    pub(crate) request: AuthorizationRequest,
    /// The flow it is in.
    pub(crate) flow: FlowId,
    /// Where the flow is.
    pub(crate) stage: Stage,
    /// What the sign-in page has to say.
    pub(crate) alert: Option<SignInAlert>,
    carried: Carried,
}

/// What a visit needs next, before consent is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// A sign-in of anybody.
    SignIn,
    /// Another proof of the person who is signed in.
    SignInAgain,
    /// A choice between the live session and another sign-in.
    Choice,
    /// Nothing, but the person who just signed in is not the one the client asked for.
    OtherPerson,
    /// Nothing.
    Nothing,
}

impl Visit {
    /// A new flow.
    pub(crate) fn begin(
        ctx: &Context<'_>,
        presented: Presented,
        carried: Carried,
        request: AuthorizationRequest,
        rng: Randomness<'_>,
    ) -> Self {
        Self {
            presented,
            request,
            flow: FlowId::generate(ctx.now, rng),
            stage: Stage::SignIn,
            alert: None,
            carried,
        }
    }

    /// The flow that a browser brought back. Its request is checked again: the configuration may have changed.
    pub(crate) async fn go_on(ctx: &Context<'_>, presented: Presented, flow: Flow) -> Result<Self, FrontChannel> {
        let request = recheck(ctx, &flow.request).await?;
        Ok(Self {
            presented,
            request,
            flow: flow.id,
            stage: flow.stage,
            alert: None,
            carried: flow.request,
        })
    }

    /// The same request in a new flow, as if the client had sent it now.
    pub(crate) async fn restart(
        ctx: &Context<'_>,
        presented: Presented,
        carried: Carried,
        rng: Randomness<'_>,
    ) -> Answer {
        let request = recheck(ctx, &carried).await?;
        Self::begin(ctx, presented, carried, request, rng)
            .proceed(ctx, rng)
            .await
    }

    /// [`Visit::restart`] of what this visit is about; a sign-in page says why, and keeps what was typed.
    pub(crate) async fn over_again(mut self, ctx: &Context<'_>, typed: Option<String>, rng: Randomness<'_>) -> Answer {
        self.flow = FlowId::generate(ctx.now, rng);
        self.stage = Stage::SignIn;
        self.alert = Some(SignInAlert::Expired);
        if typed.is_some() {
            self.request.login_hint = typed;
        }
        self.proceed(ctx, rng).await
    }

    /// Shows the page that is needed next, or ends with an answer to the client.
    pub(crate) async fn proceed(self, ctx: &Context<'_>, rng: Randomness<'_>) -> Answer {
        let need = self.need(ctx);
        let session = match (self.presented.session.clone(), need) {
            (Some(session), Need::Nothing) => session,
            (_, Need::OtherPerson) => return Ok(self.login_required(ctx)),
            _ if self.request.prompt == Prompt::Silent => return Ok(self.login_required(ctx)),
            (Some(session), Need::SignInAgain) => return login::ask_again(ctx, self, &session, rng).await,
            (Some(session), Need::Choice) => return account_choice::ask(ctx, self, &session, rng).await,
            (_, Need::SignIn | Need::SignInAgain | Need::Choice | Need::Nothing) => {
                return login::ask(ctx, self, rng).await;
            }
        };
        match consent::asked_for(ctx, &self.request, &session).await? {
            Some(_) if self.request.prompt == Prompt::Silent => Ok(self.request.recipient.error(
                ctx,
                AuthorizationError::ConsentRequired,
                "the person has not allowed this yet",
            )),
            Some(scopes) => consent::ask(ctx, self, &session, scopes, rng).await,
            None => self.grant(ctx, &session, rng),
        }
    }

    fn need(&self, ctx: &Context<'_>) -> Need {
        let Some(session) = &self.presented.session else {
            return Need::SignIn;
        };
        if session.flow == self.flow {
            return if self.request.accepts(session) {
                Need::Nothing
            } else {
                Need::OtherPerson
            };
        }
        if self.stage == Stage::SignInAfresh || !self.request.accepts(session) {
            return Need::SignIn;
        }
        let too_old = self.request.max_age.is_some_and(|max_age| {
            // Time passes between two looks at a clock, so 0 means always.
            max_age.is_zero() || session.age(ctx.now) > max_age
        });
        match self.request.prompt {
            Prompt::Pages {
                select_account: true, ..
            } if self.stage != Stage::Chosen(session.id) => Need::Choice,
            Prompt::Pages { login: true, .. } => Need::SignInAgain,
            Prompt::Silent | Prompt::Pages { .. } if too_old => Need::SignInAgain,
            Prompt::Silent | Prompt::Pages { .. } => Need::Nothing,
        }
    }

    fn login_required(&self, ctx: &Context<'_>) -> FrontChannel {
        self.request
            .recipient
            .error(ctx, AuthorizationError::LoginRequired, "the person has to sign in")
    }

    /// Issues a code to the client for the person of `session`.
    pub(crate) fn grant(self, ctx: &Context<'_>, session: &Session, rng: Randomness<'_>) -> Answer {
        let request = self.request;
        let recipient = request.recipient;
        let code = AuthorizationCode {
            id: TokenId::generate(ctx.now, rng),
            grant: GrantId::generate(ctx.now, rng),
            client_id: recipient.client.client_id.clone(),
            redirect_uri: request.redirect_uri_sent,
            issued_at: ctx.now,
            expires_at: ctx.now.after(recipient.client.tokens.lifetimes.code),
            person: session.person,
            epoch: session.epoch,
            session: session.id,
            authentication: session.authentication.clone(),
            scopes: request.scopes,
            nonce: request.nonce,
            code_challenge: request.code_challenge,
            resources: request.resources,
            claims: request.claims,
        };
        let code = code.seal(ctx.keys(), rng).map_err(|_| FrontChannel::unavailable())?;
        Ok(recipient.code(ctx, code).with_cookies(session.touch(ctx, rng)))
    }

    /// This visit as a form of a page: what the form carries, the flow for further links, and the cookie that ties it
    /// to the browser.
    pub(crate) async fn page(
        &mut self,
        ctx: &Context<'_>,
        stage: Stage,
        rng: Randomness<'_>,
    ) -> Result<Page, FrontChannel> {
        self.carried = self.carried.clone().for_travel(ctx, rng).await?;
        let binding = self.presented.binding.clone();
        let binding = binding.unwrap_or_else(|| Binding::generate(rng));
        let flow = Flow::new(ctx, &binding, self.flow, self.carried.clone(), stage);
        let afresh = FlowId::generate(ctx.now, rng);
        let afresh = Flow::new(ctx, &binding, afresh, self.carried.clone(), Stage::SignInAfresh);
        let sealed = flow.form(ctx, &binding, rng).zip(afresh.resume_url(ctx, rng));
        let (form, switch_url) = sealed.ok_or_else(FrontChannel::unavailable)?;
        Ok(Page {
            form,
            switch_url,
            binding,
        })
    }

    /// A redirect of ours to where this flow goes on from `stage`.
    pub(crate) fn resume_at(&self, ctx: &Context<'_>, stage: Stage, rng: Randomness<'_>) -> Answer {
        let binding = self.presented.binding.as_ref().ok_or_else(not_ours)?;
        redirect(Flow::new(ctx, binding, self.flow, self.carried.clone(), stage).resume_url(ctx, rng))
    }
}

/// What a page about a flow needs.
pub(crate) struct Page {
    /// Its hidden fields.
    pub(crate) form: Form,
    /// Leads to the sign-in of somebody else.
    pub(crate) switch_url: String,
    /// The browser it is rendered for.
    pub(crate) binding: Binding,
}

async fn recheck(ctx: &Context<'_>, carried: &Carried) -> Result<AuthorizationRequest, FrontChannel> {
    let parameters = carried.parameters(ctx).await?.ok_or_else(|| {
        FrontChannel::of(Outcome::Refused(Refusal::new(
            RefusalKind::Expired,
            "the request behind the form is not kept any longer",
        )))
    })?;
    AuthorizationRequest::check(ctx, &parameters)
}

/// The person of a session as stored, unless the session is over for the person.
pub(crate) async fn person_of(ctx: &Context<'_>, session: &Session) -> Result<Option<Person>, FrontChannel> {
    let person = ctx.store.person(ctx.realm_id(), session.person).await;
    let person = person.map_err(|_| FrontChannel::unavailable())?;
    Ok(person.filter(|person| person.state == PersonState::Active && person.epoch == session.epoch))
}

/// The account as its person knows it.
pub(crate) fn account_name(person: &Person) -> String {
    person.profile.email.clone().unwrap_or_else(|| person.username.clone())
}
