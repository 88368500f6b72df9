//! What people and probes are told while something that a server needs is not there yet.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::database;

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nauthera-auth"));
    command.env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn probes_are_answered_while_the_database_is_waited_for() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (health, nobody) = (free().to_string(), free());
    let folder = tempfile::tempdir().unwrap();
    let _server = Killed(
        program()
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--fleet",
                "a/b",
                "--health-listen",
                &health,
            ])
            .args(["--database-url", &format!("postgres://u:p@{nobody}/d"), "--config-dir"])
            .arg(folder.path())
            .spawn()
            .unwrap(),
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    let client = crate::server::client();
    let report = loop {
        let answer = client.get(format!("http://{health}/readyz")).send().await;
        if let Ok(answer) = answer {
            assert_eq!(answer.status(), 503);
            break answer.text().await.unwrap();
        }
        assert!(Instant::now() < deadline, "no probe was answered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(report.contains("the database schema was not checked yet"), "{report}");
    let live = client.get(format!("http://{health}/livez")).send().await.unwrap();
    assert_eq!(live.status(), 200);
}

#[test]
fn a_person_is_not_added_to_a_database_that_was_never_migrated() {
    let database = database::empty_sqlite();
    let mut create = program()
        .args([
            "user",
            "create",
            "--issuer",
            "https://id.example",
            "--username",
            "ada",
            "--password-stdin",
        ])
        .args(["--database-url", &database.url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may end before it reads.
    let _ = create.stdin.take().unwrap().write_all(b"correct horse\n");
    let output = create.wait_with_output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("run `nauthera-auth migrate`"), "{said}");
}

#[test]
fn a_server_that_lacks_a_migration_ends_with_a_code_of_its_own() {
    let (database, folder) = (database::empty_sqlite(), tempfile::tempdir().unwrap());
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("uri"), &database.url).unwrap();
    let output = program()
        .args(["serve", "--fleet", "demo/main", "--listen", "127.0.0.1:0"])
        .args(["--health-listen", "127.0.0.1:0", "--config-dir"])
        .arg(folder.path())
        .arg("--database-dir")
        .arg(secret.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.ends_with("run `nauthera-auth migrate`\n"), "{said}");
}
