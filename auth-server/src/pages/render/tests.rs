//! What every page keeps to, checked on its HTML; the browser checks are in `../e2e/relying-parties/pages.mjs`.

use std::time::Duration;

use super::super::{Application, Links, Locale, RealmLook};
use super::*;

const HOSTILE: &str = "\"><script>alert('x')</script>";

/// Every page with the same text in every place that outsiders can fill.
fn pages_with(text: &str, locale: Locale) -> Vec<String> {
    let links = Links {
        help: Some(text.into()),
        privacy: Some(text.into()),
        terms: Some(text.into()),
    };
    let realm = RealmLook::new(text.into(), None, Some(text.into()), links);
    let shared = Shared {
        realm: &realm,
        locale,
        nonce: "bm9uY2U",
        base_path: "/auth",
    };
    let application = Application {
        name: text,
        logo: Some(text),
        policy_uri: Some(text),
        tos_uri: Some(text),
    };
    let hidden = &[("csrf", text), ("flow", text)][..];
    let (action, url) = (text, Some(text));
    let login_with = |identifier, alert| {
        login(
            &shared,
            &LoginView {
                action,
                hidden,
                application: Some(application),
                identifier,
                alert,
            },
        )
    };
    let scopes = &[
        Scope {
            name: text,
            description: None,
            new: true,
        },
        Scope {
            name: "x",
            description: url,
            new: false,
        },
    ];
    let account = text;
    let mut pages = vec![
        login_with(
            Identifier::Ask {
                prefill: text,
                accepts: Accepts::Any,
            },
            Some(LoginAlert::WrongCredentials),
        ),
        login_with(
            Identifier::Fixed {
                account,
                switch_url: url,
            },
            None,
        ),
        consent(
            &shared,
            &ConsentView {
                action,
                hidden,
                application,
                account,
                switch_url: url,
                scopes,
            },
        ),
        choose_account(
            &shared,
            &ChooseAccountView {
                action,
                hidden,
                application: Some(application),
                account,
                display_name: url,
            },
        ),
    ];
    pages.extend(last_pages_with(text, &shared, hidden));
    pages
}

/// The pages where a sign-in or a session ends.
fn last_pages_with(text: &str, shared: &Shared<'_>, hidden: &[(&str, &str)]) -> Vec<String> {
    let (action, url) = (text, Some(text));
    vec![
        logout_confirm(
            shared,
            &LogoutConfirmView {
                action,
                hidden,
                account: url,
                application: url,
                stay_url: url,
            },
        ),
        logged_out(
            shared,
            &LoggedOutView {
                continue_url: url,
                application: url,
            },
        ),
        error(
            shared,
            &ErrorView {
                kind: ErrorKind::RedirectUri,
                error_id: text,
                details: &[(text, text)],
                back: Some(Back::Application { name: text, url: text }),
            },
        ),
        form_post(
            shared,
            &FormPostView {
                action,
                parameters: hidden,
                application: text,
            },
        ),
    ]
}

#[test]
fn hostile_text_is_escaped_everywhere() {
    for locale in Locale::ALL {
        for html in pages_with(HOSTILE, locale) {
            assert!(
                !html.contains("<script>alert") && !html.contains("\"><script"),
                "{html}"
            );
            assert!(
                html.contains("&lt;script&gt;alert") || html.contains("&#60;script&#62;alert"),
                "{html}"
            );
        }
    }
}

#[test]
fn nothing_runs_or_styles_inline_but_with_the_nonce_or_the_hash() {
    for html in pages_with("Ada", Locale::English) {
        assert!(!html.contains(" style=") && !html.contains("javascript:"), "{html}");
        assert!(
            !html
                .split_whitespace()
                .any(|word| word.starts_with("on") && word.contains('=')),
            "{html}"
        );
        for element in ["<style", "<script ", "<link rel=\"stylesheet\""] {
            for start in html.split(element).skip(1) {
                assert!(
                    start
                        .split_once('>')
                        .is_some_and(|(tag, _)| tag.contains("nonce=\"bm9uY2U\"")),
                    "{html}"
                );
            }
        }
        for script in html.split("<script>").skip(1) {
            assert!(script.starts_with(&format!("{FORM_POST_SCRIPT}</script>")), "{html}");
        }
    }
}

