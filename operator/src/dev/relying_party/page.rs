//! The pages of the demo application: text in, HTML out.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{Registration, Tokens};

pub(super) const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#16181d;--soft:#5b6270;--line:#e2e5ea;--brand:#4338ca;--on:#fff;--note:#eef2ff}\
@media(prefers-color-scheme:dark){:root{--bg:#0f1115;--card:#181b21;--ink:#eceef2;--soft:#a2a9b6;--line:#2b3039;--brand:#a5b4fc;--on:#14162b;--note:#1f2340}}\
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,sans-serif}\
main{max-width:46rem;margin:0 auto;padding:3rem 1.25rem}h1{font-size:1.75rem;line-height:1.2;margin:0 0 .5rem}\
h2{font-size:1rem;margin:0 0 .75rem}p{margin:0 0 1rem;color:var(--soft)}\
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.25rem;margin:1.25rem 0}\
.actions{display:flex;flex-wrap:wrap;gap:.75rem;margin:1.5rem 0}\
.button,button{font:inherit;font-weight:600;border:1px solid var(--brand);border-radius:8px;padding:.6rem 1.1rem;\
background:var(--brand);color:var(--on);text-decoration:none;cursor:pointer}button.plain{background:transparent;color:var(--brand)}\
.button:focus-visible,button:focus-visible{outline:3px solid var(--brand);outline-offset:2px}\
.note{background:var(--note);color:var(--ink);border-radius:8px;padding:.75rem 1rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.35rem 0;border-top:1px solid var(--line)}\
tr:first-child th,tr:first-child td{border-top:0}th{font-weight:500;color:var(--soft);width:11rem;padding-right:1rem}\
td,code{overflow-wrap:anywhere}code{font:.85rem/1.5 ui-monospace,monospace}\
@media(max-width:32rem){th,td{display:block;width:auto;border-top:0;padding:0}td{padding-bottom:.6rem}}";

/// The page before anybody has signed in.
pub(super) fn welcome(registration: &Registration, notice: Option<&str>) -> String {
    let name = escape(&registration.display_name);
    let issuer = escape(&registration.issuer);
    let body = format!(
        "<h1>{name}</h1>{}<p>A demo application. It knows its client id, its secret and one address, \
         <code>{issuer}</code>, and leaves signing in to it.</p>\
         <div class=\"actions\"><a class=\"button\" id=\"sign-in\" href=\"/login\">Sign in</a></div>",
        note(notice)
    );
    document(&registration.display_name, &body)
}

/// The page of a person who has signed in.
pub(super) fn signed_in(registration: &Registration, tokens: &Tokens, notice: Option<&str>) -> String {
    let name = ["name", "preferred_username", "sub"]
        .iter()
        .find_map(|claim| tokens.userinfo.get(*claim)?.as_str());
    let refresh = match tokens.refresh_token {
        Some(_) => "<form method=\"post\" action=\"/refresh\"><button id=\"refresh\">Refresh tokens</button></form>",
        None => "",
    };
    let refreshed = match tokens.refreshed {
        0 => String::new(),
        1 => " Refreshed once.".to_owned(),
        times => format!(" Refreshed {times} times."),
    };
    let body = format!(
        "<h1>Hello, {}</h1>{}<p>You are signed in to {} by <code>{}</code>.{refreshed}</p>\
         <div class=\"actions\">{refresh}<form method=\"post\" action=\"/logout\">\
         <button class=\"plain\" id=\"sign-out\">Sign out</button></form></div>\
         <section><h2>Userinfo</h2>{}</section><section><h2>ID token</h2>{}</section>\
         <section><h2>Access token</h2><code id=\"access-token\">{}</code></section>",
        escape(name.unwrap_or_default()),
        note(notice),
        escape(&registration.display_name),
        escape(&registration.issuer),
        table(&tokens.userinfo, "userinfo"),
        table(&tokens.claims, "id-token"),
        escape(&shortened(&tokens.access_token)),
    );
    document(&registration.display_name, &body)
}

/// The page while the Client of the demo does not exist.
pub(super) fn gone() -> String {
    let body = "<h1>Not registered</h1><p>The Client of this demo is not in the folder, or not accepted. \
                The operator's output says why.</p>";
    document("Demo", body)
}

/// The page of an address that is none.
pub(super) fn not_found() -> String {
    document(
        "Not found",
        "<h1>Not found</h1><p><a href=\"/\">Back to the start</a></p>",
    )
}

fn note(notice: Option<&str>) -> String {
    notice
        .map(|text| format!("<p class=\"note\" role=\"status\">{}</p>", escape(text)))
        .unwrap_or_default()
}

fn table(claims: &Map<String, Value>, id: &str) -> String {
    let mut rows = String::new();
    for (name, value) in claims {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        };
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
            escape(name),
            escape(&text)
        );
    }
    format!("<table id=\"{id}\">{rows}</table>")
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

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{}</title>\
         <link rel=\"stylesheet\" href=\"/style.css\"></head><body><main>{body}</main></body></html>",
        escape(title)
    )
}

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
        let claims = serde_json::json!({"<b>": "<script>alert('x')</script>"});
        let html = table(claims.as_object().unwrap(), "x");
        assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
    }
}
