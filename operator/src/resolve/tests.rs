//! What holds for every world: nothing panics, no order matters, a wrong object harms only itself.

mod shrink;

use std::path::Path;
use std::sync::Arc;

use crds::admission::Admission;
use crds::conditions::ConditionType;
use proptest::prelude::*;
use snapshot::{Acknowledgement, Refusal};

use super::*;
use crate::build::placeholder;
use crate::world::folder::Folder;

mod gone;
mod order;
mod paused;
mod rotation;
mod standing;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

const FLEET: &str = "
apiVersion: auth.nauthera.io/v1alpha1
kind: AuthServer
metadata: {name: main, namespace: platform}
spec:
  database: {embedded: {}}
  realms: {admit: {from: All, hosts: ['*.example']}}
";

fn realm(name: &str, issuer: &str, more: &str) -> String {
    format!(
        "
apiVersion: auth.nauthera.io/v1alpha1
kind: Realm
metadata: {{name: {name}, namespace: identity}}
spec:
  serverRef: {{name: main, namespace: platform}}
  issuer: {issuer}
  signing: {{algorithms: [ES256]}}
{more}"
    )
}

fn client(namespace: &str, name: &str, realm: &str, more: &str) -> String {
    format!(
        "
apiVersion: auth.nauthera.io/v1alpha1
kind: Client
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  realmRef: {{name: {realm}, namespace: identity}}
  type: Public
  redirectUris: ['https://{name}.example/cb']
{more}"
    )
}

const ADMIT_ALL: &str = "  clients: {admit: {from: All}}\n";

fn folder(texts: &[String]) -> Folder {
    let admission = Admission::new().unwrap();
    let mut folder = Folder::default();
    for text in texts {
        folder.add_file(Path::new("test.yaml"), text, &admission);
    }
    folder
}

/// A world with everything generated that is missing.
fn world(texts: &[String]) -> World {
    let folder = folder(texts);
    assert!(folder.faults.is_empty(), "{:?}", folder.faults);
    complete(folder.world)
}

fn complete(mut world: World) -> World {
    for _ in 0..2 {
        let resolution = first(&world);
        placeholder::fill(&mut world, &resolution);
    }
    world
}

fn first(world: &World) -> Resolution {
    next(world, &BTreeMap::new(), &BTreeMap::new())
}

fn next(
    world: &World,
    previous: &BTreeMap<ObjectKey, Artefact>,
    acknowledgements: &BTreeMap<ObjectKey, Acknowledgements>,
) -> Resolution {
    resolve(&Inputs {
        world,
        previous,
        acknowledgements,
        now: NOW,
    })
}

fn fleet() -> ObjectKey {
    ObjectKey::new("platform", "main")
}

/// `count` ready replicas, the first `serving` of which serve `artefact`.
fn acknowledged(artefact: &Artefact, count: usize, serving: usize) -> BTreeMap<ObjectKey, Acknowledgements> {
    let manifest = artefact.manifest();
    let answer = Acknowledgement {
        head: manifest.head,
        content: manifest.content,
        rejected: BTreeMap::new(),
    };
    let acknowledgements = Acknowledgements {
        ready: (0..count).map(|pod| format!("pod-{pod}")).collect(),
        by_pod: (0..serving).map(|pod| (format!("pod-{pod}"), answer.clone())).collect(),
        highest: Some(manifest.head),
    };
    BTreeMap::from([(fleet(), acknowledgements)])
}

fn ready(resolution: &Resolution, kind: Kind, namespace: &str, name: &str) -> String {
    let id = ObjectId {
        kind,
        key: ObjectKey::new(namespace, name),
    };
    let ready = resolution.verdicts[&id].finding(ConditionType::Ready).unwrap();
    format!("{} {}: {}", ready.status.as_str(), ready.reason, ready.message)
}

fn client_says(resolution: &Resolution, name: &str) -> String {
    ready(resolution, Kind::Client, "apps", name)
}

fn one_client(texts: &str) -> Vec<String> {
    vec![
        FLEET.to_owned(),
        realm("acme", "https://login.example", ADMIT_ALL),
        client("apps", "web", "acme", texts),
    ]
}

