//! An ordinary program on this machine's own network. What a tender gives an image, the
//! environment gives it.

use std::ffi::OsString;
use std::process::Command;

use miette::Report;
use mirage_gateway::{Config, Gateway, Publish};

use super::devices::{self, Resource, Unfit};
use super::process::{self, PublishError};
use super::session::Session;
use crate::cli::Run;
use crate::summary::Summary;
use crate::ui::Ui;

pub fn run(summary: &Summary, run: &Run, words: &[String], ui: &Ui) -> Result<i32, Report> {
    if !run.tap.is_empty() {
        return Err(Unfit::TapOnHost.into());
    }
    let resources = devices::connect(&summary.name, &summary.devices, &[], &[], &run.block)?;
    let mut command = Command::new(&summary.product);
    for (device, resource) in resources {
        if let Resource::File { file, read_only } = resource {
            let mut value = OsString::from(file);
            if read_only {
                value.push(",ro");
            }
            command.env(format!("MIRAGE_BLOCK_{device}"), value);
        }
    }
    let published = free(run)?;
    let words_of = |publish: &Publish| {
        let (host, guest) = (publish.host, publish.guest);
        format!("{host}={guest}/{}", publish.protocol)
    };
    let list: Vec<String> = published.iter().map(words_of).collect();
    if !list.is_empty() {
        command.env("MIRAGE_PUBLISH", list.join(","));
    }
    command.args(words);
    let session = Session::start(&summary.name, command, None, ui)?;
    for publish in published {
        process::tell(publish, ui);
    }
    session.wait(ui)
}

/// Finds ports that are taken before the start, by opening them and closing them again. Yields
/// them with the numbers that the kernel chose.
fn free(run: &Run) -> Result<Vec<Publish>, PublishError> {
    let gateway = Gateway::bind(Config {
        publish: run.publish.clone(),
        ..Config::default()
    })?;
    Ok(gateway.published().collect())
}
