//! The compile cycle of `dev` without processes: edit a folder, get a configuration that a server could boot from.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crds::admission::Admission;
use oidc::Timestamp;
use oidc::config::Resource;
use oidc::id::RealmId;
use operator::dev::{Core, State, StateError};
use operator::world::{ObjectKey, folder};
use snapshot::{Acknowledgement, Acknowledgements, Artefact, ResourceId};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

const ALL: &str = "\
apiVersion: auth.nauthera.io/v1alpha1
kind: AuthServer
metadata: {name: demo}
spec: {database: {embedded: {}}}
---
apiVersion: auth.nauthera.io/v1alpha1
kind: Realm
metadata: {name: acme}
spec: {serverRef: {name: demo}, issuer: 'http://localhost:8080', signing: {algorithms: [ES256]}}
---
apiVersion: auth.nauthera.io/v1alpha1
kind: Client
metadata: {name: shop}
spec:
  realmRef: {name: acme}
  type: Confidential
  displayName: NAME
  redirectUris: ['https://shop.example/cb']
";

struct Bench {
    folder: tempfile::TempDir,
    state: tempfile::TempDir,
    admission: Admission,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
            admission: Admission::new().unwrap(),
        };
        bench.write("Shop");
        bench
    }

    fn write(&self, name: &str) {
        fs::write(self.folder.path().join("all.yaml"), ALL.replace("NAME", name)).unwrap();
    }

    fn read(&self) -> folder::Folder {
        folder::read(&[self.folder.path().to_owned()], &self.admission).unwrap()
    }

    fn core(&self) -> Core {
        Core::new(State::open(&self.state.path().join("dev")).unwrap(), self.read()).unwrap()
    }
}

fn fleet() -> ObjectKey {
    ObjectKey::new("default", "demo")
}

/// What a server would read at start.
fn mounted(folder: &Path) -> Artefact {
    let files = fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (
            path.file_name().unwrap().to_str().unwrap().to_owned(),
            fs::read(&path).unwrap(),
        )
    });
    Artefact::from_files(&files.collect()).unwrap()
}

