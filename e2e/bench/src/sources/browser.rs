//! Browsers reduced to what the protocol sees of them: cookies, one form, and redirects.

use anyhow::{Context as _, Result, ensure};
use oidc::endpoint;

use super::{VERIFIER, authorization_request, basic, get, member, post, query_parameter};
use crate::fleet::REDIRECT_URI;
use crate::load::{Answer, Progress, Source};

/// Cookies by name.
#[derive(Clone, Debug, Default)]
pub struct Cookies(Vec<(String, String)>);

impl Cookies {
    /// One cookie, from the text `name=value`.
    pub fn of(pair: &str) -> Self {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Self(vec![(name.to_owned(), value.to_owned())])
    }

    fn keep(&mut self, answer: &Answer<'_>) -> Result<()> {
        for header in answer
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("set-cookie"))
        {
            let text = std::str::from_utf8(header.value).context("a cookie that is no text")?;
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let (name, value) = pair.split_once('=').context("a cookie without a value")?;
            self.0.retain(|(known, _)| known != name);
            if !attributes.contains("Max-Age=0") {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(())
    }

    fn header(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }
}

/// A person who opens the sign-in page in a fresh browser and signs in with a password.
pub struct SignIn {
    host: String,
    client_id: String,
    username: String,
    password: String,
    cookies: Cookies,
    /// The page's hidden fields, once it is there.
    form: Option<(String, String)>,
}

impl SignIn {
    /// Signs `username` in for `client_id`.
    pub fn new(host: &str, client_id: &str, username: &str, password: &str) -> Self {
        Self {
            host: host.to_owned(),
            client_id: client_id.to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
            cookies: Cookies::default(),
            form: None,
        }
    }

    /// The cookies of the newest sign-in.
    pub fn cookies(&self) -> &Cookies {
        &self.cookies
    }
}

impl Source for SignIn {
    fn write(&mut self, request: &mut Vec<u8>) {
        let Some((flow, csrf)) = &self.form else {
            self.cookies = Cookies::default();
            let query = authorization_request(&self.client_id, "openid");
            let headers = [("sec-fetch-site", "none")];
            request.extend(get(&self.host, &format!("{}?{query}", endpoint::AUTHORIZE), &headers));
            return;
        };
        let cookie = self.cookies.header();
        let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
        let form = [
            ("flow", flow.as_str()),
            ("csrf", csrf.as_str()),
            ("username", &self.username),
            ("password", &self.password),
        ];
        request.extend(post(&self.host, endpoint::LOGIN, &headers, &form));
    }

    fn read(&mut self, answer: &Answer<'_>) -> Result<Progress> {
        self.cookies.keep(answer)?;
        if self.form.take().is_some() {
            answer.expect(303)?;
            return Ok(Progress::Complete);
        }
        answer.expect(200)?;
        let page = std::str::from_utf8(answer.body).context("a page that is no text")?;
        let field = |name| hidden_field(page, name).with_context(|| format!("no field {name} on the page"));
        self.form = Some((field("flow")?, field("csrf")?));
        Ok(Progress::More)
    }
}

/// The value of a hidden field of a page.
fn hidden_field(page: &str, name: &str) -> Option<String> {
    let (before, after) = page.split_once(&format!("name=\"{name}\""))?;
    let element = format!("{} {}", before.rsplit_once('<')?.1, after.split_once('>')?.0);
    let value = element.split_once("value=\"")?.1.split_once('"')?.0;
    Some(value.replace("&#38;", "&").replace("&#61;", "="))
}

/// A person with a live session who is sent from an application to sign on, and the application that redeems the code.
pub struct CodeFlow {
    host: String,
    authorize: String,
    token: String,
    authorization: String,
    cookies: Cookies,
    /// The code, between the two requests.
    code: Option<String>,
    refresh_token: Option<String>,
    access_token: Option<String>,
}

impl CodeFlow {
    /// Signs on to `client_id` with the session in `cookies`.
    pub fn new(host: &str, client_id: &str, scope: &str, cookies: Cookies) -> Self {
        let query = authorization_request(client_id, scope);
        Self {
            host: host.to_owned(),
            authorize: format!("{}?{query}", endpoint::AUTHORIZE),
            token: endpoint::TOKEN.to_owned(),
            authorization: basic(client_id),
            cookies,
            code: None,
            refresh_token: None,
            access_token: None,
        }
    }

    /// The same at other paths.
    #[must_use]
    pub fn at(mut self, authorize: &str, token: &str) -> Self {
        self.authorize = self.authorize.replacen(endpoint::AUTHORIZE, authorize, 1);
        token.clone_into(&mut self.token);
        self
    }

    /// The access token of the newest flow.
    pub fn access_token(&self) -> Option<&str> {
        self.access_token.as_deref()
    }

    /// The refresh token of the newest flow.
    pub fn refresh_token(&self) -> Option<&str> {
        self.refresh_token.as_deref()
    }
}

impl Source for CodeFlow {
    fn write(&mut self, request: &mut Vec<u8>) {
        let Some(code) = &self.code else {
            let cookie = self.cookies.header();
            let headers = [("cookie", cookie.as_str()), ("sec-fetch-site", "cross-site")];
            request.extend(get(&self.host, &self.authorize, &headers));
            return;
        };
        let headers = [("authorization", self.authorization.as_str())];
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        request.extend(post(&self.host, &self.token, &headers, &form));
    }

    fn read(&mut self, answer: &Answer<'_>) -> Result<Progress> {
        if self.code.take().is_none() {
            answer.expect(303)?;
            self.cookies.keep(answer)?;
            let location = answer.header("location").context("a redirect to nowhere")?;
            ensure!(location.starts_with(REDIRECT_URI), "sent to {location}");
            let code = query_parameter(location, "code").with_context(|| format!("no code in {location}"))?;
            self.code = Some(code.to_owned());
            return Ok(Progress::More);
        }
        answer.expect(200)?;
        ensure!(member(answer.body, "id_token").is_some(), "no id_token in the answer");
        self.access_token = member(answer.body, "access_token").map(str::to_owned);
        self.refresh_token = member(answer.body, "refresh_token").map(str::to_owned);
        Ok(Progress::Complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_fields_are_found_on_either_side_of_their_names() {
        let page = r#"<form><input type="hidden" name="flow" value="a&#61;b"><input value="c" name="csrf"></form>"#;
        assert_eq!(hidden_field(page, "flow").as_deref(), Some("a=b"));
        assert_eq!(hidden_field(page, "csrf").as_deref(), Some("c"));
        assert_eq!(hidden_field(page, "user"), None);
    }
}