#[test]
fn status_counts_replicas_while_a_change_is_on_its_way_and_names_the_generation_afterwards() {
    let world = world(&one_client(""));
    let resolution = first(&world);
    assert_eq!(
        client_says(&resolution, "web"),
        "False NoReadyReplicas: no replica is ready yet"
    );
    let artefact = &resolution.artefacts[&fleet()];
    let partly = next(&world, &resolution.artefacts, &acknowledged(artefact, 3, 2));
    assert_eq!(
        client_says(&partly, "web"),
        "False RollingOut: 2 of 3 ready replicas serve generation 1"
    );
    let fully = next(&world, &resolution.artefacts, &acknowledged(artefact, 3, 3));
    assert_eq!(
        client_says(&fully, "web"),
        "True Live: live on every ready replica since generation 1"
    );
    assert_eq!(
        ready(&fully, Kind::AuthServer, "platform", "main"),
        "True Live: 3 of 3 ready replicas serve generation 1"
    );
    assert_eq!(
        fully.artefacts[&fleet()].head(),
        artefact.head(),
        "the same content is not committed again"
    );
}

#[test]
fn an_edit_of_one_client_leaves_what_is_said_about_another_alone() {
    let mut texts = one_client("");
    texts.push(client("apps", "other", "acme", ""));
    let before = first(&world(&texts));
    texts[2] = client("apps", "web", "acme", "  displayName: Web\n");
    let acks = acknowledged(&before.artefacts[&fleet()], 2, 2);
    let after = next(&world(&texts), &before.artefacts, &acks);
    assert_eq!(
        client_says(&after, "web"),
        "False RollingOut: 0 of 2 ready replicas serve generation 2"
    );
    assert_eq!(
        client_says(&after, "other"),
        "True Live: live on every ready replica since generation 1"
    );
}

#[test]
fn an_object_that_no_longer_parses_keeps_its_last_good_version() {
    let good = world(&one_client(""));
    let before = first(&good);
    let mut broken = folder(&one_client("  nonsense: 1\n"));
    assert!(!broken.faults.is_empty());
    broken.world.secrets = good.secrets;
    let after = next(&broken.world, &before.artefacts, &BTreeMap::new());
    assert_eq!(
        after.artefacts[&fleet()].manifest().content,
        before.artefacts[&fleet()].manifest().content
    );
    assert!(
        client_says(&after, "web").starts_with("False Undecodable"),
        "{}",
        client_says(&after, "web")
    );
}

#[test]
fn a_foreign_namespace_is_admitted_only_when_both_sides_say_so() {
    let mut texts = one_client("");
    texts[1] = realm("acme", "https://login.example", "");
    let resolution = first(&world(&texts));
    assert_eq!(
        client_says(&resolution, "web"),
        "False NotAdmitted: spec.realmRef: Realm identity/acme admits no clients of namespace apps: its owner can \
         change spec.clients.admit there"
    );
    let elsewhere = realm("evil", "https://login.elsewhere", "");
    let resolution = first(&world(&[FLEET.to_owned(), elsewhere]));
    let text = ready(&resolution, Kind::Realm, "identity", "evil");
    assert!(
        text.starts_with("False NotAdmitted: spec.issuer: the fleet does not admit the host"),
        "{text}"
    );
}

#[test]
fn redirect_hosts_bind_clients_of_other_namespaces() {
    let mut texts = one_client("");
    let admit = "  clients: {admit: {from: All, redirectHosts: ['*.apps.example']}}\n";
    texts[1] = realm("acme", "https://login.example", admit);
    texts.push(client("identity", "own", "acme", ""));
    let resolution = first(&world(&texts));
    assert!(
        client_says(&resolution, "web").contains("spec.redirectUris[0]: the realm does not admit the host web.example")
    );
    assert!(ready(&resolution, Kind::Client, "identity", "own").contains("NoReadyReplicas"));
}

#[test]
fn the_prefix_of_another_namespace_is_refused_in_a_client_id() {
    let mut texts = one_client("  clientId: identity.web\n");
    let text = client_says(&first(&world(&texts)), "web");
    assert!(
        text.starts_with("False NotAdmitted: spec.clientId: ids that begin with identity. belong"),
        "{text}"
    );
    texts[2] = client("apps", "web", "acme", "  clientId: com.example.app\n");
    assert!(client_says(&first(&world(&texts)), "web").contains("NoReadyReplicas"));
}

