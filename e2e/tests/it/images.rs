//! The images: exactly which files they hold, how large they are, and that they run with nothing else around them.
//!
//! They come from `make images`; the size counts for the profiles `release` and `image`.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};
use e2e::image::Image;
use serde_json::json;

/// What a node has to keep of one image, unpacked.
const MAX_BYTES: u64 = 40_000_000;

/// The images by their short name, with the program in each and what it does without arguments.
const IMAGES: [(&str, &str, &str); 2] = [
    ("operator", "nauthera-operator", "run"),
    ("auth", "nauthera-auth", "serve"),
];

/// Every file and folder; `TRIPLET` is the machine's, such as `x86_64-linux-gnu`, and `LOADER` its dynamic loader.
const CONTENT: &str = "\
-rwxr-xr-x LOADER
-rw-r--r-- etc/group
-rw-r--r-- etc/nsswitch.conf
-rw-r--r-- etc/passwd
-rw-r--r-- etc/ssl/certs/ca-certificates.crt
-rwxr-xr-x lib/TRIPLET/libc.so.6
-rwxr-xr-x lib/TRIPLET/libgcc_s.so.1
-rwxr-xr-x lib/TRIPLET/libm.so.6
-rwxr-xr-x usr/bin/PROGRAM";

/// What only the auth server needs: the operator makes keys without OpenSSL.
const OPENSSL: [&str; 2] = [
    "-rwxr-xr-x lib/TRIPLET/libcrypto.so.3",
    "-rwxr-xr-x lib/TRIPLET/libssl.so.3",
];

#[test]
fn the_images_hold_the_program_and_its_libraries_and_nothing_else() {
    for (name, program, _) in IMAGES {
        let image = Image::open(name).unwrap();
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let mut found: Vec<String> = files(&image)
            .unwrap()
            .iter()
            .map(|line| line.replace(&triplet, "TRIPLET").replace(program, "PROGRAM"))
            .map(|line| without_loader(&line))
            .collect();
        let path = |line: &str| line.split_once(' ').map(|(_, path)| path.to_owned());
        found.sort_by_key(|line| path(line));
        let mut expected: Vec<&str> = CONTENT.lines().collect();
        if name == "auth" {
            expected.extend(OPENSSL);
        }
        expected.sort_by_key(|line| path(line));
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_images_stay_below_forty_megabytes() {
    for (name, ..) in IMAGES {
        let bytes = bytes(&Image::open(name).unwrap()).unwrap();
        assert!(
            bytes <= MAX_BYTES,
            "{name}: {bytes} bytes of files (was it packed with the profile debug?)"
        );
    }
}

#[test]
fn the_images_run_as_a_user_without_rights_and_have_no_shell() {
    for (name, program, command) in IMAGES {
        let image = Image::open(name).unwrap();
        let expected = json!({
            "User": "65532:65532",
            "Env": environment(name),
            "Entrypoint": [format!("/usr/bin/{program}")],
            "Cmd": [command],
        });
        let mut config = image.config["config"].clone();
        // Which tool packed it.
        config.as_object_mut().unwrap().remove("Labels");
        assert_eq!(config, expected, "{name}");
        assert_eq!(image.config["history"][0]["created"], "1970-01-01T00:00:00Z", "{name}");
        let users = std::fs::read_to_string(image.root().join("etc/passwd")).unwrap();
        assert_eq!(users, "nauthera:x:65532:65532:nauthera:/:/usr/bin/false\n", "{name}");
    }
}

#[test]
fn the_programs_start_from_nothing_but_their_image() {
    for (name, program, _) in IMAGES {
        let image = Image::open(name).unwrap();
        let output = run(&image, &format!("/usr/bin/{program}"), "--version").unwrap();
        assert!(output.starts_with(program), "{name}: {output}");
    }
}

/// What the image gives to its program.
fn environment(name: &str) -> Vec<&'static str> {
    match name {
        "operator" => vec!["PATH=/usr/bin", "MIMALLOC_PURGE_DELAY=0"],
        _ => vec!["PATH=/usr/bin"],
    }
}

/// The path of the loader is part of the machine's calling convention.
fn without_loader(line: &str) -> String {
    match line.split_once(' ') {
        Some((mode, path)) if path.contains("/ld-linux") => format!("{mode} LOADER"),
        _ => line.to_owned(),
    }
}

/// `MODE PATH` of everything but folders, sorted by path.
fn files(image: &Image) -> Result<Vec<String>> {
    let mut paths = walk(image.root())?;
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let inside = path.strip_prefix(image.root())?;
            Ok(format!("{} {}", mode(path)?, inside.display()))
        })
        .collect()
}

fn bytes(image: &Image) -> Result<u64> {
    let files = walk(image.root())?;
    files
        .iter()
        .map(|path| Ok(std::fs::symlink_metadata(path)?.len()))
        .sum()
}

/// Runs a program with this image as the whole file system, as the image's own user.
fn run(image: &Image, program: &str, argument: &str) -> Result<String> {
    // As root for chroot itself; anybody else gets that right in a user namespace.
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("chroot");
        command.arg("--userspec=65532:65532");
        command
    } else {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "chroot"]);
        command
    };
    std::fs::set_permissions(image.root(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let output = command
        .arg(image.root())
        .args([program, argument])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin")
        .output()?;
    ensure!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn walk(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let path = entry.path();
            let inside = walk(&path)?;
            ensure!(!inside.is_empty(), "{} is empty", path.display());
            found.extend(inside);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The permissions as `ls -l` shows them; anything but a plain file without special bits is refused.
fn mode(path: &Path) -> Result<String> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        bail!("{} is no plain file", path.display());
    }
    let bits = metadata.mode();
    ensure!(
        bits & 0o7000 == 0,
        "{} has special permissions {bits:o}",
        path.display()
    );
    let letters = "rwxrwxrwx".chars().rev().enumerate();
    let text: Vec<char> = letters
        .map(|(bit, letter)| if bits >> bit & 1 == 1 { letter } else { '-' })
        .collect();
    Ok(format!("-{}", text.into_iter().rev().collect::<String>()))
}
