//! What is watched, and where.

use crds::manifests::Kind;
use kube::api::ApiResource;
use kube::core::GroupVersionKind;

use super::Scope;
use crate::world::ChildKind;

/// A kind of object that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// Our custom resources, all of them.
    Custom(Kind),
    /// Child objects with our label.
    Child(ChildKind),
    /// Pods with our label.
    Pod,
    /// EndpointSlices of Services with our label.
    EndpointSlice,
    /// Namespaces, their metadata only; not when single namespaces are watched.
    Namespace,
}

impl Watched {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        let custom = Kind::ALL.into_iter().map(Self::Custom);
        let children = ChildKind::ALL.into_iter().map(Self::Child);
        custom
            .chain(children)
            .chain([Self::Pod, Self::EndpointSlice, Self::Namespace])
    }

    /// The name of the kind.
    pub fn name(self) -> &'static str {
        let (_, _, kind, _) = self.coordinates();
        kind
    }

    /// What the API server calls it.
    pub fn api_resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.coordinates();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// Group, version, kind and plural.
    fn coordinates(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Custom(kind @ Kind::AuthServer) => (crds::GROUP, crds::VERSION, kind.as_str(), "authservers"),
            Self::Custom(kind @ Kind::Realm) => (crds::GROUP, crds::VERSION, kind.as_str(), "realms"),
            Self::Custom(kind @ Kind::Client) => (crds::GROUP, crds::VERSION, kind.as_str(), "clients"),
            Self::Child(kind) => (kind.group(), kind.version(), kind.as_str(), kind.plural()),
            Self::Pod => ("", "v1", "Pod", "pods"),
            Self::EndpointSlice => ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
        }
    }
}

/// What the API server calls a kind of child object.
pub fn api_resource(kind: ChildKind) -> ApiResource {
    Watched::Child(kind).api_resource()
}

/// The namespaces that are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// All of them.
    All,
    /// These, and nothing outside of any namespace.
    Only(Vec<String>),
}

impl Namespaces {
    /// One watch each. The Secrets of the operator's `own` namespace are always among them.
    pub(super) fn scopes(&self, own: &str) -> Vec<Scope> {
        let namespaces = match self {
            Self::All => return Watched::all().map(|watched| (watched, None)).collect(),
            Self::Only(namespaces) => namespaces,
        };
        let mut scopes: Vec<Scope> = Watched::all()
            .filter(|watched| *watched != Watched::Namespace)
            .flat_map(|watched| namespaces.iter().map(move |name| (watched, Some(name.clone()))))
            .collect();
        if !namespaces.iter().any(|name| name == own) {
            scopes.push((Watched::Child(ChildKind::Secret), Some(own.to_owned())));
        }
        scopes
    }
}
