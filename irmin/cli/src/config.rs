//! What Git's configuration says about the user (git-config(1)).

mod edit;

use std::env;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use edit::{append, set};

use crate::failure::{Failure, Result};

/// How deep files may include others, as in Git.
const MAX_DEPTH: usize = 10;
/// More than any configuration needs.
const MAX_BYTES: u64 = 4 << 20;

/// Keys in lower case (`user.name`) with their values, in the order in which they were read.
#[derive(Default)]
pub struct Config(Vec<(String, String)>);

impl Config {
    /// Reads the machine's, the user's and the repository's files, and `GIT_CONFIG_COUNT`, as Git
    /// does. `include.path` is followed; conditional includes are not.
    pub fn read(repository: &Path) -> Result<Config> {
        let mut config = Config::default();
        for file in files(repository) {
            config.file(&file, 0)?;
        }
        let count = env::var("GIT_CONFIG_COUNT").ok();
        let count: usize = count.and_then(|count| count.parse().ok()).unwrap_or(0);
        for at in 0..count.min(1000) {
            let pair = (
                env::var(format!("GIT_CONFIG_KEY_{at}")),
                env::var(format!("GIT_CONFIG_VALUE_{at}")),
            );
            if let (Ok(key), Ok(value)) = pair {
                config.0.push((key.to_ascii_lowercase(), value));
            }
        }
        Ok(config)
    }

    /// The last value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether the last value of a key says yes.
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(is_true)
    }

    /// All values of a key, in the order in which they were read.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// The rules by which names are hidden from fetches (`uploadpack`) or pushes (`receive`).
    pub fn hidden(&self, from: &str) -> Vec<String> {
        let keys = ["transfer.hiderefs".into(), format!("{from}.hiderefs")];
        let rules = self.0.iter().filter(|(name, _)| keys.contains(name));
        rules.map(|(_, rule)| rule.clone()).collect()
    }

    /// A key by which git judges pushes, or may be told of one in a file that is not read here.
    pub fn first_about_pushes(&self) -> Option<&str> {
        let is_one = |name: &&str| {
            let sections = ["receive.", "transfer.", "includeif."];
            sections.iter().any(|section| name.starts_with(section)) || *name == "core.hookspath"
        };
        self.0.iter().map(|(name, _)| name.as_str()).find(is_one)
    }

    /// The names of a section's subsections, in order, each once.
    pub fn subsections(&self, section: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (key, _) in &self.0 {
            let inside = key
                .strip_prefix(section)
                .and_then(|rest| rest.strip_prefix('.'));
            if let Some((name, _)) = inside.and_then(|rest| rest.rsplit_once('.'))
                && !names.iter().any(|known| known == name)
            {
                names.push(name.into());
            }
        }
        names
    }

    fn file(&mut self, path: &Path, depth: usize) -> Result<()> {
        let broken = |what: String| {
            Failure::broken(format_args!("the configuration {} {what}", path.display()))
        };
        match fs::metadata(path) {
            Ok(found) if found.is_file() && found.len() > MAX_BYTES => {
                return Err(broken("is over 4 MiB".into()));
            }
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => {}
            // One that is not there, or not for us to read, says nothing.
            Err(_) => return Ok(()),
        }
        if depth > MAX_DEPTH {
            return Err(broken("is included too deep; it may include itself".into()));
        }
        let bytes = fs::read(path).map_err(|error| broken(format!("cannot be read: {error}")))?;
        let lines = parse(&String::from_utf8_lossy(&bytes))
            .map_err(|line| broken(format!("is wrong in line {line}; correct it")))?;
        for (key, value) in lines {
            if key == "include.path" {
                let target = match (value.strip_prefix("~/"), env::var_os("HOME")) {
                    (Some(rest), Some(home)) => Path::new(&home).join(rest),
                    _ => path.parent().unwrap_or(Path::new("")).join(&value),
                };
                self.file(&target, depth + 1)?;
            }
            self.0.push((key, value));
        }
        Ok(())
    }
}

/// Whether a value says yes, as Git reads it.
fn is_true(value: &str) -> bool {
    let yes = ["true", "yes", "on", "1"];
    yes.iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

fn files(repository: &Path) -> Vec<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let home = set("HOME").map(PathBuf::from);
    let mut files = Vec::new();
    let no_system = env::var("GIT_CONFIG_NOSYSTEM").unwrap_or_default();
    if !is_true(&no_system) {
        files.push(env::var_os("GIT_CONFIG_SYSTEM").map_or("/etc/gitconfig".into(), PathBuf::from));
    }
    match env::var_os("GIT_CONFIG_GLOBAL") {
        Some(file) => files.push(file.into()),
        None => {
            let folder = set("XDG_CONFIG_HOME").map(PathBuf::from);
            let folder = folder.or_else(|| home.as_ref().map(|home| home.join(".config")));
            files.extend(folder.map(|folder| folder.join("git/config")));
            files.extend(home.map(|home| home.join(".gitconfig")));
        }
    }
    files.push(common(repository).join("config"));
    files
}

