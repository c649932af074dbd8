//! What systemd hears of a service that notifies: the other end of its socket.

use std::{
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::wait::{LONG, wait_until};

/// The socket.
#[derive(Debug)]
pub struct Systemd {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Systemd {
    /// Listens at `path`.
    ///
    /// # Panics
    /// It cannot.
    #[must_use]
    pub fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, path: path.to_owned() }
    }

    /// What the service needs in its environment, with that `WatchdogSec=`.
    #[must_use]
    pub fn environment(&self, watchdog: Duration) -> Vec<(String, String)> {
        vec![
            ("NOTIFY_SOCKET".into(), self.path.to_str().unwrap().into()),
            ("WATCHDOG_USEC".into(), watchdog.as_micros().to_string()),
        ]
    }

    /// The lines that have come since the last look.
    ///
    /// # Panics
    /// The socket fails.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        let (mut lines, mut message) = (Vec::new(), [0; 4_096]);
        loop {
            match self.socket.recv(&mut message) {
                Ok(size) => {
                    let text = String::from_utf8_lossy(&message[..size]).into_owned();
                    lines.extend(text.lines().map(str::to_owned));
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return lines,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until that line comes.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn wait_for(&self, line: &str) {
        let mut all = Vec::new();
        wait_until(&format!("systemd hears {line}"), LONG, || {
            all.extend(self.heard());
            all.iter().any(|heard| heard == line)
        });
    }
}
