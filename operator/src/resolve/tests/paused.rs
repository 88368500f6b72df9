//! What is frozen stays as it is, and is ready as long as its spec asks for nothing else.

use super::*;

const IS_LIVE: &str = "True Live: live on every ready replica since generation 1; frozen by the annotation \
                       auth.nauthera.io/paused";
const WAITS: &str = "what its spec says waits until the annotation auth.nauthera.io/paused is removed";

fn pause(metadata: &mut ObjectMeta) {
    let annotation = (crds::PAUSED_ANNOTATION.to_owned(), "true".to_owned());
    metadata.annotations.get_or_insert_default().extend([annotation]);
}

fn with_paused_client(mut world: World, name: &str) -> World {
    let client = world.clients.get_mut(&ObjectKey::new("apps", name)).unwrap();
    pause(&mut Arc::make_mut(client).metadata);
    world
}

fn with_paused_realm(mut world: World) -> World {
    let realm = world.realms.values_mut().next().unwrap();
    pause(&mut Arc::make_mut(realm).metadata);
    world
}

/// What was committed for one client, and that it is live on two replicas.
fn live() -> (World, Resolution, BTreeMap<ObjectKey, Acknowledgements>) {
    let world = world(&one_client(""));
    let before = first(&world);
    let acks = acknowledged(&before.artefacts[&fleet()], 2, 2);
    (world, before, acks)
}

/// Other custom resources with the same Secrets.
fn edited(world: &World, texts: &[String]) -> World {
    World {
        secrets: world.secrets.clone(),
        ..folder(texts).world
    }
}

fn has(resolution: &Resolution, kind: Kind, key: &str, condition: ConditionType) -> bool {
    let key = ObjectKey::parse(key).unwrap();
    resolution.verdicts[&ObjectId { kind, key }]
        .finding(condition)
        .is_some()
}

#[test]
fn a_frozen_client_is_ready_until_an_edit_of_it_waits() {
    let (world, before, acks) = live();
    let frozen = next(&with_paused_client(world.clone(), "web"), &before.artefacts, &acks);
    assert_eq!(client_says(&frozen, "web"), IS_LIVE);
    assert!(has(&frozen, Kind::Client, "apps/web", ConditionType::Paused));
    assert!(!has(&frozen, Kind::Client, "apps/web", ConditionType::Reconciling));

    let renamed = edited(&world, &one_client("  displayName: Web\n"));
    let waiting = next(&with_paused_client(renamed, "web"), &frozen.artefacts, &acks);
    let says = format!("False PausedByAnnotation: {WAITS}; the former version stays live");
    assert_eq!(client_says(&waiting, "web"), says);
    assert!(has(&waiting, Kind::Client, "apps/web", ConditionType::Stalled));
    assert_eq!(
        waiting.artefacts[&fleet()].head(),
        before.artefacts[&fleet()].head(),
        "nothing is committed"
    );

    // Taken back, it is ready again; one that was never served waits as well.
    let back = next(&with_paused_client(world.clone(), "web"), &waiting.artefacts, &acks);
    assert_eq!(client_says(&back, "web"), IS_LIVE);
    let mut texts = one_client("");
    texts.push(client("apps", "fresh", "acme", ""));
    let fresh = with_paused_client(edited(&world, &texts), "fresh");
    let fresh = next(&fresh, &before.artefacts, &acks);
    let says = format!("False PausedByAnnotation: {WAITS}; not served");
    assert_eq!(client_says(&fresh, "fresh"), says);
}

#[test]
fn the_clients_of_a_frozen_realm_go_on() {
    let (world, before, acks) = live();
    let renamed = edited(&world, &one_client("  displayName: Web\n"));
    let after = next(&with_paused_realm(renamed), &before.artefacts, &acks);
    assert_eq!(ready(&after, Kind::Realm, "identity", "acme"), IS_LIVE);
    assert_eq!(
        client_says(&after, "web"),
        "False RollingOut: 0 of 2 ready replicas serve generation 2"
    );

    // But what a Client may do follows from the realm as it is served.
    let mut texts = one_client("  displayName: Web\n");
    texts[1] = realm(
        "acme",
        "https://login.example",
        "  clients: {admit: {from: All}}\n  branding: {displayName: Acme}\n",
    );
    let waiting = with_paused_realm(edited(&world, &texts));
    let waiting = next(&waiting, &before.artefacts, &acks);
    assert!(ready(&waiting, Kind::Realm, "identity", "acme").starts_with("False PausedByAnnotation"));
    let says = client_says(&waiting, "web");
    assert!(
        says.contains("Realm identity/acme is frozen with an edit that waits"),
        "{says}"
    );
    let artefacts = [&waiting, &before].map(|resolution| resolution.artefacts[&fleet()].head());
    assert_eq!(artefacts[0], artefacts[1]);
}

#[test]
fn a_frozen_fleet_says_so() {
    let (mut world, before, acks) = live();
    let server = world.auth_servers.values_mut().next().unwrap();
    pause(&mut Arc::make_mut(server).metadata);
    let frozen = next(&world, &before.artefacts, &acks);
    assert_eq!(
        ready(&frozen, Kind::AuthServer, "platform", "main"),
        "True Live: 2 of 2 ready replicas serve generation 1; frozen by the annotation auth.nauthera.io/paused"
    );
    assert!(has(&frozen, Kind::AuthServer, "platform/main", ConditionType::Paused));
}
