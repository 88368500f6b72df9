//! OpenID Connect as relying parties and people meet it, over HTTP on PostgreSQL.

mod claims;
mod client;
mod logout;
mod page;
mod prompt;

use oidc::config::{Client, Resource};
use oidc::testing;

use crate::browser::{Browser, Page};
use crate::database;
use crate::flow::{authorize, exchange, member, sign_in_at};
use crate::server::{Server, TestFleet};

/// A fleet of one client.
async fn fleet_of(client: Client) -> TestFleet {
    TestFleet::new(database::postgres().await, [client]).await
}

/// A server with the client `app`.
async fn start() -> Server {
    fleet_of(testing::client("app")).await.start().await
}

/// A realm whose people may be shown pages in these languages.
fn in_locales(locales: &[&str]) -> Resource {
    Resource::Realm(oidc::config::Realm {
        locales: locales.iter().map(|locale| (*locale).to_owned()).collect(),
        ..testing::realm()
    })
}

/// A browser in which Ada is signed in, and the tokens that came of it.
async fn signed_in(server: &Server, scope: &str) -> (Browser, Page) {
    let mut browser = server.browser();
    let page = sign_in_at(&mut browser, &authorize("app", scope, &[])).await;
    let tokens = exchange(server, "app", &page.location_parameter("code").unwrap()).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    (browser, tokens)
}

/// The claims of a JWT, unverified.
fn claims_of(token: &str) -> serde_json::Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .unwrap();
    serde_json::from_slice(&payload).unwrap()
}

/// What an authorization request is answered with: `code`, an error code, or the id of the page's form.
async fn outcome(browser: &mut Browser, more: &[(&str, &str)]) -> String {
    outcome_of(&browser.get(&authorize("app", "openid", more)).await)
}

fn outcome_of(page: &Page) -> String {
    if page.status == 303 {
        assert_eq!(page.location_parameter("state").as_deref(), Some("s1"));
        assert_eq!(page.location_parameter("iss").as_deref(), Some(testing::ISSUER));
        return match page.location_parameter("error") {
            Some(error) => error,
            None => page.location_parameter("code").map(|_| "code".to_owned()).unwrap(),
        };
    }
    assert_eq!(page.status, 200, "{}", page.body);
    ["sign-in-form", "consent-form", "choose-form", "form-post"]
        .into_iter()
        .find(|id| page.has_id(id))
        .unwrap_or_else(|| panic!("{}", page.body))
        .to_owned()
}

/// Posts a form of `page` to `path` with more fields.
async fn submit(browser: &mut Browser, page: &Page, path: &str, more: &[(&str, &str)]) -> Page {
    let (flow, csrf) = (page.field("flow"), page.field("csrf"));
    let mut form = vec![("flow", flow.as_str()), ("csrf", csrf.as_str())];
    form.extend(more);
    browser.post(path, &form).await
}

/// Follows our own redirects.
async fn follow(browser: &mut Browser, mut page: Page) -> Page {
    while page.status == 303 && page.location().starts_with(testing::ISSUER) {
        let next = page.location().to_owned();
        page = browser.get(&next).await;
    }
    page
}

async fn id_token(server: &Server, page: &Page) -> String {
    let tokens = exchange(server, "app", &page.location_parameter("code").unwrap()).await;
    member(&tokens, "id_token")
}
