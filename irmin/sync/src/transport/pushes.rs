//! Who takes a push to a Git repository of this machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Who takes a push to a Git repository of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taker {
    /// Git's own `receive-pack`: the hooks are run, and the settings `receive.*` hold.
    Git,
    /// The server's side here: git is not installed, and nothing in the repository asks for it.
    Ours,
    /// Nobody, for this reason: hooks or settings want to be asked, and git is not installed.
    Nobody(String),
}

/// The hooks that git runs when somebody pushes (githooks(5)).
const HOOKS: [&str; 7] = [
    "pre-receive",
    "update",
    "proc-receive",
    "reference-transaction",
    "post-receive",
    "post-update",
    "push-to-checkout",
];

impl Taker {
    /// Who takes a push to the repository in this folder (the `.git` of a work tree).
    pub fn of(repository: &Path) -> Taker {
        match is_installed("git") {
            true => Taker::Git,
            false => Taker::without_git(repository),
        }
    }

    /// Who takes a push to the repository in this folder where git is called only if hooks or settings
    /// have a say in it. `setting`: one that is not in the repository's own file.
    pub fn asked(repository: &Path, setting: Option<&str>) -> Taker {
        let without = match (Taker::without_git(repository), setting) {
            (Taker::Ours, Some(setting)) => nobody(repository, &format!("the setting {setting:?}")),
            (without, _) => without,
        };
        match without {
            Taker::Nobody(_) if is_installed("git") => Taker::Git,
            without => without,
        }
    }

    fn without_git(repository: &Path) -> Taker {
        let common = common(repository);
        let hooks = common.join("hooks");
        let hook = HOOKS.iter().find(|name| hooks.join(name).exists());
        let config = fs::read(common.join("config")).unwrap_or_default();
        let what = match (hook, setting(&String::from_utf8_lossy(&config))) {
            (Some(hook), _) => format!("its hook {hook}"),
            (None, Some(line)) => format!("its setting {line:?}"),
            (None, None) => return Taker::Ours,
        };
        nobody(repository, &what)
    }
}

fn nobody(repository: &Path, what: &str) -> Taker {
    Taker::Nobody(format!(
        "{} takes no push from here: {what} has a say in it, and git, which asks it, is not installed",
        repository.display()
    ))
}

/// The first line that may say something about pushes. Rather one too many than one too few: values
/// are not understood here, and included files not read.
fn setting(config: &str) -> Option<&str> {
    config.lines().map(str::trim).find(|line| {
        let line = line.to_ascii_lowercase();
        let section = line.strip_prefix('[').unwrap_or_default().trim_start();
        ["receive", "transfer", "include"]
            .iter()
            .any(|name| section.starts_with(name))
            || line.contains("hookspath")
    })
}

/// Whether the repository in this folder may hide names from who fetches (`transfer.hideRefs`,
/// `uploadpack.hideRefs`), which git knows.
pub(super) fn hides_names(repository: &Path) -> bool {
    let config = fs::read(common(repository).join("config")).unwrap_or_default();
    let config = String::from_utf8_lossy(&config).to_ascii_lowercase();
    config.contains("hiderefs") && is_installed("git")
}

/// The folder that a repository's work trees share.
fn common(repository: &Path) -> PathBuf {
    match fs::read_to_string(repository.join("commondir")) {
        Ok(common) => repository.join(common.trim_end()),
        Err(_) => repository.into(),
    }
}

/// Whether there is such a program.
pub(super) fn is_installed(program: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_only_repositories_are_pushed_to_in_which_nothing_asks_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = |text: &str| fs::write(folder.path().join("config"), text).unwrap();
        let taker = || Taker::without_git(folder.path());
        assert_eq!(taker(), Taker::Ours);
        config("[core]\n\tbare = true\n[remote \"receive\"]\n\turl = x\n");
        assert_eq!(taker(), Taker::Ours);
        for asks in [
            "[receive]\n\tdenyDeletes = true\n",
            "[ Transfer ] fsckObjects\n",
            "[core]\n\tHooksPath = /etc/hooks\n",
            "[includeIf \"onbranch:x\"]\n\tpath = x\n",
        ] {
            config(asks);
            assert!(matches!(taker(), Taker::Nobody(_)), "{asks}");
        }
        config("");
        fs::create_dir(folder.path().join("hooks")).unwrap();
        fs::write(folder.path().join("hooks/pre-receive.sample"), "").unwrap();
        assert_eq!(taker(), Taker::Ours);
        fs::write(folder.path().join("hooks/pre-receive"), "").unwrap();
        assert!(matches!(taker(), Taker::Nobody(why) if why.contains("hook pre-receive")));
    }
}
