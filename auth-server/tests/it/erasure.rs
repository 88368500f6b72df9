//! What becomes of the rows of realms that are gone, on a server that runs.

use std::collections::BTreeMap;
use std::time::Duration;

use auth_server::store::people::NewPerson;
use oidc::config::Resource;
use oidc::id::{FlowId, PersonId, RealmId, SessionId};
use oidc::person::Profile;
use oidc::store::{CompletedLogin, LoginOutcome};
use oidc::{Timestamp, testing};
use snapshot::{Artefact, Inputs, Standing};
use uuid::Uuid;

use crate::config_feed::{Operator, write};
use crate::database;
use crate::server::{TestFleet, now, within};

const PATIENCE: Duration = Duration::from_secs(40);

fn hours_ago(hours: u64) -> Timestamp {
    now().before(Duration::from_hours(hours))
}

fn id(name: &str) -> RealmId {
    RealmId::of_issuer(&format!("https://{name}.example"))
}

/// What follows `previous`, so many hours ago: these realms are there, of which all but `kept` are to be erased.
fn commit(previous: Option<&Artefact>, hours: u64, realms: &[&str]) -> Artefact {
    let erased = |name: &&str| (id(name), Standing::There { erase: *name != "kept" });
    let resources = |name: &&str| {
        let issuer = format!("https://{name}.example");
        [
            Resource::Realm(testing::realm_of(&issuer)),
            Resource::Keys(testing::key_set(&issuer)),
        ]
    };
    let inputs = Inputs {
        standing: realms.iter().map(erased).collect::<BTreeMap<_, _>>(),
        ..Inputs::new(
            "demo/main".parse().unwrap(),
            realms.iter().flat_map(resources).collect(),
            hours_ago(hours),
        )
    };
    let step = Artefact::next(previous, inputs);
    assert!(step.excluded.is_empty(), "{:?}", step.excluded);
    step.artefact
}

/// A person of the realm, who signed in so many hours ago.
async fn settle(fleet: &TestFleet, name: &str, hours: u64) {
    let person = PersonId::generate(now(), &mut rand::rng());
    let new = NewPerson {
        id: person,
        username: "grace",
        groups: &[],
        profile: &Profile::default(),
        password_hash: None,
        now: hours_ago(hours),
    };
    fleet.database().create_person(id(name), new).await.unwrap();
    let end = now().after(Duration::from_hours(1));
    let login = CompletedLogin {
        flow: FlowId(Uuid::new_v4()),
        flow_expires_at: end,
        person,
        epoch: 1,
        session: SessionId(Uuid::new_v4()),
        session_expires_at: end,
        identifier: "grace",
        source: "192.0.2.1",
        device: "a browser",
        new_password_hash: None,
        now: hours_ago(hours),
    };
    let outcome = fleet.database().complete_login(id(name), login).await.unwrap();
    assert_eq!(outcome, LoginOutcome::Recorded);
}

/// The rows of the realm, which are gone afterwards.
async fn rows(fleet: &TestFleet, name: &str) -> BTreeMap<&'static str, u64> {
    fleet.database().erase(id(name), 100).await.unwrap().rows
}

async fn people(fleet: &TestFleet, name: &str) -> usize {
    fleet.database().people(id(name), None, 10).await.unwrap().len()
}

fn of_one_person() -> BTreeMap<&'static str, u64> {
    BTreeMap::from([("login_step", 1), ("person", 1), ("session", 1)])
}

#[actix_web::test]
async fn a_day_after_a_realm_is_gone_its_rows_are_erased_and_no_others() {
    let fleet = TestFleet::new(database::postgres().await, []).await;
    let all = ["old", "older", "young", "kept", "used", "served"];
    for name in all {
        settle(&fleet, name, if name == "used" { 1 } else { 30 }).await;
    }
    let first = commit(None, 50, &all);
    let second = commit(Some(&first), 26, &["old", "young", "served"]);
    let third = commit(Some(&second), 25, &["young", "served"]);
    let fourth = commit(Some(&third), 23, &["served"]);
    write(&fleet.config_dir(), &fourth);

    let server = fleet.start().await;
    within(PATIENCE, "erasure", async || {
        server.metric("nauthera_erased_realms_total").await >= 2.0
    })
    .await;
    let erased = server.metric("nauthera_erased_rows_total").await;
    assert!((erased - 6.0).abs() < 0.5, "{erased}");
    server.stop().await;
    for name in ["old", "older"] {
        assert_eq!(rows(&fleet, name).await, BTreeMap::new(), "{name}");
    }
    for name in ["young", "kept", "used", "served"] {
        assert_eq!(rows(&fleet, name).await, of_one_person(), "{name}");
    }
}

#[actix_web::test]
async fn nothing_is_erased_on_the_word_of_a_mount_that_is_older_than_what_is_served() {
    let mut fleet = TestFleet::new(database::sqlite().await, []).await;
    let mut operator = Operator::start().await;
    fleet.follow(operator.link());
    for name in ["back", "gone", "served"] {
        settle(&fleet, name, 30).await;
    }
    let first = commit(None, 50, &["back", "gone", "served"]);
    let mounted = commit(Some(&first), 26, &["served"]);
    let newest = commit(Some(&mounted), 25, &["back", "served"]);
    write(&fleet.config_dir(), &mounted);

    let server = fleet.start_unready().await;
    let (mut stream, _) = operator.greet().await;
    assert_eq!(stream.push(&newest, |_| {}).await.refused, None);
    server.wait_until_ready().await;
    assert_eq!((people(&fleet, "back").await, people(&fleet, "gone").await), (1, 1));
    write(&fleet.config_dir(), &newest);
    within(PATIENCE, "erasure", async || people(&fleet, "gone").await == 0).await;
    server.stop().await;
    for name in ["back", "served"] {
        assert_eq!(rows(&fleet, name).await, of_one_person(), "{name}");
    }
}

#[actix_web::test]
async fn a_realm_that_is_applied_again_while_it_is_erased_keeps_what_is_left() {
    let made = database::postgres().await;
    let url = made.url.parse().unwrap();
    let fleet = TestFleet::new(made, []).await;
    settle(&fleet, "back", 30).await;
    // Twenty batches that are deleted before people are.
    let proofs = format!(
        "insert into use_once select '{}', int4send(n), 9000000000000 from generate_series(1, 20000) as n",
        id("back")
    );
    database::as_superuser(&url, &proofs).await;
    let first = commit(None, 50, &["back", "served"]);
    let second = commit(Some(&first), 26, &["served"]);
    write(&fleet.config_dir(), &second);

    let server = fleet.start().await;
    within(PATIENCE, "a first batch", async || {
        server.metric("nauthera_erased_rows_total").await > 0.0
    })
    .await;
    let third = commit(Some(&second), 0, &["back", "served"]);
    write(&fleet.config_dir(), &third);
    within(PATIENCE, "the realm", async || {
        server.metric("nauthera_realms").await > 1.5
    })
    .await;
    server.stop().await;
    assert_eq!(people(&fleet, "back").await, 1);
    let left = fleet.database().erase(id("back"), 100_000).await.unwrap().rows;
    assert!(left["use_once"] > 0 && left["session"] == 1, "{left:?}");
}
