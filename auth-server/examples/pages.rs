//! Renders every page in every language and state into a folder, for the checks in `../e2e/relying-parties/pages.mjs` and for the eye.
//!
//! Usage: `cargo run -p auth-server --example pages -- DIR`. Writes one HTML file per case, the assets below
//! `auth/assets/`, and `index.json`: the cases with their Content-Security-Policy.

use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use auth_server::pages::{
    self, Accepts, Application, Back, ChooseAccountView, ConsentView, ErrorKind, ErrorView, FormPostView, Identifier,
    Links, Locale, LoggedOutView, LoginAlert, LoginView, LogoutConfirmView, RealmLook, Scope, Shared, assets, csp,
};

const NONCE: &str = "ZXhhbXBsZS1ub25jZQ";
const CLIENT_ORIGIN: &str = "https://grafana.example.org";
const HIDDEN: &[(&str, &str)] = &[
    ("csrf", "lbnZ0aW9uIG9mIHRva2Vucw"),
    ("flow", "c2VhbGVkLXN0YXRlLW9mLXRoZS1sb2dpbg"),
];
const LONG_NAME: &str = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft für \
                         internationale Zusammenarbeit und regionale Entwicklung";
const LONG_ACCOUNT: &str = "maximiliane.wolfeschlegelsteinhausenbergerdorff@verwaltung.bundesanstalt.example.com";
const HOSTILE: &str = "\"><script>alert(1)</script>";

fn main() -> Result<()> {
    let dir = env::args().nth(1).context("usage: pages DIR")?;
    let dir = Path::new(&dir);
    let mut index = Vec::new();
    for locale in Locale::ALL {
        for (name, html) in cases(locale) {
            let file = format!("{name}.{locale}.html");
            fs::create_dir_all(dir)?;
            fs::write(dir.join(&file), html)?;
            let origin = name.starts_with("form-post").then_some(CLIENT_ORIGIN);
            index.push(
                serde_json::json!({ "file": file, "name": name, "locale": locale.tag(), "csp": csp(NONCE, origin) }),
            );
        }
    }
    for path in assets::paths() {
        let asset = assets::lookup(&path).context("an asset under its own path")?;
        let file = dir.join("auth/assets").join(&path);
        fs::create_dir_all(file.parent().context("a folder")?)?;
        fs::write(file, asset.bytes)?;
    }
    fs::write(dir.join("index.json"), serde_json::to_vec_pretty(&index)?)?;
    Ok(())
}

/// The name and the HTML of every case in one language.
fn cases(locale: Locale) -> Vec<(String, String)> {
    let links = Links {
        help: Some("mailto:help@example.com".to_owned()),
        privacy: Some("https://example.com/privacy".to_owned()),
        terms: Some("https://example.com/terms".to_owned()),
    };
    let acme = RealmLook::new("Acme".to_owned(), None, None, links.clone());
    let long = RealmLook::new(LONG_NAME.to_owned(), Some([0xff, 0xcc, 0x00]), None, links);
    let hostile = RealmLook::new(HOSTILE.to_owned(), Some([0x6d, 0x28, 0xd9]), None, Links::default());
    let nobody = RealmLook::nauthera();
    let shared = |realm| Shared {
        realm,
        locale,
        nonce: NONCE,
        base_path: "/auth",
    };

    let mut cases = Vec::new();
    for (suffix, look, name, account) in [
        ("", &acme, "Grafana", "ada@example.com"),
        ("-long", &long, LONG_NAME, LONG_ACCOUNT),
        ("-hostile", &hostile, HOSTILE, HOSTILE),
    ] {
        let first = plain_cases(&shared(look), name, account);
        for (page, html) in first.into_iter().chain(last_cases(&shared(look), name, account)) {
            cases.push((format!("{page}{suffix}"), html));
        }
    }
    cases.extend(failed_sign_ins(&shared(&acme)));
    cases.extend(errors(&shared(&acme), &shared(&nobody)));
    cases
}

fn plain_cases(shared: &Shared<'_>, name: &str, account: &str) -> Vec<(&'static str, String)> {
    let application = Application {
        name,
        logo: None,
        policy_uri: Some("https://grafana.example.org/privacy"),
        tos_uri: Some("https://grafana.example.org/terms"),
    };
    let ask = Identifier::Ask {
        prefill: "",
        accepts: Accepts::UsernameOrEmail,
    };
    let login = |identifier| LoginView {
        action: "/auth/login",
        hidden: HIDDEN,
        application: Some(application),
        identifier,
        alert: None,
    };
    let fixed = Identifier::Fixed {
        account,
        switch_url: Some("/auth/login?switch=1"),
    };
    let scope = |name, new| Scope {
        name,
        description: None,
        new,
    };
    let scopes = [
        scope("openid", false),
        scope("profile", false),
        scope("email", false),
        scope("offline_access", true),
        Scope {
            name: "dashboards:write",
            description: Some("Change the dashboards of your teams"),
            new: true,
        },
        scope(name, true),
    ];
    vec![
        ("login", pages::login(shared, &login(ask))),
        ("login-again", pages::login(shared, &login(fixed))),
        ("consent", {
            let scopes = scopes.get(..if name == "Grafana" { 5 } else { 6 }).unwrap_or(&scopes);
            let switch_url = Some("/auth/login?switch=1");
            let view = ConsentView {
                action: "/auth/consent",
                hidden: HIDDEN,
                application,
                account,
                switch_url,
                scopes,
            };
            pages::consent(shared, &view)
        }),
        ("choose-account", {
            let (application, display_name) = (Some(application), Some("Ada Lovelace"));
            let action = "/auth/login";
            pages::choose_account(
                shared,
                &ChooseAccountView {
                    action,
                    hidden: HIDDEN,
                    application,
                    account,
                    display_name,
                },
            )
        }),
    ]
}

