//! Authorization codes.

use auth_server::store::people::PersonChange;
use futures::future::join_all;
use oidc::id::{GrantId, RequestId, SessionId};
use oidc::person::PersonState;
use oidc::revocation::{Revocation, Revoked};
use oidc::store::RedemptionOutcome;
use uuid::Uuid;

use super::world::{HOUR, Rotated, World};

pub(super) async fn a_code_is_redeemed_and_gives_the_person(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let code = world.code_of(who);
    let RedemptionOutcome::Redeemed(person) = world.redeem(code).await else {
        panic!("not redeemed");
    };
    assert_eq!(person.id, who.person);
    assert_eq!(person.profile.email.as_deref(), Some("ada@Example.org"));
    let family = code.family.unwrap().id;
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::To(1));
}

pub(super) async fn a_lost_reply_is_not_taken_for_reuse(world: World<'_>) {
    let code = world.code_of(world.signed_in("ada").await);
    for _ in 0..2 {
        let outcome = world.redeem(code).await;
        assert!(matches!(outcome, RedemptionOutcome::Redeemed(_)), "{outcome:?}");
    }
    let family = code.family.unwrap().id;
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::To(1));
}

pub(super) async fn a_replayed_code_names_the_first_grant(world: World<'_>) {
    let mut code = world.code_of(world.signed_in("ada").await);
    let first = code.grant;
    assert!(matches!(world.redeem(code).await, RedemptionOutcome::Redeemed(_)));
    code.request = RequestId(Uuid::new_v4());
    code.grant = GrantId(Uuid::new_v4());
    let mut family = code.family.unwrap();
    family.id = oidc::id::FamilyId(Uuid::new_v4());
    code.family = Some(family);
    assert!(matches!(world.redeem(code).await, RedemptionOutcome::Replayed { grant } if grant == first));
    // The replay began no family.
    let rotation = world.rotation_of(family.id, 0);
    assert_eq!(world.rotate(rotation).await, Rotated::NotAuthorized);
}

pub(super) async fn concurrent_redemptions_of_a_code_have_one_winner(world: World<'_>) {
    let code = world.code_of(world.signed_in("ada").await);
    let redemptions = (0..32).map(|_| {
        let mut code = code;
        code.request = RequestId(Uuid::new_v4());
        code.grant = GrantId(Uuid::new_v4());
        let world = &world;
        async move { (code.grant, world.redeem(code).await) }
    });
    let outcomes = join_all(redemptions).await;
    let winners: Vec<GrantId> = outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, RedemptionOutcome::Redeemed(_)))
        .map(|(grant, _)| *grant)
        .collect();
    assert_eq!(winners.len(), 1);
    let named_it = outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, RedemptionOutcome::Replayed { grant } if *grant == winners[0]))
        .count();
    assert_eq!(named_it, 31);
}

pub(super) async fn a_code_of_an_ended_or_expired_session_is_refused(mut world: World<'_>) {
    let who = world.signed_in("ada").await;
    let mut unknown = world.code_of(who);
    unknown.session = SessionId(Uuid::new_v4());
    assert!(matches!(world.redeem(unknown).await, RedemptionOutcome::NotAuthorized));
    let other = world.signed_in("grace").await;
    let mut foreign = world.code_of(who);
    foreign.session = other.session;
    assert!(matches!(world.redeem(foreign).await, RedemptionOutcome::NotAuthorized));
    let ended = Revocation {
        what: Revoked::Session(who.session),
        expires_at: world.now.after(HOUR),
    };
    world.database.revoke(world.realm, &[ended], world.now).await.unwrap();
    let outcome = world.redeem(world.code_of(who)).await;
    assert!(matches!(outcome, RedemptionOutcome::NotAuthorized));
    world.now = world.now.after(8 * HOUR);
    let outcome = world.redeem(world.code_of(other)).await;
    assert!(matches!(outcome, RedemptionOutcome::NotAuthorized));
}

pub(super) async fn a_code_of_a_changed_person_is_refused(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let mut later = world.code_of(who);
    later.epoch = 2;
    assert!(matches!(world.redeem(later).await, RedemptionOutcome::NotAuthorized));
    for change in [PersonChange::State(PersonState::Disabled), PersonChange::Delete] {
        world
            .database
            .change_person(world.realm, "ada", change, world.now)
            .await
            .unwrap();
        for epoch in 1..4 {
            let mut code = world.code_of(who);
            code.epoch = epoch;
            assert!(matches!(world.redeem(code).await, RedemptionOutcome::NotAuthorized));
        }
    }
}

pub(super) async fn a_replay_is_noticed_after_the_session_ended(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let mut code = world.code_of(who);
    let first = code.grant;
    assert!(matches!(world.redeem(code).await, RedemptionOutcome::Redeemed(_)));
    let ended = Revocation {
        what: Revoked::Session(who.session),
        expires_at: world.now.after(HOUR),
    };
    world.database.revoke(world.realm, &[ended], world.now).await.unwrap();
    code.request = RequestId(Uuid::new_v4());
    assert!(matches!(world.redeem(code).await, RedemptionOutcome::Replayed { grant } if grant == first));
}
