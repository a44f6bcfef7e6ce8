//! What a benchmark found: rows with medians, spread, peer and bar; as text and as JSON.

use serde_json::{Value, json};

/// Repeated measurements of one quantity.
#[derive(Debug, Clone, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Adds a measurement.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// The middle one; the mean of the two middle ones of an even number; 0 of none.
    pub fn median(&self) -> f64 {
        let upper = self.0.len() / 2;
        match self.0.len() {
            0 => 0.0,
            n if n % 2 == 1 => self.0[upper],
            _ => (self.0[upper - 1] + self.0[upper]) / 2.0,
        }
    }

    /// First and third quartile: where the middle half of the measurements lies.
    pub fn quartiles(&self) -> (f64, f64) {
        (self.at(0.25), self.at(0.75))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn at(&self, share: f64) -> f64 {
        let index = (self.0.len() as f64 * share) as usize;
        self.0.get(index).copied().unwrap_or_default()
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sample = Self::default();
        values.into_iter().for_each(|value| sample.push(value));
        sample
    }
}

/// What a row must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    /// Ours is at most this, in the row's unit.
    AtMost(f64),
    /// Ours is at least this, in the row's unit.
    AtLeast(f64),
    /// Ours is at most this many times the peer's.
    RatioAtMost(f64),
    /// Ours is at least this many times the peer's.
    RatioAtLeast(f64),
}

impl Bar {
    /// The value of ours that just reaches the bar, given the peer's.
    pub fn value(self, peer: Option<f64>) -> Option<f64> {
        match self {
            Self::AtMost(value) | Self::AtLeast(value) => Some(value),
            Self::RatioAtMost(ratio) | Self::RatioAtLeast(ratio) => peer.map(|peer| peer * ratio),
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtMost(value) => format!("<= {} {unit}", short(value)),
            Self::AtLeast(value) => format!(">= {} {unit}", short(value)),
            Self::RatioAtMost(ratio) => format!("<= {ratio}x"),
            Self::RatioAtLeast(ratio) => format!(">= {ratio}x"),
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is measured.
    pub name: String,
    /// The unit of both samples.
    pub unit: &'static str,
    /// Ours.
    pub ours: Sample,
    /// Whom we compare with, and what was measured of them.
    pub peer: Option<(String, Sample)>,
    /// What must be reached; a row without one is there for comparison.
    pub bar: Option<Bar>,
}

impl Row {
    /// Median of ours over median of the peer's.
    pub fn ratio(&self) -> Option<f64> {
        let peer = self.peer_median()?;
        (peer > 0.0).then(|| self.ours.median() / peer)
    }

    /// Whether the bar is reached; `None` without a bar.
    pub fn holds(&self) -> Option<bool> {
        let ours = self.ours.median();
        let value = self.bar?.value(self.peer_median())?;
        Some(match self.bar? {
            Bar::AtMost(_) | Bar::RatioAtMost(_) => ours <= value,
            Bar::AtLeast(_) | Bar::RatioAtLeast(_) => ours >= value,
        })
    }

    /// Median of the peer's.
    pub fn peer_median(&self) -> Option<f64> {
        self.peer.as_ref().map(|(_, sample)| sample.median())
    }

    /// The bar in words.
    pub fn bar_text(&self) -> Option<String> {
        self.bar.map(|bar| bar.text(self.unit))
    }

    /// `holds`, `MISSED`, or nothing without a bar.
    pub fn verdict(&self) -> &'static str {
        match self.holds() {
            Some(true) => "holds",
            Some(false) => "MISSED",
            None => "",
        }
    }

    fn json(&self) -> Value {
        let spread = |sample: &Sample| {
            let (low, high) = sample.quartiles();
            json!([low, high])
        };
        json!({
            "name": self.name,
            "unit": self.unit,
            "ours": self.ours.median(),
            "peer": self.peer_median(),
            "peer_name": self.peer.as_ref().map(|(name, _)| name),
            "ratio": self.ratio(),
            "bar": self.bar_text(),
            "holds": self.holds(),
            "runs": self.ours.len(),
            "spread": {
                "ours": spread(&self.ours),
                "peer": self.peer.as_ref().map(|(_, sample)| spread(sample)),
            },
        })
    }
}

/// All rows as JSON.
pub fn json(rows: &[Row]) -> Value {
    rows.iter().map(Row::json).collect()
}

/// All rows as a table for people.
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![["", "ours", "peer", "ratio", "bar", ""].map(String::from)];
    for row in rows {
        let peer = row
            .peer
            .as_ref()
            .map(|(name, sample)| format!("{} ({name})", shown(sample)));
        lines.push([
            format!("{}, {}", row.name, row.unit),
            shown(&row.ours),
            peer.unwrap_or_default(),
            row.ratio()
                .map(|ratio| format!("{ratio:.2}x"))
                .unwrap_or_default(),
            row.bar_text().unwrap_or_default(),
            row.verdict().to_owned(),
        ]);
    }
    aligned(&lines)
}

