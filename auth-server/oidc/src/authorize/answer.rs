//! What goes back to the client: a code or an error, in the response mode it asked for, with `state` and `iss`.

use std::sync::Arc;

use crate::config::Client;
use crate::context::Context;
use crate::front_channel::{FrontChannel, Outcome};
use crate::redirect_uri;

/// A proven client and where its answer goes.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    /// Who asks.
    pub(crate) client: Arc<Client>,
    /// A redirect URI of the client.
    pub(crate) redirect_uri: String,
    /// How it wants the answer.
    pub(crate) mode: ResponseMode,
    /// Returned unchanged.
    pub(crate) state: Option<String>,
}

/// How an answer travels (OAuth 2.0 Multiple Response Type Encoding Practices §2.1; Form Post Response Mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseMode {
    /// In the query of the redirect URI.
    Query,
    /// In a form posted to the redirect URI.
    FormPost,
}

impl ResponseMode {
    /// `None` for modes that codes are not answered in, `fragment` among them.
    pub(crate) fn parse(mode: Option<&str>) -> Option<Self> {
        match mode {
            None | Some("query") => Some(Self::Query),
            Some("form_post") => Some(Self::FormPost),
            Some(_) => None,
        }
    }
}

/// Error codes of the authorization endpoint (RFC 6749 §4.1.2.1; OpenID Connect Core 1.0 §3.1.2.6; RFC 8707 §2;
/// OpenID Connect Core Error Code unmet_authentication_requirements 1.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorizationError {
    InvalidRequest,
    UnauthorizedClient,
    AccessDenied,
    UnsupportedResponseType,
    InvalidScope,
    InvalidTarget,
    LoginRequired,
    ConsentRequired,
    RequestNotSupported,
    RequestUriNotSupported,
    RegistrationNotSupported,
    UnmetAuthenticationRequirements,
}

impl AuthorizationError {
    const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::UnmetAuthenticationRequirements => "unmet_authentication_requirements",
        }
    }
}

impl Recipient {
    /// An error response. `description` is for the developer of the client.
    pub(crate) fn error(&self, ctx: &Context<'_>, error: AuthorizationError, description: &str) -> FrontChannel {
        self.respond(
            ctx,
            vec![
                ("error", error.code().to_owned()),
                ("error_description", description.to_owned()),
            ],
        )
    }

    /// A successful response.
    pub(crate) fn code(&self, ctx: &Context<'_>, code: String) -> FrontChannel {
        self.respond(ctx, vec![("code", code)])
    }

    fn respond(&self, ctx: &Context<'_>, mut fields: Vec<(&'static str, String)>) -> FrontChannel {
        fields.extend(self.state.clone().map(|state| ("state", state)));
        fields.push(("iss", ctx.issuer().to_owned()));
        FrontChannel::of(match self.mode {
            ResponseMode::Query => Outcome::Redirect {
                location: redirect_uri::with_parameters(
                    &self.redirect_uri,
                    fields.iter().map(|(name, value)| (*name, value.as_str())),
                ),
            },
            ResponseMode::FormPost => Outcome::FormPost {
                action: self.redirect_uri.clone(),
                fields,
                client_name: self.client.display_name.clone(),
            },
        })
    }
}
