//! The pages people meet: sign-in, consent, account choice, sign-out, errors, form post.
//!
//! Every page is a pure function from borrowed values to HTML; nothing here reads a request, a clock or the
//! store, and nothing knows the protocol. Status codes and headers belong to the HTTP layer, which takes the
//! Content-Security-Policy from [`csp`], the language from [`negotiate`] and the static files from [`assets`].
//! Element ids are listed at each view and stay stable: tests and integrators select by them.

pub mod assets;
mod colour;
mod csp;
mod locale;
mod look;
mod messages;
mod render;
mod views;

pub use csp::csp;
pub use locale::{Locale, UnknownLocale, negotiate};
pub use look::{Links, RealmLook};
pub use render::{choose_account, consent, error, form_post, logged_out, login, logout_confirm};
pub use views::{
    Accepts, Application, Back, ChooseAccountView, ConsentView, ErrorKind, ErrorView, FormPostView, Identifier,
    LoggedOutView, LoginAlert, LoginView, LogoutConfirmView, Scope, Shared,
};
