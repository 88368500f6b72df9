//! The program itself: settings, people, migrations, and what it writes to its log.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use oidc::testing;
use reqwest::Method;

use crate::browser::Browser;
use crate::database;
use crate::flow::{VERIFIER, authorize, basic, sign_in_at};
use crate::server::{ADA, TestFleet, client};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nauthera-auth"));
    command.args(arguments).env_clear();
    command
}

/// Runs to the end: whether it succeeded, and what it wrote.
fn run(arguments: &[&str], input: &str) -> (bool, String, String) {
    let mut command = program(arguments);
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // A program that refuses its arguments does not wait for input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn serve_lists_every_wrong_setting_at_once() {
    let (ok, _, errors) = run(
        &[
            "serve",
            "--listen",
            "here",
            "--fleet",
            "demo",
            "--max-staleness",
            "soon",
            "--database-url",
            "mysql://root:hunter2@host/db",
        ],
        "",
    );
    assert!(!ok);
    for flag in [
        "--listen",
        "--fleet",
        "--max-staleness",
        "--database-url",
        "--config-dir",
    ] {
        assert!(errors.contains(flag), "{flag}: {errors}");
    }
    assert!(
        errors.contains("5 setting(s) are wrong") && !errors.contains("hunter2"),
        "{errors}"
    );
}

#[test]
fn people_are_managed_by_the_command_line() {
    let database = database::empty_sqlite();
    let url = database.url.as_str();
    let (ok, said, errors) = run(&["migrate", "--database-url", url], "");
    assert!(ok && said.contains('1'), "{said}{errors}");
    let (ok, again, _) = run(&["migrate", "--database-url", url], "");
    assert!(ok && again != said, "{again}");

    let user = |command: &str, more: &[&str], input: &str| {
        let mut arguments = vec!["user", command, "--database-url", url, "--issuer", testing::ISSUER];
        arguments.extend(more);
        run(&arguments, input)
    };
    let bob = ["--username", "bob"];
    let with_password = ["--username", "bob", "--password-stdin", "--email", "bob@example.com"];
    let (ok, id, errors) = user("create", &with_password, "a password of bob\n");
    assert!(ok && id.trim().len() == 36, "{errors}");
    let (ok, _, errors) = user("create", &with_password, "a password of bob\n");
    assert!(!ok && !errors.is_empty(), "the name is taken");
    let (ok, _, errors) = user("create", &["--username", "eve", "--password-stdin"], "short\n");
    assert!(!ok && errors.contains("8 characters"), "{errors}");
    let (ok, _, errors) = user("create", &["--username", "eve"], "");
    assert!(!ok && errors.contains("--password-stdin"), "{errors}");

    let (ok, list, _) = user("list", &["--output", "json"], "");
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert!(ok);
    assert_eq!(
        (&list[0]["username"], &list[0]["id"]),
        (&"bob".into(), &id.trim().into())
    );
    let (_, table, _) = user("list", &[], "");
    assert!(
        table.starts_with("USERNAME") && table.contains("bob@example.com"),
        "{table}"
    );

    let new = ["--username", "bob", "--password-stdin"];
    let (ok, _, errors) = user("set-password", &new, "another password\n");
    assert!(ok, "{errors}");
    assert!(user("delete", &bob, "").0);
    let (ok, _, errors) = user("delete", &bob, "");
    assert!(!ok && !errors.is_empty(), "nobody of that name is left");
    let (_, empty, _) = user("list", &["--output", "json"], "");
    assert_eq!(empty.trim(), "[]");
}

/// A server as a process of its own, which ends with the test.
struct Served {
    child: Child,
    log: std::thread::JoinHandle<String>,
    base: String,
}

impl Served {
    fn start(fleet: &TestFleet) -> Self {
        let folder = fleet.config_dir();
        let mut command = program(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--health-listen",
            "127.0.0.1:0",
            "--fleet",
            "demo/main",
            "--database-url",
            fleet.database_url(),
            "--config-dir",
            folder.to_str().unwrap(),
            "--log-level",
            "trace",
            "--log-format",
            "json",
        ]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        let base = loop {
            let mut line = String::new();
            assert!(errors.read_line(&mut line).unwrap() > 0, "{log}");
            log.push_str(&line);
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
            if entry["message"] == "listening" {
                let addresses = entry["listen"].to_string();
                let port = addresses.split("127.0.0.1:").nth(1).unwrap();
                let port = port.split(|c: char| !c.is_ascii_digit()).next().unwrap();
                break format!("http://127.0.0.1:{port}");
            }
        };
        let log = std::thread::spawn(move || {
            errors.read_to_string(&mut log).unwrap();
            log
        });
        Self { child, log, base }
    }

    /// Ends it as an orchestrator does; its log.
    fn stop(mut self) -> String {
        let id = i32::try_from(self.child.id()).unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        self.log.join().unwrap()
    }
}

#[actix_web::test]
async fn no_secret_reaches_the_log_at_the_finest_level() {
    let fleet = TestFleet::new(database::postgres().await, [testing::client("app")]).await;
    let served = Served::start(&fleet);
    let mut ada = Browser::new(client(), &served.base);
    let secret = testing::secret_of("app");
    let credentials = basic("app", &secret);
    let authorization = format!("Basic {credentials}");
    let headers = [("authorization", authorization.as_str())];
    let mut secrets = vec![ADA.1.to_owned(), secret, credentials.clone(), VERIFIER.to_owned()];

    let page = ada.get(&authorize("app", "openid email", &[])).await;
    secrets.extend([page.field("flow"), page.field("csrf")]);
    let page = crate::flow::sign_in(&mut ada, &page, ADA.0, "a mistyped password").await;
    assert_eq!(page.status, 422, "{}", page.body);
    secrets.push("a mistyped password".to_owned());
    let page = sign_in_at(&mut ada, &authorize("app", "openid email", &[])).await;
    let code = page.location_parameter("code").unwrap();
    secrets.push(code.clone());
    secrets.extend(ada.cookies().values().cloned());
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", testing::REDIRECT_URI),
        ("code_verifier", VERIFIER),
    ];
    let tokens = ada.send(Method::POST, "/oauth2/token", Some(&form), &headers).await;
    let replayed = ada.send(Method::POST, "/oauth2/token", Some(&form), &headers).await;
    assert_eq!((tokens.status, replayed.status), (200, 400));
    for name in ["access_token", "refresh_token", "id_token"] {
        secrets.push(crate::flow::member(&tokens, name));
    }
    let token = crate::flow::member(&tokens, "refresh_token");
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        let form = [("token", token.as_str())];
        assert_eq!(ada.send(Method::POST, path, Some(&form), &headers).await.status, 200);
    }
    let bearer = format!("Bearer {}", crate::flow::member(&tokens, "access_token"));
    ada.send(Method::GET, "/oauth2/userinfo", None, &[("authorization", &bearer)])
        .await;
    let hint = crate::flow::member(&tokens, "id_token");
    ada.get(&format!("/oauth2/end_session?id_token_hint={hint}")).await;
    secrets.push(fleet.database_url().split('@').next().unwrap().to_owned());

    let log = served.stop();
    assert!(log.contains("answered") && log.contains("stopped"), "{log}");
    for secret in secrets.iter().filter(|secret| secret.len() > 12) {
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for line in log.lines() {
            assert!(!line.contains(secret.as_str()) && !line.contains(&encoded), "{line}");
        }
    }
}
