//! A folder packed and read again is the folder that it was.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use mirage_assets::pack::{PackError, pack, seal};
use mirage_assets::{Sealed, SealedError};
use mirage_device::{Assets, Encoding};
use proptest::prelude::*;

type Tree = BTreeMap<String, Vec<u8>>;

fn folder(tree: &Tree) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in tree {
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    folder
}

fn tree(files: &[(&str, &[u8])]) -> Tree {
    files
        .iter()
        .map(|(path, content)| ((*path).to_owned(), content.to_vec()))
        .collect()
}

fn sealed(from: &Path) -> Sealed {
    Sealed::new(seal(from).unwrap().leak()).unwrap()
}

/// Paths that never name one thing as a file and as a folder.
fn trees() -> impl Strategy<Value = Tree> {
    let folder = "(d[a-z]{1,3}/){0,3}";
    let name = "f[a-zA-Z0-9 _é-]{0,8}(\\.(html|css|png|txt|json|bin))?";
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..600),
        "[a-c \n]{0,2000}".prop_map(String::into_bytes),
    ];
    prop::collection::btree_map((folder, name).prop_map(|(f, n)| f + &n), content, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_tree_reads_as_it_was_written(tree in trees(), strange in ".{0,20}") {
        let folder = folder(&tree);
        let sealed = sealed(folder.path());
        prop_assert!(sealed.paths().eq(tree.keys()), "{sealed:?}");
        for (path, content) in &tree {
            let asset = sealed.get(path).unwrap();
            prop_assert_eq!(asset.bytes, content);
            prop_assert_eq!(asset.modified, None);
            if let Some((coding, bytes)) = asset.encoded {
                prop_assert_eq!(coding, Encoding::Gzip);
                prop_assert!(bytes.len() * 10 <= content.len() * 9 + 9);
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
                prop_assert_eq!(&plain, content);
            }
            let slash = format!("/{path}");
            prop_assert_eq!(sealed.get(&slash), None);
            prop_assert_eq!(sealed.get(&slash.replace('/', "//")), None);
        }
        prop_assert_eq!(sealed.get(&strange).map(|a| a.bytes), tree.get(&strange).map(|c| &c[..]));
    }

    #[test]
    fn a_damaged_file_is_refused_or_read_without_a_panic(
        tree in trees(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        in_index in any::<bool>(),
    ) {
        let folder = folder(&tree);
        let mut bytes = seal(folder.path()).unwrap();
        let reach = if in_index { bytes.len().min(24 + tree.len() * 72) } else { bytes.len() };
        for (at, byte) in damage {
            let at = at.index(reach);
            bytes[at] ^= byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(sealed) = Sealed::new(bytes.leak()) {
            // What was accepted is consistent: every path listed is found.
            let paths: Vec<&str> = sealed.paths().collect();
            prop_assert_eq!(paths.len(), tree.len());
            prop_assert!(paths.iter().all(|path| sealed.get(path).is_some()));
            prop_assert!(tree.keys().all(|path| sealed.get(path).is_none() || paths.contains(&&**path)));
        }
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(Sealed::new(bytes.clone().leak()).err(), Some(SealedError::Foreign));
        bytes.splice(..bytes.len().min(12), *b"MIRASSET\x01\0\0\0");
        prop_assert!(Sealed::new(bytes.leak()).is_err());
    }
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let tree = tree(&[
        ("b.html", b"<p>b"),
        ("a/x.txt", &[b'x'; 5000]),
        ("a.txt", b""),
    ]);
    let (one, two) = (folder(&tree), folder(&tree));
    let out = two.path().with_extension("sealed");
    pack(two.path(), &out).unwrap();
    assert_eq!(seal(one.path()).unwrap(), fs::read(&out).unwrap());
    fs::remove_file(out).unwrap();
}

#[test]
fn text_is_compressed_where_that_pays_and_images_never() {
    let text = b"Lorem ipsum dolor sit amet. ".repeat(100);
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        for shift in [13, -17, 5] {
            state ^= if shift > 0 {
                state << shift
            } else {
                state >> -shift
            };
        }
        state as u8
    })
    .take(2800)
    .collect();
    let folder = folder(&tree(&[
        ("long.txt", &text),
        ("short.txt", &text[..200]),
        ("noise.txt", &noise),
        ("image.png", &text),
    ]));
    let sealed = sealed(folder.path());
    let encoded = |path| sealed.get(path).unwrap().encoded.is_some();
    assert!(encoded("long.txt"));
    assert!(!encoded("short.txt") && !encoded("noise.txt") && !encoded("image.png"));
}

