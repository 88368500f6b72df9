//! What is to be done about one child: a pure decision from what is desired and what is there.

use serde_json::Value;

use super::differ::differs;
use crate::build::{
    APPLIED_ANNOTATION, Desired, MANAGED_BY, OWNER_ANNOTATION, OWNER_UID_ANNOTATION, Owner, field, text,
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is as it should be.
    Leave,
    /// It is not there: create it.
    Create,
    /// It is ours and differs: apply it, for this reason.
    Apply(Why),
    /// It belongs to somebody else, who is named as far as it says.
    Foreign(String),
    /// It is being deleted: wait until it is gone.
    Wait,
}

/// Why a child is applied again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Something else is desired than before.
    Changed,
    /// It came back from a backup, or its owner did: it belongs to the owner that is there now.
    Adopted,
    /// Somebody changed these fields, which are ours.
    Edited(Vec<String>),
}

/// Decides. `live` is the object of that name, if there is one.
pub fn decide(desired: &Desired, live: Option<&Value>, owner: &Owner) -> Step {
    let Some(live) = live else { return Step::Create };
    if !is_ours(live, owner) {
        return Step::Foreign(holder(live));
    }
    if text(live, &["metadata", "deletionTimestamp"]).is_some() {
        return Step::Wait;
    }
    let fields = differs(&desired.object, live);
    if fields.is_empty() {
        return Step::Leave;
    }
    let annotation = |object, name| text(object, &["metadata", "annotations", name]).map(str::to_owned);
    if annotation(live, OWNER_UID_ANNOTATION).as_deref() != Some(owner.uid.as_str()) {
        return Step::Apply(Why::Adopted);
    }
    let applied = annotation(&desired.object, APPLIED_ANNOTATION);
    if applied.is_some() && annotation(live, APPLIED_ANNOTATION) == applied {
        return Step::Apply(Why::Edited(fields));
    }
    Step::Apply(Why::Changed)
}

/// Whether an object is a child of `owner`: it says so, or its controller is the owner. An object with our label that
/// names the same kind, namespace and name but another UID is one from before a restore: there is only one such owner.
pub fn is_ours(live: &Value, owner: &Owner) -> bool {
    let controlled = references(live).any(|reference| text(reference, &["uid"]) == Some(owner.uid.as_str()));
    let labelled = text(live, &["metadata", "labels", MANAGED_BY.0]) == Some(MANAGED_BY.1);
    let annotated = text(live, &["metadata", "annotations", OWNER_ANNOTATION]);
    controlled || (labelled && annotated == Some(owner.annotation().as_str()))
}

fn references(live: &Value) -> impl Iterator<Item = &Value> {
    field(live, &["metadata", "ownerReferences"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Whom an object seems to belong to, for people.
fn holder(live: &Value) -> String {
    if let Some(owner) = text(live, &["metadata", "annotations", OWNER_ANNOTATION])
        && text(live, &["metadata", "labels", MANAGED_BY.0]) == Some(MANAGED_BY.1)
    {
        return owner.replacen('/', " ", 1);
    }
    if let Some(controller) = references(live).next() {
        let part = |name| text(controller, &[name]).unwrap_or_default();
        return format!("{} {}", part("kind"), part("name"));
    }
    match text(live, &["metadata", "labels", MANAGED_BY.0]) {
        Some(manager) => format!("what is managed by {manager}"),
        None => "somebody else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{OWNER_ANNOTATION, set};
    use crate::world::{ChildId, ChildKind, ObjectKey};
    use crds::manifests::Kind;
    use serde_json::json;

    fn owner(uid: &str) -> Owner {
        Owner {
            kind: Kind::AuthServer,
            key: ObjectKey::new("login", "main"),
            uid: uid.to_owned(),
        }
    }

    fn desired(replicas: i32) -> Desired {
        let id = ChildId::new(ChildKind::Deployment, "login", "main");
        Desired::owned(id, &owner("new"), json!({"spec": {"replicas": replicas}}))
    }

    #[test]
    fn an_absent_child_is_created_and_an_equal_one_left() {
        assert_eq!(decide(&desired(2), None, &owner("new")), Step::Create);
        let mut live = desired(2).object;
        set(&mut live, &["status", "replicas"], json!(2));
        assert_eq!(decide(&desired(2), Some(&live), &owner("new")), Step::Leave);
    }

    #[test]
    fn a_change_of_ours_is_told_from_an_edit_by_hand() {
        let live = desired(2).object;
        assert_eq!(
            decide(&desired(3), Some(&live), &owner("new")),
            Step::Apply(Why::Changed)
        );
        let mut edited = live;
        set(&mut edited, &["spec", "replicas"], json!(7));
        let expected = Step::Apply(Why::Edited(vec!["spec.replicas".to_owned()]));
        assert_eq!(decide(&desired(2), Some(&edited), &owner("new")), expected);
    }

    #[test]
    fn an_object_of_somebody_else_is_left_alone() {
        for (object, holder) in [
            (json!({"metadata": {"name": "main"}}), "somebody else"),
            (
                json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}}),
                "what is managed by Helm",
            ),
            (
                json!({"metadata": {"ownerReferences": [{"kind": "App", "name": "x", "uid": "u"}]}}),
                "App x",
            ),
            (
                json!({"metadata": {
                    "labels": {"app.kubernetes.io/managed-by": "nauthera-operator"},
                    "annotations": {OWNER_ANNOTATION: "AuthServer/login/other"},
                }}),
                "AuthServer login/other",
            ),
        ] {
            let step = decide(&desired(2), Some(&object), &owner("new"));
            assert_eq!(step, Step::Foreign(holder.to_owned()));
        }
    }

    #[test]
    fn a_restored_child_is_adopted_and_a_dying_one_awaited() {
        let mut restored = desired(2).object;
        set(
            &mut restored,
            &["metadata", "annotations", OWNER_UID_ANNOTATION],
            json!("old"),
        );
        set(&mut restored, &["metadata", "ownerReferences"], Value::Null);
        assert_eq!(
            decide(&desired(2), Some(&restored), &owner("new")),
            Step::Apply(Why::Adopted)
        );
        set(
            &mut restored,
            &["metadata", "deletionTimestamp"],
            json!("2026-01-01T00:00:00Z"),
        );
        assert_eq!(decide(&desired(2), Some(&restored), &owner("new")), Step::Wait);
    }

    #[test]
    fn a_child_without_our_label_is_still_ours_by_its_controller() {
        let mut live = desired(2).object;
        set(&mut live, &["metadata", "labels"], json!({}));
        assert!(matches!(
            decide(&desired(2), Some(&live), &owner("new")),
            Step::Apply(Why::Edited(_))
        ));
    }
}
