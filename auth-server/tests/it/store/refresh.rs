//! Refresh families.

use std::time::Duration;

use auth_server::store::people::PersonChange;
use futures::future::join_all;
use oidc::Secret;
use oidc::id::FamilyId;
use oidc::person::PersonState;
use oidc::revocation::{Revocation, Revoked};
use uuid::Uuid;

use super::world::{HOUR, Rotated, World};

pub(super) async fn looking_at_a_family_changes_nothing(mut world: World<'_>) {
    let who = world.signed_in("ada").await;
    let (family, _) = world.family(who, false).await;
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::To(1));
    let sequence = async |world: &World<'_>, realm, family| {
        let looked = world.database.refresh_sequence(realm, family, 2 * HOUR, world.now);
        looked.await.unwrap()
    };
    assert_eq!(sequence(&world, world.realm, family).await, Some(1));
    assert_eq!(sequence(&world, oidc::id::RealmId(Uuid::new_v4()), family).await, None);
    assert_eq!(sequence(&world, world.realm, FamilyId(Uuid::new_v4())).await, None);
    world.now = world.now.after(2 * HOUR);
    assert_eq!(sequence(&world, world.realm, family).await, None);
    world.now = world.now.before(HOUR);
    assert_eq!(sequence(&world, world.realm, family).await, Some(1));
    let ended = Revocation {
        what: Revoked::Session(who.session),
        expires_at: world.now.after(HOUR),
    };
    world.database.revoke(world.realm, &[ended], world.now).await.unwrap();
    assert_eq!(sequence(&world, world.realm, family).await, None);
}

pub(super) async fn every_rotation_moves_forward(world: World<'_>) {
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    for sequence in 0..5 {
        let rotated = world.rotate(world.rotation_of(family, sequence)).await;
        assert_eq!(rotated, Rotated::To(sequence + 1));
    }
}

pub(super) async fn concurrent_refreshes_of_one_token_leave_one_lineage(world: World<'_>) {
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    for sequence in 0..3 {
        let rotation = world.rotation_of(family, sequence);
        let outcomes = join_all((0..64).map(|_| world.rotate(rotation))).await;
        assert!(
            outcomes.iter().all(|outcome| *outcome == Rotated::To(sequence + 1)),
            "{outcomes:?}"
        );
    }
}

pub(super) async fn without_leeway_a_second_use_revokes_the_family(world: World<'_>) {
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    let mut rotation = world.rotation_of(family, 0);
    rotation.leeway = Duration::ZERO;
    let outcomes = join_all((0..64).map(|_| world.rotate(rotation))).await;
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!(
        (
            count(Rotated::To(1)),
            count(Rotated::Replayed),
            count(Rotated::NotAuthorized)
        ),
        (1, 1, 62)
    );
    assert_eq!(world.rotate(world.rotation_of(family, 1)).await, Rotated::NotAuthorized);
}

pub(super) async fn within_the_leeway_the_same_successor_comes_again(mut world: World<'_>) {
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::To(1));
    world.now = world.now.after(Duration::from_millis(9_999));
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::To(1));
    // Using the predecessor again did not prolong the leeway.
    world.now = world.now.after(Duration::from_millis(1));
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::Replayed);
}

pub(super) async fn a_replayed_refresh_token_revokes_the_family_everywhere(world: World<'_>) {
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::To(1));
    assert_eq!(world.rotate(world.rotation_of(family, 1)).await, Rotated::To(2));
    assert!(!world.recorded().await.contains(&Revoked::Family(family)));
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::Replayed);
    assert!(world.recorded().await.contains(&Revoked::Family(family)));
    assert_eq!(world.rotate(world.rotation_of(family, 2)).await, Rotated::NotAuthorized);
}

pub(super) async fn a_sequence_ahead_of_the_row_moves_it_forward(world: World<'_>) {
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    assert_eq!(world.rotate(world.rotation_of(family, 7)).await, Rotated::To(8));
    assert_eq!(world.rotate(world.rotation_of(family, 8)).await, Rotated::To(9));
    assert_eq!(world.rotate(world.rotation_of(family, 3)).await, Rotated::Replayed);
}

pub(super) async fn without_rotation_the_token_stays(mut world: World<'_>) {
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    for _ in 0..4 {
        let mut rotation = world.rotation_of(family, 0);
        rotation.rotate = false;
        assert_eq!(world.rotate(rotation).await, Rotated::To(0));
        // Each use counts against idleness.
        world.now = world.now.after(HOUR);
    }
}

pub(super) async fn another_clients_or_unknown_token_is_refused(world: World<'_>) {
    let (family, _) = world.family(world.signed_in("ada").await, false).await;
    let mut rotation = world.rotation_of(family, 0);
    rotation.client_id = "thief";
    assert_eq!(world.rotate(rotation).await, Rotated::NotAuthorized);
    let unknown = world.rotation_of(FamilyId(Uuid::new_v4()), 0);
    assert_eq!(world.rotate(unknown).await, Rotated::NotAuthorized);
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::To(1));
}

pub(super) async fn an_expired_or_idle_family_is_refused(mut world: World<'_>) {
    let who = world.signed_in("ada").await;
    let (idle, _) = world.family(who, true).await;
    let (expired, _) = world.family(who, true).await;
    world.now = world.now.after(2 * HOUR);
    assert_eq!(world.rotate(world.rotation_of(idle, 0)).await, Rotated::NotAuthorized);
    let mut rotation = world.rotation_of(expired, 0);
    rotation.idle = 100 * HOUR;
    assert_eq!(world.rotate(rotation).await, Rotated::To(1));
    rotation.now = world.now.after(22 * HOUR);
    assert_eq!(world.rotate(rotation).await, Rotated::NotAuthorized);
}

pub(super) async fn a_family_ends_with_its_session_unless_offline(mut world: World<'_>) {
    let who = world.signed_in("ada").await;
    let (bound, _) = world.family(who, false).await;
    let (offline, _) = world.family(who, true).await;
    let ended = Revocation {
        what: Revoked::Session(who.session),
        expires_at: world.now.after(HOUR),
    };
    world.database.revoke(world.realm, &[ended], world.now).await.unwrap();
    assert_eq!(world.rotate(world.rotation_of(bound, 0)).await, Rotated::NotAuthorized);
    assert_eq!(world.rotate(world.rotation_of(offline, 0)).await, Rotated::To(1));
    // The same at the session's own end.
    let other = world.session_of(who.person).await;
    let (bound, _) = world.family(other, false).await;
    world.now = world.now.after(8 * HOUR);
    let mut rotation = world.rotation_of(bound, 0);
    rotation.idle = 100 * HOUR;
    assert_eq!(world.rotate(rotation).await, Rotated::NotAuthorized);
    rotation.family = offline;
    rotation.sequence = 1;
    assert_eq!(world.rotate(rotation).await, Rotated::To(2));
}

pub(super) async fn a_family_ends_with_the_persons_epoch_and_state(world: World<'_>) {
    let hash = Secret::new("$argon2id$second".to_owned());
    for (name, change) in [
        ("ada", PersonChange::Password(&hash)),
        ("grace", PersonChange::State(PersonState::Disabled)),
        ("barbara", PersonChange::Delete),
    ] {
        let (family, _) = world.family(world.signed_in(name).await, true).await;
        assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::To(1));
        world
            .database
            .change_person(world.realm, name, change, world.now)
            .await
            .unwrap();
        assert_eq!(world.rotate(world.rotation_of(family, 1)).await, Rotated::NotAuthorized);
    }
}
