//! A browser reduced to what the protocol sees: cookies, forms, and redirects that it does not follow by itself.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};

/// A browser. Cookies are kept by name whatever their attributes: the server is reached without TLS.
#[derive(Clone)]
pub(crate) struct Browser {
    base: String,
    host: String,
    cookies: BTreeMap<String, String>,
    http: reqwest::Client,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Browser {
    pub(crate) fn new(http: reqwest::Client, base: &str) -> Self {
        Self {
            base: base.to_owned(),
            host: "id.example".to_owned(),
            cookies: BTreeMap::new(),
            http,
        }
    }

    /// The same browser, talking to another server from now on.
    pub(crate) fn at(mut self, base: &str) -> Self {
        base.clone_into(&mut self.base);
        self
    }

    /// The same browser, asking for another host.
    pub(crate) fn on_host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The cookies by name.
    pub(crate) fn cookies(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.cookies
    }

    /// GET of a path, or of an absolute URL below the issuer.
    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, None, &[("sec-fetch-site", "none")]).await
    }

    /// POST of a form from one of our own pages.
    pub(crate) async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Page {
        self.send(Method::POST, path, Some(form), &[("sec-fetch-site", "same-origin")])
            .await
    }

    /// Any request.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        form: Option<&[(&str, &str)]>,
        headers: &[(&str, &str)],
    ) -> Page {
        let path = path.strip_prefix("https://id.example").unwrap_or(path);
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .header("host", &self.host);
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(form) = form {
            request = request.form(form);
        }
        let response = request.send().await.unwrap();
        self.keep_cookies(&response);
        Page::read(response).await
    }

    fn keep_cookies(&mut self, response: &Response) {
        for cookie in response.headers().get_all("set-cookie") {
            let text = cookie.to_str().unwrap();
            assert!(
                text.contains("; Secure; HttpOnly; SameSite=Lax") && text.contains("; Path=/;"),
                "{text}"
            );
            let (pair, rest) = text.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            assert!(name.starts_with("__Host-"), "{name}");
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

impl Page {
    pub(crate) async fn read(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    /// A header's text; empty when absent.
    pub(crate) fn header(&self, name: &'static str) -> &str {
        self.headers
            .get(HeaderName::from_static(name))
            .map(HeaderValue::to_str)
            .map_or("", Result::unwrap)
    }

    /// Where a redirect leads.
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.body);
        self.header("location")
    }

    /// A parameter of the address that a redirect leads to.
    pub(crate) fn location_parameter(&self, name: &str) -> Option<String> {
        let url = url::Url::parse(self.location()).unwrap();
        url.query_pairs()
            .find(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The value of a hidden field.
    pub(crate) fn field(&self, name: &str) -> String {
        let at = self
            .body
            .find(&format!("name=\"{name}\""))
            .unwrap_or_else(|| panic!("no field {name} in {}", self.body));
        let element = &self.body[self.body[..at].rfind('<').unwrap()..];
        let element = &element[..element.find('>').unwrap()];
        let value = element.split("value=\"").nth(1).unwrap();
        value[..value.find('"').unwrap()]
            .replace("&#38;", "&")
            .replace("&#61;", "=")
    }

    /// Whether an element of that id is on the page.
    pub(crate) fn has_id(&self, id: &str) -> bool {
        self.body.contains(&format!("id=\"{id}\""))
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}
