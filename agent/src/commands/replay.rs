//! x
/// x
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {}
/// x
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {}
