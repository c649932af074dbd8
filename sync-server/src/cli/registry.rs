//! `models …` and `gateways …`: straight on the database, beside a running server or without.
//!
//! A running server looks at its champion twice a second, so a promotion or roll-back here
//! reaches the gateways by itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use daywise_server::{
    config::ServerConfig,
    storage::{Missing, Storage, StoredModel},
};
use serde_json::json;

use super::print;

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The server's configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// One JSON object as the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Models {
    /// Lists every version with its lineage.
    List(Common),
    /// Shows one version in full, as JSON.
    Show {
        /// The version.
        version: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Makes a version the champion: what gateways are offered.
    Promote {
        /// The version.
        version: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Makes the champion's parent the champion.
    RollBack(Common),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Gateways {
    /// Lists every gateway with what it last reported.
    List(Common),
}

async fn open(common: &Common) -> anyhow::Result<Storage> {
    let config = ServerConfig::load(&common.config)?;
    Ok(Storage::open(config.database, Missing::Refuse).await?)
}

pub(crate) async fn models(command: Models) -> anyhow::Result<()> {
    match command {
        Models::List(common) => list(&common).await,
        Models::Show { version, common } => {
            let model = open(&common).await?.model(version).await?;
            let Some(model) = model else {
                anyhow::bail!("there is no model version {version}");
            };
            let text = if common.json {
                serde_json::to_string(&model)?
            } else {
                serde_json::to_string_pretty(&model)?
            };
            print(&text)
        }
        Models::Promote { version, common } => {
            open(&common).await?.promote(version).await?;
            champion(&common, version)
        }
        Models::RollBack(common) => {
            let version = open(&common).await?.roll_back().await?;
            champion(&common, version)
        }
    }
}

fn champion(common: &Common, version: u32) -> anyhow::Result<()> {
    if common.json {
        print(&json!({ "champion": version }).to_string())
    } else {
        print(&format!("model version {version} is now the champion"))
    }
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let mut models = open(common).await?.models().await?;
    if common.json {
        models.iter_mut().for_each(StoredModel::shorten);
        return print(&json!({ "models": models }).to_string());
    }
    print(
        "version  parent  status     trained               window                    sensor-days  inertia",
    )?;
    for model in models {
        let parent = model.parent.map_or("-".into(), |parent| parent.to_string());
        print(&format!(
            "{:>7}  {parent:>6}  {:<9}  {:<20}  {} … {}  {:>11}  {:.2}{}",
            model.version,
            model.status,
            // Whole seconds are enough for people.
            model.created.split('.').next().unwrap_or_default(),
            model.window_from,
            model.window_to,
            model.sensor_days,
            model.inertia,
            model.refusal.map(|reason| format!("  {reason}")).unwrap_or_default(),
        ))?;
    }
    Ok(())
}

pub(crate) async fn gateways(command: Gateways) -> anyhow::Result<()> {
    let Gateways::List(common) = command;
    let gateways = open(&common).await?.gateways().await?;
    if common.json {
        return print(&json!({ "gateways": gateways }).to_string());
    }
    print("gateway                   online  agent     model  desired  generation  last seen")?;
    for gateway in gateways {
        let reported = gateway.reported.unwrap_or_default();
        let number = |number: Option<i64>| number.map_or("-".into(), |number| number.to_string());
        let active = reported.pointer("/active/version").and_then(serde_json::Value::as_i64);
        let online = reported.get("online").and_then(serde_json::Value::as_bool);
        print(&format!(
            "{:<24}  {:<6}  {:<8}  {:>5}  {:>7}  {:>10}  {}",
            gateway.gateway,
            online.map_or("?", |online| if online { "yes" } else { "no" }),
            reported.get("agent_version").and_then(serde_json::Value::as_str).unwrap_or("?"),
            number(active),
            number(gateway.desired_version),
            gateway.generation,
            gateway.last_seen,
        ))?;
    }
    Ok(())
}
