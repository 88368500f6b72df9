//! What is refused, and where the refusal goes.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::revocation::{Revocation, Revoked};

#[tokio::test]
async fn an_unregistered_redirect_uri_never_redirects() {
    let world = world();
    for uri in [
        "https%3A%2F%2Fevil.example",
        "https%3A%2F%2Fapp.example%2Fcallback%23",
        "javascript:alert(1)",
        "",
    ] {
        for rest in [
            "&response_type=code",
            "&response_type=token",
            "&request=x",
            "&prompt=none",
            "&response_mode=form_post",
        ] {
            for method in [Method::Get, Method::Post] {
                let query = format!("client_id=web&redirect_uri={uri}&scope=openid{rest}");
                let outcome = Agent::new(1).authorize(&world, method, &query).await;
                assert_eq!(refused(&outcome), RefusalKind::RedirectUri, "{query}");
            }
        }
    }
    let outcome = Agent::new(1)
        .authorize(
            &world,
            Method::Get,
            "client_id=other&redirect_uri=https://app.example/callback",
        )
        .await;
    assert_eq!(refused(&outcome), RefusalKind::UnknownClient);
}

#[tokio::test]
async fn open_redirect_a_flow_that_we_did_not_seal_leads_nowhere() {
    let world = world();
    for flow in ["https%3A%2F%2Fevil.example", "AAAA", "x"] {
        let outcome = Agent::new(1)
            .authorize(&world, Method::Get, &format!("flow={flow}"))
            .await;
        assert_eq!(refused(&outcome), RefusalKind::Expired);
    }
}

#[tokio::test]
async fn every_fault_of_a_proven_client_goes_back_to_it() {
    let world = world();
    let base = "client_id=web&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback&state=s%261";
    let pkce = format!("&code_challenge={CHALLENGE}&code_challenge_method=S256");
    for (rest, expected) in [
        (format!("&scope=openid{pkce}"), "invalid_request"),
        (
            format!("&response_type=token&scope=openid{pkce}"),
            "unsupported_response_type",
        ),
        (
            format!("&response_type=code+id_token&scope=openid{pkce}"),
            "unsupported_response_type",
        ),
        (format!("&response_type=code&scope=unheard{pkce}"), "invalid_scope"),
        ("&response_type=code&scope=openid".to_owned(), "invalid_request"),
        (
            format!("&response_type=code&scope=openid&code_challenge={CHALLENGE}"),
            "invalid_request",
        ),
        (
            format!("&response_type=code&scope=openid&code_challenge={CHALLENGE}&code_challenge_method=plain"),
            "invalid_request",
        ),
        (
            "&response_type=code&scope=openid&code_challenge=short&code_challenge_method=S256".to_owned(),
            "invalid_request",
        ),
        (
            format!("&response_type=code&scope=openid&response_mode=fragment{pkce}"),
            "invalid_request",
        ),
        (
            format!("&response_type=code&scope=openid&request=x{pkce}"),
            "request_not_supported",
        ),
        (
            format!("&response_type=code&scope=openid&request_uri=x{pkce}"),
            "request_uri_not_supported",
        ),
        (
            format!("&response_type=code&scope=openid&registration=x{pkce}"),
            "registration_not_supported",
        ),
        (
            format!("&response_type=code&scope=openid&claims=%5B%5D{pkce}"),
            "invalid_request",
        ),
        (
            format!("&response_type=code&scope=openid&resource=https://x.example{pkce}"),
            "invalid_target",
        ),
        (
            format!(
                "&response_type=code&scope=openid&claims=%7B%22id_token%22%3A%7B%22acr%22%3A%7B%22essential%22%3Atrue%2C%22value%22%3A%22gold%22%7D%7D%7D{pkce}"
            ),
            "unmet_authentication_requirements",
        ),
        (
            format!("&response_type=code&scope=openid&nonce={}{pkce}", "n".repeat(1025)),
            "invalid_request",
        ),
    ] {
        let outcome = Agent::new(1)
            .authorize(&world, Method::Get, &format!("{base}{rest}"))
            .await;
        assert_eq!(error(&outcome), expected, "{rest}");
    }
}

