//! `Cookie` headers: no input panics, and a name that comes twice is never answered with one of its values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oidc::front_channel::{Browser, Cookies, Method};
use oidc::parameters::Parameters;
use oidc::{authorize, testing};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let cookies = Cookies::parse(text.split('\n'));
    for pair in text.split(['\n', ';']) {
        let name = pair.split('=').next().unwrap_or_default().trim();
        let _ = cookies.find(name);
    }
    let twice = Cookies::parse(["a=1", text, "a=2"]);
    assert!(twice.find("a").is_err(), "two cookies of one name");

    // The whole path from a header to an answer: nobody is signed in by a cookie that we did not write.
    let world = testing::World::new([testing::client("app")]);
    let browser = Browser {
        cookies: &cookies,
        method: Method::Get,
        fetch_site: None,
        origin: None,
        source: "192.0.2.1",
        user_agent: "",
    };
    let query = b"client_id=app&response_type=code&scope=openid&prompt=none&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback";
    let parameters = Parameters::parse(query).expect("parameters");
    let mut random = testing::rng();
    let context = world.context();
    let answer = futures::executor::block_on(authorize::respond(&context, &browser, &parameters, &mut random));
    assert!(!format!("{:?}", answer.outcome).contains("code="), "a code without a sign-in");
});
