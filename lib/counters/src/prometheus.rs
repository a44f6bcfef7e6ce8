//! The text that Prometheus reads: exposition format 0.0.4.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::Sample;

/// Gathers counters and shows them as text.
///
/// A counter `frames_total` of the device `net` becomes `mirage_frames_total{device="net"}`. All
/// that have one name stand together, as the format wants it, whoever they came from.
///
/// ```
/// use mirage_counters::{Prometheus, Table};
///
/// let table = Table::new(None);
/// table.counter("net", "frames_sent_total").add(3);
/// let mut text = Prometheus::new();
/// table.each(|sample| text.add(&[("unikernel", "website")], sample));
/// assert_eq!(text.to_string(), "\
/// ## HELP mirage_frames_sent_total Frames sent.
/// ## TYPE mirage_frames_sent_total counter
/// mirage_frames_sent_total{unikernel=\"website\",device=\"net\"} 3
/// ".replace("##", "#"));
/// ```
#[derive(Debug, Default)]
pub struct Prometheus {
    /// By name: the lines without their name.
    metrics: BTreeMap<String, Vec<String>>,
}

impl Prometheus {
    /// The media type of the text.
    pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// No counters at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a counter, with `labels` besides its own. Returns at once. One whose own label says
    /// the same as one of these is left out, and one that is there already: no text may have a
    /// label or a line twice.
    pub fn add(&mut self, labels: &[(&str, &str)], sample: Sample<'_>) {
        let own = sample.label().split_once('=').map_or("", |(key, _)| key);
        let mut line = String::from("{");
        for (key, value) in labels.iter().chain(&[("device", sample.device)]) {
            if *key == own {
                return;
            }
            // Writing to a string cannot fail.
            let _ = write!(line, "{key}=\"{}\",", Escaped(value));
        }
        match sample.label() {
            "" => drop(line.pop()),
            label => line.push_str(label),
        }
        line.push_str("} ");
        let lines = match self.metrics.get_mut(sample.metric()) {
            Some(lines) => lines,
            None => self.metrics.entry(sample.metric().into()).or_default(),
        };
        if !lines.iter().any(|known| known.starts_with(&line)) {
            let _ = write!(line, "{}", sample.value);
            lines.push(line);
        }
    }
}

impl fmt::Display for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (metric, lines) in &self.metrics {
            let words = metric.strip_suffix("_total");
            let kind = if words.is_some() { "counter" } else { "gauge" };
            write!(f, "# HELP mirage_{metric} ")?;
            for (at, char) in words.unwrap_or(metric).chars().enumerate() {
                f.write_char(match char {
                    '_' => ' ',
                    _ if at == 0 => char.to_ascii_uppercase(),
                    _ => char,
                })?;
            }
            writeln!(f, ".\n# TYPE mirage_{metric} {kind}")?;
            for line in lines {
                writeln!(f, "mirage_{metric}{line}")?;
            }
        }
        Ok(())
    }
}

/// A label's value with `\`, `"` and line feed escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                _ => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn counters_of_one_name_stand_together_under_one_type() {
        let sample = |device, name, value| Sample {
            device,
            name,
            value,
        };
        let mut text = Prometheus::new();
        text.add(&[], sample("net", "frames_total", 1));
        text.add(&[], sample("runtime", "tasks", 2));
        text.add(&[], sample("stack", "drops_total{cause=\"a b\"}", 3));
        text.add(
            &[("unikernel", "a\"b\\c\nd")],
            sample("net2", "frames_total", u64::MAX),
        );
        let expected = "\
# HELP mirage_drops_total Drops.
# TYPE mirage_drops_total counter
mirage_drops_total{device=\"stack\",cause=\"a b\"} 3
# HELP mirage_frames_total Frames.
# TYPE mirage_frames_total counter
mirage_frames_total{device=\"net\"} 1
mirage_frames_total{unikernel=\"a\\\"b\\\\c\\nd\",device=\"net2\"} 18446744073709551615
# HELP mirage_tasks Tasks.
# TYPE mirage_tasks gauge
mirage_tasks{device=\"runtime\"} 2
";
        assert_eq!(text.to_string(), expected);
        assert_eq!(Prometheus::new().to_string(), "");
        let mut text = Prometheus::new();
        text.add(&[], sample("d", "c_total{device=\"e\"}", 1));
        text.add(
            &[("process", "1")],
            sample("d", "c_total{process=\"e\"}", 1),
        );
        assert_eq!(text.to_string(), "");
        text.add(&[], sample("d", "c_total", 1));
        text.add(&[], sample("d", "c_total", 2));
        assert!(
            text.to_string()
                .ends_with("mirage_c_total{device=\"d\"} 1\n")
        );
    }
}
