//! `nauthera-operator dev` as a process among processes: how it ends, what it leaves, what an edit does.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::parts::{free_port, product};
use e2e::process::Process;
use rustix::process::{Pid, Signal, kill_process};

/// What anything may take in a debug build on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(1);

const CHALLENGE: &str = "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

/// A folder of manifests and what `dev` makes of it. Servers that are left end with it.
struct Site {
    work: tempfile::TempDir,
    port: u16,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            work: tempfile::Builder::new().prefix("nauthera-site.").tempdir().unwrap(),
            port: free_port().unwrap(),
        };
        for folder in ["manifests", "tmp"] {
            std::fs::create_dir(site.path(folder)).unwrap();
        }
        site.write(
            "server.yaml",
            &object("AuthServer", "demo", "{database: {embedded: {}}}"),
        );
        site.write("acme.yaml", &site.realm("acme", "#123456"));
        site.write("shop.yaml", &client("shop", "http://127.0.0.1/callback"));
        site.write("spa.yaml", &client("spa", "http://127.0.0.1/callback"));
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn realm(&self, name: &str, color: &str) -> String {
        let issuer = format!("http://localhost:{}/{name}", self.port);
        let spec = format!(
            "{{serverRef: {{name: demo}}, issuer: '{issuer}', signing: {{algorithms: [ES256]}}, \
             branding: {{colors: {{primary: '{color}'}}}}}}"
        );
        object("Realm", name, &spec)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("part"), text).unwrap();
        std::fs::rename(self.path("part"), self.path("manifests").join(name)).unwrap();
    }

    fn command(&self, keep: &[&str]) -> Command {
        let mut command = Command::new(product("nauthera-operator").unwrap());
        command.arg("dev").arg(self.path("manifests"));
        command.arg(format!("--listen=127.0.0.1:{}", self.port)).args(keep);
        command.env("TMPDIR", self.path("tmp"));
        command
    }

    /// Starts `dev` and waits until everything is live.
    fn start(&self, keep: &[&str]) -> Process {
        let log = self.path(&format!("log-{}", std::fs::read_dir(self.work.path()).unwrap().count()));
        let mut dev = Process::spawn("dev", &self.command(keep), &log).unwrap();
        says(&mut dev, 0, &["2 of 2 ready replicas serve"]);
        dev
    }

    fn kept(&self) -> String {
        format!("--state-dir={}", self.path("state").display())
    }

    /// Adds a person to the realm `acme`.
    fn add_person(&self, database_url: &str, username: &str, password: &str) {
        let mut create = Command::new(product("nauthera-auth").unwrap());
        create.args(["user", "create", "--password-stdin", "--username", username]);
        create.args(["--database-url", database_url]);
        create.arg(format!("--issuer=http://localhost:{}/acme", self.port));
        let mut create = create.stdin(std::process::Stdio::piped()).spawn().unwrap();
        writeln!(create.stdin.take().unwrap(), "{password}").unwrap();
        assert!(create.wait().unwrap().success());
    }

    /// The auth servers that run for this site, with their arguments.
    fn servers(&self) -> Vec<(Pid, Vec<String>)> {
        let mut servers = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            let arguments: Vec<String> = line.split('\0').map(str::to_owned).collect();
            let is_ours = line.contains(&*self.work.path().to_string_lossy())
                && arguments
                    .first()
                    .is_some_and(|program| program.ends_with("nauthera-auth"));
            let is_ours = is_ours && arguments.get(1).is_some_and(|command| command == "serve");
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(process) = number.and_then(Pid::from_raw).filter(|_| is_ours) {
                servers.push((process, arguments));
            }
        }
        servers
    }

    /// Asks each server by itself.
    fn ask_all(&self, path: &str) -> Vec<(u16, String)> {
        let own = self.servers().into_iter().map(|(_, arguments)| {
            let listens = values(&arguments, "--listen");
            listens.last().unwrap().parse().unwrap()
        });
        own.map(|address| get(address, self.port, path).unwrap_or_default())
            .collect()
    }

    fn sign_in(realm: &str, client: &str, redirect_uri: &str) -> String {
        format!(
            "/{realm}/oauth2/authorize?response_type=code&scope=openid&client_id=default.{client}\
             &redirect_uri={redirect_uri}&{CHALLENGE}"
        )
    }

    /// Waits until both servers answer `path` as `is_right` says.
    fn until(&self, dev: &mut Process, path: &str, is_right: impl Fn(u16, &str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answers = self.ask_all(path);
            if answers.len() == 2 && answers.iter().all(|(status, body)| is_right(*status, body)) {
                return;
            }
            dev.expect_running().unwrap();
            assert!(Instant::now() < deadline, "{path}: {answers:?}\n{}", dev.output());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for (process, _) in self.servers() {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: auth.nauthera.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

fn client(name: &str, redirect_uri: &str) -> String {
    let spec = format!("{{realmRef: {{name: acme}}, type: Public, redirectUris: ['{redirect_uri}']}}");
    object("Client", name, &spec)
}

fn values<'a>(arguments: &'a [String], flag: &str) -> Vec<&'a String> {
    let pairs = arguments.iter().zip(arguments.iter().skip(1));
    pairs
        .filter(|(name, _)| *name == flag)
        .map(|(_, value)| value)
        .collect()
}

fn get(address: SocketAddr, port: u16, path: &str) -> Option<(u16, String)> {
    request(address, port, &format!("GET {path}"), "", "")
}

/// A browser's request: method and path, cookies, and a form.
fn request(server: SocketAddr, port: u16, line: &str, cookies: &str, form: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\nCookie: {cookies}\r\n\
         Sec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

/// The cookies that answers set, as they are sent back; later ones win.
fn cookies(answers: &[&str]) -> String {
    let set = answers.iter().flat_map(|answer| answer.lines());
    let set = set.filter_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next()?.split_once('='));
    let jar: BTreeMap<&str, &str> = set.collect();
    let pairs: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("; ")
}

/// The value of a hidden field.
fn field<'p>(page: &'p str, name: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    rest.split_once('"').unwrap().0
}

