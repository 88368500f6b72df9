//! Queries and form bodies: no input panics, limits hold, and what is accepted survives being written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oidc::parameters::{MAX_BYTES, MAX_NAME_BYTES, MAX_PARAMETERS, MAX_VALUE_BYTES, Parameters};

fuzz_target!(|data: &[u8]| {
    let Ok(parameters) = Parameters::parse(data) else {
        return;
    };
    assert!(data.len() <= MAX_BYTES && parameters.iter().count() <= MAX_PARAMETERS);
    let mut again = url::form_urlencoded::Serializer::new(String::new());
    let mut seen = std::collections::BTreeSet::new();
    for (name, value) in parameters.iter() {
        assert!(name.len() <= MAX_NAME_BYTES && value.len() <= MAX_VALUE_BYTES);
        assert!(!value.contains('\0') && !name.contains('\0'));
        assert!(seen.insert(name.to_owned()) || name == "resource", "a duplicate was accepted: {name}");
        again.append_pair(name, value);
    }
    let again = again.finish();
    if again.len() <= MAX_BYTES {
        assert_eq!(Parameters::parse(again.as_bytes()).as_ref(), Ok(&parameters));
    }
});