fn display_name(artefact: &Artefact) -> String {
    let id = ResourceId::Client(RealmId::of_issuer("http://localhost:8080"), "default.shop".into());
    match artefact.resource(&id) {
        Some(Resource::Client(client)) => client.display_name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_round_generates_commits_and_leaves_files_that_a_server_boots_from() {
    let bench = Bench::new();
    let mut core = bench.core();
    let changes = core.step(&BTreeMap::new(), NOW).unwrap();
    assert_eq!((changes.committed, changes.verdicts.len()), (vec![fleet()], 3));
    let artefact = mounted(&core.state().config_folder(&fleet()));
    assert_eq!(Some(&artefact), core.artefact(&fleet()));
    let secret = core.secret(&ObjectKey::new("default", "shop-oidc")).unwrap();
    let issuer = secret.data.get("issuer").unwrap().expose();
    assert_eq!(issuer, b"http://localhost:8080");
    assert_eq!(secret.data.get("client-secret").unwrap().expose().len(), 43);
    // Nothing has happened: nothing is written.
    let changes = core.step(&BTreeMap::new(), NOW).unwrap();
    assert!(changes.committed.is_empty() && changes.verdicts.is_empty());
}

#[test]
fn an_edit_is_committed_and_said_on_that_object_only() {
    let bench = Bench::new();
    let mut core = bench.core();
    core.step(&BTreeMap::new(), NOW).unwrap();
    core.step(&keeping_up(&core), NOW).unwrap();
    bench.write("Better shop");
    core.set_folder(bench.read());
    let before = keeping_up(&core);
    let changes = core.step(&before, NOW).unwrap();
    let said: Vec<String> = changes.verdicts.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["AuthServer default/demo", "Client default/shop"]);
    assert_eq!(
        display_name(&mounted(&core.state().config_folder(&fleet()))),
        "Better shop"
    );
    core.step(&keeping_up(&core), NOW).unwrap();
    assert!(core.verdicts().values().all(operator::resolve::Verdict::is_ready));
}

/// One ready server that serves what is committed.
fn keeping_up(core: &Core) -> BTreeMap<ObjectKey, Acknowledgements> {
    let manifest = core.artefact(&fleet()).unwrap().manifest();
    let answer = Acknowledgement {
        head: manifest.head,
        content: manifest.content,
        rejected: BTreeMap::new(),
    };
    let acknowledgements = Acknowledgements {
        ready: ["a".to_owned()].into(),
        by_pod: BTreeMap::from([("a".to_owned(), answer)]),
        highest: Some(manifest.head),
    };
    BTreeMap::from([(fleet(), acknowledgements)])
}

fn client_secret(core: &Core) -> oidc::Secret<Vec<u8>> {
    let secret = core.secret(&ObjectKey::new("default", "shop-oidc")).unwrap();
    secret.data.get("client-secret").unwrap().clone()
}

#[test]
fn an_annotation_in_a_file_rotates_the_client_secret_once_servers_accept_the_next() {
    let bench = Bench::new();
    let mut core = bench.core();
    core.step(&BTreeMap::new(), NOW).unwrap();
    let one = client_secret(&core);
    let annotated = "metadata: {name: shop, annotations: {auth.nauthera.io/rotate: 'now'}}";
    let text = ALL.replace("metadata: {name: shop}", annotated);
    fs::write(bench.folder.path().join("all.yaml"), text).unwrap();
    core.set_folder(bench.read());
    let before = keeping_up(&core);
    core.step(&before, NOW).unwrap();
    assert_eq!(client_secret(&core), one, "no server accepts the next one yet");
    core.step(&keeping_up(&core), NOW).unwrap();
    let two = client_secret(&core);
    assert_ne!(two, one);
    core.step(&keeping_up(&core), NOW).unwrap();
    assert_eq!(client_secret(&core), two, "a value acts once");
}

#[test]
fn a_broken_edit_keeps_what_is_served_and_a_restart_finds_it_again() {
    let bench = Bench::new();
    let mut core = bench.core();
    core.step(&BTreeMap::new(), NOW).unwrap();
    let before = core.artefact(&fleet()).cloned().unwrap();
    drop(core);
    bench.write("Shop");
    let mut core = bench.core();
    core.step(&BTreeMap::new(), NOW).unwrap();
    assert_eq!(
        core.artefact(&fleet()).unwrap().manifest().content,
        before.manifest().content
    );
    let first = client_secret(&core);
    bench.write("Shop\n  nonsense: 1");
    core.set_folder(bench.read());
    core.step(&BTreeMap::new(), NOW).unwrap();
    assert_eq!(
        core.artefact(&fleet()).unwrap().manifest().content,
        before.manifest().content
    );
    assert_eq!(client_secret(&core), first);
}

#[test]
fn a_file_that_is_not_yaml_withdraws_nothing_and_heals() {
    let bench = Bench::new();
    let other = bench.folder.path().join("other.yaml");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: theirs}\nstringData: {key: value}\n";
    let spa = ALL
        .rsplit("---")
        .next()
        .unwrap()
        .replace("shop", "spa")
        .replace("NAME", "Spa");
    fs::write(&other, format!("{secret}---{spa}")).unwrap();
    let mut core = bench.core();
    core.step(&BTreeMap::new(), NOW).unwrap();
    let before = core.artefact(&fleet()).cloned().unwrap();
    assert_eq!(before.manifest().counts.clients, 2);
    let reload = |core: &mut Core| {
        let mut folder = bench.read();
        let kept: Vec<String> = folder.keep(core.folder()).iter().map(ToString::to_string).collect();
        folder.presume(core.folder().presumed.iter().cloned());
        core.set_folder(folder);
        core.step(&BTreeMap::new(), NOW).unwrap();
        kept
    };

    fs::write(&other, format!("{secret}---{spa}  broken: [\n")).unwrap();
    assert_eq!(reload(&mut core), ["Client default/spa"]);
    let fault = &core.folder().faults[0];
    assert!(
        fault.message.contains("not valid YAML") && fault.line > 5 && fault.column.is_some(),
        "{fault:?}"
    );
    // An edit of another file goes through meanwhile, and the broken one is still remembered a round later.
    bench.write("Better shop");
    assert_eq!(reload(&mut core), ["Client default/spa"]);
    assert_eq!(display_name(core.artefact(&fleet()).unwrap()), "Better shop");
    assert_eq!(core.artefact(&fleet()).unwrap().manifest().counts.clients, 2);
    fs::write(&other, "{").unwrap();
    reload(&mut core);
    assert!(core.secret(&ObjectKey::new("default", "theirs")).is_some());

    // A restart does not know what the file held, but what is served of it.
    drop(core);
    let state = State::open(&bench.state.path().join("dev")).unwrap();
    let mut folder = bench.read();
    folder.presume(state.known());
    let mut core = Core::new(state, folder).unwrap();
    core.step(&BTreeMap::new(), NOW).unwrap();
    assert_eq!(core.artefact(&fleet()).unwrap().manifest().counts.clients, 2);

    // Corrected: what is not in the file any more is deleted.
    fs::write(&other, secret).unwrap();
    assert!(reload(&mut core).is_empty());
    assert_eq!(core.artefact(&fleet()).unwrap().manifest().counts.clients, 1);
    assert!(core.folder().faults.is_empty());
}

#[test]
fn an_auth_server_that_would_be_refused_stays_as_it_was() {
    let bench = Bench::new();
    let mut core = bench.core();
    core.step(&BTreeMap::new(), NOW).unwrap();
    let path = bench.folder.path().join("all.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("embedded: {}", "embedded: {}, nonsense: 1")).unwrap();
    let mut folder = bench.read();
    assert!(!folder.faults.is_empty());
    folder.keep(core.folder());
    core.set_folder(folder);
    core.step(&BTreeMap::new(), NOW).unwrap();
    let counts = core.artefact(&fleet()).unwrap().manifest().counts;
    assert_eq!((counts.realms, counts.clients), (1, 1));
}

#[test]
fn the_state_folder_is_for_its_owner_and_for_one_process_only() {
    let bench = Bench::new();
    let mut core = bench.core();
    core.step(&BTreeMap::new(), NOW).unwrap();
    let root = core.state().root().to_owned();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    for file in fs::read_dir(root.join("secrets")).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    assert!(matches!(State::open(&root), Err(StateError::Locked(_))));
}
