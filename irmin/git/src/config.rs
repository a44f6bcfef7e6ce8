//! The few lines of a repository's configuration that say how it is kept.

use std::path::Path;

use crate::error::{Result, io, optional, refused};

/// More than any configuration needs.
const MAX_CONFIG: u64 = 4 << 20;

/// `key = value` lines in their order; keys in lower case, as `section.key` or
/// `section.subsection.key`.
pub(crate) struct Config(Vec<(String, String)>);

impl Config {
    /// Reads the file; one that is not there is empty. Includes are not followed: what matters here
    /// has to stand in the repository's own file, as in Git.
    pub(crate) fn read(path: &Path) -> Result<Config> {
        let length = optional(path.metadata()).map_err(io("look at", path))?;
        if length.is_some_and(|found| found.len() > MAX_CONFIG) {
            return Err(refused(format_args!("{} is over 4 MiB", path.display())));
        }
        let text = optional(std::fs::read(path)).map_err(io("read", path))?;
        Ok(Config::parse(&String::from_utf8_lossy(
            &text.unwrap_or_default(),
        )))
    }

    fn parse(text: &str) -> Config {
        let mut section = String::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            let mut line = line.trim();
            if let Some(head) = line.strip_prefix('[') {
                let Some((head, rest)) = head.split_once(']') else {
                    continue;
                };
                section = match head.split_once([' ', '\t']) {
                    Some((name, sub)) => {
                        format!(
                            "{}.{}",
                            name.to_ascii_lowercase(),
                            sub.trim().trim_matches('"')
                        )
                    }
                    None => head.to_ascii_lowercase(),
                };
                line = rest.trim();
            }
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            // A key alone is true.
            let (key, value) = line.split_once('=').unwrap_or((line, "true"));
            let key = format!("{section}.{}", key.trim().to_ascii_lowercase());
            lines.push((key, unquote(value)));
        }
        Config(lines)
    }

    /// The last value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// The last value of a key as yes or no; `None` if it is neither.
    pub(crate) fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" | "" => Some(false),
            _ => None,
        }
    }

    /// The keys that begin so, with what follows.
    pub(crate) fn under(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }
}

/// A value without its comment, its outer quotes and its backslashes.
fn unquote(value: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut characters = value.trim().chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' => out.extend(characters.next()),
            '#' | ';' if !quoted => break,
            other => out.push(other),
        }
    }
    out.trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_key_counts() {
        let config = Config::parse(
            "[core]\n\tbare = true ; yes\n# no\n[Core] bare=false\n\tIgnoreCase\n[user]\nname = \"A # \\\"B\\\"\"\n[broken\n",
        );
        assert_eq!(config.bool("core.bare"), Some(false));
        assert_eq!(config.bool("core.ignorecase"), Some(true));
        assert_eq!(config.get("user.name"), Some("A # \"B\""));
        assert_eq!(config.get("user.email"), None);
        assert_eq!(config.under("user.").count(), 1);
    }
}
