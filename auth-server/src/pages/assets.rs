//! Static files of the pages: compiled in, served under a name that contains the hash of their content.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The `Cache-Control` value of every asset: its address changes with its content.
pub const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// One static file.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// The content.
    pub bytes: &'static [u8],
    /// The `Content-Type` value.
    pub content_type: &'static str,
    /// The `ETag` value, quotes included.
    pub etag: &'static str,
}

/// Finds the asset of a path below `{issuer}/assets/`, such as `1f3a…/nauthera.css`. A name with another hash
/// is not found: an old page asks an old server, or gets a clear 404.
pub fn lookup(path: &str) -> Option<Asset> {
    let (hash, name) = path.split_once('/')?;
    let file = File::ALL.into_iter().find(|file| file.name() == name)?;
    let etag = file.etag();
    (etag.trim_matches('"') == hash).then(|| Asset {
        bytes: file.bytes(),
        content_type: file.content_type(),
        etag,
    })
}

/// The paths of all assets, as [`lookup`] takes them.
pub fn paths() -> impl Iterator<Item = String> {
    File::ALL.into_iter().map(File::path)
}

/// The static files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    /// The one stylesheet.
    Stylesheet,
    /// "Show password".
    Script,
    /// Nauthera's mark, for the tab.
    Mark,
}

impl File {
    const ALL: [Self; 3] = [Self::Stylesheet, Self::Script, Self::Mark];

    /// `<hash>/<name>`.
    pub(super) fn path(self) -> String {
        format!("{}/{}", self.etag().trim_matches('"'), self.name())
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Stylesheet => "nauthera.css",
            Self::Script => "nauthera.js",
            Self::Mark => "nauthera.svg",
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Stylesheet => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Mark => "image/svg+xml",
        }
    }

    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Stylesheet => include_bytes!("../../assets/nauthera.css"),
            Self::Script => include_bytes!("../../assets/nauthera.js"),
            Self::Mark => include_bytes!("../../assets/nauthera.svg"),
        }
    }

    fn etag(self) -> &'static str {
        static STYLESHEET: LazyLock<String> = LazyLock::new(|| etag(File::Stylesheet.bytes()));
        static SCRIPT: LazyLock<String> = LazyLock::new(|| etag(File::Script.bytes()));
        static MARK: LazyLock<String> = LazyLock::new(|| etag(File::Mark.bytes()));
        match self {
            Self::Stylesheet => &STYLESHEET,
            Self::Script => &SCRIPT,
            Self::Mark => &MARK,
        }
    }
}

/// The first 128 bits of the SHA-256, in base64url and quotes.
fn etag(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    let (start, _) = hash.as_ref().split_at(16);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_is_found_under_its_own_hash_only() {
        for file in File::ALL {
            let path = file.path();
            let asset = lookup(&path).expect("the asset");
            assert_eq!(asset.bytes, file.bytes());
            assert!(path.starts_with(asset.etag.trim_matches('"')));
            let (hash, name) = path.split_once('/').expect("hash and name");
            assert!(lookup(name).is_none());
            assert!(lookup(&format!("{}/{name}", "0".repeat(hash.len()))).is_none());
            assert!(lookup(&format!("{hash}/../{name}")).is_none());
            assert!(lookup(&format!("{hash}/")).is_none());
        }
        assert_eq!(paths().count(), File::ALL.len());
    }

    #[test]
    fn the_stylesheet_and_the_script_are_small_and_ask_nobody_else() {
        for (file, most) in [(File::Stylesheet, 12 * 1024), (File::Script, 1024), (File::Mark, 1024)] {
            let text = std::str::from_utf8(file.bytes()).expect("text");
            assert!(text.len() <= most, "{} is {} bytes", file.name(), text.len());
            let own = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !own.contains("://") && !own.contains("url(") && !own.contains("@import"),
                "{}",
                file.name()
            );
        }
    }
}
