//! `daywise-agent`: arguments, config, exit codes; nothing else.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;
use daywise_agent::{
    cli::{Cli, Command},
    commands::{check, decode, features, inspect, predict, replay, score, sniff, status},
    config::{AgentConfig, ConfigError},
    logging, owner,
};

/// Exit code for a config that cannot be used, as in BSD's sysexits.
const BAD_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("daywise-agent: {error:#}");
            let bad_config = error.downcast_ref::<ConfigError>().is_some();
            ExitCode::from(if bad_config { BAD_CONFIG } else { 1 })
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run { config } => {
            let config = load(&config)?;
            runtime()?.block_on(daywise_agent::run(config))?;
        }
        Command::Check(args) => {
            let config = load(&args.config)?;
            runtime()?.block_on(check::run(&args, &config))?;
        }
        Command::Features(args) => {
            features::run(&args)?;
        }
        Command::Predict(args) => {
            predict::run(&args)?;
        }
        Command::Score(args) => {
            score::run(&args)?;
        }
        Command::Decode(args) => {
            decode::run(&args)?;
        }
        Command::Sniff(args) => {
            runtime()?.block_on(sniff::run(&args))?;
        }
        Command::Replay(args) => {
            runtime()?.block_on(replay::run(&args))?;
        }
        Command::Status(args) => status::run(&args, &load(&args.config)?)?,
        Command::Inspect(args) => inspect::run(&args, &load(&args.config)?)?,
    }
    Ok(())
}

/// The config of a command that works on the agent's state, which it does as its owner.
fn load(config: &Path) -> anyhow::Result<AgentConfig> {
    let config = AgentConfig::load(config)?;
    owner::act_as_owner(&config.state_dir)?;
    Ok(config)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // One worker beside the pipeline's own thread: a gateway has few cores and little memory.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).max_blocking_threads(4).enable_all();
    builder.build().context("cannot start the runtime")
}
