//! Where a repository keeps what: found, checked and made as Git does.

use std::fs;
use std::path::{Path, PathBuf};

use irmin::Format;

use crate::config::Config;
use crate::error::{Result, io, optional, refused};

/// The places of one repository.
#[derive(Debug)]
pub(crate) struct Layout {
    /// What belongs to this work tree: `HEAD`.
    pub(crate) git_dir: PathBuf,
    /// What all work trees share: objects and most names. Usually the same.
    pub(crate) common: PathBuf,
    pub(crate) format: Format,
    pub(crate) reflogs: Reflogs,
    /// Nothing that is here may be deleted (`extensions.preciousObjects`).
    pub(crate) precious: bool,
}

/// Which names have their moves logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reflogs {
    /// Those that have a log already.
    Existing,
    /// Branches, remote branches, notes and `HEAD`.
    Usual,
    /// All.
    Always,
}

impl Layout {
    /// The repository at this path: the folder itself, or its `.git`.
    pub(crate) fn open(path: &Path) -> Result<Layout> {
        let git_dir = git_dir(path)?;
        let common_file = git_dir.join("commondir");
        let common = match small_text(&common_file)? {
            Some(text) => git_dir.join(text.trim_end_matches(['\n', '\r'])),
            None => git_dir.clone(),
        };
        let config_file = common.join("config");
        let config = Config::read(&config_file)?;
        let version = config.get("core.repositoryformatversion").unwrap_or("0");
        if !matches!(version, "0" | "1") {
            return Err(refused(format_args!(
                "{} is of repository format {version}, and only 0 and 1 are known",
                path.display()
            )));
        }
        let (mut format, mut precious) = (Format::GitSha1, false);
        for (extension, value) in config.under("extensions.") {
            match (extension, value) {
                // In format 0 only these have ever meant anything.
                ("preciousobjects", value) => precious = value != "false",
                ("partialclone", _) | ("noop", _) => {}
                (_, _) if version == "0" => {}
                ("objectformat", "sha1") => format = Format::GitSha1,
                ("objectformat", "sha256") => format = Format::GitSha256,
                ("refstorage", "files") => {}
                ("worktreeconfig" | "relativeworktrees" | "noop-v1", _) => {}
                (extension, value) => {
                    return Err(refused(format_args!(
                        "{} uses the extension {extension} = {value}, which is not known here",
                        path.display()
                    )));
                }
            }
        }
        let bare = config
            .bool("core.bare")
            .unwrap_or(git_dir.file_name().is_none_or(|name| name != ".git"));
        let reflogs = match config.get("core.logallrefupdates") {
            Some(value) if value.eq_ignore_ascii_case("always") => Reflogs::Always,
            Some(_) if config.bool("core.logallrefupdates") == Some(true) => Reflogs::Usual,
            None if !bare => Reflogs::Usual,
            _ => Reflogs::Existing,
        };
        Ok(Layout {
            git_dir,
            common,
            format,
            reflogs,
            precious,
        })
    }

    /// Makes an empty repository whose `HEAD` is `refs/heads/main`. `bare`: the folder itself is
    /// the repository; else it is the `.git` inside.
    pub(crate) fn init(path: &Path, format: Format, bare: bool) -> Result<()> {
        let version = match format {
            Format::GitSha1 => "\trepositoryformatversion = 0\n",
            Format::GitSha256 => "\trepositoryformatversion = 1\n",
            Format::Native => {
                return Err(refused(
                    "a Git repository keeps Git's formats; the native one is irmin-pack's",
                ));
            }
        };
        let git_dir = if bare {
            path.to_path_buf()
        } else {
            path.join(".git")
        };
        if git_dir.join("HEAD").exists() {
            return Err(refused(format_args!(
                "{} is a repository already; open it",
                path.display()
            )));
        }
        for folder in [
            "objects/info",
            "objects/pack",
            "refs/heads",
            "refs/tags",
            "info",
        ] {
            let folder = git_dir.join(folder);
            fs::create_dir_all(&folder).map_err(io("make", &folder))?;
        }
        let mut config = format!("[core]\n{version}\tfilemode = true\n\tbare = {bare}\n");
        if !bare {
            config += "\tlogallrefupdates = true\n";
        }
        if format == Format::GitSha256 {
            config += "[extensions]\n\tobjectformat = sha256\n";
        }
        // HEAD comes last: with it, this is a repository.
        for (name, text) in [
            ("config", config.as_str()),
            ("HEAD", "ref: refs/heads/main\n"),
        ] {
            let file = git_dir.join(name);
            fs::write(&file, text).map_err(io("write", &file))?;
        }
        Ok(())
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.common.join("objects")
    }

    /// Where the file of this name lies: `HEAD` and a few others belong to the work tree.
    pub(crate) fn home(&self, name: &str) -> &Path {
        let own = ["refs/bisect/", "refs/worktree/", "refs/rewritten/"];
        if !name.starts_with("refs/") || own.iter().any(|own| name.starts_with(own)) {
            &self.git_dir
        } else {
            &self.common
        }
    }
}

/// `path` if it is a repository, else its `.git`, which may be a file that says where to look.
fn git_dir(path: &Path) -> Result<PathBuf> {
    let is_repository = |path: &Path| {
        path.join("HEAD").symlink_metadata().is_ok()
            && (path.join("commondir").is_file()
                || path.join("objects").is_dir() && path.join("refs").is_dir())
    };
    let inside = path.join(".git");
    if inside.is_file() {
        let text = small_text(&inside)?.unwrap_or_default();
        let target = text
            .strip_prefix("gitdir: ")
            .map(|target| path.join(target.trim_end_matches(['\n', '\r'])));
        if let Some(target) = target.filter(|target| is_repository(target)) {
            return Ok(target);
        }
    } else if is_repository(&inside) {
        return Ok(inside);
    } else if is_repository(path) {
        return Ok(path.to_path_buf());
    }
    Err(refused(format_args!(
        "{} is no Git repository; make one (git init, Git::init)",
        path.display()
    )))
}

/// The text of a file that ought to hold a line; `None` if it is not there.
pub(crate) fn small_text(path: &Path) -> Result<Option<String>> {
    use std::io::Read;
    let Some(file) = optional(fs::File::open(path)).map_err(io("open", path))? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    match file.take(1 << 16).read_to_end(&mut text) {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(error) if crate::error::is_absent(&error) => Ok(None),
        Err(error) => Err(io("read", path)(error)),
    }
}