#[tokio::test]
async fn a_scope_that_the_client_may_not_have_is_an_error_and_an_unknown_one_is_ignored() {
    let world = World::new([Client {
        scopes: ["openid".into(), "email".into()].into(),
        ..testing::client("web")
    }]);
    let asking = |scope: &str| query("&prompt=none").replace("openid+email", scope);
    for (scope, expected) in [
        ("openid+unheard", "login_required"),
        ("openid+orders%3Aread", "invalid_scope"),
    ] {
        let outcome = Agent::new(1).authorize(&world, Method::Get, &asking(scope)).await;
        assert_eq!(error(&outcome), expected, "{scope}");
    }
}

#[tokio::test]
async fn an_answer_by_form_post_carries_the_same_fields() {
    let world = world();
    let outcome = get(&mut Agent::new(1), &world, "&prompt=none&response_mode=form_post").await;
    let Outcome::FormPost { action, fields, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(action, REDIRECT_URI);
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["error", "error_description", "state", "iss"]);
}

#[tokio::test]
async fn two_cookies_of_one_name_are_refused_and_cleared() {
    let world = world();
    let (agent, _) = signed_in(&world, 1, "ada").await;
    for name in agent.cookies.keys() {
        let header = format!("{name}=planted; {}={}", name, agent.cookies[name]);
        let cookies = crate::front_channel::Cookies::parse([header.as_str()]);
        let browser = crate::front_channel::Browser {
            cookies: &cookies,
            method: Method::Get,
            fetch_site: None,
            origin: None,
            source: "",
            user_agent: "",
        };
        let parameters = crate::parameters::Parameters::parse(query("").as_bytes()).unwrap();
        let answer = crate::authorize::respond(&world.context(), &browser, &parameters, &mut testing::rng()).await;
        assert_eq!(refused(&answer.outcome), RefusalKind::DuplicateCookies);
        let removed = |cookie: &crate::front_channel::SetCookie| cookie.header_value().contains("Max-Age=0");
        assert!(
            answer
                .cookies
                .iter()
                .any(|cookie| cookie.name == *name && removed(cookie))
        );
    }
}

#[tokio::test]
async fn credentials_of_another_realm_are_worth_nothing() {
    let here = world();
    let there = World::of(testing::served_realm(
        testing::realm_of("https://other.example"),
        [testing::client("web")],
    ));
    let (mut agent, outcome) = signed_in(&here, 1, "ada").await;
    let foreign = answered(&outcome)["code"].clone();
    assert!(AuthorizationCode::open(there.context().keys(), &foreign).is_err());
    let form = sign_in_form(&get(&mut Agent::new(2), &here, "").await);
    // The cookies under the names that the other realm looks for.
    let names = |world: &World| {
        let id = world.served.realm.id.0.simple().to_string();
        id[..12].to_owned()
    };
    agent.cookies = std::mem::take(&mut agent.cookies)
        .into_iter()
        .map(|(name, value)| (name.replace(&names(&here), &names(&there)), value))
        .collect();
    assert_eq!(
        refused(&agent.sign_in(&there, &form, "ada", "ada").await),
        RefusalKind::Expired
    );
    assert_eq!(
        refused(&agent.decide(&there, &form, "allow").await),
        RefusalKind::Expired
    );
    assert_eq!(
        refused(&agent.confirm_logout(&there, &form).await),
        RefusalKind::Expired
    );
    sign_in_form(&get(&mut agent, &there, "").await);
}

#[tokio::test]
async fn a_form_token_of_one_page_is_worth_nothing_on_another() {
    let world = world_asking(ConsentRule::Ask);
    let (mut agent, page) = signed_in(&world, 1, "ada").await;
    let form = consent_form(&page);
    assert_eq!(
        refused(&agent.sign_in(&world, &form, "ada", "ada").await),
        RefusalKind::Expired
    );
    assert_eq!(
        refused(&agent.choose(&world, &form, "continue").await),
        RefusalKind::Expired
    );
    let resumed = agent
        .authorize(&world, Method::Get, &format!("flow={}", form.flow))
        .await;
    assert_eq!(refused(&resumed), RefusalKind::Expired);
}

