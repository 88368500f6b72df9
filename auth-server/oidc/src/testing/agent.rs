//! A browser in miniature: keeps cookies, follows nothing, and posts the forms it was given.

use std::collections::BTreeMap;

use super::{World, seeded};
use crate::front_channel::{Browser, CookieAge, Cookies, Form, FrontChannel, Method, Outcome};
use crate::login::{Begin, Verdict};
use crate::parameters::Parameters;
use crate::{account_choice, authorize, consent, end_session, login};

/// A browser in miniature.
pub struct Agent {
    /// What it keeps, by name.
    pub cookies: BTreeMap<String, String>,
    /// `Sec-Fetch-Site` of its posts.
    pub fetch_site: Option<&'static str>,
    /// `Origin` of its posts.
    pub origin: Option<&'static str>,
    seed: u64,
}

impl Agent {
    /// A browser without cookies. Browsers of different seeds get different randomness.
    pub fn new(seed: u64) -> Self {
        Self {
            cookies: BTreeMap::new(),
            fetch_site: Some("same-origin"),
            origin: None,
            seed: seed << 32,
        }
    }

    fn next_seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    fn header(&self) -> String {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    fn keep(&mut self, answer: &FrontChannel) {
        for cookie in &answer.cookies {
            match cookie.age {
                CookieAge::For(_) => self.cookies.insert(cookie.name.clone(), cookie.value.clone()),
                CookieAge::Removed => self.cookies.remove(&cookie.name),
            };
        }
    }

    fn browser<'a>(&self, cookies: &'a Cookies, method: Method) -> Browser<'a> {
        Browser {
            cookies,
            method,
            fetch_site: self.fetch_site,
            origin: self.origin,
            source: "192.0.2.1",
            user_agent: "Agent/1",
        }
    }

    /// Sends a request to the authorization endpoint.
    pub async fn authorize(&mut self, world: &World, method: Method, query: &str) -> Outcome {
        let cookies = Cookies::parse([self.header().as_str()]);
        let mut rng = seeded(self.next_seed());
        let browser = self.browser(&cookies, method);
        let answer = authorize::respond(&world.context(), &browser, &parsed(query), &mut rng).await;
        self.keep(&answer);
        answer.outcome
    }

    /// Posts a sign-in form. The hash of the stored password is `hash:<username>`; the password that fits is the user name.
    pub async fn sign_in(&mut self, world: &World, form: &Form, username: &str, password: &str) -> Outcome {
        let cookies = Cookies::parse([self.header().as_str()]);
        let mut rng = seeded(self.next_seed());
        let body = posted(form, &[("username", username), ("password", password)]);
        let browser = self.browser(&cookies, Method::Post);
        let answer = match login::begin(&world.context(), &browser, &body, &mut rng).await {
            Begin::Answer(answer) => answer,
            Begin::Verify(pending) => {
                let stored = pending.stored_hash.as_ref().map(|hash| hash.expose().as_str());
                let verdict = Verdict {
                    matched: stored == Some(format!("hash:{}", pending.password.expose()).as_str()),
                    upgraded_hash: None,
                };
                login::finish(&world.context(), pending, verdict, &mut rng).await
            }
        };
        self.keep(&answer);
        answer.outcome
    }

    /// Posts a consent form.
    pub async fn decide(&mut self, world: &World, form: &Form, decision: &str) -> Outcome {
        let cookies = Cookies::parse([self.header().as_str()]);
        let mut rng = seeded(self.next_seed());
        let browser = self.browser(&cookies, Method::Post);
        let body = posted(form, &[("decision", decision)]);
        let answer = consent::decide(&world.context(), &browser, &body, &mut rng).await;
        self.keep(&answer);
        answer.outcome
    }

    /// Posts an account choice.
    pub async fn choose(&mut self, world: &World, form: &Form, choice: &str) -> Outcome {
        let cookies = Cookies::parse([self.header().as_str()]);
        let mut rng = seeded(self.next_seed());
        let browser = self.browser(&cookies, Method::Post);
        let body = posted(form, &[("choice", choice)]);
        let answer = account_choice::choose(&world.context(), &browser, &body, &mut rng).await;
        self.keep(&answer);
        answer.outcome
    }

    /// Sends a request to the end-session endpoint.
    pub async fn end_session(&mut self, world: &World, method: Method, query: &str) -> Outcome {
        let cookies = Cookies::parse([self.header().as_str()]);
        let mut rng = seeded(self.next_seed());
        let browser = self.browser(&cookies, method);
        let answer = end_session::respond(&world.context(), &browser, &parsed(query), &mut rng).await;
        self.keep(&answer);
        answer.outcome
    }

    /// Posts the confirmation of a sign-out.
    pub async fn confirm_logout(&mut self, world: &World, form: &Form) -> Outcome {
        let cookies = Cookies::parse([self.header().as_str()]);
        let mut rng = seeded(self.next_seed());
        let browser = self.browser(&cookies, Method::Post);
        let answer = end_session::confirm(&world.context(), &browser, &posted(form, &[]), &mut rng).await;
        self.keep(&answer);
        answer.outcome
    }
}

fn parsed(query: &str) -> Parameters {
    Parameters::parse(query.as_bytes()).unwrap_or_default()
}

fn posted(form: &Form, fields: &[(&str, &str)]) -> Parameters {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.append_pair("flow", &form.flow)
        .append_pair("csrf", &form.csrf)
        .extend_pairs(fields);
    parsed(&body.finish())
}
