//! A benchmark's rows as an SVG picture: a pair of bars each, on a scale of its own.

use std::fmt::Write;

use crate::report::{Row, Sample, short};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 730.0;
const TOP: f64 = 78.0;
const STEP: f64 = 62.0;

/// Draws the rows. A dashed line marks the value that ours must reach, a thin line the middle
/// half of the measurements.
pub fn svg(title: &str, rows: &[Row]) -> String {
    let height = TOP + STEP * rows.len() as f64 + 20.0;
    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#fff"/>
<text x="20" y="32" font-size="18" font-weight="600">{}</text>
<g fill="#555"><rect x="20" y="46" width="12" height="12" fill="{OURS}"/><text x="38" y="57">ours</text>
<rect x="90" y="46" width="12" height="12" fill="{PEER}"/><text x="108" y="57">peer</text>
<path d="M170 44v16" {BAR}/><text x="178" y="57">bar that ours must reach</text></g>
"##,
        escaped(title)
    );
    for (index, row) in rows.iter().enumerate() {
        draw(&mut out, TOP + STEP * index as f64, row);
    }
    out.push_str("</svg>\n");
    out
}

const OURS: &str = "#2f6fb7";
const PEER: &str = "#b8bcc4";
const BAR: &str = r##"stroke="#c2410c" stroke-width="1.5" stroke-dasharray="4 3""##;

fn draw(out: &mut String, y: f64, row: &Row) {
    let bar = row.bar.and_then(|bar| bar.value(row.peer_median()));
    let ends = [Some(&row.ours), row.peer.as_ref().map(|(_, sample)| sample)];
    let ends = ends
        .into_iter()
        .flatten()
        .map(|sample| sample.quartiles().1.max(sample.median()));
    let most = ends.chain(bar).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LEFT + (RIGHT - LEFT) * value / most;

    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = out.write_fmt(text);
        out.push('\n');
    };
    let middle = y + 24.0;
    line(format_args!(
        r##"<text x="20" y="{middle}">{}</text><text x="20" y="{}" fill="#777" font-size="11">{}</text>"##,
        escaped(&row.name),
        middle + 15.0,
        escaped(
            &row.bar_text()
                .map_or_else(String::new, |bar| format!("bar: {bar}"))
        ),
    ));
    let mut rectangle = |y: f64, sample: &Sample, colour: &str, label: &str| {
        let (low, high) = sample.quartiles();
        let end = x(sample.median());
        line(format_args!(
            r##"<rect x="{LEFT}" y="{y}" width="{:.1}" height="16" fill="{colour}"/>"##,
            end - LEFT
        ));
        if low < high {
            let (low, high, y) = (x(low), x(high), y + 8.0);
            line(format_args!(
                r##"<path d="M{low:.1} {y}H{high:.1}" stroke="#222"/>"##
            ));
        }
        line(format_args!(
            r##"<text x="{}" y="{}" font-size="11">{}</text>"##,
            RIGHT + 10.0,
            y + 12.0,
            escaped(label)
        ));
    };
    let ratio = row
        .ratio()
        .map_or_else(String::new, |ratio| format!(" = {ratio:.2}x"));
    let ours = format!("{} {}{ratio}", short(row.ours.median()), row.unit);
    rectangle(y + 8.0, &row.ours, OURS, &ours);
    if let Some((name, sample)) = &row.peer {
        rectangle(
            y + 28.0,
            sample,
            PEER,
            &format!("{} {name}", short(sample.median())),
        );
    }
    if let Some(bar) = bar {
        line(format_args!(
            r##"<path d="M{:.1} {}v44" {BAR}/>"##,
            x(bar),
            y + 4.0
        ));
    }
    let (mark, colour) = match row.holds() {
        Some(true) => ("holds", "#15803d"),
        Some(false) => ("missed", "#c2410c"),
        None => return,
    };
    line(format_args!(
        r##"<text x="{}" y="{}" text-anchor="end" fill="{colour}" font-weight="600">{mark}</text>"##,
        LEFT - 12.0,
        middle + 15.0
    ));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Bar;

    #[test]
    fn a_row_becomes_two_bars_a_mark_and_a_verdict() {
        let row = Row {
            name: "a < b".into(),
            unit: "ms",
            ours: [2.0].into_iter().collect(),
            peer: Some(("peer & co".into(), [4.0].into_iter().collect())),
            bar: Some(Bar::RatioAtMost(1.0)),
        };
        let svg = svg("title", &[row]);
        assert!(svg.contains("a &lt; b") && svg.contains("peer &amp; co"));
        assert!(
            svg.contains(r##"width="200.0" height="16" fill="#2f6fb7""##),
            "half of 400: {svg}"
        );
        assert!(svg.contains(r#"width="400.0" height="16""#));
        assert!(svg.contains(">holds</text>"));
        assert!(svg.contains("2 ms = 0.50x"));
    }
}
