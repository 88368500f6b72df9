use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::Timestamp;
use crate::access_token::AccessToken;
use crate::claims::ClaimsRequest;
use crate::code::AuthorizationCode;
use crate::config::{AccessTokenFormat, Client, ClientAuthentication, Realm, SignatureAlgorithm};
use crate::grant::refresh_token::RefreshToken;
use crate::id::{GrantId, SessionId, TokenId};
use crate::jose::TokenType;
use crate::keys::Keys;
use crate::person::{Person, PersonState};
use crate::revocation::{Revocation, Revoked};
use crate::served::ServedRealm;
use crate::store::Store as _;
use crate::testing::{self, CODE_VERIFIER, ISSUER, NOW, REDIRECT_URI, World, code, run};

const GRANT: Revoked = Revoked::Grant(GrantId(Uuid::from_u128(2)));
const SESSION: SessionId = SessionId(Uuid::from_u128(3));

fn scopes(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn ask(world: &World, client_id: &str, request: u128, pairs: &[(&str, &str)]) -> Result<TokenResponse, TokenError> {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(pairs);
    let header = format!(
        "Basic {}",
        STANDARD.encode(format!("{client_id}:{}", testing::secret_of(client_id)))
    );
    let public = world.served.client(client_id).unwrap().authentication == ClientAuthentication::None;
    if public {
        body.append_pair("client_id", client_id);
    }
    let body = body.finish();
    let request = TokenRequest {
        authorization: (!public).then_some(header.as_str()),
        body: body.as_bytes(),
        request: RequestId(Uuid::from_u128(request)),
    };
    run(respond(&world.context(), &mut testing::seeded(7), request))
}

fn redeem(world: &World, code: &AuthorizationCode, request: u128) -> Result<TokenResponse, TokenError> {
    redeem_text(world, &code.client_id, &seal(world, code), request)
}

fn seal(world: &World, code: &AuthorizationCode) -> String {
    code.seal(world.context().keys(), &mut testing::rng()).unwrap()
}

fn redeem_text(world: &World, client_id: &str, code: &str, request: u128) -> Result<TokenResponse, TokenError> {
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", CODE_VERIFIER),
    ];
    ask(world, client_id, request, &pairs)
}

fn refresh(world: &World, token: &str, more: &[(&str, &str)]) -> Result<TokenResponse, TokenError> {
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", token)];
    ask(world, "app", 99, &[&pairs, more].concat())
}

fn first_refresh_token(world: &World) -> String {
    redeem(world, &code(), 1).unwrap().refresh_token.unwrap()
}

fn claims(world: &World, typ: TokenType, token: &str) -> Value {
    serde_json::from_slice(&world.context().keys().verify(typ, token).unwrap()).unwrap()
}

fn refused(answer: Result<TokenResponse, TokenError>) -> &'static str {
    answer.unwrap_err().code()
}

fn world() -> World {
    World::new([
        testing::client("app"),
        testing::client("other"),
        testing::public_client("spa"),
    ])
}

fn world_with(change: impl FnOnce(&mut Client)) -> World {
    let mut client = testing::client("app");
    change(&mut client);
    World::new([client])
}

fn end_session(world: &World) {
    let ended = Revocation {
        what: Revoked::Session(SESSION),
        expires_at: NOW.after(Duration::from_hours(1)),
    };
    run(world.store.revoke(world.context().realm_id(), &[ended], NOW)).unwrap();
}

