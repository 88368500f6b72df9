//! Sign-in: the form is checked, its password verified on the hashing threads, then the session begins.

use std::time::Duration;

use actix_web::HttpResponse;
use oidc::Secret;
use oidc::front_channel::{FrontChannel, Outcome, SignInAlert};
use oidc::login::{self, Begin, Verdict};

use super::exchange::{Exchange, random};
use super::{front, page};
use crate::metrics::LoginResult;
use crate::password::{ABSENT_PERSON_HASH, Saturated};

/// When to come back while hashing is saturated.
const SATURATED_RETRY: Duration = Duration::from_secs(2);

/// A posted sign-in form.
pub(crate) async fn submit(exchange: &Exchange<'_>) -> HttpResponse {
    let parameters = match front::parameters(exchange) {
        Ok(parameters) => parameters,
        Err(refused) => return page::front_channel(exchange, *refused),
    };
    let Ok(_place) = exchange.shell.hasher.admit(exchange.origin.source()) else {
        let answer = put_off(exchange);
        exchange.shell.metrics.login("password", result(&answer));
        return page::front_channel(exchange, answer);
    };
    let (context, mut random) = (exchange.context(), random());
    let answer = match login::begin(&context, &exchange.browser(), &parameters, &mut random).await {
        Begin::Answer(answer) => answer,
        Begin::Verify(pending) => {
            // People who do not exist cost the same hash as those who do.
            let hash = pending
                .stored_hash
                .clone()
                .unwrap_or_else(|| Secret::new(ABSENT_PERSON_HASH.to_owned()));
            match exchange.shell.hasher.verify(hash, pending.password.clone()).await {
                Ok(verdict) => {
                    let verdict = Verdict {
                        matched: verdict.matched,
                        upgraded_hash: verdict.upgraded,
                    };
                    login::finish(&context, pending, verdict, &mut random).await
                }
                Err(Saturated) => put_off(exchange),
            }
        }
    };
    exchange.shell.metrics.login("password", result(&answer));
    page::front_channel(exchange, answer)
}

/// Asks to come back when the hashing threads have room again.
fn put_off(exchange: &Exchange<'_>) -> FrontChannel {
    tracing::warn!(realm = %exchange.served.realm.name, error = %Saturated, "sign-in put off");
    let outcome = Outcome::Unavailable {
        retry_after: SATURATED_RETRY,
    };
    FrontChannel {
        outcome,
        cookies: Vec::new(),
    }
}

fn result(answer: &FrontChannel) -> LoginResult {
    match &answer.outcome {
        Outcome::Unavailable { .. } => LoginResult::Unavailable,
        Outcome::SignIn(prompt) => match prompt.alert {
            Some(SignInAlert::TooManyAttempts { .. }) => LoginResult::Throttled,
            Some(
                SignInAlert::WrongCredentials
                | SignInAlert::MissingIdentifier
                | SignInAlert::MissingPassword
                | SignInAlert::Expired,
            )
            | None => LoginResult::Failure,
        },
        Outcome::Refused(_) => LoginResult::Failure,
        Outcome::Redirect { .. }
        | Outcome::FormPost { .. }
        | Outcome::Consent(_)
        | Outcome::ChooseAccount(_)
        | Outcome::ConfirmLogout(_)
        | Outcome::LoggedOut { .. } => LoginResult::Success,
    }
}
