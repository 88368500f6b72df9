//! Redirect URIs: which of them are a client's, and how an answer is attached to one.
//!
//! Comparison is exact, character by character (RFC 9700 §4.1.3). The one exception is the port of loopback addresses,
//! which native applications only learn when they listen (RFC 8252 §7.3).

/// Bytes of a redirect URI that are looked at.
const MAX_BYTES: usize = 2048;

/// What loopback redirect URIs begin with, up to the port. `localhost` counts when it is registered as such.
const LOOPBACK: [&str; 3] = ["http://127.0.0.1", "http://[::1]", "http://localhost"];

/// Whether `sent` is one of the `registered` redirect URIs.
pub fn is_registered(registered: &[String], sent: &str) -> bool {
    is_safe(sent)
        && registered
            .iter()
            .any(|known| known == sent || differs_in_port_only(known, sent))
}

/// Whether `sent` is one of the `registered` post-logout redirect URIs. No exception is made for ports
/// (OpenID Connect RP-Initiated Logout 1.0 §3.1).
pub fn is_registered_exactly(registered: &[String], sent: &str) -> bool {
    is_safe(sent) && registered.iter().any(|known| known == sent)
}

/// `uri` with `parameters` added to its query, which is kept (RFC 6749 §3.1.2).
pub fn with_parameters<'a>(uri: &str, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        query.append_pair(name, value);
    }
    let query = query.finish();
    let separator = match uri.split_once('?') {
        _ if query.is_empty() => "",
        None => "?",
        Some((_, before)) if before.is_empty() || before.ends_with('&') => "",
        Some(_) => "&",
    };
    [uri, separator, &query].concat()
}

/// Printable ASCII without fragment and without user information, whatever may be registered.
fn is_safe(uri: &str) -> bool {
    let authority = uri
        .split_once("://")
        .map(|(_, rest)| rest.split(['/', '?', '\\']).next().unwrap_or_default());
    uri.len() <= MAX_BYTES
        && uri
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\' | b'"' | b'<' | b'>'))
        && authority.is_none_or(|authority| !authority.contains('@'))
}

fn differs_in_port_only(known: &str, sent: &str) -> bool {
    LOOPBACK.iter().any(|host| {
        match (
            known.strip_prefix(host).and_then(without_port),
            sent.strip_prefix(host).and_then(without_port),
        ) {
            (Some(known), Some(sent)) => known == sent,
            (None, _) | (_, None) => false,
        }
    })
}

