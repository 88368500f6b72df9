//! People as the command line manages them.

use auth_server::store::people::{NewPerson, PersonChange, PersonError};
use futures::future::join_all;
use oidc::Secret;
use oidc::id::PersonId;
use oidc::person::{PersonState, Profile};
use oidc::revocation::Revoked;
use oidc::store::{AttemptOutcome, RedemptionOutcome};
use uuid::Uuid;

use super::world::{CLIENT, World};

async fn create(
    world: &World<'_>,
    username: &str,
    email: Option<&str>,
    phone: Option<&str>,
) -> Result<PersonId, String> {
    let profile = Profile {
        email: email.map(str::to_owned),
        phone_number: phone.map(str::to_owned),
        ..Profile::default()
    };
    let person = NewPerson {
        id: PersonId(Uuid::new_v4()),
        username,
        groups: &[],
        profile: &profile,
        password_hash: None,
        now: world.now,
    };
    world
        .database
        .create_person(world.realm, person)
        .await
        .map_err(|error: PersonError| error.to_string())
}

pub(super) async fn a_taken_name_is_named(world: World<'_>) {
    create(&world, "ada", Some("ada@example.org"), Some("+4930123"))
        .await
        .unwrap();
    let refused = async |username, email, phone| create(&world, username, email, phone).await.unwrap_err();
    assert_eq!(refused("ADA", None, None).await, "user name \"ADA\" is taken");
    assert_eq!(
        refused("grace", Some("Ada@Example.org"), None).await,
        "e-mail address \"Ada@Example.org\" is taken"
    );
    assert_eq!(
        refused("grace", None, Some("+49 30 123")).await,
        "phone number \"+49 30 123\" is taken"
    );
    // Nobody takes another one's address as user name, or the other way round.
    assert_eq!(
        refused("ada@example.org", None, None).await,
        "user name \"ada@example.org\" is taken"
    );
    assert_eq!(
        refused("grace", Some("ada"), None).await,
        "e-mail address \"ada\" is taken"
    );
    for invalid in ["", " ada2", "a\u{7}da"] {
        assert!(
            refused(invalid, None, None)
                .await
                .contains("must have 1 to 255 characters")
        );
    }
    create(&world, "grace@example.org", Some("grace@example.org"), None)
        .await
        .unwrap();
    create(&world, "barbara", None, None).await.unwrap();
    create(&world, "frances", None, None).await.unwrap();
}

pub(super) async fn concurrent_creations_of_one_name_have_one_winner(world: World<'_>) {
    let outcomes = join_all((0..8).map(|_| create(&world, "ada", None, None))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let refused = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(why) if why == "user name \"ada\" is taken"));
    assert_eq!(refused.count(), 7);
}

pub(super) async fn people_are_listed_in_pages(world: World<'_>) {
    for name in ["Dora", "ada", "Carla", "berta"] {
        create(&world, name, None, None).await.unwrap();
    }
    let page = async |after| {
        let people = world.database.people(world.realm, after, 3).await.unwrap();
        people.into_iter().map(|person| person.username).collect::<Vec<_>>()
    };
    assert_eq!(page(None).await, ["ada", "berta", "Carla"]);
    assert_eq!(page(Some("Carla")).await, ["Dora"]);
    assert!(page(Some("Dora")).await.is_empty());
}

pub(super) async fn a_new_password_ends_everything_the_person_holds(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let code = world.code_of(who);
    let hash = Secret::new("$argon2id$second".to_owned());
    let changed = world
        .database
        .change_person(world.realm, "Ada", PersonChange::Password(&hash), world.now)
        .await
        .unwrap();
    assert_eq!(changed, who.person);
    let AttemptOutcome::Counted(Some(found)) = world.attempt("ada").await else {
        panic!("not found");
    };
    assert_eq!(found.password_hash.expose(), "$argon2id$second");
    assert_eq!(found.person.epoch, 2);
    for epoch in [1, 2] {
        let mut code = code;
        code.epoch = epoch;
        code.code = oidc::id::TokenId(Uuid::new_v4());
        assert!(matches!(world.redeem(code).await, RedemptionOutcome::NotAuthorized));
    }
    let revoked = Revoked::Person {
        person: who.person,
        epoch: 2,
    };
    assert_eq!(world.recorded().await, [revoked]);
    let unknown = world
        .database
        .change_person(world.realm, "grace", PersonChange::Password(&hash), world.now)
        .await;
    assert_eq!(unknown.unwrap_err().to_string(), "no person with user name \"grace\"");
}

pub(super) async fn a_disabled_person_is_returned_as_such(world: World<'_>) {
    let who = world.signed_in("ada").await;
    for state in [PersonState::Disabled, PersonState::Active] {
        world
            .database
            .change_person(world.realm, "ada", PersonChange::State(state), world.now)
            .await
            .unwrap();
        let person = world.database.person(world.realm, who.person).await.unwrap().unwrap();
        assert_eq!(person.state, state);
    }
}

pub(super) async fn a_deleted_person_leaves_nothing_behind(world: World<'_>) {
    let who = world.signed_in("ada").await;
    world.family(who, true).await;
    let scopes = ["openid".to_owned()];
    world
        .database
        .remember_consent(world.realm, who.person, CLIENT, &scopes, world.now)
        .await
        .unwrap();
    world
        .database
        .change_person(world.realm, "ada", PersonChange::Delete, world.now)
        .await
        .unwrap();
    assert!(world.database.person(world.realm, who.person).await.unwrap().is_none());
    let consented = world.database.consented_scopes(world.realm, who.person, CLIENT).await;
    assert!(consented.unwrap().is_empty());
    assert!(matches!(
        world.recorded().await[..],
        [Revoked::Person { person, epoch: 2 }] if person == who.person
    ));
    // What is left for the housekeeping names nobody: the spent step and the spent code.
    let later = world.now.after(std::time::Duration::from_hours(1000));
    assert_eq!(world.database.delete_expired(later, 100).await.unwrap(), 3);
    world.person("ada").await;
}
