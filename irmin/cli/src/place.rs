//! The repository: found as Git finds it, or made.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use irmin::{Format, Repo};
use irmin_git::Git;
use serde_json::json;

use crate::cli::{Init, ObjectFormat};
use crate::failure::{Failure, Result};
use crate::output::{Output, quoted};

/// A repository that is open.
pub struct Place {
    /// The store in it.
    pub repo: Repo,
    /// The folder of the repository itself.
    pub folder: PathBuf,
}

impl Place {
    /// The repository that `repo` or a folder above it is or holds; without it that of `GIT_DIR`, or
    /// of the current folder.
    pub fn find(repo: Option<&Path>) -> Result<Place> {
        let folder = match (repo, env::var_os("GIT_DIR")) {
            (None, Some(folder)) => PathBuf::from(folder),
            (repo, _) => upwards(repo.unwrap_or(Path::new(".")))?,
        };
        let git = Git::open(folder)?;
        let folder = git.path().into();
        Ok(Place {
            repo: Repo::new(git),
            folder,
        })
    }
}

/// `irmin init`.
pub fn init(init: &Init, repo: Option<&Path>, out: &mut Output) -> Result<u8> {
    let path = init.path.as_deref().or(repo).unwrap_or(Path::new("."));
    let format = match init.object_format {
        ObjectFormat::Sha1 => Format::GitSha1,
        ObjectFormat::Sha256 => Format::GitSha256,
    };
    let git = Git::init(path, format, init.bare)?;
    let folder = fs::canonicalize(git.path()).unwrap_or_else(|_| git.path().into());
    match out.json {
        true => out.value(&json!({ "repository": folder.to_string_lossy() }))?,
        false => out.line(format_args!(
            "made an empty repository in {}",
            quoted(folder.as_os_str().as_encoded_bytes())
        ))?,
    }
    Ok(0)
}

/// The first folder from here to the root that is a repository or holds one. As Git does, it stops
/// at the folders of `GIT_CEILING_DIRECTORIES` and where another file system begins.
fn upwards(from: &Path) -> Result<PathBuf> {
    let shown = from.display();
    let start = fs::canonicalize(from).map_err(|error| {
        Failure::usage(
            format!("{shown} cannot be opened: {error}"),
            "give --repo a repository, or a folder inside one",
        )
    })?;
    let ceilings: Vec<PathBuf> = env::var_os("GIT_CEILING_DIRECTORIES")
        .map(|list| {
            env::split_paths(&list)
                .filter(|path| path.is_absolute())
                .collect()
        })
        .unwrap_or_default();
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let home = device(&start);
    for folder in start.ancestors() {
        let is_start = folder == start;
        if !is_start && (ceilings.iter().any(|at| at == folder) || device(folder) != home) {
            break;
        }
        if is_repository(folder) {
            return Ok(folder.into());
        }
    }
    let start = start.display();
    Err(Failure::usage(
        format!("there is no Git repository in {start} or a folder above it"),
        "make one with `irmin init`, or give --repo PATH",
    ))
}

/// Whether the folder is a repository, or the work tree of one.
fn is_repository(folder: &Path) -> bool {
    let inside = folder.join(".git");
    inside.is_file()
        || [inside.as_path(), folder].iter().any(|folder| {
            folder.join("HEAD").symlink_metadata().is_ok()
                && (folder.join("commondir").is_file()
                    || folder.join("objects").is_dir() && folder.join("refs").is_dir())
        })
}
