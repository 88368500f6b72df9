//! From view to HTML.

use super::views::{
    ChooseAccountView, ConsentView, ErrorView, FormPostView, LoggedOutView, LoginView, LogoutConfirmView, Shared,
};

/// The sign-in page.
pub fn login(shared: &Shared<'_>, view: &LoginView<'_>) -> String {
    format!("{shared:?}{view:?}")
}

/// The consent page.
pub fn consent(shared: &Shared<'_>, view: &ConsentView<'_>) -> String {
    format!("{shared:?}{view:?}")
}

/// The account choice.
pub fn choose_account(shared: &Shared<'_>, view: &ChooseAccountView<'_>) -> String {
    format!("{shared:?}{view:?}")
}

/// The question before signing out.
pub fn logout_confirm(shared: &Shared<'_>, view: &LogoutConfirmView<'_>) -> String {
    format!("{shared:?}{view:?}")
}

/// The page after signing out.
pub fn logged_out(shared: &Shared<'_>, view: &LoggedOutView<'_>) -> String {
    format!("{shared:?}{view:?}")
}

/// The error page.
pub fn error(shared: &Shared<'_>, view: &ErrorView<'_>) -> String {
    format!("{shared:?}{view:?}")
}

/// The page that posts an authorization response to the client.
pub fn form_post(shared: &Shared<'_>, view: &FormPostView<'_>) -> String {
    format!("{shared:?}{view:?}")
}
