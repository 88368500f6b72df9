//! Password attempts and logins.

use futures::future::join_all;
use oidc::Secret;
use oidc::config::IdentifierKind;
use oidc::id::SessionId;
use oidc::revocation::{Revocation, Revoked};
use oidc::store::{AttemptOutcome, LoginOutcome};
use uuid::Uuid;

use super::world::{HOUR, World};

fn found(outcome: AttemptOutcome) -> Option<String> {
    match outcome {
        AttemptOutcome::Counted(found) => found.map(|found| found.person.username),
        AttemptOutcome::TooMany { .. } => panic!("too many attempts"),
    }
}

pub(super) async fn a_person_is_found_by_every_allowed_identifier_without_case(world: World<'_>) {
    let id = world.person("Ada").await;
    for identifier in ["ada", " ADA ", "ada@example.ORG", "+49303", "+49 (30) 3"] {
        let AttemptOutcome::Counted(Some(found)) = world.attempt(identifier).await else {
            panic!("{identifier} finds nobody");
        };
        assert_eq!(found.person.id, id);
        assert_eq!(found.person.username, "Ada");
        assert_eq!(found.person.groups, ["staff"]);
        assert_eq!(found.password_hash.expose(), "$argon2id$first");
    }
}

pub(super) async fn an_identifier_of_another_kind_finds_nobody(world: World<'_>) {
    world.person("ada").await;
    let attempt = world.attempt_of("ada@example.org", &[IdentifierKind::Username]);
    let outcome = world
        .database
        .begin_password_attempt(world.realm, attempt)
        .await
        .unwrap();
    assert_eq!(found(outcome), None);
    let attempt = world.attempt_of("ada", &[IdentifierKind::Email, IdentifierKind::Phone]);
    let outcome = world
        .database
        .begin_password_attempt(world.realm, attempt)
        .await
        .unwrap();
    assert_eq!(found(outcome), None);
}

pub(super) async fn an_unknown_name_is_counted_like_a_known_one(world: World<'_>) {
    for _ in 0..10 {
        assert_eq!(found(world.attempt("nobody").await), None);
    }
    assert!(matches!(world.attempt("Nobody").await, AttemptOutcome::TooMany { .. }));
}

pub(super) async fn attempts_beyond_the_limit_are_refused_until_the_window_ends(mut world: World<'_>) {
    world.person("ada").await;
    for _ in 0..10 {
        assert_eq!(found(world.attempt("ada").await).as_deref(), Some("ada"));
    }
    world.now = world.now.after(HOUR / 2);
    let AttemptOutcome::TooMany { retry_after } = world.attempt("ada").await else {
        panic!("the eleventh attempt was let through");
    };
    assert_eq!(retry_after, HOUR / 2);
    world.now = world.now.after(HOUR / 2);
    for _ in 0..10 {
        assert_eq!(found(world.attempt("ada").await).as_deref(), Some("ada"));
    }
    assert!(matches!(world.attempt("ada").await, AttemptOutcome::TooMany { .. }));
}

pub(super) async fn sources_are_counted_apart(world: World<'_>) {
    world.person("ada").await;
    for _ in 0..10 {
        world.attempt("ada").await;
    }
    let mut attempt = world.attempt_of("ada", &[IdentifierKind::Username]);
    attempt.source = "198.51.100.7";
    let outcome = world
        .database
        .begin_password_attempt(world.realm, attempt)
        .await
        .unwrap();
    assert_eq!(found(outcome).as_deref(), Some("ada"));
    assert!(matches!(world.attempt("ada").await, AttemptOutcome::TooMany { .. }));
}

pub(super) async fn concurrent_attempts_are_counted_exactly(world: World<'_>) {
    world.person("ada").await;
    let outcomes = join_all((0..64).map(|_| world.attempt("ada"))).await;
    let counted = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, AttemptOutcome::Counted(Some(_))))
        .count();
    assert_eq!(counted, 10);
    assert_eq!(outcomes.len() - counted, 54);
}

