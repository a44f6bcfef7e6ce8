//! What the server says that it did with a push (gitprotocol-pack(5), "Report Status").

use std::collections::HashMap;
use std::io::Read;

use super::listing::lines;
use crate::error::{SyncError, protocol};
use crate::pktline::Reader;
use crate::text::{clean, quote};

/// For each name either nothing or why it did not move.
pub(super) type Report = HashMap<String, Option<String>>;

/// Reads `unpack ok` and a line for each name.
pub(super) fn read<R: Read>(reader: &mut Reader<R>) -> Result<Report, SyncError> {
    reader.set_budget(64 << 20);
    let mut unpacked = false;
    let mut report = Report::new();
    lines(reader, |line| {
        if let Some(result) = line.strip_prefix(b"unpack ") {
            if result != b"ok" {
                let said = format!("the pack was refused: {}", quote(result));
                return Err(SyncError::Remote { said });
            }
            unpacked = true;
        } else if let Some(name) = line.strip_prefix(b"ok ") {
            report.insert(String::from_utf8_lossy(name).into(), None);
        } else if let Some(rest) = line.strip_prefix(b"ng ") {
            let space = rest.iter().position(|&byte| byte == b' ');
            let (name, why) = rest.split_at(space.unwrap_or(rest.len()));
            let why = Some(clean(why, 500).trim().to_string());
            report.insert(String::from_utf8_lossy(name).into(), why);
        } else if !line.starts_with(b"option ") {
            return protocol(format!("{:?} reports nothing", quote(line)));
        }
        Ok(())
    })?;
    if !unpacked {
        return protocol("it does not say whether it took the pack");
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pktline::Writer;

    fn parse(text: &[&str]) -> Result<Report, SyncError> {
        let mut writer = Writer::new(Vec::new());
        text.iter()
            .for_each(|line| writer.line(format_args!("{line}")).unwrap());
        writer.flush_packet().unwrap();
        read(&mut Reader::new(&writer.into_inner()[..]))
    }

    #[test]
    fn each_name_has_its_answer() {
        let report = parse(&[
            "unpack ok",
            "ok refs/heads/a",
            "option refname refs/heads/a",
            "ng refs/heads/b hook \x1b[1mdeclined",
        ])
        .unwrap();
        assert_eq!(report["refs/heads/a"], None);
        assert_eq!(report["refs/heads/b"].as_deref(), Some("hook  [1mdeclined"));
        assert!(matches!(
            parse(&["unpack index-pack died"]),
            Err(SyncError::Remote { .. })
        ));
        assert!(parse(&["ok refs/heads/a"]).is_err());
        assert!(parse(&["unpack ok", "yes"]).is_err());
    }
}
