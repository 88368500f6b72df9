//! A database connection from a folder with one file for each part, as Kubernetes mounts a Secret.

use std::fmt::Write as _;
use std::path::Path;

use url::form_urlencoded::byte_serialize;

/// Files that hold the whole connection.
const WHOLE: [&str; 3] = ["uri", "dsn", "url"];

/// The URL that the folder spells: one file with all of it, else one made of the parts. Several hosts, and as many ports,
/// are separated by commas.
pub(super) fn url_of_folder(folder: &Path) -> Result<String, String> {
    let read = |names: &[&str]| names.iter().find_map(|name| part(folder, name));
    if let Some(url) = read(&WHOLE) {
        return Ok(url);
    }
    let mut missing = Vec::new();
    let mut needed = |names: &[&'static str]| {
        let value = read(names);
        if value.is_none() {
            missing.extend(names.first().copied());
        }
        value.unwrap_or_default()
    };
    let (hosts, database) = (needed(&["host"]), needed(&["dbname", "database"]));
    let (user, password) = (needed(&["user", "username"]), needed(&["password"]));
    if !missing.is_empty() {
        return Err(format!(
            "--database-dir {}: has neither the file uri nor {}",
            folder.display(),
            missing.join(", ")
        ));
    }
    let ports = read(&["port"]).unwrap_or_else(|| "5432".to_owned());
    let query = read(&["sslmode"]).map(|mode| format!("?sslmode={}", encoded(&mode)));
    Ok(format!(
        "postgres://{}:{}@{}/{}{}",
        encoded(&user),
        encoded(&password),
        authorities(&hosts, &ports),
        encoded(&database),
        query.unwrap_or_default()
    ))
}

/// The URL with these authorities for the database's certificate; verified in full unless the URL says otherwise.
pub(super) fn with_authorities(url: &str, file: &Path) -> String {
    if !url.starts_with("postgres") {
        return url.to_owned();
    }
    let mut result = url.to_owned();
    let mut add = |name: &str, value: &str| {
        let is_said = url
            .split_once('?')
            .is_some_and(|(_, query)| query.split('&').any(|pair| pair.split('=').next() == Some(name)));
        if !is_said {
            let separator = if result.contains('?') { '&' } else { '?' };
            let _ = write!(result, "{separator}{name}={}", encoded(value));
        }
    };
    add("sslmode", "verify-full");
    add("sslrootcert", &file.display().to_string());
    result
}

fn authorities(hosts: &str, ports: &str) -> String {
    let ports: Vec<&str> = ports.split(',').map(str::trim).collect();
    let with_port = |(index, host): (usize, &str)| {
        let port = ports.get(index).or(ports.last()).copied().unwrap_or("5432");
        let host = host.trim();
        if host.contains(':') && !host.starts_with('[') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    };
    hosts
        .split(',')
        .enumerate()
        .map(with_port)
        .collect::<Vec<_>>()
        .join(",")
}

fn part(folder: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(name)).ok()?;
    let text = text.trim_end_matches(['\r', '\n']);
    (!text.is_empty()).then(|| text.to_owned())
}

/// For any place of a URL: `+` would be taken for itself before the question mark.
fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: Result<&str, &str>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let found = url_of_folder(folder.path());
        match expected {
            Ok(url) => assert_eq!(found.as_deref(), Ok(url)),
            Err(part) => assert!(found.as_ref().is_err_and(|error| error.ends_with(part)), "{found:?}"),
        }
    }

    #[test]
    fn one_file_may_say_it_all() {
        check(
            &[("uri", "postgresql://a:b@c/d\n"), ("host", "x")],
            Ok("postgresql://a:b@c/d"),
        );
        check(&[("dsn", "postgres://a:b@c/d")], Ok("postgres://a:b@c/d"));
    }

    #[test]
    fn the_parts_that_cloudnativepg_writes_make_a_url() {
        check(
            &[
                ("host", "db-rw"),
                ("port", "5433"),
                ("dbname", "app"),
                ("user", "app"),
                ("username", "app"),
                ("password", "p@ss/w rd+?"),
            ],
            Ok("postgres://app:p%40ss%2Fw%20rd%2B%3F@db-rw:5433/app"),
        );
        check(
            &[
                ("host", "a, b"),
                ("database", "d"),
                ("username", "u"),
                ("password", "p"),
                ("sslmode", "verify-full"),
            ],
            Ok("postgres://u:p@a:5432,b:5432/d?sslmode=verify-full"),
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        check(&[], Err("has neither the file uri nor host, dbname, user, password"));
        check(&[("host", "a"), ("user", "u"), ("dbname", "d")], Err("nor password"));
    }

    #[test]
    fn authorities_turn_verification_on() {
        let ca = Path::new("/etc/nauthera/database-ca/ca.crt");
        let file = "sslrootcert=%2Fetc%2Fnauthera%2Fdatabase-ca%2Fca.crt";
        for (url, expected) in [
            (
                "postgres://a@b/c",
                format!("postgres://a@b/c?sslmode=verify-full&{file}"),
            ),
            (
                "postgres://a@b/c?sslmode=disable",
                format!("postgres://a@b/c?sslmode=disable&{file}"),
            ),
            (
                "postgres://a@b/c?x=y",
                format!("postgres://a@b/c?x=y&sslmode=verify-full&{file}"),
            ),
            ("sqlite:///x", "sqlite:///x".to_owned()),
        ] {
            assert_eq!(with_authorities(url, ca), expected);
        }
    }
}
