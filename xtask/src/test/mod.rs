//! soon
use anyhow::Result;
use clap::Args;
/// x
#[derive(Args)]
pub struct Arguments {}
/// x
pub fn run(_: &Arguments) -> Result<bool> {
    Ok(true)
}
