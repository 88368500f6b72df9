//! Where the real parts are: paths and addresses from the environment, and free ports.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// The program that the environment variable names; `make test` sets all of them.
pub fn program(variable: &str) -> Result<PathBuf> {
    let path = std::env::var_os(variable)
        .map(PathBuf::from)
        .with_context(|| format!("{variable} is not set: this test needs a real part that `make test` provides"))?;
    ensure!(
        path.is_file(),
        "{variable} names {}, which is not a file",
        path.display()
    );
    Ok(path)
}

/// One of our own binaries, from the same build as the running test or program.
pub fn product(binary: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("the running program has no path")?;
    let folder = own.parent().context("the running program is in no folder")?;
    // A test is target/debug/deps/it-<hash>, a program target/debug/<name>.
    let folder = match folder.parent() {
        Some(target) if folder.ends_with("deps") => target,
        _ => folder,
    };
    let path = folder.join(binary);
    ensure!(
        path.is_file(),
        "{} is not built: run `cargo build --workspace --bins`",
        path.display()
    );
    Ok(path)
}

/// An HTTP client for loopback: no proxy, and patience for a debug build on a loaded machine.
pub fn http_client() -> Result<reqwest::Client> {
    install_cryptography();
    Ok(reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()?)
}

/// Chooses the provider of cryptography that the HTTP client needs, also for plain http.
pub fn install_cryptography() {
    // A second installation in one process is refused, and the first is the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A loopback port that was free a moment ago. For programs that cannot be told to choose one
/// themselves; whoever uses it tries again with another when the start fails.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_part_says_how_to_get_it() {
        let error = program("NAUTHERA_NO_SUCH_PART").unwrap_err().to_string();
        assert!(
            error.contains("NAUTHERA_NO_SUCH_PART") && error.contains("make test"),
            "{error}"
        );
    }

    #[test]
    fn free_ports_can_be_bound() {
        // Another program may take one in between, but not all of them.
        let bound = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, free_port().unwrap())).is_ok();
        assert!((0..20).any(bound));
    }
}
