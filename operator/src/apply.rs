//! The only writer to the cluster: compares what is desired with what is there, and sends the difference.
//!
//! Every write passes the [`Fence`] and every call has a deadline. What is as it should be costs no request. Objects of
//! somebody else are never touched. What to do about a child is decided in [`decide`] and [`differ`], without a client.

pub mod children;
pub mod decide;
pub mod differ;
mod events;
mod fence;
mod generated;
mod lease;
mod memory;
pub mod secret;
mod status;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::header::CONTENT_TYPE;
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::build::Desired;
use crate::world::{ChildId, ChildKind};
use memory::Memory;

pub use children::{Applied, Change, Failure};
pub use events::Events;
pub use fence::{Fence, Fenced};
pub use lease::{LeaseClient, LeaseError};

/// How long any call may take; the client library sets no limit to reading an answer.
pub const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// This process may not write now.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// No answer in time; whether it was done is not known.
    #[error("the API server did not answer within {} s", CALL_DEADLINE.as_secs())]
    Deadline,
    /// The operator's ServiceAccount lacks the right.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such object, kind or namespace.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else was faster, or owns the field.
    #[error("{0}")]
    Conflict(String),
    /// An object of that name exists.
    #[error("{0}")]
    AlreadyExists(String),
    /// The API server refuses the content.
    #[error("{0}")]
    Invalid(String),
    /// Anything else: it cannot be reached, is overloaded, is shutting down.
    #[error("the API server cannot be asked")]
    Unavailable(#[source] Box<kube::Error>),
    /// The request cannot be written.
    #[error("request cannot be made")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<kube::Error> for ApplyError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = &error else {
            return Self::Unavailable(Box::new(error));
        };
        let message = status.message.clone();
        match (status.code, status.reason.as_str()) {
            (409, "AlreadyExists") => Self::AlreadyExists(message),
            (409, _) => Self::Conflict(message),
            (401 | 403, _) => Self::Forbidden(message),
            (404, _) => Self::NotFound(message),
            (400 | 413 | 415 | 422, _) => Self::Invalid(message),
            _ => Self::Unavailable(Box::new(error)),
        }
    }
}

/// One call, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `get`, `apply`, `create`, `update` or `delete`.
    pub verb: &'static str,
    /// The resource, in plural.
    pub resource: &'a str,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// How long it took.
    pub took: Duration,
}

/// Is told of every call.
pub type Observe = Arc<dyn Fn(Call<'_>) + Send + Sync>;

/// Whether an apply may take fields from other managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It takes them: the object is known to be ours.
    Yes,
    /// It fails instead: the object may have come to be a moment ago.
    No,
}

/// The writer. Cheap to clone; clones share the fence and what is remembered.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    fence: Fence,
    observe: Observe,
    memory: Arc<Mutex<Memory>>,
}

impl Applier {
    /// A writer behind `fence` that tells `observe` of every call.
    pub fn new(client: Client, fence: Fence, observe: Observe) -> Self {
        Self {
            client,
            fence,
            observe,
            memory: Arc::default(),
        }
    }

    /// The object, as it is now.
    pub async fn get(&self, id: &ChildId) -> Result<Option<Value>, ApplyError> {
        let request = Request::get(path(id)).body(Vec::new()).map_err(unmade)?;
        match self.read("get", id.kind.plural(), request).await {
            Ok(object) => Ok(Some(object)),
            Err(ApplyError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Server-side apply; answers with the object as it is then. Unknown fields are refused.
    pub async fn apply(&self, desired: &Desired, force: Force) -> Result<Value, ApplyError> {
        let mut uri = path(&desired.id);
        let forced = force == Force::Yes;
        let _ = write!(
            uri,
            "?fieldManager={}&force={forced}&fieldValidation=Strict",
            desired.manager
        );
        let request = Request::patch(uri)
            .header(CONTENT_TYPE, "application/apply-patch+yaml")
            .body(bytes(&desired.object)?)
            .map_err(unmade)?;
        self.write("apply", desired.id.kind.plural(), request).await
    }

    /// Creates an object; fails when there is one of that name.
    pub async fn create(&self, kind: ChildKind, namespace: &str, object: &Value) -> Result<Value, ApplyError> {
        let uri = format!("{}?fieldManager={}", collection(kind, namespace), crate::build::MANAGER);
        self.write("create", kind.plural(), sending(Request::post(uri), object)?)
            .await
    }

    /// Replaces an object; its `metadata.resourceVersion` must be the one that is there.
    pub async fn replace(&self, id: &ChildId, object: &Value) -> Result<Value, ApplyError> {
        let uri = format!("{}?fieldManager={}", path(id), crate::build::MANAGER);
        self.write("update", id.kind.plural(), sending(Request::put(uri), object)?)
            .await
    }

    /// Deletes the object with this UID, and in the background what it owns. One that is gone, or another one of that
    /// name, is as good.
    pub async fn delete(&self, id: &ChildId, uid: &str) -> Result<(), ApplyError> {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": uid}, "propagationPolicy": "Background",
        });
        let request = sending(Request::delete(path(id)), &options)?;
        match self.write::<Value>("delete", id.kind.plural(), request).await {
            Ok(_) | Err(ApplyError::NotFound(_) | ApplyError::Conflict(_)) => {
                self.memory().deleted(id, uid);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A request that changes something: only while the fence is open, and no longer than it is.
    pub(crate) async fn write<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        resource: &str,
        request: Request<Vec<u8>>,
    ) -> Result<T, ApplyError> {
        let limit = self.fence.remaining()?.min(CALL_DEADLINE);
        self.call(verb, resource, request, limit).await
    }

    /// A request that changes nothing.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        resource: &str,
        request: Request<Vec<u8>>,
    ) -> Result<T, ApplyError> {
        self.call(verb, resource, request, CALL_DEADLINE).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        resource: &str,
        request: Request<Vec<u8>>,
        limit: Duration,
    ) -> Result<T, ApplyError> {
        let start = Instant::now();
        let answer = match tokio::time::timeout(limit, self.client.request::<T>(request)).await {
            Ok(answer) => answer.map_err(ApplyError::from),
            Err(_) => Err(ApplyError::Deadline),
        };
        (self.observe)(Call {
            verb,
            resource,
            succeeded: answer.is_ok(),
            took: start.elapsed(),
        });
        answer
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier")
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

/// Path of the objects of a kind in a namespace.
pub(crate) fn collection(kind: ChildKind, namespace: &str) -> String {
    let root = if kind.group().is_empty() { "/api" } else { "/apis" };
    format!("{root}/{}/namespaces/{namespace}/{}", kind.api_version(), kind.plural())
}

fn path(id: &ChildId) -> String {
    format!("{}/{}", collection(id.kind, &id.key.namespace), id.key.name)
}

/// A request with a JSON body.
pub(crate) fn sending(request: hyper::http::request::Builder, body: &Value) -> Result<Request<Vec<u8>>, ApplyError> {
    request
        .header(CONTENT_TYPE, "application/json")
        .body(bytes(body)?)
        .map_err(unmade)
}

fn bytes(body: &Value) -> Result<Vec<u8>, ApplyError> {
    serde_json::to_vec(body).map_err(unmade)
}

fn unmade(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApplyError {
    ApplyError::Request(error.into())
}
