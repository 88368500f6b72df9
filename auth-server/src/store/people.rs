//! People as the command line manages them.

use oidc::id::PersonId;
use oidc::person::{PersonState, Profile};
use oidc::store::StoreError;
use oidc::{Secret, Timestamp};

/// A person to add. E-mail address and phone number come from the profile; both name the person at sign-in.
#[derive(Clone, Debug)]
pub struct NewPerson<'a> {
    /// The id, made by the caller.
    pub id: PersonId,
    /// Unique in the realm, compared without case.
    pub username: &'a str,
    /// Groups.
    pub groups: &'a [String],
    /// Standard claims.
    pub profile: &'a Profile,
    /// PHC string; a person without one cannot sign in with a password.
    pub password_hash: Option<&'a Secret<String>>,
    /// The moment of the creation.
    pub now: Timestamp,
}

/// A change that ends everything the person holds.
#[derive(Clone, Copy, Debug)]
pub enum PersonChange<'a> {
    /// A new password, as PHC string.
    Password(&'a Secret<String>),
    /// Signing in is allowed, or no more.
    State(PersonState),
    /// The person is erased, with sessions, grants and consents.
    Delete,
}

/// Why a person was not added or changed.
#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    /// Somebody of the realm uses it, as user name or as e-mail address.
    #[error("user name {0:?} is taken")]
    UsernameTaken(String),
    /// Somebody of the realm uses it, as e-mail address or as user name.
    #[error("e-mail address {0:?} is taken")]
    EmailTaken(String),
    /// Somebody of the realm uses it.
    #[error("phone number {0:?} is taken")]
    PhoneTaken(String),
    /// Empty, too long, or with white space around or control characters inside.
    #[error("user name {0:?} must have 1 to 255 characters, no white space around and no control characters")]
    InvalidUsername(String),
    /// Nobody of that name in the realm.
    #[error("no person with user name {0:?}")]
    Unknown(String),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NewPerson<'_> {
    /// Refuses a user name that could not be typed again.
    pub(super) fn check(&self) -> Result<(), PersonError> {
        let length = self.username.chars().count();
        let plain = self.username.trim() == self.username && !self.username.chars().any(char::is_control);
        if plain && (1..=255).contains(&length) {
            Ok(())
        } else {
            Err(PersonError::InvalidUsername(self.username.to_owned()))
        }
    }

    /// Which name somebody else has, from the first column of `sql::NAME_TAKEN`.
    pub(super) fn taken(&self, which: i32) -> PersonError {
        match which {
            0 => PersonError::UsernameTaken(self.username.to_owned()),
            1 => PersonError::EmailTaken(self.profile.email.clone().unwrap_or_default()),
            _ => PersonError::PhoneTaken(self.profile.phone_number.clone().unwrap_or_default()),
        }
    }
}
