//! Who a token is for: the `aud` claim (RFC 7519 §4.1.3), and how the `resource` parameter chooses it (RFC 8707).

use serde::{Deserialize, Serialize};

use crate::config::Client;

/// An `aud` claim: one string, or an array of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Many(Vec<String>),
}

/// A `resource` that the client may not ask for (RFC 8707 §2, `invalid_target`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidTarget;

impl Audience {
    /// The audience of an access token: what was asked for, or the client's default, or the issuer itself. Tokens that
    /// open the UserInfo endpoint are for the issuer as well.
    pub(crate) fn choose(
        issuer: &str,
        client: &Client,
        resources: &[&str],
        scopes: &[String],
    ) -> Result<Self, InvalidTarget> {
        if !resources.iter().all(|resource| is_allowed(client, resource)) {
            return Err(InvalidTarget);
        }
        let mut names: Vec<String> = if resources.is_empty() {
            client.audiences.first().cloned().into_iter().collect()
        } else {
            resources.iter().map(|resource| (*resource).to_owned()).collect()
        };
        if names.is_empty() || scopes.iter().any(|scope| scope == "openid") {
            names.push(issuer.to_owned());
        }
        Ok(match <[String; 1]>::try_from(names) {
            Ok([name]) => Self::One(name),
            Err(names) => Self::Many(names),
        })
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.iter().any(|known| known == name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
        .iter()
        .map(String::as_str)
    }
}

/// Whether `client` may ask for tokens for `resource`.
pub(crate) fn is_allowed(client: &Client, resource: &str) -> bool {
    client.audiences.iter().any(|audience| audience == resource)
}
