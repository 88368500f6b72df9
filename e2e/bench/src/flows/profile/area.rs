//! What a frame belongs to.

use super::stacks::{Frame, Stack};

/// What the server does in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Area {
    Cryptography,
    PasswordHash,
    Kernel,
    Http,
    Ours,
    Json,
    Database,
    Allocator,
    Other,
}

/// Beginnings of names, and whose they are. What is not listed belongs to whoever called it.
const NAMES: &[(&str, Area)] = &[
    ("aws_lc", Area::Cryptography),
    ("openssl::", Area::Cryptography),
    ("josekit::", Area::Cryptography),
    ("argon2::", Area::PasswordHash),
    ("blake2::", Area::PasswordHash),
    ("actix", Area::Http),
    ("httparse::", Area::Http),
    ("http::", Area::Http),
    ("tokio::", Area::Http),
    ("mio::", Area::Http),
    ("serde_json::", Area::Json),
    ("serde_core::", Area::Json),
    ("tokio_postgres::", Area::Database),
    ("postgres_protocol::", Area::Database),
    ("bb8::", Area::Database),
    ("auth_server::", Area::Ours),
    ("oidc::", Area::Ours),
    ("snapshot::", Area::Ours),
];

impl Area {
    /// Of the innermost frame that belongs to one.
    pub(super) fn of(stack: &Stack) -> Self {
        stack.iter().find_map(Self::of_frame).unwrap_or(Self::Other)
    }

    fn of_frame(frame: &Frame) -> Option<Self> {
        let Frame { function, object } = frame;
        if object.starts_with("[kernel") {
            return Some(Self::Kernel);
        }
        if object.contains("libcrypto") || object.contains("libssl") {
            return Some(Self::Cryptography);
        }
        if [
            "mi_",
            "_mi_",
            "malloc",
            "free",
            "realloc",
            "calloc",
            "__rust_alloc",
            "__rust_dealloc",
        ]
        .iter()
        .any(|start| function.starts_with(start))
        {
            return Some(Self::Allocator);
        }
        // `<actix_http::h1::Dispatcher as core::future::Future>::poll` and `core::ptr::drop_in_place<oidc::Client>` name
        // several crates: the first that is listed says whose it is.
        let listed = NAMES
            .iter()
            .filter_map(|(name, area)| Some((place(function, name)?, *area)));
        listed.min_by_key(|(place, _)| *place).map(|(_, area)| area)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cryptography => "cryptography",
            Self::PasswordHash => "password hash",
            Self::Kernel => "kernel: sockets and waking up",
            Self::Http => "HTTP and runtime",
            Self::Ours => "this server's own code",
            Self::Json => "JSON",
            Self::Database => "database client",
            Self::Allocator => "memory",
            Self::Other => "other",
        }
    }
}

/// Where `name` begins a path in `function`.
fn place(function: &str, name: &str) -> Option<usize> {
    let begins = |at: &usize| {
        let before = function.get(..*at).and_then(|before| before.chars().next_back());
        before.is_none_or(|before| !before.is_alphanumeric() && !matches!(before, '_' | ':'))
    };
    function.match_indices(name).map(|(at, _)| at).find(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_frame_that_belongs_to_somebody_says_what_is_done() {
        let frame = |function: &str, object: &str| Frame {
            function: function.to_owned(),
            object: object.to_owned(),
        };
        let server = |function: &str| frame(function, "/bin/nauthera-auth");
        let outer = server("<actix_http::h1::Dispatcher as core::future::Future>::poll");
        for (inner, area) in [
            (frame("bn_mul_mont", "/lib/libcrypto.so.3"), Area::Cryptography),
            (frame("tcp_sendmsg", "[kernel.kallsyms]"), Area::Kernel),
            (server("mi_malloc"), Area::Allocator),
            (server("oidc::mint::access_token"), Area::Ours),
            (server("core::ptr::drop_in_place<serde_json::Value>"), Area::Json),
            (server("core::slice::sort"), Area::Http),
            (server("not_oidc::x"), Area::Http),
        ] {
            assert_eq!(Area::of(&vec![inner.clone(), outer.clone()]), area, "{inner:?}");
        }
        assert_eq!(Area::of(&vec![server("main")]), Area::Other);
    }
}
