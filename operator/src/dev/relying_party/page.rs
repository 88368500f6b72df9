//! The pages of the demo application: text in, HTML out.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{Registration, Tokens};

/// The stylesheet of all pages.
pub(super) const STYLE: &str = include_str!("style.css");

/// The page before anybody has signed in.
pub(super) fn welcome(registration: &Registration, notice: Option<&str>) -> String {
    let body = format!(
        "<h1>Welcome</h1><p class=\"lead\">A demo application. It leaves signing in to <code>{}</code>.</p>{}\
         <div class=\"actions\"><a class=\"primary\" id=\"sign-in\" href=\"/login\">Sign in</a></div>",
        escape(&registration.issuer),
        note(notice)
    );
    document(&registration.display_name, "", &body)
}

/// The page of a person who has signed in.
pub(super) fn signed_in(registration: &Registration, tokens: &Tokens, notice: Option<&str>) -> String {
    let name = ["name", "preferred_username", "sub"]
        .iter()
        .find_map(|claim| tokens.userinfo.get(*claim)?.as_str())
        .unwrap_or_default();
    let refresh = match tokens.refresh_token {
        Some(_) => {
            "<form method=\"post\" action=\"/refresh\">\
             <button class=\"primary\" id=\"refresh\">Refresh tokens</button></form>"
        }
        None => "",
    };
    let refreshed = match tokens.refreshed {
        0 => String::new(),
        1 => " Refreshed once.".to_owned(),
        times => format!(" Refreshed {times} times."),
    };
    let body = format!(
        "<div class=\"person\"><span class=\"avatar\" aria-hidden=\"true\">{}</span><div><h1>Hello, {}</h1>\
         <p class=\"lead\">Signed in by <code>{}</code>.{refreshed}</p></div></div>{}\
         <div class=\"actions\">{refresh}<form method=\"post\" action=\"/logout\">\
         <button class=\"secondary\" id=\"sign-out\">Sign out</button></form></div>\
         <section><h2>Userinfo</h2><p>What the issuer says about you now.</p>{}</section>\
         <section><h2>ID token</h2><p>What it said when you signed in.</p>{}</section>\
         <section><h2>Access token</h2><p>Its end, to see that it changes.</p>\
         <dl><div><dt>access_token</dt><dd class=\"code\" id=\"access-token\">{}</dd></div></dl></section>",
        escape(&initial(name)),
        escape(name),
        escape(&registration.issuer),
        note(notice),
        claims(&tokens.userinfo, "userinfo"),
        claims(&tokens.claims, "id-token"),
        escape(&shortened(&tokens.access_token)),
    );
    document(&registration.display_name, "wide", &body)
}

/// The page while the Client of the demo does not exist.
pub(super) fn gone() -> String {
    let body = "<h1>Not registered</h1><p class=\"lead\">The Client of this demo is not in the folder, or not accepted. \
                The operator's output says why.</p>";
    document("Demo", "", body)
}

/// The page of an address that is none.
pub(super) fn not_found() -> String {
    let body = "<h1>Not found</h1><p class=\"lead\"><a href=\"/\">Back to the start</a></p>";
    document("Demo", "", body)
}

fn note(notice: Option<&str>) -> String {
    notice
        .map(|text| format!("<p class=\"note\" role=\"status\">{}</p>", escape(text)))
        .unwrap_or_default()
}

/// Claims with their names; what is a moment (OpenID Connect Core 1.0 §2) is spelled out, too.
fn claims(claims: &Map<String, Value>, id: &str) -> String {
    let mut rows = String::new();
    for (name, value) in claims {
        let (class, text) = match value {
            Value::String(text) => ("", text.clone()),
            Value::Number(number) => (" class=\"code\"", number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => (" class=\"code\"", value.to_string()),
        };
        let _ = write!(
            rows,
            "<div><dt>{}</dt><dd{class}>{}{}</dd></div>",
            escape(name),
            escape(&text),
            moment(name, value)
        );
    }
    format!("<dl id=\"{id}\">{rows}</dl>")
}

fn moment(name: &str, value: &Value) -> String {
    let is_moment = matches!(name, "iat" | "exp" | "nbf" | "auth_time" | "updated_at");
    let seconds = value.as_i64().filter(|_| is_moment);
    let moment = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment
        .map(|moment| {
            format!(
                "<time datetime=\"{moment}\">{}</time>",
                moment.strftime("%-d %B %Y, %H:%M:%S UTC")
            )
        })
        .unwrap_or_default()
}

fn initial(name: &str) -> String {
    name.chars()
        .next()
        .map(|first| first.to_uppercase().to_string())
        .unwrap_or_default()
}

/// Enough of a token to see that it is another one after a refresh.
fn shortened(token: &str) -> String {
    let end: String = token
        .chars()
        .rev()
        .take(24)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    format!("…{end}")
}

fn document(application: &str, class: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{name}</title>\
         <link rel=\"icon\" href=\"/icon.svg\"><link rel=\"stylesheet\" href=\"/style.css\"></head>\
         <body><main class=\"{class}\"><div class=\"application\"><span class=\"picture\" aria-hidden=\"true\">{}</span>\
         <span>{name}</span></div>{body}</main></body></html>",
        escape(&initial(application)),
        name = escape(application)
    )
}

/// The picture in the browser's tab.
pub(super) const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 40 40\">\
    <rect width=\"40\" height=\"40\" rx=\"11\" fill=\"#0b5c68\"/><circle cx=\"20\" cy=\"20\" r=\"8\" fill=\"#fff\"/></svg>";

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_cannot_bring_markup_into_a_page() {
        let evil = serde_json::json!({"<b>": "<script>alert('x')</script>"});
        let html = claims(evil.as_object().unwrap(), "x");
        assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
    }

    #[test]
    fn moments_are_spelled_out_beside_their_number() {
        let token = serde_json::json!({"exp": 1_800_000_000, "level": 1_800_000_000});
        let html = claims(token.as_object().unwrap(), "x");
        assert_eq!(html.matches("15 January 2027, 08:00:00 UTC").count(), 1, "{html}");
    }
}
