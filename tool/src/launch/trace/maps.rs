//! What a process has mapped: proc(5), `/proc/PID/maps`.

use std::ops::Range;

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its addresses.
    pub range: Range<u64>,
    /// It can be read.
    pub readable: bool,
    /// It can be written.
    pub writable: bool,
    /// It can be executed.
    pub executable: bool,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file, or what the kernel calls it; empty for memory of no file.
    pub name: String,
}

impl Mapping {
    /// It shows a file that can be opened by its name.
    pub fn is_file(&self) -> bool {
        self.name.starts_with('/') && !self.name.ends_with(" (deleted)")
    }
}

/// Reads the table; a line that is not understood is left out.
pub fn parse(table: &str) -> Vec<Mapping> {
    table.lines().filter_map(line).collect()
}

/// `00102000-0010a000 r-xp 00002000 fe:00 1234    /path`
fn line(line: &str) -> Option<Mapping> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let rights = words.next()?;
    let offset = number(words.next()?)?;
    let name = words.nth(2).unwrap_or_default().trim_start();
    Some(Mapping {
        range: number(start)?..number(end)?,
        readable: rights.contains('r'),
        writable: rights.contains('w'),
        executable: rights.contains('x'),
        offset,
        name: name.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_mapping() {
        let table = "\
00102000-0010a000 r-xp 00002000 fe:00 1234                       /a folder/hello
7ffc0000-7ffd0000 rw-p 00000000 00:00 0                          [stack]
100000000000-100002000000 rw-p 00000000 00:00 0 
200000000000-200000001000 rw-s 00000000 00:01 7                          /memfd:tape (deleted)
nonsense
";
        let found = parse(table);
        assert_eq!(found.len(), 4);
        assert!(!found[3].is_file());
        assert_eq!(found[0].range, 0x10_2000..0x10_a000);
        assert!(found[0].readable && !found[0].writable && found[0].executable);
        assert_eq!(
            (found[0].offset, found[0].name.as_str()),
            (0x2000, "/a folder/hello")
        );
        assert!(found[0].is_file() && !found[1].is_file());
        assert_eq!(
            (found[1].name.as_str(), found[2].name.as_str()),
            ("[stack]", "")
        );
    }
}
