//! The book's tour is what the command does, and its Rust code is what the examples hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The blocks of the book's pages on Irmin whose tag has this in it: page, value behind it, text.
fn blocks(mark: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("irmin") || path.extension().is_none_or(|found| found != "html") {
            continue;
        }
        let page = fs::read_to_string(&path).unwrap();
        for part in page.split("<pre ").skip(1) {
            let (tag, rest) = part.split_once("><code>").unwrap();
            let Some((_, value)) = tag.split_once(mark) else {
                continue;
            };
            let text = rest.split("</code>").next().unwrap();
            let text = text.replace("&lt;", "<").replace("&gt;", ">");
            let value = value.split('"').next().unwrap();
            found.push((name.clone(), value.into(), text.replace("&amp;", "&")));
        }
    }
    found
}

#[test]
fn the_code_in_the_book_stands_in_the_examples_that_run() {
    let blocks = blocks("data-source=\"");
    assert!(blocks.len() > 10, "{} blocks were found", blocks.len());
    for (page, source, text) in blocks {
        let code = fs::read_to_string(root().join(&source)).unwrap();
        let code: Vec<&str> = code.lines().map(str::trim).collect();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert!(
            code.windows(lines.len()).any(|window| window == lines),
            "{page} shows what is not in {source}:\n{text}"
        );
    }
}

/// Whether the text is as shown, where `…` stands for anything and ids and times are not compared.
fn is_as_shown(found: &str, shown: &str) -> bool {
    let same = |(found, shown): (&str, &str)| {
        let id = |text: &str| text.len() >= 7 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let words = |line: &str| -> Vec<String> {
            line.split_whitespace()
                .map(|word| if id(word) { "ID" } else { word }.into())
                .collect()
        };
        match shown.split_once('…') {
            Some((from, to)) => found.starts_with(from) && found.ends_with(to),
            None if shown.starts_with("Date:") => found.starts_with("Date:"),
            None => words(found) == words(shown),
        }
    };
    let (found, shown) = (found.trim_end(), shown.trim_end());
    found.lines().count() == shown.lines().count() && found.lines().zip(shown.lines()).all(same)
}

#[test]
fn the_tour_at_the_shell_prints_what_the_book_shows() {
    let tour: Vec<_> = blocks("class=\"shell")
        .into_iter()
        .filter(|(page, ..)| page == "irmin.html")
        .collect();
    assert!(tour.len() >= 3);
    let place = tempfile::tempdir().unwrap();
    let mut folder = place.path().to_path_buf();
    let command = Path::new(env!("CARGO_BIN_EXE_irmin")).parent().unwrap();
    let path = format!("{}:{}", command.display(), std::env::var("PATH").unwrap());
    for (_, _, text) in tour {
        for step in text.split("$ ").skip(1) {
            let (line, shown) = step.split_once('\n').unwrap_or((step, ""));
            if let Some(into) = line.strip_prefix("cd ") {
                folder = folder.join(into);
                continue;
            }
            let mut shell = Command::new("sh");
            shell
                .args(["-c", line])
                .current_dir(&folder)
                .env("PATH", &path);
            for role in ["AUTHOR", "COMMITTER"] {
                shell.env(format!("GIT_{role}_NAME"), "Ada");
                shell.env(format!("GIT_{role}_EMAIL"), "ada@example.org");
            }
            let output = shell.env_remove("GIT_DIR").output().unwrap();
            let found = String::from_utf8(output.stdout).unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && is_as_shown(&found, shown),
                "`{line}` printed\n{found}{error}and the book shows\n{shown}"
            );
        }
    }
}