#[test]
fn the_entity_tag_is_a_hash_of_the_content() {
    let folder = folder(&tree(&[
        ("a.txt", b"abc"),
        ("b.css", b"abc"),
        ("c.txt", b"abd"),
    ]));
    let sealed = sealed(folder.path());
    let tag = |path| sealed.get(path).unwrap().etag;
    // The SHA-256 of `abc`, FIPS 180-2 appendix B.1.
    assert_eq!(tag("a.txt"), "ba7816bf8f01cfea414140de");
    assert_eq!(tag("a.txt"), tag("b.css"));
    assert_ne!(tag("a.txt"), tag("c.txt"));
}

#[test]
fn hidden_files_are_left_out_but_for_well_known_at_the_top() {
    let folder = folder(&tree(&[
        ("index.html", b""),
        (".git/config", b""),
        (".env", b""),
        ("a/.hidden", b""),
        ("a/.well-known/x", b""),
        (".well-known/security.txt", b""),
        (".well-known/.x", b""),
    ]));
    let sealed = sealed(folder.path());
    assert!(
        sealed
            .paths()
            .eq([".well-known/security.txt", "index.html"]),
        "{sealed:?}"
    );
}

#[test]
fn links_inside_the_folder_are_followed() {
    let folder = folder(&tree(&[("a/x.txt", b"x")]));
    symlink("a/x.txt", folder.path().join("y.txt")).unwrap();
    symlink("a", folder.path().join("b")).unwrap();
    assert!(
        sealed(folder.path())
            .paths()
            .eq(["a/x.txt", "b/x.txt", "y.txt"])
    );
}

#[test]
fn every_refusal_names_the_path_and_what_to_do() {
    let place = folder(&tree(&[
        ("site/a.txt", b"a"),
        ("secret", b"s"),
        ("hollow/.x", b""),
    ]));
    let site = place.path().join("site");
    let error = |from: &Path| seal(from).unwrap_err();
    let says = |error: PackError, words: &[&str]| {
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    says(
        error(&place.path().join("none")),
        &["there is no folder", "/none", "create it"],
    );
    says(
        error(&place.path().join("secret")),
        &["secret is not a folder", "name the folder"],
    );
    says(
        error(&place.path().join("hollow")),
        &["nothing to serve", "hollow", "put a file"],
    );

    let link = site.join("link");
    symlink("../secret", &link).unwrap();
    says(
        error(&site),
        &["site/link leads to", "secret, outside", "copy"],
    );
    fs::remove_file(&link).unwrap();
    symlink("../site", &link).unwrap();
    says(error(&site), &["site/link leads back to", "remove"]);
    fs::remove_file(&link).unwrap();
    symlink("gone", &link).unwrap();
    says(error(&site), &["cannot read", "site/link"]);
    fs::remove_file(&link).unwrap();

    let socket = std::os::unix::net::UnixListener::bind(&link).unwrap();
    says(error(&site), &["site/link is neither a file nor a folder"]);
    drop(socket);
    fs::remove_file(&link).unwrap();

    let odd = site.join(std::ffi::OsStr::from_bytes(b"a\xff"));
    fs::write(&odd, "").unwrap();
    says(error(&site), &["not UTF-8", "rename"]);
    fs::remove_file(odd).unwrap();

    let out = place.path().join("no/such/folder");
    says(
        pack(&site, &out).unwrap_err(),
        &["cannot write", "no/such/folder"],
    );
}

#[test]
fn what_is_not_a_packed_folder_is_told_apart() {
    let folder = folder(&tree(&[("a.txt", b"a")]));
    let good = seal(folder.path()).unwrap();
    let broken = |change: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Sealed::new(bytes.leak()).unwrap_err()
    };
    assert_eq!(broken(|bytes| bytes[0] = 0), SealedError::Foreign);
    assert_eq!(broken(Vec::clear), SealedError::Foreign);
    assert_eq!(broken(|bytes| bytes[8] = 2), SealedError::Version(2));
    assert_eq!(broken(|bytes| bytes.push(0)), SealedError::Length);
    assert_eq!(broken(|bytes| bytes.truncate(20)), SealedError::Length);
    assert_eq!(broken(|bytes| bytes[16] = 3), SealedError::Index);
    assert_eq!(broken(|bytes| bytes[12] = 0), SealedError::Index);
    // Two slots, then the entry: its path ends beyond the file.
    assert_eq!(
        broken(|bytes| bytes[24 + 16 + 7] = 1),
        SealedError::Entry(0)
    );
}
