//! The sensors: publish at QoS 1 until the agent has acknowledged every reading.
//!
//! What the broker has acknowledged it may still lose with its power, so sensors go back, after
//! every lost connection, to the first reading that the agent has not acknowledged. Whatever
//! comes twice by that is part of the trial.

use std::{
    collections::HashSet,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread::sleep,
    time::{Duration, Instant},
};

use e2e::{
    agent::CLOCK,
    frames::{Packet, Packets, connect, kind, publish},
    tap::Tap,
};

use crate::truth::{Step, Truth};

/// Messages that the broker has not acknowledged.
const WINDOW: usize = 50;
/// Steps between the first that the agent has not acknowledged and the newest: the stream is to
/// go on during the faults, not to be in the broker before the first.
const LEAD: usize = 250;
/// Without any progress for this long, everything that is open is said again.
const PATIENCE: Duration = Duration::from_secs(4);
const READ_TIMEOUT: Duration = Duration::from_millis(2);
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// How long a connection waits for the agent to have subscribed: a broker without its session
/// would give it nothing.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(20);

/// What the trial and its sensors know of each other.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Steps before this are done for good: the agent has acknowledged them.
    pub(crate) done: AtomicUsize,
    /// Steps before this have been said at least once.
    pub(crate) said: AtomicUsize,
    /// The trial is over.
    pub(crate) is_over: AtomicBool,
    /// Messages that were said again because a connection was lost.
    pub(crate) repeated: AtomicUsize,
}

/// The sensors of one trial.
pub(crate) struct Sensors<'a> {
    truth: &'a Truth,
    tap: &'a Tap,
    progress: &'a Progress,
    port: u16,
    /// Steps of the script, then ticks after its end.
    next: usize,
    now: i64,
    /// The agent may not have heard what the time is: the last tick may be lost with the broker.
    owes_tick: bool,
    /// The agent's subscriptions when the last connection was lost.
    lost_at: Option<u64>,
}

impl<'a> Sensors<'a> {
    pub(crate) fn new(truth: &'a Truth, tap: &'a Tap, progress: &'a Progress, port: u16) -> Self {
        Self { truth, tap, progress, port, next: 0, now: i64::MIN, owes_tick: false, lost_at: None }
    }

    /// Says everything until the agent has acknowledged it or the trial is over; then makes the
    /// time go on, until the trial is over.
    pub(crate) fn run(mut self) {
        while !self.is_over() {
            // A broker that is down or goes down ends a connection, and the next try follows.
            drop(self.connection());
            sleep(RETRY_AFTER);
        }
    }

    fn is_over(&self) -> bool {
        self.progress.is_over.load(SeqCst)
    }

    fn connection(&mut self) -> io::Result<()> {
        let mut line = Line::open(self.port)?;
        if let Some(subscriptions) = self.lost_at.take() {
            // The agent lost its connection too, or is about to notice.
            let since = Instant::now();
            while self.tap.subscriptions() == subscriptions
                && since.elapsed() < SUBSCRIBED_WITHIN
                && !self.is_over()
            {
                line.listen()?;
            }
        }
        self.go_back();
        let ended = self.say_all(&mut line);
        self.lost_at = Some(self.tap.subscriptions());
        ended
    }

    fn say_all(&mut self, line: &mut Line) -> io::Result<()> {
        let mut moved = (Instant::now(), usize::MAX);
        while !self.is_over() {
            let done = self.advance();
            if done != moved.1 {
                moved = (Instant::now(), done);
            }
            if self.next < self.truth.script.len() && self.next < done + LEAD {
                if line.unacknowledged.len() < WINDOW {
                    self.say(line)?;
                } else {
                    line.listen()?;
                }
            } else if done == self.truth.script.len() {
                self.let_time_pass(line)?;
            } else if moved.0.elapsed() > PATIENCE {
                self.go_back();
                moved.0 = Instant::now();
            } else {
                line.listen()?;
            }
        }
        Ok(())
    }

    /// Back to the first reading that the agent has not acknowledged.
    fn go_back(&mut self) {
        let done = self.advance();
        self.progress.repeated.fetch_add(self.next - done, SeqCst);
        self.next = done;
        self.owes_tick = self.now > i64::MIN;
    }

    /// Moves past what the agent has acknowledged; ticks go with what precedes them.
    fn advance(&self) -> usize {
        let mut done = self.progress.done.load(SeqCst);
        let said = self.progress.said.load(SeqCst);
        while let Some(step) = self.truth.script.get(done).filter(|_| done < said) {
            if let Step::Say(number) = step
                && !self.tap.has_acknowledged(&self.truth.contents[*number])
            {
                break;
            }
            done += 1;
        }
        self.progress.done.store(done, SeqCst);
        done
    }

    fn say(&mut self, line: &mut Line) -> io::Result<()> {
        if std::mem::take(&mut self.owes_tick) {
            line.publish(CLOCK, self.now.to_string().as_bytes())?;
        }
        let is_first = self.next >= self.progress.said.load(SeqCst);
        match self.truth.script[self.next] {
            Step::Tick(at) => {
                // What is said again is said at its later time; the script's own wrong ticks
                // come once.
                let at = if is_first { at } else { self.now.max(at) };
                line.publish(CLOCK, at.to_string().as_bytes())?;
                self.now = self.now.max(at);
            }
            Step::Say(number) => {
                let content = &self.truth.contents[number];
                if is_first || !self.tap.has_acknowledged(content) {
                    line.publish(&content.0, &content.1)?;
                }
            }
            Step::Odd(_) => {}
        }
        self.next += 1;
        self.progress.said.fetch_max(self.next, SeqCst);
        Ok(())
    }

    /// After the last reading: the day's end, its grace, and late readings' time to settle go by.
    fn let_time_pass(&mut self, line: &mut Line) -> io::Result<()> {
        const STEP_MS: i64 = 15 * 60_000;
        const EVERY: Duration = Duration::from_millis(100);
        const LONGEST_MS: i64 = 3 * 24 * 3_600_000;
        let end = Truth::end() + 2 * 3_600_000;
        self.now = self.now.max(end).saturating_add(STEP_MS).min(end + LONGEST_MS);
        line.publish(CLOCK, self.now.to_string().as_bytes())?;
        let until = Instant::now() + EVERY;
        while Instant::now() < until && !self.is_over() {
            line.listen()?;
        }
        Ok(())
    }
}

/// A connection to the broker.
struct Line {
    stream: TcpStream,
    packets: Packets,
    unacknowledged: HashSet<u16>,
    number: u16,
}

impl Line {
    fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line =
            Self { stream, packets: Packets::default(), unacknowledged: HashSet::new(), number: 0 };
        line.stream.write_all(&connect(&format!("sensors-{port}")))?;
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            if line.read()?.iter().any(Packet::is_welcome) {
                return Ok(line);
            }
        }
        Err(ErrorKind::TimedOut.into())
    }

    fn publish(&mut self, topic: &str, payload: &[u8]) -> io::Result<()> {
        self.number = self.number.checked_add(1).unwrap_or(1);
        self.unacknowledged.insert(self.number);
        self.stream.write_all(&publish(topic, payload, self.number))
    }

    /// Takes the broker's acknowledgements, for a moment.
    fn listen(&mut self) -> io::Result<()> {
        for packet in self.read()? {
            if packet.kind() == kind::PUBACK
                && let Some(number) = packet.acknowledged()
            {
                self.unacknowledged.remove(&number);
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<Vec<Packet>> {
        let mut buffer = [0; 4_096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(size) => self.packets.extend(&buffer[..size]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        Ok(self.packets.by_ref().collect())
    }
}
