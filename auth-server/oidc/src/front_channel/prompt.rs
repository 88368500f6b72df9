//! The questions that people are asked, as plain data for whoever renders the pages.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Client, Localized};

/// What every form carries back to us, as hidden fields of these names.
#[derive(Clone, PartialEq, Eq)]
pub struct Form {
    /// `flow`: the sealed state of what is in progress.
    pub flow: String,
    /// `csrf`: proves that the form was rendered for this browser.
    pub csrf: String,
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form")
    }
}

/// Asks who it is, and for the password. The form posts `username`, `password` and [`Form`] to [`crate::login::begin`].
#[derive(Clone)]
pub struct SignInPrompt {
    /// The hidden fields.
    pub form: Form,
    /// The application behind the sign-in.
    pub client: Arc<Client>,
    /// Who signs in.
    pub identifier: Identifier,
    /// What went wrong with the previous attempt.
    pub alert: Option<SignInAlert>,
    /// `ui_locales` as sent.
    pub ui_locales: Option<String>,
}

/// Who signs in.
#[derive(Clone, PartialEq, Eq)]
pub enum Identifier {
    /// Anybody.
    Ask {
        /// What to show in the field: the `login_hint`, or what was typed before; may be empty.
        prefill: String,
    },
    /// The person of the live session, who must prove it again.
    Fixed {
        /// The account as the person knows it.
        account: String,
        /// Leads to the sign-in of somebody else.
        switch_url: String,
    },
}

/// What went wrong with a sign-in. Unknown and disabled people and wrong passwords are one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInAlert {
    /// No such person, or not their password.
    WrongCredentials,
    /// The identifier was left empty; nothing was tried.
    MissingIdentifier,
    /// The password was left empty; nothing was tried.
    MissingPassword,
    /// The form was too old, or its sign-in was already used; the same request starts again.
    Expired,
    /// Too many attempts; nothing was tried.
    TooManyAttempts {
        /// How long to wait.
        retry_after: Duration,
    },
}

/// Asks whether the client may have what it asks for. The form posts `decision` (`allow` or `deny`) and [`Form`] to
/// [`crate::consent::decide`].
#[derive(Clone)]
pub struct ConsentPrompt {
    /// The hidden fields.
    pub form: Form,
    /// The application that asks.
    pub client: Arc<Client>,
    /// The account whose data is asked for, as the person knows it.
    pub account: String,
    /// Leads to the sign-in of somebody else.
    pub switch_url: String,
    /// What is asked for, in the order of the request, without `openid`.
    pub scopes: Vec<ScopePrompt>,
    /// `ui_locales` as sent.
    pub ui_locales: Option<String>,
}

/// One scope on the consent page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopePrompt {
    /// The scope value.
    pub name: String,
    /// The realm's sentence for it.
    pub description: Option<Localized>,
    /// Whether the person has not allowed it to this client before.
    pub new: bool,
}

/// Offers the live account or another sign-in. The form posts `choice` (`continue` or `other`) and [`Form`] to
/// [`crate::account_choice::choose`].
#[derive(Clone)]
pub struct AccountPrompt {
    /// The hidden fields.
    pub form: Form,
    /// The application behind the sign-in.
    pub client: Arc<Client>,
    /// The live account, as the person knows it.
    pub account: String,
    /// The person's name, when known.
    pub display_name: Option<String>,
    /// `ui_locales` as sent.
    pub ui_locales: Option<String>,
}

/// Asks whether to sign out. The form posts [`Form`] to [`crate::end_session::confirm`].
#[derive(Clone)]
pub struct LogoutPrompt {
    /// The hidden fields.
    pub form: Form,
    /// The account that is signed in, when the store could tell.
    pub account: Option<String>,
    /// The application that asked, when it is proven.
    pub client: Option<Arc<Client>>,
    /// `ui_locales` as sent.
    pub ui_locales: Option<String>,
}