/// Columns of equal width, two spaces apart.
fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in lines {
        let cells = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The median, and the middle half where the measurements differ.
fn shown(sample: &Sample) -> String {
    let (low, high) = sample.quartiles();
    let median = short(sample.median());
    if low == high {
        median
    } else {
        format!("{median} [{} - {}]", short(low), short(high))
    }
}

/// A number with about three digits that matter, thousands set apart.
pub fn short(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == v.trunc() => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) && c.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(c);
    }
    grouped + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: &[f64], peer: &[f64], bar: Bar) -> Row {
        Row {
            name: "speed".into(),
            unit: "MB/s",
            ours: ours.iter().copied().collect(),
            peer: Some(("kernel".into(), peer.iter().copied().collect())),
            bar: Some(bar),
        }
    }

    #[test]
    fn the_median_is_the_middle_and_one_outlier_does_not_move_it() {
        let odd: Sample = [9.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(odd.median(), 2.0);
        let even: Sample = [4.0, 1.0, 2.0, 1000.0].into_iter().collect();
        assert_eq!(even.median(), 3.0);
        assert_eq!(Sample::default().median(), 0.0);
    }

    #[test]
    fn a_bar_holds_exactly_at_its_value() {
        assert_eq!(
            row(&[1.2], &[1.0], Bar::RatioAtLeast(1.2)).holds(),
            Some(true)
        );
        assert_eq!(
            row(&[1.1], &[1.0], Bar::RatioAtLeast(1.2)).holds(),
            Some(false)
        );
        assert_eq!(
            row(&[1.2], &[1.0], Bar::RatioAtMost(1.2)).holds(),
            Some(true)
        );
        assert_eq!(row(&[61.0], &[1.0], Bar::AtMost(60.0)).holds(), Some(false));
        assert_eq!(
            row(&[999.0], &[1.0], Bar::AtLeast(1000.0)).holds(),
            Some(false)
        );
    }

    #[test]
    fn a_row_says_in_json_what_it_says_in_the_table() {
        let rows = [row(
            &[2000.0, 3000.0, 2500.0],
            &[1000.0],
            Bar::RatioAtLeast(2.0),
        )];
        let value = &json(&rows)[0];
        assert_eq!(value["ours"], 2500.0);
        assert_eq!(value["ratio"], 2.5);
        assert_eq!(value["holds"], true);
        assert_eq!(value["bar"], ">= 2x");
        assert_eq!(value["runs"], 3);
        let text = table(&rows);
        assert!(text.contains("2,500 [2,000 - 3,000]"), "{text}");
        assert!(
            text.contains("1,000 (kernel)  2.50x  >= 2x  holds"),
            "{text}"
        );
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(0.7234), "0.72");
        assert_eq!(short(12.34), "12.3");
        assert_eq!(short(0.0), "0");
        assert_eq!(short(157_204.3), "157,204");
        assert_eq!(short(1_000_000.0), "1,000,000");
    }
}
