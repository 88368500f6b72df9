use std::time::Duration;

use crate::code::AuthorizationCode;
use crate::config::{Client, ConsentRule};
use crate::front_channel::{Form, Identifier, Method, Outcome, RefusalKind, SignInAlert};
use crate::id::PersonId;
use crate::person::{Person, PersonState};
use crate::testing::{self, Agent, REDIRECT_URI, World};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbu6LMQfyJ4s";

mod checks;
mod sign_out;

fn query(extra: &str) -> String {
    format!(
        "client_id=web&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback&response_type=code&scope=openid+email\
         &state=s%261&nonce=n&code_challenge={CHALLENGE}&code_challenge_method=S256{extra}"
    )
}

fn world() -> World {
    World::new([testing::client("web")])
}

fn world_asking(consent: ConsentRule) -> World {
    World::new([Client {
        consent,
        ..testing::client("web")
    }])
}

/// The query of a redirect of ours to the authorization endpoint.
fn resumed(outcome: &Outcome) -> String {
    let Outcome::Redirect { location } = outcome else {
        panic!("{outcome:?}");
    };
    let resumed = location.strip_prefix("https://id.example/oauth2/authorize?");
    resumed.expect("a redirect of ours").to_owned()
}

/// The parameters that went back to the client.
fn answered(outcome: &Outcome) -> std::collections::HashMap<String, String> {
    let Outcome::Redirect { location } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(location.starts_with(REDIRECT_URI), "{location}");
    url::Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

fn code(world: &World, outcome: &Outcome) -> AuthorizationCode {
    let answer = answered(outcome);
    assert_eq!(
        (answer["state"].as_str(), answer["iss"].as_str()),
        ("s&1", testing::ISSUER)
    );
    AuthorizationCode::open(world.context().keys(), &answer["code"]).unwrap()
}

fn error(outcome: &Outcome) -> String {
    let answer = answered(outcome);
    assert_eq!(
        (answer["state"].as_str(), answer["iss"].as_str()),
        ("s&1", testing::ISSUER)
    );
    answer["error"].clone()
}

fn sign_in_form(outcome: &Outcome) -> Form {
    match outcome {
        Outcome::SignIn(prompt) => prompt.form.clone(),
        other => panic!("{other:?}"),
    }
}

fn alert(outcome: &Outcome) -> Option<SignInAlert> {
    match outcome {
        Outcome::SignIn(prompt) => prompt.alert,
        other => panic!("{other:?}"),
    }
}

fn consent_form(outcome: &Outcome) -> Form {
    match outcome {
        Outcome::Consent(prompt) => prompt.form.clone(),
        other => panic!("{other:?}"),
    }
}

fn refused(outcome: &Outcome) -> RefusalKind {
    match outcome {
        Outcome::Refused(refusal) => refusal.kind,
        other => panic!("{other:?}"),
    }
}

async fn get(agent: &mut Agent, world: &World, extra: &str) -> Outcome {
    agent.authorize(world, Method::Get, &query(extra)).await
}

/// Signs in and goes on to whatever comes then.
async fn sign_in(agent: &mut Agent, world: &World, form: &Form, name: &str) -> Outcome {
    let entered = agent.sign_in(world, form, name, name).await;
    agent.authorize(world, Method::Get, &resumed(&entered)).await
}

/// A browser that has been signed in.
async fn signed_in(world: &World, seed: u64, name: &str) -> (Agent, Outcome) {
    let mut agent = Agent::new(seed);
    let page = get(&mut agent, world, "").await;
    let outcome = sign_in(&mut agent, world, &sign_in_form(&page), name).await;
    (agent, outcome)
}

fn grace() -> Person {
    Person {
        id: PersonId(uuid::Uuid::from_u128(2)),
        username: "grace".into(),
        ..testing::person()
    }
}

#[tokio::test]
async fn a_person_signs_in_and_the_client_gets_a_code_for_exactly_that() {
    let world = world();
    let (mut agent, outcome) = signed_in(&world, 1, "ada").await;
    let first = code(&world, &outcome);
    assert_eq!(first.person, testing::person().id);
    assert_eq!(first.redirect_uri.as_deref(), Some(REDIRECT_URI));
    assert_eq!(first.code_challenge.as_deref(), Some(CHALLENGE));
    assert_eq!(
        (first.scopes.join(" ").as_str(), first.nonce.as_deref()),
        ("openid email", Some("n"))
    );
    assert_eq!(first.expires_at, world.now.after(Duration::from_mins(1)));
    world.store.take_calls();
    let again = code(&world, &get(&mut agent, &world, "").await);
    assert_eq!(again.session, first.session);
    assert_ne!((again.id, again.grant), (first.id, first.grant));
    assert!(
        world.store.take_calls().is_empty(),
        "single sign-on asks the store for nothing"
    );
}

#[tokio::test]
async fn wrong_unknown_and_disabled_are_one_answer_and_all_are_verified() {
    let world = world();
    world.store.add(Person {
        state: PersonState::Disabled,
        ..grace()
    });
    for (name, password) in [("ada", "wrong"), ("nobody", "x"), ("grace", "grace")] {
        let mut agent = Agent::new(1);
        let page = get(&mut agent, &world, "").await;
        let outcome = agent.sign_in(&world, &sign_in_form(&page), name, password).await;
        assert_eq!(alert(&outcome), Some(SignInAlert::WrongCredentials), "{name}");
        let Outcome::SignIn(prompt) = outcome else {
            unreachable!()
        };
        assert!(prompt.identifier == Identifier::Ask { prefill: name.into() });
    }
}

#[tokio::test]
async fn too_many_attempts_have_to_wait() {
    let world = world();
    let mut agent = Agent::new(1);
    let page = get(&mut agent, &world, "").await;
    let form = sign_in_form(&page);
    for _ in 0..5 {
        agent.sign_in(&world, &form, "ada", "wrong").await;
    }
    let outcome = agent.sign_in(&world, &form, "ada", "ada").await;
    assert!(matches!(alert(&outcome), Some(SignInAlert::TooManyAttempts { .. })));
}

#[tokio::test]
async fn session_fixation_another_person_gets_a_new_session_and_the_same_person_keeps_it() {
    let world = world();
    world.store.add(grace());
    let (mut agent, outcome) = signed_in(&world, 1, "ada").await;
    let first = code(&world, &outcome).session;
    let page = get(&mut agent, &world, "&prompt=login").await;
    let same = sign_in(&mut agent, &world, &sign_in_form(&page), "ada").await;
    assert_eq!(code(&world, &same).session, first);
    let page = get(&mut agent, &world, "&prompt=login").await;
    let Outcome::SignIn(prompt) = &page else { panic!() };
    let Identifier::Fixed { account, switch_url } = &prompt.identifier else {
        panic!()
    };
    assert_eq!(account, "ada@example.com");
    let refused = agent.sign_in(&world, &prompt.form, "grace", "grace").await;
    assert_eq!(
        alert(&refused),
        Some(SignInAlert::WrongCredentials),
        "the form is for ada only"
    );
    let switch = switch_url.split_once('?').unwrap().1.to_owned();
    let page = agent.authorize(&world, Method::Get, &switch).await;
    let other = sign_in(&mut agent, &world, &sign_in_form(&page), "grace").await;
    let other = code(&world, &other);
    assert_eq!(other.person, grace().id);
    assert_ne!(other.session, first);
}

#[tokio::test]
async fn double_submit_is_harmless_and_never_mixes_people() {
    let world = world();
    world.store.add(grace());
    let mut agent = Agent::new(1);
    let form = sign_in_form(&get(&mut agent, &world, "").await);
    let before = agent.cookies.clone();
    let first = sign_in(&mut agent, &world, &form, "ada").await;
    agent.cookies.clone_from(&before);
    let second = sign_in(&mut agent, &world, &form, "ada").await;
    assert_eq!(code(&world, &first).session, code(&world, &second).session);
    agent.cookies = before;
    let other = agent.sign_in(&world, &form, "grace", "grace").await;
    assert_eq!(alert(&other), Some(SignInAlert::Expired), "the form was ada's");
}

#[tokio::test]
async fn login_csrf_a_form_of_another_browser_or_site_is_refused() {
    let world = world();
    let mut attacker = Agent::new(1);
    let form = sign_in_form(&get(&mut attacker, &world, "").await);
    let mut victim = Agent::new(2);
    get(&mut victim, &world, "").await;
    let outcome = victim.sign_in(&world, &form, "ada", "ada").await;
    assert_eq!(refused(&outcome), RefusalKind::OtherBrowser);
    let Outcome::Refused(refusal) = outcome else {
        unreachable!()
    };
    let start = refusal.start_again.unwrap().split_once('?').unwrap().1.to_owned();
    sign_in_form(&victim.authorize(&world, Method::Get, &start).await);

    for (site, origin) in [
        (Some("cross-site"), None),
        (Some("same-site"), None),
        (Some("none"), None),
        (None, Some("https://evil.example")),
        (None, Some("null")),
    ] {
        (attacker.fetch_site, attacker.origin) = (site, origin);
        let outcome = attacker.sign_in(&world, &form, "ada", "ada").await;
        assert_eq!(refused(&outcome), RefusalKind::CrossSite, "{site:?} {origin:?}");
    }
    (attacker.fetch_site, attacker.origin) = (None, Some(testing::ISSUER));
    let forged = Form {
        csrf: "x".into(),
        ..form.clone()
    };
    assert_eq!(
        refused(&attacker.sign_in(&world, &forged, "ada", "ada").await),
        RefusalKind::CrossSite
    );
    let none_kept = attacker.cookies.split_off("");
    assert_eq!(
        refused(&attacker.sign_in(&world, &form, "ada", "ada").await),
        RefusalKind::OtherBrowser
    );
    attacker.cookies = none_kept;
    resumed(&attacker.sign_in(&world, &form, "ada", "ada").await);
}

#[tokio::test]
async fn an_expired_flow_starts_its_own_request_again() {
    let mut world = world();
    let mut agent = Agent::new(1);
    let form = sign_in_form(&get(&mut agent, &world, "").await);
    world.advance(Duration::from_mins(31));
    let outcome = agent.sign_in(&world, &form, "ada", "ada").await;
    assert_eq!(alert(&outcome), Some(SignInAlert::Expired));
    let Outcome::SignIn(prompt) = &outcome else {
        unreachable!()
    };
    assert!(prompt.identifier == Identifier::Ask { prefill: "ada".into() });
    let outcome = sign_in(&mut agent, &world, &prompt.form, "ada").await;
    assert_eq!(code(&world, &outcome).nonce.as_deref(), Some("n"));
}

#[tokio::test]
async fn a_large_request_is_kept_by_the_store() {
    let world = world();
    let mut agent = Agent::new(1);
    let page = get(
        &mut agent,
        &world,
        &format!("&resource=&login_hint=ada&ui_locales={}", "x".repeat(2000)),
    )
    .await;
    assert!(world.store.take_calls().contains(&"keep_request"));
    let form = sign_in_form(&page);
    assert!(form.flow.len() < 1536);
    code(&world, &sign_in(&mut agent, &world, &form, "ada").await);
}

#[tokio::test]
async fn a_request_too_large_to_keep_writes_nothing() {
    let world = world();
    let half = "x".repeat(9 * 1024);
    let outcome = get(
        &mut Agent::new(1),
        &world,
        &format!("&ui_locales={half}&claims_locales={half}&login_hint={half}"),
    )
    .await;
    assert!(
        matches!(&outcome, Outcome::Refused(refusal) if refusal.kind == RefusalKind::InvalidRequest),
        "{outcome:?}"
    );
    assert!(!world.store.take_calls().contains(&"keep_request"));
}

#[tokio::test]
async fn prompt_none_never_shows_a_page() {
    let world = world_asking(ConsentRule::Remember);
    assert_eq!(
        error(&get(&mut Agent::new(1), &world, "&prompt=none").await),
        "login_required"
    );
    let (mut agent, page) = signed_in(&world, 1, "ada").await;
    assert_eq!(
        error(&get(&mut agent, &world, "&prompt=none").await),
        "consent_required"
    );
    code(&world, &agent.decide(&world, &consent_form(&page), "allow").await);
    code(&world, &get(&mut agent, &world, "&prompt=none").await);
    for (extra, expected) in [
        ("&prompt=none&max_age=0", "login_required"),
        ("&prompt=none&id_token_hint=altered", "login_required"),
        (
            "&prompt=none&claims=%7B%22id_token%22%3A%7B%22sub%22%3A%7B%22value%22%3A%22x%22%7D%7D%7D",
            "login_required",
        ),
        ("&prompt=none+login", "invalid_request"),
        ("&prompt=none+consent", "invalid_request"),
        ("&prompt=create", "invalid_request"),
    ] {
        assert_eq!(error(&get(&mut agent, &world, extra).await), expected, "{extra}");
    }
}

#[tokio::test]
async fn max_age_zero_asks_once_and_clocks_that_differ_do_not_matter() {
    let mut world = world();
    let (mut agent, _) = signed_in(&world, 1, "ada").await;
    let page = get(&mut agent, &world, "&max_age=0").await;
    code(&world, &sign_in(&mut agent, &world, &sign_in_form(&page), "ada").await);
    code(
        &world,
        &get(&mut agent, &world, "&max_age=99999999999999999999999999").await,
    );
    code(&world, &get(&mut agent, &world, "&max_age=60").await);
    world.now = world.now.before(Duration::from_secs(4));
    code(&world, &get(&mut agent, &world, "&max_age=1").await);
    world.advance(Duration::from_secs(66));
    sign_in_form(&get(&mut agent, &world, "&max_age=60").await);
    assert_eq!(error(&get(&mut agent, &world, "&max_age=-1").await), "invalid_request");
}

#[tokio::test]
async fn select_account_offers_the_live_account_or_another() {
    let world = world();
    world.store.add(grace());
    let (mut agent, _) = signed_in(&world, 1, "ada").await;
    let page = get(&mut agent, &world, "&prompt=select_account").await;
    let Outcome::ChooseAccount(prompt) = &page else {
        panic!("{page:?}")
    };
    let chosen = agent.choose(&world, &prompt.form, "continue").await;
    code(&world, &agent.authorize(&world, Method::Get, &resumed(&chosen)).await);
    let other = agent.choose(&world, &prompt.form, "other").await;
    let page = agent.authorize(&world, Method::Get, &resumed(&other)).await;
    let outcome = sign_in(&mut agent, &world, &sign_in_form(&page), "grace").await;
    assert_eq!(code(&world, &outcome).person, grace().id);
    let stale = agent.choose(&world, &prompt.form, "continue").await;
    assert!(
        matches!(stale, Outcome::ChooseAccount(_)),
        "the account changed: {stale:?}"
    );
}

#[tokio::test]
async fn consent_is_remembered_denied_or_asked_each_time() {
    let world = world_asking(ConsentRule::Remember);
    let (mut agent, page) = signed_in(&world, 1, "ada").await;
    let Outcome::Consent(prompt) = &page else {
        panic!("{page:?}")
    };
    assert_eq!(prompt.account, "ada@example.com");
    let scopes: Vec<_> = prompt
        .scopes
        .iter()
        .map(|scope| (scope.name.as_str(), scope.new))
        .collect();
    assert_eq!(scopes, [("email", true)]);
    assert_eq!(
        error(&agent.decide(&world, &prompt.form, "deny").await),
        "access_denied"
    );
    code(&world, &agent.decide(&world, &prompt.form, "allow").await);
    code(&world, &get(&mut agent, &world, "").await);
    consent_form(&get(&mut agent, &world, "&prompt=consent").await);
    let world = world_asking(ConsentRule::Ask);
    let (mut agent, page) = signed_in(&world, 1, "ada").await;
    code(&world, &agent.decide(&world, &consent_form(&page), "allow").await);
    consent_form(&get(&mut agent, &world, "").await);
}

#[tokio::test]
async fn a_replayed_consent_counts_only_in_its_own_session() {
    let world = world_asking(ConsentRule::Ask);
    world.store.add(grace());
    let (mut agent, page) = signed_in(&world, 1, "ada").await;
    let form = consent_form(&page);
    let (mut other, _) = signed_in(&world, 2, "ada").await;
    assert_eq!(
        refused(&other.decide(&world, &form, "allow").await),
        RefusalKind::OtherBrowser
    );
    let Outcome::Consent(prompt) = &page else {
        unreachable!()
    };
    let switch = prompt.switch_url.split_once('?').unwrap().1.to_owned();
    let page = agent.authorize(&world, Method::Get, &switch).await;
    consent_form(&sign_in(&mut agent, &world, &sign_in_form(&page), "grace").await);
    consent_form(&agent.decide(&world, &form, "allow").await);
    let Outcome::ConfirmLogout(logout) = agent.end_session(&world, Method::Get, "").await else {
        panic!()
    };
    agent.confirm_logout(&world, &logout.form).await;
    sign_in_form(&agent.decide(&world, &form, "allow").await);
}

#[tokio::test]
async fn a_posted_request_is_sent_on_before_any_cookie_is_read() {
    let world = world();
    let (mut agent, _) = signed_in(&world, 1, "ada").await;
    agent.fetch_site = Some("cross-site");
    let kept = std::mem::take(&mut agent.cookies);
    let crossing = agent.authorize(&world, Method::Post, &query("")).await;
    assert!(agent.cookies.is_empty());
    agent.cookies = kept;
    code(&world, &agent.authorize(&world, Method::Get, &resumed(&crossing)).await);
}
