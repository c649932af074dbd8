//! Writes man pages and shell completions into the folder that is named: what packages carry.

use std::{env, error::Error, fs, path::Path};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};
use daywise_agent::cli::Cli;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("which folder?")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command(), folder)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut Cli::command(), "daywise-agent", folder)?;
    }
    Ok(())
}