#[test]
fn of_two_claims_to_one_name_the_served_one_stays() {
    let mut texts = one_client("  clientId: same\n");
    let alone = world(&texts);
    let before = first(&alone);
    let secrets = alone.secrets;
    texts.push(client("apps", "a-thief", "acme", "  clientId: same\n"));
    texts.push(realm("a-thief", "https://login.example", ADMIT_ALL));
    let mut with_thieves = folder(&texts).world;
    with_thieves.secrets.clone_from(&secrets);
    let after = next(&with_thieves, &before.artefacts, &BTreeMap::new());
    assert!(client_says(&after, "web").contains("NoReadyReplicas"));
    assert!(client_says(&after, "a-thief").starts_with("False Conflict: spec.clientId: Client apps/web has this id"));
    let thief = ready(&after, Kind::Realm, "identity", "a-thief");
    assert!(
        thief.starts_with("False Conflict: spec.issuer: Realm identity/acme has it already"),
        "{thief}"
    );
    // Without anybody served, whoever has the keys, and of the clients the first by name.
    let afresh = first(&with_thieves);
    assert!(ready(&afresh, Kind::Realm, "identity", "a-thief").starts_with("False Conflict"));
    assert!(client_says(&afresh, "web").starts_with("False Conflict"));
}

#[test]
fn a_missing_reference_is_waited_for_and_then_stalls() {
    let mut world = world(&[client("apps", "web", "nowhere", "")]);
    let text = "spec.realmRef.name: Realm identity/nowhere does not exist: create it, or correct the reference";
    assert_eq!(
        client_says(&first(&world), "web"),
        format!("False WaitingForReference: {text}")
    );
    let waited = |seconds: i64| {
        let since = jiff::Timestamp::from_second(NOW.unix_seconds() - seconds).unwrap();
        let condition = serde_json::json!({
            "type": "ResolvedRefs", "status": "False", "reason": "WaitingForReference", "message": "",
            "lastTransitionTime": since.to_string(),
        });
        vec![serde_json::from_value(condition).unwrap()]
    };
    let key = ObjectKey::new("apps", "web");
    for (seconds, expected) in [(119, "WaitingForReference"), (120, "ReferenceNotFound")] {
        let client = Arc::make_mut(world.clients.get_mut(&key).unwrap());
        client.status.get_or_insert_default().conditions = waited(seconds);
        let resolution = first(&world);
        assert_eq!(client_says(&resolution, "web"), format!("False {expected}: {text}"));
    }
}

#[test]
fn a_client_asks_for_less_than_the_realm_and_never_gets_more() {
    let tokens = "  tokens: {accessTokenLifetime: 20h, idTokenLifetime: 1m}\n";
    let resolution = first(&world(&one_client(tokens)));
    let id = ObjectId {
        kind: Kind::Client,
        key: ObjectKey::new("apps", "web"),
    };
    let Details::Client {
        effective: Some(effective),
        ..
    } = &resolution.verdicts[&id].details
    else {
        panic!()
    };
    let shown = (
        effective.access_token_lifetime.to_string(),
        effective.id_token_lifetime.to_string(),
    );
    assert_eq!(shown, ("10m".to_owned(), "1m".to_owned()));
}

#[test]
fn a_scope_that_the_realm_lacks_is_left_out_and_reported() {
    let resolution = first(&world(&one_client("  scopes: {allowed: [openid, orders]}\n")));
    assert!(
        client_says(&resolution, "web").contains("spec.scopes.allowed[1]: Realm identity/acme has no scope orders")
    );
    let id = ResourceId::Client(RealmId::of_issuer("https://login.example"), "apps.web".into());
    let Some(Resource::Client(client)) = resolution.artefacts[&fleet()].resource(&id) else {
        panic!("not served")
    };
    assert_eq!(*client.scopes, ["openid"]);
}

#[test]
fn a_secret_of_somebody_else_is_never_taken() {
    let mut world = folder(&one_client("")).world;
    let key = ObjectKey::new("apps", "web");
    Arc::make_mut(world.clients.get_mut(&key).unwrap()).spec.client_type = crds::client::ClientType::Confidential;
    let name = ObjectKey::new("apps", "web-oidc");
    world.secrets.insert(name.clone(), Arc::new(SecretObject::default()));
    let resolution = first(&world);
    assert!(
        client_says(&resolution, "web").contains("ResourceConflict"),
        "{}",
        client_says(&resolution, "web")
    );
    assert!(!resolution.credentials.contains_key(&name) && resolution.missing_client_secrets.is_empty());
}

