//! What is in progress between two requests of a browser, carried by the browser itself in sealed form.
//!
//! A flow travels in forms and in our own redirects. It opens only in its realm, is accepted only from the browser
//! whose binding it names, and a form also needs the token that is derived from that binding. A flow that is authentic
//! but too old is good for one thing: starting its own request again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::Timestamp;
use crate::context::{Context, Randomness};
use crate::endpoint;
use crate::front_channel::{Browser, Form, FrontChannel, Method, Outcome, Refusal, RefusalKind};
use crate::id::{FlowId, PersonId, SessionId};
use crate::parameters::Parameters;
use crate::seal::Purpose;
use crate::session::{Binding, Presented};

/// How long a form may be left open.
pub(crate) const LIFETIME: Duration = Duration::from_mins(30);
/// How long a request that is too large to travel is kept.
const KEPT: Duration = Duration::from_hours(8);
/// Bytes of a request that travels in the flow itself; with everything else, sealed, this stays below 1.5 KB or so.
const MAX_INLINE_BYTES: usize = 900;
/// Bytes of a request that is kept at most: anybody can send one, and each costs a row.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// A request of a client as it is carried: form-encoded, or where it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Carried {
    /// Form-encoded parameters.
    #[serde(rename = "i")]
    Inline(String),
    /// A row of the store.
    #[serde(rename = "k")]
    Kept(FlowId),
}

/// What a request that crosses a redirect of ours is for. It is bound to no browser, because it is worth no more than a
/// link with its parameters in the query.
#[derive(Serialize, Deserialize)]
pub(crate) enum Crossing {
    /// To the authorization endpoint.
    #[serde(rename = "a")]
    Authorize(Carried),
    /// To the end-session endpoint.
    #[serde(rename = "l")]
    EndSession(String),
}

/// What a person is in the middle of.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// Named by the session that its sign-in ends in.
    #[serde(rename = "f")]
    pub(crate) id: FlowId,
    /// After this it only starts its request again.
    #[serde(rename = "x")]
    pub(crate) expires_at: Timestamp,
    /// Digest of the browser's binding.
    #[serde(rename = "b")]
    browser: String,
    /// The authorization request behind it.
    #[serde(rename = "r")]
    pub(crate) request: Carried,
    /// Where it is.
    #[serde(rename = "s")]
    pub(crate) stage: Stage,
}

/// Where a flow is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// On the way to, or back from, a sign-in of whoever the request is about.
    #[serde(rename = "s")]
    SignIn,
    /// On the way to a sign-in of somebody else than the person of the live session.
    #[serde(rename = "o")]
    SignInAfresh,
    /// The person of the live session proves it again.
    #[serde(rename = "a")]
    SignInAgain(Account),
    /// The live session is offered.
    #[serde(rename = "c")]
    Choice(SessionId),
    /// The live session was chosen.
    #[serde(rename = "d")]
    Chosen(SessionId),
    /// Consent is asked for.
    #[serde(rename = "q")]
    Consent(Asked),
}

/// The account of a person who is asked for the password again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    #[serde(rename = "p")]
    pub(crate) person: PersonId,
    #[serde(rename = "u")]
    pub(crate) username: String,
    /// As shown to the person.
    #[serde(rename = "n")]
    pub(crate) name: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("person", &self.person)
            .finish_non_exhaustive()
    }
}

/// Who was asked for consent to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    #[serde(rename = "s")]
    pub(crate) session: SessionId,
    #[serde(rename = "p")]
    pub(crate) person: PersonId,
    #[serde(rename = "e")]
    pub(crate) epoch: i32,
    #[serde(rename = "o")]
    pub(crate) scopes: Vec<String>,
}

impl Stage {
    const fn kind(&self) -> FormKind {
        match self {
            Self::SignIn | Self::SignInAfresh | Self::SignInAgain(_) | Self::Choice(_) | Self::Chosen(_) => {
                FormKind::SignIn
            }
            Self::Consent(_) => FormKind::Consent,
        }
    }
}