fn last_cases(shared: &Shared<'_>, name: &str, account: &str) -> Vec<(&'static str, String)> {
    vec![
        ("logout", {
            let (account, application, stay_url) = (Some(account), Some(name), Some("/auth/"));
            let action = "/auth/logout";
            pages::logout_confirm(
                shared,
                &LogoutConfirmView {
                    action,
                    hidden: HIDDEN,
                    account,
                    application,
                    stay_url,
                },
            )
        }),
        ("logged-out", {
            let continue_url = Some("https://grafana.example.org/");
            pages::logged_out(
                shared,
                &LoggedOutView {
                    continue_url,
                    application: Some(name),
                },
            )
        }),
        ("form-post", {
            let parameters = &[
                ("code", "SplxlOBeZQQYbYS6WxSbIA"),
                ("state", HOSTILE),
                ("submit", "hides the method"),
            ];
            let action = "https://grafana.example.org/callback";
            pages::form_post(
                shared,
                &FormPostView {
                    action,
                    parameters,
                    application: name,
                },
            )
        }),
    ]
}

fn failed_sign_ins(shared: &Shared<'_>) -> Vec<(String, String)> {
    let wait = Duration::from_secs(290);
    [
        ("login-wrong", "ada@example.com", LoginAlert::WrongCredentials),
        ("login-no-identifier", "", LoginAlert::MissingIdentifier),
        ("login-no-password", "ada@example.com", LoginAlert::MissingPassword),
        ("login-expired", "ada@example.com", LoginAlert::Expired),
        (
            "login-too-many",
            "ada@example.com",
            LoginAlert::TooManyAttempts { retry_after: wait },
        ),
    ]
    .map(|(name, prefill, alert)| {
        let identifier = Identifier::Ask {
            prefill,
            accepts: Accepts::UsernameOrEmail,
        };
        let view = LoginView {
            action: "/auth/login",
            hidden: HIDDEN,
            application: None,
            identifier,
            alert: Some(alert),
        };
        (name.to_owned(), pages::login(shared, &view))
    })
    .to_vec()
}

fn errors(realm: &Shared<'_>, nobody: &Shared<'_>) -> Vec<(String, String)> {
    let details = [
        ("client_id", "team-a.grafana"),
        (
            "redirect_uri",
            "https://grafana.example.org.evil.example/login/generic_oauth",
        ),
    ];
    let again = Some(Back::TryAgain {
        url: "/auth/oauth2/authorize?client_id=grafana",
    });
    let start = Some(Back::StartAgain {
        url: "/auth/oauth2/authorize?client_id=grafana",
    });
    let application = Some(Back::Application {
        name: "Grafana",
        url: "https://grafana.example.org/",
    });
    let wait = Duration::from_secs(30);
    [
        (
            "error-redirect-uri",
            realm,
            ErrorKind::RedirectUri,
            details.as_slice(),
            None,
        ),
        (
            "error-unknown-client",
            realm,
            ErrorKind::UnknownClient,
            details.get(..1).unwrap_or_default(),
            None,
        ),
        (
            "error-invalid-request",
            realm,
            ErrorKind::InvalidRequest,
            &[("error", "invalid_request")],
            None,
        ),
        ("error-expired", realm, ErrorKind::Expired, &[], start),
        ("error-cookies", realm, ErrorKind::CookiesRequired, &[], start),
        ("error-access-denied", realm, ErrorKind::AccessDenied, &[], application),
        ("error-not-found", nobody, ErrorKind::NotFound, &[], None),
        (
            "error-too-many",
            realm,
            ErrorKind::TooManyRequests { retry_after: wait },
            &[],
            again,
        ),
        ("error-unavailable", realm, ErrorKind::Unavailable, &[], again),
        ("error-internal", realm, ErrorKind::Internal, &[], again),
    ]
    .map(|(name, shared, kind, details, back)| {
        let view = ErrorView {
            kind,
            error_id: "01jd6k3v9q",
            details,
            back,
        };
        (name.to_owned(), pages::error(shared, &view))
    })
    .to_vec()
}
