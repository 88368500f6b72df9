//! What each page needs to know, as plain borrowed values.
//!
//! Names, addresses and parameters may be hostile: rendering escapes all of them. Links of applications and
//! realms are only rendered when they lead to the web (see [`Application::policy_uri`]).

use std::time::Duration;

use super::{Locale, RealmLook};

/// What all pages of one response share.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a> {
    /// The look of the realm; [`RealmLook::nauthera`] where no realm is known.
    pub realm: &'a RealmLook,
    /// The language, from [`negotiate`](super::negotiate).
    pub locale: Locale,
    /// The nonce that the response's Content-Security-Policy names: base64 or base64url text.
    pub nonce: &'a str,
    /// Path prefix of the issuer, such as `/auth`; empty when the issuer is the root. Without a trailing slash.
    pub base_path: &'a str,
}

/// The application a person is on the way to.
#[derive(Debug, Clone, Copy)]
pub struct Application<'a> {
    /// The name people know it by.
    pub name: &'a str,
    /// Picture, from our own origin or a `data:` URL; without it the first letter of the name is shown.
    pub logo: Option<&'a str>,
    /// Its privacy policy (`policy_uri`); rendered only when it is an `http` or `https` URL.
    pub policy_uri: Option<&'a str>,
    /// Its terms of service (`tos_uri`); rendered only when it is an `http` or `https` URL.
    pub tos_uri: Option<&'a str>,
}

/// Sign-in: identifier and password on one page.
///
/// Posts `username`, `password` and the hidden pairs. Ids: `sign-in-form`, `username`, `password`, `sign-in`,
/// `error-summary`, `username-error`, `password-error`; in re-authentication also `account` and `not-you`.
#[derive(Debug, Clone, Copy)]
pub struct LoginView<'a> {
    /// Where the form posts to.
    pub action: &'a str,
    /// Hidden inputs as (name, value): `csrf` and `flow`.
    pub hidden: &'a [(&'a str, &'a str)],
    /// The application behind the sign-in, when there is one.
    pub application: Option<Application<'a>>,
    /// Who signs in.
    pub identifier: Identifier<'a>,
    /// What went wrong with the previous attempt.
    pub alert: Option<LoginAlert>,
}

/// Who signs in.
#[derive(Debug, Clone, Copy)]
pub enum Identifier<'a> {
    /// A field to type into; `prefill` is the `login_hint` or what was typed before, else empty.
    Ask {
        /// The initial value of the field.
        prefill: &'a str,
        /// What may be typed; decides the label and the keyboard of the field.
        accepts: Accepts,
    },
    /// Re-authentication: the account is given, only its password is asked for.
    Fixed {
        /// The account as the person knows it, such as `ada@example.com`.
        account: &'a str,
        /// Where "Not you?" leads; without it no such link is shown.
        switch_url: Option<&'a str>,
    },
}

/// What a person may type to name the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// The user name.
    Username,
    /// The e-mail address.
    Email,
    /// The phone number.
    Phone,
    /// The user name or the e-mail address.
    UsernameOrEmail,
    /// The user name or the phone number.
    UsernameOrPhone,
    /// The e-mail address or the phone number.
    EmailOrPhone,
    /// Any of the three.
    Any,
}

/// What went wrong with a sign-in. Unknown people and wrong passwords are one case by design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginAlert {
    /// No such person, or not their password.
    WrongCredentials,
    /// The identifier was left empty.
    MissingIdentifier,
    /// The password was left empty.
    MissingPassword,
    /// The form was too old or its tokens did not match; nothing was tried.
    Expired,
    /// Too many attempts; nothing was tried.
    TooManyAttempts {
        /// How long to wait; shown in whole minutes, rounded up.
        retry_after: Duration,
    },
}

/// Consent: what an application asks for.
///
/// Posts `decision` (`allow` or `deny`) and the hidden pairs. Ids: `consent-form`, `application`, `scopes`,
/// `allow`, `deny`, `account`, `not-you`, `policy`, `terms-of-service`.
#[derive(Debug, Clone, Copy)]
pub struct ConsentView<'a> {
    /// Where the form posts to.
    pub action: &'a str,
    /// Hidden inputs as (name, value): `csrf` and `flow`.
    pub hidden: &'a [(&'a str, &'a str)],
    /// The application that asks.
    pub application: Application<'a>,
    /// The account whose data is asked for.
    pub account: &'a str,
    /// Where "Not you?" leads; without it no such link is shown.
    pub switch_url: Option<&'a str>,
    /// The scopes, in the order to show them.
    pub scopes: &'a [Scope<'a>],
}