pub(super) async fn a_right_password_refunds_its_attempt(world: World<'_>) {
    let person = world.person("ada").await;
    for _ in 0..10 {
        world.attempt("ada").await;
    }
    assert!(matches!(world.attempt("ada").await, AttemptOutcome::TooMany { .. }));
    let login = world.login_of(person, SessionId(Uuid::new_v4()));
    assert_eq!(world.login(login).await, LoginOutcome::Recorded);
    assert_eq!(found(world.attempt("ada").await).as_deref(), Some("ada"));
    assert!(matches!(world.attempt("ada").await, AttemptOutcome::TooMany { .. }));
}

pub(super) async fn a_login_records_its_session_once(world: World<'_>) {
    let person = world.person("ada").await;
    let (first, second) = (SessionId(Uuid::new_v4()), SessionId(Uuid::new_v4()));
    let mut login = world.login_of(person, first);
    assert_eq!(world.login(login).await, LoginOutcome::Recorded);
    login.session = second;
    assert_eq!(world.login(login).await, LoginOutcome::AlreadySpent { session: first });
    // Nothing was recorded for the second one: it can redeem nothing.
    let code = world.code_of(super::world::SignedIn {
        person,
        session: second,
    });
    assert!(matches!(
        world.redeem(code).await,
        oidc::store::RedemptionOutcome::NotAuthorized
    ));
}

pub(super) async fn a_concurrent_double_submit_records_one_session(world: World<'_>) {
    let person = world.person("ada").await;
    let login = world.login_of(person, SessionId(Uuid::new_v4()));
    let submits = (0..16).map(|_| {
        let mut submit = login;
        submit.session = SessionId(Uuid::new_v4());
        let world = &world;
        async move { (submit.session, world.login(submit).await) }
    });
    let outcomes = join_all(submits).await;
    let winners: Vec<SessionId> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == LoginOutcome::Recorded)
        .map(|(session, _)| *session)
        .collect();
    assert_eq!(winners.len(), 1);
    let named_it = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome == LoginOutcome::AlreadySpent { session: winners[0] })
        .count();
    assert_eq!(named_it, 15);
}

pub(super) async fn a_login_under_an_old_epoch_or_of_a_disabled_person_is_refused(world: World<'_>) {
    use auth_server::store::people::PersonChange;
    use oidc::person::PersonState;

    let person = world.person("ada").await;
    let mut login = world.login_of(person, SessionId(Uuid::new_v4()));
    login.epoch = 2;
    assert_eq!(world.login(login).await, LoginOutcome::PersonChanged);
    let disabled = PersonChange::State(PersonState::Disabled);
    world
        .database
        .change_person(world.realm, "ada", disabled, world.now)
        .await
        .unwrap();
    assert_eq!(world.login(login).await, LoginOutcome::PersonChanged);
    let active = PersonChange::State(PersonState::Active);
    world
        .database
        .change_person(world.realm, "ada", active, world.now)
        .await
        .unwrap();
    login.epoch = 3;
    // A refused login spends nothing: the same step goes through now.
    assert_eq!(world.login(login).await, LoginOutcome::Recorded);
}

pub(super) async fn a_login_upgrades_the_password_hash(world: World<'_>) {
    let person = world.person("ada").await;
    let stronger = Secret::new("$argon2id$stronger".to_owned());
    let mut login = world.login_of(person, SessionId(Uuid::new_v4()));
    login.new_password_hash = Some(&stronger);
    assert_eq!(world.login(login).await, LoginOutcome::Recorded);
    let AttemptOutcome::Counted(Some(found)) = world.attempt("ada").await else {
        panic!("not found");
    };
    assert_eq!(found.password_hash.expose(), "$argon2id$stronger");
    assert_eq!(found.person.epoch, 1);
}

pub(super) async fn an_ended_session_is_not_revived(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let ended = Revocation {
        what: Revoked::Session(who.session),
        expires_at: world.now.after(HOUR),
    };
    world.database.revoke(world.realm, &[ended], world.now).await.unwrap();
    let again = world.login_of(who.person, who.session);
    assert_eq!(world.login(again).await, LoginOutcome::PersonChanged);
}

pub(super) async fn a_session_of_another_person_is_not_taken_over(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let other = world.person("grace").await;
    let login = world.login_of(other, who.session);
    assert_eq!(world.login(login).await, LoginOutcome::PersonChanged);
}
