//! Bounded strings of the API: each carries its own schema, so that the API server reports a wrong
//! one by its exact path (`spec.redirectUris[2]`).
//!
//! The types do not check anything themselves: a value read from the API server has been checked
//! by this schema, and a value read from a file goes through [`crate::admission`] first.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::cel::rules;

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $schema:tt $(, $rules:expr)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The text as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                #[allow(unused_mut, reason = "only some of the texts carry rules")]
                let mut schema = json_schema!($schema);
                $(schema.insert("x-kubernetes-validations".into(), rules($rules));)?
                schema
            }
        }
    };
}

text! {
    /// Name of a Kubernetes object (RFC 1123 subdomain).
    ObjectName,
    {"type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}
}

text! {
    /// Name of a namespace (RFC 1123 label).
    NamespaceName,
    {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"}
}

text! {
    /// Key inside a Secret.
    SecretKey,
    {"type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[-._a-zA-Z0-9]+$"}
}

text! {
    /// Host name, or `*.` and a host name for every host below it.
    HostPattern,
    {
        "type": "string", "minLength": 1, "maxLength": 253,
        "pattern": "^(\\*\\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
    }
}

text! {
    /// Address range, such as `10.0.0.0/8` or `fd00::/8`.
    Cidr,
    {"type": "string", "minLength": 3, "maxLength": 49},
    [("isCIDR(self)", "must be an address range such as 10.0.0.0/8")]
}

text! {
    /// Redirect URI, compared character by character (RFC 9700 §2.1), except for the port of a
    /// loopback address (RFC 8252 §7.3).
    RedirectUri,
    {"type": "string", "minLength": 1, "maxLength": 512},
    [
        ("!self.contains('#')", "must not have a fragment (#)"),
        ("!self.contains('*')", "must not have a wildcard (*): list every URI"),
        ("!self.matches('^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@')", "must not have a user name or password"),
        (
            r"self.matches('^https://([^/?#]*@)?[A-Za-z0-9*]([A-Za-z0-9.*-]*[A-Za-z0-9])?(:[0-9]{1,5})?([/?#][!-~]*)?$') || self.matches('^http://(127[.]0[.]0[.]1|\\[::1\\]|localhost)(:[0-9]{1,5})?([/?][!-~]*)?$') || self.matches('^[a-z][a-z0-9+-]*([.][a-z0-9+-]+)+:/[!-~]*$')",
            "must be an https URI, an http URI of 127.0.0.1, [::1] or localhost, or a private-use URI whose scheme has a dot, such as com.example.app:/callback",
        ),
    ]
}

text! {
    /// Origin of a browser application: scheme, host and port, nothing else.
    Origin,
    {"type": "string", "minLength": 1, "maxLength": 261},
    [(
        r"self.matches('^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$') || self.matches('^http://(127[.]0[.]0[.]1|\\[::1\\]|localhost)(:[0-9]{1,5})?$')",
        "must be an origin such as https://app.example.com, without a path or trailing slash; http only for 127.0.0.1, [::1] or localhost",
    )]
}

text! {
    /// Address of a web page.
    WebUrl,
    {"type": "string", "minLength": 1, "maxLength": 512},
    [(
        r"self.matches('^https://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?([/?#][!-~]*)?$')",
        "must be an https URL",
    )]
}

text! {
    /// Name of a scope (RFC 6749 §3.3).
    ScopeName,
    {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!#-\\[\\]-~]+$"}
}

text! {
    /// Name of a claim in tokens and at the userinfo endpoint.
    ClaimName,
    {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!#-\\[\\]-~]+$"}
}

text! {
    /// Identifier of a resource server: an absolute URI (RFC 8707 §2), or a plain name such as
    /// `kubernetes` for servers that expect one as audience.
    Audience,
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!$-~]+$"}
}

text! {
    /// Language tag (BCP 47), such as `en`, `de-CH` or `zh-Hant`.
    LanguageTag,
    {"type": "string", "minLength": 2, "maxLength": 35, "pattern": "^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$"}
}

text! {
    /// Colour as `#rrggbb`.
    HexColor,
    {"type": "string", "maxLength": 7, "pattern": "^#[0-9a-fA-F]{6}$"}
}

text! {
    /// Identifier of a client, from the unreserved characters of RFC 3986.
    ClientId,
    {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z0-9._~-]+$"}
}

text! {
    /// Value of a label.
    LabelText,
    {"type": "string", "maxLength": 63, "pattern": "^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$"}
}

text! {
    /// Value of an annotation.
    AnnotationText,
    {"type": "string", "maxLength": 2048}
}
