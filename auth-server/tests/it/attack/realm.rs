//! Credentials of one realm in another, at its worst: the other realm has the same keys, the same client with the same
//! secret, and the same user names.

use oidc::config::{Client, Resource};
use oidc::id::RealmId;
use oidc::testing;
use reqwest::Method;
use serde_json::json;

use super::{fleet, is_active, userinfo};
use crate::browser::{Browser, Page};
use crate::flow::{VERIFIER, authorize, basic, code, exchange, member, refresh, sign_in_at};
use crate::server::{ADA, Server};

/// A realm beside the first one: by path on the same host, or on a host of its own.
struct Other {
    issuer: &'static str,
    host: &'static str,
    path: &'static str,
}

const OTHERS: [Other; 2] = [
    Other {
        issuer: "https://id.example/other",
        host: "id.example",
        path: "/other",
    },
    Other {
        issuer: "https://other.example",
        host: "other.example",
        path: "",
    },
];

impl Other {
    fn resources(&self) -> [Resource; 4] {
        let client = |client_id| Client {
            realm: RealmId::of_issuer(self.issuer),
            ..testing::client(client_id)
        };
        let rotated = Client {
            authentication: oidc::config::ClientAuthentication::SecretBasic(vec![testing::hash_of("another secret")]),
            ..client("other")
        };
        [
            Resource::Realm(testing::realm_of(self.issuer)),
            Resource::Keys(testing::key_set(self.issuer)),
            Resource::Client(client("app")),
            Resource::Client(rotated),
        ]
    }

    fn browser(&self, server: &Server) -> Browser {
        server.browser().on_host(self.host)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.path)
    }

    async fn post(&self, server: &Server, path: &str, form: &[(&str, &str)]) -> Page {
        let credentials = format!("Basic {}", basic("app", &testing::secret_of("app")));
        let headers = [("authorization", credentials.as_str())];
        let mut browser = self.browser(server);
        browser.send(Method::POST, &self.at(path), Some(form), &headers).await
    }
}

async fn with_others() -> Server {
    let mut fleet = fleet().await;
    fleet.add(OTHERS.iter().flat_map(Other::resources));
    fleet.start().await
}

/// The cookies of `browser`, under the names that the other realm would give them.
fn renamed(browser: &mut Browser, other: &Other) -> Vec<(String, String)> {
    let id = |issuer: &str| RealmId::of_issuer(issuer).0.simple().to_string()[..12].to_owned();
    let (own, foreign) = (id(testing::ISSUER), id(other.issuer));
    let cookies = browser.cookies().iter();
    let renamed: Vec<_> = cookies
        .filter(|(name, _)| name.contains(&own))
        .map(|(name, value)| (name.replace(&own, &foreign), value.clone()))
        .collect();
    assert!(!renamed.is_empty());
    renamed
}

#[actix_web::test]
async fn a_code_of_one_realm_is_none_of_another() {
    let server = with_others().await;
    let code = code(&server, "app", "openid").await;
    for other in &OTHERS {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", testing::REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        let answer = other.post(&server, "/oauth2/token", &form).await;
        super::assert_refused(&answer, 400, "invalid_grant");
    }
    assert_eq!(exchange(&server, "app", &code).await.status, 200, "it is not spent");
    server.stop().await;
}

