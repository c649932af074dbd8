//! Just enough HTTP to ask our own processes: one request per connection.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use serde_json::Value;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Training answers when it is done.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// The body, unparsed.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Sends a request without a body to the process whose address is in `address_file`.
///
/// # Errors
/// It does not answer, or not in HTTP.
pub fn request(address_file: &Path, method: &str, path: &str) -> io::Result<Answer> {
    let unreadable = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let address = std::fs::read_to_string(address_file)?;
    let address: SocketAddr = address.trim().parse().map_err(|_| unreadable(address))?;
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n");
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| unreadable(answer.clone()))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| unreadable(head.to_owned()))?;
    Ok(Answer { status, body: body.to_owned() })
}
