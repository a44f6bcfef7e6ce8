//! `cargo xtask book`: the page of the contracts, made of what the suites check.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mirage_conformance::{Aspect, CONTRACTS, Sentence};

/// The page, and one that lends its frame: the contents and what surrounds them are the same on
/// every page.
const PAGE: &str = "contracts.html";
const FRAME: &str = "devices.html";

const TITLE: &str = "Contracts";
const DESCRIPTION: &str =
    "What every provider of a Mirage device promises, method by method and sentence by sentence.";

/// Writes the page.
pub fn run() -> Result<bool> {
    let path = docs().join(PAGE);
    std::fs::write(&path, page()?).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}", path.display());
    Ok(true)
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The whole page as it has to be.
fn page() -> Result<String> {
    let frame = std::fs::read_to_string(docs().join(FRAME))?;
    let before = |text: &str| {
        frame
            .find(text)
            .with_context(|| format!("no {text} in {FRAME}"))
    };
    let head = &frame[..before("<main ")?];
    let foot = &frame[before("</main>")?..];
    let mut page = String::new();
    for line in head.lines() {
        let link = |page: &str| format!("<a href=\"{page}\"");
        if line.starts_with("<title>") {
            writeln!(page, "<title>{TITLE} · Mirage</title>")?;
        } else if line.starts_with("<meta name=\"description\"") {
            writeln!(
                page,
                "<meta name=\"description\" content=\"{DESCRIPTION}\">"
            )?;
        } else if line.contains(&link(PAGE)) {
            let current = format!("{} aria-current=\"page\"", link(PAGE));
            writeln!(page, "{}", line.replace(&link(PAGE), &current))?;
        } else {
            writeln!(page, "{}", line.replace(" aria-current=\"page\"", ""))?;
        }
    }
    text(&mut page)?;
    Ok(page + foot)
}

fn text(page: &mut String) -> Result<()> {
    page.push_str(
        r##"<main id="text">
<h1>Contracts</h1>
<p class="lead">What a provider of a device promises, and what an application may rely on: method by method, in the words of the interfaces’ own documentation.</p>
<p>Each sentence here is checked by a suite of <code>mirage_conformance</code>, for every provider on every platform, wherever the platform lets it be seen: a cut of the power only in the simulated world. A provider of your own can run it too: see <a href="providers.html#conformance">Writing a provider</a>. A number behind a sentence says <a href="#untested">why no test can check it</a>.</p>
<p>Two rules hold everywhere. A unikernel is one thread: handles and futures never move to another. A method that waits lets every other task run; one that returns at once never does.</p>
"##,
    );
    let mut reasons: Vec<&str> = Vec::new();
    for contract in CONTRACTS {
        let mut rest = contract.sentences;
        while let Some(first) = rest.first() {
            let name = interface(first);
            let end = rest.iter().position(|sentence| interface(sentence) != name);
            let (sentences, others) = rest.split_at(end.unwrap_or(rest.len()));
            section(page, name, sentences, &mut reasons)?;
            rest = others;
        }
    }
    page.push_str("\n<h2 id=\"untested\">What no test can check</h2>\n<ol>\n");
    for (number, reason) in (1..).zip(reasons) {
        writeln!(
            page,
            "  <li id=\"reason-{number}\">{}</li>",
            html(&capital(reason))
        )?;
    }
    page.push_str(
        r#"</ol>
  <nav class="turn" aria-label="Previous and next page">
    <a rel="prev" href="providers.html">&larr; Writing a provider</a>
    <a class="next" rel="next" href="platforms.html">Platforms and exit status &rarr;</a>
  </nav>
"#,
    );
    Ok(())
}

/// The trait that a sentence belongs to.
fn interface(sentence: &Sentence) -> &'static str {
    sentence.item.split("::").next().unwrap_or(sentence.item)
}

/// One interface: what holds for the whole of it, then its methods.
fn section(
    page: &mut String,
    name: &str,
    sentences: &'static [Sentence],
    reasons: &mut Vec<&'static str>,
) -> Result<()> {
    writeln!(
        page,
        "\n<h2 id=\"{}\"><code>{name}</code></h2>",
        name.to_lowercase()
    )?;
    page.push_str("<table class=\"contract\">\n");
    let mut rest = sentences;
    while let Some(first) = rest.first() {
        let end = rest
            .iter()
            .position(|sentence| sentence.method != first.method);
        let (method, others) = rest.split_at(end.unwrap_or(rest.len()));
        rest = others;
        page.push_str("<tbody>\n");
        if !first.method.is_empty() {
            let id = format!("{name}-{}", first.method).to_lowercase();
            writeln!(
                page,
                "<tr><th colspan=\"2\" scope=\"rowgroup\" id=\"{id}\"><code>{}</code></th></tr>",
                first.method
            )?;
        }
        for aspect in Aspect::ALL {
            let mut cell = String::new();
            for sentence in method.iter().filter(|sentence| sentence.aspect == aspect) {
                if !cell.is_empty() {
                    cell.push(' ');
                }
                cell.push_str(&html(sentence.text));
                if let Some(reason) = sentence.unchecked {
                    let known = reasons.iter().position(|known| *known == reason);
                    let number = known.unwrap_or(reasons.len()) + 1;
                    if known.is_none() {
                        reasons.push(reason);
                    }
                    write!(cell, "<sup><a href=\"#reason-{number}\">{number}</a></sup>")?;
                }
            }
            if !cell.is_empty() {
                let aspect = aspect.name();
                writeln!(
                    page,
                    "<tr><th scope=\"row\">{aspect}</th><td>{cell}</td></tr>"
                )?;
            }
        }
        page.push_str("</tbody>\n");
    }
    page.push_str("</table>\n");
    Ok(())
}

/// A sentence of a documentation comment in HTML: links become what they link to.
fn html(text: &str) -> String {
    let mut out = String::new();
    for (number, part) in text.split('`').enumerate() {
        let part = part
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        if number % 2 == 1 {
            write!(out, "<code>{part}</code>").expect("a string takes everything");
        } else {
            out.push_str(&part);
        }
    }
    out.replace("[<code>", "<code>")
        .replace("</code>]", "</code>")
}

/// With a capital at the beginning, and a full stop at the end.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_contracts_is_what_the_suites_check() {
        let written = std::fs::read_to_string(docs().join(PAGE)).unwrap_or_default();
        let same = written == page().unwrap();
        assert!(
            same,
            "docs/{PAGE} has drifted from lib/conformance: run `cargo xtask book`"
        );
    }

    #[test]
    fn every_page_links_to_it() {
        for entry in std::fs::read_dir(docs()).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "html")
            {
                let page = std::fs::read_to_string(&path).unwrap();
                // The page for what is not there may be shown under any address.
                let links = ["", "/"]
                    .iter()
                    .any(|root| page.contains(&format!("href=\"{root}{PAGE}\"")));
                assert!(links, "{} does not link to {PAGE}", path.display());
            }
        }
    }

    #[test]
    fn links_and_code_become_html() {
        let text = "[`Net::send`] gives `Ok(None)` for a < b.";
        let expected = "<code>Net::send</code> gives <code>Ok(None)</code> for a &lt; b.";
        assert_eq!(html(text), expected);
    }
}
