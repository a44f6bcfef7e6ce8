//! How an error is shown: what happened, where, and what to do next.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Report,
    SourceCode,
};

use crate::ui::say;

/// A place in a Cargo.toml: the keys that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub manifest: PathBuf,
    /// The keys from its root, the last one the place itself.
    pub keys: Vec<String>,
}

impl Place {
    /// A place under `[package.metadata.mirage]`.
    pub fn new<S: Into<String>>(manifest: &Path, keys: impl IntoIterator<Item = S>) -> Self {
        let root = ["package", "metadata", "mirage"].map(String::from);
        Self {
            manifest: manifest.into(),
            keys: root
                .into_iter()
                .chain(keys.into_iter().map(Into::into))
                .collect(),
        }
    }

    /// `problem`, shown with the lines of the file it is about.
    pub fn show(&self, problem: impl Diagnostic + Send + Sync + 'static) -> Report {
        let text = fs::read_to_string(&self.manifest).unwrap_or_default();
        let Some(span) = find(&text, &self.keys) else {
            return Report::new(problem);
        };
        Report::new(Placed {
            problem: Box::new(problem),
            source: NamedSource::new(short(&self.manifest), text).with_language("TOML"),
            span,
        })
    }
}

/// The bytes of the deepest of `keys` that `text` has.
fn find(text: &str, keys: &[String]) -> Option<Range<usize>> {
    let document = toml_edit::Document::parse(text).ok()?;
    let mut table: &dyn toml_edit::TableLike = document.as_table();
    let mut found = None;
    for key in keys {
        let Some((name, item)) = table.get_key_value(key) else {
            break;
        };
        found = name.span().or_else(|| item.span()).or(found);
        match item.as_table_like() {
            Some(inner) => table = inner,
            None => {
                found = item.span().or(found);
                break;
            }
        }
    }
    found
}

/// A path as a person would write it here: relative where it lies below the current folder.
pub fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let short = path.strip_prefix(&here).unwrap_or(path);
    if short.as_os_str().is_empty() {
        ".".into()
    } else {
        plain_text(&short.display().to_string())
    }
}

/// A text of a stranger's, without what would have a terminal do something.
pub fn plain_text(text: &str) -> String {
    let escaped = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.into(),
    };
    text.chars().map(escaped).collect()
}

#[derive(Debug)]
struct Placed {
    problem: Box<dyn Diagnostic + Send + Sync>,
    source: NamedSource<String>,
    span: Range<usize>,
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for Placed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

impl Diagnostic for Placed {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help()
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(Some("here".into()), self.span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}

/// Writes `report` to standard error: drawn on a terminal, plain lines elsewhere.
pub fn print(report: &Report, terminal: bool, color: bool) {
    if !terminal {
        say(&plain(report));
        return;
    }
    let theme = if color {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(theme).with_cause_chain();
    if handler.render_report(&mut text, report.as_ref()).is_ok() {
        say(&text);
    } else {
        say(&plain(report));
    }
}

fn plain(report: &Report) -> String {
    let mut text = format!("error: {report}\n");
    if let (Some(source), Some(label)) = (
        report.source_code(),
        report.labels().and_then(|mut labels| labels.next()),
    ) && let Ok(lines) = source.read_span(label.inner(), 0, 0)
    {
        let name = lines.name().unwrap_or_default();
        let (line, column) = (lines.line() + 1, lines.column() + 1);
        text += &format!("  at: {name}:{line}:{column}\n");
    }
    for cause in report.chain().skip(1) {
        text += &format!("  cause: {}\n", indent(&cause.to_string()));
    }
    if let Some(help) = report.help() {
        text += &format!("  help: {}\n", indent(&help.to_string()));
    }
    text
}

fn indent(text: &str) -> String {
    text.trim_end().replace('\n', "\n        ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_key_that_exists_is_shown() {
        let text = "[package.metadata.mirage]\nmain = \"a::b()\"\n\n\
                    [package.metadata.mirage.devices]\nassets = { from = \"site\" }\n";
        let at = |keys: &[&str]| {
            let place = Place::new(Path::new("Cargo.toml"), keys.iter().copied());
            find(text, &place.keys).map(|span| &text[span])
        };
        assert_eq!(at(&["main"]), Some("\"a::b()\""));
        assert_eq!(at(&["devices", "assets"]), Some("assets"));
        assert_eq!(at(&["devices", "assets", "from"]), Some("\"site\""));
        assert_eq!(at(&["devices", "disk"]), Some("devices"));
        assert_eq!(at(&["keys"]), Some("mirage"));
    }

    #[test]
    fn a_path_does_nothing_to_a_terminal() {
        let path = Path::new("/a b/\u{1b}[2J\u{9b}é\n");
        assert_eq!(short(path), "/a b/\\u{1b}[2J\\u{9b}é\\n");
    }

    #[test]
    fn a_plain_report_says_what_where_and_what_next() {
        #[derive(Debug, thiserror::Error, Diagnostic)]
        #[error("it broke")]
        #[diagnostic(help("mend it"))]
        struct Broken;
        let report = Report::new(Placed {
            problem: Box::new(Broken),
            source: NamedSource::new("Cargo.toml", "a = 1\nb = 2\n".to_string()),
            span: 6..7,
        });
        assert_eq!(
            plain(&report),
            "error: it broke\n  at: Cargo.toml:2:1\n  help: mend it\n"
        );
    }
}
