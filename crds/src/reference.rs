//! References from one object to another, and who may refer to whom.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel::rules;
use crate::text::{LabelText, NamespaceName, ObjectName, SecretKey};

/// A Secret in the namespace of the object that names it. It is read by name; it needs no label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Name of the Secret.
    pub name: ObjectName,
}

/// One key of a Secret in the namespace of the object that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: ObjectName,
    /// Key inside the Secret.
    pub key: SecretKey,
}

/// A cert-manager issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerRef {
    /// Name of the Issuer or ClusterIssuer.
    pub name: ObjectName,
    /// Issuer (of this namespace) or ClusterIssuer.
    #[serde(default)]
    pub kind: IssuerKind,
    /// API group, for issuers that are not cert-manager's own.
    #[serde(default = "IssuerRef::default_group")]
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
}

impl IssuerRef {
    fn default_group() -> String {
        "cert-manager.io".to_owned()
    }
}

/// Kind of a cert-manager issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IssuerKind {
    /// Of the same namespace.
    #[default]
    Issuer,
    /// Of the whole cluster.
    ClusterIssuer,
}

/// A reference to an object that may live in another namespace, when the other side admits it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ObjectRef {
    /// Name of the object.
    pub name: ObjectName,
    /// Its namespace; the own namespace when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceName>,
}

/// From which namespaces objects may attach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdmitFrom {
    /// Only from the own namespace.
    #[default]
    Same,
    /// From namespaces whose labels match `selector` (and the own namespace).
    Selector,
    /// From the namespaces listed in `names` (and the own namespace). Works without the right to
    /// read namespaces.
    Names,
    /// From every namespace.
    All,
    /// From nowhere, the own namespace included.
    None,
}

/// Which namespaces match, by their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels that the namespace must have, all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, LabelText>,
    /// Further requirements, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement on the labels of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules([(
    "(self.operator == 'In' || self.operator == 'NotIn') == has(self.values)",
    "values is set if, and only if, operator is In or NotIn",
)])))]
pub struct LabelRequirement {
    /// Label that is looked at.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How its value relates to `values`: In, NotIn, Exists or DoesNotExist.
    pub operator: LabelOperator,
    /// Values for In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<LabelText>,
}

/// Relation between a label and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl NamespaceSelector {
    /// Whether a namespace with these labels matches. An empty selector matches every namespace.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = |(key, value): (&String, &LabelText)| labels.get(key).map(String::as_str) == Some(value.as_str());
        self.match_labels.iter().all(equal)
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.holds(labels))
    }
}

impl LabelRequirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.iter().any(|v| v.as_str() == value));
        match self.operator {
            LabelOperator::In => listed,
            LabelOperator::NotIn => !listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{LabelOperator, LabelRequirement, NamespaceSelector};

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn selector(operator: LabelOperator, values: &[&str]) -> NamespaceSelector {
        let values = values.iter().map(|v| (*v).into()).collect();
        NamespaceSelector {
            match_labels: BTreeMap::new(),
            match_expressions: vec![LabelRequirement {
                key: "team".to_owned(),
                operator,
                values,
            }],
        }
    }

    #[test]
    fn an_empty_selector_matches_every_namespace() {
        assert!(NamespaceSelector::default().matches(&labels(&[])));
    }

    #[test]
    fn all_labels_must_be_equal() {
        let selector: NamespaceSelector =
            serde_json::from_value(serde_json::json!({"matchLabels": {"team": "a", "stage": "prod"}})).unwrap();
        assert!(selector.matches(&labels(&[("team", "a"), ("stage", "prod"), ("more", "x")])));
        assert!(!selector.matches(&labels(&[("team", "a")])));
        assert!(!selector.matches(&labels(&[("team", "b"), ("stage", "prod")])));
    }

    #[test]
    fn expressions_follow_the_rules_of_label_selectors() {
        use LabelOperator::{DoesNotExist, Exists, In, NotIn};
        let (a, c, none) = (labels(&[("team", "a")]), labels(&[("team", "c")]), labels(&[]));
        for (operator, values, expected) in [
            (In, &["a", "b"][..], [true, false, false]),
            (NotIn, &["a", "b"][..], [false, true, true]),
            (Exists, &[][..], [true, true, false]),
            (DoesNotExist, &[][..], [false, false, true]),
        ] {
            let selector = selector(operator, values);
            assert_eq!([&a, &c, &none].map(|l| selector.matches(l)), expected, "{operator:?}");
        }
    }
}
