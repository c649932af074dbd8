//! A wire between a client and a server that can be cut, stalled and slowed down.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, sleep},
    time::Duration,
};

use crate::tap::Tap;

/// How often a wire looks whether it is still to do what it does.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Bytes that go at a time over a slow wire, and the pause between: about 30 kB a second.
const SLOW_BYTES: usize = 64;
const SLOW_PAUSE: Duration = Duration::from_millis(2);

/// What the wire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Passes everything on.
    Good,
    /// Takes no new connection; those that are up stay.
    Refusing,
    /// Keeps all connections, and passes nothing on.
    Stalled,
    /// Passes everything on, little by little.
    Slow,
}

/// The wire; cut for good when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    wire: Mutex<Wire>,
    /// Of the connections that are up: both ends.
    ends: Mutex<Vec<(u64, [TcpStream; 2])>>,
    next: AtomicU64,
    is_over: AtomicBool,
    tap: Option<Arc<Tap>>,
}

impl Proxy {
    /// A good wire from a free port to `target` on this machine; `tap` reads along.
    ///
    /// # Panics
    /// There is no free port.
    #[must_use]
    pub fn to(target: u16, tap: Option<Arc<Tap>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            target,
            wire: Mutex::new(Wire::Good),
            ends: Mutex::default(),
            next: AtomicU64::new(1),
            is_over: AtomicBool::new(false),
            tap,
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self { port, shared }
    }

    /// Its address for configs.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Makes it do something else.
    pub fn set(&self, wire: Wire) {
        *self.shared.wire.lock().unwrap_or_else(PoisonError::into_inner) = wire;
    }

    /// How many connections are up.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.ends.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Cuts all connections that are up; says how many.
    pub fn cut(&self) -> usize {
        self.shared.cut()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
        self.cut();
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

impl Shared {
    fn wire(&self) -> Wire {
        *self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) -> usize {
        let ends = std::mem::take(&mut *self.ends.lock().unwrap_or_else(PoisonError::into_inner));
        for end in ends.iter().flat_map(|(_, ends)| ends) {
            // It may be gone already.
            drop(end.shutdown(Shutdown::Both));
        }
        ends.len()
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.is_over.load(SeqCst) {
                return;
            }
            let Ok(client) = client else { continue };
            if self.wire() == Wire::Refusing {
                continue;
            }
            // A server that is down refuses, which closes the client's side too.
            let target = SocketAddr::from((Ipv4Addr::LOCALHOST, self.target));
            if let Ok(server) = TcpStream::connect(target) {
                // Without sockets to spare there is no connection, as on any machine.
                drop(Arc::clone(&self).join(client, server));
            }
        }
    }

    fn join(self: Arc<Self>, client: TcpStream, server: TcpStream) -> std::io::Result<()> {
        let connection = self.next.fetch_add(1, SeqCst);
        for end in [&client, &server] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(LOOK_EVERY))?;
        }
        let ends = [client.try_clone()?, server.try_clone()?];
        let (to_client, to_server) = (client.try_clone()?, server.try_clone()?);
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).push((connection, ends));
        let up = Arc::clone(&self);
        thread::spawn(move || {
            let tap = up.tap.clone();
            up.pump(connection, client, to_server, |bytes| {
                tap.as_ref().is_none_or(|tap| tap.from_client(connection, bytes))
            });
        });
        thread::spawn(move || {
            let tap = self.tap.clone();
            self.pump(connection, server, to_client, |bytes| {
                if let Some(tap) = &tap {
                    tap.from_broker(connection, bytes);
                }
                true
            });
            if let Some(tap) = &tap {
                tap.forget(connection);
            }
        });
        Ok(())
    }

    /// Passes bytes on, as long as `may_pass` agrees, until either side is gone.
    fn pump(
        &self,
        connection: u64,
        mut from: TcpStream,
        mut to: TcpStream,
        may_pass: impl Fn(&[u8]) -> bool,
    ) {
        let mut buffer = [0; 4_096];
        loop {
            let size = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(size) => size,
                Err(error) if is_timeout(error.kind()) => continue,
                Err(_) => break,
            };
            while self.wire() == Wire::Stalled && !self.is_gone(connection) {
                sleep(LOOK_EVERY);
            }
            if self.is_gone(connection) {
                break;
            }
            let bytes = &buffer[..size];
            if may_pass(bytes) && self.pass(&mut to, bytes).is_err() {
                break;
            }
        }
        drop(from.shutdown(Shutdown::Both));
        drop(to.shutdown(Shutdown::Both));
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|(number, _)| *number != connection);
    }

    fn pass(&self, to: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
        let mut rest = bytes;
        while self.wire() == Wire::Slow
            && let Some((part, after)) = rest.split_at_checked(SLOW_BYTES)
        {
            to.write_all(part)?;
            rest = after;
            sleep(SLOW_PAUSE);
        }
        to.write_all(rest)
    }

    fn is_gone(&self, connection: u64) -> bool {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        !ends.iter().any(|(number, _)| *number == connection)
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{SHORT, is_so_within};

    /// A server that says everything back.
    fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut back = stream.try_clone().unwrap();
                    std::io::copy(&mut stream, &mut back)
                });
            }
        });
        port
    }

    fn call(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        stream
    }

    fn answers(stream: &mut TcpStream) -> bool {
        let mut byte = [0];
        drop(stream.write_all(b"x"));
        is_so_within(SHORT, || match stream.read(&mut byte) {
            Err(error) => !is_timeout(error.kind()),
            Ok(_) => true,
        });
        byte == *b"x"
    }

    #[test]
    fn a_wire_passes_stalls_refuses_and_is_cut() {
        let proxy = Proxy::to(echo(), None);
        let mut stream = call(&proxy);
        assert!(answers(&mut stream));
        proxy.set(Wire::Slow);
        assert!(answers(&mut stream));
        proxy.set(Wire::Stalled);
        stream.write_all(b"x").unwrap();
        let stalled = stream.read(&mut [0]).unwrap_err();
        assert!(is_timeout(stalled.kind()), "{stalled}");
        proxy.set(Wire::Refusing);
        assert_eq!(stream.read(&mut [0]).unwrap(), 1, "what was held back comes");
        assert!(!answers(&mut call(&proxy)), "nobody new");
        assert!(answers(&mut stream));
        proxy.set(Wire::Good);
        assert_eq!(proxy.cut(), 1);
        assert!(!answers(&mut stream));
        assert!(answers(&mut call(&proxy)));
    }
}
