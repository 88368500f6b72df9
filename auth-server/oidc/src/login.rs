//! Password sign-in: one form, checked in two calls around the hash that the caller computes.

use crate::Secret;
use crate::front_channel::FrontChannel;

/// What a posted sign-in form leads to.
#[derive(Debug)]
pub enum Begin {
    /// The caller verifies the password, then calls [`finish`].
    Verify(Box<PendingLogin>),
    /// Nothing to verify.
    Answer(FrontChannel),
}

/// A sign-in whose password is to be verified.
#[derive(Debug)]
pub struct PendingLogin {
    /// What was typed.
    pub password: Secret<String>,
    /// The stored hash (PHC string). `None` for people that do not exist: verify against a hash of today's cost that
    /// nothing matches, so that time tells nothing.
    pub stored_hash: Option<Secret<String>>,
}

/// What the caller found out about a [`PendingLogin`].
#[derive(Debug)]
pub struct Verdict {
    /// Whether the password matches the stored hash.
    pub matched: bool,
    /// A hash of the password with today's parameters, when the stored one is weaker.
    pub upgraded_hash: Option<Secret<String>>,
}