#[test]
fn links_never_run_script() {
    for url in [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "java\tscript:x",
    ] {
        for html in pages_with(url, Locale::English) {
            let links = html
                .split("<a ")
                .skip(1)
                .filter(|link| !link.starts_with("id=\"not-you\""));
            for link in links {
                assert!(
                    !link.split('>').next().unwrap_or_default().contains("href=\"java"),
                    "{link}"
                );
                assert!(!link.split('>').next().unwrap_or_default().contains("data:"), "{link}");
            }
        }
    }
    assert_eq!(
        way_back(Some("com.example.app:/signed-out")),
        Some("com.example.app:/signed-out")
    );
    assert_eq!(web_url(Some("com.example.app:/terms")), None);
}

#[test]
fn a_page_is_at_most_12_kib() {
    for locale in Locale::ALL {
        for html in pages_with(&"long ".repeat(12), locale) {
            assert!(html.len() <= 12 * 1024, "{} bytes", html.len());
        }
    }
}

#[test]
fn the_form_carries_the_hidden_pairs_and_the_stable_ids() {
    let [html, ..] = &pages_with("Ada", Locale::English)[..] else {
        panic!("no pages")
    };
    for part in [
        "id=\"sign-in-form\"",
        "method=\"post\"",
        "id=\"username\"",
        "id=\"password\"",
        "id=\"sign-in\"",
        "id=\"error-summary\"",
        "<input type=\"hidden\" name=\"csrf\" value=\"Ada\">",
        "<input type=\"hidden\" name=\"flow\" value=\"Ada\">",
        "<title>Sign in · Ada</title>",
        "<html lang=\"en\" dir=\"ltr\">",
        "autocomplete=\"current-password\"",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
}

#[test]
fn the_typed_identifier_stays_and_the_password_is_never_echoed() {
    let realm = RealmLook::nauthera();
    let shared = Shared {
        realm: &realm,
        locale: Locale::English,
        nonce: "n",
        base_path: "",
    };
    let html = login(
        &shared,
        &LoginView {
            action: "/login",
            hidden: &[],
            application: None,
            identifier: Identifier::Ask {
                prefill: "ada@example.com",
                accepts: Accepts::Email,
            },
            alert: Some(LoginAlert::TooManyAttempts {
                retry_after: Duration::from_secs(290),
            }),
        },
    );
    assert!(html.contains("value=\"ada@example.com\""), "{html}");
    assert!(
        html.contains("Too many attempts. Wait 5 minutes, then try again."),
        "{html}"
    );
    let password = html
        .split("id=\"password\"")
        .nth(1)
        .and_then(|rest| rest.split('>').next());
    assert!(password.is_some_and(|tag| !tag.contains("value=")), "{html}");
}

#[test]
fn new_scopes_are_marked_only_beside_scopes_allowed_earlier() {
    let realm = RealmLook::nauthera();
    let shared = Shared {
        realm: &realm,
        locale: Locale::English,
        nonce: "n",
        base_path: "",
    };
    let marks = |first_new| {
        let scopes = [("openid", first_new), ("email", true)];
        let scopes = scopes.map(|(name, new)| Scope {
            name,
            description: None,
            new,
        });
        let application = Application {
            name: "Grafana",
            logo: None,
            policy_uri: None,
            tos_uri: None,
        };
        let view = ConsentView {
            action: "/consent",
            hidden: &[],
            application,
            account: "ada@example.com",
            switch_url: None,
            scopes: &scopes,
        };
        consent(&shared, &view).matches("class=\"badge\"").count()
    };
    assert_eq!((marks(false), marks(true)), (1, 0));
}