#[test]
fn a_code_becomes_tokens_with_one_statement() {
    let world = world();
    let answer = redeem(&world, &code(), 1).unwrap();
    assert_eq!(world.store.take_calls(), ["redeem_code"]);
    let access = claims(&world, TokenType::AccessToken, &answer.access_token);
    let person = testing::person().id;
    let now = NOW.unix_seconds();
    let expected = json!({
        "iss": ISSUER, "sub": person, "aud": ISSUER, "client_id": "app", "exp": now + 600, "iat": now,
        "jti": access["jti"], "scope": "openid profile orders:read", "auth_time": now - 300, "amr": ["pwd"],
        "sid": SESSION, "gid": Uuid::from_u128(2), "fid": access["fid"], "epoch": 1,
    });
    assert_eq!(access, expected);
    let id_token = claims(&world, TokenType::IdToken, answer.id_token.as_deref().unwrap());
    let expected = json!({
        "iss": ISSUER, "sub": person, "aud": "app", "exp": now + 600, "iat": now, "auth_time": now - 300,
        "nonce": "n-1", "amr": ["pwd"], "sid": SESSION, "at_hash": id_token["at_hash"],
    });
    assert_eq!(id_token, expected);
    assert_eq!((answer.token_type, answer.expires_in_seconds), ("Bearer", 600));
    assert!(answer.refresh_token.is_some());
}

#[test]
fn a_code_of_another_client_is_refused_and_not_spent() {
    let world = world();
    let sealed = seal(&world, &code());
    assert_eq!(refused(redeem_text(&world, "other", &sealed, 1)), "invalid_grant");
    assert!(world.store.take_calls().is_empty());
    assert!(redeem_text(&world, "app", &sealed, 2).is_ok());
}

#[test]
fn an_expired_code_is_refused_and_not_spent() {
    let mut world = world();
    world.advance(Duration::from_mins(1));
    assert_eq!(refused(redeem(&world, &code(), 1)), "invalid_grant");
    assert!(world.store.take_calls().is_empty());
}

#[test]
fn a_code_with_another_redirect_uri_is_refused_and_not_spent() {
    let world = world();
    for redirect_uri in [Some("https://app.example/callback/".to_owned()), None] {
        let code = AuthorizationCode { redirect_uri, ..code() };
        assert_eq!(refused(redeem(&world, &code, 1)), "invalid_grant");
    }
    assert!(world.store.take_calls().is_empty());
}

#[test]
fn a_code_verifier_must_match_its_challenge_before_anything_is_spent() {
    let world = world_with(|client| client.pkce_required = false);
    let sealed = |challenge: Option<&str>| {
        let code_challenge = challenge.map(str::to_owned);
        seal(
            &world,
            &AuthorizationCode {
                code_challenge,
                ..code()
            },
        )
    };
    let with = |code: &str, verifier: &[(&str, &str)]| {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
        ];
        ask(&world, "app", 1, &[&pairs, verifier].concat())
    };
    let challenge = code().code_challenge;
    let wrong = "x".repeat(43);
    assert_eq!(
        refused(with(&sealed(challenge.as_deref()), &[("code_verifier", &wrong)])),
        "invalid_grant"
    );
    assert_eq!(refused(with(&sealed(challenge.as_deref()), &[])), "invalid_grant");
    // A challenge that was plain would match itself.
    let plain = with(&sealed(Some(CODE_VERIFIER)), &[("code_verifier", CODE_VERIFIER)]);
    assert_eq!(refused(plain), "invalid_grant");
    // Somebody stripped the challenge from the authorization request.
    let stripped = with(&sealed(None), &[("code_verifier", CODE_VERIFIER)]);
    assert_eq!(refused(stripped), "invalid_grant");
    assert!(world.store.take_calls().is_empty());
    assert!(with(&sealed(None), &[]).is_ok());
}

#[test]
fn a_code_without_challenge_is_refused_where_pkce_is_required() {
    let world = world();
    let code = seal(
        &world,
        &AuthorizationCode {
            code_challenge: None,
            ..code()
        },
    );
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT_URI),
    ];
    assert_eq!(refused(ask(&world, "app", 1, &pairs)), "invalid_grant");
}

#[test]
fn a_replayed_code_revokes_everything_that_it_led_to() {
    let world = world();
    let token = first_refresh_token(&world);
    world.store.take_calls();
    assert_eq!(refused(redeem(&world, &code(), 2)), "invalid_grant");
    assert_eq!(world.store.take_calls(), ["redeem_code", "revoke"]);
    assert!(world.store.has_ended(GRANT) && world.revocations.any_revoked([GRANT]));
    assert_eq!(refused(refresh(&world, &token, &[])), "invalid_grant");
}