/// Kinds of forms; what belongs to one is worthless for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormKind {
    /// Sign-in and account choice.
    SignIn,
    /// Consent.
    Consent,
    /// Sign-out.
    SignOut,
}

impl FormKind {
    pub(crate) const fn purpose(self) -> Purpose {
        match self {
            Self::SignIn => Purpose::LoginFlow,
            Self::Consent => Purpose::Consent,
            Self::SignOut => Purpose::Logout,
        }
    }
}

impl Carried {
    /// The parameters; `None` when they are not kept any more.
    pub(crate) async fn parameters(&self, ctx: &Context<'_>) -> Result<Option<Parameters>, FrontChannel> {
        match self {
            Self::Inline(text) => Ok(Parameters::parse(text.as_bytes()).ok()),
            Self::Kept(id) => {
                let kept = ctx.store.kept_request(ctx.realm_id(), *id, ctx.now).await;
                let kept = kept.map_err(|_| FrontChannel::unavailable())?;
                Ok(kept.and_then(|text| Parameters::parse(&text).ok()))
            }
        }
    }

    /// The same in a form that may travel: what is too large is kept in the store.
    pub(crate) async fn for_travel(self, ctx: &Context<'_>, rng: Randomness<'_>) -> Result<Self, FrontChannel> {
        let Self::Inline(text) = &self else {
            return Ok(self);
        };
        if text.len() <= MAX_INLINE_BYTES {
            return Ok(self);
        }
        if text.len() > MAX_KEPT_BYTES {
            let detail = "the authorization request is larger than 16 KiB";
            return Err(FrontChannel::refused(RefusalKind::InvalidRequest, detail));
        }
        let id = FlowId::generate(ctx.now, rng);
        ctx.store
            .keep_request(ctx.realm_id(), id, text.as_bytes(), ctx.now.after(KEPT))
            .await
            .map_err(|_| FrontChannel::unavailable())?;
        Ok(Self::Kept(id))
    }

    /// An address of the issuer that starts the request from the beginning.
    pub(crate) fn start_url(&self, ctx: &Context<'_>, rng: Randomness<'_>) -> Option<String> {
        Crossing::Authorize(self.clone()).url(ctx, rng)
    }
}

impl Crossing {
    /// An address of the issuer that goes on with it. `None` when nothing can be sealed.
    pub(crate) fn url(&self, ctx: &Context<'_>, rng: Randomness<'_>) -> Option<String> {
        let path = match self {
            Self::Authorize(_) => endpoint::AUTHORIZE,
            Self::EndSession(_) => endpoint::END_SESSION,
        };
        let sealed = ctx.keys().sealer().seal(Purpose::Request, self, rng).ok()?;
        Some(format!("{}?flow={sealed}", ctx.url(path)))
    }
}

impl Flow {
    /// A flow of this browser, good from now on for [`LIFETIME`].
    pub(crate) fn new(ctx: &Context<'_>, binding: &Binding, id: FlowId, request: Carried, stage: Stage) -> Self {
        Self {
            id,
            expires_at: ctx.now.after(LIFETIME),
            browser: browser_digest(ctx, binding),
            request,
            stage,
        }
    }

    /// The hidden fields of a form about this flow.
    pub(crate) fn form(&self, ctx: &Context<'_>, binding: &Binding, rng: Randomness<'_>) -> Option<Form> {
        let kind = self.stage.kind();
        Some(Form {
            flow: ctx.keys().sealer().seal(kind.purpose(), self, rng).ok()?,
            csrf: form_token(ctx, binding, kind, self.id),
        })
    }

    /// An address of the authorization endpoint that goes on with this flow.
    pub(crate) fn resume_url(&self, ctx: &Context<'_>, rng: Randomness<'_>) -> Option<String> {
        let sealed = ctx.keys().sealer().seal(self.stage.kind().purpose(), self, rng).ok()?;
        Some(format!("{}?flow={sealed}", ctx.url(endpoint::AUTHORIZE)))
    }