/// Waits until a line after the first `from` bytes holds all of `words`.
fn says(dev: &mut Process, from: usize, words: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    let is_said = |output: &str| {
        let mut lines = output.get(from..).unwrap_or_default().lines();
        lines.any(|line| words.iter().all(|word| line.contains(word)))
    };
    while !is_said(&dev.output()) {
        dev.expect_running().unwrap();
        assert!(
            Instant::now() < deadline,
            "no line with {words:?} in:\n{}",
            dev.output()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

const DISCOVERY: &str = "/acme/.well-known/openid-configuration";

#[test]
fn interrupted_or_terminated_it_leaves_no_process_and_an_ephemeral_run_no_file() {
    for signal in [Signal::INT, Signal::TERM] {
        let site = Site::new();
        let mut dev = site.start(&["--ephemeral"]);
        assert_eq!(site.servers().len(), 2);
        dev.signal(signal).unwrap();
        let status = dev.wait(PATIENCE).unwrap();
        assert!(status.success(), "{status}:\n{}", dev.output());
        assert!(site.servers().is_empty());
        assert_eq!(std::fs::read_dir(site.path("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn a_killed_server_is_replaced() {
    let site = Site::new();
    let mut dev = site.start(&["--ephemeral"]);
    let said = dev.output().len();
    let (victim, _) = site.servers().remove(0);
    kill_process(victim, Signal::KILL).unwrap();
    says(&mut dev, said, &["died (signal: 9", "restarting"]);
    says(
        &mut dev,
        said,
        &["AuthServer default/demo: 2 of 2 ready replicas serve"],
    );
    assert!(site.servers().iter().all(|(process, _)| *process != victim));
}

#[test]
fn a_server_killed_in_the_middle_of_a_login_leaves_the_person_to_the_other() {
    let site = Site::new();
    let _dev = site.start(&["--ephemeral"]);
    let servers = site.servers();
    let own = |at: usize| -> SocketAddr { values(&servers[at].1, "--listen").last().unwrap().parse().unwrap() };
    let (first, second) = (own(0), own(1));
    site.add_person(
        values(&servers[0].1, "--database-url")[0],
        "grace",
        "the nanosecond wire",
    );

    let asked = Site::sign_in("acme", "spa", "http://127.0.0.1:9/callback");
    let (status, page) = get(first, site.port, &asked).unwrap();
    assert_eq!(status, 200, "{page}");
    kill_process(servers[0].0, Signal::KILL).unwrap();

    let form = [
        ("flow", field(&page, "flow")),
        ("csrf", field(&page, "csrf")),
        ("username", "grace"),
        ("password", "the nanosecond wire"),
    ];
    let form = form.map(|(name, value)| format!("{name}={}", value.replace(' ', "+")));
    let form = form.join("&");
    let sent = cookies(&[&page]);
    let (status, answer) = request(second, site.port, "POST /acme/login", &sent, &form).unwrap();
    assert_eq!(status, 303, "{answer}");
    let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let next = location.split_once(&format!("localhost:{}", site.port)).unwrap().1;
    let cookies = cookies(&[&page, &answer]);
    let (status, page) = request(second, site.port, &format!("GET {next}"), &cookies, "").unwrap();
    assert!(
        status == 200 && page.contains("consent-form") && page.contains("grace"),
        "{page}"
    );
}

#[test]
fn servers_outlive_a_killed_operator_boot_from_files_and_are_taken_over() {
    let site = Site::new();
    let mut dev = site.start(&[&site.kept()]);
    dev.kill().unwrap();
    let (victim, arguments) = site.servers().remove(0);
    assert_eq!(get(loopback(site.port), site.port, DISCOVERY).unwrap().0, 200);
    kill_process(victim, Signal::KILL).unwrap();
    let program = Path::new(&arguments[0]).to_owned();
    let flags = arguments[1..].iter().filter(|argument| !argument.is_empty());
    let mut server = Process::start("server by hand", &program, flags, &site.path("by-hand")).unwrap();
    let health: SocketAddr = values(&arguments, "--health-listen")[0].parse().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let ready = loop {
        match get(health, site.port, "/readyz") {
            Some((200, answer)) => break answer,
            _ => assert!(Instant::now() < deadline, "{}", server.output()),
        }
        server.expect_running().unwrap();
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(ready.contains("\"source\":\"mount\""), "{ready}");
    site.until(&mut server, DISCOVERY, |status, _| status == 200);
    let dev = site.start(&[&site.kept()]);
    assert!(
        dev.output().contains("stopped 2 auth server(s) of an earlier run"),
        "{}",
        dev.output()
    );
    assert_eq!(site.servers().len(), 2);
}

#[test]
fn what_keeps_it_from_starting_is_one_line() {
    let site = Site::new();
    let check = |keep: &[&str]| {
        let output = site.command(keep).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let taken = TcpListener::bind(loopback(site.port)).unwrap();
    assert!(check(&["--ephemeral"]).contains(&format!("127.0.0.1:{} is in use", site.port)));
    drop(taken);
    site.write(
        "second.yaml",
        &object("AuthServer", "second", "{database: {embedded: {}}}"),
    );
    let error = check(&["--ephemeral"]);
    assert!(error.contains("default/demo, default/second"), "{error}");
    for name in ["server.yaml", "second.yaml"] {
        std::fs::remove_file(site.path("manifests").join(name)).unwrap();
    }
    assert!(check(&["--ephemeral"]).contains("no AuthServer in"));
    std::fs::remove_dir_all(site.path("manifests")).unwrap();
    let error = check(&["--ephemeral"]);
    assert!(error.contains("cannot read") && error.contains("manifests"), "{error}");
    assert!(site.servers().is_empty());
    assert_eq!(std::fs::read_dir(site.path("tmp")).unwrap().count(), 0);
}

#[test]
fn edits_are_live_on_both_servers_and_said_on_their_object_only() {
    let site = Site::new();
    let mut dev = site.start(&["--ephemeral"]);
    let before: Vec<Pid> = site.servers().into_iter().map(|(process, _)| process).collect();
    let live = "live on every ready replica since generation";
    let callback = "http://127.0.0.1:9/callback";
    let spa = Site::sign_in("acme", "spa", callback);
    site.until(&mut dev, &spa, |status, page| {
        status == 200 && page.contains("sign-in-form")
    });

    // A colour.
    let said = dev.output().len();
    site.write("acme.yaml", &site.realm("acme", "#0a7f2e"));
    site.until(&mut dev, &spa, |_, page| page.contains("#0a7f2e"));
    says(&mut dev, said, &["Realm default/acme: ", live]);
    assert!(!dev.output()[said..].contains("Client"), "{}", &dev.output()[said..]);

    // A redirect URI.
    let said = dev.output().len();
    let moved = Site::sign_in("acme", "shop", "http://127.0.0.1:9/elsewhere");
    site.until(&mut dev, &moved, |status, _| status == 400);
    site.write("shop.yaml", &client("shop", "http://127.0.0.1/elsewhere"));
    site.until(&mut dev, &moved, |status, _| status == 200);
    says(&mut dev, said, &["Client default/shop: ", live]);
    let output = dev.output()[said..].to_owned();
    assert!(!output.contains("Realm") && !output.contains("spa"), "{output}");

    // Not YAML, then a Client that the API server would refuse: what was served stays, then heals.
    for broken in ["kind: [\n", &client("shop", "http://evil.example/#fragment")] {
        let said = dev.output().len();
        site.write("shop.yaml", broken);
        says(&mut dev, said, &["manifests/shop.yaml:"]);
        site.until(&mut dev, &moved, |status, _| status == 200);
    }
    assert!(dev.output().contains("not valid YAML"), "{}", dev.output());
    site.write("shop.yaml", &client("shop", "http://127.0.0.1/healed"));
    let healed = Site::sign_in("acme", "shop", "http://127.0.0.1:9/healed");
    site.until(&mut dev, &healed, |status, _| status == 200);

    // A Realm more, a Client less.
    let said = dev.output().len();
    site.write("globex.yaml", &site.realm("globex", "#7f0a2e"));
    site.until(&mut dev, "/globex/.well-known/openid-configuration", |status, _| {
        status == 200
    });
    says(&mut dev, said, &["Realm default/globex: ", live]);
    std::fs::remove_file(site.path("manifests/spa.yaml")).unwrap();
    site.until(&mut dev, &spa, |status, page| {
        status == 400 && !page.contains("sign-in-form")
    });
    says(&mut dev, said, &["Client default/spa: deleted"]);
    let after: Vec<Pid> = site.servers().into_iter().map(|(process, _)| process).collect();
    assert_eq!(before, after, "a server was restarted");
}