#[test]
fn the_server_s_own_retry_of_a_redemption_is_no_replay() {
    let world = world();
    assert!(redeem(&world, &code(), 1).is_ok());
    assert!(redeem(&world, &code(), 1).is_ok());
    assert!(!world.store.has_ended(GRANT));
}

#[test]
fn a_code_of_another_realm_is_refused() {
    let world = world();
    let keys = Keys::new(testing::key_set("https://other.example"));
    let foreign = code().seal(&keys, &mut testing::rng()).unwrap();
    for text in [foreign.as_str(), "x", "a.b.c", &"A".repeat(400)] {
        assert_eq!(refused(redeem_text(&world, "app", text, 1)), "invalid_grant");
    }
}

#[test]
fn what_is_older_than_not_before_is_refused() {
    let at = |not_before: Timestamp| {
        let not_before = Some(not_before);
        let realm = Realm {
            not_before,
            ..testing::realm()
        };
        World::of(testing::served_realm(realm, [testing::client("app")]))
    };
    let second = Duration::from_secs(1);
    let authenticated = code().authentication.time;
    assert!(redeem(&at(authenticated), &code(), 1).is_ok());
    assert_eq!(
        refused(redeem(&at(authenticated.after(second)), &code(), 1)),
        "invalid_grant"
    );
    let token = first_refresh_token(&world());
    assert_eq!(refused(refresh(&at(NOW.after(second)), &token, &[])), "invalid_grant");
}

#[test]
fn a_person_that_changed_since_the_authorization_gets_nothing() {
    let changes: [fn(&mut Person); 2] = [
        |person| person.epoch += 1,
        |person| person.state = PersonState::Disabled,
    ];
    for change in changes {
        let world = world();
        let token = first_refresh_token(&world);
        world.store.change(testing::person().id, change);
        assert_eq!(refused(refresh(&world, &token, &[])), "invalid_grant");
        let id = TokenId(Uuid::from_u128(9));
        assert_eq!(
            refused(redeem(&world, &AuthorizationCode { id, ..code() }, 1)),
            "invalid_grant"
        );
    }
}

#[test]
fn without_the_store_nothing_is_minted() {
    let world = world();
    let token = first_refresh_token(&world);
    world.store.set_down(true);
    assert_eq!(refused(redeem(&world, &code(), 1)), "temporarily_unavailable");
    assert_eq!(refused(refresh(&world, &token, &[])), "temporarily_unavailable");
    assert!(ask(&world, "app", 1, &[("grant_type", "client_credentials")]).is_ok());
}

#[test]
fn a_refresh_rotates_with_one_statement() {
    let world = world();
    let first = first_refresh_token(&world);
    world.store.take_calls();
    let second = refresh(&world, &first, &[]).unwrap();
    assert_eq!(world.store.take_calls(), ["rotate_refresh"]);
    let id_token = claims(&world, TokenType::IdToken, second.id_token.as_deref().unwrap());
    assert_eq!((&id_token["nonce"], &id_token["sid"]), (&Value::Null, &json!(SESSION)));
    assert_eq!(id_token["auth_time"], NOW.unix_seconds() - 300);
    assert!(refresh(&world, second.refresh_token.as_deref().unwrap(), &[]).is_ok());
}

#[test]
fn a_replayed_refresh_token_revokes_its_family() {
    let mut world = world();
    let first = first_refresh_token(&world);
    let second = refresh(&world, &first, &[]).unwrap();
    let access = AccessToken::decode(&world.context(), &second.access_token).unwrap();
    world.advance(Duration::from_mins(1));
    assert!(access.is_live(&world.context()));
    assert_eq!(refused(refresh(&world, &first, &[])), "invalid_grant");
    assert!(!access.is_live(&world.context()));
    assert_eq!(
        refused(refresh(&world, &second.refresh_token.unwrap(), &[])),
        "invalid_grant"
    );
}