/// What follows the host and an optional port; `None` when the host goes on, or the port is none.
fn without_port(rest: &str) -> Option<&str> {
    let Some(rest) = rest.strip_prefix(':') else {
        return (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest);
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (port, rest) = rest.split_at_checked(end)?;
    let canonical = !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && port.parse::<u16>().is_ok()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REGISTERED: [&str; 7] = [
        "https://app.example/cb",
        "https://app.example/cb?tenant=1",
        "https://app.example:8443/cb",
        "http://127.0.0.1/cb",
        "http://[::1]:4000/cb",
        "http://localhost:3000",
        "com.example.app:/oauth",
    ];

    fn registered() -> Vec<String> {
        REGISTERED.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn registered_uris_match_exactly() {
        for uri in REGISTERED {
            assert!(is_registered(&registered(), uri), "{uri}");
        }
    }

    #[test]
    fn only_the_port_of_loopback_addresses_may_differ() {
        for uri in [
            "http://127.0.0.1:1/cb",
            "http://127.0.0.1:65535/cb",
            "http://[::1]/cb",
            "http://[::1]:9/cb",
            "http://localhost",
            "http://localhost:8080",
        ] {
            assert!(is_registered(&registered(), uri), "{uri}");
            assert!(!is_registered_exactly(&registered(), uri), "{uri}");
        }
    }

    #[test]
    fn hostile_redirect_uris_are_refused() {
        for uri in [
            "",
            "https://app.example",
            "https://app.example/",
            "https://app.example/cb/",
            "https://app.example/cb#",
            "https://app.example/cb#x",
            "https://app.example/cb?",
            "https://app.example/cb?tenant=1&x=2",
            "https://app.example/cb?tenant=2",
            "https://app.example/CB",
            "https://app.example/c%62",
            "https://app.example//cb",
            "https://app.example/./cb",
            "https://app.example/x/../cb",
            "https://app.example:443/cb",
            "https://app.example:8444/cb",
            "https://APP.example/cb",
            "https://app.example./cb",
            "https://app.example.evil.example/cb",
            "https://evil.example/cb",
            "https://app.example@evil.example/cb",
            "https://app.example\\@evil.example/cb",
            "https://evil.example/https://app.example/cb",
            "http://app.example/cb",
            "//app.example/cb",
            "/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            " https://app.example/cb",
            "https://app.example/cb ",
            "https://app.example/cb\n",
            "https://app.example/cb\r\nLocation: x",
            "https://app.example/cb\0",
            "https://app.ex\u{00e4}mple/cb",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:00080/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:+80/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:80@evil.example/cb",
            "http://127.0.0.1:80.evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://127.0.0.2/cb",
            "http://127.1/cb",
            "http://2130706433/cb",
            "https://127.0.0.1/cb",
            "http://[::1]evil/cb",
            "http://[::ffff:127.0.0.1]/cb",
            "http://localhost:80/cb",
            "http://localhostevil",
            "http://localhost.evil.example",
            "com.example.app://oauth",
            "com.example.app:/oauth2",
        ] {
            assert!(!is_registered(&registered(), uri), "{uri:?}");
        }
        assert!(!is_registered(
            &["https://app.example/cb#x".into()],
            "https://app.example/cb#x"
        ));
        assert!(!is_registered(
            &["https://u@app.example/".into()],
            "https://u@app.example/"
        ));
    }

    #[test]
    fn an_answer_keeps_the_query_of_the_redirect_uri() {
        for (uri, expected) in [
            ("https://a.example/cb", "https://a.example/cb?code=a+b%26&state=%C3%A9"),
            (
                "https://a.example/cb?x=1",
                "https://a.example/cb?x=1&code=a+b%26&state=%C3%A9",
            ),
            ("https://a.example/cb?", "https://a.example/cb?code=a+b%26&state=%C3%A9"),
            ("com.example:/cb", "com.example:/cb?code=a+b%26&state=%C3%A9"),
        ] {
            assert_eq!(with_parameters(uri, [("code", "a b&"), ("state", "é")]), expected);
        }
        assert_eq!(with_parameters("https://a.example/cb", []), "https://a.example/cb");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_goes_to_a_registered_host_and_path(
            at in 0..REGISTERED.len(),
            position in any::<prop::sample::Index>(),
            noise in "[ -~]{0,12}",
        ) {
            let uri = REGISTERED[at];
            let position = position.index(uri.len() + 1);
            let sent = format!("{}{noise}{}", &uri[..position], &uri[position..]);
            if is_registered(&registered(), &sent) {
                let sent = url::Url::parse(&sent).unwrap();
                let same = |known: &str| {
                    let known = url::Url::parse(known).unwrap();
                    (known.scheme(), known.host(), known.path(), known.query())
                        == (sent.scheme(), sent.host(), sent.path(), sent.query())
                        && sent.username().is_empty()
                };
                prop_assert!(REGISTERED.into_iter().any(same));
            }
        }

        #[test]
        fn any_text_is_compared_without_panic(text in ".{0,80}") {
            let _ = is_registered(&registered(), &text);
        }

        #[test]
        fn parameters_never_leave_the_query(value in ".{0,60}") {
            let target = with_parameters("https://a.example/cb?x=1", [("state", value.as_str())]);
            let parsed = url::Url::parse(&target).unwrap();
            prop_assert_eq!(parsed.host_str(), Some("a.example"));
            prop_assert_eq!(parsed.path(), "/cb");
            prop_assert!(parsed.fragment().is_none());
            prop_assert_eq!(parsed.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned(), value);
        }
    }
}
