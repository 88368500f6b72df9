//! What a browser sends and what it gets back, at every endpoint that people's browsers visit.
//!
//! [`authorize`](crate::authorize), [`login`](crate::login), [`consent`](crate::consent),
//! [`account_choice`](crate::account_choice) and [`end_session`](crate::end_session) take a [`Browser`] with the
//! request's parameters and answer with a [`FrontChannel`]: an outcome and the cookies to set. The caller renders pages and
//! chooses status codes; nothing here is markup or HTTP.

mod cookies;
mod prompt;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::parameters::ParameterError;

pub use cookies::{CookieAge, Cookies, DuplicateCookie, SetCookie};
pub use prompt::{
    AccountPrompt, ConsentPrompt, Form, Identifier, LogoutPrompt, ScopePrompt, SignInAlert, SignInPrompt,
};

/// A request of a browser, without its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Browser<'a> {
    /// The cookies it sent.
    pub cookies: &'a Cookies,
    /// Whether the request was a GET or a POST.
    pub method: Method,
    /// `Sec-Fetch-Site`, when sent (W3C Fetch Metadata).
    pub fetch_site: Option<&'a str>,
    /// `Origin`, when sent (RFC 6454 §7).
    pub origin: Option<&'a str>,
    /// Where it comes from: the client's address, one half of the key that attempts are counted under.
    pub source: &'a str,
    /// `User-Agent`, empty when not sent.
    pub user_agent: &'a str,
}

/// How the parameters arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// In the query; nothing may change because of it alone.
    Get,
    /// In a form.
    Post,
}

impl Browser<'_> {
    /// Whether the request comes from a page of `issuer`'s own origin, as far as the browser says: `Sec-Fetch-Site`
    /// decides, without it `Origin`. A browser that sends neither is believed; its form token still has to match.
    pub fn is_same_origin(&self, issuer: &crate::config::Issuer) -> bool {
        match (self.fetch_site, self.origin) {
            (Some(site), _) => site == "same-origin",
            (None, Some(origin)) => origin == issuer.origin(),
            (None, None) => true,
        }
    }
}

/// The answer to a browser: what to show or where to go, and the cookies to set with it.
#[derive(Clone, Debug)]
pub struct FrontChannel {
    /// What the browser gets.
    pub outcome: Outcome,
    /// To be set with it, whatever the outcome is.
    pub cookies: Vec<SetCookie>,
}

/// What a browser gets.
#[derive(Clone)]
pub enum Outcome {
    /// Go on at this address (303 See Other): the client's proven redirect URI, or an address of the issuer.
    Redirect {
        /// An absolute URL.
        location: String,
    },
    /// Post these fields to the client's proven redirect URI (OAuth 2.0 Form Post Response Mode §2).
    FormPost {
        /// The redirect URI.
        action: String,
        /// Names and values, in order.
        fields: Vec<(&'static str, String)>,
        /// The client's name as people know it.
        client_name: String,
    },
    /// The page that asks who it is, and for the password.
    SignIn(Box<SignInPrompt>),
    /// The page that asks whether the client may have what it asks for.
    Consent(Box<ConsentPrompt>),
    /// The page that offers the live account or another sign-in.
    ChooseAccount(Box<AccountPrompt>),
    /// The page that asks whether to sign out.
    ConfirmLogout(Box<LogoutPrompt>),
    /// The page that says that the person is signed out.
    LoggedOut {
        /// Where the person may go on: a registered post-logout redirect URI, with `state`.
        continue_uri: Option<String>,
        /// The name of the client behind `continue_uri`.
        client_name: Option<String>,
        /// `ui_locales` as sent.
        ui_locales: Option<String>,
    },
    /// A page that explains why the request is refused. Never a redirect.
    Refused(Refusal),
    /// The service cannot answer now.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

/// Without codes, flows and names: those are for the browser only.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redirect { .. } => f.write_str("Redirect"),
            Self::FormPost { .. } => f.write_str("FormPost"),
            Self::SignIn(prompt) => f.debug_tuple("SignIn").field(&prompt.alert).finish(),
            Self::Consent(_) => f.write_str("Consent"),
            Self::ChooseAccount(_) => f.write_str("ChooseAccount"),
            Self::ConfirmLogout(_) => f.write_str("ConfirmLogout"),
            Self::LoggedOut { .. } => f.write_str("LoggedOut"),
            Self::Refused(refusal) => f.debug_tuple("Refused").field(&refusal.kind).finish(),
            Self::Unavailable { .. } => f.write_str("Unavailable"),
        }
    }
}

/// Why a request is refused on a page.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What happened; decides the words.
    pub kind: RefusalKind,
    /// A sentence for whoever runs the application. Quotes nothing but the name of a parameter.
    pub detail: Cow<'static, str>,
    /// An address of the issuer that starts the same request again, when there is one.
    pub start_again: Option<String>,
    /// `ui_locales` as sent.
    pub ui_locales: Option<String>,
}

/// Without the address, which holds a sealed request.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("kind", &self.kind)
            .field("detail", &self.detail)
            .finish_non_exhaustive()
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalKind {
    /// `client_id` is missing or names nobody.
    UnknownClient,
    /// `redirect_uri` is missing or not registered.
    RedirectUri,
    /// `post_logout_redirect_uri` is not registered.
    PostLogoutRedirectUri,
    /// The request cannot be understood, and there is no proven address to report it to.
    InvalidRequest,
    /// Two cookies of one name: somebody else planted one. Both are cleared.
    DuplicateCookies,
    /// The form belongs to another browser, or this browser keeps no cookies.
    OtherBrowser,
    /// The form was posted from another site, or its token does not match.
    CrossSite,
    /// The step behind the form is over: too old, or the person is signed in differently now.
    Expired,
}

impl FrontChannel {
    /// The answer to a request whose parameters do not even parse.
    pub fn malformed(error: &ParameterError) -> Self {
        Self::refused(RefusalKind::InvalidRequest, error.to_string())
    }

    /// An outcome that sets no cookies.
    pub(crate) fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            cookies: Vec::new(),
        }
    }

    /// The same with more cookies to set.
    #[must_use]
    pub(crate) fn with_cookies(mut self, cookies: impl IntoIterator<Item = SetCookie>) -> Self {
        self.cookies.extend(cookies);
        self
    }

    pub(crate) fn redirect(location: String) -> Self {
        Self::of(Outcome::Redirect { location })
    }

    pub(crate) fn refused(kind: RefusalKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Outcome::Refused(Refusal::new(kind, detail)))
    }

    pub(crate) fn unavailable() -> Self {
        Self::of(Outcome::Unavailable {
            retry_after: RETRY_AFTER,
        })
    }
}

/// How long browsers are told to wait while the store or the feed is away.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            start_again: None,
            ui_locales: None,
        }
    }
}
