//! HTTP Basic credentials of a client (RFC 6749 §2.3.1): both parts are form-encoded before they are joined.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::parameters::decode_form;

/// Characters of a header that are looked at.
const MAX_CHARACTERS: usize = 4096;

/// Client id and secret of an `Authorization` header.
pub(super) fn parse(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > MAX_CHARACTERS {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let client_id = decode_form(decoded.get(..colon)?)?;
    let secret = decode_form(decoded.get(colon + 1..)?)?;
    Some((client_id, secret))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(id: &str, secret: &str) -> String {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        format!(
            "Basic {}",
            STANDARD.encode(format!("{}:{}", encode(id), encode(secret)))
        )
    }

    #[test]
    fn both_parts_are_form_decoded() {
        assert_eq!(
            parse(&header("https://a.example/:x", "p w%+:")),
            Some(("https://a.example/:x".into(), "p w%+:".into()))
        );
    }

    #[test]
    fn other_schemes_and_broken_encodings_are_no_credentials() {
        for header in ["Bearer abc", "Basic", "Basic ???", "Basic YQ==", "Basic JTo=", ""] {
            assert_eq!(parse(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_is_what_is_read(id in "[^\0]{0,40}", secret in "[^\0]{0,40}") {
            prop_assert_eq!(parse(&header(&id, &secret)), Some((id, secret)));
        }

        #[test]
        fn any_header_is_parsed_without_panic(header in ".{0,100}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&header);
            let _ = parse(&format!("basic {}", STANDARD.encode(bytes)));
        }
    }
}
