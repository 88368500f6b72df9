//! RP-initiated logout, driven by a browser that is signed in.

use super::*;
use crate::id::SessionId;
use crate::revocation::Revoked;
use crate::{Timestamp, TokenType};

const TARGET: &str = "post_logout_redirect_uri=https%3A%2F%2Fapp.example%2Fsigned-out";

fn id_token(world: &World, session: SessionId, audience: &str) -> String {
    let claims = serde_json::json!({
        "iss": testing::ISSUER, "sub": testing::person().id, "aud": audience, "sid": session,
        "exp": Timestamp::from_unix_seconds(1).unix_seconds(),
    });
    let algorithm = crate::config::SignatureAlgorithm::Es256;
    let claims = claims.to_string().into_bytes();
    world
        .context()
        .keys()
        .sign(algorithm, TokenType::IdToken, &claims)
        .unwrap()
}

#[tokio::test]
async fn an_id_token_of_the_live_session_ends_it_even_when_expired() {
    for method in [Method::Get, Method::Post] {
        let world = world();
        let (mut agent, outcome) = signed_in(&world, 1, "ada").await;
        let session = code(&world, &outcome).session;
        let kept = agent.cookies.clone();
        let query = format!(
            "id_token_hint={}&{TARGET}&state=a%26b",
            id_token(&world, session, "web")
        );
        let mut outcome = agent.end_session(&world, method, &query).await;
        if method == Method::Post {
            let Outcome::Redirect { location } = &outcome else {
                panic!("{outcome:?}")
            };
            let query = location.split_once('?').unwrap().1.to_owned();
            outcome = agent.end_session(&world, Method::Get, &query).await;
        }
        let Outcome::Redirect { location } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(location, "https://app.example/signed-out?state=a%26b");
        assert!(world.store.has_ended(Revoked::Session(session)));
        assert_eq!(agent.cookies.len(), 1, "only the binding of forms is left");
        agent.cookies = kept;
        sign_in_form(&get(&mut agent, &world, "").await);
    }
}

#[tokio::test]
async fn without_proof_the_person_is_asked_and_never_sent_away() {
    let world = world();
    let (mut agent, outcome) = signed_in(&world, 1, "ada").await;
    let session = code(&world, &outcome).session;
    for (query, link) in [
        (String::new(), None),
        (
            format!("client_id=web&{TARGET}"),
            Some("https://app.example/signed-out".to_owned()),
        ),
        (format!("id_token_hint=altered&client_id=web&{TARGET}"), None),
    ] {
        let cookies = agent.cookies.clone();
        let mut agent = Agent::new(3);
        agent.cookies = cookies;
        let outcome = agent.end_session(&world, Method::Get, &query).await;
        let Outcome::ConfirmLogout(prompt) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(prompt.account.as_deref(), Some("ada@example.com"));
        assert!(!world.store.has_ended(Revoked::Session(session)));
        let world = super::world();
        agent.fetch_site = Some("cross-site");
        assert_eq!(
            refused(&agent.confirm_logout(&world, &prompt.form).await),
            RefusalKind::CrossSite
        );
        agent.fetch_site = Some("same-origin");
        for _double_submit in 0..2 {
            let outcome = agent.confirm_logout(&world, &prompt.form).await;
            let Outcome::LoggedOut { continue_uri, .. } = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(continue_uri, link);
        }
        assert!(world.store.has_ended(Revoked::Session(session)));
    }
    let Outcome::ConfirmLogout(prompt) = agent.end_session(&world, Method::Get, "").await else {
        panic!()
    };
    let (mut other, _) = signed_in(&world, 2, "ada").await;
    assert_eq!(
        refused(&other.confirm_logout(&world, &prompt.form).await),
        RefusalKind::OtherBrowser
    );
}

#[tokio::test]
async fn an_unregistered_post_logout_redirect_uri_is_never_gone_to() {
    let world = world();
    let (mut agent, outcome) = signed_in(&world, 1, "ada").await;
    let hint = id_token(&world, code(&world, &outcome).session, "web");
    for uri in [
        "https://evil.example",
        "https://app.example/signed-out/",
        "https://app.example/signed-out?x",
    ] {
        let query = format!("id_token_hint={hint}&post_logout_redirect_uri={uri}");
        let outcome = agent.end_session(&world, Method::Get, &query).await;
        assert_eq!(refused(&outcome), RefusalKind::PostLogoutRedirectUri, "{uri}");
    }
    let outcome = agent.end_session(&world, Method::Get, TARGET).await;
    assert_eq!(refused(&outcome), RefusalKind::PostLogoutRedirectUri);
    let query = format!("id_token_hint={hint}&client_id=other&{TARGET}");
    assert_eq!(
        refused(&agent.end_session(&world, Method::Get, &query).await),
        RefusalKind::InvalidRequest
    );
    code(&world, &get(&mut agent, &world, "").await);
}

#[tokio::test]
async fn a_hint_of_another_session_is_confirmed() {
    let world = world();
    let (mut agent, _) = signed_in(&world, 1, "ada").await;
    let hint = id_token(&world, SessionId(uuid::Uuid::from_u128(9)), "web");
    let query = format!("id_token_hint={hint}&{TARGET}");
    let outcome = agent.end_session(&world, Method::Get, &query).await;
    let Outcome::ConfirmLogout(prompt) = outcome else {
        panic!("{outcome:?}")
    };
    let outcome = agent.confirm_logout(&world, &prompt.form).await;
    assert!(matches!(outcome, Outcome::Redirect { location } if location == "https://app.example/signed-out"));
}

#[tokio::test]
async fn signing_out_is_not_pretended_while_the_store_is_away() {
    let world = world();
    let (mut agent, outcome) = signed_in(&world, 1, "ada").await;
    let hint = id_token(&world, code(&world, &outcome).session, "web");
    world.store.set_down(true);
    let outcome = agent
        .end_session(&world, Method::Get, &format!("id_token_hint={hint}"))
        .await;
    assert!(matches!(outcome, Outcome::Unavailable { .. }));
    code(&world, &get(&mut agent, &world, "").await);
}
