use std::collections::BTreeSet;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Description, Key};
use crate::descriptor::Attached;

const HEAD: Style = AnsiColor::Green.on_default().bold();
const NAME: Style = Style::new().bold();
const QUIET: Style = Style::new().dimmed();

/// For a person: a tree of devices, then the keys.
pub(super) fn render(description: &Description) -> String {
    let Description {
        application,
        platform,
        on,
        artifact,
        main,
        ..
    } = description;
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = writeln!(
        text,
        "{NAME}{}{NAME:#} {} {QUIET}on {on}: {artifact} by {} {}{QUIET:#}\n",
        application.name, application.version, platform.name, platform.version
    );
    let _ = writeln!(text, "{HEAD}Devices{HEAD:#}\n  {main}");
    let mut rows = Vec::new();
    tree(
        description,
        &description.takes,
        "  ",
        &mut BTreeSet::new(),
        &mut rows,
    );
    let width = |column: fn(&Row) -> &str| {
        let widths = rows.iter().map(|row| column(row).chars().count());
        widths.max().unwrap_or_default()
    };
    let (names, providers) = (width(|row| &row.name), width(|row| &row.provider));
    for row in &rows {
        let pad = names - row.name.chars().count();
        let line = format!(
            "{}{:pad$}  {:providers$}  {QUIET}{}{QUIET:#}",
            row.name, "", row.provider, row.note
        );
        let _ = writeln!(text, "{}", trim(&line));
    }
    keys(description, &mut text);
    text
}

/// Spaces before an empty note are left out.
fn trim(line: &str) -> String {
    let empty = format!("{QUIET}{QUIET:#}");
    line.strip_suffix(&empty).unwrap_or(line).trim_end().into()
}

struct Row {
    name: String,
    provider: String,
    note: String,
}

fn tree(
    description: &Description,
    takes: &[String],
    indent: &str,
    seen: &mut BTreeSet<String>,
    rows: &mut Vec<Row>,
) {
    for (at, name) in takes.iter().enumerate() {
        let Some(device) = description.device(name) else {
            continue;
        };
        let last = at + 1 == takes.len();
        let branch = if last { "└─ " } else { "├─ " };
        let again = !seen.insert(name.clone());
        let mut notes = Vec::new();
        if device.interface != *name {
            notes.push(device.interface.clone());
        }
        match device.attached {
            _ if again => notes.push("the same".into()),
            Some(Attached::Net) => notes.push(format!("--tap {name}=TAP, or the gateway")),
            Some(Attached::Block) => notes.push(format!("--block {name}=FILE")),
            None => {}
        }
        rows.push(Row {
            name: format!("{indent}{branch}{name}"),
            provider: format!("{} {}", device.provider.name, device.provider.version),
            note: notes.join(", "),
        });
        if !again {
            let indent = format!("{indent}{}", if last { "   " } else { "│  " });
            tree(description, &device.takes, &indent, seen, rows);
        }
    }
}

fn keys(description: &Description, text: &mut String) {
    let build: Vec<&Key> = description
        .keys
        .iter()
        .filter(|key| key.at == "build")
        .collect();
    let run: Vec<&Key> = description
        .keys
        .iter()
        .filter(|key| key.at == "run")
        .collect();
    for (title, keys) in [
        ("Keys when it is built: --set NAME=VALUE", build),
        ("Keys when it runs: -- NAME=VALUE", run),
    ] {
        if keys.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{HEAD}{title}{HEAD:#}");
        let rows: Vec<[String; 4]> = keys.iter().map(|key| row(key)).collect();
        let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
        let (a, b, c) = (
            width(0).unwrap_or(0),
            width(1).unwrap_or(0),
            width(2).unwrap_or(0),
        );
        for [name, kind, default, doc] in &rows {
            let line = format!("  {name:a$}  {kind:b$}  {default:c$}  {QUIET}{doc}{QUIET:#}");
            let _ = writeln!(text, "{}", trim(&line));
        }
    }
}

fn row(key: &Key) -> [String; 4] {
    let name = match &key.alias {
        Some(alias) => format!("{} (or {alias})", key.name),
        None => key.name.clone(),
    };
    let default = match &key.default {
        Some(default) => default.clone(),
        None if key.required => "required".into(),
        None => "-".into(),
    };
    [name, key.r#type.clone(), default, key.doc.clone()]
}
