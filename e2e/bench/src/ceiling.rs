//! What a server of this kind could reach at most: the programs that ours is measured beside.
//!
//! The rules that make it a fair ceiling, and not a straw man or a fantasy:
//! - the same web framework in the same version, with as many workers as ours has (one, for it sees one core), the same
//!   profile of the compiler and the same allocator as the product;
//! - *hello* answers a static body of the same size as ours with the same headers, from memory, without a look at the
//!   request beyond the framework's own;
//! - the *prototype* does what the protocol cannot do without and nothing else: parse the form, compare the hash of the
//!   client's secret in constant time, one signature (or seal, or verification) with a key set up once, JSON out. It knows
//!   one issuer and one configuration, keeps no metrics, no log and no revocations, looks up no person in a database and
//!   would not pass a conformance test;
//! - answers have the size and the headers of ours, and tokens the same claims.

mod prototype;

use std::net::Ipv4Addr;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::web::{self, Bytes, Data, Form};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use anyhow::{Context as _, Result};
use clap::Args;

pub use self::prototype::{CLIENT, TokenShape, session_cookie};
use self::prototype::{CodeQuery, Prototype, TokenForm, VerifyForm};

/// A ceiling program.
#[derive(Args, Clone, Debug)]
pub struct Ceiling {
    /// Port of loopback to listen on.
    #[arg(long)]
    pub port: u16,
    /// Bytes of the static answer.
    #[arg(long, default_value_t = 1024)]
    pub static_bytes: usize,
    /// What its access tokens are like.
    #[arg(long, value_enum, default_value_t)]
    pub tokens: TokenShape,
}

/// Serves until it is stopped.
pub fn serve(ceiling: &Ceiling) -> Result<()> {
    let prototype = Data::new(Prototype::new(ceiling.tokens)?);
    let hello = Bytes::from("x".repeat(ceiling.static_bytes));
    let workers = std::thread::available_parallelism()?.get();
    let address = (Ipv4Addr::LOCALHOST, ceiling.port);
    actix_web::rt::System::new().block_on(async move {
        HttpServer::new(move || {
            App::new()
                .app_data(prototype.clone())
                .app_data(Data::new(hello.clone()))
                .route("/static", web::get().to(answer_static))
                .route("/token", web::post().to(answer_token))
                .route("/userinfo", web::get().to(answer_userinfo))
                .route("/introspect", web::post().to(answer_introspection))
                .route("/authorize", web::get().to(answer_authorize))
        })
        .workers(workers)
        .bind(address)
        .with_context(|| format!("listening on {address:?}"))?
        .run()
        .await
        .context("serving")
    })
}

async fn answer_static(hello: Data<Bytes>) -> HttpResponse {
    let mut response = HttpResponse::Ok().body(hello.get_ref().clone());
    let headers = response.headers_mut();
    headers.insert(name("content-type"), HeaderValue::from_static("application/json"));
    headers.insert(name("cache-control"), HeaderValue::from_static("public, max-age=300"));
    headers.insert(
        name("etag"),
        HeaderValue::from_static("\"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\""),
    );
    headers.insert(name("access-control-allow-origin"), HeaderValue::from_static("*"));
    protect(headers);
    response
}

async fn answer_token(request: HttpRequest, form: Form<TokenForm>, prototype: Data<Prototype>) -> HttpResponse {
    json(prototype.token(header(&request, "authorization"), &form))
}

async fn answer_userinfo(request: HttpRequest, prototype: Data<Prototype>) -> HttpResponse {
    json(prototype.userinfo(header(&request, "authorization")))
}

async fn answer_introspection(
    request: HttpRequest,
    form: Form<VerifyForm>,
    prototype: Data<Prototype>,
) -> HttpResponse {
    json(prototype.introspect(header(&request, "authorization"), &form.token))
}

async fn answer_authorize(
    request: HttpRequest,
    query: web::Query<CodeQuery>,
    prototype: Data<Prototype>,
) -> HttpResponse {
    let Some(location) = prototype.authorize(header(&request, "cookie"), &query) else {
        return refused();
    };
    let mut response = HttpResponse::SeeOther().finish();
    let Ok(location) = HeaderValue::from_str(&location) else {
        return refused();
    };
    response.headers_mut().insert(name("location"), location);
    response
        .headers_mut()
        .insert(name("cache-control"), HeaderValue::from_static("no-store"));
    protect(response.headers_mut());
    response
}

fn json(body: Option<Vec<u8>>) -> HttpResponse {
    let Some(body) = body else { return refused() };
    let mut response = HttpResponse::Ok().body(body);
    let headers = response.headers_mut();
    headers.insert(name("content-type"), HeaderValue::from_static("application/json"));
    headers.insert(name("cache-control"), HeaderValue::from_static("no-store"));
    protect(headers);
    response
}

fn refused() -> HttpResponse {
    HttpResponse::BadRequest().finish()
}

/// The headers that ours adds to every answer.
fn protect(headers: &mut HeaderMap) {
    const PROTECTION: [(&str, &str); 6] = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        (
            "permissions-policy",
            "accelerometer=(), camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ];
    for (header, value) in PROTECTION {
        headers.insert(name(header), HeaderValue::from_static(value));
    }
}

const fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}

fn header<'r>(request: &'r HttpRequest, name: &str) -> &'r str {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