#[test]
fn within_the_leeway_a_repeated_refresh_yields_the_same_successor() {
    let world = world();
    let first = first_refresh_token(&world);
    let sequences = [1, 2].map(|_| {
        let token = refresh(&world, &first, &[]).unwrap().refresh_token.unwrap();
        RefreshToken::open(&world.context(), &token).unwrap().sequence
    });
    assert_eq!(sequences, [1, 1]);
}

#[test]
fn a_refresh_token_of_another_client_is_refused_without_a_statement() {
    let world = world();
    let token = first_refresh_token(&world);
    world.store.take_calls();
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    assert_eq!(refused(ask(&world, "other", 1, &pairs)), "invalid_grant");
    assert!(world.store.take_calls().is_empty());
}

#[test]
fn an_expired_refresh_token_is_refused() {
    let mut world = world();
    let token = first_refresh_token(&world);
    world.advance(testing::lifetimes().refresh);
    assert_eq!(refused(refresh(&world, &token, &[])), "invalid_grant");
}

#[test]
fn a_refresh_may_narrow_scopes_for_one_answer_but_never_widen_them() {
    let world = world();
    let first = first_refresh_token(&world);
    let narrow = refresh(&world, &first, &[("scope", "orders:read")]).unwrap();
    assert_eq!((narrow.scope.as_str(), narrow.id_token), ("orders:read", None));
    let again = refresh(&world, narrow.refresh_token.as_deref().unwrap(), &[]).unwrap();
    assert_eq!(again.scope, "openid profile orders:read");
    world.store.take_calls();
    let wider = refresh(
        &world,
        &again.refresh_token.unwrap(),
        &[("scope", "openid orders:write")],
    );
    assert_eq!(refused(wider), "invalid_scope");
    assert!(world.store.take_calls().is_empty());
}

#[test]
fn tokens_of_an_offline_grant_carry_no_sid_and_outlive_the_session() {
    let world = world();
    let code = AuthorizationCode {
        scopes: scopes("openid offline_access"),
        ..code()
    };
    let first = redeem(&world, &code, 1).unwrap();
    assert!(
        claims(&world, TokenType::AccessToken, &first.access_token)
            .get("sid")
            .is_none()
    );
    end_session(&world);
    let second = refresh(&world, &first.refresh_token.unwrap(), &[]).unwrap();
    assert!(
        claims(&world, TokenType::IdToken, &second.id_token.unwrap())
            .get("sid")
            .is_none()
    );
}

#[test]
fn tokens_bound_to_a_session_end_with_it() {
    let world = world();
    let token = first_refresh_token(&world);
    end_session(&world);
    assert_eq!(refused(refresh(&world, &token, &[])), "invalid_grant");
}

#[test]
fn a_public_client_s_refresh_tokens_rotate_whatever_is_configured() {
    let mut clients = [testing::client("app"), testing::public_client("spa")];
    for client in &mut clients {
        Arc::make_mut(&mut client.tokens).rotate_refresh = false;
    }
    let world = World::new(clients);
    let token = first_refresh_token(&world);
    assert_eq!(refresh(&world, &token, &[]).unwrap().refresh_token, None);
    assert!(refresh(&world, &token, &[]).is_ok());
    let spa = AuthorizationCode {
        client_id: "spa".into(),
        id: TokenId(Uuid::from_u128(9)),
        ..code()
    };
    let token = redeem(&world, &spa, 1).unwrap().refresh_token.unwrap();
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    assert!(ask(&world, "spa", 2, &pairs).unwrap().refresh_token.is_some());
}

