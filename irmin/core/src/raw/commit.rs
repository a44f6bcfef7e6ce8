//! Commits, in all three formats written as Git writes them.

use alloc::vec::Vec;

use super::{Malformed, Signature, line, malformed};
use crate::{Format, Id, Kind};

/// What a commit says.
///
/// `encode` after `decode` gives the same bytes, whatever headers the commit has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitData {
    /// The tree.
    pub tree: Id,
    /// The commits before it, in their order.
    pub parents: Vec<Id>,
    /// Who made the change, and when.
    pub author: Signature,
    /// Who made the commit, and when.
    pub committer: Signature,
    /// The headers after the committer (`encoding`, `gpgsig`, `mergetag`, ...) in their order, with
    /// their values verbatim: a value of several lines keeps the line ends and the space with which
    /// each further line begins.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// All after the empty line, verbatim; `None` for a commit without the empty line.
    pub message: Option<Vec<u8>>,
}

impl CommitData {
    /// Reads a commit.
    ///
    /// # Errors
    /// [`Malformed`] if tree, parents, author and committer do not come first and in this order.
    pub fn decode(format: Format, data: &[u8]) -> Result<CommitData, Malformed> {
        let (tree, parents, mut rest) = ids(format, data)?;
        let mut signature = |key: &[u8]| {
            let (value, after) = field(rest, key)?;
            rest = after;
            Signature::from_bytes(value)
        };
        let author =
            signature(b"author ").ok_or_else(|| wrong("it has no author after the parents"))?;
        let committer = signature(b"committer ")
            .ok_or_else(|| wrong("it has no committer after the author"))?;
        let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        while !rest.is_empty() && rest[0] != b'\n' {
            let (header, after) = line(rest).ok_or_else(|| wrong("a header has no end"))?;
            match (header[0], headers.last_mut()) {
                (b' ', Some((_, value))) => {
                    value.push(b'\n');
                    value.extend_from_slice(header);
                }
                (b' ', None) => {
                    return malformed(Kind::Commit, "the committer goes on in a second line");
                }
                _ => {
                    let space = header.iter().position(|&b| b == b' ');
                    let space = space.ok_or_else(|| wrong("a header has no value"))?;
                    headers.push((header[..space].into(), header[space + 1..].into()));
                }
            }
            rest = after;
        }
        let message = rest.split_first().map(|(_, message)| message.into());
        Ok(CommitData {
            tree,
            parents,
            author,
            committer,
            headers,
            message,
        })
    }

    /// Reads the tree and the parents only.
    ///
    /// # Errors
    /// [`Malformed`] if it does not begin with a tree and parents.
    pub fn decode_links(format: Format, data: &[u8]) -> Result<(Id, Vec<Id>), Malformed> {
        ids(format, data).map(|(tree, parents, _)| (tree, parents))
    }

    /// The bytes of the commit.
    pub fn encode(&self) -> Vec<u8> {
        let message = self.message.as_deref();
        let mut out =
            Vec::with_capacity(256 + 72 * self.parents.len() + message.map_or(0, <[u8]>::len));
        let mut id_line = |key: &[u8], id: &Id| {
            out.extend_from_slice(key);
            id.push_hex(&mut out);
            out.push(b'\n');
        };
        id_line(b"tree ", &self.tree);
        self.parents
            .iter()
            .for_each(|parent| id_line(b"parent ", parent));
        let mut field = |key: &[u8], value: &[u8]| {
            out.extend_from_slice(key);
            out.push(b' ');
            out.extend_from_slice(value);
            out.push(b'\n');
        };
        field(b"author", self.author.as_bytes());
        field(b"committer", self.committer.as_bytes());
        self.headers
            .iter()
            .for_each(|(key, value)| field(key, value));
        if let Some(message) = message {
            out.push(b'\n');
            out.extend_from_slice(message);
        }
        out
    }
}

/// The tree, the parents and what follows them.
fn ids(format: Format, data: &[u8]) -> Result<(Id, Vec<Id>, &[u8]), Malformed> {
    let (tree, mut rest) = field(data, b"tree ")
        .and_then(|(hex, rest)| Some((id(format, hex)?, rest)))
        .ok_or_else(|| wrong("it does not begin with a tree"))?;
    let mut parents = Vec::new();
    while let Some((hex, after)) = field(rest, b"parent ") {
        parents.push(id(format, hex).ok_or_else(|| wrong("a parent is no id"))?);
        rest = after;
    }
    Ok((tree, parents, rest))
}

fn wrong(what: &str) -> Malformed {
    Malformed {
        kind: Kind::Commit,
        what: what.into(),
    }
}

fn field<'a>(bytes: &'a [u8], key: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    line(bytes.strip_prefix(key)?)
}

fn id(format: Format, hex: &[u8]) -> Option<Id> {
    // Git writes lower case only; another case would not be written back the same.
    let lower = hex.len() == 2 * format.id_len() && !hex.iter().any(u8::is_ascii_uppercase);
    lower.then(|| Id::from_hex(hex).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
    const WHO: &str = "author A <a@b> 1 -0000\ncommitter C <c@d> 2 +051800\n";

    #[test]
    fn commits_with_odd_headers_are_written_back_bit_for_bit() {
        let parent = "parent e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\n";
        for rest in [
            "\nmessage\n",
            "\n",
            "",
            "\n\0\n\n",
            "encoding ISO-8859-1\ngpgsig -----BEGIN-----\n \n abc\n -----END-----\n \n\nm",
            "mergetag object 1\n type commit\nmergetag object 2\nunknown  two spaces\nempty \n\nm\n",
        ] {
            for parents in [String::new(), parent.to_string(), parent.repeat(9)] {
                let text = TREE.to_string() + &parents + WHO + rest;
                let commit = CommitData::decode(Format::GitSha1, text.as_bytes()).unwrap();
                assert_eq!(commit.encode(), text.as_bytes(), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_commit_is_refused_with_a_reason() {
        for text in [
            String::new(),
            WHO.to_string(),
            TREE.to_string(),
            TREE.to_uppercase(),
            TREE.to_string() + "parent x\n" + WHO,
            TREE.to_string() + WHO + "x",
            TREE.to_string() + WHO + "x\n",
            TREE.to_string() + WHO + " x\n",
        ] {
            assert!(
                CommitData::decode(Format::GitSha1, text.as_bytes()).is_err(),
                "{text:?}"
            );
        }
    }

    use std::string::{String, ToString};
}
