//! Malformed, duplicate, oversized and hostile input on every endpoint: always a 4xx of the right shape, and the server
//! lives on.

use std::time::Duration;

use oidc::testing;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::browser::Page;
use crate::database;
use crate::flow::{basic, code, exchange};
use crate::server::{Server, TestFleet};

/// Endpoints that programs post to.
const PROGRAMS: [&str; 3] = ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"];
/// Endpoints that browsers post to.
const FORMS: [&str; 6] = [
    "/oauth2/authorize",
    "/oauth2/end_session",
    "/login",
    "/consent",
    "/choose-account",
    "/logout",
];
/// All paths, with the methods they take.
const ALL: [(&str, &str); 13] = [
    ("/.well-known/openid-configuration", "GET, HEAD"),
    ("/.well-known/oauth-authorization-server", "GET, HEAD"),
    ("/oauth2/jwks", "GET, HEAD"),
    ("/oauth2/authorize", "GET, POST"),
    ("/oauth2/token", "POST"),
    ("/oauth2/userinfo", "GET, POST"),
    ("/oauth2/revoke", "POST"),
    ("/oauth2/introspect", "POST"),
    ("/oauth2/end_session", "GET, POST"),
    ("/login", "POST"),
    ("/consent", "POST"),
    ("/choose-account", "POST"),
    ("/logout", "POST"),
];

async fn start() -> Server {
    let clients = [testing::client("app"), testing::public_client("spa")];
    TestFleet::new(database::postgres().await, clients).await.start().await
}

async fn post(server: &Server, path: &str, body: Vec<u8>, content_type: &str) -> Page {
    let credentials = format!("Basic {}", basic("app", &testing::secret_of("app")));
    let mut request = server
        .http()
        .post(format!("{}{path}", server.base()))
        .header("host", "id.example")
        .header("sec-fetch-site", "same-origin")
        .header("content-type", content_type)
        .body(body);
    if PROGRAMS.contains(&path) {
        request = request.header("authorization", credentials);
    }
    let response = request.send().await.unwrap();
    Page::read(response).await
}

/// A refusal as programs (RFC 6749 §5.2) or people are told.
#[track_caller]
fn assert_refusal(page: &Page, path: &str, what: &str) {
    assert!(
        (400..500).contains(&page.status),
        "{path} {what}: {} {}",
        page.status,
        page.body
    );
    assert_eq!(page.header("cache-control"), "no-store", "{path} {what}");
    if FORMS.contains(&path) {
        assert!(
            page.header("content-type").starts_with("text/html"),
            "{path} {what}: {}",
            page.body
        );
        assert!(page.has_id("error-summary"), "{path} {what}: {}", page.body);
    } else if !page.body.is_empty() {
        let error = page.json();
        assert!(error["error"].is_string(), "{path} {what}: {error}");
    }
}

/// That the server still does its work.
async fn assert_alive(server: &Server) {
    let code = code(server, "app", "openid").await;
    assert_eq!(exchange(server, "app", &code).await.status, 200);
    assert_eq!(server.probe("/livez").await.0, 200);
}

fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let many: Vec<String> = (0..65).map(|n| format!("p{n}=1")).collect();
    let bytes = |text: &str| text.as_bytes().to_vec();
    vec![
        ("duplicate", bytes("client_id=app&client_id=app")),
        ("duplicate of nothing known", bytes("x=1&x=2")),
        ("duplicate under an escape", bytes("client_id=app&client%5Fid=app")),
        ("65 parameters", bytes(&many.join("&"))),
        ("a long name", bytes(&format!("{}=1", "n".repeat(65)))),
        ("a long value", bytes(&format!("state={}", "v".repeat(16 * 1024 + 1)))),
        ("a broken escape", bytes("state=%zz")),
        ("half an escape", bytes("state=%4")),
        ("not UTF-8", bytes("state=%ff%fe")),
        ("an overlong encoding", bytes("state=%c0%ae")),
        ("a null character", bytes("state=a%00b")),
        ("a broken name", bytes("%zz=1")),
        ("raw bytes", vec![b's', b'=', 0xff, 0xc3, 0x28, 0x00]),
    ]
}

#[actix_web::test]
async fn malformed_forms_are_refused_everywhere() {
    let server = start().await;
    for path in PROGRAMS.iter().chain(&FORMS).chain(&["/oauth2/userinfo"]) {
        for (what, body) in malformed() {
            let page = post(&server, path, body, "application/x-www-form-urlencoded").await;
            assert_refusal(&page, path, what);
            assert_eq!(page.status, 400, "{path} {what}");
        }
        let page = post(&server, path, Vec::new(), "application/x-www-form-urlencoded").await;
        if *path != "/oauth2/end_session" {
            assert_refusal(&page, path, "nothing");
        }
    }
    assert_alive(&server).await;
    server.stop().await;
}

