//! Fixtures, and a store in memory, for tests of pure logic. What real stores promise is proven on real databases.
#![allow(
    clippy::expect_used,
    reason = "fixtures are fixed: a wrong one must stop the test that uses it"
)]

mod agent;
mod memory;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use uuid::Uuid;

pub use self::agent::Agent;
pub use self::memory::MemoryStore;
use crate::claims::ClaimsRequest;
use crate::code::{Authentication, AuthorizationCode};
use crate::config::{
    AccessTokenFormat, Branding, Client, ClientAuthentication, ClientTokens, ConsentRule, GrantType, IdentifierKind,
    Issuer, KeySet, KeyStage, LoginRules, Realm, Scope, SealingKey, SecretHash, SessionRules, SignatureAlgorithm,
    SigningKey, TokenRules,
};
use crate::context::Context;
use crate::id::{GrantId, PersonId, RealmId, RequestId, SessionId, TokenId};
use crate::key_generation::generate_signing_key;
use crate::keys::Keys;
use crate::person::{Address, Person, PersonState, Profile};
use crate::remembered::Remembered;
use crate::revocation::Revocations;
use crate::served::{Clients, ServedRealm};
use crate::token::{self, TokenRequest, TokenResponse};
use crate::{Secret, Timestamp};

/// The issuer of [`realm`].
pub const ISSUER: &str = "https://id.example";
/// The moment of tests, unless they move it.
pub const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
/// The `redirect_uri` of [`client`].
pub const REDIRECT_URI: &str = "https://app.example/callback";

/// A generator with a fixed seed.
pub fn rng() -> StdRng {
    seeded(1)
}

/// A generator with this seed.
pub fn seeded(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// A realm with the usual scopes and lifetimes.
pub fn realm() -> Realm {
    realm_of(ISSUER)
}

/// A realm like [`realm`] with another issuer.
///
/// # Panics
/// When `issuer` is none.
pub fn realm_of(issuer: &str) -> Realm {
    let scope = |claims: &[&str]| Scope {
        description: None,
        claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
    };
    Realm {
        id: RealmId::of_issuer(issuer),
        name: "demo/realm".into(),
        issuer: Issuer::parse(issuer).expect("an issuer"),
        tokens: lifetimes(),
        sessions: SessionRules {
            lifetime: Duration::from_hours(12),
            idle: Duration::from_hours(1),
        },
        scopes: BTreeMap::from([
            ("openid".into(), scope(&["sub"])),
            (
                "profile".into(),
                scope(&["name", "given_name", "preferred_username", "updated_at"]),
            ),
            ("email".into(), scope(&["email", "email_verified"])),
            ("address".into(), scope(&["address"])),
            ("phone".into(), scope(&["phone_number", "phone_number_verified"])),
            ("offline_access".into(), scope(&[])),
            ("orders:read".into(), scope(&[])),
            ("orders:write".into(), scope(&[])),
        ])
        .into(),
        audiences: ["https://orders.example".into(), "https://stock.example".into()].into(),
        login: LoginRules {
            identifiers: vec![IdentifierKind::Username, IdentifierKind::Email],
            max_attempts: 5,
            attempt_window: Duration::from_mins(15),
        },
        branding: Branding {
            display_name: "Example".into(),
            ..Branding::default()
        },
        locales: ["en".into(), "de".into()].into(),
        not_before: None,
    }
}

/// The default lifetimes.
pub fn lifetimes() -> TokenRules {
    TokenRules {
        code: Duration::from_mins(1),
        access: Duration::from_mins(10),
        id: Duration::from_mins(10),
        refresh: Duration::from_hours(30 * 24),
        refresh_idle: Duration::from_hours(7 * 24),
        refresh_leeway: Duration::from_secs(30),
    }
}

/// The secret of the client `client_id`.
pub fn secret_of(client_id: &str) -> String {
    format!("secret-of-{client_id}")
}

/// The hash of a client secret.
///
/// # Panics
/// Never: SHA-256 has 32 bytes.
pub fn hash_of(secret: &str) -> SecretHash {
    let digest = digest::digest(&digest::SHA256, secret.as_bytes());
    SecretHash(digest.as_ref().try_into().expect("32 bytes"))
}

/// A confidential client (`client_secret_basic`, [`secret_of`]) that may do everything.
pub fn client(client_id: &str) -> Client {
    let scopes = [
        "openid",
        "profile",
        "email",
        "address",
        "phone",
        "offline_access",
        "orders:read",
        "orders:write",
    ];
    Client {
        realm: RealmId::of_issuer(ISSUER),
        client_id: client_id.into(),
        name: format!("demo/{client_id}"),
        display_name: "Demo".into(),
        logo: None,
        policy_uri: None,
        tos_uri: None,
        authentication: ClientAuthentication::SecretBasic(vec![hash_of(&secret_of(client_id))]),
        redirect_uris: [REDIRECT_URI.into()].into(),
        post_logout_redirect_uris: ["https://app.example/signed-out".into()].into(),
        allowed_origins: ["https://app.example".into()].into(),
        grant_types: [
            GrantType::AuthorizationCode,
            GrantType::RefreshToken,
            GrantType::ClientCredentials,
        ]
        .into(),
        scopes: scopes.map(str::to_owned).into(),
        default_scopes: ["orders:read".into()].into(),
        audiences: Arc::default(),
        pkce_required: true,
        tokens: ClientTokens {
            format: AccessTokenFormat::Jwt,
            lifetimes: lifetimes(),
            id_token_algorithm: SignatureAlgorithm::Es256,
            access_token_algorithm: SignatureAlgorithm::Es256,
            rotate_refresh: true,
        }
        .into(),
        consent: ConsentRule::Skip,
    }
}

/// A client like [`client`] without authentication.
pub fn public_client(client_id: &str) -> Client {
    Client {
        authentication: ClientAuthentication::None,
        ..client(client_id)
    }
}

static SIGNING_KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
    SignatureAlgorithm::ALL
        .into_iter()
        .map(|algorithm| SigningKey {
            stage: KeyStage::Active,
            ..generate_signing_key(algorithm).expect("a key")
        })
        .collect()
});

