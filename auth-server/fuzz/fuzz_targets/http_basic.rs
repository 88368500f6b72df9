//! Client authentication: whatever header and form come, nobody gets a token without the secret.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use oidc::id::RequestId;
use oidc::testing::{self, World};
use oidc::token::{self, TokenRequest};

static WORLD: LazyLock<World> = LazyLock::new(|| World::new([testing::client("app"), testing::public_client("spa")]));

fuzz_target!(|data: &[u8]| {
    let split = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, body) = data.split_at(split);
    let body = body.get(1..).unwrap_or_default();
    let secret = testing::secret_of("app");
    let encoded = format!("Basic {}", STANDARD.encode(header));
    for authorization in [None, std::str::from_utf8(header).ok(), Some(encoded.as_str())] {
        let context = WORLD.context();
        let _ = oidc::client_authentication::claimed_client(&context, authorization, body);
        let mut random = testing::rng();
        let request = TokenRequest {
            authorization,
            body,
            request: RequestId::generate(context.now, &mut random),
        };
        let answer = futures::executor::block_on(token::respond(&context, &mut random, request));
        if answer.is_ok() {
            let knows = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&secret);
            assert!(knows(data) || knows(&STANDARD.decode(header).unwrap_or_default()), "a token without a secret");
        }
    }
});
