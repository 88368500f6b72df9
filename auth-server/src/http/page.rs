//! From what the protocol decided for a browser to a page or a redirect: one prompt, one view.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use oidc::config::{Client, IdentifierKind};
use oidc::front_channel::{
    AccountPrompt, ConsentPrompt, Form, FrontChannel, Identifier, LogoutPrompt, Outcome, Refusal, RefusalKind,
    SignInAlert, SignInPrompt,
};

use super::error;
use super::exchange::Exchange;
use super::look::Look;
use crate::pages::{self, Shared};

/// The answer to a browser.
pub(crate) fn front_channel(exchange: &Exchange<'_>, answer: FrontChannel) -> HttpResponse {
    let FrontChannel { outcome, cookies } = answer;
    let mut response = render(exchange, &outcome);
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(&cookie.header_value()) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}

/// The page in place of an endpoint that browsers visit, when a request was refused before the endpoint looked at it.
pub(crate) fn unread(exchange: &Exchange<'_>, unread: &error::Unread) -> HttpResponse {
    let page = Page::of(exchange, None);
    let id = exchange.id.to_string();
    let view = pages::ErrorView {
        kind: pages::ErrorKind::InvalidRequest,
        error_id: &id,
        details: &[("detail", unread.description())],
        back: None,
    };
    page.html(unread.bare(), pages::error(&page.shared(), &view))
}

fn render(exchange: &Exchange<'_>, outcome: &Outcome) -> HttpResponse {
    let page = Page::of(exchange, ui_locales(outcome));
    match outcome {
        Outcome::Redirect { location } => error::see_other(location),
        Outcome::FormPost {
            action,
            fields,
            client_name,
        } => page.form_post(action, fields, client_name),
        Outcome::SignIn(prompt) => page.sign_in(prompt),
        Outcome::Consent(prompt) => page.consent(prompt),
        Outcome::ChooseAccount(prompt) => page.choose_account(prompt),
        Outcome::ConfirmLogout(prompt) => page.confirm_logout(prompt),
        Outcome::LoggedOut {
            continue_uri,
            client_name,
            ui_locales: _,
        } => {
            let view = pages::LoggedOutView {
                continue_url: continue_uri.as_deref(),
                application: client_name.as_deref(),
            };
            page.html(error::page_ok(), pages::logged_out(&page.shared(), &view))
        }
        Outcome::Refused(refusal) => page.refused(refusal),
        Outcome::Unavailable { retry_after } => page.unavailable(*retry_after),
    }
}

fn ui_locales(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::SignIn(prompt) => prompt.ui_locales.as_deref(),
        Outcome::Consent(prompt) => prompt.ui_locales.as_deref(),
        Outcome::ChooseAccount(prompt) => prompt.ui_locales.as_deref(),
        Outcome::ConfirmLogout(prompt) => prompt.ui_locales.as_deref(),
        Outcome::LoggedOut { ui_locales, .. } => ui_locales.as_deref(),
        Outcome::Refused(refusal) => refusal.ui_locales.as_deref(),
        Outcome::Redirect { .. } | Outcome::FormPost { .. } | Outcome::Unavailable { .. } => None,
    }
}

/// Everything that the pages of one response share.
struct Page<'a> {
    exchange: &'a Exchange<'a>,
    look: std::sync::Arc<Look>,
    locale: pages::Locale,
    nonce: String,
    base_path: &'a str,
}

impl<'a> Page<'a> {
    fn of(exchange: &'a Exchange<'a>, ui_locales: Option<&str>) -> Self {
        let look = exchange.look();
        let locale = pages::negotiate(ui_locales, exchange.header(&header::ACCEPT_LANGUAGE), &look.locales);
        Self {
            exchange,
            look,
            locale,
            nonce: super::exchange::nonce(),
            base_path: exchange.served.realm.issuer.path(),
        }
    }