    /// Opens a flow that came in the address of the authorization endpoint; `None` when it is none.
    pub(crate) fn open_resumed(
        ctx: &Context<'_>,
        presented: &Presented,
        sealed: &str,
        rng: Randomness<'_>,
    ) -> Option<Result<Self, FrontChannel>> {
        let flow: Self = ctx.keys().sealer().open(Purpose::LoginFlow, sealed).ok()?;
        Some(match flow.require_browser(ctx, presented, rng) {
            Ok(_) => Ok(flow),
            Err(answer) => Err(answer),
        })
    }

    /// Opens the flow of a posted form. Fails with the answer to give.
    pub(crate) fn open_posted(
        ctx: &Context<'_>,
        browser: &Browser<'_>,
        parameters: &Parameters,
        kind: FormKind,
        rng: Randomness<'_>,
    ) -> Result<(Self, Presented), FrontChannel> {
        require_own_form(ctx, browser)?;
        let presented = Presented::read(ctx, browser.cookies)?;
        let flow: Self = parameters
            .get("flow")
            .and_then(|sealed| ctx.keys().sealer().open(kind.purpose(), sealed).ok())
            .ok_or_else(|| FrontChannel::refused(RefusalKind::Expired, "the form is not one of this realm"))?;
        let binding = flow.require_browser(ctx, &presented, rng)?;
        require_token(parameters, &form_token(ctx, binding, kind, flow.id))?;
        Ok((flow, presented))
    }

    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    fn require_browser<'p>(
        &self,
        ctx: &Context<'_>,
        presented: &'p Presented,
        rng: Randomness<'_>,
    ) -> Result<&'p Binding, FrontChannel> {
        let binding = presented.binding.as_ref();
        binding
            .filter(|binding| equal(&browser_digest(ctx, binding), &self.browser))
            .ok_or_else(|| {
                FrontChannel::of(Outcome::Refused(Refusal {
                    start_again: self.request.start_url(ctx, rng),
                    ..Refusal::new(
                        RefusalKind::OtherBrowser,
                        "the cookie that ties the sign-in to this browser is missing or another",
                    )
                }))
            })
    }
}

/// Refuses what is not a form posted from a page of this origin.
pub(crate) fn require_own_form(ctx: &Context<'_>, browser: &Browser<'_>) -> Result<(), FrontChannel> {
    match browser.method {
        Method::Get => Err(FrontChannel::refused(
            RefusalKind::InvalidRequest,
            "this address takes a form by POST",
        )),
        Method::Post if browser.is_same_origin(&ctx.realm().issuer) => Ok(()),
        Method::Post => Err(FrontChannel::refused(
            RefusalKind::CrossSite,
            "the form was posted from another origin",
        )),
    }
}

/// Refuses a form whose `csrf` is not `expected`.
pub(crate) fn require_token(parameters: &Parameters, expected: &str) -> Result<(), FrontChannel> {
    if equal(parameters.get("csrf").unwrap_or_default(), expected) {
        Ok(())
    } else {
        Err(FrontChannel::refused(
            RefusalKind::CrossSite,
            "the form token is missing or does not match",
        ))
    }
}

/// The digest by which a sealed value names the browser it belongs to.
pub(crate) fn browser_digest(ctx: &Context<'_>, binding: &Binding) -> String {
    binding.digest(&[b"browser", ctx.realm_id().0.as_bytes()])
}

/// The synchroniser token of the forms of one kind about one flow.
pub(crate) fn form_token(ctx: &Context<'_>, binding: &Binding, kind: FormKind, flow: FlowId) -> String {
    let kind: &[u8] = match kind {
        FormKind::SignIn => b"sign-in form",
        FormKind::Consent => b"consent form",
        FormKind::SignOut => b"sign-out form",
    };
    binding.digest(&[kind, ctx.realm_id().0.as_bytes(), flow.0.as_bytes()])
}

pub(crate) fn equal(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}
