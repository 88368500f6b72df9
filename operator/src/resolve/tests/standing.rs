//! Who keeps what: keys of an issuer, an object on its way out, and what was live once.

use super::*;

#[test]
fn the_keys_of_an_issuer_are_for_the_realm_that_had_them_or_that_the_fleet_names() {
    let alone = world(&one_client(""));
    let before = first(&alone);
    let (name, _) = alone
        .secrets
        .iter()
        .find(|(key, _)| key.name.starts_with("nauthera-realm-"))
        .unwrap();
    // Deleted and applied again: keys and people are found.
    let again = next(&alone, &BTreeMap::new(), &BTreeMap::new());
    let id = ResourceId::Keys(RealmId::of_issuer("https://login.example"));
    let keys = |resolution: &Resolution| resolution.artefacts[&fleet()].resource(&id);
    assert!(keys(&again).is_some() && keys(&again) == keys(&before));
    // Another one claims the issuer, at once or when nothing is known any more.
    let mut other = folder(&[FLEET.to_owned(), realm("other", "https://login.example", ADMIT_ALL)]).world;
    other.secrets.clone_from(&alone.secrets);
    let says = format!(
        "False Conflict: spec.issuer: the keys and people of this issuer belong to Realm identity/acme: if this one takes \
         its place, the owner of the fleet annotates Secret {name} with auth.nauthera.io/adopt-keys=identity/other"
    );
    for previous in [&before.artefacts, &BTreeMap::new()] {
        let resolution = next(&other, previous, &BTreeMap::new());
        assert_eq!(ready(&resolution, Kind::Realm, "identity", "other"), says);
        assert_eq!(keys(&resolution), None);
        assert!(resolution.missing_keys.is_empty());
    }
    // Not even without the Secret, as long as the former one is known to be served.
    let mut without = other.clone();
    without.secrets.clear();
    let resolution = next(&without, &before.artefacts, &BTreeMap::new());
    assert!(ready(&resolution, Kind::Realm, "identity", "other").contains("restore Secret"));
    assert_eq!(keys(&resolution), None);
    // The owner of the fleet hands them over.
    let secret = Arc::make_mut(other.secrets.get_mut(name).unwrap());
    let adopt = (crds::ADOPT_KEYS_ANNOTATION.to_owned(), "identity/other".to_owned());
    secret.annotations.extend([adopt]);
    let resolution = next(&other, &before.artefacts, &BTreeMap::new());
    assert_eq!(keys(&resolution), keys(&before));
    // Nobody's keys are for nobody.
    Arc::make_mut(other.secrets.get_mut(name).unwrap()).annotations.clear();
    let resolution = first(&other);
    assert!(ready(&resolution, Kind::Realm, "identity", "other").starts_with("False Conflict"));
}

#[test]
fn an_object_that_is_being_deleted_is_withdrawn() {
    let mut world = world(&one_client(""));
    let before = first(&world);
    let client = world.clients.values_mut().next().unwrap();
    Arc::make_mut(client).metadata.deletion_timestamp = Some(serde_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap());
    let after = next(&world, &before.artefacts, &BTreeMap::new());
    assert_eq!(client_says(&after, "web"), "False Deleting: it is being deleted");
    assert_eq!(after.artefacts[&fleet()].manifest().counts.clients, 0);
}

