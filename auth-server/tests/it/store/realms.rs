//! No realm sees or touches another one's data.

use auth_server::store::people::PersonChange;
use oidc::id::{FlowId, RealmId, SessionId};
use oidc::revocation::{Revocation, Revoked};
use oidc::store::{AttemptOutcome, LoginOutcome, RedemptionOutcome};
use uuid::Uuid;

use super::world::{CLIENT, HOUR, Rotated, World};

pub(super) async fn no_method_crosses_realms(home: World<'_>) {
    let away = World {
        realm: RealmId(Uuid::new_v4()),
        database: home.database.clone(),
        ..home
    };
    let who = home.signed_in("ada").await;
    let (family, grant) = home.family(who, true).await;
    let scopes = ["openid".to_owned()];
    let end = home.now.after(HOUR);
    let database = &home.database;
    database
        .remember_consent(home.realm, who.person, CLIENT, &scopes, home.now)
        .await
        .unwrap();
    assert!(database.use_once(home.realm, "a", "j", end).await.unwrap());
    let kept = FlowId(Uuid::new_v4());
    database.keep_request(home.realm, kept, b"q", end).await.unwrap();

    // Reading.
    assert!(matches!(away.attempt("ada").await, AttemptOutcome::Counted(None)));
    assert!(database.person(away.realm, who.person).await.unwrap().is_none());
    let consented = database.consented_scopes(away.realm, who.person, CLIENT).await;
    assert!(consented.unwrap().is_empty());
    assert!(
        database
            .kept_request(away.realm, kept, home.now)
            .await
            .unwrap()
            .is_none()
    );
    assert!(database.people(away.realm, None, 10).await.unwrap().is_empty());
    assert!(database.use_once(away.realm, "a", "j", end).await.unwrap());

    // Writing.
    let login = away.login_of(who.person, SessionId(Uuid::new_v4()));
    assert_eq!(away.login(login).await, LoginOutcome::PersonChanged);
    assert!(matches!(
        away.redeem(away.code_of(who)).await,
        RedemptionOutcome::NotAuthorized
    ));
    assert_eq!(away.rotate(away.rotation_of(family, 0)).await, Rotated::NotAuthorized);
    let everything = [
        Revoked::Session(who.session),
        Revoked::Grant(grant),
        Revoked::Family(family),
        Revoked::Person {
            person: who.person,
            epoch: 9,
        },
    ];
    let everything = everything.map(|what| Revocation { what, expires_at: end });
    database.revoke(away.realm, &everything, home.now).await.unwrap();
    let changed = database
        .change_person(away.realm, "ada", PersonChange::Delete, home.now)
        .await;
    assert_eq!(changed.unwrap_err().to_string(), "no person with user name \"ada\"");
    for _ in 0..20 {
        away.attempt("ada").await;
    }

    away.database.erase(away.realm, 100).await.unwrap();

    // Nothing of it was felt at home.
    assert_eq!(home.rotate(home.rotation_of(family, 0)).await, Rotated::To(1));
    let code = home.redeem(home.code_of(who)).await;
    assert!(matches!(code, RedemptionOutcome::Redeemed(person) if person.epoch == 1));
    assert!(matches!(home.attempt("ada").await, AttemptOutcome::Counted(Some(_))));

    // The same name and the same code may exist in both.
    away.person("ada").await;
    let code = home.code_of(who);
    assert!(matches!(home.redeem(code).await, RedemptionOutcome::Redeemed(_)));
    assert!(matches!(away.redeem(code).await, RedemptionOutcome::NotAuthorized));
}
