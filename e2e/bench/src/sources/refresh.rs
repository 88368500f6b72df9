//! A client that lives on refresh tokens: each answer brings the token of the next request.

use anyhow::{Context as _, Result, ensure};
use oidc::endpoint;

use super::{basic, member, post};
use crate::load::{Answer, Progress, Source};

/// A refresh family and its newest token.
pub struct Refresh {
    host: String,
    authorization: String,
    token: String,
}

impl Refresh {
    /// Begins with `token`, which was issued to `client_id`.
    pub fn new(host: &str, client_id: &str, token: String) -> Self {
        Self {
            host: host.to_owned(),
            authorization: basic(client_id),
            token,
        }
    }
}

impl Source for Refresh {
    fn write(&mut self, request: &mut Vec<u8>) {
        let headers = [("authorization", self.authorization.as_str())];
        let form = [("grant_type", "refresh_token"), ("refresh_token", &self.token)];
        request.extend_from_slice(&post(&self.host, endpoint::TOKEN, &headers, &form));
    }

    fn read(&mut self, answer: &Answer<'_>) -> Result<Progress> {
        answer.expect(200)?;
        let next = member(answer.body, "refresh_token").context("no refresh_token in the answer")?;
        ensure!(next != self.token, "the refresh token was not rotated");
        next.clone_into(&mut self.token);
        Ok(Progress::Complete)
    }
}
