//! Claims about a person: which there are, which a request asks for, and their values.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::{Client, Realm};
use crate::person::Person;

/// Claims that can be released, beside `sub` (OpenID Connect Core 1.0 §5.1).
pub const SUPPORTED: &[&str] = &[
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "updated_at",
    "email",
    "email_verified",
    "phone_number",
    "phone_number_verified",
    "address",
    "groups",
];

/// Members looked at in each part of a `claims` parameter.
const MAX_REQUESTED: usize = 64;

/// The `claims` request parameter (OpenID Connect Core 1.0 §5.5), reduced to what this server acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimsRequest {
    /// Claims wanted from the UserInfo endpoint.
    #[serde(rename = "u", skip_serializing_if = "Vec::is_empty")]
    pub userinfo: Vec<String>,
    /// Claims wanted in the ID token.
    #[serde(rename = "i", skip_serializing_if = "Vec::is_empty")]
    pub id_token: Vec<String>,
    /// The one `sub` that the ID token may be about.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The essential `acr` values; one of them must be reached (§5.5.1.1).
    #[serde(rename = "a", skip_serializing_if = "Vec::is_empty")]
    pub essential_acr: Vec<String>,
}

/// A `claims` parameter that is not a JSON object of the form in §5.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claims parameter is not a JSON object of the expected form")]
pub struct ClaimsRequestError;

impl ClaimsRequest {
    /// Parses the parameter. Claims that are not supported are dropped: none may cause an error (§5.5.1).
    pub fn parse(text: &str) -> Result<Self, ClaimsRequestError> {
        let Value::Object(parts) = serde_json::from_str(text).map_err(|_| ClaimsRequestError)? else {
            return Err(ClaimsRequestError);
        };
        let id_token = part(&parts, "id_token")?;
        let essential = |claim: &Value| claim.get("essential").and_then(Value::as_bool) == Some(true);
        Ok(Self {
            userinfo: supported(part(&parts, "userinfo")?),
            id_token: supported(id_token),
            subject: id_token
                .and_then(|claims| claims.get("sub")?.get("value")?.as_str())
                .map(str::to_owned),
            essential_acr: id_token
                .and_then(|claims| claims.get("acr"))
                .filter(|acr| essential(acr))
                .map(wanted_values)
                .unwrap_or_default(),
        })
    }

    /// What of the request `client` may learn at all: claims of the scopes that it is registered for.
    #[must_use]
    pub(crate) fn permitted(mut self, realm: &Realm, client: &Client) -> Self {
        self.userinfo.retain(|name| releasing(realm, client, name).is_some());
        self.id_token.retain(|name| releasing(realm, client, name).is_some());
        self
    }

    /// `granted` and, for claims that none of them releases, the scopes that would have: what a person is asked for
    /// must hold everything that is released.
    pub(crate) fn disclosed(&self, realm: &Realm, client: &Client, granted: &[String]) -> Vec<String> {
        let mut disclosed = granted.to_vec();
        for name in self.userinfo.iter().chain(&self.id_token) {
            if !disclosed.iter().any(|scope| releases(realm, scope, name))
                && let Some(scope) = releasing(realm, client, name)
            {
                disclosed.push(scope.to_owned());
            }
        }
        disclosed
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn releases(realm: &Realm, scope: &str, claim: &str) -> bool {
    let scope = realm.scopes.get(scope);
    scope.is_some_and(|scope| scope.claims.iter().any(|released| released == claim))
}

/// The first scope of `client` that releases `claim`.
fn releasing<'c>(realm: &Realm, client: &'c Client, claim: &str) -> Option<&'c str> {
    let scopes = client.scopes.iter().map(String::as_str);
    scopes.into_iter().find(|scope| releases(realm, scope, claim))
}

/// One part of the request; every member is null or an object.
fn part<'v>(parts: &'v Map<String, Value>, name: &str) -> Result<Option<&'v Map<String, Value>>, ClaimsRequestError> {
    match parts.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(claims)) if claims.len() <= MAX_REQUESTED && claims.values().all(is_request) => {
            Ok(Some(claims))
        }
        Some(_) => Err(ClaimsRequestError),
    }
}

fn is_request(value: &Value) -> bool {
    value.is_null() || value.is_object()
}

fn supported(claims: Option<&Map<String, Value>>) -> Vec<String> {
    SUPPORTED
        .iter()
        .filter(|name| claims.is_some_and(|claims| claims.contains_key(**name)))
        .map(|name| (*name).to_owned())
        .collect()
}

