//! The table of accepted and refused objects, judged in process.

use std::collections::BTreeSet;

use crds::Kind;
use crds::admission::Admission;
use crds::testing::cases;
use serde_json::Value;

#[test]
fn objects_are_accepted_and_refused_as_the_table_says() {
    let admission = Admission::new().unwrap();
    let mut wrong = Vec::new();
    for case in cases().unwrap() {
        let old_errors = case
            .old
            .as_ref()
            .map_or(Vec::new(), |old| admission.check(case.kind, old, None));
        if !old_errors.is_empty() {
            wrong.push(format!("{}: the stored object is refused: {old_errors:?}", case.name));
        }
        let errors = admission.check(case.kind, &case.object, case.old.as_ref());
        let said = errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let right = match &case.refused {
            None => said.is_empty(),
            Some(part) => said.len() == 1 && said[0].contains(part.as_str()),
        };
        if !right {
            wrong.push(format!("{}: expected {:?}, got {said:#?}", case.name, case.refused));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn accepted_objects_decode_into_the_types() {
    let admission = Admission::new().unwrap();
    for case in cases().unwrap().into_iter().filter(|case| case.refused.is_none()) {
        let object = admission.defaulted(case.kind, &case.object);
        let again = match case.kind {
            Kind::AuthServer => serde_json::to_value(serde_json::from_value::<crds::AuthServer>(object).unwrap()),
            Kind::Realm => serde_json::to_value(serde_json::from_value::<crds::Realm>(object).unwrap()),
            Kind::Client => serde_json::to_value(serde_json::from_value::<crds::Client>(object).unwrap()),
        };
        let errors = admission.check(case.kind, &again.unwrap(), None);
        assert!(errors.is_empty(), "{}: {errors:?}", case.name);
    }
}

#[test]
fn every_cel_rule_refuses_something_in_the_table() {
    let refusals: Vec<String> = cases().unwrap().into_iter().filter_map(|case| case.refused).collect();
    let mut messages = BTreeSet::new();
    for kind in Kind::ALL {
        collect_messages(&kind.schema().unwrap(), &mut messages);
    }
    assert!(messages.len() > 30, "{messages:?}");
    let untested: Vec<_> = messages
        .iter()
        .filter(|message| !refusals.iter().any(|part| part.contains(message.as_str())))
        .collect();
    assert!(untested.is_empty(), "{untested:#?}");
}

fn collect_messages(schema: &Value, messages: &mut BTreeSet<String>) {
    match schema {
        Value::Object(node) => {
            if let Some(Value::Array(rules)) = node.get("x-kubernetes-validations") {
                messages.extend(rules.iter().map(|rule| rule["message"].as_str().unwrap().to_owned()));
            }
            node.values().for_each(|inner| collect_messages(inner, messages));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect_messages(inner, messages)),
        _ => {}
    }
}
