//! The grants of the token endpoint, one module each: everything is checked, then spent, then minted.

pub(crate) mod authorization_code;
pub(crate) mod client_credentials;
pub(crate) mod pkce;
pub(crate) mod refresh_token;
