//! The Kubernetes API of Nauthera: the custom resources `AuthServer`, `Realm` and `Client` of group
//! `auth.nauthera.io`.
//!
//! One file for each kind holds its spec, its status, the documentation of every field and the CEL
//! rules beside the fields. The manifests, the reference page and the offline check are all made
//! from those; nothing here talks to a cluster.

pub mod admission;
pub mod auth_server;
mod cel;
pub mod client;
pub mod conditions;
mod docs;
pub mod duration;
pub mod manifests;
pub mod realm;
pub mod reference;
mod schema;
pub mod status;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;

pub use auth_server::{AuthServer, AuthServerSpec, AuthServerStatus};
pub use client::{Client, ClientSpec, ClientStatus};
pub use docs::reference_page;
pub use duration::Duration;
pub use manifests::{Kind, manifests};
pub use realm::{Realm, RealmSpec, RealmStatus};

/// API group of every kind.
pub const GROUP: &str = "auth.nauthera.io";

/// API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// Annotation that freezes an object: while its value is `true`, nothing is written for it and its
/// last compiled version keeps being served.
pub const PAUSED_ANNOTATION: &str = "auth.nauthera.io/paused";

/// Annotation of an AuthServer by which its owner decides about a mass loss of Realms and Clients that is held back:
/// `confirm` lets them go, `veto` keeps them as long as it is there.
pub const SHRINK_ANNOTATION: &str = "auth.nauthera.io/shrink";

/// Annotation of a Client: a new value asks for a new client secret, in the safe order. Each value
/// acts once.
pub const ROTATE_ANNOTATION: &str = "auth.nauthera.io/rotate";

/// Annotation of a Client: a new value replaces the client secret at once and makes every former
/// one invalid. Each value acts once.
pub const REVOKE_ANNOTATION: &str = "auth.nauthera.io/revoke";

/// Annotation of the Secret with the keys of a realm, set by whoever owns the fleet: the Realm
/// (`namespace/name`) that may use them, in place of the one that they were made for.
pub const ADOPT_KEYS_ANNOTATION: &str = "auth.nauthera.io/adopt-keys";
