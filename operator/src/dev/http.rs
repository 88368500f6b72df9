//! The little HTTP that `dev` speaks itself: probes, and the demo application's calls to its issuer. HTTP/1.1 over
//! loopback, one connection for each request.

use std::io;
use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, ToSocketAddrs};

/// Largest answer that is read.
const BODY_BYTES: usize = 1 << 20;

/// A request that was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// There is no connection.
    #[error("cannot connect")]
    Connect(#[from] io::Error),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
    /// The request cannot be spelled, or is not for http.
    #[error("not a request that can be sent")]
    Request,
    /// The answer is too large or was cut.
    #[error("the answer cannot be read")]
    Answer,
}

/// Status and body that a GET is answered with.
pub(super) async fn get(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>), HttpError> {
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .body(Full::default());
    let response = send(address, request.map_err(|_| HttpError::Request)?).await?;
    let status = response.status().as_u16();
    Ok((status, read(response).await?))
}

/// Sends a request to an http URL and reads the answer whole.
pub(super) async fn call(
    url: &url::Url,
    request: hyper::http::request::Builder,
    body: String,
) -> Result<(StatusCode, Vec<u8>), HttpError> {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(HttpError::Request);
    };
    if url.scheme() != "http" {
        return Err(HttpError::Request);
    }
    let target = url
        .query()
        .map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let request = request
        .uri(target)
        .header(header::HOST, format!("{host}:{port}"))
        .body(Full::from(body))
        .map_err(|_| HttpError::Request)?;
    let response = send((host.trim_matches(['[', ']']).to_owned(), port), request).await?;
    let status = response.status();
    Ok((status, read(response).await?))
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Vec<u8>, HttpError> {
    let body = Limited::new(response.into_body(), BODY_BYTES).collect().await;
    Ok(body.map_err(|_| HttpError::Answer)?.to_bytes().to_vec())
}

async fn send(
    address: impl ToSocketAddrs,
    request: Request<Full<Bytes>>,
) -> Result<Response<hyper::body::Incoming>, HttpError> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
