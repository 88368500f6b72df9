//! A static answer: serialised once, served many times.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A JSON document with its entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// UTF-8 JSON.
    pub body: Arc<[u8]>,
    /// Strong entity tag with its quotes (RFC 9110 §8.8.3), the same on every replica that serves the same bytes.
    pub etag: Arc<str>,
}

impl Document {
    /// Takes `body` with a tag made from its digest.
    pub fn new(body: Vec<u8>) -> Self {
        let digest = digest::digest(&digest::SHA256, &body);
        let tag = URL_SAFE_NO_PAD.encode(digest.as_ref().get(..16).unwrap_or_default());
        Self {
            body: body.into(),
            etag: format!("\"{tag}\"").into(),
        }
    }
}
