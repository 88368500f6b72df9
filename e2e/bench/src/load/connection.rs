//! One connection: at most one request in flight, the answer parsed as it comes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Answer, Progress, Source};

/// More headers than any of our answers has.
const HEADERS: usize = 48;

pub(super) struct Connection<'s> {
    stream: TcpStream,
    source: &'s mut dyn Source,
    request: Vec<u8>,
    /// What has arrived: `filled` bytes of it.
    buffer: Vec<u8>,
    filled: usize,
    /// When the unit in flight was due.
    due: Option<Instant>,
}

impl<'s> Connection<'s> {
    pub(super) fn open(address: SocketAddr, source: &'s mut dyn Source) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            source,
            request: Vec::with_capacity(4096),
            buffer: vec![0; 16 * 1024],
            filled: 0,
            due: None,
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Begins a unit that was due at `due`.
    pub(super) fn begin(&mut self, due: Instant) -> Result<()> {
        self.due = Some(due);
        self.send()
    }

    fn send(&mut self) -> Result<()> {
        self.request.clear();
        self.source.write(&mut self.request);
        // A request is far smaller than the socket's buffer, which is empty: it goes out whole.
        self.stream.write_all(&self.request).context("sending a request")
    }

    /// Reads what is there. When that completes a unit: when it was due.
    pub(super) fn read(&mut self) -> Result<Option<Instant>> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        match self.stream.read(room) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => self.filled += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(error) => return Err(error).context("reading an answer"),
        }
        let arrived = self.buffer.get(..self.filled).unwrap_or_default();
        let Some(progress) = judge(self.source, arrived)? else {
            return Ok(None);
        };
        self.filled = 0;
        match progress {
            Progress::Complete => Ok(Some(self.due.take().context("an answer to nothing")?)),
            Progress::More => {
                self.send()?;
                Ok(None)
            }
        }
    }
}

/// Hands an answer to its source, when all of it has arrived.
fn judge(source: &mut dyn Source, arrived: &[u8]) -> Result<Option<Progress>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(arrived).context("not an HTTP answer")? else {
        return Ok(None);
    };
    let answer = Answer {
        status: response.code.context("an answer without a status")?,
        headers: response.headers,
        body: arrived.get(head..).unwrap_or_default(),
    };
    let length: usize = match answer.header("content-length") {
        Some(length) => length.parse().context("content-length")?,
        None if matches!(answer.status, 204 | 304) => 0,
        None => bail!("an answer without a length: {:?}", answer.headers),
    };
    if answer.body.len() < length {
        return Ok(None);
    }
    ensure!(answer.body.len() == length, "an answer that nobody asked for");
    source.read(&answer).map(Some)
}