fn wanted_values(claim: &Value) -> Vec<String> {
    let one = claim.get("value").and_then(Value::as_str);
    let several = claim.get("values").and_then(Value::as_array);
    one.into_iter()
        .chain(several.into_iter().flatten().filter_map(Value::as_str))
        .take(MAX_REQUESTED)
        .map(str::to_owned)
        .collect()
}

/// The claims `names` of `person`, those that have a value.
pub fn of_person<'n>(person: &Person, names: impl IntoIterator<Item = &'n str>) -> Map<String, Value> {
    names
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), value(person, name)?)))
        .collect()
}

fn value(person: &Person, name: &str) -> Option<Value> {
    let profile = &person.profile;
    let text = |value: &Option<String>| value.as_deref().map(Value::from);
    match name {
        "name" => text(&profile.name),
        "given_name" => text(&profile.given_name),
        "family_name" => text(&profile.family_name),
        "middle_name" => text(&profile.middle_name),
        "nickname" => text(&profile.nickname),
        "preferred_username" => Some(person.username.as_str().into()),
        "profile" => text(&profile.profile),
        "picture" => text(&profile.picture),
        "website" => text(&profile.website),
        "gender" => text(&profile.gender),
        "birthdate" => text(&profile.birthdate),
        "zoneinfo" => text(&profile.zoneinfo),
        "locale" => text(&profile.locale),
        "updated_at" => Some(person.updated_at.unix_seconds().into()),
        "email" => text(&profile.email),
        "email_verified" => profile.email.as_ref().map(|_| profile.email_verified.into()),
        "phone_number" => text(&profile.phone_number),
        "phone_number_verified" => profile
            .phone_number
            .as_ref()
            .map(|_| profile.phone_number_verified.into()),
        "address" => profile
            .address
            .as_ref()
            .and_then(|address| serde_json::to_value(address).ok())
            .filter(|address| address.as_object().is_some_and(|members| !members.is_empty())),
        "groups" if !person.groups.is_empty() => Some(json!(person.groups)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    #[test]
    fn a_claims_parameter_is_reduced_to_what_is_acted_on() {
        let text = r#"{"userinfo":{"email":{"essential":true},"shoe_size":null},
            "id_token":{"sub":{"value":"x"},"acr":{"essential":true,"values":["a","b"]},"name":null},"other":1}"#;
        let expected = ClaimsRequest {
            userinfo: vec!["email".into()],
            id_token: vec!["name".into()],
            subject: Some("x".into()),
            essential_acr: vec!["a".into(), "b".into()],
        };
        assert_eq!(ClaimsRequest::parse(text), Ok(expected));
        assert!(ClaimsRequest::parse("{}").unwrap().is_empty());
    }

    #[test]
    fn a_claims_parameter_of_another_form_is_refused() {
        for text in [
            "",
            "[]",
            "null",
            r#"{"userinfo":[]}"#,
            r#"{"id_token":{"email":true}}"#,
            "{",
        ] {
            assert_eq!(ClaimsRequest::parse(text), Err(ClaimsRequestError), "{text}");
        }
    }

    #[test]
    fn every_supported_claim_has_a_value_for_a_person_that_has_everything() {
        let mut person = testing::person();
        let text = Some("text".to_owned());
        person.profile.middle_name.clone_from(&text);
        person.profile.nickname.clone_from(&text);
        person.profile.profile.clone_from(&text);
        person.profile.picture.clone_from(&text);
        person.profile.website.clone_from(&text);
        person.profile.gender.clone_from(&text);
        person.profile.birthdate.clone_from(&text);
        person.profile.zoneinfo.clone_from(&text);
        person.profile.locale.clone_from(&text);
        assert_eq!(of_person(&person, SUPPORTED.iter().copied()).len(), SUPPORTED.len());
    }

    #[test]
    fn claims_without_a_value_are_left_out() {
        let mut person = testing::person();
        person.profile.email = None;
        person.groups.clear();
        let names = ["email", "email_verified", "groups", "shoe_size", "nickname"];
        assert!(of_person(&person, names).is_empty());
    }

    proptest! {
        #[test]
        fn any_claims_parameter_parses_or_fails_without_panic(text in r#"[{}":,a-z_\[\]]{0,60}"#) {
            let _ = ClaimsRequest::parse(&text);
        }
    }
}