#[test]
fn what_was_live_stays_so_while_the_operator_cannot_see_a_replica() {
    let mut world = world(&one_client(""));
    let before = first(&world);
    let acks = acknowledged(&before.artefacts[&fleet()], 2, 2);
    let live = next(&world, &before.artefacts, &acks);
    // What the operator wrote is what the next world shows.
    let id = |kind, namespace: &str, name: &str| ObjectId {
        kind,
        key: ObjectKey::new(namespace, name),
    };
    let web = id(Kind::Client, "apps", "web");
    let object = world.clients.get_mut(&web.key).unwrap();
    let report = crate::status::report(&web, crate::status::Live::Client(object), &live.verdicts[&web], NOW);
    Arc::make_mut(object).status = serde_json::from_value(report.patch.unwrap()["status"].clone()).ok();
    let unseen = acknowledged(&before.artefacts[&fleet()], 3, 1);
    let says = "True Live: live on every ready replica since generation 1";
    assert_eq!(client_says(&next(&world, &live.artefacts, &unseen), "web"), says);
    // A replica that says that it serves something older is a fact, and so is that there is none.
    let mut older = unseen.clone();
    let answers = &mut older.get_mut(&fleet()).unwrap().by_pod;
    let mut answer = answers["pod-0"].clone();
    answer.head.generation = 0;
    answers.insert("pod-1".to_owned(), answer);
    assert!(client_says(&next(&world, &live.artefacts, &older), "web").starts_with("False RollingOut: 1 of 3"));
    let none = acknowledged(&before.artefacts[&fleet()], 0, 0);
    assert!(client_says(&next(&world, &live.artefacts, &none), "web").starts_with("False NoReadyReplicas"));
    // A scale-up rewrites nothing either.
    let more = acknowledged(&before.artefacts[&fleet()], 5, 5);
    let scaled = next(&world, &live.artefacts, &more);
    let object = crate::status::Live::Client(&world.clients[&web.key]);
    assert_eq!(
        crate::status::report(&web, object, &scaled.verdicts[&web], NOW),
        crate::status::Report::default()
    );
}

#[test]
fn what_a_server_refuses_is_said_on_that_object_only_and_its_former_version_stays() {
    let texts = one_client("");
    let before = first(&world(&texts));
    let served = next(
        &world(&texts),
        &before.artefacts,
        &acknowledged(&before.artefacts[&fleet()], 1, 1),
    );
    let edited = world(&one_client("  displayName: Web\n"));
    let offered = next(
        &edited,
        &served.artefacts,
        &acknowledged(&served.artefacts[&fleet()], 1, 1),
    );
    let artefact = &offered.artefacts[&fleet()];
    let id = ResourceId::Client(RealmId::of_issuer("https://login.example"), "apps.web".into());
    let version = artefact.entry(&id).unwrap().current.version();
    let mut acks = acknowledged(artefact, 1, 1);
    let refusal = Refusal {
        version,
        code: "test".to_owned(),
        message: "no such thing".to_owned(),
    };
    acks.get_mut(&fleet())
        .unwrap()
        .by_pod
        .get_mut("pod-0")
        .unwrap()
        .rejected
        .insert(id.clone(), refusal);
    let restored = next(&edited, &offered.artefacts, &acks);
    assert_eq!(
        client_says(&restored, "web"),
        "False RejectedByServer: servers refused it: no such thing; the former version stays live"
    );
    let Some(Resource::Client(client)) = restored.artefacts[&fleet()].resource(&id) else {
        panic!("gone")
    };
    assert_eq!(client.display_name, "web");
    // Corrected: the next version is offered, and once it is accepted nothing is said of the former trouble.
    let corrected = world(&one_client("  displayName: Better\n"));
    let offered = next(&corrected, &restored.artefacts, &acks);
    let accepted = acknowledged(&offered.artefacts[&fleet()], 1, 1);
    let healed = next(&corrected, &offered.artefacts, &accepted);
    assert!(
        client_says(&healed, "web").starts_with("True Live"),
        "{}",
        client_says(&healed, "web")
    );
}

#[test]
fn an_autoscaled_fleet_should_have_what_its_autoscaler_decided() {
    use crate::world::{ChildId, ChildKind, Cluster};

    let autoscaled = "postgres: {secretRef: {name: db}}}\n  autoscaling: {minReplicas: 2, maxReplicas: 5}";
    let mut world = world(&[FLEET.replace("embedded: {}}", autoscaled)]);
    let desired = |world: &World| {
        let id = ObjectId {
            kind: Kind::AuthServer,
            key: fleet(),
        };
        match &first(world).verdicts[&id].details {
            Details::AuthServer { replicas, .. } => replicas.desired,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(desired(&world), 2);
    let deployment = ChildId::new(ChildKind::Deployment, "platform", "main");
    let mut cluster = Cluster::default();
    let live = serde_json::json!({"spec": {"replicas": 4}});
    cluster.children.insert(deployment, Arc::new(live));
    world.cluster = Some(cluster);
    assert_eq!(desired(&world), 4);
    let fixed = Arc::make_mut(world.auth_servers.get_mut(&fleet()).unwrap());
    (fixed.spec.autoscaling, fixed.spec.replicas) = (None, Some(3));
    assert_eq!(desired(&world), 3, "somebody's hand is not its number");
}