#[test]
fn keys_that_are_gone_are_not_replaced_behind_peoples_back() {
    let mut world = world(&one_client(""));
    let before = first(&world);
    world.secrets.clear();
    let after = next(&world, &before.artefacts, &BTreeMap::new());
    assert!(after.missing_keys.is_empty());
    assert_eq!(
        after.artefacts[&fleet()].manifest().content,
        before.artefacts[&fleet()].manifest().content
    );
    let text = ready(&after, Kind::Realm, "identity", "acme");
    assert!(text.contains("restore it from a backup"), "{text}");
}

#[test]
fn ten_thousand_clients_and_a_thousand_realms_are_resolved_and_only_the_changed_one_moves() {
    let mut world = World::default();
    let base = folder(&one_client("")).world;
    let (realm, client) = (
        base.realms.values().next().unwrap(),
        base.clients.values().next().unwrap(),
    );
    world.auth_servers.clone_from(&base.auth_servers);
    world.namespaces.clone_from(&base.namespaces);
    for number in 0..1000 {
        let mut own = crds::Realm::clone(realm);
        own.metadata.name = Some(format!("r{number}"));
        own.spec.issuer = format!("https://login.example/r{number}");
        world
            .realms
            .insert(ObjectKey::new("identity", format!("r{number}")), Arc::new(own));
    }
    for number in 0..10_000 {
        let mut own = crds::Client::clone(client);
        own.metadata.name = Some(format!("c{number}"));
        own.spec.realm_ref.name = format!("r{}", number % 1000).as_str().into();
        world
            .clients
            .insert(ObjectKey::new("apps", format!("c{number}")), Arc::new(own));
    }
    let world = complete(world);
    let began = std::time::Instant::now();
    let resolution = first(&world);
    println!("resolved 10 000 clients of 1 000 realms in {:?}", began.elapsed());
    let counts = resolution.artefacts[&fleet()].manifest().counts;
    assert_eq!((counts.realms, counts.keys, counts.clients), (1000, 1000, 10_000));
    let mut edited = world.clone();
    Arc::make_mut(edited.clients.get_mut(&ObjectKey::new("apps", "c77")).unwrap())
        .spec
        .display_name = Some("New".to_owned());
    let began = std::time::Instant::now();
    let after = next(&edited, &resolution.artefacts, &BTreeMap::new());
    println!("one edit: {:?}", began.elapsed());
    let moved = after.artefacts[&fleet()]
        .entries()
        .into_values()
        .filter(|entry| entry.since_generation == 2)
        .count();
    assert_eq!(moved, 1);
}

fn arbitrary_client() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", "d"]);
    let namespace = prop::sample::select(vec!["apps", "identity", "platform"]);
    let realm = prop::sample::select(vec!["acme", "globex", "missing"]);
    let more = prop::sample::select(vec![
        "",
        "  clientId: same\n",
        "  scopes: {allowed: [openid, unknown]}\n",
        "  audiences: ['https://unknown.example']\n",
        "  tokens: {idTokenAlg: RS256}\n",
        "  nonsense: true\n",
        "  tokens: {accessTokenLifetime: 5m}\n",
    ]);
    (name, namespace, realm, more).prop_map(|(name, namespace, realm, more)| client(namespace, name, realm, more))
}

fn arbitrary_realm() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["acme", "globex"]);
    let issuer = prop::sample::select(vec!["https://a.example", "https://b.example/x", "https://no.other"]);
    let more = prop::sample::select(vec!["", ADMIT_ALL, "  nonsense: 1\n"]);
    (name, issuer, more).prop_map(|(name, issuer, more)| realm(name, issuer, more))
}

fn arbitrary_texts() -> impl Strategy<Value = Vec<String>> {
    let realms = prop::collection::vec(arbitrary_realm(), 0..3);
    let clients = prop::collection::vec(arbitrary_client(), 0..8);
    (realms, clients).prop_map(|(realms, clients)| {
        let mut texts = vec![FLEET.to_owned()];
        // One text for each name: of two files with one object only the first counts.
        let mut names = BTreeSet::new();
        let head = |text: &str| text.lines().skip(2).take(2).collect::<String>();
        texts.extend(
            realms
                .into_iter()
                .chain(clients)
                .filter(|text| names.insert(head(text))),
        );
        texts
    })
}

fn said(resolution: &Resolution) -> Vec<String> {
    let content = resolution
        .artefacts
        .iter()
        .map(|(key, artefact)| format!("{key} {}", artefact.manifest().content));
    let verdicts = resolution
        .verdicts
        .iter()
        .map(|(id, verdict)| format!("{id} {:?}", verdict.findings));
    content.chain(verdicts).collect()
}

