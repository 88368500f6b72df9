//! Single requests one after another on one connection, for what is not measured: touching, checking.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// More headers than any of our answers has.
const HEADERS: usize = 48;

/// A kept-alive connection.
pub(crate) struct Exchange {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Exchange {
    /// Connects.
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// The body of the answer to `request`; an error unless it is 200.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<String> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut chunk = [0; 16 * 1024];
        loop {
            let count = self.stream.read(&mut chunk)?;
            ensure!(count > 0, "the server closed the connection");
            self.buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
            if let Some((status, body)) = whole(&self.buffer)? {
                ensure!(status == 200, "answered {status}: {body}");
                return Ok(body);
            }
        }
    }
}

/// Status and body, when all of it is there.
fn whole(bytes: &[u8]) -> Result<Option<(u16, String)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).context("not an HTTP answer")? else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .context("an answer without a length")?;
    let length: usize = std::str::from_utf8(length.value)?.parse()?;
    let body = bytes.get(head..).unwrap_or_default();
    if body.len() < length {
        return Ok(None);
    }
    let status = response.code.context("an answer without a status")?;
    Ok(Some((status, String::from_utf8_lossy(body).into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(whole(answer).unwrap(), Some((200, "ok".to_owned())));
        assert_eq!(whole(&answer[..answer.len() - 1]).unwrap(), None);
        assert_eq!(whole(b"HTTP/1.1 200 OK\r\n").unwrap(), None);
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
