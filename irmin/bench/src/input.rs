//! What is stored: keys in three shapes, values, and histories for `git fast-import`.

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use irmin::{Branch, Info, Repo, Signature};

use crate::child;

/// How so many keys lie in directories.
#[derive(Clone, Copy, PartialEq)]
pub enum Shape {
    /// 100 directories.
    Square,
    /// 100 directories of 100 directories.
    Cube,
    /// One directory.
    Flat,
}

impl Shape {
    /// The key with this number.
    pub fn key(self, n: usize) -> String {
        match self {
            Shape::Square => format!("d{:02}/k{:02}", n / 100 % 100, n % 100),
            Shape::Cube => format!("{:02}/{:02}/{:02}", n / 10_000, n / 100 % 100, n % 100),
            Shape::Flat => format!("{n:07}"),
        }
    }

    /// For the name of a row.
    pub fn shown(self, keys: usize) -> String {
        let keys = count(keys);
        match self {
            Shape::Square => format!("{keys} keys in 100 directories"),
            Shape::Cube => format!("{keys} keys, 100 a directory"),
            Shape::Flat => format!("{keys} keys in one directory"),
        }
    }
}

/// Powers of ten as such.
pub fn count(n: usize) -> String {
    let zeros = n.ilog10();
    if n == 10_usize.pow(zeros) && n >= 10_000 {
        return format!("10^{zeros}");
    }
    n.to_string()
}

/// The number behind `n`, spread like chance and the same in every run.
pub fn scattered(n: usize, limit: usize) -> usize {
    let mut mixed = (n as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 31)) % limit as u64) as usize
}

/// A value of about forty bytes.
pub fn value(n: usize) -> String {
    format!("value {n:09} {:016x}\n", scattered(n, usize::MAX))
}

/// Who commits, `n` seconds after the first commit.
pub fn info(n: usize) -> Info {
    let who = Signature::new("Ada", "ada@example.org", 1_429_538_400 + n as i64, 0);
    Info::new(who, "Edit\n")
}

/// Puts so many keys on the branch `main` in one commit.
pub fn filled(repo: &Repo, shape: Shape, keys: usize) -> Result<Branch> {
    let main = repo.branch("main")?;
    main.change(&info(0), |edit| {
        (0..keys).try_for_each(|n| edit.set(shape.key(n), value(n)))
    })?;
    Ok(main)
}

/// Makes a bare repository of what `write` gives to `git fast-import`.
pub fn imported(
    folder: &Path,
    write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>,
) -> Result<()> {
    child::output(&mut child::git(folder, &["init", "--quiet", "--bare"]))?;
    let mut git = child::git(folder, &["fast-import", "--quiet", "--done"])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start git")?;
    let mut input = BufWriter::new(git.stdin.take().context("no pipe to git")?);
    let written = write(&mut input).and_then(|()| input.write_all(b"done\n"));
    let written = written.and_then(|()| input.flush());
    drop(input);
    let status = git.wait()?;
    ensure!(status.success(), "git fast-import ends with {status}");
    Ok(written?)
}