/// Generated values differ from run to run; what depends on them is left to what is the same in all worlds.
fn shared_secrets(texts: &[String]) -> BTreeMap<ObjectKey, Arc<SecretObject>> {
    complete(folder(texts).world).secrets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_objects_does_not_matter(texts in arbitrary_texts(), seed in any::<u64>()) {
        let mut shuffled = texts.clone();
        shuffled.sort_by_key(|text| snapshot::Hash::of(format!("{seed}{text}").as_bytes()));
        let secrets = shared_secrets(&texts);
        let resolved = |texts: &[String]| {
            let mut world = folder(texts).world;
            world.secrets.clone_from(&secrets);
            said(&first(&world))
        };
        prop_assert_eq!(resolved(&texts), resolved(&shuffled));
    }

    #[test]
    fn a_wrong_object_changes_nothing_about_the_others(texts in arbitrary_texts(), wrong in 0..4_usize) {
        let bad = match wrong {
            0 => client("apps", "zz", "acme", "  nonsense: 1\n"),
            1 => client("apps", "zz", "acme", "  clientId: same\n"),
            2 => client("apps", "zz", "missing", ""),
            _ => realm("zz", "https://a.example", ADMIT_ALL),
        };
        let secrets = shared_secrets(&texts);
        let mut world = folder(&texts).world;
        world.secrets = secrets;
        // Whoever is served already keeps what it has.
        let before = first(&world);
        let known = world.clone();
        let with = {
            let mut texts = texts.clone();
            texts.push(bad);
            let mut world = folder(&texts).world;
            world.secrets.clone_from(&known.secrets);
            world.namespaces.clone_from(&known.namespaces);
            next(&world, &before.artefacts, &BTreeMap::new())
        };
        let alone = next(&known, &before.artefacts, &BTreeMap::new());
        for (id, verdict) in &alone.verdicts {
            prop_assert_eq!(Some(&verdict.findings), with.verdicts.get(id).map(|v| &v.findings), "{}", id);
        }
        if let (Some(alone), Some(with)) = (alone.artefacts.get(&fleet()), with.artefacts.get(&fleet())) {
            for (id, entry) in alone.entries() {
                prop_assert_eq!(Some(entry.current.version()), with.entry(id).map(|e| e.current.version()), "{}", id);
            }
        }
    }

    /// Objects that no API server would store, as a newer or broken one might hand them out.
    #[test]
    fn garbage_never_panics(texts in prop::collection::vec("\\PC{0,24}", 12), numbers in any::<[u64; 4]>()) {
        let base = folder(&one_client("")).world;
        let mut world = base.clone();
        let mut fill = texts.iter().cycle().cloned();
        let mut text = || fill.next().unwrap_or_default();
        for realm in world.realms.values_mut() {
            let spec = &mut Arc::make_mut(realm).spec;
            if numbers[0] % 2 == 0 {
                spec.issuer = text();
            }
            if numbers[0] % 3 == 0 {
                spec.signing.algorithms.clear();
            }
            spec.signing.publish_ahead = crds::Duration::seconds(numbers[1]);
            spec.signing.rotation_interval = crds::Duration::seconds(numbers[2]);
            spec.locales = vec![text().as_str().into()];
            spec.branding = serde_json::from_value(serde_json::json!({
                "displayName": text(), "colors": {"primary": text()},
                "logo": {"mediaType": "image/png", "data": text()},
            })).ok();
        }
        for client in world.clients.values_mut() {
            let spec = &mut Arc::make_mut(client).spec;
            spec.client_id = Some(text().as_str().into());
            spec.redirect_uris = vec![text().as_str().into(), format!("https://{}", text()).as_str().into()];
            spec.scopes.allowed = vec![text().as_str().into()];
            spec.tokens.access_token_lifetime = Some(crds::Duration::seconds(numbers[3]));
            spec.auth = serde_json::from_value(serde_json::json!({
                "method": "PrivateKeyJwt", "jwks": {"keys": [{"kty": "EC", "crv": text(), "x": text(), "y": text()}]},
            })).ok();
        }
        world.clients.insert(ObjectKey::new(text(), text()), base.clients.values().next().unwrap().clone());
        let world = complete(world);
        let _ = first(&world);
    }
}
