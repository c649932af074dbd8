//! `daywise-server`: arguments, configuration, logging, exit code; nothing else.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration.

mod cli;

use std::{io::IsTerminal as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use daywise_server::config::{ConfigError, ServerConfig};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_subscriber::EnvFilter;

/// What `sysexits.h` calls a configuration error; systemd is told not to restart on it.
const EXIT_CONFIG: u8 = 78;
/// The broker logs every ordinary disconnect as an error. What must not be missed is that it
/// dropped the oldest of a full log, which it says in its segments.
const DEFAULT_LOG: &str = "info,rumqttd=off,rumqttd::segments=warn";
/// How long a training that still computes may hold up the end of the process.
const LAST_WAIT: Duration = Duration::from_millis(100);

/// Daywise's sync server: features in, central training, model registry and delivery.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server until SIGTERM or SIGINT.
    Run {
        /// The configuration, in TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Trains a model on features files, the same way as the server does.
    Train(cli::train::Arguments),
    /// The model registry.
    #[command(subcommand)]
    Models(cli::registry::Models),
    /// The gateways.
    #[command(subcommand)]
    Gateways(cli::registry::Gateways),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_LOG.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match execute(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(ConfigError { problems }) = error.downcast_ref() {
                eprintln!("the configuration has mistakes:");
                for problem in problems {
                    eprintln!("  {problem}");
                }
                return ExitCode::from(EXIT_CONFIG);
            }
            eprintln!("error: {}", daywise_server::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { config } => {
            let config = ServerConfig::load(&config)?;
            let runtime = Runtime::new().context("cannot start the runtime")?;
            let result = runtime.block_on(run(config));
            runtime.shutdown_timeout(LAST_WAIT);
            result
        }
        Command::Train(arguments) => cli::train::execute(&arguments),
        Command::Models(command) => on_runtime(cli::registry::models(command)),
        Command::Gateways(command) => on_runtime(cli::registry::gateways(command)),
    }
}

fn on_runtime(task: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(task)
}

async fn run(config: ServerConfig) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let server = daywise_server::build(config).await?;
    let running = server.run(stop.clone());
    tokio::pin!(running);
    let signal = tokio::select! {
        ended = &mut running => return Ok(ended?),
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    info!(signal, "stopping");
    stop.cancel();
    Ok(running.await?)
}
