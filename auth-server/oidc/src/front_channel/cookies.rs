//! Cookies as values: what a browser sent, and what it is told to keep.

use std::fmt;
use std::time::Duration;

/// The cookies of one request, in the order they were sent.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Cookies(Vec<(String, String)>);

/// Two cookies of one name: one of them was planted, and nobody can tell which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two cookies of one name")]
pub struct DuplicateCookie;

impl Cookies {
    /// Reads the values of a request's `Cookie` headers (RFC 6265 §5.4). What is not a pair is skipped; names and
    /// values are kept as they are.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Self {
        let pairs = headers
            .into_iter()
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .filter(|(name, _)| !name.is_empty())
            .collect();
        Self(pairs)
    }

    /// The one cookie of that name.
    pub fn find(&self, name: &str) -> Result<Option<&str>, DuplicateCookie> {
        let mut values = self
            .0
            .iter()
            .filter(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(DuplicateCookie),
        }
    }
}

/// Names only: values are credentials.
impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// A cookie to set. Always `Path=/; HttpOnly; SameSite=Lax`, and `Secure` under an https issuer.
#[derive(Clone, PartialEq, Eq)]
pub struct SetCookie {
    /// Its name, with the `__Host-` prefix where that is possible.
    pub name: String,
    /// Its value; a credential. Empty when it is expired.
    pub value: String,
    /// How long the browser keeps it.
    pub age: CookieAge,
    /// Whether it is set with `Secure`.
    pub secure: bool,
}

/// How long a browser keeps a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieAge {
    /// So long, in whole seconds.
    For(Duration),
    /// Not at all: it is removed.
    Removed,
}

impl SetCookie {
    /// The value of the `Set-Cookie` header (RFC 6265 §4.1).
    pub fn header_value(&self) -> String {
        let Self {
            name,
            value,
            age,
            secure,
        } = self;
        let seconds = match age {
            CookieAge::For(age) => age.as_secs(),
            CookieAge::Removed => 0,
        };
        let secure = if *secure { "; Secure" } else { "" };
        format!("{name}={value}; Max-Age={seconds}; Path=/{secure}; HttpOnly; SameSite=Lax")
    }
}

impl fmt::Debug for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetCookie")
            .field("name", &self.name)
            .field("age", &self.age)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_cookies_of_one_name_are_refused() {
        let cookies = Cookies::parse(["a=1; b=2; a=3", "c=4; b2 = 5 ;;=6;d"]);
        assert_eq!(cookies.find("a"), Err(DuplicateCookie));
        assert_eq!(cookies.find("b"), Ok(Some("2")));
        assert_eq!(cookies.find("b2"), Ok(Some("5")));
        assert_eq!(cookies.find("d"), Ok(None));
        assert_eq!(Cookies::parse(["a=1", "a=1"]).find("a"), Err(DuplicateCookie));
        assert_eq!(Cookies::parse(["A=1"]).find("a"), Ok(None));
    }

    #[test]
    fn cookies_have_fixed_attributes() {
        let mut cookie = SetCookie {
            name: "__Host-x".into(),
            value: "v".into(),
            age: CookieAge::For(Duration::from_millis(61_500)),
            secure: true,
        };
        assert_eq!(
            cookie.header_value(),
            "__Host-x=v; Max-Age=61; Path=/; Secure; HttpOnly; SameSite=Lax"
        );
        cookie.age = CookieAge::Removed;
        cookie.secure = false;
        cookie.value.clear();
        assert_eq!(
            cookie.header_value(),
            "__Host-x=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"
        );
        assert!(!format!("{cookie:?}").contains("value"));
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(header in ".{0,300}", name in "[a-z]{1,3}") {
            let _ = Cookies::parse([header.as_str()]).find(&name);
        }

        #[test]
        fn what_was_set_is_found_again(name in "[a-zA-Z_-]{1,20}", value in "[A-Za-z0-9._-]{0,60}") {
            let header = format!("other=1; {name}x=2; {name}={value}");
            prop_assume!(name != "other");
            let cookies = Cookies::parse([header.as_str()]);
            prop_assert_eq!(cookies.find(&name), Ok(Some(value.as_str())));
        }
    }
}
