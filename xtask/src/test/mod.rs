//! x
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TestArgs {}
pub(crate) fn run(_args: &TestArgs) -> anyhow::Result<()> {
    Ok(())
}