#[tokio::test]
async fn a_session_ends_by_revocation_epoch_idleness_age_and_not_before() {
    let world = world();
    let (mut agent, outcome) = signed_in(&world, 1, "ada").await;
    let session = code(&world, &outcome).session;
    for what in [
        Revoked::Session(session),
        Revoked::Person {
            person: testing::person().id,
            epoch: 2,
        },
    ] {
        let world = self::world();
        world.revocations.record([Revocation {
            what,
            expires_at: world.now.after(Duration::from_hours(1)),
        }]);
        sign_in_form(&get(&mut agent, &world, "").await);
    }
    let mut idle = self::world();
    idle.advance(Duration::from_mins(61));
    sign_in_form(&get(&mut agent, &idle, "").await);
    let mut old = self::world();
    for _ in 0..23 {
        old.advance(Duration::from_mins(31));
        code(&old, &get(&mut agent, &old, "").await);
    }
    old.advance(Duration::from_mins(31));
    sign_in_form(&get(&mut agent, &old, "").await);
    let mut realm = testing::realm();
    realm.not_before = Some(testing::NOW.after(Duration::from_secs(1)));
    let (mut agent, _) = signed_in(&self::world(), 1, "ada").await;
    let later = World::of(testing::served_realm(realm, [testing::client("web")]));
    sign_in_form(&get(&mut agent, &later, "").await);
}

#[tokio::test]
async fn single_sign_on_stops_when_too_little_is_known_about_revocations() {
    let mut world = world();
    let (mut agent, _) = signed_in(&world, 1, "ada").await;
    world.now = world.now.after(Duration::from_secs(59));
    world.store.set_down(true);
    code(&world, &get(&mut agent, &world, "").await);
    world.now = world.now.after(Duration::from_secs(2));
    assert!(matches!(get(&mut agent, &world, "").await, Outcome::Unavailable { .. }));
    let form = sign_in_form(&get(&mut Agent::new(2), &world, "").await);
    assert!(matches!(
        Agent::new(2).sign_in(&world, &form, "ada", "ada").await,
        Outcome::Refused(_)
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hostile_parameters_never_panic_and_never_leave_the_registered_address(
        names in proptest::collection::vec("client_id|redirect_uri|scope|prompt|max_age|claims|state|flow|resource|response_mode|acr_values", 0..6),
        values in proptest::collection::vec("web|https://app.example/callback|.{0,40}", 6),
    ) {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(names.iter().zip(&values));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcome = runtime.block_on(Agent::new(1).authorize(&world(), Method::Get, &body.finish()));
        if let Outcome::Redirect { location } = outcome {
            prop_assert!(location.starts_with(REDIRECT_URI));
        }
    }
}

#[tokio::test]
async fn consent_is_asked_for_what_the_claims_parameter_releases() {
    let claims = "&claims=%7B%22userinfo%22%3A%7B%22email%22%3Anull%2C%22address%22%3Anull%2C%22groups%22%3Anull%7D%7D";
    let world = world_asking(ConsentRule::Remember);
    let (mut agent, page) = signed_in(&world, 1, "ada").await;
    let plain = code(&world, &agent.decide(&world, &consent_form(&page), "allow").await);
    assert_eq!(plain.scopes, ["openid", "email"]);
    assert_eq!(
        error(&get(&mut agent, &world, &format!("{claims}&prompt=none")).await),
        "consent_required"
    );
    let page = get(&mut agent, &world, claims).await;
    let Outcome::Consent(prompt) = &page else {
        panic!("{page:?}")
    };
    let shown: Vec<(&str, bool)> = prompt
        .scopes
        .iter()
        .map(|scope| (scope.name.as_str(), scope.new))
        .collect();
    assert_eq!(shown, [("email", false), ("address", true)]);
    let allowed = code(&world, &agent.decide(&world, &prompt.form, "allow").await);
    assert_eq!(allowed.scopes, ["openid", "email"], "asking is not granting");
    assert_eq!(
        allowed.claims.userinfo,
        ["email", "address"],
        "no scope of the client releases groups"
    );
    code(&world, &get(&mut agent, &world, &format!("{claims}&prompt=none")).await);
}
