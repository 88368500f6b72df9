//! A small demo application that signs people in: authorization code with PKCE, ID token and userinfo shown, refresh,
//! logout. It is an ordinary relying party: what it knows is a client id, a secret and an issuer.
//!
//! It listens on loopback and keeps sessions in memory. The ID token comes straight from the token endpoint, so its
//! claims are checked and its signature is not (OpenID Connect Core 1.0 §3.1.3.7, point 6).

mod page;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;
use url::form_urlencoded::Serializer as Form;

use super::http::{self, HttpError};
use oidc::Secret;

const COOKIE: &str = "nauthera_demo";

/// Sessions that are remembered; beyond it all are forgotten, which is enough for a demonstration.
const SESSIONS: usize = 1000;

/// What the application knows about its issuer and itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Registration {
    pub(super) client_id: String,
    pub(super) client_secret: Option<Secret<Vec<u8>>>,
    pub(super) display_name: String,
    pub(super) issuer: String,
    pub(super) scopes: Vec<String>,
    pub(super) redirect_uri: Url,
    /// Where the browser comes back to after logout; it has to be registered.
    pub(super) post_logout_redirect_uri: Option<String>,
}

/// The application.
#[derive(Debug, Default)]
pub(super) struct RelyingParty {
    registration: ArcSwapOption<Registration>,
    sessions: Mutex<HashMap<String, Session>>,
}

#[derive(Clone, Debug, Default)]
struct Session {
    pending: Option<Pending>,
    tokens: Option<Tokens>,
    notice: Option<String>,
}

#[derive(Clone, Debug)]
struct Pending {
    state: String,
    nonce: String,
    verifier: Secret<String>,
}

#[derive(Clone, Debug)]
struct Tokens {
    id_token: String,
    access_token: String,
    refresh_token: Option<String>,
    claims: Map<String, Value>,
    userinfo: Map<String, Value>,
    refreshed: u32,
}

