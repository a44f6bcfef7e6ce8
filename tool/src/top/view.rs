//! What is shown of a unikernel, and how. Nothing here looks at anything.

use std::time::Duration;

use anstyle::{AnsiColor, Effects, Style};
use serde::Serialize;

use crate::running::Running;
use crate::ui::size;

/// A unikernel as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    /// Its name.
    #[serde(rename = "unikernel")]
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Seconds of processor time.
    cpu_seconds: f64,
    /// The part of a processor that it used since the last look, in percent.
    cpu_percent: Option<f64>,
    /// The memory that it holds.
    memory_bytes: u64,
    /// What it counts, in the order of devices and names.
    counters: Vec<Row>,
    /// Why that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// A counter as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    device: String,
    name: String,
    value: u64,
    /// How fast it went up since the last look; none for a gauge.
    per_second: Option<f64>,
}

impl View {
    /// What is shown of `running`, with what it was so long ago; `filter` is a word that a
    /// counter or its device has to have.
    pub fn new(
        running: &Running,
        before: Option<(Duration, &Running)>,
        filter: Option<&str>,
    ) -> Self {
        let seconds = before.map_or(0.0, |(time, _)| time.as_secs_f64());
        let per_second = |difference: f64| (seconds > 0.0).then(|| difference / seconds);
        let samples = |running: &Running| -> Vec<(String, String, u64, bool)> {
            let tables = running.counters.iter().flatten();
            let samples = tables.flat_map(|table| table.samples());
            samples
                .map(|s| (s.device.into(), s.name.into(), s.value, s.is_total()))
                .collect()
        };
        let old = before.map(|(_, running)| samples(running));
        let mut counters: Vec<Row> = samples(running)
            .into_iter()
            .filter(|(device, name, ..)| filter.is_none_or(|word| matches(word, device, name)))
            .map(|(device, name, value, is_total)| {
                let then = old.as_ref().filter(|_| is_total).and_then(|old| {
                    let same = old.iter().find(|(d, n, ..)| *d == device && *n == name);
                    same.map(|(_, _, then, _)| *then)
                });
                let rate = then.and_then(|then| per_second(value.saturating_sub(then) as f64));
                Row {
                    device,
                    name,
                    value,
                    per_second: rate,
                }
            })
            .collect();
        counters.sort_by(|a, b| (&a.device, &a.name).cmp(&(&b.device, &b.name)));
        let used = before.map(|(_, then)| running.cpu.saturating_sub(then.cpu).as_secs_f64());
        Self {
            name: running.name.clone(),
            pid: running.pid,
            cpu_seconds: running.cpu.as_secs_f64(),
            cpu_percent: used.and_then(per_second).map(|part| part * 100.0),
            memory_bytes: running.memory,
            counters,
            problem: running.counters.as_ref().err().map(ToString::to_string),
        }
    }
}

/// Whether a counter or its device has this word in its name.
pub fn matches(word: &str, device: &str, name: &str) -> bool {
    device.contains(word) || name.contains(word)
}

/// One object a line, one line a unikernel.
pub fn json(views: &[View]) -> String {
    let line = |view| serde_json::to_string(view).unwrap_or_default() + "\n";
    views.iter().map(line).collect()
}

/// The columns of a line that are not its names'.
const NUMBERS: usize = "    ".len() + "  ".len() + 15 + "  ".len() + 12;

/// A table for a person: no line is longer than `width`, and there are no more than `height`.
/// Counters that are zero are left out.
pub fn table(views: &[View], width: usize, height: usize, color: bool) -> Vec<String> {
    let rows = |view: &'_ View| {
        let rows = view.counters.iter().filter(|row| row.value != 0);
        rows.cloned().collect::<Vec<Row>>()
    };
    let all: Vec<Row> = views.iter().flat_map(rows).collect();
    let longest =
        |text: fn(&Row) -> usize, least| all.iter().map(text).max().unwrap_or(0).max(least);
    let device = longest(|row| row.device.len(), 6);
    // Where there is no room, names are cut rather than values.
    let room = width.saturating_sub(device + NUMBERS).max(7);
    let name = longest(|row| row.name.len(), 7).min(room);
    let paint = |style: Style, text: String| match color {
        true => format!("{style}{text}{style:#}"),
        false => text,
    };
    let cut = |text: String| text.chars().take(width).collect::<String>();
    let bold = Style::new().effects(Effects::BOLD);
    let dim = Style::new().effects(Effects::DIMMED);
    let green = AnsiColor::Green.on_default().effects(Effects::BOLD);
    let mut lines = Vec::new();
    for view in views {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let cpu = view
            .cpu_percent
            .map_or(String::new(), |cpu| format!("  cpu {cpu:.1} %"));
        let text = format!(
            "{}  process {}{cpu}  {:.2} s used  memory {}",
            view.name,
            view.pid,
            view.cpu_seconds,
            size(view.memory_bytes),
        );
        lines.push(paint(green, cut(text)));
        if let Some(problem) = &view.problem {
            lines.push(cut(format!("  {problem}")));
            continue;
        }
        let heading = format!(
            "  {:device$}  {:name$}  {:>15}  {:>12}",
            "DEVICE", "COUNTER", "VALUE", "PER SECOND"
        );
        lines.push(paint(dim, cut(heading)));
        let mut last = String::new();
        for row in rows(view) {
            let same = row.device == last;
            let shown = if same { "" } else { &row.device };
            let rate = row.per_second.map_or(String::new(), rate);
            let value = grouped(row.value);
            let line = format!(
                "  {shown:device$}  {:name$.name$}  {value:>15}  {rate:>12}",
                row.name
            );
            let line = cut(line.trim_end().into());
            let moves = row.per_second.is_some_and(|rate| rate > 0.0);
            lines.push(if moves { paint(bold, line) } else { line });
            last = row.device;
        }
    }
    if lines.len() > height {
        let more = lines.len() - height.saturating_sub(1);
        lines.truncate(height.saturating_sub(1));
        let text = format!("... {more} more lines; name a unikernel, or use --filter WORD");
        lines.push(paint(dim, cut(text)));
    }
    lines
}

