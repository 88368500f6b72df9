//! `/healthz`, `/readyz` and `/metrics`.
//!
//! *Healthy*: the process answers. *Ready*: it has seen the cluster once and its listeners are up; leading is not part
//! of it, for every replica streams configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use crate::publish::Publisher;
use crate::world::cluster::Cache;

/// What probes look at.
#[derive(Clone)]
pub(crate) struct Probes {
    pub(crate) cache: Arc<Cache>,
    pub(crate) metrics: Metrics,
    pub(crate) leading: watch::Receiver<bool>,
    pub(crate) publisher: Publisher,
    /// Whether there is a certificate to show to servers.
    pub(crate) streaming: Arc<AtomicBool>,
    /// Whether this replica is about to stop.
    pub(crate) draining: Arc<AtomicBool>,
}

impl Probes {
    /// Answers until `stopped`.
    pub(crate) async fn serve(self, listener: TcpListener, stopped: CancellationToken) {
        crate::listener::serve(listener, stopped, move |request| {
            let response = self.answer(&request);
            async move { response }
        })
        .await;
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => match self.not_ready() {
                None => text(StatusCode::OK, "ready\n".to_owned()),
                Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason + "\n"),
            },
            "/metrics" => self.metrics(),
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz and /metrics\n".to_owned(),
            ),
        }
    }

    fn not_ready(&self) -> Option<String> {
        if self.draining.load(Ordering::Acquire) {
            return Some("draining: this replica is about to stop".to_owned());
        }
        let waiting = self.cache.waiting_for();
        if !waiting.is_empty() {
            return Some(format!("waiting for the first list of: {}", waiting.join(", ")));
        }
        let streams = self.streaming.load(Ordering::Acquire);
        (!streams).then(|| "waiting for the certificate of the configuration stream".to_owned())
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let gauges = &self.metrics.gauges;
        gauges.lease_held.set(i64::from(*self.leading.borrow()));
        gauges
            .watch_restarts
            .set(i64::try_from(self.cache.restarts()).unwrap_or(i64::MAX));
        gauges.take(self.publisher.counters());
        let mut response = text(StatusCode::OK, self.metrics.render());
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
