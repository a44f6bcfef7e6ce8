//! A real browser.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::need::Need;
use super::system::{PATIENCE, website};
use super::{Context, Test};
use crate::http;
use crate::process::Process;

pub const TESTS: &[Test] = &[Test {
    name: "Chromium shows the website, and everything its first page refers to is there",
    needs: &[Need::Program("chromium", "chromium")],
    run: shows,
}];

fn shows(context: &Context) -> Result<()> {
    let (_process, server) = website(context)?;
    let url = format!("http://{server}/");
    let page = http::get(server, "/", PATIENCE)?;
    let source = String::from_utf8_lossy(&page.body).into_owned();
    let title = between(&source, "<title>", "</title>").context("the page has no title")?;

    let document = chromium(context, &["--dump-dom", &url])?;
    let shown = between(&document, "<title>", "</title>").context("Chromium shows no title")?;
    ensure!(shown == title, "Chromium shows the title {shown:?}");
    for reference in references(&document) {
        let path = format!("/{}", reference.trim_start_matches('/'));
        let response = http::get(server, &path, PATIENCE)?;
        ensure!(
            response.status == 200,
            "{path} is answered with {}",
            response.head
        );
    }

    let picture = context.scratch.path().join("website.png");
    let option = format!("--screenshot={}", picture.display());
    chromium(context, &[&option, "--window-size=800,600", &url])?;
    let bytes = std::fs::read(&picture).context("Chromium took no picture")?;
    // The header of a PNG file, with width and height (PNG, third edition, 11.2.1).
    ensure!(
        bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        "the picture is no PNG"
    );
    ensure!(
        bytes.get(16..24) == Some(&[0, 0, 3, 32, 0, 0, 2, 88]),
        "it is not 800 by 600"
    );
    // An empty page of that size compresses to about 3 KB.
    ensure!(
        bytes.len() > 8_000,
        "the picture has only {} bytes: an empty page",
        bytes.len()
    );
    Ok(())
}

fn chromium(context: &Context, arguments: &[&str]) -> Result<String> {
    let profile = tempfile::tempdir_in(context.scratch.path())?;
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    command.arg(user_data(profile.path())).args(arguments);
    let mut process = Process::start(&mut command)?;
    let status = process.exit(PATIENCE * 3)?;
    ensure!(
        status.success(),
        "Chromium ended with {status}:\n{}",
        process.output()
    );
    Ok(process.output())
}

fn user_data(folder: &Path) -> String {
    format!("--user-data-dir={}", folder.display())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

/// Targets of `href` and `src` on the same server.
fn references(document: &str) -> Vec<&str> {
    let values = ["href=\"", "src=\""]
        .into_iter()
        .flat_map(|name| document.split(name).skip(1));
    let values = values.filter_map(|rest| Some(rest.split_once('"')?.0));
    let values = values.map(|value| value.split('#').next().unwrap_or_default());
    values
        .filter(|value| !value.is_empty() && !value.contains(':'))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn references_are_those_on_the_same_server() {
        let document =
            r##"<a href="b.html#x"><a href="#y"><a href="https://z/"><img src="/i.svg">"##;
        assert_eq!(super::references(document), ["b.html", "/i.svg"]);
    }
}
