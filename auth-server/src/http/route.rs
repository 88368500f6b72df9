//! The route table: every path of an issuer, who may call it and how its answer is cached.

use actix_web::http::Method;
use oidc::endpoint;

/// What answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Discovery,
    AuthorizationServerMetadata,
    Jwks,
    Authorize,
    Token,
    Userinfo,
    Revoke,
    Introspect,
    EndSession,
    Login,
    Consent,
    ChooseAccount,
    Logout,
    Asset,
    RealmLogo,
    ClientLogo,
}

impl Endpoint {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::ClientLogo.index() + 1;

    /// Its place in tables: a number below [`Endpoint::COUNT`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Its name in metrics and logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::AuthorizationServerMetadata => "oauth_metadata",
            Self::Jwks => "jwks",
            Self::Authorize => "authorize",
            Self::Token => "token",
            Self::Userinfo => "userinfo",
            Self::Revoke => "revoke",
            Self::Introspect => "introspect",
            Self::EndSession => "end_session",
            Self::Login => "login",
            Self::Consent => "consent",
            Self::ChooseAccount => "choose_account",
            Self::Logout => "logout",
            Self::Asset => "asset",
            Self::RealmLogo => "realm_logo",
            Self::ClientLogo => "client_logo",
        }
    }

    /// Whether it answers people: with pages, also when something is wrong.
    pub(crate) const fn has_pages(self) -> bool {
        match self {
            Self::Authorize | Self::EndSession | Self::Login | Self::Consent | Self::ChooseAccount | Self::Logout => {
                true
            }
            Self::Discovery
            | Self::AuthorizationServerMetadata
            | Self::Jwks
            | Self::Token
            | Self::Userinfo
            | Self::Revoke
            | Self::Introspect
            | Self::Asset
            | Self::RealmLogo
            | Self::ClientLogo => false,
        }
    }

    /// Whether scripts of other origins may read the answer (CORS), and which.
    pub(crate) const fn readable_by(self) -> Readers {
        match self {
            Self::Discovery | Self::AuthorizationServerMetadata | Self::Jwks => Readers::Everybody,
            Self::Token | Self::Userinfo | Self::Revoke | Self::Introspect => Readers::AllowedOrigins,
            Self::Authorize
            | Self::EndSession
            | Self::Login
            | Self::Consent
            | Self::ChooseAccount
            | Self::Logout
            | Self::Asset
            | Self::RealmLogo
            | Self::ClientLogo => Readers::SameOrigin,
        }
    }
}

/// Which origins' scripts may read an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// `Access-Control-Allow-Origin: *`.
    Everybody,
    /// The `allowedOrigins` of the realm's clients.
    AllowedOrigins,
    /// No CORS headers.
    SameOrigin,
}

/// How an answer is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// `no-store`.
    Never,
    /// Kept for five minutes.
    Document,
    /// For ever: the name carries the content's hash.
    Immutable,
}

impl Cache {
    /// The `Cache-Control` value.
    pub(crate) const fn header(self) -> &'static str {
        match self {
            Self::Never => "no-store",
            Self::Document => "public, max-age=300",
            Self::Immutable => crate::pages::assets::IMMUTABLE,
        }
    }
}

/// How a path is compared with the rest of a request's path below the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// The whole rest.
    Exact(&'static str),
    /// The beginning; the endpoint reads what follows.
    Prefix(&'static str),
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) methods: &'static [Method],
    pub(crate) path: Match,
    pub(crate) endpoint: Endpoint,
    /// Who may call it: each endpoint sees to it, the table tells.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by people, and by the test that shows the table")
    )]
    pub(crate) caller: &'static str,
    pub(crate) cache: Cache,
}

const GET: &[Method] = &[Method::GET, Method::HEAD];
const POST: &[Method] = &[Method::POST];
const GET_POST: &[Method] = &[Method::GET, Method::POST];