#[test]
fn client_credentials_take_no_statement_and_stay_within_the_client_s_scopes() {
    let world = world();
    let with = |scope: &str| {
        ask(
            &world,
            "app",
            1,
            &[("grant_type", "client_credentials"), ("scope", scope)],
        )
    };
    let answer = with("").unwrap();
    let access = claims(&world, TokenType::AccessToken, &answer.access_token);
    assert_eq!(
        (&access["sub"], &access["scope"]),
        (&json!("app"), &json!("orders:read"))
    );
    assert_eq!((answer.refresh_token, answer.id_token), (None, None));
    for scope in ["openid", "offline_access", "unknown", "orders:read admin"] {
        assert_eq!(refused(with(scope)), "invalid_scope", "{scope}");
    }
    assert_eq!(with("orders:write").unwrap().scope, "orders:write");
    assert!(world.store.take_calls().is_empty());
}

#[test]
fn client_credentials_are_not_for_public_clients() {
    assert_eq!(
        refused(ask(&world(), "spa", 1, &[("grant_type", "client_credentials")])),
        "unauthorized_client"
    );
}

#[test]
fn a_grant_that_the_client_may_not_use_is_refused() {
    let world = world_with(|client| client.grant_types = Arc::default());
    for grant_type in ["authorization_code", "refresh_token", "client_credentials"] {
        assert_eq!(
            refused(ask(&world, "app", 1, &[("grant_type", grant_type)])),
            "unauthorized_client"
        );
    }
    assert_eq!(
        refused(ask(&world, "app", 1, &[("grant_type", "password")])),
        "unsupported_grant_type"
    );
    assert_eq!(refused(ask(&world, "app", 1, &[])), "invalid_request");
}

#[test]
fn an_audience_is_granted_only_from_the_client_s_list_and_within_the_authorization() {
    let world = world_with(|client| client.audiences = testing::realm().audiences);
    let with = |resource: &str| {
        ask(
            &world,
            "app",
            1,
            &[("grant_type", "client_credentials"), ("resource", resource)],
        )
    };
    let audience = |answer: TokenResponse| claims(&world, TokenType::AccessToken, &answer.access_token)["aud"].clone();
    assert_eq!(audience(with("").unwrap()), "https://orders.example");
    assert_eq!(
        audience(with("https://stock.example").unwrap()),
        "https://stock.example"
    );
    assert_eq!(refused(with("https://other.example")), "invalid_target");
    let resources = vec!["https://orders.example".to_owned()];
    let answer = redeem(&world, &AuthorizationCode { resources, ..code() }, 1).unwrap();
    let token = answer.refresh_token.clone().unwrap();
    // A token that opens the UserInfo endpoint is for the issuer as well.
    assert_eq!(audience(answer), json!(["https://orders.example", ISSUER]));
    assert_eq!(
        refused(refresh(&world, &token, &[("resource", "https://stock.example")])),
        "invalid_target"
    );
    assert!(refresh(&world, &token, &[("resource", "https://orders.example")]).is_ok());
}

#[test]
fn opaque_access_tokens_are_sealed_and_tell_nothing() {
    let world = world_with(|client| Arc::make_mut(&mut client.tokens).format = AccessTokenFormat::Opaque);
    let token = redeem(&world, &code(), 1).unwrap().access_token;
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    assert!(!bytes.windows(7).any(|window| window == b"profile"));
    let access = AccessToken::decode(&world.context(), &token).unwrap();
    assert!(access.is_live(&world.context()) && access.has_scope("profile"));
}

#[test]
fn tokens_are_signed_with_the_algorithms_of_the_client_and_are_not_interchangeable() {
    for algorithm in SignatureAlgorithm::ALL {
        let world = world_with(|client| {
            let tokens = Arc::make_mut(&mut client.tokens);
            tokens.id_token_algorithm = algorithm;
            tokens.access_token_algorithm = algorithm;
        });
        let answer = redeem(&world, &code(), 1).unwrap();
        let id_token = answer.id_token.unwrap();
        let header = URL_SAFE_NO_PAD.decode(id_token.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["alg"], algorithm.name());
        claims(&world, TokenType::AccessToken, &answer.access_token);
        assert!(AccessToken::decode(&world.context(), &id_token).is_none());
    }
}

