use oidc::config::{ClientAuthentication, ClientKeys, Realm, SecretHash};
use oidc::id::RealmId;
use proptest::prelude::*;

use super::*;
use crate::fixtures::{client, keys, realm};

fn check_round_trip(resource: &Resource) {
    let payload = encode(resource);
    assert_eq!(decode(&ResourceId::of(resource), &payload).unwrap(), *resource);
    assert_eq!(encode(resource), payload);
}

#[test]
fn every_kind_round_trips() {
    check_round_trip(&Resource::Realm(realm()));
    check_round_trip(&Resource::Keys(keys()));
    for authentication in [
        ClientAuthentication::None,
        ClientAuthentication::SecretBasic(Vec::new()),
        ClientAuthentication::SecretPost(vec![SecretHash([1; 32]), SecretHash([2; 32])]),
        ClientAuthentication::PrivateKeyJwt {
            jwks: ClientKeys::new(r#"{"keys":[{"kty":"EC"}]}"#).into(),
        },
    ] {
        let mut client = client("shop", "Shop");
        client.authentication = authentication;
        let secrets = match &client.authentication {
            ClientAuthentication::SecretBasic(accepted) | ClientAuthentication::SecretPost(accepted) => {
                Some(ClientSecrets {
                    name: client.name.clone(),
                    accepted: accepted.clone(),
                })
            }
            ClientAuthentication::None | ClientAuthentication::PrivateKeyJwt { .. } => None,
        };
        let resource = Resource::Client(client);
        assert_eq!(ClientSecrets::of(&encode(&resource)), secrets);
        check_round_trip(&resource);
    }
}

#[test]
fn the_canonical_form_is_fixed() {
    // A change here changes every version in every fleet, and needs a new schema unless it only adds what is absent.
    insta::assert_snapshot!(
        String::from_utf8(encode(&Resource::Client(client("shop", "Shop"))).bytes().to_vec()).unwrap(),
        @r#"{"client":{"realm":"9c636d2c-6d36-56c2-9faf-0640acbc470c","clientId":"shop","name":"shop/web","displayName":"Shop","logo":null,"policyUri":null,"tosUri":"https://example.com/terms","authentication":{"secretBasic":["BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"]},"redirectUris":["https://shop.example.com/callback"],"postLogoutRedirectUris":[],"allowedOrigins":["https://shop.example.com"],"grantTypes":["authorizationCode","refreshToken"],"scopes":["openid","profile"],"defaultScopes":["openid"],"audiences":[],"pkceRequired":true,"tokens":{"format":"jwt","lifetimes":{"code":60000,"access":600000,"id":600000,"refresh":2592000000,"refreshIdle":604800000,"refreshLeeway":30000},"idTokenAlgorithm":"ES256","accessTokenAlgorithm":"EdDSA","rotateRefresh":true},"consent":"remember"}}"#
    );
}

#[test]
fn what_a_compiler_would_not_have_written_is_refused() {
    type Change = fn(&mut Realm);
    let realms: Vec<(&str, Change)> = vec![
        ("realm.id", |realm| {
            realm.id = RealmId::of_issuer("https://other.example.com");
        }),
        ("realm.locales", |realm| realm.locales = Arc::default()),
        ("realm.scopes", |realm| {
            Arc::make_mut(&mut realm.scopes).remove("openid");
        }),
        ("realm.name", |realm| realm.name = "a\nb".to_owned()),
        ("login.identifiers", |realm| realm.login.identifiers.clear()),
        ("login.maxAttempts", |realm| realm.login.max_attempts = 0),
        ("tokens.access", |realm| realm.tokens.access = Duration::ZERO),
        ("tokens.refresh", |realm| {
            realm.tokens.refresh = Duration::from_hours(1_000_000);
        }),
        ("branding.privacyUri", |realm| {
            realm.branding.privacy_uri = Some("javascript:alert(1)".to_owned());
        }),
        ("logo.mediaType", |realm| {
            realm.branding.logo.as_mut().unwrap().media_type = "text/html".to_owned();
        }),
    ];
    for (expected, change) in realms {
        let mut realm = realm();
        change(&mut realm);
        let resource = Resource::Realm(realm);
        match decode(&ResourceId::of(&resource), &encode(&resource)) {
            Err(ResourceError::Invalid { field }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let mut fragment = client("shop", "Shop");
    fragment.redirect_uris = ["https://shop.example.com/#x".to_owned()].into();
    let mut scope = client("shop", "Shop");
    scope.default_scopes = ["email".to_owned()].into();
    for wrong in [fragment, scope] {
        let resource = Resource::Client(wrong);
        let refused = decode(&ResourceId::of(&resource), &encode(&resource));
        assert!(matches!(refused, Err(ResourceError::Invalid { .. })));
    }
}

#[test]
fn a_resource_under_another_name_is_refused() {
    let payload = encode(&Resource::Client(client("shop", "Shop")));
    let other = ResourceId::of(&Resource::Client(client("bank", "Bank")));
    assert!(matches!(decode(&other, &payload), Err(ResourceError::WrongId(_))));
}

#[test]
fn unknown_fields_are_refused() {
    // What a newer compiler says with a field that this build does not know must not be ignored in silence.
    let resource = Resource::Client(client("shop", "Shop"));
    let text = String::from_utf8(encode(&resource).bytes().to_vec()).unwrap();
    let extended = text.replacen("{\"client\":{", "{\"client\":{\"requireMfa\":true,", 1);
    let refused = decode(&ResourceId::of(&resource), &Payload::new(extended.into_bytes()));
    assert!(matches!(refused, Err(ResourceError::Malformed { .. })));
}

#[test]
fn debug_output_shows_no_secret() {
    let payload = encode(&Resource::Keys(keys()));
    let text = String::from_utf8(payload.bytes().to_vec()).unwrap();
    let secret = BASE64.encode([9; 32]);
    assert!(text.contains(&secret));
    assert!(!format!("{payload:?}").contains(&secret));
}

#[test]
fn oversized_and_deeply_nested_input_is_refused() {
    let id = ResourceId::of(&Resource::Realm(realm()));
    let large = Payload::new(vec![b' '; RESOURCE_BYTES + 1]);
    assert!(matches!(decode(&id, &large), Err(ResourceError::TooLarge(_))));
    let nested = Payload::new("[".repeat(100_000).into_bytes());
    assert!(matches!(decode(&id, &nested), Err(ResourceError::Malformed { .. })));
}

proptest! {
    #[test]
    fn clients_round_trip(
        client_id in "[ -~]{1,64}",
        display_name in "\\PC{0,64}",
        uris in prop::collection::vec("https://[a-z]{1,20}/[!-\"$-~]{0,40}", 0..5),
        secrets in prop::collection::vec(any::<[u8; 32]>(), 0..4),
        access_millis in 1_u64..1_000_000_000,
        pkce_required in any::<bool>(),
    ) {
        let mut client = client(&client_id, &display_name);
        client.redirect_uris = uris.into();
        client.authentication = ClientAuthentication::SecretPost(secrets.into_iter().map(SecretHash).collect());
        Arc::make_mut(&mut client.tokens).lifetimes.access = Duration::from_millis(access_millis);
        client.pkce_required = pkce_required;
        check_round_trip(&Resource::Client(client));
    }

    #[test]
    fn altered_bytes_never_panic_and_never_pass_for_another_resource(
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        for resource in [Resource::Realm(realm()), Resource::Keys(keys()), Resource::Client(client("shop", "Shop"))] {
            let id = ResourceId::of(&resource);
            let mut bytes = encode(&resource).bytes().to_vec();
            let at = position.index(bytes.len());
            bytes[at] = byte;
            if let Ok(decoded) = decode(&id, &Payload::new(bytes)) {
                prop_assert_eq!(ResourceId::of(&decoded), id);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let id = ResourceId::of(&Resource::Realm(realm()));
        prop_assert!(decode(&id, &Payload::new(bytes)).is_err());
    }
}
