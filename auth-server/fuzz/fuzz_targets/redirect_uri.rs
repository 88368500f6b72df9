//! Redirect URIs: nothing is accepted that an RFC 3986 parser would send to another host than a registered one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oidc::redirect_uri::{is_registered, is_registered_exactly, with_parameters};
use url::Url;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut registered = vec![
        "https://app.example/callback".to_owned(),
        "http://127.0.0.1/callback".to_owned(),
        "http://[::1]:8090/?next=1".to_owned(),
        "http://localhost:5173".to_owned(),
    ];
    let (sent, more) = text.split_once('\n').unwrap_or((text, ""));
    registered.extend(more.lines().map(str::to_owned));
    if is_registered_exactly(&registered, sent) {
        assert!(is_registered(&registered, sent));
    }
    if !is_registered(&registered, sent) {
        return;
    }
    assert!(!sent.contains(['#', '\\', '\r', '\n', ' ', '"']));
    if registered.iter().any(|known| known == sent) {
        return;
    }
    // Not equal, so only the port of a loopback address may differ.
    let sent_url = Url::parse(sent).expect("an accepted redirect URI parses");
    let place = |url: &Url| {
        let tail = (url.path().to_owned(), url.query().map(str::to_owned));
        (url.scheme().to_owned(), url.host_str().map(str::to_owned), tail)
    };
    assert!(matches!(sent_url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")), "{sent}");
    assert!(
        registered.iter().filter_map(|known| Url::parse(known).ok()).any(|known| place(&known) == place(&sent_url)),
        "{sent}"
    );
    let answer = with_parameters(sent, [("code", "a b&c"), ("state", "#\r\n")]);
    let answer = Url::parse(&answer).expect("an answer is a URI");
    assert_eq!((answer.host_str(), answer.port()), (sent_url.host_str(), sent_url.port()));
    assert!(answer.query_pairs().any(|pair| pair == ("code".into(), "a b&c".into())));
});
