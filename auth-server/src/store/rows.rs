//! How values are laid out in columns, for both databases.

use aws_lc_rs::digest::{Context, SHA256};
use oidc::Timestamp;
use oidc::id::{FamilyId, GrantId, PersonId, SessionId, TokenId};
use oidc::person::{Person, PersonState};
use oidc::revocation::{Revocation, Revoked};
use oidc::store::StoreError;
use uuid::Uuid;

/// No access token lives longer; a revocation made without knowledge of the realm's lifetimes is kept for this long.
pub(super) const LONGEST_ACCESS_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// A person as selected by `sql::person_columns!`.
pub(super) struct PersonRow {
    pub(super) id: Uuid,
    pub(super) username: String,
    pub(super) state: i16,
    pub(super) epoch: i32,
    pub(super) groups: String,
    pub(super) profile: String,
    pub(super) updated_at: i64,
}

impl PersonRow {
    pub(super) fn into_person(self) -> Result<Person, StoreError> {
        let Self {
            id,
            username,
            state,
            epoch,
            groups,
            profile,
            updated_at,
        } = self;
        Ok(Person {
            id: PersonId(id),
            username,
            state: person_state(state)?,
            epoch,
            groups: from_json(&groups)?,
            profile: from_json(&profile)?,
            updated_at: Timestamp::from_unix_millis(updated_at),
        })
    }
}

/// A value that no column can hold.
#[derive(Debug, thiserror::Error)]
#[error("unknown {what} {value}")]
struct UnknownValue {
    what: &'static str,
    value: i16,
}

pub(super) fn state_column(state: PersonState) -> i16 {
    match state {
        PersonState::Active => 0,
        PersonState::Disabled => 1,
    }
}

fn person_state(column: i16) -> Result<PersonState, StoreError> {
    match column {
        0 => Ok(PersonState::Active),
        1 => Ok(PersonState::Disabled),
        value => Err(inconsistent(UnknownValue {
            what: "state of a person",
            value,
        })),
    }
}

/// Kind, id and epoch of a revocation.
pub(super) fn revoked_columns(what: Revoked) -> (i16, Uuid, i32) {
    match what {
        Revoked::Session(SessionId(id)) => (0, id, 0),
        Revoked::Grant(GrantId(id)) => (1, id, 0),
        Revoked::Family(FamilyId(id)) => (2, id, 0),
        Revoked::Token(TokenId(id)) => (3, id, 0),
        Revoked::Person {
            person: PersonId(id),
            epoch,
        } => (4, id, epoch),
    }
}

pub(super) fn revocation(kind: i16, id: Uuid, epoch: i32, expires_at: i64) -> Result<Revocation, StoreError> {
    let what = match kind {
        0 => Revoked::Session(SessionId(id)),
        1 => Revoked::Grant(GrantId(id)),
        2 => Revoked::Family(FamilyId(id)),
        3 => Revoked::Token(TokenId(id)),
        4 => Revoked::Person {
            person: PersonId(id),
            epoch,
        },
        value => {
            return Err(inconsistent(UnknownValue {
                what: "kind of revocation",
                value,
            }));
        }
    };
    Ok(Revocation {
        what,
        expires_at: Timestamp::from_unix_millis(expires_at),
    })
}

pub(super) fn to_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(inconsistent)
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(inconsistent)
}

/// How user names and e-mail addresses are compared: without case.
pub(super) fn name_key(name: &str) -> String {
    name.trim().to_lowercase()
}

/// How phone numbers (E.164) are compared: without the marks that people put between digits.
pub(super) fn phone_key(number: &str) -> String {
    number
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.' | '/'))
        .collect()
}

/// The key of an attempt counter: what was typed and where it came from, hashed, so that no table lists who was tried.
/// All ways to write one phone number count together, or each would have attempts of its own.
pub(super) fn attempt_counter(identifier: &str, source: &str) -> [u8; 32] {
    hash_of([phone_key(&name_key(identifier)).as_bytes(), source.as_bytes()])
}

/// The key of a `jti`: hashed, because its length is the sender's choice.
pub(super) fn proof_key(audience: &str, jti: &str) -> [u8; 32] {
    hash_of([audience.as_bytes(), jti.as_bytes()])
}

/// SHA-256 over both parts, the first one preceded by its length so that no two pairs collide.
fn hash_of([first, second]: [&[u8]; 2]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&u64::try_from(first.len()).unwrap_or(u64::MAX).to_be_bytes());
    context.update(first);
    context.update(second);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

pub(super) fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn inconsistent(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Inconsistent(Box::new(error))
}

pub(super) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_ignore_case_and_tell_sources_apart() {
        assert_eq!(
            attempt_counter("Ada ", "192.0.2.1"),
            attempt_counter("ada", "192.0.2.1")
        );
        assert_ne!(attempt_counter("ada", "192.0.2.1"), attempt_counter("ada", "192.0.2.2"));
        assert_ne!(attempt_counter("ada1", "92.0.2.1"), attempt_counter("ada", "192.0.2.1"));
    }

    #[test]
    fn a_phone_number_has_one_counter_however_it_is_written() {
        let counter = |typed| attempt_counter(typed, "192.0.2.1");
        for typed in [
            "+1 555 0100",
            "+1-555-0100",
            " +1 (555) 0100",
            "+1.555/0100",
            "+15550100 ",
        ] {
            assert_eq!(counter(typed), counter("+15550100"), "{typed}");
        }
    }

    #[test]
    fn every_revocation_survives_its_columns() {
        let id = Uuid::from_u128(7);
        for what in [
            Revoked::Session(SessionId(id)),
            Revoked::Grant(GrantId(id)),
            Revoked::Family(FamilyId(id)),
            Revoked::Token(TokenId(id)),
            Revoked::Person {
                person: PersonId(id),
                epoch: 3,
            },
        ] {
            let (kind, id, epoch) = revoked_columns(what);
            assert_eq!(revocation(kind, id, epoch, 9000).unwrap().what, what);
        }
        assert!(revocation(9, id, 0, 0).is_err());
    }
}
