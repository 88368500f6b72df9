//! The end of a server, and more work than fits.

use std::time::Duration;

use futures::future::join_all;
use oidc::testing;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::database;
use crate::flow::{authorize, post_as, sign_in};
use crate::server::{Server, TestFleet, within};

async fn start() -> Server {
    let fleet = TestFleet::new(database::postgres().await, [testing::client("app")]).await;
    fleet.start().await
}

#[actix_web::test]
async fn a_draining_server_is_not_ready_and_ends_what_is_in_flight() {
    let server = start().await;
    let form = "grant_type=client_credentials&scope=orders%3Aread";
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: id.example\r\nAuthorization: Basic {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        crate::flow::basic("app", &testing::secret_of("app")),
        form.len()
    );
    let mut slow = TcpStream::connect(server.base().trim_start_matches("http://"))
        .await
        .unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&form.as_bytes()[..5]).await.unwrap();
    // An answer to another request shows that the listener took the slow one first.
    assert_eq!(server.browser().get("/oauth2/jwks").await.status, 200);
    let probes = server.prober();
    let stopping = tokio::task::spawn_local(server.stop());
    within(Duration::from_secs(3), "the drain in the probe", async || {
        let (status, body) = probes.probe("/readyz").await;
        status == 503 && body.contains("draining")
    })
    .await;
    slow.write_all(&form.as_bytes()[5..]).await.unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("access_token"),
        "{answer}"
    );
    stopping.await.unwrap();
}

#[actix_web::test]
async fn saturated_hashing_puts_sign_ins_off_while_tokens_are_issued() {
    let server = start().await;
    let forms = join_all((0..120).map(|_| async {
        let mut browser = server.browser();
        let page = browser.get(&authorize("app", "openid", &[])).await;
        (browser, page)
    }))
    .await;
    let attempts = forms
        .into_iter()
        .enumerate()
        .map(|(n, (mut browser, page))| async move {
            let name = format!("nobody{n}");
            sign_in(&mut browser, &page, &name, "a wrong password").await
        });
    let form = [("grant_type", "client_credentials"), ("scope", "orders:read")];
    let token = post_as(&server, "app", "/oauth2/token", &form);
    let (answers, token) = futures::join!(join_all(attempts), token);
    assert_eq!(token.status, 200);
    let mut put_off = 0;
    for page in answers {
        match page.status {
            422 => {}
            503 => {
                put_off += 1;
                assert!(page.header("retry-after").parse::<u32>().unwrap() > 0);
                assert!(page.has_id("error-summary"));
            }
            other => panic!("{other}: {}", page.body),
        }
    }
    assert!(put_off > 0, "120 sign-ins at once do not fit");
    server.stop().await;
}
