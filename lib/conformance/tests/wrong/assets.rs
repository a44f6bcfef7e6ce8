//! Wrong assets.

use mirage_conformance::assets;
use mirage_device::{Asset, Assets};

use crate::rigs::{caught, run};

const FILES: [(&str, &[u8]); 3] = [
    ("a.txt", b"first"),
    ("css/site.css", b"body {}"),
    ("index.html", b"<p>"),
];

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// `/index.html` finds `index.html`.
    Sloppy,
    /// Paths in the order in which a folder has them.
    Unsorted,
    /// A file that is listed is not there.
    Missing,
    /// A file is cut short.
    Short,
}

#[derive(Clone)]
struct Wrong(Fault);

impl Assets for Wrong {
    fn get(&self, path: &str) -> Option<Asset<'_>> {
        let path = if self.0 == Fault::Sloppy {
            path.trim_start_matches('/')
        } else {
            path
        };
        let (_, bytes) = FILES.iter().find(|(name, _)| *name == path)?;
        match self.0 {
            Fault::Missing if path == "a.txt" => None,
            Fault::Short => Some(Asset::new(&bytes[1..], "text/plain", "x")),
            _ => Some(Asset::new(bytes, "text/plain", "x")),
        }
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        let mut paths = FILES.map(|(path, _)| path);
        if self.0 == Fault::Unsorted {
            paths.reverse();
        }
        paths.into_iter()
    }
}

#[test]
fn assets_that_are_wrong_in_one_thing() {
    run(async |s| assets::check(&Wrong(Fault::None), &s, Some(&FILES)).await).assert();
    for (fault, truth, sentence) in [
        (Fault::Sloppy, None, assets::BYTE_FOR_BYTE),
        (Fault::Unsorted, None, assets::PATHS),
        (Fault::Missing, None, assets::FOUND),
        (Fault::Short, Some(&FILES[..]), assets::FIXED),
    ] {
        let report = run(async |s| assets::check(&Wrong(fault), &s, truth).await);
        caught(&report, sentence);
    }
}
