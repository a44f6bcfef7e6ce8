//! What the book's chapter on merges shows.

use std::error::Error;

use irmin::merge::{NoRule, files_as_git, typed};
use irmin::{Branch, Format, Info, Memory, Repo, Signature, Tallies, Tally};

fn info(message: &str) -> Info {
    let who = Signature::new("Ada", "ada@example.org", 1_429_538_400, 0);
    Info::new(who, message)
}

/// Two branches that changed one value each in their own way.
fn apart(repo: &Repo) -> Result<(Branch, Branch), Box<dyn Error>> {
    let (laptop, phone) = (repo.branch("laptop")?, repo.branch("phone")?);
    let base = laptop.change(&info("Begin"), |edit| edit.set("title", "Plan"))?;
    phone.fast_forward(&base)?;
    laptop.change(&info("Longer"), |edit| edit.set("title", "The plan"))?;
    phone.change(&info("Shorter"), |edit| edit.set("title", "P"))?;
    Ok((laptop, phone))
}

fn look_first() -> Result<(), Box<dyn Error>> {
    let repo = Repo::new(Memory::new(Format::Native));
    let (laptop, phone) = apart(&repo)?;

    let (ours, theirs) = (laptop.head()?.unwrap(), phone.head()?.unwrap());
    let mut merge = repo.try_merge(&ours, &theirs, &NoRule)?;
    for conflict in merge.conflicts() {
        println!("{}: {:?}", conflict.path, conflict.why);
    }
    assert_eq!(laptop.head()?.unwrap(), ours, "nothing has moved");

    merge.resolve("title", Some("The P".into()))?;
    laptop.commit_merge(&merge, &info("Merge the phone"))?;
    assert_eq!(laptop.tree()?.get("title")?.unwrap(), "The P");
    Ok(())
}

fn by_rule() -> Result<(), Box<dyn Error>> {
    let repo = Repo::new(Memory::new(Format::Native));
    let (laptop, phone) = (repo.branch("laptop")?, repo.branch("phone")?);
    let base = laptop.change(&info("Begin"), |edit| {
        edit.set_value("visits", &Tally::default())
    })?;
    phone.fast_forward(&base)?;
    for (branch, name, count) in [(&laptop, "laptop", 3), (&phone, "phone", 2)] {
        branch.change(&info("Count"), |edit| {
            let mut tally: Tally = edit.value("visits")?.unwrap_or_default();
            tally.add(name, count);
            edit.set_value("visits", &tally)
        })?;
    }

    let theirs = phone.head()?.unwrap();
    laptop.merge(&theirs, &typed(Tallies), &info("Merge the phone"))?;
    let visits: Tally = laptop.tree()?.value("visits")?.unwrap();
    assert_eq!(visits.value(), 5);
    Ok(())
}

fn lines() -> Result<(), Box<dyn Error>> {
    let repo = Repo::new(Memory::new(Format::GitSha1));
    let (ours, theirs) = (repo.branch("ours")?, repo.branch("theirs")?);
    let base = ours.change(&info("Begin"), |edit| edit.set("list", "a\nb\nc\nd\ne\n"))?;
    theirs.fast_forward(&base)?;
    ours.change(&info("Top"), |edit| edit.set("list", "A\nb\nc\nd\ne\n"))?;
    theirs.change(&info("End"), |edit| edit.set("list", "a\nb\nc\nd\nE\n"))?;
    let theirs = theirs.head()?.unwrap();
    ours.merge(&theirs, &files_as_git, &info("Merge"))?;
    assert_eq!(ours.tree()?.get("list")?.unwrap(), "A\nb\nc\nd\nE\n");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    look_first()?;
    by_rule()?;
    lines()
}