/// Every path below an issuer.
pub(crate) const ROUTES: &[Route] = &[
    route(
        GET,
        endpoint::OPENID_CONFIGURATION,
        Endpoint::Discovery,
        "anyone",
        Cache::Document,
    ),
    route(
        GET,
        endpoint::OAUTH_AUTHORIZATION_SERVER,
        Endpoint::AuthorizationServerMetadata,
        "anyone",
        Cache::Document,
    ),
    route(GET, endpoint::JWKS, Endpoint::Jwks, "anyone", Cache::Document),
    route(
        GET_POST,
        endpoint::AUTHORIZE,
        Endpoint::Authorize,
        "browser",
        Cache::Never,
    ),
    route(POST, endpoint::TOKEN, Endpoint::Token, "client", Cache::Never),
    route(
        GET_POST,
        endpoint::USERINFO,
        Endpoint::Userinfo,
        "access token",
        Cache::Never,
    ),
    route(POST, endpoint::REVOKE, Endpoint::Revoke, "client", Cache::Never),
    route(POST, endpoint::INTROSPECT, Endpoint::Introspect, "client", Cache::Never),
    route(
        GET_POST,
        endpoint::END_SESSION,
        Endpoint::EndSession,
        "browser",
        Cache::Never,
    ),
    route(
        POST,
        endpoint::LOGIN,
        Endpoint::Login,
        "browser with CSRF token",
        Cache::Never,
    ),
    route(
        POST,
        endpoint::CONSENT,
        Endpoint::Consent,
        "browser with CSRF token",
        Cache::Never,
    ),
    route(
        POST,
        endpoint::CHOOSE_ACCOUNT,
        Endpoint::ChooseAccount,
        "browser with CSRF token",
        Cache::Never,
    ),
    route(
        POST,
        endpoint::LOGOUT,
        Endpoint::Logout,
        "browser with CSRF token",
        Cache::Never,
    ),
    Route {
        methods: GET,
        path: Match::Prefix("/assets/"),
        endpoint: Endpoint::Asset,
        caller: "anyone",
        cache: Cache::Immutable,
    },
    Route {
        methods: GET,
        path: Match::Prefix("/logo/"),
        endpoint: Endpoint::RealmLogo,
        caller: "anyone",
        cache: Cache::Immutable,
    },
    Route {
        methods: GET,
        path: Match::Prefix("/client-logo/"),
        endpoint: Endpoint::ClientLogo,
        caller: "anyone",
        cache: Cache::Document,
    },
];

const fn route(
    methods: &'static [Method],
    path: &'static str,
    endpoint: Endpoint,
    caller: &'static str,
    cache: Cache,
) -> Route {
    Route {
        methods,
        path: Match::Exact(path),
        endpoint,
        caller,
        cache,
    }
}

/// The route of a path below an issuer, and what follows a prefix.
pub(crate) fn find(rest: &str) -> Option<(&'static Route, &str)> {
    ROUTES.iter().find_map(|route| match route.path {
        Match::Exact(path) => (rest == path).then_some((route, "")),
        Match::Prefix(prefix) => rest.strip_prefix(prefix).map(|tail| (route, tail)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_table() {
        let table: Vec<String> = ROUTES
            .iter()
            .map(|route| {
                let methods = route.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(",");
                let path = match route.path {
                    Match::Exact(path) => path.to_owned(),
                    Match::Prefix(path) => format!("{path}*"),
                };
                format!("{methods:<9} {path:<42} {:<24} {}", route.caller, route.cache.header())
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"), @"
        GET,HEAD  /.well-known/openid-configuration          anyone                   public, max-age=300
        GET,HEAD  /.well-known/oauth-authorization-server    anyone                   public, max-age=300
        GET,HEAD  /oauth2/jwks                               anyone                   public, max-age=300
        GET,POST  /oauth2/authorize                          browser                  no-store
        POST      /oauth2/token                              client                   no-store
        GET,POST  /oauth2/userinfo                           access token             no-store
        POST      /oauth2/revoke                             client                   no-store
        POST      /oauth2/introspect                         client                   no-store
        GET,POST  /oauth2/end_session                        browser                  no-store
        POST      /login                                     browser with CSRF token  no-store
        POST      /consent                                   browser with CSRF token  no-store
        POST      /choose-account                            browser with CSRF token  no-store
        POST      /logout                                    browser with CSRF token  no-store
        GET,HEAD  /assets/*                                  anyone                   public, max-age=31536000, immutable
        GET,HEAD  /logo/*                                    anyone                   public, max-age=31536000, immutable
        GET,HEAD  /client-logo/*                             anyone                   public, max-age=300
        ");
    }

    #[test]
    fn paths_match_whole() {
        assert!(find("/oauth2/token").is_some());
        assert!(find("/oauth2/token/").is_none());
        assert!(find("/oauth2/tokens").is_none());
        assert!(find("").is_none());
        assert_eq!(find("/assets/ab/c.css").map(|(_, tail)| tail), Some("ab/c.css"));
    }
}