/// Why a step of the protocol failed, in words for the page.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the auth server cannot be reached: {0}")]
    Http(#[from] HttpError),
    #[error("the auth server answered {status}: {error}")]
    Refused { status: u16, error: String },
    #[error("the answer is not what the protocol says: {0}")]
    Unexpected(&'static str),
    #[error("this browser has no sign-in under way, or another one; please try again")]
    NotStarted,
}

type Answer = Response<Full<Bytes>>;

impl RelyingParty {
    /// Takes what has become of the registration; `None` when its Client is gone.
    pub(super) fn register(&self, registration: Option<Registration>) {
        self.registration.store(registration.map(Arc::new));
    }

    /// Serves browsers until `stopped`.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener, stopped: CancellationToken) {
        crate::listener::serve(listener, stopped, move |request| {
            let party = Arc::clone(&self);
            async move { party.answer(request).await }
        })
        .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let Some(registration) = self.registration.load_full() else {
            return html(StatusCode::SERVICE_UNAVAILABLE, page::gone(), "");
        };
        let id = cookie(&request);
        let query = request.uri().query().unwrap_or_default().to_owned();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        // Forms here are small; a body that is not read would break the connection.
        let _ = Limited::new(request.into_body(), 64 * 1024).collect().await;
        match (&method, path.as_str()) {
            (&Method::GET, "/") => self.home(&registration, id.as_deref()),
            (&Method::GET, "/style.css") => file(page::STYLE, "text/css; charset=utf-8"),
            (&Method::GET, "/icon.svg") => file(page::ICON, "image/svg+xml"),
            (&Method::GET, "/login") => self.login(&registration).await,
            (&Method::GET, path) if path == registration.redirect_uri.path() => {
                self.callback(&registration, id.as_deref(), &query).await
            }
            (&Method::POST, "/refresh") => self.refresh(&registration, id.as_deref()).await,
            (&Method::POST, "/logout") => self.logout(&registration, id.as_deref()).await,
            _ => html(StatusCode::NOT_FOUND, page::not_found(), ""),
        }
    }

    fn home(&self, registration: &Registration, id: Option<&str>) -> Answer {
        let session = id.and_then(|id| self.session(id)).unwrap_or_default();
        let text = match &session.tokens {
            Some(tokens) => page::signed_in(registration, tokens, session.notice.as_deref()),
            None => page::welcome(registration, session.notice.as_deref()),
        };
        html(StatusCode::OK, text, &registration.issuer)
    }

    async fn login(&self, registration: &Registration) -> Answer {
        let endpoint = match discover(registration, "authorization_endpoint").await {
            Ok(endpoint) => endpoint,
            Err(failure) => return self.home_with(None, &failure),
        };
        let pending = Pending {
            state: random(),
            nonce: random(),
            verifier: Secret::new(random()),
        };
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pending.verifier.expose().as_bytes());
        let mut target = endpoint;
        target
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &registration.client_id)
            .append_pair("redirect_uri", registration.redirect_uri.as_str())
            .append_pair("scope", &registration.scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &BASE64URL.encode(digest))
            .append_pair("code_challenge_method", "S256");
        let id = random();
        self.put(
            &id,
            Session {
                pending: Some(pending),
                ..Session::default()
            },
        );
        redirect(target.as_str(), Some(&id))
    }

    async fn callback(&self, registration: &Registration, id: Option<&str>, query: &str) -> Answer {
        match self.finish(registration, id, query).await {
            Ok(tokens) => {
                if let Some(id) = id {
                    self.forget(id);
                }
                let id = random();
                self.put(
                    &id,
                    Session {
                        tokens: Some(tokens),
                        ..Session::default()
                    },
                );
                redirect("/", Some(&id))
            }
            Err(failure) => self.home_with(id, &failure),
        }
    }

    async fn finish(&self, registration: &Registration, id: Option<&str>, query: &str) -> Result<Tokens, Failure> {
        let parameters: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let pending = id.and_then(|id| self.session(id)).and_then(|session| session.pending);
        let pending = pending.ok_or(Failure::NotStarted)?;
        if parameters.get("state") != Some(&pending.state) {
            return Err(Failure::NotStarted);
        }
        if let Some(error) = parameters.get("error") {
            let description = parameters
                .get("error_description")
                .map(|text| format!(" ({text})"))
                .unwrap_or_default();
            return Err(Failure::Refused {
                status: 302,
                error: format!("{error}{description}"),
            });
        }
        // RFC 9207: the answer must come from the issuer that was asked.
        if parameters.get("iss").is_some_and(|iss| *iss != registration.issuer) {
            return Err(Failure::Unexpected("iss of the answer"));
        }
        let code = parameters.get("code").ok_or(Failure::Unexpected("no code"))?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", registration.redirect_uri.as_str()),
            ("code_verifier", pending.verifier.expose()),
        ];
        let answer = token_request(registration, &form).await?;
        tokens(registration, &answer, Some(&pending.nonce), None).await
    }

    async fn refresh(&self, registration: &Registration, id: Option<&str>) -> Answer {
        let Some((id, former)) = id.and_then(|id| Some((id, self.session(id)?.tokens?))) else {
            return redirect("/", None);
        };
        let refreshed = async {
            let token = former
                .refresh_token
                .as_deref()
                .ok_or(Failure::Unexpected("there is no refresh token"))?;
            let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
            let answer = token_request(registration, &form).await?;
            tokens(registration, &answer, None, Some(&former)).await
        };
        match refreshed.await {
            Ok(tokens) => {
                let notice = Some("Refreshed: these tokens are new.".to_owned());
                self.put(
                    id,
                    Session {
                        tokens: Some(tokens),
                        notice,
                        ..Session::default()
                    },
                );
                redirect("/", None)
            }
            Err(failure) => self.home_with(Some(id), &failure),
        }
    }

    async fn logout(&self, registration: &Registration, id: Option<&str>) -> Answer {
        let tokens = id.and_then(|id| self.session(id)).and_then(|session| session.tokens);
        if let Some(id) = id {
            self.forget(id);
        }
        let Some(tokens) = tokens else {
            return redirect("/", None);
        };
        let Ok(mut target) = discover(registration, "end_session_endpoint").await else {
            return redirect("/", None);
        };
        target.query_pairs_mut().append_pair("id_token_hint", &tokens.id_token);
        if let Some(uri) = &registration.post_logout_redirect_uri {
            target.query_pairs_mut().append_pair("post_logout_redirect_uri", uri);
        }
        redirect(target.as_str(), None)
    }

    /// Back to the first page, which says what went wrong.
    fn home_with(&self, id: Option<&str>, failure: &Failure) -> Answer {
        let session = id.and_then(|id| self.session(id)).unwrap_or_default();
        let fresh = random();
        let id = id.unwrap_or(&fresh);
        self.put(
            id,
            Session {
                pending: None,
                notice: Some(failure.to_string()),
                ..session
            },
        );
        redirect("/", Some(id))
    }

    fn session(&self, id: &str) -> Option<Session> {
        self.sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    fn put(&self, id: &str, session: Session) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS {
            sessions.clear();
        }
        sessions.insert(id.to_owned(), session);
    }

    fn forget(&self, id: &str) {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// An endpoint, from the issuer's discovery document.
async fn discover(registration: &Registration, endpoint: &str) -> Result<Url, Failure> {
    let url = format!("{}/.well-known/openid-configuration", registration.issuer);
    let url = Url::parse(&url).map_err(|_| Failure::Unexpected("the issuer is not a URL"))?;
    let document = json(http::call(&url, Request::get("/"), String::new()).await?)?;
    if document.get("issuer").and_then(Value::as_str) != Some(&registration.issuer) {
        return Err(Failure::Unexpected("the discovery document names another issuer"));
    }
    let endpoint = document.get(endpoint).and_then(Value::as_str);
    endpoint
        .and_then(|url| Url::parse(url).ok())
        .ok_or(Failure::Unexpected("the discovery document lacks an endpoint"))
}

async fn token_request(registration: &Registration, form: &[(&str, &str)]) -> Result<Map<String, Value>, Failure> {
    let endpoint = discover(registration, "token_endpoint").await?;
    let mut form = form.to_vec();
    let mut request = Request::post("/").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    match &registration.client_secret {
        Some(secret) => {
            // RFC 6749 §2.3.1: both parts are form-encoded first.
            let encode = |bytes: &[u8]| url::form_urlencoded::byte_serialize(bytes).collect::<String>();
            let pair = format!(
                "{}:{}",
                encode(registration.client_id.as_bytes()),
                encode(secret.expose())
            );
            request = request.header(header::AUTHORIZATION, format!("Basic {}", BASE64.encode(pair)));
        }
        None => form.push(("client_id", &registration.client_id)),
    }
    let body = Form::new(String::new()).extend_pairs(form).finish();
    json(http::call(&endpoint, request, body).await?)
}

fn json((status, body): (StatusCode, Vec<u8>)) -> Result<Map<String, Value>, Failure> {
    let answer: Map<String, Value> = serde_json::from_slice(&body).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    let part = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    let error = format!("{} {}", part("error"), part("error_description"))
        .trim()
        .to_owned();
    Err(Failure::Refused {
        status: status.as_u16(),
        error,
    })
}

/// Reads a token response, checks the ID token's claims, and asks for userinfo.
async fn tokens(
    registration: &Registration,
    answer: &Map<String, Value>,
    nonce: Option<&str>,
    former: Option<&Tokens>,
) -> Result<Tokens, Failure> {
    let part = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let access_token = part("access_token").ok_or(Failure::Unexpected("no access token"))?;
    let (id_token, claims) = match (part("id_token"), former) {
        (Some(id_token), _) => {
            let claims = claims_of(&id_token).ok_or(Failure::Unexpected("the ID token cannot be read"))?;
            (id_token, claims)
        }
        (None, Some(former)) => (former.id_token.clone(), former.claims.clone()),
        (None, None) => return Err(Failure::Unexpected("no ID token")),
    };
    let claim = |name: &str| claims.get(name).and_then(Value::as_str);
    let audience = match claims.get("aud") {
        Some(Value::Array(list)) => list.iter().any(|aud| aud.as_str() == Some(&registration.client_id)),
        Some(aud) => aud.as_str() == Some(&registration.client_id),
        None => false,
    };
    if claim("iss") != Some(&registration.issuer) || !audience {
        return Err(Failure::Unexpected("the ID token is not for this application"));
    }
    if nonce.is_some() && claim("nonce") != nonce {
        return Err(Failure::Unexpected("nonce of the ID token"));
    }
    let endpoint = discover(registration, "userinfo_endpoint").await?;
    let request = Request::get("/").header(header::AUTHORIZATION, format!("Bearer {access_token}"));
    let userinfo = json(http::call(&endpoint, request, String::new()).await?)?;
    if userinfo.get("sub") != claims.get("sub") {
        return Err(Failure::Unexpected("userinfo is of another person"));
    }
    Ok(Tokens {
        id_token,
        access_token,
        refresh_token: part("refresh_token").or_else(|| former.and_then(|former| former.refresh_token.clone())),
        claims,
        userinfo,
        refreshed: former.map_or(0, |former| former.refreshed + 1),
    })
}

fn claims_of(token: &str) -> Option<Map<String, Value>> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&BASE64URL.decode(payload).ok()?).ok()
}

fn random() -> String {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes);
    BASE64URL.encode(bytes)
}

fn cookie(request: &Request<Incoming>) -> Option<String> {
    let all = request.headers().get(header::COOKIE)?.to_str().ok()?;
    let own = all
        .split(';')
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    own.map(str::to_owned)
}

fn redirect(target: &str, id: Option<&str>) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(target) = HeaderValue::from_str(target) {
        answer.headers_mut().insert(header::LOCATION, target);
    }
    let cookie = id.map(|id| format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Lax"));
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn html(status: StatusCode, text: String, issuer: &str) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    let origin = Url::parse(issuer)
        .map(|issuer| issuer.origin().ascii_serialization())
        .unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' {origin}; base-uri 'none'; frame-ancestors 'none'"
    );
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

fn file(content: &'static str, kind: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(content));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