#[actix_web::test]
async fn malformed_queries_are_refused_on_a_page() {
    let server = start().await;
    for path in ["/oauth2/authorize", "/oauth2/end_session"] {
        for (what, query) in malformed() {
            let Ok(query) = String::from_utf8(query) else {
                continue;
            };
            let page = server.browser().get(&format!("{path}?{query}")).await;
            assert_refusal(&page, path, what);
        }
    }
    assert_alive(&server).await;
    server.stop().await;
}

#[actix_web::test]
async fn bodies_beyond_64_kib_are_refused() {
    let server = start().await;
    for path in PROGRAMS.iter().chain(&FORMS).chain(&["/oauth2/userinfo"]) {
        let body = format!("state={}", "x".repeat(64 * 1024));
        let page = post(&server, path, body.into_bytes(), "application/x-www-form-urlencoded").await;
        assert_refusal(&page, path, "too large");
        assert_eq!(page.status, 413, "{path}");
    }
    assert_alive(&server).await;
    server.stop().await;
}

#[actix_web::test]
async fn other_content_types_are_refused() {
    let server = start().await;
    for path in PROGRAMS.iter().chain(&FORMS).chain(&["/oauth2/userinfo"]) {
        for content_type in [
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/x-www-form-urlencoded-not",
            "",
        ] {
            let body = b"grant_type=client_credentials".to_vec();
            let page = post(&server, path, body, content_type).await;
            assert_refusal(&page, path, content_type);
            assert_eq!(page.status, 415, "{path} {content_type}");
        }
    }
    let form = b"grant_type=client_credentials&scope=orders:read".to_vec();
    let with_charset = "Application/X-WWW-Form-URLEncoded; charset=UTF-8";
    assert_eq!(post(&server, "/oauth2/token", form, with_charset).await.status, 200);
    server.stop().await;
}

#[actix_web::test]
async fn other_methods_are_refused_with_those_allowed() {
    let server = start().await;
    let mut browser = server.browser();
    for (path, allow) in ALL {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECTED"] {
            if allow.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let name = Method::from_bytes(method.as_bytes()).unwrap();
            let page = browser.send(name, path, None, &[]).await;
            assert_eq!((page.status, page.header("allow")), (405, allow), "{method} {path}");
            if method != "HEAD" {
                assert_refusal(&page, path, method);
            }
        }
        let preflight = browser.send(Method::OPTIONS, path, None, &[]).await;
        assert_eq!(preflight.status, 204, "{path}");
    }
    assert_eq!(browser.get("/nothing").await.status, 404);
    assert_eq!(browser.get("/oauth2/token/").await.status, 404);
    server.stop().await;
}

#[actix_web::test]
async fn hostile_headers_are_refused_or_ignored() {
    let server = start().await;
    let long = "x".repeat(20_000);
    let many_cookies = (0..500).map(|n| format!("c{n}=v")).collect::<Vec<_>>().join("; ");
    for value in [
        "Basic",
        "Basic !!!",
        "Basic YXBw",
        "Basic OnNlY3JldA==",
        "Basic /////w==",
        "Bearer",
        "Bearer a b",
        "Bearer \u{e9}",
        "Digest x",
        "",
        &long,
        &format!("Bearer {long}"),
        &format!("Basic {long}"),
        &format!("Bearer {}", "a.".repeat(5000)),
    ] {
        for (path, _) in ALL {
            for method in [Method::GET, Method::POST] {
                let mut browser = server.browser();
                let headers = [("authorization", value), ("cookie", &many_cookies)];
                let form = [("grant_type", "client_credentials"), ("token", "x")];
                let form = (method == Method::POST).then_some(&form[..]);
                let page = browser.send(method.clone(), path, form, &headers).await;
                assert!(page.status < 500, "{path} {value}: {}", page.body);
            }
        }
        let mut browser = server.browser();
        let page = browser
            .send(Method::GET, "/oauth2/userinfo", None, &[("authorization", value)])
            .await;
        assert_refusal(&page, "/oauth2/userinfo", value);
        assert!(!page.header("www-authenticate").is_empty(), "{value}");
    }
    assert_alive(&server).await;
    server.stop().await;
}

/// Writes raw bytes; the status line that comes back, empty when the connection was closed without a word.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.base().trim_start_matches("http://"))
        .await
        .unwrap();
    // The server may hang up before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer));
    let _ = reading.await.expect("the server closes the connection");
    let text = String::from_utf8_lossy(&answer);
    text.lines().next().unwrap_or_default().to_owned()
}

