//! What a request allocates, and that nothing of it stays.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oidc::testing;

use crate::server::{ADA, Server, TestFleet};
use crate::{ALLOCATOR, alone, database, heap_bytes};

/// Requests of a round.
const REQUESTS: usize = 400;
const ROUNDS: usize = 5;
/// The S256 challenge of [`testing::CODE_VERIFIER`].
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A connection that itself allocates nothing per request.
struct Connection {
    stream: TcpStream,
    answer: [u8; 16 * 1024],
}

impl Connection {
    fn new(server: &Server) -> Self {
        let stream = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            answer: [0; 16 * 1024],
        }
    }

    /// Sends a request; the body of a 200.
    fn send(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).unwrap();
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.answer[filled..]).unwrap();
            assert!(read > 0, "the server closed the connection");
            filled += read;
            let Some((head, length)) = extent(&self.answer[..filled]) else {
                continue;
            };
            if filled == head + length {
                let answer = &self.answer[..filled];
                assert!(
                    answer.starts_with(b"HTTP/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(answer)
                );
                return &answer[head..];
            }
        }
    }
}

/// Bytes of the head, and of the body as the head says.
fn extent(answer: &[u8]) -> Option<(usize, usize)> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    Some((head, length?))
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: id.example\r\n{headers}\r\n").into_bytes()
}

fn post(path: &str, form: &str) -> Vec<u8> {
    let credentials = STANDARD.encode(format!("app:{}", testing::secret_of("app")));
    format!(
        "POST {path} HTTP/1.1\r\nHost: id.example\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}

/// Allocations and bytes of one request: the least of a few rounds.
fn cost(connection: &mut Connection, request: &[u8]) -> (usize, usize) {
    let round = |connection: &mut Connection| {
        let before = ALLOCATOR.stats();
        for _ in 0..REQUESTS {
            connection.send(request);
        }
        let spent = ALLOCATOR.stats() - before;
        (
            (spent.allocations + spent.reallocations) / REQUESTS,
            spent.bytes_allocated / REQUESTS,
        )
    };
    let rounds: Vec<_> = (0..ROUNDS).map(|_| round(connection)).collect();
    let least = |values: Vec<usize>| values.into_iter().min().unwrap();
    (
        least(rounds.iter().map(|(count, _)| *count).collect()),
        least(rounds.iter().map(|(_, bytes)| *bytes).collect()),
    )
}

/// Each flow with its request.
async fn requests(server: &Server) -> [(&'static str, Vec<u8>); 5] {
    let access = person_token(server).await;
    [
        ("JWKS", get("/oauth2/jwks", "")),
        ("discovery", get("/.well-known/openid-configuration", "")),
        (
            "client credentials",
            post("/oauth2/token", "grant_type=client_credentials&scope=orders%3Aread"),
        ),
        ("introspection", post("/oauth2/introspect", &format!("token={access}"))),
        (
            "userinfo",
            get("/oauth2/userinfo", &format!("Authorization: Bearer {access}\r\n")),
        ),
    ]
}

#[actix_web::test]
async fn a_request_allocates_no_more_than_this() {
    let _alone = alone().await;
    let fleet = TestFleet::new(database::sqlite().await, [testing::client("app")]).await;
    let server = fleet.start().await;
    let requests = requests(&server).await;
    let mut connection = Connection::new(&server);
    let costs = requests
        .each_ref()
        .map(|(flow, request)| (*flow, cost(&mut connection, request)));
    // In the order of the flows: allocations and bytes.
    let bounds = [(9, 2_600), (9, 2_700), (40, 6_200), (18, 6_500), (37, 8_200)];
    let dear: Vec<String> = costs
        .iter()
        .zip(bounds)
        .filter(|((_, (count, bytes)), (most, most_bytes))| count > most || bytes > most_bytes)
        .map(|((flow, (count, bytes)), _)| format!("{flow}: {count} allocations, {bytes} bytes"))
        .collect();
    assert!(dear.is_empty(), "{}", dear.join("\n"));
    drop(connection);
    server.stop().await;
}

#[actix_web::test]
async fn nothing_of_a_request_stays() {
    let _alone = alone().await;
    let fleet = TestFleet::new(database::sqlite().await, [testing::client("app")]).await;
    let server = fleet.start().await;
    let requests = requests(&server).await;
    let mut connection = Connection::new(&server);
    let mut run = || {
        for (_, request) in &requests {
            for _ in 0..REQUESTS {
                connection.send(request);
            }
        }
        (heap_bytes(), resident_bytes())
    };
    run();
    let warm = run();
    let last = (0..ROUNDS).map(|_| run()).last().unwrap();
    let (heap, resident) = (last.0 - warm.0, last.1 - warm.1);
    assert!(heap < 64 * 1024, "the heap has grown by {heap} bytes");
    assert!(resident < 1024 * 1024, "the process has grown by {resident} bytes");
    drop(connection);
    server.stop().await;
}

/// Resident bytes of this process.
fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: i64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}

/// An access token about Ada.
async fn person_token(server: &Server) -> String {
    let mut browser = server.browser();
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", testing::REDIRECT_URI),
        ("scope", "openid profile email"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let page = browser.get(&format!("/oauth2/authorize?{}", query.finish())).await;
    let (flow, csrf) = (page.field("flow"), page.field("csrf"));
    let form = [
        ("flow", &*flow),
        ("csrf", &*csrf),
        ("username", ADA.0),
        ("password", ADA.1),
    ];
    let mut page = browser.post("/login", &form).await;
    while page.location().starts_with(testing::ISSUER) {
        let next = page.location().to_owned();
        page = browser.get(&next).await;
    }
    let code = page.location_parameter("code").unwrap();
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", testing::REDIRECT_URI),
            ("code_verifier", testing::CODE_VERIFIER),
        ])
        .finish();
    let mut connection = Connection::new(server);
    let answer: serde_json::Value = serde_json::from_slice(connection.send(&post("/oauth2/token", &form))).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}
