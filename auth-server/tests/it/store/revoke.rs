//! Revocations.

use auth_server::store::Extent;
use oidc::revocation::{Revocation, Revoked};
use oidc::store::{LoginOutcome, RedemptionOutcome};

use super::world::{HOUR, Rotated, World};

async fn revoke(world: &World<'_>, what: Revoked) {
    let revocation = Revocation {
        what,
        expires_at: world.now.after(HOUR),
    };
    world
        .database
        .revoke(world.realm, &[revocation], world.now)
        .await
        .unwrap();
    assert!(world.recorded().await.contains(&what));
}

pub(super) async fn a_revoked_grant_ends_its_families(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let (ended, grant) = world.family(who, true).await;
    let (other, _) = world.family(who, true).await;
    revoke(&world, Revoked::Grant(grant)).await;
    assert_eq!(world.rotate(world.rotation_of(ended, 0)).await, Rotated::NotAuthorized);
    assert_eq!(world.rotate(world.rotation_of(other, 0)).await, Rotated::To(1));
}

pub(super) async fn a_revoked_family_is_refused(world: World<'_>) {
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    revoke(&world, Revoked::Family(family)).await;
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::NotAuthorized);
}

pub(super) async fn a_revoked_session_cannot_be_used_for_codes(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let other = world.session_of(who.person).await;
    revoke(&world, Revoked::Session(who.session)).await;
    let refused = world.redeem(world.code_of(who)).await;
    assert!(matches!(refused, RedemptionOutcome::NotAuthorized));
    let redeemed = world.redeem(world.code_of(other)).await;
    assert!(matches!(redeemed, RedemptionOutcome::Redeemed(_)));
}

pub(super) async fn a_revoked_person_moves_to_the_new_epoch(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let what = Revoked::Person {
        person: who.person,
        epoch: 2,
    };
    revoke(&world, what).await;
    let person = world.database.person(world.realm, who.person).await.unwrap().unwrap();
    assert_eq!(person.epoch, 2);
    let mut login = world.login_of(who.person, oidc::id::SessionId(uuid::Uuid::new_v4()));
    login.epoch = 2;
    assert_eq!(world.login(login).await, LoginOutcome::Recorded);
    // Again: the session of the new epoch goes on.
    revoke(&world, what).await;
    let mut code = world.code_of(super::world::SignedIn {
        person: who.person,
        session: login.session,
    });
    code.epoch = 2;
    assert!(matches!(world.redeem(code).await, RedemptionOutcome::Redeemed(_)));
    let mut old = world.code_of(who);
    old.epoch = 2;
    assert!(matches!(world.redeem(old).await, RedemptionOutcome::NotAuthorized));
}

pub(super) async fn revoking_again_is_harmless_and_keeps_the_later_end(world: World<'_>) {
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    let what = Revoked::Family(family);
    let until = |hours| Revocation {
        what,
        expires_at: world.now.after(hours * HOUR),
    };
    // Twice in one call as well.
    for revocations in [&[until(3), until(5)][..], &[until(1)]] {
        world
            .database
            .revoke(world.realm, revocations, world.now)
            .await
            .unwrap();
        let read = world.database.read_revocations(Extent::Everything).await.unwrap();
        assert_eq!(read.revocations, [until(5)]);
    }
}

pub(super) async fn nothing_to_revoke_is_no_error(world: World<'_>) {
    world.database.revoke(world.realm, &[], world.now).await.unwrap();
    assert!(world.recorded().await.is_empty());
}
