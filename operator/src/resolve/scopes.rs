//! The scopes that every realm has, with what the consent page says about them.

use std::collections::BTreeMap;

use oidc::config::{Localized, Scope};

/// Name, what the consent page says in English and German, and claims (OpenID Connect Core 1.0 §5.4).
type Standard = (
    &'static str,
    Option<(&'static str, &'static str)>,
    &'static [&'static str],
);

const STANDARD: [Standard; 7] = [
    // Said by the page itself: the application learns who signs in.
    ("openid", None, &["sub"]),
    (
        "profile",
        Some((
            "See your name, picture and other profile details",
            "Namen, Bild und weitere Angaben Ihres Profils sehen",
        )),
        &[
            "name",
            "family_name",
            "given_name",
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
        ],
    ),
    (
        "email",
        Some(("See your e-mail address", "Ihre E-Mail-Adresse sehen")),
        &["email", "email_verified"],
    ),
    (
        "address",
        Some(("See your postal address", "Ihre Postanschrift sehen")),
        &["address"],
    ),
    (
        "phone",
        Some(("See your phone number", "Ihre Telefonnummer sehen")),
        &["phone_number", "phone_number_verified"],
    ),
    (
        "offline_access",
        Some((
            "Keep this access while you are not signed in",
            "Diesen Zugriff behalten, auch wenn Sie nicht angemeldet sind",
        )),
        &[],
    ),
    (
        "groups",
        Some(("See the groups you belong to", "Sehen, zu welchen Gruppen Sie gehören")),
        &["groups"],
    ),
];

/// The standard scopes with those of the realm laid over them. A realm's words replace the standard ones; the claims of
/// a standard scope can be extended, not taken away, because clients rely on them.
pub(crate) fn effective(own: &[crds::realm::Scope]) -> BTreeMap<String, Scope> {
    let mut scopes: BTreeMap<String, Scope> = STANDARD
        .iter()
        .map(|(name, words, claims)| {
            let description = words.map(|(english, german)| Localized {
                text: english.to_owned(),
                translations: BTreeMap::from([("de".to_owned(), german.to_owned())]),
            });
            let claims = claims.iter().map(|claim| (*claim).to_owned()).collect();
            ((*name).to_owned(), Scope { description, claims })
        })
        .collect();
    for scope in own {
        let entry = scopes.entry(scope.name.as_str().to_owned()).or_insert_with(|| Scope {
            description: None,
            claims: Vec::new(),
        });
        entry.description = Some(Localized {
            text: scope.description.clone(),
            translations: scope.localized_descriptions.clone(),
        });
        for claim in &scope.claims {
            if !entry.claims.iter().any(|known| known == claim.as_str()) {
                entry.claims.push(claim.as_str().to_owned());
            }
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_words_a_standard_scope_anew_and_keeps_its_claims() {
        let own: Vec<crds::realm::Scope> = serde_json::from_value(serde_json::json!([
            {"name": "email", "description": "Know where to write to you", "claims": ["email", "department"]},
            {"name": "orders", "description": "See your orders"},
        ]))
        .unwrap();
        let scopes = effective(&own);
        assert_eq!(scopes.len(), STANDARD.len() + 1);
        let email = &scopes["email"];
        assert_eq!(email.claims, ["email", "email_verified", "department"]);
        assert_eq!(email.description.as_ref().unwrap().text, "Know where to write to you");
        assert!(scopes["openid"].description.is_none());
    }
}
