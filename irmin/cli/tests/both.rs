//! Git and we at one repository, all at the same time: as clients of git's servers and of ours, by every
//! way there is, and as neighbours in one folder. No commit is lost, and nobody finds anything wrong.

#[path = "../../sync/tests/common/cgi.rs"]
#[allow(dead_code)]
mod cgi;
mod common;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use common::Place;
use common::served::Served;

/// How often each client fetches, commits and pushes.
const ROUNDS: usize = 2;

/// So often a client that others overtake tries again: each time somebody else got through.
const PATIENCE: usize = 200;

/// What git says when git, collecting beside it, removes an empty folder of objects that it has just made.
const STUMBLES: [&str; 3] = [
    "unable to create temporary file: No such file or directory",
    "unable to write file",
    "unable to migrate objects",
];

fn stumbled(said: &str) -> bool {
    STUMBLES.iter().any(|words| said.contains(words))
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Program {
    Git,
    Irmin,
}

/// The repository in the middle, and the servers before it.
struct Middle {
    place: Place,
    folder: PathBuf,
    ssh: tempfile::TempDir,
    daemon: std::net::SocketAddr,
    cgi: cgi::Cgi,
    served: Served,
}

/// The ways to it: through git's servers, and through ours.
const WAYS: [&str; 6] = ["file", "ssh", "daemon", "http", "irmin-ssh", "irmin-http"];

/// A folder with an ssh that goes nowhere. What it finds at the host `irmin` is our server, and no git.
fn ssh() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "#!/bin/sh\nwhile [ $# -gt 2 ]; do shift; done\ncase \"$1\" in\n\
         irmin) command=\"${{2#git-}}\"; PATH=; eval \"{} ${{command#irmin }}\";;\n\
         *) exec sh -c \"$2\";;\nesac\n",
        env!("CARGO_BIN_EXE_irmin")
    );
    let program = folder.path().join("ssh");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

impl Middle {
    fn new(format: &str, made_by: Program) -> Middle {
        let place = match made_by {
            Program::Git => Place::of_git(format),
            Program::Irmin => Place::new(format, &[]),
        };
        let folder = place.path().join(".git");
        for (key, value) in [
            ("core.bare", "true"),
            ("http.receivepack", "true"),
            ("gc.auto", "0"),
        ] {
            place.git(&["config", key, value]);
        }
        place.irmin(&["set", "begin", "x"]);
        let ssh = ssh();
        let daemon = cgi::daemon(place.path());
        let cgi = cgi::Cgi::serve(place.path(), None);
        let served = Served::new(&place, &[]);
        Middle {
            place,
            folder,
            ssh,
            daemon,
            cgi,
            served,
        }
    }

    fn url(&self, way: &str) -> String {
        let folder = self.folder.display();
        match way {
            "file" => format!("file://{folder}"),
            "ssh" => format!("ssh://git{folder}"),
            "irmin-ssh" => format!("ssh://irmin{folder}"),
            "daemon" => format!("git://{}/.git", self.daemon),
            "http" => self.cgi.url(".git"),
            "irmin-http" => self.served.git(),
            _ => panic!("no way"),
        }
    }

