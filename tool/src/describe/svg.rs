//! A picture: the application above, what it takes below, the platform at the bottom.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Description;

const HEIGHT: f64 = 46.0;
const GAP: f64 = 22.0;
const BETWEEN: f64 = 54.0;
const MARGIN: f64 = 20.0;
/// The width of a letter of the fonts below, rounded up.
const LETTER: f64 = 7.2;

struct Node {
    title: String,
    under: String,
    /// None for a place where a line passes a layer.
    class: Option<&'static str>,
    /// Where its centre is, from left to right.
    x: f64,
    layer: usize,
    width: f64,
    takes: Vec<usize>,
}

impl Node {
    fn y(&self) -> f64 {
        MARGIN + self.layer as f64 * (HEIGHT + BETWEEN)
    }
}

pub(super) fn render(description: &Description) -> String {
    let mut nodes = nodes(description);
    layers(&mut nodes);
    passages(&mut nodes);
    let width = place(&mut nodes);
    let height = nodes.iter().map(|n| n.y() + HEIGHT).fold(0.0, f64::max) + MARGIN;
    let mut svg = String::new();
    let app = escape(&description.application.name);
    // Writing into a string cannot fail.
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" role="img">
<title>{app} on {}: its devices and their providers</title>
<style>
text {{ font: 12px ui-sans-serif, system-ui, sans-serif; text-anchor: middle; fill: #1b1f24 }}
.name {{ font-weight: 600; font-size: 13px }}
.by {{ fill: #57606a; font-size: 11px }}
rect {{ fill: #f6f8fa; stroke: #8c959f; stroke-width: 1.2 }}
.application {{ fill: #ddf4ff; stroke: #0969da }}
.attached {{ fill: #fff8c5; stroke: #9a6700 }}
.platform {{ fill: #dafbe1; stroke: #1a7f37 }}
path {{ fill: none; stroke: #8c959f; stroke-width: 1.3 }}
</style>
<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>"#,
        escape(&description.on)
    );
    for node in &nodes {
        for taken in node.takes.iter().filter_map(|at| nodes.get(*at)) {
            let (x1, y1) = (node.x, node.y() + HEIGHT);
            let (x2, y2) = (taken.x, taken.y());
            let bend = (y2 - y1) / 2.0;
            let _ = writeln!(
                svg,
                r#"<path d="M{x1:.1} {y1:.1}C{x1:.1} {:.1} {x2:.1} {:.1} {x2:.1} {y2:.1}"/>"#,
                y1 + bend,
                y2 - bend
            );
        }
    }
    for node in &nodes {
        let Some(class) = node.class else {
            let (x, y) = (node.x, node.y());
            let _ = writeln!(svg, r#"<path d="M{x:.1} {y:.1}v{HEIGHT}"/>"#);
            continue;
        };
        let (left, top) = (node.x - node.width / 2.0, node.y());
        let _ = writeln!(
            svg,
            r#"<rect class="{class}" x="{left:.1}" y="{top:.1}" width="{:.1}" height="{HEIGHT}" rx="7"/>
<text class="name" x="{:.1}" y="{:.1}">{}</text>
<text class="by" x="{:.1}" y="{:.1}">{}</text>"#,
            node.width,
            node.x,
            top + 19.0,
            escape(&node.title),
            node.x,
            top + 35.0,
            escape(&node.under)
        );
    }
    svg + "</svg>\n"
}

fn nodes(description: &Description) -> Vec<Node> {
    let app = &description.application;
    let places: BTreeMap<&str, usize> = description
        .devices
        .iter()
        .enumerate()
        .map(|(at, device)| (device.name.as_str(), at + 1))
        .collect();
    let platform = description.devices.len() + 1;
    let takes = |names: &[String]| -> Vec<usize> {
        names
            .iter()
            .filter_map(|name| places.get(name.as_str()).copied())
            .collect()
    };
    let node = |title: &str, under: String, class, takes| Node {
        width: LETTER * longest(title, &under) as f64 + 24.0,
        title: title.into(),
        under,
        class: Some(class),
        x: 0.0,
        layer: 0,
        takes,
    };
    let mut nodes = vec![node(
        &format!("{} {}", app.name, app.version),
        description.main.clone(),
        "application",
        takes(&description.takes),
    )];
    for device in &description.devices {
        let mut below = takes(&device.takes);
        if below.is_empty() {
            below.push(platform);
        }
        let class = if device.attached.is_some() {
            "attached"
        } else {
            "device"
        };
        let provider = &device.provider;
        let by = format!("{} {}", provider.name, provider.version);
        nodes.push(node(&device.name, by, class, below));
    }
    let by = &description.platform;
    nodes.push(node(
        &description.on,
        format!("{} {}", by.name, by.version),
        "platform",
        Vec::new(),
    ));
    if let Some(app) = nodes.first_mut().filter(|app| app.takes.is_empty()) {
        app.takes.push(platform);
    }
    nodes
}

fn longest(a: &str, b: &str) -> usize {
    a.chars().count().max(b.chars().count())
}

/// Each node stands below everybody who takes it: devices stand in the order of their making, so
/// going through them backwards meets takers first.
fn layers(nodes: &mut [Node]) {
    let last = nodes.len() - 1;
    let order = std::iter::once(0).chain((1..last).rev());
    for at in order {
        let below = nodes[at].layer + 1;
        for taken in nodes[at].takes.clone() {
            nodes[taken].layer = nodes[taken].layer.max(below);
        }
    }
}

/// Gives each line that passes layers a place in every one of them, so that it meets no box.
fn passages(nodes: &mut Vec<Node>) {
    let mut at = 0;
    while at < nodes.len() {
        for taken in 0..nodes[at].takes.len() {
            let (to, below) = (nodes[at].takes[taken], nodes[at].layer + 1);
            if nodes[to].layer > below {
                nodes[at].takes[taken] = nodes.len();
                nodes.push(Node {
                    title: String::new(),
                    under: String::new(),
                    class: None,
                    x: 0.0,
                    layer: below,
                    width: 1.0,
                    takes: vec![to],
                });
            }
        }
        at += 1;
    }
}

/// Puts the nodes of each layer side by side, each near those that take it; yields the width.
fn place(nodes: &mut [Node]) -> f64 {
    let deepest = nodes
        .iter()
        .map(|node| node.layer)
        .max()
        .unwrap_or_default();
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); deepest + 1];
    for (at, node) in nodes.iter().enumerate() {
        rows[node.layer].push(at);
    }
    let row_width = |nodes: &[Node], row: &[usize]| {
        row.iter().map(|at| nodes[*at].width + GAP).sum::<f64>() - GAP
    };
    let widest = rows
        .iter()
        .map(|row| row_width(nodes, row))
        .fold(0.0, f64::max);
    for row in &mut rows {
        let wish = |at: &usize| {
            let takers: Vec<f64> = nodes
                .iter()
                .filter(|node| node.takes.contains(at))
                .map(|node| node.x)
                .collect();
            takers.iter().sum::<f64>() / takers.len().max(1) as f64
        };
        row.sort_by(|a, b| wish(a).total_cmp(&wish(b)));
        let mut x = MARGIN + (widest - row_width(nodes, row)) / 2.0;
        for at in row {
            let node = &mut nodes[*at];
            node.x = x + node.width / 2.0;
            x += node.width + GAP;
        }
    }
    widest + 2.0 * MARGIN
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