/// One scope on the consent page.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The scope value, such as `email`.
    pub name: &'a str,
    /// The realm's own sentence for it. Without it the standard scopes of OpenID Connect have built-in
    /// sentences in every language, and other scopes are shown by name.
    pub description: Option<&'a str>,
    /// Asked for now but not allowed before; marked when the list also holds scopes allowed earlier.
    pub new: bool,
}

/// Account choice (`prompt=select_account`): the live account or another sign-in.
///
/// Posts `choice` (`continue` or `other`) and the hidden pairs. Ids: `choose-form`, `continue-as`,
/// `use-another-account`.
#[derive(Debug, Clone, Copy)]
pub struct ChooseAccountView<'a> {
    /// Where the form posts to.
    pub action: &'a str,
    /// Hidden inputs as (name, value): `csrf` and `flow`.
    pub hidden: &'a [(&'a str, &'a str)],
    /// The application behind the sign-in, when there is one.
    pub application: Option<Application<'a>>,
    /// The live account, such as `ada@example.com`.
    pub account: &'a str,
    /// The person's name, when known.
    pub display_name: Option<&'a str>,
}

/// "Sign out?", asked when a logout request does not prove whose session it means.
///
/// Posts the hidden pairs. Ids: `log-out-form`, `log-out`, `stay`, `account`.
#[derive(Debug, Clone, Copy)]
pub struct LogoutConfirmView<'a> {
    /// Where the form posts to.
    pub action: &'a str,
    /// Hidden inputs as (name, value): `csrf` and `flow`.
    pub hidden: &'a [(&'a str, &'a str)],
    /// The account signed in, when it may be shown.
    pub account: Option<&'a str>,
    /// The name of the application that asked, when it is proven.
    pub application: Option<&'a str>,
    /// Where "Stay signed in" leads; without it no such link is shown.
    pub stay_url: Option<&'a str>,
}

/// Signed out. Ids: `logged-out`, `continue`.
#[derive(Debug, Clone, Copy)]
pub struct LoggedOutView<'a> {
    /// Where to go on, such as a registered post-logout redirect URI.
    pub continue_url: Option<&'a str>,
    /// The name of the application behind `continue_url`.
    pub application: Option<&'a str>,
}

/// Something went wrong. Ids: `error-summary`, `error-id`, `error-details`, `back`.
#[derive(Debug, Clone, Copy)]
pub struct ErrorView<'a> {
    /// What happened; decides title, explanation and advice.
    pub kind: ErrorKind,
    /// The id under which the log has the details.
    pub error_id: &'a str,
    /// Facts for whoever runs the application, as (name, value), such as `("redirect_uri", "https://…")`.
    /// Shown folded. Must hold nothing secret.
    pub details: &'a [(&'a str, &'a str)],
    /// A way out.
    pub back: Option<Back<'a>>,
}

/// The way out of an error page.
#[derive(Debug, Clone, Copy)]
pub enum Back<'a> {
    /// Back to the named application.
    Application {
        /// The name people know it by.
        name: &'a str,
        /// A registered address of it.
        url: &'a str,
    },
    /// Start again, for example the authorization request of an expired form.
    StartAgain {
        /// Where to start again.
        url: &'a str,
    },
    /// The same request once more, for passing faults.
    TryAgain {
        /// The address of the request.
        url: &'a str,
    },
}

/// Why there is an error page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The redirect URI is missing or not registered for this client: nothing may be sent there.
    RedirectUri,
    /// No such client.
    UnknownClient,
    /// The request cannot be understood, and there is no proven address to report it to.
    InvalidRequest,
    /// The form or the sign-in behind it is too old, or was completed elsewhere.
    Expired,
    /// The browser sent no cookies back.
    CookiesRequired,
    /// The person may not use this application.
    AccessDenied,
    /// Nothing is served at this address, for example no such realm (404).
    NotFound,
    /// Too many requests (429).
    TooManyRequests {
        /// How long to wait; shown in whole minutes, rounded up.
        retry_after: Duration,
    },
    /// The service cannot answer now (503).
    Unavailable,
    /// A fault of ours (500).
    Internal,
}

/// Response mode `form_post`: carries the parameters to the client by an automatic POST, or by a button when
/// scripts are off (OAuth 2.0 Form Post Response Mode §2).
///
/// Ids: `form-post`, `continue`.
#[derive(Debug, Clone, Copy)]
pub struct FormPostView<'a> {
    /// The client's redirect URI.
    pub action: &'a str,
    /// The response parameters.
    pub parameters: &'a [(&'a str, &'a str)],
    /// The name of the application.
    pub application: &'a str,
}