    /// Runs a program in a folder, with the ssh that goes nowhere: whether it succeeded, and what it said.
    fn run(&self, program: Program, at: &Place, args: &[&str]) -> (bool, String) {
        let mut command = match program {
            Program::Git => at.git_command(args),
            Program::Irmin => at.irmin_command(args),
        };
        command
            .env("GIT_SSH_COMMAND", self.ssh.path().join("ssh"))
            .env("GIT_SSH_VARIANT", "simple");
        let output = command.output().unwrap();
        let [out, error] =
            [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        (output.status.success(), out.trim_end().to_string() + &error)
    }

    /// The same, where it must succeed: at once, but for the one thing in which git stumbles over git.
    fn must(&self, program: Program, at: &Place, args: &[&str]) -> String {
        for _ in 0..PATIENCE {
            let (is_well, said) = self.run(program, at, args);
            if is_well {
                return said;
            }
            assert!(stumbled(&said), "{program:?} {args:?}: {said}");
        }
        panic!("{program:?} {args:?}: stumbles always");
    }
}

/// Commits to a branch of a repository as a neighbour in its folder, from where the branch is, and gives
/// the commit once it is there: `git` by its plumbing, with the old value.
fn beside(middle: &Middle, program: Program, at: &Place, branch: &str, n: usize) -> String {
    let path = format!("beside/{program:?}");
    if program == Program::Irmin {
        return at.irmin(&["set", "--branch", branch, &path, &n.to_string()]);
    }
    let branch = format!("refs/heads/{branch}");
    for _ in 0..PATIENCE {
        let old = at.git(&["rev-parse", &branch]);
        let tree = format!("{old}^{{tree}}");
        let new = ["commit-tree", "-p", &old, "-m", "beside", &tree];
        let new = middle.must(Program::Git, at, &new);
        if at.try_git(&["update-ref", &branch, &new, &old]).0 == 0 {
            return new;
        }
    }
    panic!("always overtaken");
}

/// One client by one way: it clones, and while all others do the same, pushes what both programs committed
/// in the clone to branches of its own, and at last to the branch of all. Gives the commits that were taken.
fn client(middle: &Middle, program: Program, way: &str, at: &Place) -> Vec<String> {
    let name = format!("{program:?}-{way}");
    let run = |args: &[&str]| middle.run(program, at, args);
    let must = |args: &[&str]| middle.must(program, at, args);
    must(&["clone", &middle.url(way), "."]);
    at.git(&["branch", "-q", "beside", "main"]);
    let other = match program {
        Program::Git => Program::Irmin,
        Program::Irmin => Program::Git,
    };
    let mut taken = Vec::new();
    for n in 0..ROUNDS {
        must(&["fetch"]);
        let mine = match program {
            Program::Git => {
                std::fs::write(at.path().join(&name), n.to_string()).unwrap();
                at.git(&["add", &name]);
                at.git(&["commit", "-q", "-m", &name]);
                at.git(&["rev-parse", "HEAD"])
            }
            Program::Irmin => at.irmin(&["set", &name, &n.to_string()]),
        };
        let theirs = beside(middle, other, at, "beside", n);
        let specs =
            ["main:refs/heads/", "beside:refs/heads/beside/"].map(|to| format!("{to}{name}"));
        must(&["push", "origin", &specs[0], &specs[1]]);
        taken.extend([mine, theirs]);
    }
    for _ in 0..PATIENCE {
        match program {
            Program::Git => must(&["pull", "-q", "--no-rebase", "--no-edit", "origin", "main"]),
            Program::Irmin => must(&["pull", "origin", "main"]),
        };
        let (is_well, said) = run(&["push", "origin", "main"]);
        if is_well {
            return taken;
        }
        let is_overtaken = said.contains("rejected") || said.contains("refused");
        assert!(is_overtaken || stumbled(&said), "{name}: {said}");
    }
    panic!("{name}: always overtaken");
}

/// Collects garbage, as both programs do it and as their users ask for it, until the work is done.
fn collect(middle: &Middle, is_done: &AtomicBool) {
    let commands: [(Program, &[&str]); 4] = [
        (Program::Irmin, &["gc"]),
        (Program::Git, &["pack-refs", "--all"]),
        (Program::Git, &["gc", "-q"]),
        (Program::Git, &["repack", "-q", "-d"]),
    ];
    for (program, args) in commands.into_iter().cycle() {
        if is_done.load(Ordering::SeqCst) {
            break;
        }
        middle.must(program, &middle.place, args);
    }
}

fn all_write_at_once(format: &str, made_by: Program) {
    let middle = Middle::new(format, made_by);
    let (middle, done) = (&middle, AtomicBool::new(false));
    let clients: Vec<_> = [Program::Git, Program::Irmin]
        .into_iter()
        .flat_map(|program| WAYS.map(|way| (program, way, Place(tempfile::tempdir().unwrap()))))
        .collect();
    let taken: Vec<String> = std::thread::scope(|threads| {
        threads.spawn(|| collect(middle, &done));
        let neighbours = [Program::Git, Program::Irmin].map(|program| {
            threads.spawn(move || {
                (0..30)
                    .map(|n| beside(middle, program, &middle.place, "main", n))
                    .collect()
            })
        });
        let clients = clients
            .iter()
            .map(|(program, way, at)| threads.spawn(move || client(middle, *program, way, at)));
        let threads: Vec<_> = neighbours
            .into_iter()
            .chain(clients.collect::<Vec<_>>())
            .collect();
        let taken: Vec<std::thread::Result<Vec<String>>> =
            threads.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::SeqCst);
        taken.into_iter().flat_map(Result::unwrap).collect()
    });
    // None is lost, on the branch of all or on those of the clients, and both programs see the same.
    let commits = |at: &Place| -> BTreeSet<String> {
        let listed = at.git(&["rev-list", "--all"]);
        listed.lines().map(Into::into).collect()
    };
    let there = commits(&middle.place);
    for id in &taken {
        assert!(there.contains(id), "{id} is lost");
    }
    assert_eq!(taken.len(), 60 + clients.len() * 2 * ROUNDS);
    middle.place.fsck();
    assert_eq!(middle.place.irmin(&["fsck"]), "");
    let logged = middle.place.irmin(&["log", "--json", "main"]);
    let counted = middle.place.git(&["rev-list", "--count", "main"]);
    assert_eq!(logged.lines().count().to_string(), counted);
    for (program, way, at) in &clients {
        at.fsck();
        assert_eq!(at.irmin(&["fsck"]), "");
        let name = format!("{program:?}-{way}");
        let fresh = Place(tempfile::tempdir().unwrap());
        middle.must(*program, &fresh, &["clone", &middle.url(way), "."]);
        fresh.fsck();
        assert_eq!(commits(&fresh), there, "{name}");
    }
}

