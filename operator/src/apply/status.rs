//! Writes of status, by server-side apply and under a field manager of their own.

use std::fmt::Write as _;

use crds::manifests::Kind;
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use serde_json::Value;

use super::{Applier, ApplyError, bytes, unmade};
use crate::status::MANAGER;
use crate::world::ObjectId;

impl Applier {
    /// Applies the status of a [`crate::status::Report`]; answers with the object as it is then. An object that was
    /// created anew under the name is a [`ApplyError::Conflict`], one that is gone [`ApplyError::NotFound`].
    pub async fn status(&self, id: &ObjectId, patch: &Value) -> Result<Value, ApplyError> {
        let resource = plural(id.kind);
        let (group, version) = (crds::GROUP, crds::VERSION);
        let (namespace, name) = (&id.key.namespace, &id.key.name);
        let mut uri = format!("/apis/{group}/{version}/namespaces/{namespace}/{resource}/{name}/status");
        let _ = write!(uri, "?fieldManager={MANAGER}&force=true&fieldValidation=Strict");
        let request = Request::patch(uri)
            .header(CONTENT_TYPE, "application/apply-patch+yaml")
            .body(bytes(patch)?)
            .map_err(unmade)?;
        self.write("apply", &format!("{resource}/status"), request).await
    }
}

fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::AuthServer => "authservers",
        Kind::Realm => "realms",
        Kind::Client => "clients",
    }
}
