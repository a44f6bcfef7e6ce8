//! Which names go where: `+refs/heads/*:refs/remotes/origin/*` (git-fetch(1), git-push(1)).

use std::fmt;
use std::str::FromStr;

use irmin::RefName;

use crate::error::SyncError;

/// A rule that takes names of one side to names of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refspec {
    /// `+`: names may move backwards and sideways.
    pub force: bool,
    /// `^`: what fits is left out.
    pub negative: bool,
    /// Which names of the sender: a name, possibly a short one, an id, in a push also one of which only the
    /// beginning is given, or a pattern with one `*`. Empty in a push: the target is deleted.
    pub source: String,
    /// Their names at the receiver, with `*` for what `*` stood for. `None` where none is given.
    pub target: Option<String>,
}

impl Refspec {
    /// All branches of a remote under `refs/remotes/NAME/`, as `git clone` configures it.
    ///
    /// # Errors
    /// [`SyncError::Invalid`] if the name is none that such names can have.
    pub fn tracking(remote: &str) -> Result<Refspec, SyncError> {
        format!("+refs/heads/*:refs/remotes/{remote}/*").parse()
    }

    /// Everything under its own name, as `git clone --mirror` configures it.
    pub fn mirror() -> Refspec {
        Refspec {
            force: true,
            negative: false,
            source: "refs/*".into(),
            target: Some("refs/*".into()),
        }
    }

    /// Whether it stands for many names.
    pub fn is_pattern(&self) -> bool {
        self.source.contains('*')
    }

    /// Whether the source is a name or a pattern, and no other revision (`main~1`), which only a push
    /// takes.
    pub fn is_of_names(&self) -> bool {
        is_name(&self.source)
    }

    /// Whether the source's name fits, and what `*` stands for.
    pub fn fits<'a>(&self, name: &'a str) -> Option<&'a str> {
        star(&self.source, name)
    }

    /// The receiver's name for what `*` stands for. `None` without a target or for no good name.
    pub fn target_of(&self, star: &str) -> Option<RefName> {
        RefName::new(&self.target.as_deref()?.replacen('*', star, 1)).ok()
    }

    /// Whether a name of the receiver may come from this rule, and from which name of the sender.
    pub fn source_of(&self, target: &str) -> Option<String> {
        let found = star(self.target.as_deref()?, target)?;
        Some(self.source.replacen('*', found, 1))
    }
}

/// Whether this side is a name or a pattern.
fn is_name(side: &str) -> bool {
    // HEAD, short names and ids become names with something before them.
    let name = side.replacen('*', "x", 1);
    let full = if name.starts_with("refs/") {
        name
    } else {
        format!("refs/{name}")
    };
    RefName::new(&full).is_ok()
}

/// What `*` stands for if the name fits the pattern; empty where both are equal.
fn star<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    match pattern.split_once('*') {
        None => (pattern == name).then_some(""),
        Some((before, after)) => name
            .strip_prefix(before)?
            .strip_suffix(after)
            .filter(|found| !found.is_empty()),
    }
}

impl FromStr for Refspec {
    type Err = SyncError;

    fn from_str(text: &str) -> Result<Refspec, SyncError> {
        let wrong = |why: &str| Err(SyncError::Invalid(format!("{text:?} is no refspec: {why}")));
        let force = text.starts_with('+');
        let negative = text.starts_with('^');
        let rest = text.strip_prefix(['+', '^']).unwrap_or(text);
        let (source, target) = match rest.rsplit_once(':') {
            Some((source, target)) => (source, Some(target).filter(|target| !target.is_empty())),
            None => (rest, None),
        };
        if negative && (target.is_some() || rest.contains(':') || source.is_empty()) {
            return wrong("what is left out has a source and no target");
        }
        if source.is_empty() && target.is_none() {
            return wrong("it names nothing");
        }
        for side in [Some(source), target].into_iter().flatten() {
            if side.matches('*').count() > 1 {
                return wrong("a side has more than one *");
            }
            // What stands before a target may be any revision: who has it says whether there is one.
            let may_be_revision = target.is_some() && side == source && !side.contains('*');
            if !side.is_empty() && !may_be_revision && !is_name(side) {
                return wrong("a side is no name");
            }
        }
        if target.is_some_and(|target| target.contains('*') != source.contains('*')) {
            return wrong("both sides have a *, or none has");
        }
        Ok(Refspec {
            force,
            negative,
            source: if source == "@" { "HEAD" } else { source }.into(),
            target: target.map(Into::into),
        })
    }
}

impl fmt::Display for Refspec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (self.force, self.negative) {
            (true, _) => "+",
            (_, true) => "^",
            _ => "",
        };
        write!(f, "{sign}{}", self.source)?;
        match &self.target {
            Some(target) => write!(f, ":{target}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_applied_as_git_does() {
        let spec = Refspec::tracking("origin").unwrap();
        assert_eq!(spec.to_string(), "+refs/heads/*:refs/remotes/origin/*");
        let star = spec.fits("refs/heads/a/b").unwrap();
        assert_eq!(
            spec.target_of(star).unwrap().as_str(),
            "refs/remotes/origin/a/b"
        );
        assert_eq!(
            spec.source_of("refs/remotes/origin/x").unwrap(),
            "refs/heads/x"
        );
        assert_eq!(spec.fits("refs/tags/a"), None);
        assert_eq!(spec.fits("refs/heads/"), None);
        for good in [
            "main",
            "main:next",
            "+main:refs/heads/x",
            ":refs/heads/x",
            "^refs/heads/x",
            "HEAD",
            "refs/heads/a*b:refs/x/c*d",
            "main~1:main",
        ] {
            assert_eq!(good.parse::<Refspec>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            ":",
            "+",
            "^",
            "^a:b",
            "a*:b",
            "a:b*",
            "a**:b*",
            "a..b",
            "refs/heads/*:refs/../*",
            "a b",
            "x:refs/heads/y.lock",
        ] {
            assert!(bad.parse::<Refspec>().is_err(), "{bad}");
        }
        assert_eq!("@:x".parse::<Refspec>().unwrap().to_string(), "HEAD:x");
        assert!(Refspec::tracking("../x").is_err());
    }
}
