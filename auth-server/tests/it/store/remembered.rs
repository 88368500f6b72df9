//! Consents, proofs used once, kept requests, and their end.

use futures::future::join_all;
use oidc::id::FlowId;
use uuid::Uuid;

use super::world::{CLIENT, HOUR, Rotated, World};

pub(super) async fn consent_adds_up(world: World<'_>) {
    let person = world.person("ada").await;
    let consented = async || {
        world
            .database
            .consented_scopes(world.realm, person, CLIENT)
            .await
            .unwrap()
    };
    assert!(consented().await.is_empty());
    for scopes in [["openid", "email"], ["email", "profile"]] {
        let scopes = scopes.map(str::to_owned);
        world
            .database
            .remember_consent(world.realm, person, CLIENT, &scopes, world.now)
            .await
            .unwrap();
    }
    assert_eq!(consented().await, ["email", "openid", "profile"]);
    let other = world.database.consented_scopes(world.realm, person, "other").await;
    assert!(other.unwrap().is_empty());
}

pub(super) async fn a_proof_is_used_once(world: World<'_>) {
    let end = world.now.after(HOUR);
    let use_once = async |audience, jti| world.database.use_once(world.realm, audience, jti, end).await.unwrap();
    assert!(use_once("https://a", "x").await);
    assert!(!use_once("https://a", "x").await);
    assert!(use_once("https://b", "x").await);
    assert!(use_once("https://", "ax").await);
}

pub(super) async fn concurrent_uses_of_a_proof_have_one_winner(world: World<'_>) {
    let end = world.now.after(HOUR);
    let uses = join_all((0..32).map(|_| world.database.use_once(world.realm, "a", "j", end))).await;
    assert_eq!(uses.into_iter().filter(|used| *used.as_ref().unwrap()).count(), 1);
}

pub(super) async fn a_kept_request_ends(world: World<'_>) {
    let id = FlowId(Uuid::new_v4());
    let end = world.now.after(HOUR);
    world
        .database
        .keep_request(world.realm, id, b"scope=openid", end)
        .await
        .unwrap();
    let kept = async |now| world.database.kept_request(world.realm, id, now).await.unwrap();
    assert_eq!(kept(world.now).await.as_deref(), Some(&b"scope=openid"[..]));
    assert_eq!(kept(end).await, None);
}

pub(super) async fn housekeeping_deletes_what_has_expired_and_nothing_else(world: World<'_>) {
    let who = world.signed_in("ada").await;
    let (family, _) = world.family(who, true).await;
    for number in 0..30 {
        let jti = number.to_string();
        let end = world.now.after(HOUR);
        assert!(world.database.use_once(world.realm, "a", &jti, end).await.unwrap());
    }
    assert_eq!(world.database.delete_expired(world.now, 20).await.unwrap(), 0);
    let later = world.now.after(2 * HOUR);
    // The proofs in batches, the spent step, the spent code, the attempt counter (nobody attempted: none).
    assert_eq!(world.database.delete_expired(later, 20).await.unwrap(), 22);
    assert_eq!(world.database.delete_expired(later, 20).await.unwrap(), 10);
    assert_eq!(world.database.delete_expired(later, 20).await.unwrap(), 0);
    assert_eq!(world.rotate(world.rotation_of(family, 0)).await, Rotated::To(1));
    // Session and its client, grant, family.
    let much_later = world.now.after(48 * HOUR);
    assert_eq!(world.database.delete_expired(much_later, 20).await.unwrap(), 4);
}
