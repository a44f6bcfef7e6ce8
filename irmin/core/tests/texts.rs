//! Merges of texts, held against `git merge-tree`: the same lines, the same conflicts, the same marks.

mod common;

use irmin::merge::{FollowRenames, files_as_git};
use irmin::{Format, Info, Memory, Repo, Signature};

use common::{Git, Random, seeds};

/// A text and how its lines are made: of few different ones, so that there are many ways to compare.
struct Lines {
    kinds: usize,
    end: &'static str,
    lines: Vec<String>,
}

impl Lines {
    fn new(random: &mut Random) -> Lines {
        let mut made = Lines {
            kinds: [2, 3, 5, 20, 200][random.below(5)],
            end: ["\n", "\n", "\n", "\r\n"][random.below(4)],
            lines: Vec::new(),
        };
        let count = [4, 12, 40, 40, 300, 1000][random.below(6)];
        for _ in 0..random.below(count) {
            let line = made.line(random);
            made.lines.push(line);
        }
        made
    }

    fn line(&self, random: &mut Random) -> String {
        let end = match random.below(9) {
            0 => "\n",
            _ => self.end,
        };
        match random.below(10) {
            0 => end.into(),
            1 => format!("new {}{end}", random.below(4)),
            _ => format!("{}{end}", random.below(self.kinds)),
        }
    }

    fn edited(&self, random: &mut Random) -> String {
        let mut lines = self.lines.clone();
        for _ in 0..1 + random.below(3 + lines.len() / 10) {
            let at = random.below(lines.len() + 1);
            let end = lines.len().min(at + random.below(5));
            match random.below(4) {
                0 => drop(lines.drain(at..end)),
                1 => {
                    let moved: Vec<_> = lines.drain(at..end).collect();
                    let to = random.below(lines.len() + 1);
                    drop(lines.splice(to..to, moved));
                }
                _ => {
                    let new: Vec<_> = (0..1 + random.below(3))
                        .map(|_| self.line(random))
                        .collect();
                    let end = if random.below(2) == 0 { at } else { end };
                    drop(lines.splice(at..end, new));
                }
            }
        }
        let text = lines.concat();
        match random.below(6) {
            0 => text.trim_end_matches('\n').into(),
            _ => text,
        }
    }
}

/// `SEED` repeats one and `RUNS` makes more.
#[test]
fn git_merges_texts_the_same() {
    let repo = Repo::new(Memory::new(Format::GitSha1));
    let mut merges = Vec::new();
    for seed in seeds(60) {
        let mut random = Random(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let lines = Lines::new(&mut random);
        let texts = [
            lines.lines.concat(),
            lines.edited(&mut random),
            lines.edited(&mut random),
        ];
        let trees = texts.map(|text| {
            let mut edit = repo.empty_tree().edit();
            edit.set("f", text).unwrap();
            let tree = edit.finish().unwrap();
            let info = Info::new(Signature::new("Ada", "ada@example.org", 0, 0), "\n");
            repo.commit_tree(&tree, &[], &info).unwrap().tree()
        });
        merges.push((seed, trees));
    }
    let git = Git::new(Format::GitSha1);
    git.take(&repo);
    let mut conflicts = 0;
    for (seed, [base, ours, theirs]) in &merges {
        let ids = [base, ours, theirs].map(|tree| tree.id().to_string());
        let rule = FollowRenames::new(files_as_git).named(&ids[1], &ids[2]);
        let merge = ours.merge(base, theirs, &rule).unwrap();
        let merged = (
            merge.proposal().unwrap().id().to_string(),
            merge.conflicts().is_empty(),
        );
        let from = format!("--merge-base={}", ids[0]);
        let args = ["merge-tree", "--write-tree", &from, &ids[1], &ids[2]];
        let (text, is_clean) = git.try_run(&args, "");
        let wanted = (
            text.lines().next().unwrap_or_default().to_string(),
            is_clean,
        );
        assert_eq!(merged, wanted, "SEED={seed} repeats it: {ids:?}");
        conflicts += usize::from(!is_clean);
    }
    println!(
        "{} merges are the same, {conflicts} in conflict",
        merges.len()
    );
}