/// A number with its thousands apart.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn rate(rate: f64) -> String {
    match rate {
        ..100.0 => format!("{rate:.1}"),
        _ => grouped(rate.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mirage_counters::{Snapshot, Table};

    fn running(frames: u64, cpu: f64) -> Running {
        let table = Table::new(None);
        table
            .counter("stack.net", "frames_received_total")
            .add(frames);
        table
            .counter("stack.net", "bytes_received_total")
            .add(frames * 1_000);
        table.counter("stack.net", "frames_sent_total");
        table.counter("runtime", "tasks").set(4);
        Running {
            name: "website".into(),
            pid: 4321,
            counters: Ok(vec![Snapshot::read(&table.bytes()).unwrap()]),
            cpu: Duration::from_secs_f64(cpu),
            memory: 1_500_000,
        }
    }

    #[test]
    fn a_table_shows_what_is_not_zero_with_its_rate() {
        let before = running(1_000, 1.0);
        let view = View::new(
            &running(1_234_567, 1.25),
            Some((Duration::from_secs(2), &before)),
            None,
        );
        let lines = table(&[view], 200, 100, false);
        let expected = "\
website  process 4321  cpu 12.5 %  1.25 s used  memory 1.4 MiB
  DEVICE     COUNTER                          VALUE    PER SECOND
  runtime    tasks                                4
  stack.net  bytes_received_total     1,234,567,000   616,783,500
             frames_received_total        1,234,567       616,784";
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn a_narrow_table_cuts_names_and_keeps_values() {
        let before = running(1_000, 1.0);
        let now = running(1_234_567, 1.25);
        let view = View::new(&now, Some((Duration::from_secs(2), &before)), None);
        let lines = table(&[view], 60, 100, false);
        let expected = "\
website  process 4321  cpu 12.5 %  1.25 s used  memory 1.4 M
  DEVICE     COUNTER                     VALUE    PER SECOND
  runtime    tasks                           4
  stack.net  bytes_received_t    1,234,567,000   616,783,500
             frames_received_        1,234,567       616,784";
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn a_table_fits_the_terminal_and_a_filter_takes_words_of_both_names() {
        let view = |filter| View::new(&running(7, 0.0), None, filter);
        let lines = table(&[view(None), view(None)], 30, 6, true);
        assert_eq!(lines.len(), 6);
        for line in &lines {
            let plain = anstream::adapter::strip_str(line).to_string();
            assert!(plain.len() <= 30, "{plain}");
        }
        assert!(lines[5].contains("... 6 more lines"), "{lines:?}");
        let names = |filter| {
            let rows = view(Some(filter)).counters;
            rows.into_iter().map(|row| row.name).collect::<Vec<_>>()
        };
        assert_eq!(
            names("frames"),
            ["frames_received_total", "frames_sent_total"]
        );
        assert_eq!(names("runtime"), ["tasks"]);
        assert_eq!(names("none"), [] as [String; 0]);
    }

    #[test]
    fn json_is_one_object_a_line() {
        let view = View::new(&running(7, 0.5), None, Some("frames_received"));
        assert_eq!(
            json(&[view]),
            "{\"unikernel\":\"website\",\"pid\":4321,\"cpu_seconds\":0.5,\"cpu_percent\":null,\
             \"memory_bytes\":1500000,\"counters\":[{\"device\":\"stack.net\",\
             \"name\":\"frames_received_total\",\"value\":7,\"per_second\":null}]}\n"
        );
    }

    #[test]
    fn a_table_that_cannot_be_read_says_why() {
        let running = Running {
            counters: Err(mirage_counters::TableError::Version(9)),
            ..running(1, 0.0)
        };
        let lines = table(&[View::new(&running, None, None)], 200, 100, false);
        assert!(lines[1].contains("is of version 9"), "{lines:?}");
    }
}
