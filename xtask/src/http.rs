//! Just enough HTTP to talk to our own processes on loopback: one request per connection.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// No answer of ours is larger.
const MAX_ANSWER_BYTES: u64 = 256 << 20;
/// Training on a large window takes its time.
const TIMEOUT: Duration = Duration::from_secs(120);

/// An answer: its status and its body.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Such as 200.
    pub(crate) status: u16,
    /// The body as JSON; null if it is something else.
    pub(crate) body: Value,
}

/// Sends a request without a body.
pub(crate) fn request(address: SocketAddr, method: &str, path: &str) -> anyhow::Result<Answer> {
    let about = || format!("cannot {method} http://{address}{path}");
    let mut stream =
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).with_context(about)?;
    stream.set_read_timeout(Some(TIMEOUT)).with_context(about)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).with_context(about)?;
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes).with_context(about)?;
    parse(&bytes).with_context(about)
}

/// Gets JSON; any status but 200 is an error.
pub(crate) fn get(address: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let answer = request(address, "GET", path)?;
    if answer.status != 200 {
        bail!("GET {path} answered {}: {}", answer.status, answer.body);
    }
    Ok(answer.body)
}

fn parse(bytes: &[u8]) -> anyhow::Result<Answer> {
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("no HTTP head")?;
    let (head, body) = bytes.split_at(split);
    let head = std::str::from_utf8(head).context("the HTTP head is not text")?.to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no HTTP status")?;
    let body = body.get(4..).unwrap_or_default();
    let body = if head.contains("transfer-encoding: chunked") {
        unchunk(body).context("the chunked body is cut short")?
    } else {
        body.to_vec()
    };
    Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..line)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let start = line + 2;
        body.extend_from_slice(rest.get(start..start.checked_add(size)?)?);
        rest = rest.get(start + size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_chunked_answers_read_the_same() {
        let plain = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}").unwrap();
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n";
        let chunked = parse(chunked).unwrap();
        assert_eq!((plain.status, &plain.body), (200, &chunked.body));
        assert_eq!(plain.body, serde_json::json!({ "a": 1 }));
        assert_eq!(parse(b"HTTP/1.1 409 Conflict\r\n\r\nno").unwrap().status, 409);
        assert!(parse(b"garbage").is_err());
    }
}
