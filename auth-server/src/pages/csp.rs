//! The Content-Security-Policy of pages.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};

/// The one inline script: it submits the form of the form_post page, and only this exact text may run there.
/// It goes through the prototype because a response parameter named `submit` would hide the form's own method.
pub(super) const FORM_POST_SCRIPT: &str = "HTMLFormElement.prototype.submit.call(document.getElementById('form-post'))";

/// The policy of one page. Styles and scripts load by the response's nonce alone; nothing else loads but pictures.
///
/// There is no `form-action`, because browsers apply it to the redirect that answers a form, which leads to the
/// client. Only the form_post page, whose form itself goes to the client, names that one origin, such as
/// `https://app.example.com`, and runs its one script by hash. An origin that is not plain `scheme://host[:port]`
/// is replaced by `'none'`, which forbids the post.
pub fn csp(nonce: &str, form_post_origin: Option<&str>) -> String {
    static SCRIPT_HASH: LazyLock<String> =
        LazyLock::new(|| STANDARD.encode(digest(&SHA256, FORM_POST_SCRIPT.as_bytes())));
    let (script, form_action) = match form_post_origin {
        None => (format!("'nonce-{nonce}'"), String::new()),
        Some(origin) => {
            let target = if is_origin(origin) { origin } else { "'none'" };
            (format!("'sha256-{}'", *SCRIPT_HASH), format!("; form-action {target}"))
        }
    };
    format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src {script}; img-src 'self' data:; \
         base-uri 'none'; frame-ancestors 'none'{form_action}"
    )
}

/// Holds nothing that could end the directive or widen it.
fn is_origin(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .is_some_and(|host| !host.is_empty() && host.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_may_not_be_framed_and_run_nothing_without_the_nonce() {
        let policy = csp("bm9uY2U", None);
        assert_eq!(
            policy,
            "default-src 'none'; style-src 'nonce-bm9uY2U'; script-src 'nonce-bm9uY2U'; img-src 'self' data:; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        assert!(!policy.contains("unsafe") && !policy.contains("form-action"));
    }

    #[test]
    fn the_form_post_page_may_post_to_the_clients_origin_only() {
        let policy = csp("bm9uY2U", Some("https://app.example.com:8443"));
        assert!(
            policy.ends_with("; form-action https://app.example.com:8443"),
            "{policy}"
        );
        assert!(
            policy.contains("script-src 'sha256-") && !policy.contains("script-src 'nonce"),
            "{policy}"
        );
        assert!(csp("n", Some("http://[::1]:8080")).ends_with("form-action http://[::1]:8080"));
    }

    #[test]
    fn a_hostile_origin_cannot_add_directives() {
        for origin in [
            "https://a; script-src *",
            "https://a b",
            "https://*",
            "*",
            "",
            "https://",
            "javascript:x",
            "https://a,b",
            "https://a/p",
        ] {
            assert!(csp("n", Some(origin)).ends_with("; form-action 'none'"), "{origin}");
        }
    }
}
