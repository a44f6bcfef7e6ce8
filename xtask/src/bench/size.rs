//! Sizes of images.

use anyhow::Result;

use super::Bench;
use crate::report::{Bar, Row};

/// The stripped size of the smallest image and of the website without its assets.
pub fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("index.html"), "\n")?;
    let hello = bench.product.image("examples/hello", &[])?;
    let assets = format!("assets={}", folder.path().display());
    let website = bench.product.image("examples/website", &[assets])?;
    let row = |name: &str, path: std::path::PathBuf, peer: (&str, f64), most: f64| {
        anyhow::Ok(Row {
            name: format!("image size, {name}"),
            unit: "KB",
            ours: [std::fs::metadata(path)?.len() as f64 / 1e3]
                .into_iter()
                .collect(),
            peer: Some((
                format!("{}, as published", peer.0),
                [peer.1].into_iter().collect(),
            )),
            bar: Some(Bar::AtMost(most)),
        })
    };
    Ok(vec![
        row("hello", hello, ("Solo5 hello in C", 21.0), 64.0)?,
        row(
            "website without assets",
            website,
            ("MirageOS hello", 3300.0),
            256.0,
        )?,
    ])
}