#[actix_web::test]
async fn tokens_of_one_realm_are_none_of_another() {
    let server = with_others().await;
    let code = code(&server, "app", "openid").await;
    let tokens = exchange(&server, "app", &code).await;
    let (access, token) = (member(&tokens, "access_token"), member(&tokens, "refresh_token"));
    let bearer = format!("Bearer {access}");
    for other in &OTHERS {
        let form = [("grant_type", "refresh_token"), ("refresh_token", &token)];
        let answer = other.post(&server, "/oauth2/token", &form).await;
        super::assert_refused(&answer, 400, "invalid_grant");
        let path = other.at("/oauth2/userinfo");
        let mut browser = other.browser(&server);
        let answer = browser
            .send(Method::GET, &path, None, &[("authorization", &bearer)])
            .await;
        assert_eq!(answer.status, 401, "{}", answer.body);
        for token in [&access, &token] {
            let answer = other.post(&server, "/oauth2/introspect", &[("token", token)]).await;
            assert_eq!(answer.json(), json!({"active": false}));
            let answer = other.post(&server, "/oauth2/revoke", &[("token", token)]).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    }
    assert!(is_active(&server, &access).await && is_active(&server, &token).await);
    assert_eq!(userinfo(&server, &access).await.status, 200);
    assert_eq!(refresh(&server, "app", &token).await.status, 200);
    server.stop().await;
}

#[actix_web::test]
async fn a_session_of_one_realm_is_none_of_another() {
    let server = with_others().await;
    let mut ada = server.browser();
    sign_in_at(&mut ada, &authorize("app", "openid", &[])).await;
    for other in &OTHERS {
        for rename in [false, true] {
            let mut browser = other.browser(&server);
            browser.cookies().extend(ada.cookies().clone());
            if rename {
                browser.cookies().extend(renamed(&mut ada, other));
            }
            let silent = other.at(&authorize("app", "openid", &[("prompt", "none")]));
            let page = browser.get(&silent).await;
            assert_eq!(page.location_parameter("error").as_deref(), Some("login_required"));
            assert_eq!(page.location_parameter("iss").as_deref(), Some(other.issuer));
            // Signing out there ends nothing here.
            let page = browser.get(&other.at("/oauth2/end_session")).await;
            assert!(page.has_id("logged-out"), "{}", page.body);
        }
    }
    let page = ada.get(&authorize("app", "openid", &[("prompt", "none")])).await;
    assert!(page.location_parameter("code").is_some());
    server.stop().await;
}

#[actix_web::test]
async fn a_form_of_one_realm_is_none_of_another() {
    let server = with_others().await;
    for other in &OTHERS {
        let mut here = server.browser();
        let form = here.get(&authorize("app", "openid", &[])).await;
        let mut there = other.browser(&server);
        there.cookies().extend(renamed(&mut here, other));
        let (flow, csrf) = (form.field("flow"), form.field("csrf"));
        let fields = [
            ("flow", flow.as_str()),
            ("csrf", csrf.as_str()),
            ("username", ADA.0),
            ("password", ADA.1),
        ];
        let refused = there.post(&other.at("/login"), &fields).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert!(!there.cookies().keys().any(|name| name.contains("-session-")));

        // Nor does the token of a form here fit a form there, whose browser is the same.
        let mut there = other.browser(&server);
        there.cookies().extend(renamed(&mut here, other));
        let page = there.get(&other.at(&authorize("app", "openid", &[]))).await;
        let flow = page.field("flow");
        let fields = [
            ("flow", flow.as_str()),
            ("csrf", csrf.as_str()),
            ("username", ADA.0),
            ("password", ADA.1),
        ];
        let refused = there.post(&other.at("/login"), &fields).await;
        assert_eq!(refused.status, 403, "{}", refused.body);

        let resumed = there
            .get(&other.at(&format!("/oauth2/authorize?flow={}", form.field("flow"))))
            .await;
        assert_eq!(resumed.status, 400, "{}", resumed.body);
    }
    server.stop().await;
}

#[actix_web::test]
async fn a_client_secret_of_one_realm_is_none_of_another() {
    let server = with_others().await;
    let of_other = testing::secret_of("other");
    let form = [("grant_type", "client_credentials"), ("scope", "orders:read")];
    for other in &OTHERS {
        for (secret, status) in [(of_other.as_str(), 401), ("another secret", 200)] {
            let credentials = format!("Basic {}", basic("other", secret));
            let headers = [("authorization", credentials.as_str())];
            let mut browser = other.browser(&server);
            let path = other.at("/oauth2/token");
            let answer = browser.send(Method::POST, &path, Some(&form), &headers).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
    }
    let answer = crate::flow::post_as(&server, "other", "/oauth2/token", &form).await;
    assert_eq!(answer.status, 200);
    server.stop().await;
}

#[actix_web::test]
async fn an_id_token_of_one_realm_is_no_hint_in_another() {
    let server = with_others().await;
    let mut ada = server.browser();
    let page = sign_in_at(&mut ada, &authorize("app", "openid", &[])).await;
    let tokens = exchange(&server, "app", &page.location_parameter("code").unwrap()).await;
    let hint = member(&tokens, "id_token");
    for other in &OTHERS {
        let mut browser = other.browser(&server);
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("id_token_hint", hint.as_str()),
                ("post_logout_redirect_uri", "https://app.example/signed-out"),
            ])
            .finish();
        let page = browser.get(&other.at(&format!("/oauth2/end_session?{query}"))).await;
        assert_eq!((page.status, page.has_id("logged-out")), (200, true), "{}", page.body);
        assert!(!page.body.contains("https://app.example/signed-out"));
    }
    let page = ada.get(&authorize("app", "openid", &[("prompt", "none")])).await;
    assert!(page.location_parameter("code").is_some());
    server.stop().await;
}
