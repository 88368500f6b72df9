//! Who may attach to whom: both sides have to agree, since either lies in its own namespace.

use std::collections::BTreeMap;

use crds::auth_server::AdmitRealms;
use crds::realm::AdmitClients;
use crds::reference::{AdmitFrom, NamespaceSelector};
use crds::text::{HostPattern, NamespaceName};

/// What the admitting side says about namespaces.
pub(crate) struct Admission<'a> {
    pub(crate) from: AdmitFrom,
    pub(crate) selector: Option<&'a NamespaceSelector>,
    pub(crate) names: &'a [NamespaceName],
}

/// What a fleet says about realms.
pub(crate) fn realms(admit: &AdmitRealms) -> Admission<'_> {
    Admission {
        from: admit.from,
        selector: admit.selector.as_ref(),
        names: &admit.names,
    }
}

/// What a realm says about clients.
pub(crate) fn clients(admit: &AdmitClients) -> Admission<'_> {
    Admission {
        from: admit.from,
        selector: admit.selector.as_ref(),
        names: &admit.names,
    }
}

impl Admission<'_> {
    /// Whether objects of `namespace` may attach to one of `own_namespace`. `namespaces` holds the labels of each.
    pub(crate) fn admits(
        &self,
        namespace: &str,
        own_namespace: &str,
        namespaces: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> bool {
        let own = namespace == own_namespace;
        match self.from {
            AdmitFrom::None => false,
            AdmitFrom::Same => own,
            AdmitFrom::All => true,
            AdmitFrom::Names => own || self.names.iter().any(|name| name.as_str() == namespace),
            AdmitFrom::Selector => own || self.selector.is_some_and(|s| s.matches(&labels(namespace, namespaces))),
        }
    }
}

/// The labels of a namespace with the one that every API server sets.
fn labels(namespace: &str, namespaces: &BTreeMap<String, BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut labels = namespaces.get(namespace).cloned().unwrap_or_default();
    labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
    labels
}

/// Whether one of the patterns names the host. No pattern means any host.
pub(crate) fn host_is_admitted(patterns: &[HostPattern], host: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| host_matches(pattern.as_str(), host))
}

fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host
            .strip_suffix(parent)
            .and_then(|below| below.strip_suffix('.'))
            .is_some_and(|below| !below.is_empty()),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_what_is_below_it_and_never_itself() {
        for (pattern, host, expected) in [
            ("a.example", "a.example", true),
            ("a.example", "b.example", false),
            ("*.example", "a.example", true),
            ("*.example", "b.a.example", true),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*.example", "notexample", false),
        ] {
            assert_eq!(host_matches(pattern, host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn only_none_excludes_the_own_namespace() {
        let names = [NamespaceName::from("b")];
        let admits = |from, namespace| {
            let admission = Admission {
                from,
                selector: None,
                names: &names,
            };
            admission.admits(namespace, "a", &BTreeMap::new())
        };
        let expected = [
            (AdmitFrom::Same, [true, false, false]),
            (AdmitFrom::Selector, [true, false, false]),
            (AdmitFrom::Names, [true, true, false]),
            (AdmitFrom::All, [true, true, true]),
            (AdmitFrom::None, [false, false, false]),
        ];
        for (from, expected) in expected {
            assert_eq!(
                ["a", "b", "c"].map(|namespace| admits(from, namespace)),
                expected,
                "{from:?}"
            );
        }
    }
}
