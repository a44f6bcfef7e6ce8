//! What the book's tour shows of Irmin in a Rust program.

use std::error::Error;

use irmin::{Format, Info, Memory, Repo, Signature};

fn main() -> Result<(), Box<dyn Error>> {
    let repo = Repo::new(Memory::new(Format::Native));
    let main = repo.branch("main")?;
    let info = |message: &str| {
        let who = Signature::new("Ada", "ada@example.org", 1_429_538_400, 0);
        Info::new(who, message)
    };

    // A transaction collects edits and commits once.
    let mut change = main.transaction()?;
    change.set("shopping/milk", "2 litres")?;
    change.set("shopping/bread", "one loaf")?;
    let first = change.commit(&info("Shopping"))?;

    // A tree never changes; whoever holds it reads what was there then.
    let before = main.tree()?;
    main.change(&info("No milk"), |edit| edit.remove("shopping/milk"))?;
    assert_eq!(before.get("shopping/milk")?.unwrap(), "2 litres");
    assert!(main.tree()?.get("shopping/milk")?.is_none());

    // History: of all, and of one path. The first commit of the second is when it was last modified.
    let head = main.head()?.unwrap();
    assert_eq!(head.log().count(), 2);
    let bread = head.log_of("shopping/bread".parse()?).next().unwrap()?;
    assert_eq!(bread.id(), first.id());

    // A branch moves only to what comes after it, or from where you saw it.
    let backup = repo.branch("backup")?;
    backup.fast_forward(&first)?;
    backup.compare_and_set(Some(&first), Some(&head))?;
    Ok(())
}
