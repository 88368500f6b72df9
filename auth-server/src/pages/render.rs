//! From view to HTML: one template struct per page, all on one layout.

use askama::Template;

use super::{
    assets::File,
    csp::FORM_POST_SCRIPT,
    messages::{Catalogue, Message, WithValue},
    views::{
        Accepts, Back, ChooseAccountView, ConsentView, ErrorKind, ErrorView, FormPostView, Identifier, LoggedOutView,
        LoginAlert, LoginView, LogoutConfirmView, Scope, Shared,
    },
};

/// The sign-in page.
pub fn login(shared: &Shared<'_>, view: &LoginView<'_>) -> String {
    let page = Page::new(shared);
    let title = match view.identifier {
        Identifier::Ask { .. } => Message::LoginTitle,
        Identifier::Fixed { .. } => Message::LoginAgainTitle,
    };
    let alert = view.alert.map(|alert| LoginAlertText::of(alert, view, &page));
    html(&LoginPage {
        title: page.t(title),
        page,
        view,
        alert,
    })
}

/// The consent page.
pub fn consent(shared: &Shared<'_>, view: &ConsentView<'_>) -> String {
    let page = Page::new(shared);
    let mark_new = view.scopes.iter().any(|scope| !scope.new);
    let (policy, terms) = (web_url(view.application.policy_uri), web_url(view.application.tos_uri));
    html(&ConsentPage {
        title: page.t(Message::ConsentTitle),
        page,
        view,
        mark_new,
        policy,
        terms,
    })
}

/// The account choice.
pub fn choose_account(shared: &Shared<'_>, view: &ChooseAccountView<'_>) -> String {
    let page = Page::new(shared);
    html(&ChooseAccountPage {
        title: page.t(Message::ChooseTitle),
        page,
        view,
    })
}

/// The question before signing out.
pub fn logout_confirm(shared: &Shared<'_>, view: &LogoutConfirmView<'_>) -> String {
    let page = Page::new(shared);
    html(&LogoutConfirmPage {
        title: page.t(Message::LogoutTitle),
        page,
        view,
        stay_url: way_back(view.stay_url),
    })
}

/// The page after signing out.
pub fn logged_out(shared: &Shared<'_>, view: &LoggedOutView<'_>) -> String {
    let page = Page::new(shared);
    html(&LoggedOutPage {
        title: page.t(Message::LoggedOutTitle),
        page,
        view,
        continue_url: way_back(view.continue_url),
    })
}

/// The error page.
pub fn error(shared: &Shared<'_>, view: &ErrorView<'_>) -> String {
    let page = Page::new(shared);
    let text = ErrorText::of(view.kind, &page);
    html(&ErrorPage {
        title: text.title,
        page,
        view,
        text,
        back: view.back.and_then(|back| back_link(back, &page)),
    })
}

/// The page that posts an authorization response to the client.
pub fn form_post(shared: &Shared<'_>, view: &FormPostView<'_>) -> String {
    let page = Page::new(shared);
    let title = page.catalogue.plain(Message::FormPostTitle, view.application);
    html(&FormPostPage {
        title: &title,
        page,
        view,
        script: FORM_POST_SCRIPT,
    })
}

/// Writing to a string cannot fail; if it ever did, the log says so.
fn html(page: &impl Template) -> String {
    page.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a page could not be rendered");
        String::new()
    })
}

/// What the layout needs.
#[derive(Clone, Copy)]
struct Page<'a> {
    shared: &'a Shared<'a>,
    catalogue: &'static Catalogue,
}

impl<'a> Page<'a> {
    fn new(shared: &'a Shared<'a>) -> Self {
        Self {
            shared,
            catalogue: Catalogue::of(shared.locale),
        }
    }

