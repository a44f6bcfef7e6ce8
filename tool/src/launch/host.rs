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
use crate::running::Page;
use crate::summary::Summary;
use crate::ui::Ui;

pub fn run(summary: &Summary, run: &Run, words: &[String], ui: &Ui) -> Result<i32, Report> {
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
    let mut page = Page::new(&summary.name, 0);
    if let Some(page) = &page {
        let path = format!("/proc/self/fd/{}", page.descriptor());
        command.env("MIRAGE_COUNTERS", path);
    }
    command.args(words);
    let session = Session::start(&summary.name, command, None, ui)?;
    if let Some(page) = &mut page {
        page.started(session.pid());
    }
    for publish in published {
        process::tell(publish, ui);
    }
    session.wait(ui)
}

/// Refuses what no program can be given: it is an ordinary one, on the machine's own network.
pub fn check(run: &Run) -> Result<(), Unfit> {
    if !run.tap.is_empty() {
        return Err(Unfit::TapOnHost);
    }
    let asked = [
        (
            run.record.is_some(),
            "--record",
            "the answers of its network do not come through the platform boundary; record it as a \
             process: --on process",
        ),
        (
            run.pcap.is_some(),
            "--pcap",
            "capture on the host's interface, or run it as a process: --on process",
        ),
        (
            run.debug.gdb.is_some(),
            "--gdb",
            "start it under gdb itself: `mirage build --on host --json` tells where it is",
        ),
        (
            run.debug.dump.is_some(),
            "--dump",
            "let the system keep its core: ulimit -c unlimited",
        ),
    ];
    match asked.into_iter().find(|(asked, ..)| *asked) {
        Some((_, option, hint)) => Err(Unfit::DebugOnHost { option, hint }),
        None => Ok(()),
    }
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
