//! The health listener: probes and metrics, away from the public address.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::error;
use crate::health::{Probe, Readiness};
use crate::metrics::Metrics;

/// What the health listener answers from.
#[derive(Clone)]
pub(crate) struct Vitals {
    pub(crate) readiness: Readiness,
    pub(crate) metrics: Metrics,
    /// Copies values that live elsewhere into the gauges.
    pub(crate) refresh: std::sync::Arc<dyn Fn(&Metrics) + Send + Sync>,
}

/// Answers any request of the health listener.
pub(crate) async fn serve(request: HttpRequest, vitals: web::Data<Vitals>) -> HttpResponse {
    match Probe::at(request.path()) {
        // The loop that answers is the loop that serves: answering is the proof.
        Some(Probe::Live) => error::probe(true, &"live"),
        Some(Probe::Ready | Probe::Started) => {
            let report = vitals.readiness.report();
            error::probe(report.not_ready.is_empty(), &report)
        }
        Some(Probe::Metrics) => {
            (vitals.refresh)(&vitals.metrics);
            HttpResponse::Ok()
                .insert_header((
                    header::CONTENT_TYPE,
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                ))
                .body(vitals.metrics.render())
        }
        None => error::not_found(),
    }
}
