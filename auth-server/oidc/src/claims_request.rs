//! The `claims` request parameter (OpenID Connect Core 1.0 §5.5): which claims a client asks for one by one.
//!
//! Parsing bounds it; whoever releases claims decides which of the names exist and which the person has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Bytes of the parameter.
const MAX_BYTES: usize = 8 * 1024;
/// Claims asked for at one place.
const MAX_CLAIMS: usize = 64;
/// Bytes of a claim's name.
const MAX_NAME_BYTES: usize = 128;
/// Values that one claim may be narrowed to.
const MAX_VALUES: usize = 16;

/// The claims that a client asks for one by one, by where they are to be delivered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClaimsRequest {
    /// From the UserInfo endpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub userinfo: BTreeMap<String, RequestedClaim>,
    /// In the ID token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub id_token: BTreeMap<String, RequestedClaim>,
}

/// How a claim is asked for (§5.5.1).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestedClaim {
    /// Whether the client needs it for what the person wants to do.
    #[serde(default, skip_serializing_if = "is_false")]
    pub essential: bool,
    /// The values that the client wants, most wanted first; empty when any will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
}

/// Why the parameter is refused. The texts are safe to show to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsRequestError {
    /// Not a JSON object of the form that §5.5 defines.
    #[error("claims is not a claims request")]
    Malformed,
    /// Over one of the limits.
    #[error("claims asks for too much")]
    TooLarge,
}

impl ClaimsRequest {
    /// Parses the parameter. Members that are not understood are ignored, as §5.5 demands.
    pub fn parse(text: &str) -> Result<Self, ClaimsRequestError> {
        if text.len() > MAX_BYTES {
            return Err(ClaimsRequestError::TooLarge);
        }
        let Ok(Value::Object(request)) = serde_json::from_str(text) else {
            return Err(ClaimsRequestError::Malformed);
        };
        Ok(Self {
            userinfo: claims_at(&request, "userinfo")?,
            id_token: claims_at(&request, "id_token")?,
        })
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.userinfo.is_empty() && self.id_token.is_empty()
    }
}

fn claims_at(
    request: &Map<String, Value>,
    place: &str,
) -> Result<BTreeMap<String, RequestedClaim>, ClaimsRequestError> {
    let claims = match request.get(place) {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(claims)) => claims,
        Some(_) => return Err(ClaimsRequestError::Malformed),
    };
    if claims.len() > MAX_CLAIMS || claims.keys().any(|name| name.len() > MAX_NAME_BYTES) {
        return Err(ClaimsRequestError::TooLarge);
    }
    claims
        .iter()
        .map(|(name, wish)| Ok((name.clone(), RequestedClaim::parse(wish)?)))
        .collect()
}

impl RequestedClaim {
    fn parse(wish: &Value) -> Result<Self, ClaimsRequestError> {
        let wish = match wish {
            Value::Null => return Ok(Self::default()),
            Value::Object(wish) => wish,
            _ => return Err(ClaimsRequestError::Malformed),
        };
        let essential = match wish.get("essential") {
            None => false,
            Some(Value::Bool(essential)) => *essential,
            Some(_) => return Err(ClaimsRequestError::Malformed),
        };
        let values = match (wish.get("value"), wish.get("values")) {
            (Some(value), None) => vec![value.clone()],
            (None, Some(Value::Array(values))) => values.clone(),
            (None, None) => Vec::new(),
            _ => return Err(ClaimsRequestError::Malformed),
        };
        if values.len() > MAX_VALUES {
            return Err(ClaimsRequestError::TooLarge);
        }
        Ok(Self { essential, values })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_example_of_the_specification_is_understood() {
        let request = ClaimsRequest::parse(
            r#"{"userinfo": {"given_name": {"essential": true}, "nickname": null, "http://example.info/claims/groups": null},
                "id_token": {"auth_time": {"essential": true}, "acr": {"values": ["urn:mace:incommon:iap:silver"]}, "sub": {"value": "x"}},
                "later": 1}"#,
        )
        .unwrap();
        assert_eq!(request.userinfo.len(), 3);
        assert!(request.userinfo["given_name"].essential);
        assert_eq!(request.userinfo["nickname"], RequestedClaim::default());
        assert_eq!(request.id_token["acr"].values, [json!("urn:mace:incommon:iap:silver")]);
        assert_eq!(request.id_token["sub"].values, [json!("x")]);
        let kept: ClaimsRequest = serde_json::from_value(serde_json::to_value(&request).unwrap()).unwrap();
        assert_eq!(kept, request);
    }

    #[test]
    fn what_is_no_claims_request_is_refused() {
        for wrong in [
            "",
            "null",
            "[]",
            r#"{"userinfo": []}"#,
            r#"{"userinfo": {"email": true}}"#,
            r#"{"userinfo": {"email": {"essential": "yes"}}}"#,
            r#"{"id_token": {"acr": {"values": "a"}}}"#,
            r#"{"id_token": {"acr": {"value": "a", "values": ["a"]}}}"#,
        ] {
            assert_eq!(
                ClaimsRequest::parse(wrong),
                Err(ClaimsRequestError::Malformed),
                "{wrong}"
            );
        }
        let nested = "[".repeat(4000);
        assert_eq!(ClaimsRequest::parse(&nested), Err(ClaimsRequestError::Malformed));
    }

    #[test]
    fn every_limit_is_enforced_and_reachable() {
        let asking = |count: usize| {
            let claims: Map<String, Value> = (0..count).map(|n| (format!("c{n}"), Value::Null)).collect();
            ClaimsRequest::parse(&json!({ "userinfo": claims }).to_string())
        };
        assert_eq!(asking(MAX_CLAIMS).unwrap().userinfo.len(), MAX_CLAIMS);
        assert_eq!(asking(MAX_CLAIMS + 1), Err(ClaimsRequestError::TooLarge));
        let narrowed = |count: usize| {
            ClaimsRequest::parse(&json!({"id_token": {"acr": {"values": vec!["a"; count]}}}).to_string())
        };
        assert!(narrowed(MAX_VALUES).is_ok());
        assert_eq!(narrowed(MAX_VALUES + 1), Err(ClaimsRequestError::TooLarge));
        let named = |bytes: usize| ClaimsRequest::parse(&format!(r#"{{"userinfo":{{"{}":null}}}}"#, "n".repeat(bytes)));
        assert!(named(MAX_NAME_BYTES).is_ok());
        assert_eq!(named(MAX_NAME_BYTES + 1), Err(ClaimsRequestError::TooLarge));
        assert_eq!(
            ClaimsRequest::parse(&" ".repeat(MAX_BYTES + 1)),
            Err(ClaimsRequestError::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_panic(text in ".{0,400}") {
            let _ = ClaimsRequest::parse(&text);
        }

        #[test]
        fn any_json_is_parsed_or_refused_without_panic(
            place in "userinfo|id_token|x",
            name in "[a-z]{1,8}",
            wish in r#"null|true|1|\{\}|\[\]|\{"value":\{\}\}|\{"values":\[null\]\}"#,
        ) {
            let _ = ClaimsRequest::parse(&format!(r#"{{"{place}":{{"{name}":{wish}}}}}"#));
        }
    }
}