    fn t(&self, message: Message) -> &'static str {
        self.catalogue.text(message)
    }

    fn with(&self, message: Message, value: &'a str) -> WithValue<'a> {
        self.catalogue.with(message, value)
    }

    fn asset(&self, file: File) -> String {
        format!("{}/assets/{}", self.shared.base_path, file.path())
    }

    fn scope(&self, scope: &Scope<'a>) -> WithValue<'a> {
        let standard = match scope.name {
            "openid" => Message::ScopeOpenid,
            "profile" => Message::ScopeProfile,
            "email" => Message::ScopeEmail,
            "address" => Message::ScopeAddress,
            "phone" => Message::ScopePhone,
            "offline_access" => Message::ScopeOfflineAccess,
            _ => Message::ScopeOther,
        };
        match scope.description {
            Some(description) => WithValue::verbatim(description),
            None => self.with(standard, scope.name),
        }
    }

    /// The links below the page: id, text and address.
    fn links(&self) -> Vec<(&'static str, &'static str, &'a str)> {
        let links = &self.shared.realm.links;
        [
            ("help", Message::Help, &links.help),
            ("privacy", Message::Privacy, &links.privacy),
            ("terms", Message::Terms, &links.terms),
        ]
        .into_iter()
        .filter_map(|(id, text, url)| Some((id, self.t(text), web_url(url.as_deref())?)))
        .collect()
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    page: Page<'a>,
    title: &'a str,
    view: &'a LoginView<'a>,
    alert: Option<LoginAlertText>,
}

/// A failed sign-in in words, with the field it belongs to.
struct LoginAlertText {
    text: String,
    field: Option<LoginField>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LoginField {
    Identifier,
    Password,
}

impl LoginAlertText {
    fn of(alert: LoginAlert, view: &LoginView<'_>, page: &Page<'_>) -> Self {
        let (message, field) = match (alert, view.identifier) {
            (LoginAlert::WrongCredentials, Identifier::Ask { .. }) => (Message::WrongCredentials, None),
            (LoginAlert::WrongCredentials, Identifier::Fixed { .. }) => (Message::WrongPassword, None),
            (LoginAlert::MissingIdentifier, _) => (Message::MissingIdentifier, Some(LoginField::Identifier)),
            (LoginAlert::MissingPassword, _) => (Message::MissingPassword, Some(LoginField::Password)),
            (LoginAlert::Expired, _) => (Message::LoginExpired, None),
            (LoginAlert::TooManyAttempts { retry_after }, _) => {
                let time = page.catalogue.minutes(retry_after);
                return Self {
                    text: page.catalogue.plain(Message::TooManyAttempts, &time),
                    field: None,
                };
            }
        };
        Self {
            text: page.t(message).to_owned(),
            field,
        }
    }
}

impl LoginPage<'_> {
    fn wrong(&self, field: LoginField) -> bool {
        self.alert.as_ref().is_some_and(|alert| alert.field == Some(field))
    }

    /// The label of the identifier.
    fn identifier_label(&self, accepts: Accepts) -> &'static str {
        self.page.t(match accepts {
            Accepts::Username => Message::IdentifierUsername,
            Accepts::Email => Message::IdentifierEmail,
            Accepts::Phone => Message::IdentifierPhone,
            Accepts::UsernameOrEmail => Message::IdentifierUsernameOrEmail,
            Accepts::UsernameOrPhone => Message::IdentifierUsernameOrPhone,
            Accepts::EmailOrPhone => Message::IdentifierEmailOrPhone,
            Accepts::Any => Message::IdentifierAny,
        })
    }

    /// The identifier gets the focus when it is empty or wrong, else the password.
    fn focus(&self) -> LoginField {
        match self.view.identifier {
            Identifier::Ask { prefill, .. } if prefill.is_empty() || self.wrong(LoginField::Identifier) => {
                LoginField::Identifier
            }
            Identifier::Ask { .. } | Identifier::Fixed { .. } => LoginField::Password,
        }
    }
}

impl Accepts {
    /// The keyboard that suits the identifier (`inputmode`).
    const fn keyboard(self) -> &'static str {
        match self {
            Self::Username | Self::UsernameOrPhone => "text",
            Self::Phone => "tel",
            Self::Email | Self::UsernameOrEmail | Self::EmailOrPhone | Self::Any => "email",
        }
    }
}

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentPage<'a> {
    page: Page<'a>,
    title: &'a str,
    view: &'a ConsentView<'a>,
    mark_new: bool,
    policy: Option<&'a str>,
    terms: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "choose_account.html")]
struct ChooseAccountPage<'a> {
    page: Page<'a>,
    title: &'a str,
    view: &'a ChooseAccountView<'a>,
}

#[derive(Template)]
#[template(path = "logout_confirm.html")]
struct LogoutConfirmPage<'a> {
    page: Page<'a>,
    title: &'a str,
    view: &'a LogoutConfirmView<'a>,
    stay_url: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "logged_out.html")]