/// The folder of a repository that its further work trees share with it.
pub fn common(repository: &Path) -> PathBuf {
    match fs::read_to_string(repository.join("commondir")) {
        Ok(common) => repository.join(common.trim_end()),
        Err(_) => repository.into(),
    }
}

/// The keys and values of a file, or the line that is wrong.
fn parse(text: &str) -> std::result::Result<Vec<(String, String)>, usize> {
    let found = scan(text)?.into_iter();
    Ok(found.filter_map(|part| part.entry).collect())
}

/// A part of a file that says something: the head of a section, or a key with its value.
struct Part {
    /// The section (`branch.main`).
    section: String,
    /// The key, with its section, and the value.
    entry: Option<(String, String)>,
    /// Where it begins, and where what it says ends: for an entry behind the line.
    range: Range<usize>,
}

/// The parts of a file, or the line that is wrong.
fn scan(text: &str) -> std::result::Result<Vec<Part>, usize> {
    let mut parts = Vec::new();
    let mut section = String::new();
    let mut place = text.len() - text.trim_start_matches('\u{feff}').len().min(text.len());
    let mut lines = text[place..].split_inclusive('\n').enumerate();
    while let Some((at, whole)) = lines.next() {
        let end = place + whole.len();
        let mut line = whole.trim();
        // Where the rest of the line begins: it ends where the line does, but for white space.
        let ends = place + whole.trim_end().len();
        if let Some(head) = line.strip_prefix('[') {
            let (name, rest) = head.split_at(head.find(['"', ']']).ok_or(at + 1)?);
            section = name.trim_end().to_ascii_lowercase();
            let rest = match rest.strip_prefix('"') {
                // A bracket may stand in a subsection's name.
                Some(sub) => {
                    let (sub, rest) = sub.split_once("\"]").ok_or(at + 1)?;
                    section = format!("{section}.{}", unquoted(sub));
                    rest
                }
                None => &rest[1..],
            };
            parts.push(Part {
                section: section.clone(),
                entry: None,
                range: ends - line.len()..ends - rest.len(),
            });
            line = rest.trim_start();
        }
        place = end;
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let start = ends - line.len();
        let (key, rest) = line.split_once('=').unwrap_or((line, ""));
        let key = format!("{section}.{}", key.trim().to_ascii_lowercase());
        let mut value = Value::default();
        value.line(rest.trim_start()).ok_or(at + 1)?;
        while value.goes_on {
            let (at, line) = lines.next().ok_or(at + 1)?;
            place += line.len();
            value
                .line(line.trim_end_matches(['\n', '\r']))
                .ok_or(at + 1)?;
        }
        if value.in_quotes {
            return Err(at + 1);
        }
        value.text.truncate(value.end);
        parts.push(Part {
            section: section.clone(),
            entry: Some((key, value.text)),
            range: start..place,
        });
    }
    Ok(parts)
}

/// A subsection's name: a backslash stands for what is behind it.
fn unquoted(sub: &str) -> String {
    let mut chars = sub.chars();
    let mut name = String::new();
    while let Some(c) = chars.next() {
        name.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    name
}

/// A value that is being read: spaces at its end do not count, and a backslash joins lines.
#[derive(Default)]
struct Value {
    text: String,
    end: usize,
    in_quotes: bool,
    goes_on: bool,
}

impl Value {
    fn line(&mut self, line: &str) -> Option<()> {
        self.goes_on = false;
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => self.in_quotes = !self.in_quotes,
                '#' | ';' if !self.in_quotes => break,
                '\\' => {
                    let escaped = match chars.next() {
                        None => {
                            self.goes_on = true;
                            break;
                        }
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some('b') => '\x08',
                        Some(c @ ('"' | '\\')) => c,
                        Some(_) => return None,
                    };
                    self.text.push(escaped);
                    self.end = self.text.len();
                }
                c => {
                    self.text.push(c);
                    if self.in_quotes || !c.is_whitespace() {
                        self.end = self.text.len();
                    }
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_git_reads_it() {
        let text = "# mine\n[User] name = Ada \\\n L. ; so\n\temail=\" a@b \" \n\
                    [alias \"x]Y\"]\nq = \"\\\"\\\\#\"\n[a]b\n";
        let wanted = [
            ("user.name", "Ada  L."),
            ("user.email", " a@b "),
            ("alias.x]Y.q", "\"\\#"),
            ("a.b", ""),
        ];
        let wanted = wanted.map(|(key, value)| (key.to_string(), value.to_string()));
        assert_eq!(parse(text).unwrap(), wanted);
        assert_eq!(parse("[a]\nb = \"c\n").err(), Some(2));
        assert_eq!(parse("[a\n").err(), Some(1));
    }
}
