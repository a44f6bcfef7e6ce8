//! Names that are hidden from all clients (`transfer.hideRefs`, git-config(1)).

use irmin::RefName;

use super::Gate;

/// A gate in front of which some names are hidden: no client is told of them, nothing is fetched for
/// their sake, and they do not move.
///
/// A rule is a name, which hides all below it too; with `!` before it, it shows what an earlier one
/// hides. The last that fits counts.
#[derive(Clone, Copy)]
pub struct Veil<'a> {
    /// Who may do what beside that.
    pub gate: &'a dyn Gate,
    /// The rules.
    pub rules: &'a [String],
}

impl Veil<'_> {
    fn hides(&self, name: &RefName) -> bool {
        for rule in self.rules.iter().rev() {
            let (shows, rule) = match rule.strip_prefix('!') {
                Some(rule) => (true, rule),
                None => (false, &rule[..]),
            };
            // Names are told here as they are: there are no namespaces that could be before them.
            let rule = rule.strip_prefix('^').unwrap_or(rule).trim_end_matches('/');
            let below = name.as_str().strip_prefix(rule);
            if below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
                return !shows;
            }
        }
        false
    }
}

impl Gate for Veil<'_> {
    fn reads_all(&self) -> bool {
        self.rules.is_empty() && self.gate.reads_all()
    }

    fn may_read(&self, name: &RefName) -> bool {
        self.gate.may_read(name) && !self.hides(name)
    }

    fn may_write(&self, name: &RefName) -> bool {
        self.gate.may_write(name) && !self.hides(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Open;

    #[test]
    fn the_last_rule_that_fits_counts() {
        let rules = ["refs/pull/", "!refs/pull/1", "^refs/x", "refs/pull/1/head"];
        let rules = rules.map(String::from);
        let veil = Veil {
            gate: &Open,
            rules: &rules,
        };
        for (name, is_seen) in [
            ("refs/pull/2", false),
            ("refs/pull/2/merge", false),
            ("refs/pull/1", true),
            ("refs/pull/1/merge", true),
            ("refs/pull/1/head", false),
            ("refs/pulls/1", true),
            ("refs/x/y", false),
            ("refs/heads/x", true),
        ] {
            let name = RefName::new(name).unwrap();
            assert_eq!(veil.may_read(&name), is_seen, "{name}");
            assert_eq!(veil.may_write(&name), is_seen, "{name}");
        }
        assert!(!veil.reads_all());
        assert!(
            Veil {
                gate: &Open,
                rules: &[]
            }
            .reads_all()
        );
    }
}