#[actix_web::test]
async fn what_is_not_http_does_no_harm() {
    let server = start().await;
    let huge_header = format!(
        "GET / HTTP/1.1\r\nHost: id.example\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    let huge_query = format!(
        "GET /oauth2/authorize?{} HTTP/1.1\r\nHost: id.example\r\n\r\n",
        "x".repeat(70_000)
    );
    let many_headers: Vec<String> = (0..500).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many_headers = many_headers.concat();
    let many_headers = format!("GET /oauth2/jwks HTTP/1.1\r\nHost: id.example\r\n{many_headers}\r\n");
    let short_body = "POST /oauth2/token HTTP/1.1\r\nHost: id.example\r\nContent-Length: 100\r\n\r\ngrant".to_owned();
    let two_lengths =
        "POST /oauth2/token HTTP/1.1\r\nHost: id.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
            .to_owned();
    let smuggled = "POST /oauth2/token HTTP/1.1\r\nHost: id.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_owned();
    let bad_chunk =
        "POST /oauth2/token HTTP/1.1\r\nHost: id.example\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n".to_owned();
    let no_host = "GET /oauth2/jwks HTTP/1.1\r\n\r\n".to_owned();
    let two_hosts = "GET /oauth2/jwks HTTP/1.1\r\nHost: id.example\r\nHost: evil.example\r\n\r\n".to_owned();
    let spaces = "GET /oauth2/ jwks HTTP/1.1\r\nHost: id.example\r\n\r\n".to_owned();
    let escape = "GET /oauth2/%zz HTTP/1.1\r\nHost: id.example\r\n\r\n".to_owned();
    for (what, request) in [
        ("a huge header", huge_header),
        ("a huge query", huge_query),
        ("500 headers", many_headers),
        ("a short body", short_body),
        ("two lengths", two_lengths),
        ("two framings", smuggled),
        ("a bad chunk", bad_chunk),
        ("no host", no_host),
        ("two hosts", two_hosts),
        ("spaces in the target", spaces),
        ("a broken escape in the path", escape),
        ("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03".to_owned()),
    ] {
        let status = raw(&server, request.as_bytes()).await;
        assert!(
            status.is_empty() || status.starts_with("HTTP/1.1 4") || status.starts_with("HTTP/1.0 4"),
            "{what}: {status}"
        );
    }
    assert_alive(&server).await;
    server.stop().await;
}

#[actix_web::test]
async fn random_garbage_is_refused_and_survived() {
    let server = start().await;
    let mut runner = TestRunner::new(ProptestConfig::default());
    let name = prop_oneof![
        Just("client_id"),
        Just("grant_type"),
        Just("code"),
        Just("refresh_token"),
        Just("token"),
        Just("client_assertion"),
        Just("client_secret"),
        Just("redirect_uri"),
        Just("flow"),
        Just("csrf"),
        Just("username"),
        Just("prompt"),
        Just("max_age"),
        Just("claims"),
        Just("id_token_hint"),
        Just("resource"),
        Just("scope"),
        Just("response_type"),
    ];
    let value = prop_oneof![
        "\\PC{0,40}",
        Just("app".to_owned()),
        Just(testing::REDIRECT_URI.to_owned()),
        Just("authorization_code".to_owned()),
        Just("refresh_token".to_owned()),
        Just("client_credentials".to_owned()),
        Just("code".to_owned()),
        Just("openid".to_owned()),
        "[0-9]{1,30}",
        "[A-Za-z0-9_-]{10}\\.[A-Za-z0-9_-]{10}\\.[A-Za-z0-9_-]{10}",
        "\\{\"[a-z_]{1,10}\":(null|\\[\\]|\\{\\}|[0-9]{1,20})\\}",
    ];
    let body = prop_oneof![
        3 => prop::collection::btree_map(name, value, 0..8).prop_map(|pairs| {
            url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(pairs)
                .finish()
                .into_bytes()
        }),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ];
    let authorization = prop_oneof![
        Just(String::new()),
        Just(format!("Basic {}", basic("app", &testing::secret_of("app")))),
        "(Basic|Bearer|basic|[A-Za-z]{1,8}) [!-~]{0,60}",
    ];
    let cookie = "(__Host-nauthera-(session|browser|activity)-[0-9a-f]{12}=[!-:<-~]{0,60}(; )?){0,3}";
    let case = (0..ALL.len(), any::<bool>(), body, authorization, cookie);
    for _ in 0..400 {
        let (endpoint, posted, body, authorization, cookie) = case.new_tree(&mut runner).unwrap().current();
        let (path, _) = ALL[endpoint];
        let mut url = format!("{}{path}", server.base());
        if !posted {
            let query = String::from_utf8(body.clone()).unwrap_or_default();
            let clean = query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
            url.push('?');
            url.push_str(if clean { &query } else { "x=%ff" });
        }
        let request = if posted {
            server
                .http()
                .post(url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone())
        } else {
            server.http().get(url)
        };
        let request = request
            .header("host", "id.example")
            .header("authorization", &authorization)
            .header("cookie", &cookie);
        let page = Page::read(request.send().await.unwrap()).await;
        let shown = String::from_utf8_lossy(&body);
        assert!(
            page.status < 500,
            "{path} {posted} {shown} {authorization} {cookie}: {} {}",
            page.status,
            page.body
        );
        if page.status >= 400 && !page.body.is_empty() && path != "/login" {
            assert_refusal(&page, path, &shown);
        }
    }
    assert_alive(&server).await;
    server.stop().await;
}
