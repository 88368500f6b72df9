//! How many statements a flow may cost on PostgreSQL.

use oidc::id::{FlowId, SessionId};
use uuid::Uuid;

use super::world::{CLIENT, HOUR, World};
use crate::database;

#[tokio::test]
async fn every_promise_of_the_port_is_one_statement() {
    let made = database::postgres().await;
    let world = World::new(&made);
    let database = &world.database;
    let person = world.person("ada").await;
    let session = SessionId(Uuid::new_v4());
    let who = super::world::SignedIn { person, session };
    let end = world.now.after(HOUR);
    let scopes = ["openid".to_owned()];
    let mut costs = Vec::new();
    let mut before = database.statements();
    let mut cost = |what| {
        let now = database.statements();
        costs.push(format!("{what}: {}", now - before));
        before = now;
    };
    world.attempt("ada").await;
    cost("begin_password_attempt");
    world.login(world.login_of(person, session)).await;
    cost("complete_login");
    database.person(world.realm, person).await.unwrap();
    cost("person");
    database.consented_scopes(world.realm, person, CLIENT).await.unwrap();
    cost("consented_scopes");
    database
        .remember_consent(world.realm, person, CLIENT, &scopes, world.now)
        .await
        .unwrap();
    cost("remember_consent");
    let code = world.code_of(who);
    world.redeem(code).await;
    cost("redeem_code");
    world.rotate(world.rotation_of(code.family.unwrap().id, 0)).await;
    cost("rotate_refresh");
    world.rotate(world.rotation_of(code.family.unwrap().id, -5)).await;
    cost("rotate_refresh, replayed");
    let revocation = oidc::revocation::Revocation {
        what: oidc::revocation::Revoked::Grant(code.grant),
        expires_at: end,
    };
    database.revoke(world.realm, &[revocation], world.now).await.unwrap();
    cost("revoke");
    database.use_once(world.realm, "a", "j", end).await.unwrap();
    cost("use_once");
    let kept = FlowId(Uuid::new_v4());
    database.keep_request(world.realm, kept, b"q", end).await.unwrap();
    cost("keep_request");
    database.kept_request(world.realm, kept, world.now).await.unwrap();
    cost("kept_request");
    insta::assert_snapshot!(costs.join("\n"), @r"
    begin_password_attempt: 1
    complete_login: 1
    person: 1
    consented_scopes: 1
    remember_consent: 1
    redeem_code: 1
    rotate_refresh: 1
    rotate_refresh, replayed: 1
    revoke: 1
    use_once: 1
    keep_request: 1
    kept_request: 1
    ");
}