    fn shared(&self) -> Shared<'_> {
        Shared {
            realm: &self.look.realm,
            locale: self.locale,
            nonce: &self.nonce,
            base_path: self.base_path,
        }
    }

    fn html(&self, response: error::Bare, html: String) -> HttpResponse {
        response.html(html, &pages::csp(&self.nonce, None))
    }

    fn url(&self, path: &str) -> String {
        [self.base_path, path].concat()
    }

    fn sign_in(&self, prompt: &SignInPrompt) -> HttpResponse {
        let action = self.url(oidc::endpoint::LOGIN);
        let logo = self.client_logo(&prompt.client);
        let view = pages::LoginView {
            action: &action,
            hidden: &hidden(&prompt.form),
            application: Some(application(&prompt.client, logo.as_deref())),
            identifier: match &prompt.identifier {
                Identifier::Ask { prefill } => pages::Identifier::Ask {
                    prefill,
                    accepts: accepts(&self.exchange.served.realm.login.identifiers),
                },
                Identifier::Fixed { account, switch_url } => pages::Identifier::Fixed {
                    account,
                    switch_url: Some(switch_url),
                },
            },
            alert: prompt.alert.map(|alert| match alert {
                SignInAlert::WrongCredentials => pages::LoginAlert::WrongCredentials,
                SignInAlert::MissingIdentifier => pages::LoginAlert::MissingIdentifier,
                SignInAlert::MissingPassword => pages::LoginAlert::MissingPassword,
                SignInAlert::Expired => pages::LoginAlert::Expired,
                SignInAlert::TooManyAttempts { retry_after } => pages::LoginAlert::TooManyAttempts { retry_after },
            }),
        };
        self.html(error::sign_in(prompt.alert), pages::login(&self.shared(), &view))
    }

    fn consent(&self, prompt: &ConsentPrompt) -> HttpResponse {
        let action = self.url(oidc::endpoint::CONSENT);
        let logo = self.client_logo(&prompt.client);
        let scopes: Vec<pages::Scope<'_>> = prompt
            .scopes
            .iter()
            .map(|scope| pages::Scope {
                name: &scope.name,
                description: scope.description.as_ref().map(|text| text.in_locale(self.locale.tag())),
                new: scope.new,
            })
            .collect();
        let view = pages::ConsentView {
            action: &action,
            hidden: &hidden(&prompt.form),
            application: application(&prompt.client, logo.as_deref()),
            account: &prompt.account,
            switch_url: Some(&prompt.switch_url),
            scopes: &scopes,
        };
        self.html(error::page_ok(), pages::consent(&self.shared(), &view))
    }

    fn choose_account(&self, prompt: &AccountPrompt) -> HttpResponse {
        let action = self.url(oidc::endpoint::CHOOSE_ACCOUNT);
        let logo = self.client_logo(&prompt.client);
        let view = pages::ChooseAccountView {
            action: &action,
            hidden: &hidden(&prompt.form),
            application: Some(application(&prompt.client, logo.as_deref())),
            account: &prompt.account,
            display_name: prompt.display_name.as_deref(),
        };
        self.html(error::page_ok(), pages::choose_account(&self.shared(), &view))
    }

    fn confirm_logout(&self, prompt: &LogoutPrompt) -> HttpResponse {
        let action = self.url(oidc::endpoint::LOGOUT);
        let view = pages::LogoutConfirmView {
            action: &action,
            hidden: &hidden(&prompt.form),
            account: prompt.account.as_deref(),
            application: prompt.client.as_ref().map(|client| client.display_name.as_str()),
            stay_url: None,
        };
        self.html(error::page_ok(), pages::logout_confirm(&self.shared(), &view))
    }

    fn form_post(&self, action: &str, fields: &[(&'static str, String)], client_name: &str) -> HttpResponse {
        let parameters: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let view = pages::FormPostView {
            action,
            parameters: &parameters,
            application: client_name,
        };
        let origin = url::Url::parse(action)
            .map(|url| url.origin().ascii_serialization())
            .ok();
        let html = pages::form_post(&self.shared(), &view);
        error::page_ok().html(html, &pages::csp(&self.nonce, origin.as_deref()))
    }

    fn refused(&self, refusal: &Refusal) -> HttpResponse {
        let id = self.exchange.id.to_string();
        tracing::info!(error_id = %id, realm = %self.exchange.served.realm.name, kind = ?refusal.kind, detail = %refusal.detail, "request refused");
        let kind = match refusal.kind {
            RefusalKind::UnknownClient => pages::ErrorKind::UnknownClient,
            RefusalKind::RedirectUri | RefusalKind::PostLogoutRedirectUri => pages::ErrorKind::RedirectUri,
            RefusalKind::InvalidRequest | RefusalKind::DuplicateCookies | RefusalKind::CrossSite => {
                pages::ErrorKind::InvalidRequest
            }
            RefusalKind::OtherBrowser => pages::ErrorKind::CookiesRequired,
            RefusalKind::Expired => pages::ErrorKind::Expired,
        };
        let view = pages::ErrorView {
            kind,
            error_id: &id,
            details: &[("detail", &refusal.detail)],
            back: refusal
                .start_again
                .as_deref()
                .map(|url| pages::Back::StartAgain { url }),
        };
        self.html(error::refused(refusal.kind), pages::error(&self.shared(), &view))
    }

    fn unavailable(&self, retry_after: std::time::Duration) -> HttpResponse {
        let id = self.exchange.id.to_string();
        tracing::warn!(error_id = %id, realm = %self.exchange.served.realm.name, "a browser was told to come back");
        let view = pages::ErrorView {
            kind: pages::ErrorKind::Unavailable,
            error_id: &id,
            details: &[],
            back: None,
        };
        self.html(error::unavailable(retry_after), pages::error(&self.shared(), &view))
    }

    fn client_logo(&self, client: &Client) -> Option<String> {
        client.logo.as_ref()?;
        let id: String = url::form_urlencoded::byte_serialize(client.client_id.as_bytes()).collect();
        Some(format!("{}/client-logo/{id}", self.base_path))
    }
}

fn hidden(form: &Form) -> [(&str, &str); 2] {
    [("flow", &form.flow), ("csrf", &form.csrf)]
}

fn application<'a>(client: &'a Client, logo: Option<&'a str>) -> pages::Application<'a> {
    pages::Application {
        name: &client.display_name,
        logo,
        policy_uri: client.policy_uri.as_deref(),
        tos_uri: client.tos_uri.as_deref(),
    }
}

/// What the identifier field takes, from what may name an account.
fn accepts(kinds: &[IdentifierKind]) -> pages::Accepts {
    let has = |kind| kinds.contains(&kind);
    match (
        has(IdentifierKind::Username),
        has(IdentifierKind::Email),
        has(IdentifierKind::Phone),
    ) {
        (true, false, false) => pages::Accepts::Username,
        (false, true, false) => pages::Accepts::Email,
        (false, false, true) => pages::Accepts::Phone,
        (true, true, false) => pages::Accepts::UsernameOrEmail,
        (true, false, true) => pages::Accepts::UsernameOrPhone,
        (false, true, true) => pages::Accepts::EmailOrPhone,
        (true, true, true) | (false, false, false) => pages::Accepts::Any,
    }
}
