//! Who signs the tokens of pods: the cluster's issuer and its keys, asked of the API server again and again.
//!
//! Tokens are then verified here, without a request for each. Every ServiceAccount may read both documents
//! (`system:service-account-issuer-discovery`).

use std::time::Duration;

use hyper::Request;
use kube::Client;
use serde_json::Value;
use tokio::time::Instant;

use crate::publish::{TokenIssuer, TokenVerifier};

/// Keys are asked for again so often: one that was withdrawn is not accepted much longer.
const REFRESH: Duration = Duration::from_mins(5);

/// After a failure, or between two tokens with unknown keys.
const PAUSE: Duration = Duration::from_secs(1);

/// The API server does not say who signs.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// It cannot be asked.
    #[error("the API server cannot be asked who signs tokens")]
    Call(#[from] kube::Error),
    /// No answer in time.
    #[error("the API server did not say in time who signs tokens")]
    Deadline,
    /// The request cannot be made.
    #[error("request cannot be made")]
    Request(#[from] hyper::http::Error),
    /// The answer names no issuer, or no key that is of use.
    #[error("the API server names no issuer or no key of it")]
    Nobody,
}

/// Keeps `tokens` current: at once, when a token names an unknown key, and every few minutes. Runs until it is dropped.
pub async fn follow(client: Client, tokens: TokenVerifier) {
    loop {
        let pause = match ask(&client).await {
            Ok(issuer) => {
                tokens.set_issuer(issuer);
                REFRESH
            }
            Err(error) => {
                tracing::warn!(error = %super::chain(&error), "keys of pod tokens are not known");
                PAUSE
            }
        };
        let earliest = Instant::now() + PAUSE;
        tokio::select! {
            () = tokens.key_is_missing() => tokio::time::sleep_until(earliest).await,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The issuer of the cluster's service account tokens, as the API server says.
pub async fn ask(client: &Client) -> Result<TokenIssuer, IssuerError> {
    let discovery = get(client, "/.well-known/openid-configuration").await?;
    let name = discovery
        .get("issuer")
        .and_then(Value::as_str)
        .ok_or(IssuerError::Nobody)?;
    // The keys are asked of the same API server, whatever address the document gives for them.
    let issuer = TokenIssuer::from_jwks(name, &get(client, "/openid/v1/jwks").await?);
    if issuer.keys.is_empty() {
        return Err(IssuerError::Nobody);
    }
    Ok(issuer)
}

async fn get(client: &Client, path: &str) -> Result<Value, IssuerError> {
    let request = Request::get(path).body(Vec::new())?;
    let asking = client.request(request);
    let answer = tokio::time::timeout(crate::apply::CALL_DEADLINE, asking).await;
    Ok(answer.map_err(|_| IssuerError::Deadline)??)
}
