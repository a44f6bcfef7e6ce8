//! `irmin svg`: history as an image that stands for itself.

mod lanes;

use irmin::Id;
use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::json;

use crate::cli::Graph;
use crate::failure::Result;
use crate::graph::{Node, nodes};
use crate::output::{Output, harmless};
use crate::place::Place;
use lanes::{Edge, Layout, lay_out};

/// Between two rows, and between two lanes.
const ROW: usize = 26;
const LANE: usize = 16;
const MARGIN: usize = 16;
/// Where the text of a row begins, from the last lane on: id, date, then names and subject.
const DATE: usize = 72;
const SUBJECT: usize = 156;
/// Characters of a subject that are shown; the whole is shown where the mouse rests.
const LONGEST: usize = 100;
/// Colours of lanes, for light and for dark pages alike.
const COLOURS: [&str; 7] = [
    "#3b82f6", "#e0772f", "#12a150", "#b146d6", "#d9a406", "#e5484d", "#0d9bb0",
];
const STYLE: &str = "\
  svg { --paper: #ffffff; --ink: #1f2328; --faint: #6a737d; --label: #eaeef2 }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #e6edf3; --faint: #8b949e; --label: #26303b }
  }
  .paper { fill: var(--paper) }
  text { font: 13px system-ui, sans-serif; fill: var(--ink); dominant-baseline: central; white-space: pre }
  .id, .date { font: 12px ui-monospace, monospace; fill: var(--faint) }
  .name { font: 600 12px ui-monospace, monospace }
  .label { fill: var(--label) }
  .line { fill: none; stroke-width: 2 }
  .more { stroke-dasharray: 2 3 }
  .dot { stroke: var(--paper); stroke-width: 2 }";

/// `irmin svg`.
pub fn svg(place: &Place, graph: &Graph, out: &mut Output) -> Result<u8> {
    let nodes = nodes(place, graph)?;
    let lines = draw(&nodes);
    match out.json {
        true => out.value(&json!({ "svg": lines.join("\n") }))?,
        false => {
            for line in lines {
                out.line(line)?;
            }
        }
    }
    Ok(0)
}

fn draw(nodes: &[Node]) -> Vec<String> {
    let commits: Vec<(Id, &[Id])> = nodes
        .iter()
        .map(|node| (node.commit.id(), &node.parents[..]))
        .collect();
    let layout = lay_out(&commits);
    let left = MARGIN + LANE / 2 + layout.width.max(1) * LANE;
    let rows = nodes.iter().enumerate();
    let rows: Vec<Row> = rows
        .map(|(row, node)| Row::new(node, left, down(row)))
        .collect();
    let width = rows.iter().map(|row| row.end).max().unwrap_or(left) + MARGIN;
    let height = nodes.len() * ROW + 2 * MARGIN;
    let mut lines = vec![
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"History of {} commits\">",
            nodes.len()
        ),
        format!("<style>\n{STYLE}\n</style>"),
        "<rect class=\"paper\" width=\"100%\" height=\"100%\"/>".into(),
    ];
    lines.extend(layout.edges.iter().map(|edge| line(edge, &layout)));
    for (row, text) in rows.into_iter().enumerate() {
        let (x, y) = (across(layout.lanes[row]), down(row));
        let colour = colour(layout.lanes[row]);
        lines.push(format!("<g><title>{}</title>", text.title));
        lines.push(format!(
            "<circle class=\"dot\" cx=\"{x}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>"
        ));
        lines.extend(text.parts);
        lines.push("</g>".into());
    }
    lines.push("</svg>".into());
    lines
}

fn across(lane: usize) -> usize {
    MARGIN + lane * LANE + LANE / 2
}

fn down(row: usize) -> usize {
    MARGIN + row * ROW + ROW / 2
}

fn colour(lane: usize) -> &'static str {
    COLOURS[lane % COLOURS.len()]
}

/// A line from a child to its lane, down, and to the parent.
fn line(edge: &Edge, layout: &Layout) -> String {
    let (x, y) = (across(layout.lanes[edge.child]), down(edge.child));
    let way = across(edge.lane);
    let curve = |x0: usize, y0: usize, x1: usize, y1: usize| {
        let middle = y0.midpoint(y1);
        format!(" C{x0} {middle} {x1} {middle} {x1} {y1}")
    };
    let mut path = format!("M{x} {y}");
    let Some(parent) = edge.parent else {
        path += &curve(x, y, way, y + ROW * 3 / 4);
        let colour = colour(edge.lane);
        return format!("<path class=\"line more\" stroke=\"{colour}\" d=\"{path}\"/>");
    };
    let (end, end_y) = (across(layout.lanes[parent]), down(parent));
    let mut at = (x, y);
    if way != x && parent > edge.child + 1 {
        path += &curve(x, y, way, y + ROW);
        at = (way, y + ROW);
    }
    if end != at.0 {
        let turn = end_y - ROW;
        if turn > at.1 {
            path += &format!(" V{turn}");
            at.1 = turn;
        }
        path += &curve(at.0, at.1, end, end_y);
    } else {
        path += &format!(" V{end_y}");
    }
    let colour = colour(match way == x {
        true if end != x => layout.lanes[edge.child],
        _ => edge.lane,
    });
    format!("<path class=\"line\" stroke=\"{colour}\" d=\"{path}\"/>")
}

/// The text of a row.
struct Row {
    title: String,
    parts: Vec<String>,
    /// Where it ends, as far as can be told without the font.
    end: usize,
}

impl Row {
    fn new(node: &Node, left: usize, y: usize) -> Row {
        let id = node.commit.id().to_string();
        let author = &node.commit.data().author;
        let time = Timestamp::from_second(author.seconds()).unwrap_or_default();
        let date = Offset::UTC.to_datetime(time).date();
        let subject = node.subject();
        let who = harmless(&String::from_utf8_lossy(author.name()));
        let mut parts = vec![
            format!(
                "<text class=\"id\" x=\"{left}\" y=\"{y}\">{}</text>",
                &id[..7]
            ),
            format!(
                "<text class=\"date\" x=\"{}\" y=\"{y}\">{date}</text>",
                left + DATE
            ),
        ];
        let mut x = left + SUBJECT;
        for name in &node.names {
            let name = harmless(name);
            // 12 pixels of a font of fixed width, drawn to measure.
            let long = name.chars().count() * 15 / 2;
            parts.push(format!(
                "<rect class=\"label\" x=\"{x}\" y=\"{}\" width=\"{}\" height=\"18\" rx=\"9\"/>",
                y - 9,
                long + 16
            ));
            parts.push(format!(
                "<text class=\"name\" x=\"{}\" y=\"{y}\" textLength=\"{long}\" lengthAdjust=\"spacingAndGlyphs\">{}</text>",
                x + 8,
                escaped(&name)
            ));
            x += long + 22;
        }
        let mut short: String = subject.chars().take(LONGEST).collect();
        if short.len() < subject.len() {
            short.push('…');
        }
        parts.push(format!(
            "<text x=\"{x}\" y=\"{y}\">{}</text>",
            escaped(&short)
        ));
        Row {
            title: escaped(&format!("{id}\n{who}, {time}\n{subject}")),
            parts,
            end: x + short.chars().count() * 15 / 2,
        }
    }
}

/// A text inside of XML, which has no place for some characters at all.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in harmless(text).chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}
