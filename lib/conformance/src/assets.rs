//! The contract of [`Assets`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use mirage_device::{Assets, Sleep};

use crate::Report;
use crate::sentence::{because, contract};
use crate::watch::at_once;

contract! { "assets"
    "Assets" {
        FIXED: Does "Read-only files by name, fixed when the image was built.";
    }
    "Assets::get" {
        FOUND: Does "The file at `path`, for example `css/site.css`.";
        GET_AT_ONCE: Waits "Returns at once, in constant time.";
        SAME: Does "The same path gives the same file for the whole life of the unikernel.";
        BYTE_FOR_BYTE: Does "A path is compared byte for byte: components separated by one `/`, no leading `/`, no `.` or `..`; any other spelling finds nothing.";
        _: Owns "The device owns the bytes.", because::TYPES_SAY_IT;
    }
    "Assets::paths" {
        PATHS: Does "All paths, each once, in byte order.";
        PATHS_AT_ONCE: Waits "Returns at once.";
        _: Owns "The device owns them.", because::TYPES_SAY_IT;
    }
}

/// Checks `assets`. `truth` is what was built in, path and bytes, where the rig knows.
pub async fn check(
    assets: &impl Assets,
    sleep: &impl Sleep,
    truth: Option<&[(&str, &[u8])]>,
) -> Report {
    let mut report = Report::new();
    let paths: Vec<String> = at_once(&mut report, PATHS_AT_ONCE, sleep, || {
        assets.paths().map(ToString::to_string).collect()
    });
    let sorted = paths
        .windows(2)
        .all(|pair| pair[0].as_bytes() < pair[1].as_bytes());
    report.check(PATHS, sorted, "paths in byte order, each once", &paths);
    match truth {
        Some(truth) => {
            let mut expected: Vec<&str> = truth.iter().map(|(path, _)| *path).collect();
            expected.sort_unstable();
            report.equal(PATHS, paths.iter().map(String::as_str).collect(), expected);
            for (path, bytes) in truth {
                let found = assets.get(path).map(|asset| asset.bytes == *bytes);
                let expected = format!("the {} bytes of {path}", bytes.len());
                report.check(FIXED, found == Some(true), &expected, found);
            }
        }
        None => report.not_applicable(FIXED, "this rig does not know what was built in"),
    }
    let clone = assets.clone();
    for path in &paths {
        let asset = at_once(&mut report, GET_AT_ONCE, sleep, || assets.get(path));
        report.check(
            FOUND,
            asset.is_some(),
            "the file of a path that is listed",
            path,
        );
        report.check(SAME, clone.get(path) == asset, "the same file again", path);
        let mut spellings = Vec::from([
            format!("/{path}"),
            format!("./{path}"),
            format!("{path}/"),
            format!("x/../{path}"),
            format!("{path} "),
            path.replace('/', "//"),
            path.to_uppercase(),
            path.chars().skip(1).collect(),
        ]);
        spellings.retain(|spelling| !paths.contains(spelling));
        for spelling in spellings {
            let found = assets.get(&spelling).is_some();
            report.check(
                BYTE_FOR_BYTE,
                !found,
                "nothing under another spelling",
                spelling,
            );
        }
    }
    report.check(
        BYTE_FOR_BYTE,
        assets.get("").is_none(),
        "nothing under no name",
        "a file",
    );
    if paths.is_empty() {
        for sentence in [FOUND, GET_AT_ONCE, SAME] {
            report.not_applicable(sentence, "no file was built in");
        }
    }
    report.complete(&CONTRACT)
}
