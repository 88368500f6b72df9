//! Static files of the pages: compiled in, served under a name that contains the hash of their content.

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
    let _ = path;
    None
}
