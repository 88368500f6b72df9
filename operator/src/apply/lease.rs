//! Reading and writing the operator's own Lease. Every write names the `resourceVersion` that it replaces, so that of
//! two replicas at most one succeeds.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;

/// For the answer to one request.
const DEADLINE: Duration = Duration::from_secs(2);

/// The Lease could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else wrote it meanwhile.
    #[error("the Lease was written by another replica")]
    Conflict,
    /// No answer in time. The write may have happened.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Deadline,
    /// The API server refused, or cannot be reached.
    #[error("the API server cannot be asked")]
    Api(#[source] Box<kube::Error>),
}

/// The Lease of the operator.
#[derive(Clone)]
pub struct LeaseClient {
    api: Api<Lease>,
    name: String,
}

impl LeaseClient {
    /// The Lease of that name.
    pub fn new(client: kube::Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
        }
    }

    /// Its namespace and name.
    pub fn name(&self) -> (String, String) {
        (self.api.namespace().unwrap_or_default().to_owned(), self.name.clone())
    }

    /// What it says; `None` when there is none.
    pub async fn read(&self) -> Result<Option<Lease>, LeaseError> {
        answered(self.api.get_opt(&self.name)).await
    }

    /// Creates it.
    pub async fn create(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        answered(self.api.create(&PostParams::default(), lease)).await
    }

    /// Replaces it, when it still has the `resourceVersion` that `lease` names.
    pub async fn replace(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        answered(self.api.replace(&self.name, &PostParams::default(), lease)).await
    }
}

async fn answered<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(LeaseError::Conflict),
        Ok(Err(error)) => Err(LeaseError::Api(Box::new(error))),
        Err(_) => Err(LeaseError::Deadline),
    }
}
