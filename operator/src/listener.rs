//! A small HTTP/1.1 listener: probes and metrics of `run`, the demo application of `dev`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a peer may take for the head of a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers every request by `answer` until `stopped`.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    stopped: CancellationToken,
    answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
) where
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let answer = Arc::new(answer);
    loop {
        let accepted = tokio::select! {
            () = stopped.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = accepted else {
            // Out of descriptors, for example: others have to end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (answer, stopped) = (Arc::clone(&answer), stopped.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let answer = Arc::clone(&answer);
                async move { Ok::<_, Infallible>(answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(socket), service);
            tokio::select! {
                // A peer that goes away is no event.
                _ = connection => {}
                () = stopped.cancelled() => {}
            }
        });
    }
}