#[test]
fn claims_asked_for_in_the_id_token_are_in_it() {
    let claims_request = ClaimsRequest::parse(r#"{"id_token":{"email":null},"userinfo":{"address":null}}"#).unwrap();
    let world = world();
    let answer = redeem(
        &world,
        &AuthorizationCode {
            claims: claims_request,
            ..code()
        },
        1,
    )
    .unwrap();
    let id_token = claims(&world, TokenType::IdToken, &answer.id_token.unwrap());
    assert_eq!(
        (&id_token["email"], id_token.get("address")),
        (&json!("ada@example.com"), None)
    );
}

#[test]
fn a_malformed_request_is_answered_with_the_parameter_at_fault() {
    let world = world();
    let ask = |body: &[u8]| {
        let request = TokenRequest {
            authorization: None,
            body,
            request: RequestId(Uuid::nil()),
        };
        run(respond(&world.context(), &mut testing::rng(), request)).unwrap_err()
    };
    let duplicate = ask(b"grant_type=refresh_token&grant_type=refresh_token");
    assert_eq!(duplicate.description(), "parameter grant_type is given more than once");
    let missing = ask(b"client_id=spa&grant_type=authorization_code");
    assert_eq!(
        (missing.code(), &*missing.description()),
        ("invalid_request", "parameter code is missing")
    );
}

#[test]
fn an_unauthenticated_client_gets_a_challenge_and_no_reason() {
    let request = TokenRequest {
        authorization: Some("Basic YXBwOndyb25n"),
        body: b"grant_type=client_credentials",
        request: RequestId(Uuid::nil()),
    };
    let error = run(respond(&world().context(), &mut testing::rng(), request)).unwrap_err();
    assert_eq!(
        (error.code(), &*error.description()),
        ("invalid_client", "client authentication failed")
    );
    let challenge = r#"Basic realm="https://id.example", charset="UTF-8""#;
    assert_eq!(error.challenge(ISSUER).as_deref(), Some(challenge));
}

#[test]
fn tokens_are_not_printed() {
    let answer = redeem(&world(), &code(), 1).unwrap();
    assert!(!format!("{answer:?}").contains("eyJ"));
}

#[test]
fn a_missing_key_makes_an_error_and_no_token() {
    let mut set = testing::key_set(ISSUER);
    set.signing.clear();
    let clients = Arc::clone(&world().served.clients);
    let served = ServedRealm::new(Arc::new(testing::realm()), Arc::new(Keys::new(set)), clients);
    let world = World::of(Arc::new(served));
    assert_eq!(
        refused(ask(&world, "app", 1, &[("grant_type", "client_credentials")])),
        "server_error"
    );
}

proptest::proptest! {
    #[test]
    fn any_body_is_answered_without_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let world = World::new([testing::public_client("spa")]);
        let body = [b"client_id=spa&grant_type=refresh_token&refresh_token=".as_slice(), &body].concat();
        let request = TokenRequest { authorization: None, body: &body, request: RequestId(Uuid::nil()) };
        proptest::prop_assert!(run(respond(&world.context(), &mut testing::rng(), request)).is_err());
    }
}

#[test]
fn a_code_without_challenge_is_worth_nothing_to_a_public_client() {
    let world = World::new([Client {
        pkce_required: false,
        ..testing::public_client("spa")
    }]);
    let code = AuthorizationCode {
        client_id: "spa".into(),
        code_challenge: None,
        ..code()
    };
    let sealed = code.seal(world.context().keys(), &mut testing::rng()).unwrap();
    let body = format!(
        "grant_type=authorization_code&client_id=spa&redirect_uri={}&code={sealed}",
        url::form_urlencoded::byte_serialize(testing::REDIRECT_URI.as_bytes()).collect::<String>()
    );
    let request = TokenRequest {
        authorization: None,
        body: body.as_bytes(),
        request: RequestId(Uuid::nil()),
    };
    let answer = run(respond(&world.context(), &mut testing::rng(), request));
    assert_eq!(refused(answer), "invalid_grant");
}