struct LoggedOutPage<'a> {
    page: Page<'a>,
    title: &'a str,
    view: &'a LoggedOutView<'a>,
    continue_url: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    page: Page<'a>,
    title: &'a str,
    view: &'a ErrorView<'a>,
    text: ErrorText,
    back: Option<(WithValue<'a>, &'a str)>,
}

/// The words and the address of the way out, when the address may be followed.
fn back_link<'a>(back: Back<'a>, page: &Page<'a>) -> Option<(WithValue<'a>, &'a str)> {
    let (message, name, url) = match back {
        Back::Application { name, url } => (Message::BackToApplication, name, url),
        Back::StartAgain { url } => (Message::StartAgain, "", url),
        Back::TryAgain { url } => (Message::TryAgain, "", url),
    };
    Some((page.with(message, name), way_back(Some(url))?))
}

/// An error in words.
struct ErrorText {
    title: &'static str,
    what: String,
    advice: Option<&'static str>,
}

impl ErrorText {
    fn of(kind: ErrorKind, page: &Page<'_>) -> Self {
        use Message as M;
        let (title, what, advice) = match kind {
            ErrorKind::RedirectUri => (M::ErrorRedirectUri, M::ErrorRedirectUriWhat, M::ErrorRedirectUriDo),
            ErrorKind::UnknownClient => (
                M::ErrorUnknownClient,
                M::ErrorUnknownClientWhat,
                M::ErrorUnknownClientDo,
            ),
            ErrorKind::InvalidRequest => (
                M::ErrorInvalidRequest,
                M::ErrorInvalidRequestWhat,
                M::ErrorInvalidRequestDo,
            ),
            ErrorKind::Expired => (M::ErrorExpired, M::ErrorExpiredWhat, M::ErrorExpiredDo),
            ErrorKind::CookiesRequired => (M::ErrorCookies, M::ErrorCookiesWhat, M::ErrorCookiesDo),
            ErrorKind::AccessDenied => (M::ErrorAccessDenied, M::ErrorAccessDeniedWhat, M::ErrorAccessDeniedDo),
            ErrorKind::NotFound => (M::ErrorNotFound, M::ErrorNotFoundWhat, M::ErrorNotFoundDo),
            ErrorKind::TooManyRequests { retry_after } => {
                let time = page.catalogue.minutes(retry_after);
                let what = page.catalogue.plain(M::ErrorTooManyWhat, &time);
                return Self {
                    title: page.t(M::ErrorTooMany),
                    what,
                    advice: None,
                };
            }
            ErrorKind::Unavailable => (M::ErrorUnavailable, M::ErrorUnavailableWhat, M::ErrorUnavailableDo),
            ErrorKind::Internal => (M::ErrorInternal, M::ErrorInternalWhat, M::ErrorInternalDo),
        };
        Self {
            title: page.t(title),
            what: page.t(what).to_owned(),
            advice: Some(page.t(advice)),
        }
    }
}

#[derive(Template)]
#[template(path = "form_post.html")]
struct FormPostPage<'a> {
    page: Page<'a>,
    title: &'a str,
    view: &'a FormPostView<'a>,
    script: &'static str,
}

/// A link that a realm or an application gave us, when it leads to the web or to a mail program.
fn web_url(url: Option<&str>) -> Option<&str> {
    url.filter(|url| starts_with_scheme(url, &["https://", "http://", "mailto:"]))
}

/// A link back to an application, whose own scheme is allowed (RFC 8252 §7.1), but never one that runs or holds
/// content in this page.
fn way_back(url: Option<&str>) -> Option<&str> {
    url.filter(|url| {
        !starts_with_scheme(
            url.trim_start(),
            &["javascript:", "data:", "vbscript:", "blob:", "file:"],
        )
    })
    .filter(|url| !url.contains(|character: char| character.is_ascii_control()))
}

fn starts_with_scheme(url: &str, schemes: &[&str]) -> bool {
    schemes.iter().any(|scheme| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// The letter that stands for a name without a picture.
fn initial(name: &str) -> String {
    let letter = name.chars().find(|character| character.is_alphanumeric());
    letter.map_or_else(|| "•".to_owned(), |letter| letter.to_uppercase().collect())
}

#[cfg(test)]
mod tests;