/// The keys of the realm of `issuer`: one active key of each algorithm, the same in every test of a process.
pub fn key_set(issuer: &str) -> KeySet {
    KeySet {
        realm: RealmId::of_issuer(issuer),
        signing: SIGNING_KEYS.clone(),
        sealing: vec![SealingKey {
            kid: "sealkey1".into(),
            stage: KeyStage::Active,
            secret: Secret::new([7; 32]),
        }],
    }
}

/// [`realm`] with these clients.
pub fn served(clients: impl IntoIterator<Item = Client>) -> Arc<ServedRealm> {
    served_realm(realm(), clients)
}

/// `realm` with these clients, and keys of its own.
pub fn served_realm(realm: Realm, clients: impl IntoIterator<Item = Client>) -> Arc<ServedRealm> {
    let id = realm.id;
    let keys = Keys::new(key_set(realm.issuer.as_str()));
    let clients: Clients = clients
        .into_iter()
        .map(|client| Arc::new(Client { realm: id, ..client }))
        .collect();
    Arc::new(ServedRealm::new(Arc::new(realm), Arc::new(keys), Arc::new(clients)))
}

/// A full person, active, in epoch 1.
pub fn person() -> Person {
    let text = |value: &str| Some(value.to_owned());
    Person {
        id: PersonId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)),
        username: "ada".into(),
        state: PersonState::Active,
        epoch: 1,
        groups: vec!["staff".into()],
        profile: Profile {
            name: text("Ada Lovelace"),
            given_name: text("Ada"),
            family_name: text("Lovelace"),
            email: text("ada@example.com"),
            email_verified: true,
            phone_number: text("+441234567890"),
            address: Some(Address {
                locality: text("London"),
                country: text("GB"),
                ..Address::default()
            }),
            ..Profile::default()
        },
        updated_at: NOW.before(Duration::from_hours(1)),
    }
}

/// A world to answer requests from: a realm, a store, and revocations known as of [`NOW`].
pub struct World {
    /// The realm.
    pub served: Arc<ServedRealm>,
    /// The store.
    pub store: MemoryStore,
    /// The revocations.
    pub revocations: Revocations,
    /// What is remembered.
    pub remembered: Remembered,
    /// The moment.
    pub now: Timestamp,
}

impl World {
    /// [`realm`] with these clients and [`person`].
    pub fn new(clients: impl IntoIterator<Item = Client>) -> Self {
        Self::of(served(clients))
    }

    /// A world around `served`, with [`person`] in it.
    pub fn of(served: Arc<ServedRealm>) -> Self {
        let revocations = Revocations::default();
        revocations.complete_as_of(NOW);
        Self {
            served,
            store: MemoryStore::with(person()),
            revocations,
            remembered: Remembered::default(),
            now: NOW,
        }
    }

    /// The context of a request now.
    pub fn context(&self) -> Context<'_> {
        Context {
            served: &self.served,
            store: &self.store,
            revocations: &self.revocations,
            remembered: &self.remembered,
            now: self.now,
            max_staleness: Duration::from_mins(1),
        }
    }

    /// Moves the clock, with the feed keeping up.
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.revocations.complete_as_of(self.now);
    }
}

/// The `code_verifier` of [`code`].
pub const CODE_VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A code of [`person`] for [`client`] `app`, issued [`NOW`].
pub fn code() -> AuthorizationCode {
    AuthorizationCode {
        id: TokenId(Uuid::from_u128(1)),
        grant: GrantId(Uuid::from_u128(2)),
        client_id: "app".into(),
        redirect_uri: Some(REDIRECT_URI.into()),
        issued_at: NOW,
        expires_at: NOW.after(Duration::from_mins(1)),
        person: person().id,
        epoch: 1,
        session: SessionId(Uuid::from_u128(3)),
        authentication: Authentication {
            time: NOW.before(Duration::from_mins(5)),
            methods: vec!["pwd".into()],
            context: None,
        },
        scopes: ["openid", "profile", "orders:read"].map(str::to_owned).to_vec(),
        nonce: Some("n-1".into()),
        code_challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".into()),
        resources: Vec::new(),
        claims: ClaimsRequest::default(),
    }
}

/// The tokens that `code` is worth, for a client with a basic secret.
///
/// # Panics
/// When the code is refused.
pub fn redeem(world: &World, code: &AuthorizationCode) -> TokenResponse {
    let context = world.context();
    let sealed = code.seal(context.keys(), &mut rng()).expect("a sealed code");
    let credentials = format!("{}:{}", code.client_id, secret_of(&code.client_id));
    let authorization = format!("Basic {}", STANDARD.encode(credentials));
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "authorization_code")
        .append_pair("code", &sealed)
        .append_pair("redirect_uri", REDIRECT_URI)
        .append_pair("code_verifier", CODE_VERIFIER)
        .finish();
    let request = TokenRequest {
        authorization: Some(&authorization),
        body: body.as_bytes(),
        request: RequestId(Uuid::from_u128(4)),
    };
    run(token::respond(&context, &mut rng(), request)).expect("tokens")
}

/// The result of a future that never waits: everything here answers at once.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
