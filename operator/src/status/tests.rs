//! The second report on the same verdict says nothing, and every transition is told once.

use std::sync::Arc;

use crds::conditions::{Finding, Reason};

use super::*;
use crate::resolve::Details;
use crate::world::{Cluster, ObjectKey};

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_seconds(second)
}

fn id() -> ObjectId {
    ObjectId {
        kind: Kind::Client,
        key: ObjectKey::new("apps", "web"),
    }
}

fn client(status: &Value) -> crds::Client {
    let object = json!({
        "apiVersion": "auth.nauthera.io/v1alpha1", "kind": "Client",
        "metadata": {"name": "web", "namespace": "apps", "uid": "u-1", "generation": 3},
        "spec": {"realmRef": {"name": "acme"}, "type": "Public", "redirectUris": ["https://web.example/cb"]},
        "status": status,
    });
    serde_json::from_value(object).unwrap()
}

fn verdict(status: bool, reason: Reason, message: &str) -> Verdict {
    let mut findings = vec![
        Finding::new(ConditionType::Ready, status, reason, message),
        Finding::new(ConditionType::Programmed, status, reason, message),
    ];
    if !status {
        let summary = match reason.prognosis() {
            crds::conditions::Prognosis::Terminal => ConditionType::Stalled,
            _ => ConditionType::Reconciling,
        };
        findings.push(Finding::new(summary, true, reason, message));
    }
    Verdict {
        generation: 3,
        problems: Vec::new(),
        findings,
        details: Details::Client {
            client_id: Some("apps.web".to_owned()),
            issuer: None,
            secret: None,
            effective: None,
            config: None,
        },
    }
}

/// Reports, and returns the object as the API server would show it then with what was told.
fn step(object: &crds::Client, verdict: &Verdict, second: i64) -> (crds::Client, Vec<String>) {
    let report = report(&id(), Live::Client(object), verdict, at(second));
    let mut object = object.clone();
    if let Some(patch) = report.patch {
        assert_eq!(
            patch["metadata"],
            json!({"namespace": "apps", "name": "web", "uid": "u-1"})
        );
        object.status = Some(serde_json::from_value(patch["status"].clone()).unwrap());
    }
    let told = report.events.iter();
    let told = told.map(|event| format!("{} {} {}", event.kind.as_str(), event.reason, event.note));
    (object, told.collect())
}

#[test]
fn a_second_report_says_nothing_whatever_the_time() {
    let says = verdict(true, Reason::Live, "live on every ready replica since generation 4");
    let fresh = client(&json!({"observedGeneration": -1}));
    let (object, told) = step(&fresh, &says, 100);
    assert_eq!(told, ["Normal Live live on every ready replica since generation 4"]);
    assert_eq!(object.status.as_ref().unwrap().observed_generation, 3);
    let again = report(&id(), Live::Client(&object), &says, at(5000));
    assert_eq!(again, Report::default());
}

#[test]
fn the_observed_generation_moves_only_with_a_final_verdict() {
    let fresh = client(&json!({"observedGeneration": 2}));
    let (object, told) = step(&fresh, &verdict(false, Reason::RollingOut, "1 of 2"), 100);
    let status = object.status.clone().unwrap();
    assert_eq!(status.observed_generation, 2);
    let of_conditions: Vec<_> = status.conditions.iter().map(|c| c.observed_generation).collect();
    assert_eq!(of_conditions, [Some(3); 3], "each condition speaks of the new one");
    assert!(told.is_empty(), "{told:?}");
    let (object, _) = step(&object, &verdict(false, Reason::RejectedByServer, "no"), 101);
    assert_eq!(object.status.unwrap().observed_generation, 3, "stalled is final");
}

#[test]
fn events_tell_of_transitions_only() {
    let mut object = client(&json!({"observedGeneration": -1}));
    let mut told = Vec::new();
    let says = [
        (false, Reason::RollingOut, "0 of 2"),
        (false, Reason::RollingOut, "1 of 2"),
        (true, Reason::Live, "live"),
        (false, Reason::RejectedByServer, "refused: a"),
        (false, Reason::RejectedByServer, "refused: b"),
        (false, Reason::NotAdmitted, "no"),
        (true, Reason::Live, "live"),
    ];
    for (second, (status, reason, message)) in (100..).zip(says) {
        let (next, events) = step(&object, &verdict(status, reason, message), second);
        object = next;
        told.extend(events);
    }
    assert_eq!(
        told,
        [
            "Normal Live live",
            "Warning RejectedByServer refused: a",
            "Warning NotAdmitted no",
            "Normal Live live"
        ]
    );
}

#[test]
fn conditions_of_other_writers_are_neither_repeated_nor_counted() {
    let foreign = json!({
        "type": "example.com/Scanned", "status": "True", "reason": "Clean", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let (object, _) = step(
        &client(&json!({"observedGeneration": -1})),
        &verdict(true, Reason::Live, "live"),
        100,
    );
    let mut status = serde_json::to_value(object.status).unwrap();
    status["conditions"].as_array_mut().unwrap().push(foreign);
    let object = client(&status);
    let says = verdict(true, Reason::Live, "live");
    assert_eq!(report(&id(), Live::Client(&object), &says, at(200)), Report::default());
    let says = verdict(false, Reason::Invalid, "spec.redirectUris[0]: no");
    let patch = report(&id(), Live::Client(&object), &says, at(200)).patch.unwrap();
    let types: Vec<_> = patch["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["type"].clone())
        .collect();
    assert_eq!(types, ["Ready", "Programmed", "Stalled"]);
}

#[test]
fn an_object_that_does_not_parse_says_so_and_keeps_what_else_it_shows() {
    let says = Verdict {
        generation: 0,
        problems: Vec::new(),
        findings: vec![
            Finding::new(
                ConditionType::Ready,
                false,
                Reason::Undecodable,
                "spec.nonsense: unknown",
            ),
            Finding::new(
                ConditionType::Stalled,
                true,
                Reason::Undecodable,
                "spec.nonsense: unknown",
            ),
        ],
        details: Details::Undecodable,
    };
    let raw = json!({
        "metadata": {"name": "web", "namespace": "apps", "uid": "u-1", "generation": 7},
        "spec": {"nonsense": 1},
        "status": {"observedGeneration": 6, "clientId": "apps.web"},
    });
    let mut world = World {
        cluster: Some(Cluster::default()),
        ..World::default()
    };
    world.cluster.as_mut().unwrap().raw.insert(id(), Arc::new(raw.clone()));
    let live = Live::find(&world, &id()).unwrap();
    let report_ = report(&id(), live, &says, at(100));
    let status = report_.patch.unwrap()["status"].clone();
    assert_eq!(
        (&status["observedGeneration"], &status["clientId"]),
        (&json!(7), &json!("apps.web"))
    );
    assert_eq!(status["conditions"][0]["observedGeneration"], 7);
    assert_eq!(report_.events.len(), 1);
    let mut written = raw;
    written["status"] = status;
    assert_eq!(report(&id(), Live::Raw(&written), &says, at(200)), Report::default());
}

#[test]
fn the_note_of_an_event_is_cut_between_characters() {
    let subject = Subject {
        id: id(),
        uid: String::new(),
    };
    let event = Event::new(subject, EventKind::Normal, ("A", "B"), &"ü".repeat(900), "");
    assert_eq!(event.note.len(), 1000);
}