#[test]
fn none_is_lost_where_git_and_we_write_at_once_by_every_way_in_sha1() {
    all_write_at_once("sha1", Program::Git);
}

#[test]
fn none_is_lost_where_git_and_we_write_at_once_by_every_way_in_sha256() {
    all_write_at_once("sha256", Program::Irmin);
}

#[test]
fn none_is_lost_where_clones_of_a_native_store_push_at_once_to_its_server() {
    let middle = Place::new("native", &["--bare"]);
    middle.irmin(&["set", "begin", "x"]);
    let served = Served::new(&middle, &[]);
    // One program writes in a native store: who comes beside the server is told so, and waits for it.
    let (code, _, error) = middle.try_irmin(&["set", "beside", "x"]);
    assert!(code == 3 && error.contains("irmin serve"), "{error}");
    let client = |at: &Place, name: &str| -> Vec<String> {
        at.irmin(&["clone", &served.git(), "."]);
        let push = |n: usize| {
            let mine = at.irmin(&["set", name, &n.to_string()]);
            for _ in 0..PATIENCE {
                at.irmin(&["pull", "origin", "main"]);
                let (code, said, error) = at.try_irmin(&["push", "origin", "main"]);
                if code == 0 {
                    return mine;
                }
                assert!(code == 1 && said.contains("refused"), "{said}{error}");
            }
            panic!("{name}: always overtaken");
        };
        (0..2 * ROUNDS).map(push).collect()
    };
    let clones = ["a", "b", "c", "d"].map(|name| (name, Place(tempfile::tempdir().unwrap())));
    let taken: Vec<String> = std::thread::scope(|threads| {
        let threads: Vec<_> = clones
            .iter()
            .map(|(name, at)| threads.spawn(|| client(at, name)))
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.flat_map(Result::unwrap).collect()
    });
    drop(served);
    let log = middle.irmin(&["log", "main", "--json"]);
    for id in &taken {
        assert!(
            log.contains(&format!("\"commit\":\"{id}\"")),
            "{id} is lost"
        );
    }
    assert_eq!(middle.irmin(&["fsck"]), "");
    for (name, at) in &clones {
        assert_eq!(at.irmin(&["fsck"]), "", "{name}");
    }
}
